"""Guessing the roles of a dataset's columns from their names and types, and telling what was guessed."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared.features.calendars import is_country
from shared.features.config import GROUPS, HISTORY_BY_DEFAULT, Distance, Duration, FeatureConfig, Ratio
from shared.features.history.defaults import HistoryDefaults
from shared.features.history.specs import OF_CODE, OF_LABEL, OF_NUMBER
from shared.platform.errors import FieldError, InvalidContent, invalid_field

if TYPE_CHECKING:
    from shared.datasets.model import DatasetSchema

# Names are compared in lower case without separators, best first.
_LABELS = ("isfraud", "txfraud", "fraud", "fraudlabel", "fraudind", "isfraudulent", "fraudulent", "ischargeback",
           "chargeback", "label", "target", "class", "y")  # fmt: skip
_TIMES = ("transactiontime", "transactiontimestamp", "transactiondatetime", "transactiondate", "transdatetranstime",
          "txdatetime", "txtime", "txtimestamp", "eventtime", "eventtimestamp", "timestamp", "occurredat", "createdat",
          "purchasetime", "purchasedate", "ordertime", "orderdate", "datetime", "time", "date")  # fmt: skip
_IDS = ("transactionid", "txid", "transid", "transnum", "transactionnumber", "eventid", "orderid", "paymentid", "id",
        "uuid")  # fmt: skip
_AMOUNTS = ("amount", "amt", "transactionamount", "transactionamt", "txamount", "purchasevalue", "purchaseamount",
            "orderamount", "orderprice", "totalamount", "total", "price", "value")  # fmt: skip

_LABEL_TIMES = ("labelknownat", "labeltime", "labelledat", "labeledat", "labeldate", "chargebackat", "chargebacktime",
                "chargebackdate", "fraudreportedat")  # fmt: skip
_COUNTRIES = ("transactioncountry", "country", "countrycode", "billingcountry", "billingcountrycode", "shippingcountry",
              "shippingcountrycode", "cardcountry", "customercountry", "usercountry", "ipcountry",
              "merchantcountry")  # fmt: skip

_PROTECTED = frozenset({"gender", "sex", "race", "ethnicity", "ethnic", "religion", "nationality", "age", "dob",
                        "birth", "birthdate", "birthday", "birthyear", "disability", "marital",
                        "pregnant"})  # fmt: skip
_PROTECTED_WHOLE = frozenset({"dateofbirth", "customerage", "userage", "agegroup", "ageband", "maritalstatus"})
_PERSONAL = frozenset({"first", "last", "firstname", "lastname", "fullname", "surname", "givenname", "middlename",
                       "name", "customername", "cardholder", "email", "emailaddress", "phone", "phonenumber", "street",
                       "address", "streetaddress", "billingaddress", "shippingaddress", "ssn", "passport"})  # fmt: skip
_LABEL_DERIVED = frozenset({"fraud", "fraudulent", "chargeback", "dispute", "disputed", "label", "labels", "labelled",
                            "labeled", "target"})  # fmt: skip
_ENTITIES = frozenset({"user", "customer", "account", "card", "cc", "device", "merchant", "terminal", "ip", "client",
                       "shop", "seller", "payee", "email"})  # fmt: skip
_ENTITY_SUFFIXES = frozenset({"id", "num", "number", "hash", "address", "fingerprint", "key", "uid", "code"})
_CODES = frozenset({"id", "code", "zip", "zipcode", "postcode", "postal", "mcc", "bin", "iin"})
_CLOCKS = frozenset({"unix", "epoch"})
_LATITUDE, _LONGITUDE = frozenset({"lat", "latitude"}), frozenset({"lon", "long", "lng", "longitude"})
_MAX_RATIOS = 5

_Types = dict[str, str]


def _tokens(name: str) -> tuple[str, ...]:
    """``merchLat2`` and ``merch_lat_2`` are both ``("merch", "lat", "2")``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(re.findall(r"[a-z]+|\d+", spaced.lower()))


def _squeezed(name: str) -> str:
    return "".join(_tokens(name))


