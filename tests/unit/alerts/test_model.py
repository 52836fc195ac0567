"""The state machine of alerts."""

import itertools

import pytest

from shared.alerts.model import AlertStatus, check_move
from shared.platform.errors import Conflict

LEGAL = {
    (AlertStatus.ACTIVE, AlertStatus.ACKNOWLEDGED),
    (AlertStatus.ACTIVE, AlertStatus.RESOLVED),
    (AlertStatus.ACTIVE, AlertStatus.DISMISSED),
    (AlertStatus.ACKNOWLEDGED, AlertStatus.RESOLVED),
    (AlertStatus.ACKNOWLEDGED, AlertStatus.DISMISSED),
}


@pytest.mark.parametrize(("current", "target"), sorted(LEGAL))
def test_a_legal_move_is_allowed(current: AlertStatus, target: AlertStatus) -> None:
    """Each arrow of the drawn state machine can be walked."""
    check_move(current, target)


@pytest.mark.parametrize(
    ("current", "target"), [move for move in itertools.product(AlertStatus, AlertStatus) if move not in LEGAL]
)
def test_any_other_move_is_a_conflict(current: AlertStatus, target: AlertStatus) -> None:
    """Nothing beside the drawn arrows is possible."""
    with pytest.raises(Conflict, match=f"the alert is {current.value}"):
        check_move(current, target)
