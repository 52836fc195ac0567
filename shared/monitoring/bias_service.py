"""Use cases of bias: which attributes are protected, what is found about them, and telling it."""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.rules import Observation
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.monitoring import bias_repository as repository
from shared.monitoring.bias import count, judge, watched
from shared.monitoring.bias_model import (
    LONGEST,
    AttributeBias,
    AuditRequest,
    BiasMetric,
    BiasReport,
    NewProtectedAttribute,
    ProtectedAttribute,
)
from shared.monitoring.fairness import MINIMUM
from shared.monitoring.folding import FoldService
from shared.monitoring.level import Level
from shared.monitoring.reference import Reference, References
from shared.monitoring.unwatched import unwatched
from shared.monitoring.windows import Span, Windows
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, DomainError, NotFound, invalid_field
from shared.platform.telemetry import get_logger
from shared.registry.service import RegistryService
from shared.users.model import Caller

if TYPE_CHECKING:
    from shared.alerts.rule_service import RuleService
    from shared.alerts.service import AlertService

BIAS_COMPUTED: Final = "bias_computed"
BIAS_NOT_COMPUTED: Final = "bias_not_computed"

_log = get_logger("monitoring")


class BiasService:
    """Use cases of bias.

    :param window: what the timer looks at.
    :param maturity: how old predictions must be for figures that need labels.
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

    async def register(self, attribute: NewProtectedAttribute, *, caller: Caller, origin: Origin) -> ProtectedAttribute:
        """Protect an attribute.

        :raises Conflict: the name is taken.
        """
        async with self._database.transaction() as conn:
            made = await repository.insert_attribute(conn, attribute, caller.user_id, self._clock())
            if made is None:
                raise _taken(attribute)
            await _audit(conn, caller, origin, "CREATE", made.id, None, made)
        return made

    async def replace(
        self, attribute_id: UUID, attribute: NewProtectedAttribute, *, is_active: bool, caller: Caller, origin: Origin
    ) -> ProtectedAttribute:
        """Other settings for a protected attribute.

        :raises NotFound: there is none with this id.
        :raises Conflict: another one has this name.
        """
        try:
            async with self._database.transaction() as conn:
                before = await repository.lock_attribute(conn, attribute_id)
                if before is None:
                    raise NotFound("no protected attribute has this id", target="attribute_id")
                made = await repository.update_attribute(
                    conn, attribute_id, attribute, is_active=is_active, now=self._clock()
                )
                await _audit(conn, caller, origin, "UPDATE", attribute_id, before, made)
        except psycopg.errors.UniqueViolation as error:
            raise _taken(attribute) from error
        return made

    async def list_attributes(self) -> list[ProtectedAttribute]:
        """Every protected attribute, by name."""
        async with self._database.connection() as conn:
            return await repository.list_attributes(conn)

    async def list_metrics(
        self, model_id: UUID | None, filters: dict[str, Any], *, before: tuple[datetime, UUID], limit: int
    ) -> list[BiasMetric]:
        """A page of stored figures, newest first, by default of the model in production.

        :raises NotFound: there is no such model, or none in production.
        """
        named = (await self._registry.production()).id if model_id is None else (await self._registry.get(model_id)).id
        async with self._database.connection() as conn:
            return await repository.list_metrics(conn, {**filters, "model_id": named}, before=before, limit=limit)

    async def check(self) -> int:
        """What the timer does: the models in use, over the last window, and over the one whose labels have come for
        figures that need them. Figures are stored and told. Returns how many models were looked at; one model's failure
        keeps no other waiting."""
        looked = 0
        for model in await self._registry.in_use():
            cause = f"bias_check:{model.id}"
            try:
                await self._folding.fold(model.id)
                looked += await self._check(model.id)
            except NotFound:
                continue  # no profile: nothing to count groups with
            except DomainError as error:
                _log.warning(BIAS_NOT_COMPUTED, model_id=str(model.id), reason=error.message)
                await self._alerts.report(unwatched(model.id, cause, "Bias of a model is not looked at", error))
            else:
                await self._alerts.clear(cause)
        return looked

    async def audit(self, request: AuditRequest) -> BiasReport:
        """Look at a period, labels as they are known now, and leave no trace.

        :raises NotFound: no such model, none in production, or it has no profile.
        :raises Conflict: no prediction of the model is counted yet.
        :raises InvalidContent: the period is longer than a year or ends before it begins.
        """
        reference = await self._references.get(request.model_id or (await self._registry.production()).id)
        until = await self._counted(reference)
        end = min(request.period_end or until, until)
        start = request.period_start or end - self._window
        if start >= end:
            raise invalid_field("period_start", f"predictions are counted until {until.isoformat()}")
        if end - start > LONGEST:
            raise invalid_field("period_start", f"a period is at most {LONGEST.days} days long")
        return await self._look_at(reference, (start, end), (start, end))

    async def _counted(self, reference: Reference) -> datetime:
        until = await self._windows.folded_until(reference.model_id)
        if until is None:
            raise Conflict("no prediction of the model is counted yet", target="model_id")
        return until.replace(minute=0, second=0, microsecond=0)

    async def _check(self, model_id: UUID) -> int:
        reference = await self._references.get(model_id)
        until = await self._windows.folded_until(model_id)
        if until is None:
            return 0
        end = until.replace(minute=0, second=0, microsecond=0)
        span = end - self._window, end
        matured = span[0] - self._maturity, span[1] - self._maturity
        report = await self._look_at(reference, span, matured)
        async with self._database.transaction() as conn:
            await repository.store_window(conn, model_id, span, report.attributes, self._clock())
        worst = max((each.status for each in report.attributes), key=lambda level: level.rank, default=Level.OK)
        _log.info(BIAS_COMPUTED, model_id=str(model_id), rows=report.rows, status=worst.value)
        await self._tell(reference, span, report.attributes)
        return 1

    async def _look_at(self, reference: Reference, span: Span, matured: Span) -> BiasReport:
        registered = [each for each in await self.list_attributes() if each.is_active]
        attributes, unknown = watched(reference, registered)
        cube = await self._windows.cube(reference, span)
        then = cube if matured == span else await self._windows.cube(reference, matured)
        found = await asyncio.to_thread(
            lambda: judge(attributes, count(reference, cube, attributes), count(reference, then, attributes))
        )
        return BiasReport(
            model_id=reference.model_id,
            model_name=reference.name,
            model_version=reference.version,
            period_start=span[0],
            period_end=span[1],
            rows=cube.rows,
            labelled=then.labels.rows,
            minimum_group=MINIMUM,
            attributes=found,
            unknown=unknown,
        )

    async def _tell(self, reference: Reference, span: Span, found: list[AttributeBias]) -> None:
        for each in found:
            cause = f"bias:{reference.model_id}:{each.attribute}"
            if each.status is Level.OK:
                await self._alerts.clear(cause, at=span[1])
            else:
                await self._alerts.report(_signal(reference, span, each, cause))
        await self._rules.observe(
            [
                Observation(figure.metric, figure.value, reference.model_id, span[1], each.attribute)
                for each in found
                for figure in each.figures
            ]
        )


def _signal(reference: Reference, span: Span, found: AttributeBias, cause: str) -> Signal:
    beyond = [figure for figure in found.figures if figure.status is not Level.OK]
    told = ", ".join(f"{each.metric} {each.value:.3g} ({each.low:.3g} to {each.high:.3g})" for each in beyond)
    return Signal(
        cause=cause,
        source=Source.BIAS,
        alert_type="BIAS",
        severity=Severity.CRITICAL if found.status is Level.CRITICAL else Severity.WARNING,
        title=f"Model {reference.name} {reference.version} treats groups of {found.attribute} unlike",
        description=f"From {span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}, {found.rows:,} predictions: {told}.",
        details={
            "attribute": found.attribute,
            "window_start": span[0].isoformat(),
            "window_end": span[1].isoformat(),
            "figures": {each.metric: each.value for each in beyond},
        },
        model_id=reference.model_id,
    )


def _taken(attribute: NewProtectedAttribute) -> Conflict:
    return Conflict(f"{attribute.attribute_name!r} is protected already", target="attribute_name")


async def _audit(
    conn: Connection,
    caller: Caller,
    origin: Origin,
    action: str,
    attribute_id: UUID,
    old: ProtectedAttribute | None,
    new: ProtectedAttribute,
) -> None:
    def shown(attribute: ProtectedAttribute | None) -> dict[str, Any] | None:
        hidden = {"id", "created_by", "created_at", "updated_at"}
        return None if attribute is None else attribute.model_dump(mode="json", exclude=hidden)

    await audit.record(
        conn,
        origin,
        caller,
        action=action,
        resource_type="protected_attribute",
        resource_id=attribute_id,
        old=shown(old),
        new=shown(new),
    )
