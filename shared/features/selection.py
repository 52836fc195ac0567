"""Choosing features by variance, correlation, mutual information and importance, on the training part only.

Heavy libraries (scikit-learn, XGBoost) are imported when selection runs, never before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.features.config import SelectionConfig
from shared.features.elimination import Elimination, eliminate
from shared.features.importance import ROUNDS, gain_shares, small_model

if TYPE_CHECKING:
    import polars as pl

_CELLS = 64
_POSITIVE_SHARE = 0.5
# A single feature that separates the classes this well is more often a leak than a discovery.
_LEAK_AUC = 0.999


@dataclass(frozen=True, slots=True)
class RankedFeature:
    """One feature in the ranking. ``score`` is in [0, 1], 1 the best; ``reason`` tells why it was dropped."""

    name: str
    score: float
    mutual_information: float
    gain: float
    selected: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """Every feature, best first, and what the choice was made on."""

    ranking: tuple[RankedFeature, ...]
    sample_rows: int
    sample_positives: int
    training_rows: int
    correlated: tuple[tuple[str, str, float], ...]
    suspected_leaks: tuple[str, ...]
    config: SelectionConfig
    elimination: Elimination | None = None

    @property
    def selected(self) -> tuple[RankedFeature, ...]:
        """The chosen features, best first."""
        return tuple(feature for feature in self.ranking if feature.selected)

    def report(self) -> dict[str, Any]:
        """What ``feature_sets.selection_report`` holds."""
        return {
            "part": "training",
            "training_rows": self.training_rows,
            "sample": {
                "rows": self.sample_rows,
                "positives": self.sample_positives,
                "seed": self.config.seed,
                "how": "all positives up to half of the sample, the rest negatives at random",
            },
            "config": self.config.model_dump(),
            "methods": {
                "mutual_information": f"nats, over {_CELLS} quantile cells and one for missing",
                "gain": f"share of the total gain of an XGBoost model of {ROUNDS} trees",
                "score": "mean of the two rankings, 1 the best",
            },
            "ranking": [asdict(feature) for feature in self.ranking],
            "correlated": [
                {"feature": dropped, "kept": kept, "correlation": value} for dropped, kept, value in self.correlated
            ],
            "suspected_leaks": list(self.suspected_leaks),
            "recursive_elimination": self.elimination.report() if self.elimination else None,
        }


def stratified_sample(labels: NDArray[np.int8], rows: int, seed: int) -> NDArray[np.int64]:
    """Sorted positions of at most ``rows`` labelled rows: all positives up to half of them, the rest negatives.

    :param labels: shape ``(n,)``: 1, 0, or anything else for unknown.
    """
    random = np.random.default_rng(seed)
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wanted = min(len(positives), max(int(rows * _POSITIVE_SHARE), rows - len(negatives)))
    chosen = random.choice(positives, wanted, replace=False) if wanted < len(positives) else positives
    others = min(len(negatives), rows - len(chosen))
    rest = random.choice(negatives, others, replace=False) if others < len(negatives) else negatives
    return np.sort(np.concatenate([chosen, rest]))


def select_features(
    sample: "pl.DataFrame", labels: NDArray[np.int8], config: SelectionConfig, *, training_rows: int
) -> SelectionResult:
    """Rank and choose the columns of ``sample``.

    :param sample: float32 features of sampled training rows in order of time, NaN where missing.
    :param labels: 0 or 1 of the same rows, both present.
    :raises ValueError: only one class in ``labels``.
    :raises InvalidContent: elimination is asked for, and the earlier or the later rows lack a class.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError("selection needs both classes")
    names = sample.columns
    columns = {name: sample[name].to_numpy() for name in names}
    flat = {name for name, values in columns.items() if variance(values) <= config.min_variance}
    candidates = [name for name in names if name not in flat]
    information = {name: mutual_information(columns[name], labels) for name in candidates}
    gain = _gain(candidates, columns, labels, config.seed)
    score = {
        name: (by_information + by_gain) / 2
        for name, by_information, by_gain in zip(
            candidates, _ranks([information[n] for n in candidates]), _ranks([gain[n] for n in candidates]), strict=True
        )
    }
    ordered = sorted(candidates, key=lambda name: (-score[name], names.index(name)))
    correlated = _correlated(ordered, columns, config.max_correlation)
    reasons: dict[str, str] = dict.fromkeys(flat, "does not vary in the sample")
    reasons |= {dropped: f"correlates {value:+.4f} with {kept}" for dropped, kept, value in correlated}
    left = [name for name in ordered if name not in reasons]
    reasons |= dict.fromkeys(left[config.max_features :], f"beyond the best {config.max_features}")
    left = left[: config.max_features]
    elimination = None
    if not config.enabled:
        reasons = {}
    elif config.recursive_elimination is not None and left:
        elimination = eliminate(left, columns, labels, config.recursive_elimination, config.seed)
        weak = set(left).difference(elimination.kept)
        reasons |= dict.fromkeys(weak, f"eliminated: {len(elimination.kept)} others do as well")
    ranking = tuple(
        RankedFeature(
            name=name,
            score=round(score.get(name, 0.0), 6),
            mutual_information=round(information.get(name, 0.0), 9),
            gain=round(gain.get(name, 0.0), 9),
            selected=name not in reasons,
            reason=reasons.get(name),
        )
        for name in [*ordered, *(name for name in names if name in flat)]
    )
    return SelectionResult(
        ranking=ranking,
        sample_rows=len(labels),
        sample_positives=int(labels.sum()),
        training_rows=training_rows,
        correlated=correlated,
        suspected_leaks=_suspected_leaks(candidates, columns, labels),
        config=config,
        elimination=elimination,
    )


