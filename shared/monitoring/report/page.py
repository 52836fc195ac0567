"""The drift report as one HTML file: nothing is fetched, nothing is executed, and the same data give the same bytes."""

from typing import Final

from shared.monitoring.level import Level
from shared.monitoring.model import DriftColumn, WindowStatus
from shared.monitoring.report.charts import bars_chart, line_chart
from shared.monitoring.report.subject import Subject, bars_of
from shared.training.report.document import document
from shared.training.report.markup import figure, grid, omitted, paragraph, section, table, tiles
from shared.training.report.text import count, number, percent

_TIME: Final = "%Y-%m-%d %H:%M"
_HEAD: Final = (
    "Column",
    "Kind",
    "Status",
    "Importance",
    "PSI",
    "KS",
    "JS",
    "Wasserstein",
    "Missing",
    "Unseen",
    "Share ×",
    "q",
)
_RANKED: Final = 60
_DRAWN: Final = 12
_LINES: Final = 8
_CONTENTS: Final = (("verdict", "Verdict"), ("ranking", "Ranking"), ("shares", "Distributions"), ("time", "Over time"))
_WORDS: Final = {
    WindowStatus.OK: "no drift",
    WindowStatus.WARNING: "drift",
    WindowStatus.CRITICAL: "critical drift",
    WindowStatus.NOT_ENOUGH_DATA: "not enough data",
}


def render_drift_report(subject: Subject) -> bytes:
    """The report as UTF-8 HTML."""
    body = _verdict(subject) + _ranking(subject) + _shares(subject) + _time(subject)
    return document("Drift report", f"{subject.name} {subject.version}", _CONTENTS, body, _FOOT)


_FOOT: Final = (
    "PSI is over tenths of the reference with missing, unseen and outlying values apart. A column has drifted when its "
    "test holds at the false discovery rate over all columns and a figure passes its limit."
)


def _verdict(subject: Subject) -> str:
    window = subject.window
    drifted = sum(column.status is not Level.OK for column in window.columns)
    since = window.reference_window_start
    against = window.reference.value.replace("_", " ")
    until = window.reference_window_end
    span = f"{'' if since is None else f'from {since:%Y-%m-%d} '}{'' if until is None else f'to {until:%Y-%m-%d}'}"
    entries = [
        ("Verdict", _WORDS[window.status], f"{window.window_start:{_TIME}} to {window.window_end:{_TIME}} UTC"),
        ("Predictions", count(window.rows), f"at least {count(window.min_rows)} needed"),
        ("Columns drifted", str(drifted), f"of {len(window.columns)}"),
        ("Importance drifted", percent(window.drifted_share, 2), "of the model's features"),
        ("Compared with", against, f"{count(window.reference_rows)} rows {span}".strip()),
    ]  # fmt: skip
    return section("verdict", "Verdict", tiles(entries))


def _ranking(subject: Subject) -> str:
    columns = subject.window.columns
    if not columns:
        return section("ranking", "Ranking", paragraph("The window has too few predictions to say anything of."))
    rows = [
        [
            column.name, column.kind.value, column.status.value, percent(column.importance, 2),
            *(_told(column, metric) for metric in ("psi", "ks_statistic", "jensen_shannon", "wasserstein")),
            *(_told(column, metric, share=True) for metric in ("missing_rate", "unseen_rate")),
            _told(column, "share_change"), number(column.q, 2),
        ]
        for column in columns[:_RANKED]
    ]  # fmt: skip
    caption = "Columns, the most drifted first"
    if len(columns) > _RANKED:
        caption += f" ({_RANKED} of {len(columns)})"
    return section("ranking", "Ranking", table(caption, _HEAD, rows, words=(0, 1, 2)))


def _shares(subject: Subject) -> str:
    charts = []
    for position, column in enumerate(subject.window.columns[:_DRAWN]):
        bars = bars_of(subject, column)
        title = f"{column.name}: {column.status.value}"
        if bars is None:
            charts.append(omitted(title, "one of the samples is empty"))
        else:
            reading = f"PSI {_told(column, 'psi')}. The bars are shares of all rows, those of the reference in blue."
            charts.append(figure(title, bars_chart(f"shares-{position}", bars), reading))
    return section("shares", "Distributions", grid(*charts)) if charts else ""


def _time(subject: Subject) -> str:
    charts = []
    for metric, series in sorted(subject.series.items()):
        for position, line in enumerate(series.columns[:_LINES]):
            chart = line_chart(f"{metric.replace('_', '-')}-{position}", series, line)
            if chart is not None:
                title = "all features" if line.name == "all" else line.name
                reading = f"Windows of {series.window_hours} hours; orange dots are windows that drifted."
                charts.append(figure(f"{title}: {metric}", chart, reading))
    if not charts:
        return section("time", "Over time", paragraph("Fewer than two windows of this length were looked at."))
    return section("time", "Over time", grid(*charts))


def _told(column: DriftColumn, metric: str, *, share: bool = False) -> str:
    value = next((each.value for each in column.figures if each.metric == metric), None)
    return percent(value, 2) if share else number(value, 3)
