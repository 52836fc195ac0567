"""The hyperparameter search that the model won, where there was one."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

from shared.training.report.charts.trials import trials_chart
from shared.training.report.markup import figure, grid, paragraph, section, table
from shared.training.report.subject import Subject
from shared.training.report.text import NONE, count, number, percent

_LISTED: Final = 50


def search(subject: Subject) -> str:
    """Every trial with its score, best first; nothing for a model that was not searched for."""
    found: Mapping[str, Any] = subject.training.get("search") or {}
    trials: Sequence[Mapping[str, Any]] = found.get("trials") or []
    if not trials:
        return ""
    metric = str(found["metric"]).replace("_", " ")
    scored = [trial for trial in trials if trial.get("score") is not None]
    ranked = sorted(trials, key=_standing, reverse=True)
    searched = list(dict.fromkeys(name for trial in trials for name in trial["hyperparameters"]))
    rows = [
        [
            str(trial["number"]),
            str(trial["status"]).lower(),
            *(_shown(trial["hyperparameters"].get(name)) for name in searched),
            count((trial.get("rung") or 0) + 1),
            count(trial["rounds"]) if trial.get("rounds") is not None else NONE,
            number(trial.get("score"), 5, padded=True),
            str(trial.get("reason") or ""),
        ]
        for trial in ranked[:_LISTED]
    ]
    winner = found.get("winner")
    strong = next((i for i, trial in enumerate(ranked[:_LISTED]) if trial["number"] == winner), None)
    rungs = [percent(share) for share in found.get("rungs") or []]
    steps = (
        f" They were given {', '.join(rungs)} of the {found.get('resource')} step by step, and only the better ones "
        "went on from each."
        if len(rungs) > 1
        else ""
    )
    parts = [paragraph(f"{count(len(trials))} sets of hyperparameters were tried ({_method(found)}).{steps}")]
    if scored:
        chart = trials_chart([t["number"] for t in scored], [float(t["score"]) for t in scored], winner, metric)
        reading = (
            "Each dot is a trial at the step that it reached, judged on the validation part; higher is better. The "
            "ring is the one that this model was made with. Many dots as high as the ring say that the choice matters "
            "little."
        )
        parts.append(grid(figure(f"{metric} by trial", chart, reading)))
    caption = "Trials, best first" + (f", {_LISTED} of {len(trials)}" if len(trials) > _LISTED else "")
    head = ["trial", "status", *searched, "step", "rounds", metric, "reason"]
    parts.append(table(caption, head, rows, strong=strong, words=(0, 1, len(head) - 1)))
    return section("search", "How its settings were found", *parts)


def _standing(trial: Mapping[str, Any]) -> tuple[int, float]:
    """How far a trial came, then its score: only scores of one step compare."""
    return int(trial.get("rung") or 0), -inf if trial.get("score") is None else float(trial["score"])


def _method(found: Mapping[str, Any]) -> str:
    return f"{str(found.get('method')).replace('_', ' ')} search, seed {found.get('seed')}"


def _shown(value: object) -> str:
    return NONE if value is None else number(value, 4) if isinstance(value, float) else str(value)
