"""Natural micro-batching: a batch is whatever arrived while the last ones were in flight. No timer, no added wait."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.platform.errors import Unavailable

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Pending(Generic[ItemT, ResultT]):
    """An item that waits for its result; a caller who gave up has cancelled ``future``."""

    __slots__ = ("future", "item")

    def __init__(self, item: ItemT, future: "asyncio.Future[ResultT]") -> None:
        self.item = item
        self.future = future

    def resolve(self, result: ResultT) -> None:
        """Answer, unless the caller has gone."""
        if not self.future.done():
            self.future.set_result(result)

    def give_up(self) -> None:
        """The deadline has passed; one that still waits in line is taken out of it."""
        self.fail(_too_late())

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless the caller has gone."""
        if not self.future.done():
            self.future.set_exception(error)


class MicroBatcher(Generic[ItemT, ResultT]):
    """Runs ``process`` on what waits, at most ``lanes`` batches at a time.

    ``process`` must settle every item it is given; what it leaves open fails with its exception, or as unavailable.
    """

    def __init__(
        self,
        process: Callable[[list[Pending[ItemT, ResultT]]], Awaitable[None]],
        *,
        lanes: int,
        largest_batch: int,
        queue_size: int,
    ) -> None:
        self._process = process
        self._idle_lanes = lanes
        self._largest_batch = largest_batch
        self._queue_size = queue_size
        self._waiting: deque[Pending[ItemT, ResultT]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: ItemT, *, deadline_seconds: float) -> ResultT:
        """The result of ``item``.

        :raises Unavailable: too many wait already, or the deadline passed.
        """
        if len(self._waiting) >= self._queue_size:
            raise Unavailable("too many transactions are waiting", retry_after=1)
        if deadline_seconds <= 0:
            raise _too_late()
        loop = asyncio.get_running_loop()
        pending: Pending[ItemT, ResultT] = Pending(item, loop.create_future())
        deadline = loop.call_later(deadline_seconds, pending.give_up)
        self._waiting.append(pending)
        self._start_lane()
        try:
            return await pending.future
        finally:
            deadline.cancel()

    def _start_lane(self) -> None:
        if self._idle_lanes and self._waiting:
            self._idle_lanes -= 1
            lane = asyncio.create_task(self._run_lane())
            self._running.add(lane)
            lane.add_done_callback(self._running.discard)

    async def _run_lane(self) -> None:
        try:
            while batch := self._take():
                try:
                    await self._process(batch)
                except Exception as error:  # noqa: BLE001  # each waiting caller gets it
                    for pending in batch:
                        pending.fail(error)
                finally:
                    for pending in batch:
                        pending.fail(Unavailable("the transaction was not scored"))
        finally:
            self._idle_lanes += 1

    def _take(self) -> list[Pending[ItemT, ResultT]]:
        batch: list[Pending[ItemT, ResultT]] = []
        while self._waiting and len(batch) < self._largest_batch:
            pending = self._waiting.popleft()
            if not pending.future.done():
                batch.append(pending)
        return batch


def _too_late() -> Unavailable:
    return Unavailable("the transaction could not be scored in time", retry_after=1)
