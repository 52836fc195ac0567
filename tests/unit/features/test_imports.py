"""What scoring pays for at cold start."""

import subprocess
import sys

SCRIPT = """
import sys
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
plan = FeaturePlan.from_json('''{"config": {}, "fit": {"rows": 1},
  "inputs": [{"name": "a", "type": "float"}, {"name": "t", "type": "datetime"}],
  "features": [{"kind": "log", "name": "a_log", "column": "a"},
               {"kind": "holiday", "name": "is_holiday", "time_column": "t", "first_day": 0, "last_day": 364,
                "calendars": {"GB": [0]}}]}''')
assert compile_plan(plan).vector({"a": 0.0, "t": "1970-01-01"}).tolist() == [0.0, 1.0]
import functions.http.features, functions.orchestrations.feature_engineering, shared.features.service
heavy = {"polars", "sklearn", "xgboost", "scipy", "pandas", "shap", "holidays"} & set(sys.modules)
assert not heavy, heavy
"""


def test_scoring_and_registering_load_nothing_heavy() -> None:
    """Reading a plan, building a vector and importing the triggers brings in no data frame or learning library."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
