"""What is told of a model's performance."""

from collections.abc import Mapping
from typing import Any, Final

from shared.alerts.model import Severity, Signal, Source
from shared.monitoring.level import Level
from shared.monitoring.performance_model import Performance, PerformanceFigure
from shared.registry.model import Model

_FEWEST_REQUESTS: Final = 100  # that an error rate is concluded from


def signals(
    model: Model, found: Performance, *, latency_limit_ms: float, error_limit: float
) -> list[tuple[Signal | None, str]]:
    """What to report and, without a signal, what to clear."""
    name, p99 = f"{model.name} {model.version}", found.latency_ms["p99"]
    worse = [each for each in found.figures if each.status is not Level.OK]
    told = ", ".join(_worse(each) for each in worse)
    cause, latency, change = (f"{kind}:{model.id}" for kind in ("performance", "latency", "concept"))
    failing = found.requests >= _FEWEST_REQUESTS and (found.error_rate or 0) > error_limit
    since = None if found.changed_at is None else f"{found.changed_at:%Y-%m-%d}"
    return [
        (
            _signal(model, cause, "PERFORMANCE", found.status, f"Model {name} does worse than it should", told,
                    {"labelled": found.labelled, "frauds": found.frauds})
            if worse and found.enough else None,
            cause,
        ),
        (
            _signal(model, latency, "LATENCY", Level.WARNING, f"Model {name} answers slowly",
                    f"p99 of the last day is {p99:g} ms, more than {latency_limit_ms:g}", {"p99_ms": p99})
            if p99 is not None and p99 > latency_limit_ms else None,
            latency,
        ),
        (
            _signal(model, "error_rate", "ERROR_RATE", Level.CRITICAL, "Transactions cannot be scored",
                    f"{found.error_rate:.2%} of {found.requests:,} requests of the last day failed",
                    {"error_rate": found.error_rate, "requests": found.requests})
            if failing else None,
            "error_rate",
        ),
        (
            _signal(model, change, "CONCEPT_DRIFT", Level.WARNING, f"Model {name} misses other frauds than before",
                    f"the share of frauds that are missed changed on {since}", {"changed_at": since})
            if since is not None else None,
            change,
        ),
    ]  # fmt: skip


def _signal(
    model: Model, cause: str, kind: str, status: Level, title: str, told: str, details: Mapping[str, Any]
) -> Signal:
    return Signal(
        cause=cause,
        source=Source.PERFORMANCE,
        alert_type=kind,
        severity=Severity.CRITICAL if status is Level.CRITICAL else Severity.WARNING,
        title=title,
        description=f"{told[:1].upper()}{told[1:]}.",
        details=details,
        model_id=model.id,
    )


def _worse(figure: PerformanceFigure) -> str:
    told = [] if figure.at_training is None else [f"was {figure.at_training:.3g}"]
    if figure.baseline is not None and not figure.baseline.holds:
        told.append(f"must be {figure.baseline.operator.value} {figure.baseline.threshold:g}")
    return f"{figure.metric} {figure.value:.3g} ({', '.join(told)})"
