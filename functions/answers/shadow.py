"""What shadow scoring answers."""

from functions.views import View
from shared.scoring.shadow.model import Challenger

CHALLENGER = View(
    Challenger,
    "ChallengerCard",
    hidden={"position_at", "position_id"},
    copied={"followed_until": "position_at"},
    added={"active": bool},
)
