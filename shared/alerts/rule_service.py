"""Use cases of alert rules: setting limits, and holding what monitoring finds against them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg

from shared.alerts import repository, rule_repository
from shared.alerts.rules import Observation, Rule, RuleSettings, cause_of, is_broken, signal_of, watches
from shared.alerts.service import clear, report
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, NotFound, invalid_field
from shared.users.model import Caller


class RuleService:
    """Limits on figures, set by people."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, settings: RuleSettings, *, caller: Caller, origin: Origin) -> Rule:
        """A new rule.

        :raises Conflict: the name is taken.
        :raises InvalidContent: no model has this id.
        """
        try:
            async with self._database.transaction() as conn:
                rule = await rule_repository.insert(conn, uuid4(), settings, caller.user_id, self._clock())
                if rule is None:
                    raise _taken(settings)
                await _audit(conn, caller, origin, "CREATE", rule.id, None, settings)
        except psycopg.errors.ForeignKeyViolation as error:
            raise invalid_field("model_id", "no model has this id") from error
        return rule

    async def replace(self, rule_id: UUID, settings: RuleSettings, *, caller: Caller, origin: Origin) -> Rule:
        """Other settings for a rule.

        :raises NotFound: there is no such rule.
        :raises Conflict: another rule has this name.
        :raises InvalidContent: no model has this id.
        """
        try:
            async with self._database.transaction() as conn:
                before = _found(await rule_repository.get(conn, rule_id, lock=True))
                rule = await rule_repository.update(conn, rule_id, settings, self._clock())
                await _audit(conn, caller, origin, "UPDATE", rule_id, before, settings)
        except psycopg.errors.UniqueViolation as error:
            raise _taken(settings) from error
        except psycopg.errors.ForeignKeyViolation as error:
            raise invalid_field("model_id", "no model has this id") from error
        return rule

    async def delete(self, rule_id: UUID, *, caller: Caller, origin: Origin) -> Rule:
        """The rule is gone, and given as it was last; its alerts stay as they are.

        :raises NotFound: there is no such rule.
        """
        async with self._database.transaction() as conn:
            before = _found(await rule_repository.get(conn, rule_id, lock=True))
            await rule_repository.delete(conn, rule_id)
            await _audit(conn, caller, origin, "DELETE", rule_id, before, None)
        return before

    async def get(self, rule_id: UUID) -> Rule:
        """One rule.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return _found(await rule_repository.get(conn, rule_id))

    async def list_page(
        self, *, metric: str | None, model_id: UUID | None, is_active: bool | None, limit: int, offset: int
    ) -> tuple[list[Rule], int]:
        """One page of rules, by name, and how many the filters leave."""
        filters = {"metric": metric, "model_id": model_id, "is_active": is_active}
        async with self._database.connection() as conn:
            return await rule_repository.list_page(conn, filters, limit=limit, offset=offset)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Hold the figures of a window against the rules.

        A rule that was broken in enough windows in a row reports its alert; once it was kept in as many, the alert is
        resolved. A window counts once, however often it is told.
        """
        if not observations:
            return
        async with self._database.connection() as conn:
            rules = await rule_repository.active(conn, {seen.metric for seen in observations})
        for rule in rules:
            for seen in observations:
                if watches(rule, seen):
                    async with self._database.transaction() as conn:
                        await self._hold(conn, rule, seen)

    async def _hold(self, conn: Connection, rule: Rule, seen: Observation) -> None:
        broken = is_broken(rule, seen.value)
        windows = await rule_repository.observe(conn, rule, seen, broken=broken)
        if windows is None:
            return
        now, cause = self._clock(), cause_of(rule, seen)
        if not broken:
            await clear(conn, cause, windows=rule.windows, at=seen.window_end, now=now)
        elif windows >= rule.windows:
            closed = await repository.closed_at(conn, cause)
            if closed is None or now - closed >= rule.cool_down or await repository.open_of(conn, cause):
                await report(conn, signal_of(rule, seen, windows), now)


def _found(rule: Rule | None) -> Rule:
    if rule is None:
        raise NotFound("no alert rule has this id", target="rule_id")
    return rule


def _taken(settings: RuleSettings) -> Conflict:
    return Conflict(f"there is a rule named {settings.name!r} already", target="name")


async def _audit(
    conn: Connection,
    caller: Caller,
    origin: Origin,
    action: str,
    rule_id: UUID,
    old: RuleSettings | None,
    new: RuleSettings | None,
) -> None:
    def shown(settings: RuleSettings | None) -> dict[str, Any] | None:
        return None if settings is None else settings.model_dump(mode="json", include=set(RuleSettings.model_fields))

    await audit.record(
        conn,
        origin,
        caller,
        action=action,
        resource_type="alert_rule",
        resource_id=rule_id,
        old=shown(old),
        new=shown(new),
    )
