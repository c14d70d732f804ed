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


@pytest.mark.parametrize(
    ("took_s", "moved_bytes", "slots", "place"),
    [
        (0.06, 0, 2, Place.PROCESSES),
        (0.04, 0, 2, Place.THREADS),
        (0.06, 1_000_000, 2, Place.THREADS),
        (10.0, 0, 1, Place.THREADS),
    ],
)
def test_a_long_task_leaves_a_process_in_which_receivers_run(
    took_s: float, moved_bytes: int, slots: int, place: Place
) -> None:
    """Even alone, if it goes by rows: their threads would wait for the interpreter."""
    placement = Placement(Processes.AUTO, slots)
    placement.measured(KEY, took_s, was_by_rows=True, moved_bytes=moved_bytes)

    def choose_alone(*, has_receivers: bool) -> Place:
        return placement.choose(
            KEY,
            1,
            records=lambda: 0,
            is_by_rows=lambda: True,
            has_receivers=has_receivers,
        )

    assert choose_alone(has_receivers=True) is place
    assert choose_alone(has_receivers=False) is Place.THREADS


@pytest.mark.parametrize("was_measured", [True, False])
def test_one_task_stays_here_if_it_is_short_columns_or_unknown(
    *, was_measured: bool
) -> None:
    """Receivers or not."""
    placement = Placement(Processes.AUTO, 2)
    if was_measured:
        placement.measured(KEY, 10.0, was_by_rows=False)

    made = placement.choose(
        KEY, 1, records=lambda: 10**9, is_by_rows=lambda: True, has_receivers=True
    )

    assert made is Place.THREADS


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
