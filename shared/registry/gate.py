"""The promotion gate: baselines on a model's recorded test figures, and rules against the model in production.

All of it is pure. What was not recorded does not pass: absence of evidence is no evidence.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isclose
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from shared.platform.errors import FieldError
from shared.registry.metrics import BETTER, Figure, figure, recorded
from shared.registry.model import Model
from shared.registry.rules import Baseline, Bound, ChampionRule, NewBaseline, NewChampionRule, Operator, Unit


def _equal(value: float, threshold: float) -> bool:
    return isclose(value, threshold, rel_tol=1e-9, abs_tol=1e-12)


_COMPARE: Final[Mapping[Operator, Callable[[float, float], bool]]] = MappingProxyType(
    {
        Operator.GTE: operator.ge,
        Operator.LTE: operator.le,
        Operator.EQ: _equal,
        Operator.GT: operator.gt,
        Operator.LT: operator.lt,
    }
)
_AT_LEAST: Final = frozenset({Operator.GTE, Operator.GT})


@dataclass(frozen=True, slots=True)
class Check:
    """One baseline: the recorded figure with its interval, and ``compared``, the number that ``bound`` chose."""

    metric: str
    operator: Operator
    threshold: float
    bound: Bound
    value: float | None
    low: float | None
    high: float | None
    compared: float | None
    passed: bool

    @property
    def fault(self) -> str:
        """Why it does not hold."""
        what = "" if self.bound is Bound.VALUE else f"{self.bound.value} bound "
        return f"{what}is {self.compared}, must be {self.operator.value} {self.threshold}"


@dataclass(frozen=True, slots=True)
class ChampionCheck:
    """One champion rule. ``worse_by`` is negative where the model is better, None where a figure is missing; without
    a model in production the rule holds.
    """

    metric: str
    tolerance: float
    unit: Unit
    value: float | None
    champion: float | None
    worse_by: float | None
    allowed: float | None
    passed: bool

    @property
    def fault(self) -> str:
        """Why it does not hold."""
        if self.worse_by is None:
            missing = "the model" if self.value is None else "the model in production"
            return f"cannot be compared: {missing} has no such figure"
        worse, allowed = f"{self.worse_by:.6g}", f"{self.allowed:.6g}"
        return f"is {self.value}, worse than the {self.champion} in production by {worse}, allowed {allowed}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found; a model without active rules passes.

    ``champion``: the model in production at that moment. ``warnings``: why figures of the two are not quite comparable.
    """

    passed: bool
    checks: tuple[Check, ...]
    champion: UUID | None = None
    champion_checks: tuple[ChampionCheck, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As stored in ``model_promotions.verdict``."""
        return {
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "champion": None if self.champion is None else str(self.champion),
            "champion_checks": [asdict(check) for check in self.champion_checks],
            "warnings": list(self.warnings),
        }

    @property
    def faults(self) -> list[FieldError]:
        """What did not hold, by metric."""
        every: list[Check | ChampionCheck] = [*self.checks, *self.champion_checks]
        return [FieldError(check.metric, check.fault) for check in every if not check.passed]


def judge(
    baselines: Iterable[Baseline],
    metrics: Mapping[str, Any],
    rules: Iterable[ChampionRule] = (),
    champion: Model | None = None,
    warnings: Sequence[str] = (),
) -> Verdict:
    """Hold every active rule against the recorded figures.

    :param champion: the model in production, None where there is none.
    :param warnings: why its figures are not quite comparable with these.
    """
    checks = tuple(_check(baseline, metrics) for baseline in baselines if baseline.is_active)
    against = tuple(_check_champion(rule, metrics, champion) for rule in rules if rule.is_active)
    passed = all(check.passed for check in checks) and all(check.passed for check in against)
    return Verdict(passed, checks, champion.id if champion else None, against, tuple(warnings) if against else ())


def _check(baseline: Baseline, metrics: Mapping[str, Any]) -> Check:
    found = figure(metrics, baseline.metric)
    compared = _compared(baseline, found)
    passed = compared is not None and _COMPARE[baseline.operator](compared, baseline.threshold)
    return Check(
        baseline.metric, baseline.operator, baseline.threshold, baseline.bound, found.value, found.low, found.high,
        compared, passed,
    )  # fmt: skip


def _compared(baseline: Baseline, found: Figure) -> float | None:
    match baseline.bound:
        case Bound.VALUE:
            return found.value
        case Bound.LOWER:
            return found.low
        case Bound.UPPER:
            return found.high
        case Bound.PESSIMISTIC:
            return found.low if baseline.operator in _AT_LEAST else found.high


def _check_champion(rule: ChampionRule, metrics: Mapping[str, Any], champion: Model | None) -> ChampionCheck:
    value = figure(metrics, rule.metric).value
    standing = None if champion is None else figure(champion.metrics, rule.metric).value
    worse_by = allowed = None
    passed = champion is None and value is not None
    if value is not None and standing is not None:
        worse_by = standing - value if BETTER[rule.metric] == "higher" else value - standing
        allowed = rule.tolerance if rule.unit is Unit.ABSOLUTE else rule.tolerance * abs(standing)
        passed = worse_by < allowed or _equal(worse_by, allowed)
    return ChampionCheck(rule.metric, rule.tolerance, rule.unit, value, standing, worse_by, allowed, passed)


def faulty_baselines(baselines: Iterable[NewBaseline], metrics: Mapping[str, Any]) -> list[FieldError]:
    """Baselines that these recorded figures could never answer, by their position in the request."""
    known = recorded(metrics)
    faults = []
    for position, new in enumerate(baselines):
        found = figure(metrics, new.metric)
        if found.value is None:
            message = f"{new.metric} is not a recorded metric: {', '.join(known)}"
            faults.append(FieldError(f"baselines.{position}.metric", message))
        elif new.bound is not Bound.VALUE and (found.low is None or found.high is None):
            message = f"no confidence interval of {new.metric} was recorded"
            faults.append(FieldError(f"baselines.{position}.bound", message))
    return faults


def faulty_rules(rules: Iterable[NewChampionRule], metrics: Mapping[str, Any]) -> list[FieldError]:
    """Champion rules whose metric was not recorded, or has no better side, by their position in the request."""
    known = [name for name in recorded(metrics) if name in BETTER]
    return [
        FieldError(f"rules.{position}.metric", f"{new.metric} is not one of {', '.join(known)}")
        for position, new in enumerate(rules)
        if new.metric not in known
    ]
