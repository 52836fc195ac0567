"""Whether the scores are probabilities."""

from shared.training.report.charts.scores import reliability_chart
from shared.training.report.markup import figure, grid, omitted, section, table
from shared.training.report.reliability import reliability
from shared.training.report.subject import Subject
from shared.training.report.text import count, number, percent


def calibration(subject: Subject) -> str:
    """Reliability with counts; before and after, where the scores are calibrated."""
    evidence = subject.evidence
    if evidence.labels is None:
        return section("calibration", "Are scores probabilities?", grid(omitted("Reliability", subject.why_no_curve)))
    bins = reliability(evidence.scores, evidence.labels)
    before = None if evidence.uncalibrated is None else reliability(evidence.uncalibrated, evidence.labels)
    rows = [
        [
            percent(b.mean_score),
            percent(b.fraud_rate),
            f"{percent(b.low)} to {percent(b.high)}",
            count(b.rows),
            count(b.frauds),
        ]
        for b in bins
    ]
    head = ["mean score", "share that is fraud", "95 % interval", "rows", "frauds"]
    return section(
        "calibration",
        "Are scores probabilities?",
        grid(
            figure(
                "Reliability",
                reliability_chart(bins, before),
                "Test rows are put together by tenths of the score. Dots on the dashed line mean that of the "
                "transactions that score 30 %, 30 % are fraud; above it fraud is likelier than the score says. The "
                "vertical lines are 95 % intervals: long ones rest on few rows.",
            ),
            "<div>" + table("Observed fraud by score", head, rows) + _method(subject) + "</div>",
        ),
    )


def _method(subject: Subject) -> str:
    found = subject.metrics.get("calibration")
    if not found:
        return ""
    rows = [["asked for", str(found["requested"])], ["applied", str(found["method"])]]
    losses = found.get("log_loss") or {}
    rows += [[f"log loss, {name}", number(value)] for name, value in losses.items() if value is not None]
    return table("Calibration, chosen on held-out validation rows", ["setting", "value"], rows)
