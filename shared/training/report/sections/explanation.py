"""What the model looks at."""

from typing import Final

import numpy as np

from shared.training.report.charts.beeswarm import beeswarm_chart
from shared.training.report.charts.intervals import importance_chart
from shared.training.report.markup import figure, grid, section, table
from shared.training.report.subject import Subject
from shared.training.report.text import count, number, percent

_DRAWN: Final = 20
_LISTED: Final = 60
_METHODS: Final = {
    "tree_shap": "SHAP values divide each score exactly among the features.",
    "linear_shap": "SHAP values divide each score exactly among the features, taken as independent of each other.",
    "sampled_shapley": "SHAP values divide each score among the features; here they are estimated by sampling.",
}


def explanation(subject: Subject) -> str:
    """Importance and beeswarm of the strongest features, row by row, and a table of what they mean."""
    names = list(subject.description["feature_names"])
    importance: dict[str, float] = subject.description["feature_importance"]
    explained = subject.evidence.explanation
    strongest = list(importance)[:_DRAWN]
    columns = [names.index(name) for name in strongest]
    unit = explained.kind.unit.replace("_", "-")
    of = " They explain the score before calibration." if explained.kind.of == "uncalibrated_score" else ""
    rows = count(len(explained.values))
    table_rows = [
        [
            name,
            number(importance[name], 3, padded=True),
            percent(float(np.isnan(explained.values[:, names.index(name)]).mean())),
            subject.meanings.get(name, ""),
        ]
        for name in list(importance)[:_LISTED]
    ]
    listed = f", the {_LISTED} most important of {len(names)}" if len(names) > _LISTED else ""
    return section(
        "explanation",
        "What it looks at",
        grid(
            figure(
                "Importance",
                importance_chart({name: importance[name] for name in strongest}, unit),
                f"How far a feature moves a score on average, up or down, over {rows} test rows spread over time. "
                f"{_METHODS[explained.kind.method]} Strong does not mean that it causes fraud.{of}",
            ),
            figure(
                "Beeswarm",
                beeswarm_chart(strongest, explained.values[:, columns], explained.contributions[:, columns], unit),
                f"Each of the {rows} rows is a dot in every line. Right of the middle the feature raised the risk, "
                "left of it it lowered the risk. Red dots have high values of the feature, blue ones low, grey ones "
                "none. Dots are drawn to the nearest two units of the picture, 460 wide; several in one place are one, "
                "of their mean colour.",
            ),
        ),
        table(
            f"Features{listed}",
            ["feature", f"mean |SHAP| ({unit})", "missing", "what it is"],
            table_rows,
            words=(0, 3),
        ),
    )
