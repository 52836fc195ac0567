"""Choosing features."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mutual_info_score

from shared.features.config import SelectionConfig
from shared.features.ranking_plot import ranking_svg
from shared.features.selection import SelectionResult, mutual_information, select_features, stratified_sample

N = 4_000


def _sample() -> tuple[pl.DataFrame, np.ndarray]:
    random = np.random.default_rng(5)
    labels = (random.random(N) < 0.1).astype(np.int8)
    strong = (random.normal(size=N) + 2.0 * labels).astype(np.float32)
    weak = (random.normal(size=N) + 0.3 * labels).astype(np.float32)
    gaps = np.where(random.random(N) < 0.2 + 0.6 * labels, np.nan, 1.0).astype(np.float32)
    columns = {
        "noise": random.normal(size=N).astype(np.float32),
        "weak": weak,
        "strong": strong,
        "strong_again": strong * 3 + 1,
        "flat": np.ones(N, dtype=np.float32),
        "gaps": gaps,
        "leak": labels.astype(np.float32),
    }
    return pl.DataFrame(columns), labels


def _select(without: tuple[str, ...] = (), **config: object) -> SelectionResult:
    frame, labels = _sample()
    return select_features(frame.drop(without), labels, SelectionConfig.model_validate(config), training_rows=N)


def test_ranking_follows_what_the_label_depends_on() -> None:
    """The strong feature is above the weak one, noise is last of those that vary, the flat one is dropped."""
    result = _select(without=("leak",))
    names = [feature.name for feature in result.ranking]
    assert names.index("strong") < names.index("weak") < names.index("noise")
    assert names[-1] == "flat"
    assert result.ranking[-1].reason == "does not vary in the sample"


def test_a_copy_is_dropped_in_favour_of_the_better_ranked() -> None:
    """Of two features that are the same up to scale exactly one is kept, and the report says which."""
    result = _select(without=("leak",))
    pair = {"strong", "strong_again"}
    assert len(pair & {feature.name for feature in result.selected}) == 1
    ((dropped, kept, correlation),) = result.correlated
    assert {dropped, kept} == pair
    assert correlation == pytest.approx(1.0)


def test_a_feature_that_is_only_sometimes_there_can_matter() -> None:
    """Where being missing tells fraud, a column that is constant otherwise is informative, not flat."""
    found = next(feature for feature in _select(without=("leak",)).ranking if feature.name == "gaps")
    assert found.selected
    assert found.mutual_information > 0.05


def test_at_most_so_many_are_selected() -> None:
    """The limit keeps the best and says of the rest why they are out."""
    result = _select(max_features=2)
    assert len(result.selected) == 2
    assert "beyond the best 2" in {feature.reason for feature in result.ranking}


def test_selection_that_is_off_keeps_everything() -> None:
    """The ranking is there, and nothing is dropped."""
    assert len(_select(enabled=False).selected) == 7


def test_a_copy_of_the_label_is_suspected() -> None:
    """A feature that alone separates the classes is reported as a possible leak."""
    assert _select().suspected_leaks == ("leak",)


def test_the_same_sample_gives_the_same_ranking() -> None:
    """Nothing in the choice depends on chance."""
    assert _select() == _select()


def test_mutual_information_of_categories_equals_scikit_learn() -> None:
    """On a feature with few values the cells are the values, so the figure is the library's."""
    random = np.random.default_rng(3)
    values = random.integers(0, 6, N).astype(np.float32)
    labels = (random.random(N) < values / 10).astype(np.int8)
    assert mutual_information(values, labels) == pytest.approx(mutual_info_score(labels, values.astype(int)), abs=1e-12)


def test_one_class_is_refused() -> None:
    """Without both classes nothing can be ranked."""
    frame, labels = _sample()
    with pytest.raises(ValueError, match="both classes"):
        select_features(frame, np.zeros_like(labels), SelectionConfig(), training_rows=N)


def test_the_sample_keeps_positives_and_order() -> None:
    """All positives up to half of the sample, no unknown label, positions rising, the same for the same seed."""
    labels = np.array([1] * 30 + [0] * 5_000 + [-1] * 100, dtype=np.int8)
    chosen = stratified_sample(labels, 1_000, seed=1)
    assert len(chosen) == 1_000
    assert labels[chosen].sum() == 30
    assert (np.diff(chosen) > 0).all()
    assert (chosen == stratified_sample(labels, 1_000, seed=1)).all()
    many = stratified_sample(np.array([1] * 900 + [0] * 900, dtype=np.int8), 1_000, seed=1)
    assert len(many) == 1_000


def test_the_picture_names_features_and_escapes_text() -> None:
    """The plot is one SVG without scripts or links, with every shown name in it."""
    picture = ranking_svg(_select().ranking, title="<b>& set").decode()
    assert picture.startswith("<svg")
    assert "&lt;b&gt;&amp; set" in picture
    assert all(f">{name}<" in picture for name in ("strong", "weak", "noise"))
    assert "script" not in picture
