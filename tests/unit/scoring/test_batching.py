"""Natural micro-batching."""

import asyncio

import pytest

from shared.platform.errors import InvalidContent, Unavailable
from shared.scoring.batching import MicroBatcher, Pending

Batch = list[Pending[int, int]]


class Recorder:
    """Doubles what it is given, when the gate is open, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()

    async def __call__(self, batch: Batch) -> None:
        self.batches.append([pending.item for pending in batch])
        await self.open.wait()
        for pending in batch:
            if pending.item < 0:
                pending.fail(InvalidContent("negative"))
            else:
                pending.resolve(pending.item * 2)


def _batcher(
    process: Recorder, *, lanes: int = 1, largest_batch: int = 100, queue_size: int = 100
) -> MicroBatcher[int, int]:
    return MicroBatcher(process, lanes=lanes, largest_batch=largest_batch, queue_size=queue_size)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_item_is_not_kept_waiting() -> None:
    """Without neighbours an item is processed at once."""
    recorder = Recorder()
    recorder.open.set()
    assert await _batcher(recorder).submit(21, deadline_seconds=1) == 42


async def test_what_arrives_meanwhile_is_one_batch() -> None:
    """While the first is in flight, the others gather into the next batch."""
    recorder = Recorder()
    batcher = _batcher(recorder)
    tasks = [asyncio.create_task(batcher.submit(number, deadline_seconds=5)) for number in range(10)]
    await _settle()
    recorder.open.set()
    assert await asyncio.gather(*tasks) == [number * 2 for number in range(10)]
    assert sum(len(batch) for batch in recorder.batches) == 10
    assert len(recorder.batches) <= 2


async def test_a_failed_item_does_not_fail_its_neighbours() -> None:
    """Each caller gets the answer to its own item."""
    recorder = Recorder()
    recorder.open.set()
    batcher = _batcher(recorder)
    results = await asyncio.gather(
        *(batcher.submit(number, deadline_seconds=1) for number in (1, -1, 3)), return_exceptions=True
    )
    assert results[0] == 2
    assert isinstance(results[1], InvalidContent)
    assert results[2] == 6


async def test_a_full_queue_refuses_at_once() -> None:
    """More than the queue holds is answered as unavailable, to be tried again."""
    recorder = Recorder()
    batcher = _batcher(recorder, queue_size=2)
    first = asyncio.create_task(batcher.submit(0, deadline_seconds=5))
    await _settle()
    waiting = [asyncio.create_task(batcher.submit(number, deadline_seconds=5)) for number in (1, 2)]
    await _settle()
    with pytest.raises(Unavailable):
        await batcher.submit(3, deadline_seconds=5)
    recorder.open.set()
    assert await asyncio.gather(first, *waiting) == [0, 2, 4]


async def test_the_deadline_is_honoured() -> None:
    """A caller is not kept beyond its deadline."""
    batcher = _batcher(Recorder())
    with pytest.raises(Unavailable):
        await batcher.submit(1, deadline_seconds=0.01)


async def test_a_cancelled_item_costs_nothing_more() -> None:
    """What nobody waits for any more is not processed."""
    recorder = Recorder()
    batcher = _batcher(recorder)
    first = asyncio.create_task(batcher.submit(0, deadline_seconds=5))
    await _settle()
    second = asyncio.create_task(batcher.submit(1, deadline_seconds=5))
    await _settle()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    recorder.open.set()
    await first
    await _settle()
    assert recorder.batches == [[0]]


async def test_a_failing_batch_fails_each_of_its_callers_and_frees_the_lane() -> None:
    """After an unexpected error the next items are processed as usual."""
    calls = 0

    async def process(batch: Batch) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("broken once")
        for pending in batch:
            pending.resolve(pending.item)

    batcher: MicroBatcher[int, int] = MicroBatcher(process, lanes=1, largest_batch=10, queue_size=10)
    with pytest.raises(RuntimeError):
        await batcher.submit(1, deadline_seconds=1)
    assert await batcher.submit(2, deadline_seconds=1) == 2


async def test_no_more_batches_run_at_once_than_there_are_lanes() -> None:
    """Two lanes let one batch compute while another commits, and no third begins."""
    recorder = Recorder()
    batcher = _batcher(recorder, lanes=2, largest_batch=1)
    tasks = [asyncio.create_task(batcher.submit(number, deadline_seconds=5)) for number in range(6)]
    await _settle()
    assert len(recorder.batches) == 2
    recorder.open.set()
    await asyncio.gather(*tasks)
