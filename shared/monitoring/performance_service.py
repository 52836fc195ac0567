"""Performance on labels that have come, estimates for those that have not, and telling what is worse."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import numpy as np

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.rules import Observation
from shared.monitoring import performance_repository as repository
from shared.monitoring.folding import FoldService
from shared.monitoring.level import Level
from shared.monitoring.performance import Cells, Interval, change_point, estimated, measured, quantile_ms
from shared.monitoring.performance_model import (
    MaturityPoint,
    Performance,
    PerformanceEstimate,
    PerformanceFigure,
    PerformanceWeek,
)
from shared.monitoring.reference import Reference, References
from shared.monitoring.rollup import UNKNOWN_LATENCY
from shared.monitoring.unwatched import unwatched
from shared.monitoring.windows import Span, WindowCube, Windows
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, NotFound
from shared.platform.telemetry import get_logger
from shared.registry.model import Model
from shared.registry.service import RegistryService

if TYPE_CHECKING:
    from shared.alerts.rule_service import RuleService
    from shared.alerts.service import AlertService

PERFORMANCE_COMPUTED: Final = "performance_computed"

_JUDGED: Final = ("precision", "recall", "f1_score", "auc_roc", "auc_pr", "fpr", "brier")
_LOWER_IS_BETTER: Final = frozenset({"fpr", "brier"})
_DAY: Final = timedelta(days=1)
_FEWEST_REQUESTS: Final = 100  # that an error rate is concluded from
_WARNING, _CRITICAL = 0.05, 0.10  # of the training-time figure lost
_QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_NO_LATENCIES: Final = np.zeros(UNKNOWN_LATENCY + 1, np.int64)
_log = get_logger("monitoring")


class PerformanceService:
    """Use cases of performance.

    :param window: how long the window is that the model is judged by, before the last ``maturity``.
    :param maturity: how old a prediction must be for its label to have come.
    :param latency_limit_ms: what the 99th percentile of the last day's latency may be.
    :param error_limit: what share of the last day's requests may fail.
    """

    def __init__(
        self,
        database: Database,
        registry: RegistryService,
        references: References,
        windows: Windows,
        folding: FoldService,
        alerts: "AlertService",
        rules: "RuleService",
        clock: Clock,
        *,
        window: timedelta = timedelta(days=30),
        maturity: timedelta = timedelta(days=30),
        latency_limit_ms: float = 200,
        error_limit: float = 0.01,
    ) -> None:
        self._database = database
        self._registry = registry
        self._references = references
        self._windows = windows
        self._folding = folding
        self._alerts = alerts
        self._rules = rules
        self._clock = clock
        self._window = window
        self._maturity = maturity
        self._latency_limit_ms = latency_limit_ms
        self._error_limit = error_limit

    async def check(self) -> int:
        """What the timer does: look at the models in use, keep what is found, and tell. Returns how many were looked
        at; one model's failure keeps no other waiting."""
        looked = 0
        for model in await self._registry.in_use():
            cause = f"performance_check:{model.id}"
            try:
                await self._folding.fold(model.id)
                found = await self.look(model.id)
            except (NotFound, Conflict):
                continue  # no profile, or nothing predicted yet
            except DomainError as error:
                await self._alerts.report(unwatched(model.id, cause, "Performance of a model is not looked at", error))
            else:
                await self._keep(found)
                await self._tell(model, found)
                await self._alerts.clear(cause)
                looked += 1
        return looked

    async def look(self, model_id: UUID | None = None, *, weeks: int = 12) -> Performance:
        """How a model does, by default the one in production; nothing is stored.

        :raises NotFound: no such model, none in production, or it has no profile.
        :raises Conflict: no prediction of the model is counted yet.
        """
        model = await self._registry.production() if model_id is None else await self._registry.get(model_id)
        reference = await self._references.get(model.id)
        until = await self._windows.folded_until(model.id)
        if until is None:
            raise Conflict("no prediction of the model is counted yet", target="model_id")
        end = until.replace(minute=0, second=0, microsecond=0)
        mature = end - self._maturity
        span = mature - self._window, mature
        first = min(_monday(end) - timedelta(weeks=weeks - 1), span[0])
        hours = await self._windows.cubes(reference, (first, end))
        async with self._database.connection() as conn:
            delays = await repository.label_delays(conn, model.id, first, mature)
            sent = await repository.outcomes(conn, end - _DAY, self._clock())
        return await asyncio.to_thread(self._found, model, reference, hours, span, end, delays, sent)

    def _found(
        self,
        model: Model,
        reference: Reference,
        hours: Sequence[WindowCube],
        span: Span,
        end: datetime,
        delays: Sequence[tuple[int, int]],
        sent: tuple[int, int],
    ) -> Performance:
        cells = [_cells(reference, each) for each in hours]
        dated = [(each.start, of) for each, of in zip(hours, cells, strict=True)]
        empty = _empty(reference)
        judged = sum((of for at, of in dated if span[0] <= at < span[1]), empty)
        after = sum((of for at, of in dated if at >= span[1]), empty)
        figures = _figures(model, judged)
        weeks = [
            _week(monday, sum((of for _, of in within), empty), mature=monday + timedelta(weeks=1) <= span[1])
            for monday, within in groupby(dated, key=lambda each: _monday(each[0]))
        ]
        yesterday = end - _DAY
        last_day = sum((each.latencies for each in hours if each.start >= yesterday), _NO_LATENCIES)
        return Performance(
            model_id=model.id,
            window_start=span[0],
            window_end=span[1],
            rows=int(judged.rows.sum()),
            labelled=judged.labelled,
            frauds=int(judged.frauds.sum()),
            enough=judged.enough,
            status=max((each.status for each in figures), key=lambda level: level.rank, default=Level.OK),
            figures=figures,
            estimated=[PerformanceEstimate(metric=name, value=value) for name, value in estimated(after).items()],
            estimated_rows=int(after.rows.sum()),
            latency_ms={name: quantile_ms(last_day, share) for name, share in _QUANTILES.items()},
            requests=sent[0],
            error_rate=sent[1] / sent[0] if sent[0] else None,
            changed_at=_changed_at([each for each in dated if each[0] < span[1]]),
            weeks=weeks,
            maturity=_maturity(delays),
        )

    async def _keep(self, found: Performance) -> None:
        rows = [
            {
                "id": uuid4(),
                "metric_name": each.metric,
                "metric_value": each.value,
                "status": each.status.value,
                "threshold_used": _threshold(each),
            }
            for each in found.figures
            if found.enough and each.value is not None
        ]
        async with self._database.transaction() as conn:
            await repository.store_window(
                conn, found.model_id, (found.window_start, found.window_end), rows, found.labelled, self._clock()
            )
        _log.info(PERFORMANCE_COMPUTED, model_id=str(found.model_id), rows=found.labelled, status=found.status.value)

    async def _tell(self, model: Model, found: Performance) -> None:
        end = found.window_end
        for signal, cause in self._signals(model, found):
            if signal is None:
                await self._alerts.clear(cause, at=end)
            else:
                await self._alerts.report(signal)
        values = {each.metric: each.value for each in found.figures} if found.enough else {}
        values |= {f"estimated_{each.metric}": each.value for each in found.estimated}
        values |= {"latency_p99_ms": found.latency_ms["p99"], "error_rate": found.error_rate}
        await self._rules.observe(
            [Observation(name, value, model.id, end) for name, value in values.items() if value is not None]
        )

    def _signals(self, model: Model, found: Performance) -> list[tuple[Signal | None, str]]:
        name, p99 = f"{model.name} {model.version}", found.latency_ms["p99"]
        worse = [each for each in found.figures if each.status is not Level.OK]
        told = ", ".join(f"{each.metric} {each.value:.3g} (was {each.at_training:.3g})" for each in worse)
        cause, latency, change = (f"{kind}:{model.id}" for kind in ("performance", "latency", "concept"))
        failing = found.requests >= _FEWEST_REQUESTS and (found.error_rate or 0) > self._error_limit
        since = None if found.changed_at is None else f"{found.changed_at:%Y-%m-%d}"
        return [
            (
                _signal(model, cause, "PERFORMANCE", found.status, f"Model {name} does worse than in training", told,
                        {"labelled": found.labelled, "frauds": found.frauds})
                if worse and found.enough else None,
                cause,
            ),
            (
                _signal(model, latency, "LATENCY", Level.WARNING, f"Model {name} answers slowly",
                        f"p99 of the last day is {p99:g} ms, more than {self._latency_limit_ms:g}", {"p99_ms": p99})
                if p99 is not None and p99 > self._latency_limit_ms else None,
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


def _cells(reference: Reference, cube: WindowCube) -> Cells:
    profile = reference.profile
    assert profile.scores is not None  # a reference has scores
    return Cells.of(cube.cube, cube.labels, cube.score_sums, len(profile.groups), profile.scores.flagged_from)


def _empty(reference: Reference) -> Cells:
    size = reference.layout.score_cells
    none = np.zeros(size, np.int64)
    assert reference.profile.scores is not None  # a reference has scores
    return Cells(none, np.zeros(size), none, none, reference.profile.scores.flagged_from)


def _figures(model: Model, cells: Cells) -> list[PerformanceFigure]:
    found = measured(cells)
    return [_figure(name, found[name], model.metrics.get(name), enough=cells.enough) for name in _JUDGED]


def _figure(name: str, found: Interval | None, at_training: Any, *, enough: bool) -> PerformanceFigure:
    """WARNING and CRITICAL when even the better end of the interval has lost so much of the figure."""
    known = float(at_training) if isinstance(at_training, int | float) else None
    lost, status = None, Level.OK
    if found is not None and known:
        sign = -1 if name in _LOWER_IS_BETTER else 1
        lost = sign * (known - found.value) / known
        at_best = sign * (known - (found.low if sign < 0 else found.high)) / known
        if enough and name not in _LOWER_IS_BETTER:
            status = Level.CRITICAL if at_best >= _CRITICAL else Level.WARNING if at_best >= _WARNING else Level.OK
    return PerformanceFigure(
        metric=name,
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        at_training=known,
        lost=lost,
        status=status,
    )


def _threshold(figure: PerformanceFigure) -> float | None:
    if figure.at_training is None or figure.metric in _LOWER_IS_BETTER:
        return None
    return figure.at_training * (1 - _WARNING)


def _week(monday: datetime, cells: Cells, *, mature: bool) -> PerformanceWeek:
    found = measured(cells)
    return PerformanceWeek(
        week=monday,
        rows=int(cells.rows.sum()),
        labelled=cells.labelled,
        frauds=int(cells.frauds.sum()),
        mature=mature,
        figures={name: None if each is None else each.value for name, each in found.items()},
        intervals={name: None if each is None else (each.low, each.high) for name, each in found.items()},
        estimated=estimated(cells),
    )


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _changed_at(dated: Sequence[tuple[datetime, Cells]]) -> datetime | None:
    days, missed, frauds = [], [], []
    for day, within in groupby(dated, key=lambda each: each[0].replace(hour=0)):
        cells = [of for _, of in within]
        days.append(day)
        missed.append(sum(int(of.frauds[: of.flagged_from].sum()) for of in cells))
        frauds.append(sum(int(of.frauds.sum()) for of in cells))
    position = change_point(missed, frauds)
    return None if position is None else days[position]


def _maturity(delays: Sequence[tuple[int, int]]) -> list[MaturityPoint]:
    total, so_far, points = sum(count for _, count in delays), 0, []
    for days, count in delays:
        so_far += count
        points.append(MaturityPoint(days=days, share=so_far / total))
    return points
