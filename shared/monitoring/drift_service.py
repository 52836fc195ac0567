"""Looking at windows: compute, keep, tell. The figures come from rollups, so a long window costs little more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from shared.alerts.rules import Observation
from shared.monitoring import drift_repository
from shared.monitoring.drift import DriftPolicy, WindowDrift, window_drift
from shared.monitoring.drift_repository import NewFigure
from shared.monitoring.folding import FoldService
from shared.monitoring.level import Level
from shared.monitoring.model import (
    DriftLine,
    DriftMetric,
    DriftRequest,
    DriftSeries,
    DriftWindow,
    ReferenceKind,
)
from shared.monitoring.reference import Reference, References
from shared.monitoring.rollup import Ints
from shared.monitoring.telling import figures_of, shown, signals
from shared.monitoring.unwatched import unwatched
from shared.monitoring.windows import Span, Windows, same_hours_of_the_week
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, NotFound, invalid_field
from shared.platform.telemetry import get_logger
from shared.registry.lifecycle import ModelStatus
from shared.registry.service import RegistryService

if TYPE_CHECKING:
    from shared.alerts.rule_service import RuleService
    from shared.alerts.service import AlertService

DRIFT_COMPUTED: Final = "drift_computed"

_WEEKS: Final = 4  # that a window is compared with the same hours of
_CAUGHT_UP: Final = 48  # windows of a length that are looked at after downtime; older ones can be asked for
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = get_logger("monitoring")


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A window and what it was compared with. ``compared`` and ``current``: counts in the reference's layout."""

    reference: Reference
    span: Span
    compared: Ints
    compared_span: tuple[datetime | None, datetime | None]
    current: Ints
    found: WindowDrift
    shown: DriftWindow