def infer_config(schema: "DatasetSchema", config: FeatureConfig) -> FeatureConfig:
    """``config`` with every open question answered from the schema's names and types.

    :raises InvalidContent: ``config`` names columns that are missing or of a wrong type, or no label can be told.
    """
    types: dict[str, str] = {column.name: column.type for column in schema.columns}
    _check_named_columns(types, config)
    label = config.label_column or _first(_LABELS, types, ("integer", "boolean", "float", "string"))
    if label is None:
        raise InvalidContent(
            "the label column cannot be told from the names; give config.label_column",
            target="config.label_column",
            details=[FieldError("config.label_column", f"one of: {', '.join(types)}")],
        )
    taken = {label, *(config.protected_columns or ()), *(config.excluded_columns or ())}
    instants = [name for name, kind in types.items() if kind in ("datetime", "date") and name not in taken]
    time = config.time_column or _first(_TIMES, {name: types[name] for name in instants}, ("datetime", "date"))
    if time is None:
        time = next((name for name in instants if types[name] == "datetime"), None)
    identifier = config.id_column or _first(_IDS, _without(types, taken), ("string", "integer"))
    amount = config.amount_column or _first(_AMOUNTS, _without(types, taken), ("float", "integer"))
    roles = {label, time, identifier, amount} - {None}

    protected = config.protected_columns
    if protected is None:
        protected = tuple(name for name in types if name not in roles and _is_protected(name))
    excluded = config.excluded_columns
    if excluded is None:
        free = [name for name in types if name not in roles and name not in protected]
        excluded = tuple(
            name for name in free if _is_personal(name) or _is_label_derived(name) or _is_clock(name, types)
        )
    label_time = config.label_time_column or _first(_LABEL_TIMES, types, ("datetime", "date"))
    if config.label_time_column is None and (config.label_delay_days is not None or label_time == time):
        label_time = None
    never = {label, identifier, label_time, *protected, *excluded} - {None}
    open_types = _without(types, never)
    entities = config.entity_columns
    if entities is None:
        entities = tuple(n for n, kind in open_types.items() if n not in roles and _is_entity(n, kind))
    categorical = config.categorical_columns
    if categorical is None:
        categorical = tuple(
            name
            for name, kind in open_types.items()
            if kind == "string" or (kind == "integer" and (name in entities or _CODES & set(_tokens(name))))
        )
    frequency = config.frequency_columns
    if frequency is None:
        given = config.categorical_columns is not None
        frequency = tuple(name for name in categorical if given or name not in entities)
    _check_time_bound(config, time)
    holidays = config.holiday_columns
    if holidays is None:
        country = _first(_COUNTRIES, open_types, ("string",)) if time and not config.holiday_country else None
        holidays = (country,) if country else ()
    distances = config.distances if config.distances is not None else _distances(open_types)
    ratios = config.ratios if config.ratios is not None else _ratios(open_types, amount, categorical, distances)
    durations = config.durations if config.durations is not None else _durations(open_types, time)
    return FeatureConfig.model_validate(
        config.model_dump()
        | {
            "label_column": label,
            "time_column": time,
            "id_column": identifier,
            "amount_column": amount,
            "entity_columns": entities,
            "protected_columns": protected,
            "excluded_columns": excluded,
            "categorical_columns": categorical,
            "frequency_columns": frequency,
            "target_columns": config.target_columns or (),
            "holiday_columns": holidays,
            "transforms": config.transforms or {},
            "ratios": ratios,
            "durations": durations,
            "distances": distances,
            "label_time_column": label_time,
        }
        | _history(config, types, open_types, time, amount, entities, categorical, label_time)
    )


def _check_time_bound(config: FeatureConfig, time: str | None) -> None:
    """Refuse what is fitted along time where there is no time, and a country without a calendar."""
    if time is None and config.target_columns:
        raise invalid_field("config.target_columns", "target encoding needs a time column, and the dataset has none")
    for setting in ("holiday_columns", "holiday_country"):
        if time is None and getattr(config, setting):
            raise invalid_field(f"config.{setting}", "holidays need a time column, and the dataset has none")
    if config.holiday_country is not None and not is_country(config.holiday_country):
        raise invalid_field("config.holiday_country", f"there is no calendar of {config.holiday_country!r}")