def mutual_information(values: NDArray[np.float32], labels: NDArray[np.int8]) -> float:
    """Mutual information of a feature and the label in nats, over quantile cells with missing as its own cell."""
    from sklearn.metrics import mutual_info_score

    missing = np.isnan(values)
    present = values[~missing]
    cells = np.zeros(len(values), dtype=np.int64)
    if len(present):
        edges = np.unique(np.quantile(present, np.linspace(0, 1, _CELLS + 1)[1:-1]).astype(values.dtype))
        # Searching on both sides gives a value that fills several quantiles a cell of its own.
        cells[~missing] = 1 + np.searchsorted(edges, present, "left") + np.searchsorted(edges, present, "right")
    return max(float(mutual_info_score(labels, cells)), 0.0)


def variance(values: NDArray[np.float32]) -> float:
    """Variance where missing counts as a value of its own: a column of 5s and gaps varies."""
    missing = np.isnan(values)
    present = values[~missing].astype(np.float64)
    gaps = float(missing.mean())
    return (float(present.var()) if len(present) else 0.0) + gaps * (1 - gaps)


def _gain(
    names: Sequence[str], columns: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int8], seed: int
) -> dict[str, float]:
    """Share of the total gain of each feature in a small boosted model."""
    if not names:
        return {}
    model = small_model(np.column_stack([columns[name] for name in names]), labels, seed)
    return dict(zip(names, gain_shares(model).tolist(), strict=True))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks scaled to [0, 1], 1 for the largest; equal values share the mean rank."""
    from scipy.stats import rankdata

    return [float(rank) / len(values) for rank in rankdata(values)]


def _correlated(
    ordered: Sequence[str], columns: Mapping[str, NDArray[np.float32]], limit: float
) -> tuple[tuple[str, str, float], ...]:
    """Features that repeat a better one: (dropped, kept, Pearson's r), missing values at the mean."""
    if len(ordered) < 2:
        return ()
    matrix = np.column_stack([_standardised(columns[name]) for name in ordered])
    correlations = matrix.T @ matrix / len(matrix)
    dropped: list[tuple[str, str, float]] = []
    kept: list[int] = []
    for position, name in enumerate(ordered):
        rival = next((k for k in kept if abs(correlations[position, k]) > limit), None)
        if rival is None:
            kept.append(position)
        else:
            dropped.append((name, ordered[rival], round(float(correlations[position, rival]), 6)))
    return tuple(dropped)


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    missing = np.isnan(wide)
    if missing.all():
        return np.zeros_like(wide)
    wide[missing] = wide[~missing].mean()
    wide -= wide.mean()
    deviation = wide.std()
    return wide / deviation if deviation > 0 else np.zeros_like(wide)


def _suspected_leaks(
    names: Sequence[str], columns: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int8]
) -> tuple[str, ...]:
    """Features that alone order the classes almost perfectly."""
    from sklearn.metrics import roc_auc_score

    leaks = []
    for name in names:
        values = columns[name]
        known = ~np.isnan(values)
        # A feature that is missing for most rows orders nothing by itself.
        if known.mean() < 0.5 or len(np.unique(labels[known])) < 2:
            continue
        auc = float(roc_auc_score(labels[known], values[known]))
        if max(auc, 1 - auc) >= _LEAK_AUC:
            leaks.append(name)
    return tuple(leaks)
