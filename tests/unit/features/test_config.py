"""What a configuration may not say."""

import pytest
from pydantic import ValidationError

from shared.features.config import FeatureConfig


@pytest.mark.parametrize(
    "document",
    [
        {"label_column": "y", "protected_columns": ["y"]},
        {"protected_columns": ["dob"], "durations": [{"start": "dob", "end": "t"}]},
        {"excluded_columns": ["x"], "ratios": [{"numerator": "amount", "denominator": "x"}]},
        {"label_column": "y", "transforms": {"y": ["log"]}},
        {"groups": []},
        {"groups": ["temporal", "temporal"]},
        {"groups": ["magic"]},
        {"windows": ["0h"]},
        {"windows": ["a day"]},
        {"train_fraction": 1.0},
        {"selection": {"max_features": 0}},
        {"selection": {"enabled": False, "recursive_elimination": {}}},
        {"windows": ["10000d"]},
        {"history": [{"entity": ["card"], "function": "fraud_rate", "window": "7d"}], "label_delay_days": 7},
        {"colour": "red"},
    ],
)
def test_contradictions_are_refused(document: dict[str, object]) -> None:
    """A protected column cannot be read, a role cannot be two things, and unknown settings are not ignored."""
    with pytest.raises(ValidationError):
        FeatureConfig.model_validate(document)
