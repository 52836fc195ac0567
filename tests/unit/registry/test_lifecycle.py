"""The state machine of models."""

import itertools

import pytest

from shared.platform.errors import Conflict
from shared.registry.lifecycle import ModelStatus, Move, check_move

LEGAL = {
    (ModelStatus.TRAINED, Move.PROMOTE, ModelStatus.STAGING),
    (ModelStatus.STAGING, Move.PROMOTE, ModelStatus.PRODUCTION),
    (ModelStatus.TRAINED, Move.ARCHIVE, ModelStatus.ARCHIVED),
    (ModelStatus.STAGING, Move.ARCHIVE, ModelStatus.ARCHIVED),
    (ModelStatus.PRODUCTION, Move.ARCHIVE, ModelStatus.ARCHIVED),
    (ModelStatus.ARCHIVED, Move.ROLLBACK, ModelStatus.PRODUCTION),
}
ALL = list(itertools.product(ModelStatus, Move, ModelStatus))


@pytest.mark.parametrize(("current", "move", "target"), sorted(LEGAL))
def test_a_legal_move_is_allowed(current: ModelStatus, move: Move, target: ModelStatus) -> None:
    """Each arrow of the drawn state machine can be walked."""
    check_move(current, move, target)


@pytest.mark.parametrize(("current", "move", "target"), [step for step in ALL if step not in LEGAL])
def test_any_other_move_is_a_conflict(current: ModelStatus, move: Move, target: ModelStatus) -> None:
    """Nothing beside the drawn arrows is possible."""
    with pytest.raises(Conflict):
        check_move(current, move, target)


def test_the_refusal_lists_what_is_possible() -> None:
    """A caller who asked for too much reads what to ask for."""
    with pytest.raises(Conflict) as refused:
        check_move(ModelStatus.TRAINED, Move.PROMOTE, ModelStatus.PRODUCTION)
    assert refused.value.message == (
        "a model that is TRAINED cannot be promoted to PRODUCTION; it can be promoted to STAGING or archived"
    )


def test_an_archived_model_is_told_its_one_way_back() -> None:
    """Archiving twice names the rollback that would bring it back."""
    with pytest.raises(Conflict, match="cannot be archived; it can be put back by a rollback of its successor"):
        check_move(ModelStatus.ARCHIVED, Move.ARCHIVE, ModelStatus.ARCHIVED)
