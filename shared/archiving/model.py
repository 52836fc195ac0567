"""Months, what is kept of an archived one, and which are due; pure."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final, Literal

import orjson
from pydantic import BaseModel

from shared.platform.errors import DomainError, invalid_field

_MONTH: Final = re.compile(r"(\d{4})-(\d\d)")
FORMAT: Final = 1


class ArchiveDamaged(DomainError):
    """What is in Blob is not what was written there: ``target`` is the path."""

    code = "archive_damaged"


class ArchiveState(StrEnum):
    """Where a month stands; see docs/archiving.md for the way from one to the next."""

    EXPORTING = "EXPORTING"
    VERIFIED = "VERIFIED"
    ARCHIVED = "ARCHIVED"
    RESTORING = "RESTORING"
    RESTORED = "RESTORED"


class MonthState(StrEnum):
    """What has become of a month's partition in the database."""

    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"
    MISSING = "missing"


class Part(BaseModel):
    """One Parquet file of an archive; ``first`` and ``last`` are where its rows begin and end in their order."""

    kind: Literal["predictions", "labels"]
    path: str
    rows: int
    bytes: int
    sha256: str
    first: str
    last: str
    earliest: datetime
    latest: datetime


class Archive(BaseModel):
    """A row of ``predictions_archives``."""

    month: date
    state: ArchiveState
    predictions: int
    labels: int
    digest: str
    parts: list[Part]
    manifest_sha256: str | None
    started_at: datetime
    verified_at: datetime | None
    archived_at: datetime | None
    restored_at: datetime | None
    kept_until: datetime | None

    @property
    def prefix(self) -> str:
        """Where the month is in Blob."""
        return f"archive/predictions/{self.month:%Y-%m}/"

    @property
    def manifest_path(self) -> str:
        """What an archive holds, and what proves it."""
        return f"{self.prefix}manifest.json"

    def manifest(self) -> bytes:
        """The manifest's text; the same for the same parts."""
        document = {
            "format": FORMAT,
            "month": f"{self.month:%Y-%m}",
            "predictions": self.predictions,
            "labels": self.labels,
            "digest": self.digest,
            "parts": [part.model_dump(mode="json") for part in self.parts],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)

    def is_whole(self) -> bool:
        """Whether the parts hold as many rows as the month had when the export began."""
        return all(
            sum(part.rows for part in self.parts if part.kind == kind) == rows
            for kind, rows in (("predictions", self.predictions), ("labels", self.labels))
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done on the way, done for good; ``detail`` is for the log."""

    month: date
    done: Literal["begun", "exported", "verified", "detached", "archived"]
    detail: str = ""


def read_month(text: str) -> date:
    """The month that ``YYYY-MM`` names.

    :raises InvalidContent: it names none.
    """
    if (found := _MONTH.fullmatch(text)) is not None and 1 <= int(found[2]) <= 12 and int(found[1]) > 0:
        return date(int(found[1]), int(found[2]), 1)
    raise invalid_field("month", "must be a month such as 2026-01")


def first_kept(now: datetime, retention_months: int) -> date:
    """The oldest month that is kept; what it and the months after it hold is younger than ``retention_months`` and one
    month.
    """
    months = now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 1 - retention_months
    return date(months // 12, months % 12 + 1, 1)


def month_of(at: datetime) -> date:
    """The month in UTC that a moment belongs to."""
    return at.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> date:
    """The month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
