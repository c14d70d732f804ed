"""Tests of engine/jobs/placement.py: where a stage's tasks run, by what they cost."""

import pytest

from millstream.engine.jobs.placement import Place, Placement, Processes

KEY = b"a stage"


def choose(
    placement: Placement, tasks: int = 4, records: int = 0, *, is_by_rows: bool = True
) -> Place:
    """Ask about a stage."""
    return placement.choose(
        KEY, tasks, records=lambda: records, is_by_rows=lambda: is_by_rows
    )


@pytest.mark.parametrize(
    ("records", "is_by_rows", "place"),
    [
        (1_000_000, True, Place.PROCESSES),
        (1_000_000, False, Place.THREADS),
        (100, True, Place.THREADS),
    ],
)
def test_a_stage_that_never_ran_is_judged_by_its_input(
    records: int, is_by_rows: bool, place: Place
) -> None:
    """Much of it, that goes by rows, is worth the hand-over."""
    made = choose(Placement(Processes.AUTO, 2), records=records, is_by_rows=is_by_rows)

    assert made is place


@pytest.mark.parametrize(
    ("took_s", "was_by_rows", "moved_bytes", "place"),
    [
        (0.5, True, 0, Place.PROCESSES),
        (0.5, False, 0, Place.THREADS),
        (0.005, True, 0, Place.THREADS),
        (0.5, True, 100_000_000, Place.THREADS),
    ],
)
def test_a_stage_that_ran_is_judged_by_what_it_cost(
    took_s: float, was_by_rows: bool, moved_bytes: int, place: Place
) -> None:
    """Whatever its input looks like: what it took, and what was moved."""
    placement = Placement(Processes.AUTO, 2)
    placement.measured(KEY, took_s, was_by_rows=was_by_rows, moved_bytes=moved_bytes)

    assert choose(placement, records=10**9) is place


def test_costs_follow_a_stage_that_changes() -> None:
    """A stream whose batches grow moves to processes within a few batches."""
    placement = Placement(Processes.AUTO, 2)
    placement.measured(KEY, 0.001, was_by_rows=True)
    before = choose(placement)
    for _ in range(5):
        placement.measured(KEY, 0.2, was_by_rows=True)

    assert [before, choose(placement)] == [Place.THREADS, Place.PROCESSES]


@pytest.mark.parametrize(("slots", "tasks"), [(1, 4), (4, 1)])
def test_what_runs_alone_stays_here(slots: int, tasks: int) -> None:
    """There is nothing to run beside it, and breakpoints work."""
    placement = Placement(Processes.AUTO, slots)
    placement.measured(KEY, 10.0, was_by_rows=True)

    assert choose(placement, tasks) is Place.THREADS


def test_the_setting_wins() -> None:
    """Off is never, always is always."""
    off, always = Placement(Processes.OFF, 2), Placement(Processes.ALWAYS, 1)
    off.measured(KEY, 10.0, was_by_rows=True)

    assert choose(off) is Place.THREADS
    assert choose(always, 1) is Place.PROCESSES


def test_costs_of_stages_long_ago_are_forgotten() -> None:
    """A program that makes new functions all the time doesn't fill the memory."""
    placement = Placement(Processes.AUTO, 2)
    for number in range(1500):
        placement.measured(str(number).encode(), 1.0, was_by_rows=True)

    assert len(placement._costs) == 1000
