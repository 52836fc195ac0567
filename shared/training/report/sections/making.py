"""How the model was made: what it is, from which data, round by round."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from shared.training.algorithms import ALGORITHMS
from shared.training.report.charts.curves import training_chart
from shared.training.report.markup import figure, grid, omitted, paragraph, section, table
from shared.training.report.subject import Subject
from shared.training.report.text import NONE, count, number, percent

_FIGURE_NAMES: Final = {"logloss": "log loss", "aucpr": "average precision", "auc": "ROC-AUC"}


def making(subject: Subject) -> str:
    """Settings, versions and parts in time; then the rounds."""
    changed, rest = _hyperparameters(subject)
    settings = table(
        "Hyperparameters that differ from their defaults" if changed else "All hyperparameters have their defaults",
        ["hyperparameter", "value", "default"],
        changed or rest,
    )
    others = paragraph("Defaults elsewhere: " + ", ".join(f"{name} {value}" for name, value, _ in rest) + ".")
    return section(
        "making",
        "How it was made",
        grid(
            f"<div>{_parts(subject)}{_versions(subject)}</div>",
            f"<div>{settings}{others if changed and rest else ''}</div>",
        ),
        grid(*_rounds(subject)),
    )


def identity(subject: Subject) -> str:
    """What it is: algorithm, size, and the ids of all that it comes from, as a table."""
    described = subject.description
    entry = ALGORITHMS.get(described["algorithm"])
    rows = [
        ["algorithm", entry.title if entry else str(described["algorithm"])],
        ["features", count(len(described["feature_names"]))],
        ["rounds kept", count(subject.training.get("rounds") or 0)],
        ["threshold", number(subject.threshold, 6)],
        ["model", str(described["model_id"])],
        ["training job", str(described["training_job_id"])],
        ["feature set", str(described["feature_set_id"])],
        ["dataset", str(described["dataset_id"])],
    ]
    return table("What it is", ["property", "value"], rows, words=(0, 1))


def _versions(subject: Subject) -> str:
    rows = [[name, str(version)] for name, version in sorted(subject.description["versions"].items())]
    return table("Made with", ["software", "version"], rows)


def _hyperparameters(subject: Subject) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of name, value and default: those that differ, and the others."""
    entry = ALGORITHMS.get(subject.description["algorithm"])
    defaults = entry.hyperparameters().model_dump(mode="json") if entry else {}
    given = {**defaults, **subject.description["hyperparameters"]}
    rows = [[name, _shown(value), _shown(defaults.get(name))] for name, value in given.items()]
    return [row for row in rows if row[1] != row[2]], [row for row in rows if row[1] == row[2]]


def _shown(value: object) -> str:
    if value is None:
        return NONE
    return number(value, 6) if isinstance(value, float) else str(value)


def _parts(subject: Subject) -> str:
    """The three parts in time."""
    split = subject.training.get("split")
    if not split:
        return ""
    validation = subject.metrics.get("validation") or {}
    bounds = {
        "fitting": (split["fit_end"], None, None),
        "validation": (split["train_end"] - split["fit_end"], split.get("validation_from"), validation),
        "test": (split["rows"] - split["train_end"], split.get("test_from"), subject.metrics),
    }
    rows = [
        [
            name,
            count(rows),
            percent(rows / split["rows"]),
            _moment(begins),
            NONE if not figures or figures.get("frauds") is None else count(figures["frauds"]),
        ]
        for name, (rows, begins, figures) in bounds.items()
    ]
    order = "time" if split["ordered_by"] == "time" else "the file's order, for want of times"
    return table(f"Parts of the data, by {order}", ["part", "rows", "share", "from", "frauds"], rows)


def _moment(microseconds: int | None) -> str:
    if microseconds is None:
        return NONE
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _rounds(subject: Subject) -> list[str]:
    curves: Mapping[str, Mapping[str, Sequence[float]]] = subject.training.get("curves") or {}
    best = int(subject.training.get("best_round") or 0)
    if best != subject.training.get("rounds"):  # an algorithm that keeps all its rounds, however they stood
        best = 0
    charts = []
    for position, key in enumerate(_measured(curves)):
        parts = {
            part: (curves[part]["round"], curves[part][key])
            for part in ("validation", "train")
            if curves.get(part, {}).get(key)
        }
        if max(max(rounds) for rounds, _ in parts.values()) < 2:
            continue
        name = _FIGURE_NAMES.get(key, key.replace("_", " "))
        charts.append(
            figure(
                f"{name} by round",
                training_chart(f"rounds-{position}", name, parts, best),
                _READING if best else _ALL_KEPT,
            )
        )
    return charts or [omitted("Curves of training", "Left out: the model was not made in rounds.")]


def _measured(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    keys = [key for part in ("validation", "train") for key in curves.get(part, {}) if key != "round"]
    return list(dict.fromkeys(keys))


_ALL_KEPT: Final = "How the model stood after each round. All rounds were kept."
_READING: Final = (
    "How the model stood after each round. Where the validation line turns while the one of the training rows goes on "
    "improving, the model begins to learn by heart; training stops there, and the best round is kept."
)
