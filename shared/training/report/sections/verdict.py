"""How good the model is: the figures with their intervals, and what to be careful about."""

from typing import Any, Final, NamedTuple

from shared.training.report.charts.intervals import Interval, interval_chart
from shared.training.report.markup import figure, grid, paragraph, section, table, tiles
from shared.training.report.sections.making import identity
from shared.training.report.subject import Subject
from shared.training.report.text import NONE, count, number, percent


class Figure(NamedTuple):
    """A metric by its key: its name for people, what it says, and whether it is a share (0 to 1, more being better)."""

    key: str
    name: str
    meaning: str
    percent: bool = True
    share: bool = True


FIGURES: Final = (
    Figure("precision", "precision", "share of the flagged transactions that are fraud"),
    Figure("recall", "recall", "share of the frauds that are flagged"),
    Figure("f1_score", "F1 score", "harmonic mean of precision and recall", percent=False),
    Figure("fpr", "false positive rate", "share of the genuine transactions that are flagged", share=False),
    Figure("flag_rate", "flag rate", "share of all transactions that are flagged", share=False),
    Figure("auc_roc", "ROC-AUC", "chance that a fraud scores higher than a genuine transaction", percent=False),
    Figure("auc_pr", "average precision", "precision averaged over all levels of recall", percent=False),
    Figure("recall_at_fpr_0_1pct", "recall at 0.1 % FPR", "frauds found with at most 0.1 % false alarms"),
    Figure("recall_at_fpr_1pct", "recall at 1 % FPR", "frauds found with at most 1 % false alarms"),
    Figure("recall_at_fpr_5pct", "recall at 5 % FPR", "frauds found with at most 5 % false alarms"),
    Figure("precision_at_capacity", "precision at capacity", "share of fraud among the reviewed"),
    Figure("recall_at_capacity", "recall at capacity", "share of the frauds that the reviewers see"),
    Figure(
        "cost_per_transaction", "cost per transaction", "missed frauds and false alarms", percent=False, share=False
    ),
    Figure("brier", "Brier score", "mean squared error of the probability", percent=False, share=False),
    Figure("log_loss", "log loss", "mean negative log likelihood, nats", percent=False, share=False),
    Figure("calibration_error", "calibration error", "mean gap between score and fraud rate", share=False),
    Figure("accuracy", "accuracy", "share of right decisions; says little where fraud is rare", share=False),
)
_FIRST: Final = ("recall", "precision", "fpr", "auc_roc", "auc_pr", "recall_at_fpr_1pct")


def verdict(subject: Subject) -> str:
    """The section; a figure that is known of neither part has no row."""
    metrics, validation = subject.metrics, subject.metrics.get("validation") or {}
    known = [f for f in FIGURES if metrics.get(f.key) is not None or validation.get(f.key) is not None]
    by_key = {figure.key: figure for figure in known}
    rows = [
        [
            figure.name,
            told(figure, metrics.get(figure.key)),
            _interval_told(figure, _interval(metrics, figure.key)),
            told(figure, validation.get(figure.key)),
            figure.meaning,
        ]
        for figure in known
    ]
    parts = [paragraph(_sentence(subject))]
    first = [by_key[key] for key in _FIRST if key in by_key]
    if first:
        shown = [(f.name, told(f, metrics.get(f.key)), _between(f, _interval(metrics, f.key))) for f in first]
        parts.append(tiles(shown))
    drawn = [
        Interval(f.name, float(metrics[f.key]), *(_interval(metrics, f.key) or (None, None)))
        for f in known
        if f.share and metrics.get(f.key) is not None
    ]
    boxes = [f"<div>{identity(subject)}</div>"]
    if drawn:
        chart = interval_chart("intervals", "Figures with 95 % confidence intervals", drawn)
        boxes.insert(0, figure("How sure the figures are", chart, _how_sure(metrics)))
    parts.append(grid(*boxes))
    if rows:
        head = ["figure", "test part", "95 % interval", "validation part", "what it is"]
        parts.append(table("Figures of the model", head, rows, words=(0, 4)))
    return section("verdict", "How good it is", *parts)


def _how_sure(metrics: Any) -> str:
    unit = ((metrics.get("intervals") or {}).get("method") or {}).get("unit", "row")
    return (
        "Each dot is the figure on the test part; the bar is the range that holds the true figure with 95 % confidence "
        f"(its {unit}s resampled). Long bars mean few frauds: two models whose bars overlap may be equally good."
    )


def told(figure: Figure, value: float | None) -> str:
    """The value as people read it."""
    return percent(value) if figure.percent else number(value, padded=True)


def _interval(metrics: Any, key: str) -> tuple[float, float] | None:
    found = (metrics.get("intervals") or {}).get(key)
    return None if not found else (float(found["low"]), float(found["high"]))


def _interval_told(figure: Figure, interval: tuple[float, float] | None) -> str:
    return NONE if interval is None else f"{told(figure, interval[0])} to {told(figure, interval[1])}"


def _between(figure: Figure, interval: tuple[float, float] | None) -> str:
    return "" if interval is None else _interval_told(figure, interval)


def _sentence(subject: Subject) -> str:
    metrics, evidence = subject.metrics, subject.evidence
    rows = count(len(evidence.scores))
    days = "" if evidence.days is None else f" from {number(evidence.days, 3)} days"
    if evidence.labels is None or "confusion" not in metrics:
        flagged = percent(float((evidence.scores >= subject.threshold).mean()))
        return (
            f"Without labels nobody can say how many frauds it finds. Of {rows} later transactions{days} it flags "
            f"{flagged}, those that score {number(subject.threshold, 3)} or more."
        )
    found, frauds = metrics["confusion"]["true_positives"], metrics["frauds"]
    alarms = metrics["confusion"]["false_positives"]
    return (
        f"On {rows} later transactions{days} that it had not seen, {count(frauds)} of them fraud "
        f"({percent(metrics['fraud_rate'])}), the model found {count(found)} frauds and raised {count(alarms)} false "
        f"alarms at its threshold of {number(subject.threshold, 3)}."
    )
