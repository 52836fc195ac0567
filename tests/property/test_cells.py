"""One byte a monitored column, on whatever transactions and vectors hold."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared.features.plan import FeaturePlan
from shared.monitoring.categories import GroupProfile, profile_category
from shared.monitoring.cells import CellEncoder
from shared.monitoring.codes import MISSING_CODE, UNSEEN_CODE
from shared.monitoring.profile import build_profile, profile_scores
from shared.training.artifacts import PLAN
from tests.fixtures.artifacts import packed_model

PLAN_OF_KIND = FeaturePlan.from_json(packed_model().files[PLAN])
VALUES = st.floats(width=32, allow_infinity=False) | st.sampled_from([0.0, -0.0, float("nan"), 3e38, -3e38])
MATRIX = arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=VALUES)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
GROUPS = (
    GroupProfile(name="gender", kind="values", groups=("F", "M")),
    GroupProfile(name="age", kind="ages", groups=("under 18", "18 to 24", "25 to 34", "35 to 44", "45+", "55+", "65+")),
    GroupProfile(name="income", kind="bands", groups=("up to 10", "over 10 to 20", "over 20"), edges=(10, 20)),
)


def _encoder(reference: NDArray[np.float32], threshold: float = 0.25) -> CellEncoder:
    kinds = profile_category("kind", {"card": 90, "bank": 10}, 0)
    assert kinds is not None
    scores = np.linspace(0, 1, 50, dtype=np.float32)
    profile = build_profile(dict(zip("abc", reference.T, strict=True))).model_copy(
        update={"categories": (kinds,), "groups": GROUPS, "scores": profile_scores(scores, threshold)}
    )
    return CellEncoder.of(profile, PLAN_OF_KIND)


def _codes(encoder: CellEncoder, rows: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), encoder.layout.width)


@settings(max_examples=100, deadline=None)
@given(reference=MATRIX, current=MATRIX, seed=st.integers(0, 99))
def test_numbers_fall_into_the_cells_of_the_profile(
    reference: NDArray[np.float32], current: NDArray[np.float32], seed: int
) -> None:
    """A batch at once gives the same cell for every number as its column's profile alone, scores included."""
    encoder = _encoder(reference)
    scores = np.random.default_rng(seed).random(len(current)).astype(np.float32)
    codes = _codes(encoder, encoder.encode([{}] * len(current), current, scores))
    profile = build_profile(dict(zip("abc", reference.T, strict=True)))
    assert (codes[:, :3] == profile.encode(current)).all()
    expected = profile_scores(np.linspace(0, 1, 50, dtype=np.float32), 0.25)
    assert (codes[:, -1] == expected.encode(scores)).all()


@settings(max_examples=200, deadline=None)
@given(threshold=st.floats(0, 1), score=st.floats(0, 1, width=32))
def test_the_score_cell_tells_the_decision(threshold: float, score: float) -> None:
    """A score is flagged exactly when its cell is the first flagged one or a later one, to the last bit."""
    profile = profile_scores(np.array([0.1, 0.5, 0.9], np.float32), threshold)
    for value in (score, float(np.float32(threshold))):
        code = int(profile.encode(np.array([value], np.float32))[0])
        assert (code >= profile.flagged_from) == (value >= threshold)


@settings(max_examples=150, deadline=None)
@given(values=st.dictionaries(st.sampled_from(["kind", "gender", "age", "income"]), ANYTHING))
def test_nothing_in_a_transaction_stops_the_encoder(values: dict[str, Any]) -> None:
    """Texts where numbers were, lists, infinities: a code comes out, and a value that is not there is missing."""
    encoder = _encoder(np.zeros((4, 3), np.float32))
    codes = _codes(encoder, encoder.encode([values], np.zeros((1, 3), np.float32), np.array([0.5])))[0]
    for name, code in zip(["kind", "gender", "age", "income"], codes[3:7].tolist(), strict=True):
        if values.get(name) is None:
            assert code == MISSING_CODE
        else:
            assert code < 7 or code in (UNSEEN_CODE, MISSING_CODE)


def test_categories_and_groups_find_their_cells() -> None:
    """Known values have the code of their cell, unknown ones the code of unseen."""
    encoder = _encoder(np.zeros((4, 3), np.float32))
    transactions: list[dict[str, Any]] = [
        {"kind": "card", "gender": "F", "age": 17, "income": 10},
        {"kind": "bank", "gender": "M", "age": "66", "income": 10.5},
        {"kind": "gold", "gender": "X", "age": -1, "income": 2e9},
    ]
    codes = _codes(encoder, encoder.encode(transactions, np.zeros((3, 3), np.float32), np.zeros(3)))
    assert codes[:, 3:7].tolist() == [[0, 0, 0, 0], [1, 1, 6, 1], [UNSEEN_CODE, UNSEEN_CODE, MISSING_CODE, 2]]