def _history(
    config: FeatureConfig,
    types: _Types,
    open_types: _Types,
    time: str | None,
    amount: str | None,
    entities: tuple[str, ...],
    categorical: tuple[str, ...],
    label_time: str | None,
) -> dict[str, object]:
    """The groups and which history features there are, when the configuration wants any.

    :raises InvalidContent: no time column, no entity to look back upon, or nothing tells when labels are known.
    """
    wanted = config.history is not None or "behavioural" in (config.groups or ())
    if not wanted and config.groups is not None:
        return {"history": None}
    if config.groups is not None and "behavioural" not in config.groups:
        raise invalid_field("config.groups", "history features need the group 'behavioural', which is not asked for")
    without: dict[str, object] = {"groups": tuple(group for group in GROUPS if group != "behavioural"), "history": None}
    if not wanted and (time is None or not HISTORY_BY_DEFAULT):
        return without
    if time is None:
        raise invalid_field("config.time_column", "history features need a time column, and the dataset has none")
    labels = label_time is not None or config.label_delay_days is not None
    history = config.history
    if history is None:
        values = config.history_values
        history = HistoryDefaults(
            entities=tuple(name for name in entities if types[name] in _KEYS),
            keys=config.history_entities,
            values=values if values is not None else (amount,) if amount else (),
            categories=tuple(name for name in categorical if open_types.get(name) == "string"),
            windows=config.windows,
            horizon=config.history_horizon,
            labels=labels,
            label_delay_days=None if label_time else config.label_delay_days,
        ).propose(config.history_features)
        if not history and not wanted:
            return without
        if not history:
            raise invalid_field(
                "config.history_entities", "no column of the dataset is a customer, card, device or payee; name some"
            )
    if not labels and any(feature.function in OF_LABEL for feature in history):
        raise invalid_field(
            "config.label_delay_days", "features of past labels need label_delay_days or a label_time_column"
        )
    return {"groups": config.groups or GROUPS, "history": [feature.model_dump() for feature in history]}


_NUMBERS, _INSTANTS = frozenset({"integer", "float"}), frozenset({"datetime", "date"})
_KEYS = frozenset({"string", "integer", "boolean"})
_SCALARS = _NUMBERS | _INSTANTS | {"string", "boolean"}


def _check_named_columns(types: _Types, config: FeatureConfig) -> None:
    """Refuse, all at once, columns that do not exist or cannot play the role they are given."""
    roles: list[tuple[str, Iterable[str | None], frozenset[str]]] = [
        ("label_column", [config.label_column], _SCALARS - _INSTANTS),
        ("time_column", [config.time_column], _INSTANTS),
        ("id_column", [config.id_column], _SCALARS),
        ("amount_column", [config.amount_column], _NUMBERS),
        ("entity_columns", config.entity_columns or (), _SCALARS - {"float"}),
        ("protected_columns", config.protected_columns or (), _SCALARS),
        ("excluded_columns", config.excluded_columns or (), _SCALARS),
        ("label_time_column", [config.label_time_column], _INSTANTS),
        ("history", [c for feature in config.history or () for c in feature.entity], _KEYS),
        ("history", [f.column for f in config.history or () if f.function in OF_NUMBER], _NUMBERS),
        ("history", [f.column for f in config.history or () if f.function in OF_CODE], _KEYS),
        ("history_entities", [c for key in config.history_entities or () for c in key], _KEYS),
        ("history_values", config.history_values or (), _NUMBERS),
        ("categorical_columns", config.categorical_columns or (), frozenset({"string", "integer"})),
        ("frequency_columns", config.frequency_columns or (), frozenset({"string", "integer"})),
        ("target_columns", config.target_columns or (), _KEYS),
        ("holiday_columns", config.holiday_columns or (), frozenset({"string"})),
        ("transforms", config.transforms or (), _NUMBERS),
        ("ratios", [c for ratio in config.ratios or () for c in (ratio.numerator, ratio.denominator)], _NUMBERS),
        ("durations", [c for span in config.durations or () for c in (span.start, span.end)], _INSTANTS),
        ("distances", [c for distance in config.distances or () for c in distance.columns()], _NUMBERS),
    ]
    errors = []
    for role, names, allowed in roles:
        for name in names:
            if name is None:
                continue
            if name not in types:
                errors.append(FieldError(f"config.{role}", f"the dataset has no column {name!r}"))
            elif types[name] not in allowed:
                wanted = " or ".join(sorted(allowed))
                errors.append(FieldError(f"config.{role}", f"{name!r} is a {types[name]}; wanted: {wanted}"))
    if errors:
        raise InvalidContent("the configuration does not fit the dataset", target="config", details=errors)


