"""What is wrong with a dataset, or worth knowing of it, told from its figures: pure rules, one for each trap."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from shared.datasets.model import ColumnType, DatasetSchema, DatasetStatistics, Finding, QualityReport, Severity
from shared.datasets.observations import Observations
from shared.features.labels import why_no_labels

#: Shares of rows.
_MOSTLY_MISSING: Final = 0.5
_SOME_MISSING: Final = 0.05
_MANY_REPEATED_IDS: Final = 0.01
_FEW_NUMBERS: Final = 0.5
_MOST_FINDINGS: Final = 1000
#: Fewer rows are too few to call a column of different values an identifier.
_LEAST_FOR_IDENTIFIER: Final = 20


def assess(schema: DatasetSchema, statistics: DatasetStatistics, seen: Observations) -> QualityReport:
    """The report on a dataset.

    :param statistics: figures as :func:`shared.datasets.statistics.read_statistics` gives them.
    """
    findings = [
        *(Finding(code=code, severity=Severity.INFO, column=name, message=text) for code, name, text in seen.notes),
        *_of_rows(seen),
        *_of_label(schema, statistics.column_stats, seen),
        *_of_identifiers(schema, statistics.column_stats, seen),
    ]
    for column in schema.columns:
        figures = statistics.column_stats[column.name]
        for rule in _OF_COLUMNS:
            findings += rule(column.name, column.type, figures, seen)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))  # stable: file before columns, columns in order
    counts = {severity.value: sum(f.severity is severity for f in findings) for severity in Severity}
    return QualityReport(counts=counts, findings=findings[:_MOST_FINDINGS])


def _finding(
    code: str, severity: Severity, column: str | None, message: str, count: int, rows: int, *examples: str
) -> Finding:
    share = round(count / rows, 6)
    return Finding(
        code=code, severity=severity, column=column, message=message, count=count, share=share, examples=list(examples)
    )


def _of_rows(seen: Observations) -> Iterator[Finding]:
    if seen.repeated_rows:
        text = f"{seen.repeated_rows:,} rows repeat another one in every column"
        yield _finding("duplicate_rows", Severity.WARNING, None, text, seen.repeated_rows, seen.rows)
    if seen.repeated_ids and seen.identifier:
        many = seen.repeated_ids > _MANY_REPEATED_IDS * seen.rows
        severity = Severity.ERROR if many else Severity.WARNING
        text = f"{seen.repeated_ids:,} rows have the id of another row"
        yield _finding("duplicate_ids", severity, seen.identifier, text, seen.repeated_ids, seen.rows)
    if seen.in_future:
        text = f"{seen.in_future:,} rows lie in the future"
        yield _finding("future_times", Severity.WARNING, seen.time, text, seen.in_future, seen.rows)
    if seen.out_of_order:
        text = f"{seen.out_of_order:,} rows are earlier than the row before; features are computed in order of time"
        yield _finding("times_out_of_order", Severity.INFO, seen.time, text, seen.out_of_order, seen.rows)


def _of_label(schema: DatasetSchema, stats: Mapping[str, Mapping[str, Any]], seen: Observations) -> Iterator[Finding]:
    column = None if seen.label is None else schema.column(seen.label)
    if column is None:
        text = "no column looks like the label; without labels only algorithms that need none can be trained"
        yield Finding(code="no_label", severity=Severity.INFO, message=text)
        return
    figures = stats[column.name]
    if reason := why_no_labels(column.type, figures, seen.rows):
        text = f"looks like the label and cannot be it: {reason}"
        yield Finding(code="unusable_label", severity=Severity.ERROR, column=column.name, message=text)
        return
    present = seen.rows - figures["null_count"]
    fraud = figures.get("true_count") if column.type == "boolean" else None
    if fraud is None and figures.get("mean") is not None:
        fraud = round(figures["mean"] * present)
    rate = "" if fraud is None else f"; {fraud:,} of {present:,} rows are fraud ({fraud / present:.2%})"
    text = f"looks like the label{rate}"
    yield Finding(
        code="label", severity=Severity.INFO, column=column.name, message=text, count=fraud,
        share=None if fraud is None else round(fraud / present, 6),
    )  # fmt: skip


def _of_identifiers(
    schema: DatasetSchema, stats: Mapping[str, Mapping[str, Any]], seen: Observations
) -> Iterator[Finding]:
    for column in schema.columns:
        figures = stats[column.name]
        if seen.rows < _LEAST_FOR_IDENTIFIER or column.type not in ("string", "integer"):
            continue
        proven = column.name == seen.identifier and seen.repeated_ids == 0 and figures["null_count"] == 0
        if proven or (figures["distinct_is_exact"] and figures["distinct_count"] == seen.rows):
            text = "has another value in every row: likely an identifier, which is no feature"
            yield Finding(code="identifier", severity=Severity.INFO, column=column.name, message=text)


def _missing(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    missing = figures["null_count"]
    share = missing / seen.rows
    if missing == seen.rows:
        severity = Severity.ERROR if name in (seen.time, seen.identifier) else Severity.WARNING
        yield _finding("all_missing", severity, name, "has no value in any row", missing, seen.rows)
    elif share >= _SOME_MISSING:
        severity = Severity.WARNING if share >= _MOSTLY_MISSING else Severity.INFO
        code = "mostly_missing" if share >= _MOSTLY_MISSING else "missing"
        yield _finding(code, severity, name, f"has no value in {share:.1%} of the rows", missing, seen.rows)
    elif missing and name in (seen.time, seen.label, seen.identifier):
        text = f"has no value in {missing:,} rows, and looks like the {_role(name, seen)}"
        yield _finding("missing", Severity.WARNING, name, text, missing, seen.rows)


def _role(name: str, seen: Observations) -> str:
    return "time" if name == seen.time else "label" if name == seen.label else "id"


def _constant(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    if figures["distinct_count"] == 1 and figures["null_count"] == 0 and seen.rows > 1 and name != seen.label:
        text = "has the same value in every row: it tells nothing"
        yield Finding(code="constant", severity=Severity.WARNING, column=name, message=text)


def _not_finite(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    if count := figures.get("not_finite_count"):
        text = f"is NaN or infinite in {count:,} rows, which the other figures leave out"
        yield _finding("not_finite", Severity.WARNING, name, text, count, seen.rows)


def _outliers(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    if (count := figures.get("outlier_count")) and name != seen.label and figures["distinct_count"] > 2:
        scope = seen.rows // figures.get("sampled_every", 1)
        text = "is far out (three times the distance of the quartiles beyond them) in some rows"
        yield _finding("outliers", Severity.INFO, name, text, count, max(scope, 1))


def _mixed(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    numbers, examples = figures.get("numeric_count", 0), figures.get("not_numeric_examples")
    texts = seen.rows - figures["null_count"] - numbers
    if examples is not None and numbers >= _FEW_NUMBERS * (numbers + texts):
        text = f"is read as text because of {texts:,} rows; the other {numbers:,} are numbers"
        yield _finding("mixed_types", Severity.WARNING, name, text, texts, seen.rows, *examples)


def _spellings(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    if found := figures.get("spelled_differently"):
        text = f"spells {found['categories']:,} of its values in several ways, by case or surrounding spaces"
        examples = [" / ".join(repr(word) for word in words) for words in found.get("examples", [])]
        yield _finding("spellings", Severity.WARNING, name, text, found["rows"], seen.rows, *examples)
    elif padded := figures.get("padded_count"):
        text = f"begins or ends with a space in {padded:,} rows"
        yield _finding("spaces", Severity.INFO, name, text, padded, seen.rows)


def _formulas(name: str, _: ColumnType, figures: Mapping[str, Any], seen: Observations) -> Iterator[Finding]:
    if count := figures.get("formula_count"):
        text = f"begins with a sign by which spreadsheets know formulas in {count:,} rows; it is kept as text"
        yield _finding("formulas", Severity.WARNING, name, text, count, seen.rows, *figures.get("formula_examples", []))


_Rule = Callable[[str, ColumnType, Mapping[str, Any], Observations], Iterator[Finding]]
_OF_COLUMNS: Final[tuple[_Rule, ...]] = (
    _missing, _constant, _not_finite, _mixed, _spellings, _formulas, _outliers,
)  # fmt: skip
