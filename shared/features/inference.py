"""Guessing the roles of a dataset's columns from their names and types, and telling what was guessed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared.features.calendars import is_country
from shared.features.config import GROUPS, HISTORY_BY_DEFAULT, Distance, Duration, FeatureConfig, Ratio
from shared.features.history.defaults import HistoryDefaults
from shared.features.history.specs import OF_CODE, OF_LABEL, OF_NUMBER
from shared.features.roles import (
    AMOUNTS,
    COUNTRIES,
    IDS,
    LABEL_TIMES,
    LABELS,
    LATITUDE,
    LONGITUDE,
    TIMES,
    first_named,
    is_clock,
    is_code,
    is_entity,
    is_label_derived,
    is_personal,
    is_protected,
    tokens_of,
)
from shared.platform.errors import FieldError, InvalidContent, invalid_field

if TYPE_CHECKING:
    from shared.datasets.model import DatasetSchema

_MAX_RATIOS = 5

_Types = dict[str, str]


def infer_config(schema: "DatasetSchema", config: FeatureConfig) -> FeatureConfig:
    """``config`` with every open question answered from the schema's names and types.

    :raises InvalidContent: ``config`` names columns that are missing or of a wrong type, or no label can be told.
    """
    types: dict[str, str] = {column.name: column.type for column in schema.columns}
    _check_named_columns(types, config)
    label = _label_column(config, types)
    taken = {label, *(config.protected_columns or ()), *(config.excluded_columns or ())} - {None}
    instants = [name for name, kind in types.items() if kind in ("datetime", "date") and name not in taken]
    time = config.time_column or first_named(TIMES, {name: types[name] for name in instants}, ("datetime", "date"))
    if time is None:
        time = next((name for name in instants if types[name] == "datetime"), None)
    identifier = config.id_column or first_named(IDS, _without(types, taken), ("string", "integer"))
    amount = config.amount_column or first_named(AMOUNTS, _without(types, taken), ("float", "integer"))
    roles = {label, time, identifier, amount} - {None}

    protected = config.protected_columns
    if protected is None:
        protected = tuple(name for name in types if name not in roles and is_protected(name))
    excluded = config.excluded_columns
    if excluded is None:
        free = [name for name in types if name not in roles and name not in protected]
        excluded = tuple(
            name for name in free if is_personal(name) or is_label_derived(name) or is_clock(name, types[name])
        )
    label_time = config.label_time_column or first_named(LABEL_TIMES, types, ("datetime", "date"))
    if config.label_time_column is None and (
        label is None or config.label_delay_days is not None or label_time == time
    ):
        label_time = None
    never = frozenset(name for name in (label, identifier, label_time, *protected, *excluded) if name)
    open_types = _without(types, never)
    entities = config.entity_columns
    if entities is None:
        entities = tuple(n for n, kind in open_types.items() if n not in roles and is_entity(n, kind))
    categorical = config.categorical_columns
    if categorical is None:
        categorical = tuple(
            name
            for name, kind in open_types.items()
            if kind == "string" or (kind == "integer" and (name in entities or is_code(name)))
        )
    frequency = config.frequency_columns
    if frequency is None:
        given = config.categorical_columns is not None
        frequency = tuple(name for name in categorical if given or name not in entities)
    _check_reads(config, never)
    _check_time_bound(config, time)
    holidays = config.holiday_columns
    if holidays is None:
        country = first_named(COUNTRIES, open_types, ("string",)) if time and not config.holiday_country else None
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


def _label_column(config: FeatureConfig, types: _Types) -> str | None:
    """The given label, or the one that a name tells; None where it was given as null: nothing is labelled."""
    if config.label_column is not None:
        return config.label_column
    if "label_column" in config.model_fields_set:
        for setting in ("target_columns", "label_time_column", "label_delay_days"):
            if getattr(config, setting):
                raise invalid_field(f"config.{setting}", "needs labels, and config.label_column is null")
        return None
    label = first_named(LABELS, types, ("integer", "boolean", "float", "string"))
    if label is None:
        raise InvalidContent(
            "the label column cannot be told from the names; give config.label_column, null if nothing is labelled",
            target="config.label_column",
            details=[FieldError("config.label_column", f"one of: {', '.join(types)}")],
        )
    return label


def _check_reads(config: FeatureConfig, never: frozenset[str]) -> None:
    """Refuse features of columns that turned out to be what no feature may read."""
    errors = [
        FieldError(f"config.{setting}", f"may not read {name!r}: protected, excluded, id or label")
        for setting, used in config.feature_columns()
        for name in sorted(used & never)
    ]
    if errors:
        raise InvalidContent("the configuration does not fit the dataset", target="config", details=errors)


def _check_time_bound(config: FeatureConfig, time: str | None) -> None:
    """Refuse what is fitted along time where there is no time, and a country without a calendar."""
    if time is None and config.target_columns:
        raise invalid_field("config.target_columns", "target encoding needs a time column, and the dataset has none")
    if time is None and (config.holiday_columns or config.holiday_country):
        setting = "holiday_columns" if config.holiday_columns else "holiday_country"
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
        if kind in _NUMBERS and name not in unfit and not set(tokens_of(name)) & (LATITUDE | LONGITUDE)
    ]
    return tuple(Ratio(numerator=amount, denominator=name) for name in quantities[:_MAX_RATIOS])


def _distances(types: _Types) -> tuple[Distance, ...]:
    """Pairs of places: every later (latitude, longitude) pair against the first; a pair shares its other tokens."""
    places: dict[tuple[str, ...], dict[str, str]] = {}
    for name, kind in types.items():
        if kind not in _NUMBERS:
            continue
        tokens = tokens_of(name)
        for axis, words in (("latitude", LATITUDE), ("longitude", LONGITUDE)):
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
