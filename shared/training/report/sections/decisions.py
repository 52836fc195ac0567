"""What thresholds do: the curves, the confusion at the chosen one, and a table of others."""

from typing import Final

import numpy as np

from shared.training.evaluation import ScoreCurve
from shared.training.report.charts.curves import early_roc_chart, precision_recall_chart, roc_chart
from shared.training.report.charts.scores import score_distribution_chart
from shared.training.report.markup import figure, grid, omitted, section, table
from shared.training.report.subject import Subject
from shared.training.report.text import NONE, axis_percent, count, number, percent
from shared.training.threshold import FprLimit, choose_threshold

_FALSE_ALARMS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


_RANKING: Final = "How well it tells fraud from genuine"


def ranking(subject: Subject) -> str:
    """The curves over all thresholds."""
    curve, evidence = subject.curve, subject.evidence
    distribution = figure(
        "Scores by class",
        score_distribution_chart(evidence.scores, evidence.labels, subject.threshold),
        "How many test rows have which score, in 50 steps; each line of the grid is ten times the one below. What lies "
        "right of the threshold is flagged: blue there are false alarms, orange left of it are missed frauds.",
    )
    if curve is None:
        why = subject.why_no_curve
        return section("ranking", _RANKING, grid(distribution, omitted("ROC and precision–recall curves", why)))
    recall, fpr, precision = _at(curve, subject.threshold)
    return section(
        "ranking",
        _RANKING,
        grid(
            figure(
                "ROC curve",
                roc_chart(curve, fpr, recall),
                "Each point is a threshold: how many frauds it finds (up) against how many genuine transactions it "
                "flags (right). The nearer to the upper left corner the better; the dashed line is guessing. The ring "
                "is the chosen threshold.",
            ),
            figure(
                "ROC curve where it matters",
                early_roc_chart(curve, fpr, recall),
                "The same curve with the left end stretched: each step to the right is ten times as many false alarms. "
                "The dotted lines are at 0.1 %, 1 % and 5 % of the genuine transactions, with the share of "
                "the frauds that is found there.",
            ),
            figure(
                "Precision and recall",
                precision_recall_chart(curve, recall, precision),
                "How clean the flagged transactions are (up) when more frauds are to be found (right). The nearer to "
                "the upper right corner the better; the dashed line is what flagging everything would give.",
            ),
            distribution,
        ),
    )


def decisions(subject: Subject) -> str:
    """The chosen threshold, and others."""
    curve, policy = subject.curve, f"<div>{_policy(subject)}</div>"
    if curve is None:
        why = omitted("Confusion and other thresholds", subject.why_no_curve)
        return section("decisions", "What it decides", grid(policy, why))
    confusion = f"<div>{_confusion(subject)}</div>"
    return section("decisions", "What it decides", grid(confusion, policy), _threshold_table(subject, curve))


def _confusion(subject: Subject) -> str:
    found = subject.metrics["confusion"]
    tp, fp = found["true_positives"], found["false_positives"]
    tn, fn = found["true_negatives"], found["false_negatives"]
    return table(
        f"Decisions on the test part at the threshold {number(subject.threshold, 4)}",
        ["class", "flagged", "let through", "in all"],
        [
            ["fraud", count(tp), count(fn), count(tp + fn)],
            ["genuine", count(fp), count(tn), count(fp + tn)],
            ["in all", count(tp + fp), count(fn + tn), count(tp + fp + fn + tn)],
        ],
    )


def _policy(subject: Subject) -> str:
    policy = dict(subject.description["threshold_policy"])
    met = policy.pop("met", True)
    kind = str(policy.pop("type", NONE))
    rows = [["policy", _POLICIES.get(kind, kind)]]
    rows += [
        [str(name).replace("_", " "), number(value) if _is_number(value) else str(value)]
        for name, value in policy.items()
    ]
    rows.append(["met on the validation part", "yes" if met else "no, the nearest was taken"])
    for name, shown in (("review", _REVIEW), ("cost", _COST)):
        figures = subject.metrics.get(name) or {}
        rows += [[text, number(figures[key])] for key, text in shown if _is_number(figures.get(key))]
    return table("How the threshold was chosen", ["setting", "value"], rows)


_POLICIES: Final = {
    "max_f1": "highest F1 score",
    "target_precision": "least precision",
    "fpr_limit": "most false positives",
    "review_capacity": "what can be reviewed",
    "least_cost": "least cost",
    "fixed": "set by hand",
}
_REVIEW: Final = (("per_day", "reviewed a day"), ("frauds_found", "frauds the reviewers see"))
_COST: Final = (("total", "total cost"), ("without_model", "cost without a model"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _threshold_table(subject: Subject, curve: ScoreCurve) -> str:
    """Thresholds for round shares of false alarms, and the chosen one among them."""
    days, costs = subject.evidence.days, _costs(subject)
    thresholds = {subject.threshold: "chosen"}
    for limit in _FALSE_ALARMS:
        choice = choose_threshold(curve, FprLimit(type="fpr_limit", fpr=limit), None)
        if choice.met and choice.threshold <= 1:
            thresholds.setdefault(choice.threshold, f"FPR ≤ {axis_percent(limit)}")
    head = ["threshold", "which", "precision", "recall", "FPR", "flagged"]
    head += ["flagged a day"] if days else []
    head += ["cost"] if costs else []
    rows = []
    ordered = sorted(thresholds, reverse=True)
    for threshold in ordered:
        flagged, hits = _flagged(curve, threshold)
        row = [
            number(threshold, 4),
            thresholds[threshold],
            percent(hits / flagged if flagged else None),
            percent(hits / curve.positives),
            percent((flagged - hits) / curve.negatives),
            count(flagged),
        ]
        row += [number(flagged / days, 3, padded=True)] if days else []
        row += [number(costs[0] * (curve.positives - hits) + costs[1] * (flagged - hits))] if costs else []
        rows.append(row)
    caption = "What other thresholds would do on the test part"
    return table(caption, head, rows, strong=ordered.index(subject.threshold), words=(0, 1))


def _costs(subject: Subject) -> tuple[float, float] | None:
    found = subject.metrics.get("cost") or subject.description["threshold_policy"]
    if "missed_fraud" not in found:
        return None
    return float(found["missed_fraud"]), float(found["false_alarm"])


def _flagged(curve: ScoreCurve, threshold: float) -> tuple[int, int]:
    """Rows at or above a threshold, and the frauds among them."""
    reached = int(np.searchsorted(-curve.scores, -threshold, side="right"))
    return (int(curve.flagged[reached - 1]), int(curve.true_positives[reached - 1])) if reached else (0, 0)


def _at(curve: ScoreCurve, threshold: float) -> tuple[float, float, float]:
    """Recall, false positive rate and precision at a threshold; a precision of nothing is drawn at 0."""
    flagged, hits = _flagged(curve, threshold)
    return hits / curve.positives, (flagged - hits) / curve.negatives, hits / flagged if flagged else 0.0