class DriftService:
    """Use cases of drift.

    :param window_hours: lengths of the windows that the timer looks at, aligned to multiples since 1970 UTC.
    """

    def __init__(
        self,
        database: Database,
        registry: RegistryService,
        references: References,
        windows: Windows,
        folding: FoldService,
        alerts: "AlertService",
        rules: "RuleService | None",
        clock: Clock,
        *,
        window_hours: Sequence[int] = (1, 24),
        reference: ReferenceKind = ReferenceKind.TRAINING,
        policy: DriftPolicy | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._references = references
        self._windows = windows
        self._folding = folding
        self._alerts = alerts
        self._rules = rules
        self._clock = clock
        self._lengths = [timedelta(hours=hours) for hours in window_hours]
        self._kind = reference
        self._policy = policy or DriftPolicy()

    async def check(self) -> int:
        """What the timer does: count what is new, then look at every window that is complete and was not looked at.
        Returns how many windows that were. One model's failure is an alert and keeps no other waiting."""
        await self._folding.fold_all()
        checked = 0
        for model in await self._registry.in_use():
            serves = model.status is ModelStatus.PRODUCTION
            cause = f"drift_check:{model.id}"
            try:
                for length in self._lengths:
                    checked += await self._catch_up(model.id, length, quiet_too=serves)
            except NotFound:
                continue  # no profile: nothing to compare with
            except DomainError as error:
                await self._alerts.report(unwatched(model.id, cause, "Drift of a model is not looked at", error))
            else:
                await self._alerts.clear(cause)
        return checked

    async def compute(self, request: DriftRequest) -> DriftWindow:
        """Count what is new, look at one window and keep what is found. Alerts and rules hear of it as they do from the
        timer: where it is the newest window of a length that the timer looks at.

        :raises NotFound: no such model, none in production, or it has no profile.
        :raises Conflict: nothing of the model is counted yet, or not up to the window's end.
        :raises InvalidContent: the window does not end at a full hour.
        """
        model_id = request.model_id or (await self._registry.production()).id
        await self._folding.fold(model_id)
        looked = await self.inspect(request.model_copy(update={"model_id": model_id}))
        length = looked.span[1] - looked.span[0]
        newest = looked.shown.counted_until - looked.span[1] < length
        await self._keep(looked, tell=newest and length in self._lengths)
        return looked.shown

    async def inspect(self, request: DriftRequest) -> LookedAt:
        """Look at one window of what is counted, and leave no trace. Raises what :meth:`compute` does."""
        reference = await self._references.get(request.model_id or (await self._registry.production()).id)
        until = await self._windows.folded_until(reference.model_id)
        if until is None:
            raise Conflict("no prediction of the model is counted yet", target="model_id")
        end = request.window_end or until.replace(minute=0, second=0, microsecond=0)
        if (end - _EPOCH) % timedelta(hours=1):
            raise invalid_field("window_end", "must be a full hour")
        if end > until:
            raise Conflict(f"predictions are counted until {until.isoformat()}", target="window_end")
        span = end - timedelta(hours=request.window_hours), end
        return await self._look_at(reference, span, until, request.reference or self._kind)

    async def list_metrics(
        self, model_id: UUID | None, filters: dict[str, Any], *, before: tuple[datetime, UUID], limit: int
    ) -> list[DriftMetric]:
        """A page of stored figures, newest windows first, by default of the model in production."""
        wanted = {**filters, "model_id": await self._named(model_id)}
        async with self._database.connection() as conn:
            return await drift_repository.list_metrics(conn, wanted, before=before, limit=limit)

    async def series(
        self, model_id: UUID | None, metric: str, length: timedelta, *, before: datetime, limit: int
    ) -> DriftSeries:
        """One figure of every column over the newest windows before a moment."""
        named = await self._named(model_id)
        async with self._database.connection() as conn:
            found = await drift_repository.list_windows(conn, named, length, before=before, limit=limit)
            windows = found[::-1]
            ends = [row["window_end"] for row in windows]
            rows = await drift_repository.read_series(conn, named, length, ends, [metric])
        place = {end: position for position, end in enumerate(ends)}
        lines: dict[tuple[str, str], DriftLine] = {}
        for row in rows:
            key = row["drift_type"], row["feature_name"] or "all"
            empty: list[Any] = [None] * len(ends)
            line = lines.setdefault(
                key, DriftLine(name=key[1], drift_type=key[0], values=empty[:], statuses=empty[:], thresholds=empty[:])
            )
            at = place[row["window_end"]]
            line.values[at], line.thresholds[at] = row["metric_value"], row["threshold_used"]
            line.statuses[at] = Level(row["status"])
        return DriftSeries(
            model_id=named,
            metric=metric,
            window_hours=int(length / timedelta(hours=1)),
            window_ends=ends,
            rows=[row["current_count"] for row in windows],
            enough=[row["current_count"] >= row["threshold_used"] for row in windows],
            columns=sorted(lines.values(), key=_worst_last_first),
        )

    async def _named(self, model_id: UUID | None) -> UUID:
        return (await self._registry.production()).id if model_id is None else (await self._registry.get(model_id)).id

    async def _catch_up(self, model_id: UUID, length: timedelta, *, quiet_too: bool) -> int:
        until = await self._windows.folded_until(model_id)
        if until is None:
            return 0
        reference = await self._references.get(model_id)
        last_end = _EPOCH + (until - _EPOCH) // length * length
        async with self._database.connection() as conn:
            known = await drift_repository.latest_window(conn, model_id, length)
        first_end = last_end if known is None else max(known + length, last_end - (_CAUGHT_UP - 1) * length)
        checked, end = 0, first_end
        while end <= last_end:
            span = end - length, end
            if quiet_too or (await self._windows.counts(reference, [span])).rows:
                await self._keep(await self._look_at(reference, span, until, self._kind), tell=end == last_end)
                checked += 1
            end += length
        return checked

    async def _look_at(self, reference: Reference, span: Span, until: datetime, kind: ReferenceKind) -> LookedAt:
        length = span[1] - span[0]
        current = await self._windows.counts(reference, [span])
        compared, compared_span = await self._compared_with(reference, span, kind)
        before = [span[1] - length * n for n in range(1, self._policy.persistence[1])]
        async with self._database.connection() as conn:
            critical = await drift_repository.count_critical(conn, reference.model_id, before, length)
        found = await asyncio.to_thread(
            window_drift,
            reference.profile,
            reference.layout,
            compared,
            current.counts,
            importance=reference.importance,
            critical_before=critical,
            policy=self._policy,
        )
        answer = shown(reference.model_id, span, kind, compared_span, found, self._policy.min_rows, until)
        return LookedAt(reference, span, compared, compared_span, current.counts, found, answer)

    async def _keep(self, looked: LookedAt, *, tell: bool) -> None:
        """Store the figures of a window; with ``tell`` alerts and rules hear of it."""
        found, reference = looked.found, looked.reference
        figures = figures_of(found, self._policy.min_rows)
        async with self._database.transaction() as conn:
            await drift_repository.store_window(
                conn,
                reference.model_id,
                looked.span,
                figures,
                reference=looked.compared_span,
                reference_count=found.reference_rows,
                current_count=found.rows,
                now=self._clock(),
            )
        status = looked.shown.status.value
        _log.info(DRIFT_COMPUTED, model_id=str(reference.model_id), rows=found.rows, status=status)
        if tell and found.enough:
            await self._tell(reference, looked.span, found, figures)

    async def _compared_with(
        self, reference: Reference, span: Span, kind: ReferenceKind
    ) -> tuple[Ints, tuple[datetime | None, datetime | None]]:
        if kind is ReferenceKind.TRAINING:
            return reference.counts, (None, reference.until)
        spans = same_hours_of_the_week(span, _WEEKS)
        earlier = await self._windows.counts(reference, spans)
        return earlier.counts, (min(start for start, _ in spans), max(end for _, end in spans))

    async def _tell(self, reference: Reference, span: Span, found: WindowDrift, figures: Sequence[NewFigure]) -> None:
        for signal, cause in signals(reference, span, found):
            if signal is None:
                await self._alerts.clear(cause, at=span[1])
            else:
                await self._alerts.report(signal)
        if self._rules is not None:
            await self._rules.observe(
                [
                    Observation(each.metric, each.value, reference.model_id, span[1], each.feature, each.id)
                    for each in figures
                ]
            )


def _worst_last_first(line: DriftLine) -> tuple[int, float]:
    known = [(status, value) for status, value in zip(line.statuses, line.values, strict=True) if status is not None]
    if not known:
        return 0, 0.0
    status, value = known[-1]
    return -Level(status).rank, -(value or 0.0)
