"""Performance on labels that have come, estimates for those that have not, and telling what is worse."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import numpy as np

from shared.alerts.rules import Observation
from shared.monitoring import performance_repository as repository
from shared.monitoring.folding import FoldService
from shared.monitoring.level import Level
from shared.monitoring.performance import estimated, quantile_ms
from shared.monitoring.performance_findings import (
    cells_of,
    changed_at,
    figures_of,
    maturity,
    monday,
    no_cells,
    stored_limit,
    week_of,
)
from shared.monitoring.performance_model import (
    Performance,
    PerformanceEstimate,
)
from shared.monitoring.performance_telling import signals
from shared.monitoring.reference import Reference, References
from shared.monitoring.rollup import UNKNOWN_LATENCY
from shared.monitoring.unwatched import unwatched
from shared.monitoring.windows import Span, WindowCube, Windows
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, NotFound
from shared.platform.telemetry import get_logger
from shared.registry.model import Model
from shared.registry.rules import Baseline
from shared.registry.service import RegistryService

if TYPE_CHECKING:
    from shared.alerts.rule_service import RuleService
    from shared.alerts.service import AlertService

PERFORMANCE_COMPUTED: Final = "performance_computed"

_DAY: Final = timedelta(days=1)
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
        first = min(monday(end) - timedelta(weeks=weeks - 1), span[0])
        hours = await self._windows.cubes(reference, (first, end))
        baselines = {each.metric: each for each in await self._registry.baselines(model.id) if each.is_active}
        async with self._database.connection() as conn:
            delays = await repository.label_delays(conn, model.id, first, mature)
            sent = await repository.outcomes(conn, end - _DAY, self._clock())
        return await asyncio.to_thread(self._found, model, baselines, reference, hours, span, end, delays, sent)

    def _found(
        self,
        model: Model,
        baselines: Mapping[str, Baseline],
        reference: Reference,
        hours: Sequence[WindowCube],
        span: Span,
        end: datetime,
        delays: Sequence[tuple[int, int]],
        sent: tuple[int, int],
    ) -> Performance:
        cells = [cells_of(reference, each) for each in hours]
        dated = [(each.start, of) for each, of in zip(hours, cells, strict=True)]
        empty = no_cells(reference)
        judged = sum((of for at, of in dated if span[0] <= at < span[1]), empty)
        after = sum((of for at, of in dated if at >= span[1]), empty)
        figures = figures_of(model, baselines, judged)
        weeks = [
            week_of(begins, sum((of for _, of in within), empty), mature=begins + timedelta(weeks=1) <= span[1])
            for begins, within in groupby(dated, key=lambda each: monday(each[0]))
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
            changed_at=changed_at([each for each in dated if each[0] < span[1]]),
            weeks=weeks,
            maturity=maturity(delays),
        )

    async def _keep(self, found: Performance) -> None:
        rows = [
            {
                "id": uuid4(),
                "metric_name": each.metric,
                "metric_value": each.value,
                "status": each.status.value,
                "threshold_used": stored_limit(each),
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
        for signal, cause in signals(
            model, found, latency_limit_ms=self._latency_limit_ms, error_limit=self._error_limit
        ):
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
