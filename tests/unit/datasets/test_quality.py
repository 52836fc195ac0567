"""The quality report: each trap is found, with its severity, and clean data is not blamed."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shared.datasets.ingest import read_dataset
from shared.datasets.model import DatasetLimits, Finding, QualityReport, Severity

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS = DatasetLimits(body_bytes=10**6, direct_bytes=10**7, rows=10_000, columns=50)
ROWS = 200
INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


def _clean() -> dict[str, list[Any]]:
    return {
        "transaction_id": [f"t{number}" for number in range(ROWS)],
        "transaction_time": [NOW - timedelta(hours=ROWS - number) for number in range(ROWS)],
        "amount": [float(number % 17) + 1 for number in range(ROWS)],
        "shop": ["a", "b", "c", "d"] * (ROWS // 4),
        "is_fraud": [int(number % 50 == 0) for number in range(ROWS)],
    }


def _report(folder: Path, table: Mapping[str, list[Any]] | bytes) -> QualityReport:
    source = folder / "source"
    if isinstance(table, bytes):
        source.write_bytes(table)
    else:
        buffer = io.BytesIO()
        pl.DataFrame(table, strict=False).write_parquet(buffer)
        source.write_bytes(buffer.getvalue())
    return read_dataset(source, folder / "data.parquet", LIMITS, NOW).quality


def _found(report: QualityReport, code: str) -> Finding:
    return next(finding for finding in report.findings if finding.code == code)


def test_clean_data_has_notes_only(tmp_path: Path) -> None:
    """What looks like the label, with its rate, and what looks like an identifier."""
    report = _report(tmp_path, _clean())
    assert report.counts == {"ERROR": 0, "WARNING": 0, "INFO": 2}
    assert _found(report, "label").message == "looks like the label; 4 of 200 rows are fraud (2.00%)"
    assert _found(report, "identifier").column == "transaction_id"


def _changed(**columns: list[Any]) -> dict[str, list[Any]]:
    return {**_clean(), **columns}


TRAPS: dict[str, tuple[dict[str, list[Any]], str, Severity, str | None, int | None]] = {
    "constant": (_changed(country=["NL"] * ROWS), "constant", WARNING, "country", None),
    "empty": (_changed(note=[None] * ROWS), "all_missing", WARNING, "note", ROWS),
    "mostly missing": (_changed(note=[None] * 150 + ["x", "y"] * 25), "mostly_missing", WARNING, "note", 150),
    "some missing": (_changed(note=[None] * 20 + ["x", "y"] * 90), "missing", INFO, "note", 20),
    "a time missing": (
        _changed(transaction_time=[None, *_clean()["transaction_time"][1:]]), "missing", WARNING, "transaction_time", 1,
    ),
    "duplicate rows": (
        {name: values[:-2] + values[:2] for name, values in _clean().items()}, "duplicate_rows", WARNING, None, 2,
    ),
    "a duplicate id": (
        _changed(transaction_id=["t0", "t0", *_clean()["transaction_id"][2:]]),
        "duplicate_ids", WARNING, "transaction_id", 1,
    ),
    "many duplicate ids": (
        _changed(transaction_id=["a", "b"] * (ROWS // 2)), "duplicate_ids", ERROR, "transaction_id", ROWS - 2,
    ),
    "future": (
        _changed(transaction_time=[NOW + timedelta(hours=1), *_clean()["transaction_time"][1:]]),
        "future_times", WARNING, "transaction_time", 1,
    ),
    "out of order": (
        _changed(transaction_time=_clean()["transaction_time"][::-1]),
        "times_out_of_order", INFO, "transaction_time", ROWS - 1,
    ),
    "infinite": (_changed(amount=[float("inf"), float("nan"), *_clean()["amount"][2:]]),
                 "not_finite", WARNING, "amount", 2),
    "outliers": (_changed(amount=[1e9, *_clean()["amount"][1:]]), "outliers", INFO, "amount", 1),
    "numbers and words": (
        _changed(score=["n/a", "-", *[str(number % 9) for number in range(ROWS - 2)]]),
        "mixed_types", WARNING, "score", 2,
    ),
    "spellings": (
        _changed(shop=["Shop ", "shop", "SHOP", "b"] * (ROWS // 4)), "spellings", WARNING, "shop", 150,
    ),
    "spaces": (_changed(shop=[" a", "b", "c", "d"] * (ROWS // 4)), "spaces", INFO, "shop", 50),
    "formulas": (
        _changed(note=["=1+1", "+A1", "-x", "@SUM(A1)"] * (ROWS // 4)), "formulas", WARNING, "note", ROWS,
    ),
    "one class": (_changed(is_fraud=[0] * ROWS), "unusable_label", ERROR, "is_fraud", None),
    "strange label": (_changed(is_fraud=[0, 7] * (ROWS // 2)), "unusable_label", ERROR, "is_fraud", None),
    "no label": ({k: v for k, v in _clean().items() if k != "is_fraud"}, "no_label", INFO, None, None),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS, ids=list(TRAPS))
def test_a_trap_is_found(tmp_path: Path, trap: str) -> None:
    """With its severity, its column and the number of rows."""
    table, code, severity, column, count = TRAPS[trap]
    finding = _found(_report(tmp_path, table), code)
    assert (finding.severity, finding.column, finding.count) == (severity, column, count)


def test_negative_numbers_are_no_formulas(tmp_path: Path) -> None:
    """A column of text that holds -5 beside words is not blamed for the minus."""
    report = _report(tmp_path, _changed(score=["n/a", "-5", "+7.5", "-1e3"] * (ROWS // 4)))
    assert not [finding for finding in report.findings if finding.code == "formulas"]


def test_personal_values_are_not_shown(tmp_path: Path) -> None:
    """A finding on a name says that there is one, without an example."""
    table = _changed(first_name=["Ann", "ann", "=Bob", "12"] * (ROWS // 4))
    report = _report(tmp_path, table)
    told = " ".join(text for finding in report.findings for text in (finding.message, *finding.examples))
    assert not [name for name in ("Ann", "ann", "Bob") if name in told.split()]


def test_a_report_in_short_has_the_gravest(tmp_path: Path) -> None:
    """Errors before warnings before notes, and the counts of all."""
    table = _changed(is_fraud=[0] * ROWS, country=["NL"] * ROWS)
    short = _report(tmp_path, table).in_short(2)
    assert [finding.severity for finding in short.findings] == [ERROR, WARNING]
    assert short.counts == {"ERROR": 1, "WARNING": 1, "INFO": 1}


@pytest.mark.parametrize(
    ("content", "code", "column"),
    [
        (b"zip,x\n00501,1\n10001,2\n", "kept_as_text", "zip"),
        (b"number,x\n99999999999999999999,1\n1,2\n", "kept_as_text", "number"),
        ("name,x\nJürgen,1\n".encode("cp1252"), "encoding", None),
        (b"a;b\n1;2\n", "delimiter", None),
        (b"a;b\n1,5;2\n", "decimal_comma", None),
        (b"born,x\n01/02/2000,1\n", "day_first", "born"),
    ],
)
def test_what_reading_decided_is_noted(tmp_path: Path, content: bytes, code: str, column: str | None) -> None:
    """Nobody has to guess how a file was understood."""
    finding = _found(_report(tmp_path, content), code)
    assert (finding.severity, finding.column) == (INFO, column)
