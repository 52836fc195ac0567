"""The audit report on bias as one HTML file."""

from typing import Final

from shared.monitoring.bias_model import AttributeBias, BiasReport
from shared.monitoring.level import Level
from shared.training.report.charts.intervals import Interval, interval_chart
from shared.training.report.document import document
from shared.training.report.markup import figure, grid, paragraph, section, table, tiles
from shared.training.report.scales import rounded_up
from shared.training.report.text import count, number, percent

_CONTENTS: Final = (("verdict", "Verdict"), ("gaps", "Gaps"), ("groups", "Groups"))
_WORDS: Final = {Level.OK: "alike", Level.WARNING: "unlike", Level.CRITICAL: "critically unlike"}
_MOST_ROWS: Final = 60
_RATES: Final = (
    ("selection_rate", "Flagged"),
    ("tpr", "Frauds found"),
    ("fpr", "Genuine flagged"),
    ("precision", "Precision"),
)
_FOOT: Final = (
    "A gap is between the two groups that differ most; its interval holds with 95 % confidence for all pairs of groups "
    "at once. It counts when it lies beyond its limit and the test that all groups are alike is refused at 5 % after "
    "Holm's correction over everything tested. Groups with fewer rows behind a rate than the minimum are left out of "
    "it. Disparate impact compares the shares that are not flagged, the favourable outcome."
)


def render_bias_report(report: BiasReport) -> bytes:
    """The report as UTF-8 HTML."""
    body = _verdict(report) + _gaps(report) + _groups(report)
    return document("Bias audit", f"{report.model_name} {report.model_version}", _CONTENTS, body, _FOOT)


def _verdict(report: BiasReport) -> str:
    worst = max((each.status for each in report.attributes), key=lambda level: level.rank, default=Level.OK)
    unlike = sum(each.status is not Level.OK for each in report.attributes)
    period = f"{report.period_start:%Y-%m-%d %H:%M} to {report.period_end:%Y-%m-%d %H:%M} UTC"
    shown = tiles(
        [
            ("Groups are treated", _WORDS[worst] if report.attributes else "not known", period),
            ("Predictions", count(report.rows), f"{count(report.labelled)} of them labelled"),
            ("Attributes", str(len(report.attributes)), f"{unlike} with a gap beyond a limit, intersections included"),
            ("Smallest group", count(report.minimum_group), "rows behind a rate"),
        ]
    )
    if report.unknown:
        shown += paragraph(f"The model's profile has no groups of {', '.join(report.unknown)}.")
    return section("verdict", "Verdict", shown)


def _gaps(report: BiasReport) -> str:
    rows = [
        [
            each.attribute,
            figure_.metric,
            figure_.status.value,
            number(figure_.value, 3),
            f"{number(figure_.low, 3)} to {number(figure_.high, 3)}",
            number(figure_.threshold, 3),
            number(figure_.p, 2),
        ]
        for each in report.attributes
        for figure_ in each.figures
    ]
    if not rows:
        return section("gaps", "Gaps", paragraph("No two groups are large enough to be compared."))
    head = ("Attribute", "Figure", "Level", "Value", "95 % interval", "Limit", "p")
    return section("gaps", "Gaps", table("Gaps between groups", head, rows, words=(0, 1, 2)))


def _groups(report: BiasReport) -> str:
    parts = [_rates(each) for each in report.attributes if each.rates]
    return section("groups", "Groups", *(parts or [paragraph("No group has any rows.")]))


def _rates(of: AttributeBias) -> str:
    rows = [
        [
            group["group"],
            count(group["rows"]),
            count(group["labelled"]),
            count(group["frauds"]),
            *(percent(group[name], 3) for name, _ in _RATES),
            number(group["calibration_gap"], 2),
        ]
        for group in of.rates[:_MOST_ROWS]
    ]
    head = ("Group", "Rows", "Labelled", "Frauds", *(title for _, title in _RATES), "Score minus rate")
    shown = table(f"Rates by {of.attribute}", head, rows)
    known = [group for group in of.rates[:20] if group["selection_rate"] is not None]
    if " & " in of.attribute or len(known) < 2:
        return shown
    bars = [Interval(group["group"], group["selection_rate"], *group["selection_rate_interval"]) for group in known]
    top = rounded_up(max(bar.high or bar.value for bar in bars))
    chart = interval_chart(f"flagged-{of.attribute}", f"Flagged by {of.attribute}", bars, top=top)
    return grid(figure(f"Flagged by {of.attribute}", chart, "Share that is flagged, with its 95 % interval.")) + shown
