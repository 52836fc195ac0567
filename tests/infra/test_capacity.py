"""The capacity model: what it says of loads that are known, and that the documentation says what it says."""

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.capacity import (
    LOADS,
    SERVERS,
    Assumptions,
    Costs,
    closed_loop,
    instances_for,
    plan,
    reference,
    render,
    simulate,
)

DEPLOYMENT = Path(__file__).resolve().parents[2] / "docs" / "deployment.md"
COSTS = Costs(2.0, 0.5, 1.0, 0.3, 0.4, 0.1, 2_000, 2_500)
ASSUMED = Assumptions()


def test_a_worker_with_nothing_to_do_answers_in_the_time_of_one() -> None:
    """Far apart, each transaction is a batch of its own."""
    batches, p99 = simulate(COSTS, rate=1.0)
    assert batches == pytest.approx(1.0, rel=0.05)
    assert p99 == pytest.approx(2.5, rel=0.05)


def test_a_busy_worker_makes_larger_batches() -> None:
    """At 1,000 a second a batch of n takes 2 + n / 2 ms, in which n more come: n is 4, and 250 batches do it."""
    batches, p99 = simulate(COSTS, rate=1_000)
    assert batches == pytest.approx(250, rel=0.1)
    assert 4 < p99 < 20


def test_a_worker_beyond_its_rate_never_catches_up() -> None:
    """2,000 a second is the most that half a millisecond each allows."""
    assert simulate(COSTS, rate=3_000)[1] > 1_000


def test_clients_that_wait_form_one_batch() -> None:
    """32 of them: 2 + 16 ms for 32 answers."""
    assert closed_loop(COSTS, 32) == pytest.approx(32 / 0.018)


def test_more_load_never_needs_less() -> None:
    """Instances, cores, disk and writing grow with the load."""
    plans = [plan(COSTS, 10**power, ASSUMED) for power in range(3, 9)]
    for smaller, larger in pairwise(plans):
        assert smaller.instances <= larger.instances
        assert smaller.cores < larger.cores
        assert smaller.database_gib <= larger.database_gib
        assert list(SERVERS).index(smaller.sku) <= list(SERVERS).index(larger.sku)


def test_instances_are_fast_enough_and_one_fewer_is_not() -> None:
    """The count is the least that keeps both limits."""
    count, _, p99 = instances_for(COSTS, 20_000, ASSUMED)
    fewer, _, _ = instances_for(COSTS, 20_000 * (count - 2) / count, ASSUMED)
    assert p99 <= ASSUMED.p99_ms
    assert fewer < count


def test_the_disk_keeps_within_what_a_server_can_have() -> None:
    """Where the months that are wished for do not fit, fewer are kept."""
    assert plan(COSTS, 1_000, ASSUMED).hot_months == ASSUMED.hot_months
    large = plan(COSTS, 100_000_000, ASSUMED)
    assert 1 <= large.hot_months < ASSUMED.hot_months
    assert large.database_gib <= 32 * 1024


def test_the_documented_table_is_the_commands() -> None:
    """``python -m benchmarks.capacity`` prints the table of docs/deployment.md."""
    table = render([plan(reference(), per_day, Assumptions()) for per_day in LOADS])
    assert table in DEPLOYMENT.read_text()
