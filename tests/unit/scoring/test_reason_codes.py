"""The reason-code catalogue: complete, and never taken back."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from shared.features.history.specs import FUNCTIONS
from shared.features.kinds import KINDS
from shared.features.kinds.behavioural import Behavioural
from shared.features.kinds.categorical import Missing
from shared.features.kinds.numeric import HighValue, Raw, ZScore
from shared.features.kinds.temporal import DatePart, DatePartName
from shared.scoring.reason_codes import CATALOGUE, CATALOGUE_VERSION, CODE_OF_KIND, code_of, kind_of

SNAPSHOTS = Path(__file__).parent / "reason_codes"
DOCUMENT = Path(__file__).parents[3] / "docs" / "reasons.md"
ABSENT = {"history_none", "value_missing"}


def _snapshot(version: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SNAPSHOTS / f"v{version}.json").read_text(encoding="utf-8"))
    return found


def _kinds() -> set[str]:
    """Every kind of evidence that a plan can hold, about other columns than the amount."""
    found: set[str] = set()
    for kind in KINDS:
        name = get_args(kind.model_fields["kind"].annotation)[0]
        if kind is Behavioural:
            found |= {f"{name} {function}" for function in FUNCTIONS}
        elif kind is DatePart:
            found |= {f"{name} {part}" for part in get_args(DatePartName)}
        else:
            found.add(name)
    return found


def test_every_kind_of_feature_has_a_code() -> None:
    """A kind, a function of history or a part of the date without one could not be told; none is left over."""
    of_amount = {kind for kind in CODE_OF_KIND if kind.endswith(" of the amount")}
    assert set(CODE_OF_KIND) - of_amount == _kinds()
    assert {kind.removesuffix(" of the amount") for kind in of_amount} <= _kinds()
    assert set(CODE_OF_KIND.values()) | ABSENT == set(CATALOGUE)


def test_the_catalogue_is_that_of_its_version() -> None:
    """Whoever changes a code, its meaning or its wording makes a new version with a snapshot of its own."""
    published = _snapshot(CATALOGUE_VERSION)
    assert [asdict(entry) for entry in CATALOGUE.values()] == published["codes"]
    assert dict(CODE_OF_KIND) == published["code_of_kind"]


def test_a_version_takes_nothing_back() -> None:
    """What a stored reason said under an older version it says under this one: codes stay, and stand for the same."""
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {f"v{n}" for n in range(1, CATALOGUE_VERSION + 1)}
    for older in range(1, CATALOGUE_VERSION):
        before, after = _snapshot(older), _snapshot(older + 1)
        assert {entry["code"] for entry in before["codes"]} <= {entry["code"] for entry in after["codes"]}
        assert before["code_of_kind"].items() <= after["code_of_kind"].items()


def test_the_amount_has_codes_of_its_own() -> None:
    """It is what customers are told about; another number of the same kind has the general code."""
    assert code_of(Raw(name="amount", column="amount"), "amount", present=True) == "amount_value"
    assert code_of(Raw(name="items", column="items"), "amount", present=True) == "number_value"
    assert code_of(Raw(name="items", column="items"), None, present=True) == "number_value"
    high = HighValue(name="amount_is_high", column="amount", threshold=9, quantile=0.95)
    assert code_of(high, "amount", present=True) == "amount_high"
    zscore = ZScore(name="amount_zscore", column="amount", mean=1, inverse_std=1)
    assert code_of(zscore, "amount", present=True) == "amount_unusual"
    assert kind_of(Missing(name="amount_missing", column="amount"), "amount") == "missing"


def test_a_feature_without_value_says_so() -> None:
    """Nothing to look back on is another reason than a field that was left out."""
    history = Behavioural(name="n", entity=("card",), function="mean", window="1d", time_column="at", column="amount")
    assert code_of(history, "amount", present=True) == "history_mean"
    assert code_of(history, "amount", present=False) == "history_none"
    assert code_of(Raw(name="amount", column="amount"), "amount", present=False) == "value_missing"


def test_what_customers_are_told_names_no_figures_and_no_fields() -> None:
    """The wording names a factor: no numbers, no snake case, no sentence."""
    for entry in CATALOGUE.values():
        assert entry.customer_text[0].isupper()
        assert not any(character.isdigit() or character in "_.;:%" for character in entry.customer_text)


def test_the_documentation_lists_the_catalogue() -> None:
    """One row a code, with both wordings."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for entry in CATALOGUE.values():
        assert f"| `{entry.code}` | {entry.description} | {entry.customer_text} |" in text
