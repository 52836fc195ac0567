"""Where the model is better or worse: by month, and by protected group."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from shared.training.report.charts.curves import monthly_chart
from shared.training.report.charts.intervals import Interval, interval_chart
from shared.training.report.markup import figure, grid, omitted, section, table
from shared.training.report.scales import rounded_up
from shared.training.report.subject import Subject
from shared.training.report.text import count, number, percent

_MOST_MONTHS: Final = 60
_MOST_GROUPS: Final = 25
_MOST_COLUMNS: Final = 8


def months(subject: Subject) -> str:
    """Figures by month of the test part."""
    found: Sequence[Mapping[str, Any]] = subject.metrics.get("by_month") or []
    if not found:
        why = "Left out: the test part has no times or no labels."
        return section("months", "Over time", grid(omitted("By month", why)))
    shown = found[-_MOST_MONTHS:]
    names = [str(month["month"]) for month in shown]
    quality = {name: [month.get(name) for month in shown] for name in ("recall", "precision")}
    alarms = {text: [month.get(key) for month in shown] for key, text in (("fpr", "FPR"), ("fraud_rate", "fraud rate"))}
    rows = [
        [
            str(month["month"]),
            count(month["rows"]),
            count(month["frauds"]),
            percent(month["fraud_rate"]),
            percent(month.get("flag_rate")),
            percent(month.get("precision")),
            percent(month.get("recall")),
            percent(month.get("fpr")),
            number(month.get("auc_roc")),
            number(month.get("auc_pr")),
        ]
        for month in shown
    ]
    head = [
        "month",
        "rows",
        "frauds",
        "fraud rate",
        "flagged",
        "precision",
        "recall",
        "FPR",
        "ROC-AUC",
        "av. precision",
    ]
    return section(
        "months",
        "Over time",
        grid(
            figure(
                "Recall and precision by month",
                monthly_chart("monthly-quality", "Recall and precision by month", names, quality),
                "A model ages: lines that fall from month to month say that it is time to train again. Months with few "
                "frauds jump about.",
            ),
            figure(
                "False alarms by month",
                monthly_chart("monthly-alarms", "False positive rate and fraud rate by month", names, alarms),
                "The share of genuine transactions that are flagged, and the share of all that are fraud.",
            ),
        ),
        table("Figures by month of the test part", head, rows),
    )


def groups(subject: Subject) -> str:
    """Figures by group of each protected column."""
    found: Mapping[str, Mapping[str, Any]] = subject.metrics.get("by_group") or {}
    if not found:
        why = "Left out: the feature set names no protected columns, or the data has no labels."
        return section("groups", "Across groups", grid(omitted("By protected group", why)))
    parts = []
    for position, (column, figures) in enumerate(islice(found.items(), _MOST_COLUMNS)):
        large = [group for group in figures["groups"] if group.get("selection_rate") is not None][:_MOST_GROUPS]
        charts = [
            figure(
                f"{title} by {column}",
                interval_chart(f"group-{position}-{key}", f"{title} by {column}", drawn, top=_top(drawn)),
                reading,
            )
            for key, title, reading in _CHARTS
            if (drawn := _intervals(large, key))
        ]
        parts += [grid(*charts), _group_table(column, figures)]
    return section("groups", "Across groups", *parts)


_CHARTS: Final = (
    ("tpr", "Recall", "Share of each group's frauds that are found. Bars that do not overlap point to a difference."),
    ("fpr", "False positive rate", "Share of each group's genuine transactions that are flagged: who is bothered."),
)


def _intervals(found: Sequence[Mapping[str, Any]], key: str) -> list[Interval]:
    drawn = []
    for group in found:
        value, interval = group.get(key), (group.get("intervals") or {}).get(key)
        if value is not None:
            ends = (None, None) if not interval else (float(interval["low"]), float(interval["high"]))
            drawn.append(Interval(str(group["group"]), float(value), *ends))
    return drawn


def _top(drawn: Sequence[Interval]) -> float:
    return min(rounded_up(max(interval.high or interval.value for interval in drawn)), 1.0)


def _group_table(column: str, figures: Mapping[str, Any]) -> str:
    found = figures["groups"]
    rows = [
        [
            str(group["group"]),
            count(group["rows"]),
            count(group["frauds"]),
            percent(group.get("fraud_rate")),
            percent(group.get("mean_score")),
            percent(group.get("selection_rate")),
            percent(group.get("tpr")),
            percent(group.get("fpr")),
            percent(group.get("precision")),
        ]
        for group in found[:_MOST_GROUPS]
    ]
    notes = [f"groups below {count(figures['minimum_rows'])} rows have no figures"]
    if figures.get("missing_rows"):
        notes.append(f"{count(figures['missing_rows'])} rows without a value")
    if len(found) > _MOST_GROUPS:
        notes.append(f"{count(len(found) - _MOST_GROUPS)} more groups not shown")
    head = ["group", "rows", "frauds", "fraud rate", "mean score", "flagged", "recall", "FPR", "precision"]
    return table(f"Figures by {column} ({'; '.join(notes)})", head, rows)
