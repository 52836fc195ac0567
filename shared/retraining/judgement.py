"""Whether a challenger may take the champion's place: each rule with its numbers."""

from collections.abc import Mapping
from typing import Any, Final

# Beyond these a challenger must at least not be worse than its champion on the same rows.
_PARITY: Final = 0.10
_FPR: Final = 0.05
# Fewer rows behind a rate say more about chance than about the model.
_LEAST_ROWS: Final = 100


def judge(comparison: Mapping[str, Any], gate: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """The verdict: ``passed``, and ``rules``, each with ``name``, ``passed`` and what it looked at.

    :param comparison: :func:`shared.training.head_to_head.head_to_head` of champion and challenger.
    :param gate: the verdict of baselines and champion rules on the recorded metrics, as the registry gives it.
    :param tolerance: how much lower the challenger's average precision may be.
    """
    rules = [_not_worse(comparison, tolerance), *_even_handed(comparison["by_group"])]
    rules.append({"name": "baselines and champion rules", "passed": bool(gate["passed"]), "details": dict(gate)})
    return {"passed": all(rule["passed"] for rule in rules), "rules": rules, "comparison": dict(comparison)}


def _not_worse(comparison: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    found = comparison["differences"]["auc_pr"]
    difference = found["difference"]
    return {
        "name": "average precision on the same rows",
        "passed": difference is not None and difference >= -tolerance,
        "champion": comparison["champion"]["auc_pr"],
        "challenger": comparison["challenger"]["auc_pr"],
        "difference": difference,
        "interval": found["interval"],
        "tolerance": tolerance,
        "rows": comparison["rows"],
        "frauds": comparison["frauds"],
    }


def _even_handed(groups: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each protected attribute: gaps between groups are within the limits, or no wider than the champion's."""
    rules = []
    for attribute, of_challenger in groups["challenger"].items():
        of_champion = groups["champion"][attribute]
        for figure, limit, least in (("selection_rate", _PARITY, "rows"), ("fpr", _FPR, "genuine")):
            here, there = _gap(of_challenger, figure, least), _gap(of_champion, figure, least)
            if here is None:
                continue
            rules.append(
                {
                    "name": f"{figure} by {attribute}",
                    "passed": here <= limit or (there is not None and here <= there),
                    "challenger": here,
                    "champion": there,
                    "limit": limit,
                }
            )
    return rules


def _gap(of_attribute: Mapping[str, Any], figure: str, least: str) -> float | None:
    """The largest difference between two groups that are large enough; None without two."""
    rates = []
    for group in of_attribute["groups"]:
        rows = group["rows"] if least == "rows" else group["rows"] - group["frauds"]
        if rows >= _LEAST_ROWS and group[figure] is not None:
            rates.append(group[figure])
    return max(rates) - min(rates) if len(rates) > 1 else None