def _without(types: _Types, names: Iterable[str | None]) -> _Types:
    dropped = set(names)
    return {name: kind for name, kind in types.items() if name not in dropped}


def _first(candidates: tuple[str, ...], types: _Types, allowed: tuple[str, ...]) -> str | None:
    """The column whose name is the earliest of ``candidates``, among columns of an allowed type."""
    by_name: dict[str, str] = {}
    for name, kind in types.items():
        if kind in allowed:
            by_name.setdefault(_squeezed(name), name)
    return next((by_name[candidate] for candidate in candidates if candidate in by_name), None)


def _is_protected(name: str) -> bool:
    tokens = set(_tokens(name))
    # "age" alone is a person's; "account_age" is not.
    person = tokens <= {"age", "customer", "user", "years", "group", "band"} if "age" in tokens else False
    return bool(tokens & (_PROTECTED - {"age"})) or person or _squeezed(name) in _PROTECTED_WHOLE


def _is_personal(name: str) -> bool:
    return _squeezed(name) in _PERSONAL


def _is_label_derived(name: str) -> bool:
    return bool(set(_tokens(name)) & _LABEL_DERIVED)


def _is_clock(name: str, types: _Types) -> bool:
    return types[name] in _NUMBERS and bool(set(_tokens(name)) & _CLOCKS)


def _is_entity(name: str, kind: str) -> bool:
    tokens = _tokens(name)
    if kind not in ("string", "integer") or not set(tokens) & _ENTITIES:
        return False
    return len(tokens) == 1 or tokens[-1] in _ENTITY_SUFFIXES or tokens[-1] in _ENTITIES


def _durations(types: _Types, time: str | None) -> tuple[Duration, ...]:
    if time is None:
        return ()
    return tuple(Duration(start=n, end=time) for n, kind in types.items() if kind in _INSTANTS and n != time)


def _ratios(
    types: _Types, amount: str | None, categorical: tuple[str, ...], distances: tuple[Distance, ...]
) -> tuple[Ratio, ...]:
    if amount is None:
        return ()
    places = {column for distance in distances for column in distance.columns()}
    unfit = {amount, *categorical, *places}
    quantities = [
        name
        for name, kind in types.items()
        if kind in _NUMBERS and name not in unfit and not set(_tokens(name)) & (_LATITUDE | _LONGITUDE)
    ]
    return tuple(Ratio(numerator=amount, denominator=name) for name in quantities[:_MAX_RATIOS])


def _distances(types: _Types) -> tuple[Distance, ...]:
    """Pairs of places: every later (latitude, longitude) pair against the first; a pair shares its other tokens."""
    places: dict[tuple[str, ...], dict[str, str]] = {}
    for name, kind in types.items():
        if kind not in _NUMBERS:
            continue
        tokens = _tokens(name)
        for axis, words in (("latitude", _LATITUDE), ("longitude", _LONGITUDE)):
            if set(tokens) & words:
                places.setdefault(tuple(t for t in tokens if t not in words), {})[axis] = name
    complete = [place for place in places.values() if len(place) == 2]
    return tuple(
        Distance(
            from_latitude=complete[0]["latitude"],
            from_longitude=complete[0]["longitude"],
            to_latitude=other["latitude"],
            to_longitude=other["longitude"],
        )
        for other in complete[1:]
    )
