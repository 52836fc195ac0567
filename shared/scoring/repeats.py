"""Transactions that repeat one that was submitted before, in their batch or earlier, and the answers they get."""

from uuid import UUID

from shared.platform.database import Connection
from shared.platform.errors import Conflict, Unavailable
from shared.scoring import repository
from shared.scoring.prepared import Answer, Row
from shared.scoring.submissions import Repeated


def apart(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to score, and those that repeat one of them."""
    firsts: list[Row] = []
    repeats: list[Row] = []
    seen: set[tuple[str | None, str]] = set()
    for row in rows:
        if row.submission is not None:
            key = row.transaction_id, row.submission.scope
            if key in seen:
                repeats.append(row)
                continue
            seen.add(key)
        firsts.append(row)
    return firsts, repeats


async def answer_repeats(
    conn: Connection, rows: list[Row], answers: list[Answer], repeats: list[Row], repeated: frozenset[UUID]
) -> None:
    """Point whoever repeats a transaction to the prediction that answered it first: of this batch, or an earlier one.

    :param rows: as they were scored. :param answers: theirs. :param repeats: those that repeat one of them.
    :param repeated: predictions among ``answers`` that were not stored.
    """
    first: dict[tuple[str | None, str], tuple[str, UUID]] = {}
    earlier = []
    for row, answer in zip(rows, answers, strict=True):
        if row.submission is None:
            continue
        if answer.prediction.id in repeated:
            earlier.append((row.transaction_id, row.submission))
            repeats = [*repeats, row]
        elif repeats:
            first[row.transaction_id, row.submission.scope] = row.submission.payload, answer.prediction.id
    if earlier:
        first |= await repository.first_submissions(conn, earlier)
    for row in repeats:
        assert row.submission is not None
        known = first.get((row.transaction_id, row.submission.scope))
        if known is None:  # its window ended between the two statements
            row.pending.fail(Unavailable("the transaction is just being forgotten", retry_after=1))
        elif known[0] != row.submission.payload:
            message = "another transaction was scored under this id"
            row.pending.fail(Conflict(message, target="transaction.transaction_id"))
        else:
            row.pending.resolve(Repeated(known[1]))
