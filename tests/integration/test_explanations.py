"""Reasons of a scored transaction, when it is scored and when it is read: the same figures, and exact ones."""

from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from shared.features.config import FeatureConfig
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from shared.platform.xgboost_runtime import load_xgboost
from shared.scoring.model import Explanation
from shared.scoring.reason_codes import CATALOGUE, CATALOGUE_VERSION
from shared.training.algorithms.booster import BoosterModel
from tests.fixtures.artifacts import packed_model
from tests.fixtures.scoring import Platform
from tests.fixtures.serving import registered

FEATURES, TREES, DEPTH, ROWS = 30, 200, 6, 300


@pytest.fixture(scope="module")
def model() -> tuple[BoosterModel, np.ndarray]:
    """A model of the size that is served, and rows it has not seen, with missing values."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(4000 + ROWS, FEATURES)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    labels = np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 1]) + rng.normal(size=len(rows)) > 2
    xgb = load_xgboost()
    matrix = xgb.QuantileDMatrix(rows[:4000], labels[:4000])
    booster = xgb.train({"objective": "binary:logistic", "max_depth": DEPTH, "seed": 1}, matrix, TREES)
    return BoosterModel(booster), rows[4000:]


def test_contributions_are_those_of_the_shap_library(model: tuple[BoosterModel, np.ndarray]) -> None:
    """Feature by feature within 1e-5, the base value too."""
    import shap

    booster, rows = model
    ours = booster.contributions(rows)
    explainer = shap.TreeExplainer(booster.booster)
    np.testing.assert_allclose(ours[:, :-1], explainer.shap_values(rows), atol=1e-5)
    np.testing.assert_allclose(ours[:, -1], float(np.ravel(explainer.expected_value)[0]), atol=1e-5)


def test_what_is_answered_adds_up_to_the_margin(model: tuple[BoosterModel, np.ndarray]) -> None:
    """Base value plus contributions, rounded as they are answered, within 2e-5 of the model's margin: 1e-5 is lost in
    the single precision of the library, the rest in rounding."""
    from shared.scoring.reasons import explanation

    booster, rows = model
    names = tuple(f"f{number}" for number in range(FEATURES))
    margins = booster.booster.inplace_predict(rows, predict_type="margin")
    for margin, values in zip(margins, booster.contributions(rows).tolist(), strict=True):
        found = explanation(names, values, booster.explanation)
        assert found.base_value + sum(found.contributions.values()) == pytest.approx(margin, abs=2e-5)


async def _served(platform: Platform, database: Database, blobs: BlobStore) -> None:
    rng = np.random.default_rng(3)
    amounts = rng.gamma(2, 50, 400)
    frame = pl.DataFrame(
        {
            "amount": amounts,
            "items": rng.integers(1, 9, 400),
            "kind": rng.choice(["card", "bank", "gift", "cash"], 400),
            "is_fraud": (amounts > 200).astype(int),
        }
    )
    await registered(database, blobs, packed_model(frame, FeatureConfig(amount_column="amount")))


async def _score(platform: Platform, *, explain: bool, **changes: Any) -> tuple[UUID, Explanation | None, list[Any]]:
    transaction = {"amount": 20.0, "items": 2, "kind": "card", **changes}
    answer = await platform.scoring.score(transaction, model_id=None, explain=explain)
    return answer.prediction.id, answer.found, answer.reasons


@pytest.mark.parametrize("changes", [{}, {"amount": 900.0}, {"items": None, "kind": "unseen"}])
async def test_reasons_that_are_read_are_those_that_were_or_would_have_been_stored(
    platform: Platform, database: Database, blobs: BlobStore, changes: dict[str, Any]
) -> None:
    """Computed from the stored vector they equal, to the last digit, what explaining at once stores and answers."""
    await _served(platform, database, blobs)
    plain, _, _ = await _score(platform, explain=False, **changes)
    explained, found, reasons = await _score(platform, explain=True, **changes)
    assert reasons
    for identifier in (plain, explained):
        _, again, told = await platform.scoring.get(identifier)
        assert again == found
        assert told == reasons
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT explanation FROM predictions WHERE id = %s", (explained,))).fetchone()
    assert row is not None
    assert found is not None
    assert row["explanation"] == {
        "base_value": found.base_value,
        "contributions": found.contributions,
        "reason_catalogue": CATALOGUE_VERSION,
    }


async def test_every_reason_has_a_code_and_a_direction(
    platform: Platform, database: Database, blobs: BlobStore
) -> None:
    """The code is of the catalogue; the direction is the sign of the contribution, and the text says the same."""
    await _served(platform, database, blobs)
    _, _, reasons = await _score(platform, explain=True, amount=900.0)
    assert {reason.code for reason in reasons} <= set(CATALOGUE)
    assert reasons[0].code.startswith("amount")
    for reason in reasons:
        assert reason.direction == ("raises" if reason.contribution > 0 else "lowers")
        assert reason.text.endswith(f"this {reason.direction} the risk")
