"""Which role a column may play, told from its name and type alone."""

import re
from collections.abc import Mapping

# Names are compared in lower case without separators, best first.
LABELS = ("isfraud", "txfraud", "fraud", "fraudlabel", "fraudind", "isfraudulent", "fraudulent", "ischargeback",
           "chargeback", "label", "target", "class", "y")  # fmt: skip
TIMES = ("transactiontime", "transactiontimestamp", "transactiondatetime", "transactiondate", "transdatetranstime",
          "txdatetime", "txtime", "txtimestamp", "eventtime", "eventtimestamp", "timestamp", "occurredat", "createdat",
          "purchasetime", "purchasedate", "ordertime", "orderdate", "datetime", "time", "date")  # fmt: skip
IDS = ("transactionid", "txid", "transid", "transnum", "transactionnumber", "eventid", "orderid", "paymentid", "id",
        "uuid")  # fmt: skip
AMOUNTS = ("amount", "amt", "transactionamount", "transactionamt", "txamount", "purchasevalue", "purchaseamount",
            "orderamount", "orderprice", "totalamount", "total", "price", "value")  # fmt: skip

LABEL_TIMES = ("labelknownat", "labeltime", "labelledat", "labeledat", "labeldate", "chargebackat", "chargebacktime",
                "chargebackdate", "fraudreportedat")  # fmt: skip
COUNTRIES = ("transactioncountry", "country", "countrycode", "billingcountry", "billingcountrycode", "shippingcountry",
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
LATITUDE, LONGITUDE = frozenset({"lat", "latitude"}), frozenset({"lon", "long", "lng", "longitude"})


def tokens_of(name: str) -> tuple[str, ...]:
    """``merchLat2`` and ``merch_lat_2`` are both ``("merch", "lat", "2")``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(re.findall(r"[a-z]+|\d+", spaced.lower()))


def _squeezed(name: str) -> str:
    return "".join(tokens_of(name))


def first_named(candidates: tuple[str, ...], types: Mapping[str, str], allowed: tuple[str, ...]) -> str | None:
    """The column whose name is the earliest of ``candidates``, among columns of an allowed type."""
    by_name: dict[str, str] = {}
    for name, kind in types.items():
        if kind in allowed:
            by_name.setdefault(_squeezed(name), name)
    return next((by_name[candidate] for candidate in candidates if candidate in by_name), None)


def is_protected(name: str) -> bool:
    """Whether the column tells a person's gender, age, origin or belief."""
    tokens = set(tokens_of(name))
    # "age" alone is a person's; "account_age" is not.
    person = tokens <= {"age", "customer", "user", "years", "group", "band"} if "age" in tokens else False
    return bool(tokens & (_PROTECTED - {"age"})) or person or _squeezed(name) in _PROTECTED_WHOLE


def is_personal(name: str) -> bool:
    """Whether the column identifies a person directly."""
    return _squeezed(name) in _PERSONAL


def is_label_derived(name: str) -> bool:
    """Whether the column is known only with the label."""
    return bool(set(tokens_of(name)) & _LABEL_DERIVED)


def is_clock(name: str, kind: str) -> bool:
    """Whether the column counts seconds since some epoch."""
    return kind in ("integer", "float") and bool(set(tokens_of(name)) & _CLOCKS)


def is_code(name: str) -> bool:
    """Whether the column's numbers are names of things."""
    return bool(set(tokens_of(name)) & _CODES)


def is_entity(name: str, kind: str) -> bool:
    """Whether the column is the key of a customer, card, device, address or payee."""
    tokens = tokens_of(name)
    if kind not in ("string", "integer") or not set(tokens) & _ENTITIES:
        return False
    return len(tokens) == 1 or tokens[-1] in _ENTITY_SUFFIXES or tokens[-1] in _ENTITIES
