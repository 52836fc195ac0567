"""Recording labels: find what they are about, then settle them in one transaction that history takes part in."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from shared.archiving.model import month_of
from shared.archiving.months import ArchivedMonths
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.features.history.store import HistoryStore
from shared.features.online import OnlinePlan
from shared.labels import repository
from shared.labels.ledger import Told, settle
from shared.labels.model import MAX_PREDICTIONS, Outcome
from shared.labels.repository import Found, Target
from shared.labels.telling import Events, HistoryTelling
from shared.platform.database import Connection, Database
from shared.scoring.identifiers import created_at
from shared.scoring.service import ScoringService
from shared.users.model import Caller

_SLICE: Final = 500  # labels; a few milliseconds of the event loop that scoring shares
_LEAVE_NOTHING: Final = {Outcome.UNCHANGED, Outcome.AMBIGUOUS, Outcome.UNKNOWN}

Asked = tuple[Target, Told | None]
"""What a label is about, and the label; without one, only what waits for it is recorded."""
Result = tuple[Outcome, int]
"""What came of a label, and of how many predictions."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """The predictions that ids stand for, and those predictions as events, a mapping a plan.

    :ivar ambiguous: transactions with too many predictions.
    :ivar unknown: prediction ids that stand for nothing, in no archive either.
    """

    targets: dict[Target, list[UUID]] = field(default_factory=dict)
    ambiguous: set[Target] = field(default_factory=set)
    unknown: set[UUID] = field(default_factory=set)
    found: dict[UUID, Found] = field(default_factory=dict)
    events: list[Events] = field(default_factory=list)


class LabelRecorder:
    """Records labels, and with them those that have waited for the same ids."""

    def __init__(self, database: Database, scoring: ScoringService, telling: HistoryTelling) -> None:
        self._database = database
        self._scoring = scoring
        self._telling = telling
        self._archived = ArchivedMonths(database)

    async def record(self, asked: Sequence[Asked], origin: Origin, caller: Caller | None) -> list[Result]:
        """Record labels in their order; one result for each that is given.

        What is read beforehand never changes; what is known is read when nobody else may change it.
        """
        plans = await self._scoring.history_plans()
        slices = [asked[first : first + _SLICE] for first in range(0, len(asked), _SLICE)]
        resolved = [await self._resolve({target for target, _ in part}, plans) for part in slices]
        results: list[Result] = []
        counts: Counter[str] = Counter()
        async with self._database.transaction() as conn:
            await HistoryStore.take_label_turn(conn)
            following = await self._telling.following(conn, plans)
            for part, which in zip(slices, resolved, strict=True):
                waiting = await repository.take_pending(conn, which.targets)
                new = [(target, label) for target, label in part if label is not None]
                found = await self._settle(conn, [*waiting, *new], which, plans, following)
                counts.update(outcome.value for outcome, _ in found)
                results += found[len(waiting) :]
            if counts.keys() - _LEAVE_NOTHING:
                await self._telling.told(conn, following)
                sources = sorted({label.source for _, label in asked if label is not None and label.source is not None})
                await audit.record(
                    conn, origin, caller, action="LABEL", resource_type="prediction", resource_id=None,
                    new=dict(counts), metadata={"labels": len(results), "sources": sources[:20]},
                )  # fmt: skip
        return results

    async def _resolve(self, targets: Collection[Target], plans: Sequence[OnlinePlan]) -> _Resolved:
        ids = {one: at for one in targets if isinstance(one, UUID) and (at := created_at(one)) is not None}
        transactions = [one for one in targets if isinstance(one, str)]
        async with self._database.connection() as conn:
            found = await repository.find(conn, ids, with_input=bool(plans)) if ids else []
            by_id: dict[Target, list[UUID]] = {one.id: [one.id] for one in found}
            of_transactions = (
                await repository.find_of_transactions(
                    conn, transactions, limit=MAX_PREDICTIONS + 1, with_input=bool(plans)
                )
                if transactions
                else []
            )
        unknown = {one for one in targets if isinstance(one, UUID) and one not in by_id}
        if unknown:
            archived = await self._archived.months()
            unknown -= {one for one, at in ids.items() if month_of(at) in archived}
        by_transaction: dict[Target, list[UUID]] = {}
        for one in of_transactions:
            assert one.transaction_id is not None
            by_transaction.setdefault(one.transaction_id, []).append(one.id)
        ambiguous = {one for one, predictions in by_transaction.items() if len(predictions) > MAX_PREDICTIONS}
        every = [*found, *(one for one in of_transactions if one.transaction_id not in ambiguous)]
        return _Resolved(
            targets={**by_id, **{one: ids for one, ids in by_transaction.items() if one not in ambiguous}},
            ambiguous=ambiguous,
            unknown=unknown,
            found={one.id: one for one in every},
            events=await self._telling.encode(plans, every),
        )

    async def _settle(
        self,
        conn: Connection,
        labels: Sequence[tuple[Target, Told]],
        which: _Resolved,
        plans: Sequence[OnlinePlan],
        following: Collection[OnlinePlan],
    ) -> list[Result]:
        ledgers = await repository.ledgers(conn, which.found.values()) if which.found else {}
        settled = settle(ledgers, [(label, which.targets.get(target, ())) for target, label in labels])
        if settled.entries:
            await repository.record(conn, settled.entries, settled.changed, which.found)
        if settled.changed:
            for plan, events in zip(plans, which.events, strict=True):
                if plan in following:
                    await self._telling.tell(conn, plan, events, settled.changed)
        outcomes = zip(labels, settled.outcomes, strict=True)
        results = [found or _without(target, which) for (target, _), found in outcomes]
        waits = [one for one, (outcome, _) in zip(labels, results, strict=True) if outcome is Outcome.PENDING]
        if waits:
            await repository.keep_pending(conn, waits)
        return results


def _without(target: Target, which: _Resolved) -> Result:
    """What comes of a label without any prediction: it may yet be scored, or come back from an archive."""
    if target in which.ambiguous:
        return Outcome.AMBIGUOUS, 0
    return (Outcome.UNKNOWN if target in which.unknown else Outcome.PENDING), 0
