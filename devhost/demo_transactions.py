"""Two transactions of one customer of the sample: what that customer does every week, and what a thief would do."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

Transaction = dict[str, Any]
NOT_KNOWN_AT_CHECKOUT = ("is_fraud", "label_known_at")


def ordinary(frame: pl.DataFrame) -> Transaction:
    """The last genuine grocery purchase of a loyal customer, made once more a week later."""
    row = _loyal(frame)
    return _transaction(row, moment=(row["transaction_time"] + timedelta(days=7)).replace(hour=18, minute=20))


def suspicious(frame: pl.DataFrame) -> Transaction:
    """The same account at night: a device never seen, an address abroad, costly electronics sent far away."""
    row = _loyal(frame)
    electronics = frame.filter(frame["merchant_category"] == "electronics").row(-1, named=True)
    night = (row["transaction_time"] + timedelta(days=1)).replace(hour=3, minute=12)
    changed = {
        "device_id": f"dev_{secrets.token_hex(7)[:13]}",
        "ip_address": "198.19.77.5",
        "country": "SG",
        "merchant_id": electronics["merchant_id"],
        "merchant_category": "electronics",
        "amount": 899.0,
        "items": 2,
        "payment_method": "card",
        "shipping_distance_km": 640.0,
    }
    return _transaction({**row, **changed}, moment=night)


def _loyal(frame: pl.DataFrame) -> dict[str, Any]:
    """The latest grocery purchase by card with 3-D Secure from home, of somebody whose account is over a year old."""
    import polars as pl

    year = timedelta(days=365)
    home = pl.col("country") == pl.col("card_country")
    old = pl.col("transaction_time") - pl.col("account_created_at") > year
    usual = (pl.col("merchant_category") == "grocery") & (pl.col("payment_method") == "card_3ds")
    return frame.filter((pl.col("is_fraud") == 0) & home & old & usual).row(-1, named=True)


def _transaction(row: dict[str, Any], moment: datetime) -> Transaction:
    """A row as the JSON that a checkout would send, under an id of its own."""
    fields = {name: value for name, value in row.items() if name not in NOT_KNOWN_AT_CHECKOUT}
    fields |= {"transaction_id": f"txn_{secrets.token_hex(8)}", "transaction_time": moment}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}
