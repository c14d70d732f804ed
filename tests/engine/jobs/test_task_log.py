"""Attempts of tasks are kept in bounds, and those that matter are among them."""

import threading
from dataclasses import dataclass

from millstream.engine.base.clock import monotonic_s
from millstream.engine.jobs.task_log import (
    EVERY_SO_MANY_MAX,
    SLOWEST_MAX,
    STAGE_ENDED,
    UNSUCCESSFUL_MAX,
    TaskLog,
    TaskStatus,
    Traffic,
)


@dataclass
class Ticket:
    """A task that was handed over."""

    begun_s: float | None = None
    where: str = ""


def of_many(count: int) -> TaskLog:
    """Return a log of tasks of which each took a second longer than the one before."""
    log = TaskLog()
    for number in range(count):
        log.begin(number, 0, number, 0.0)
        log.end(number, 0, TaskStatus.SUCCESS, float(number))
    return log


def test_an_attempt_is_told_as_it_was() -> None:
    """Where it ran, when on the driver's clock, how long, and what it moved."""
    begun_s = monotonic_s()
    log = TaskLog(1_000_000)
    log.begin(3, 1, 17, begun_s)
    log.end(3, 1, TaskStatus.FAILED, 0.25, Traffic(1, 2, 3, 4), "ValueError: no", True)
    (record,) = log.records()

    assert (record.id, record.partition, record.attempt) == (17, 3, 1)
    assert record.where == threading.current_thread().name
    assert abs(record.begun_ms - 1_000_000) < 1000
    assert record.took_ms == 250
    assert record.status is TaskStatus.FAILED
    assert record.error == "ValueError: no"
    assert record.is_copy
    assert record.traffic == Traffic(1, 2, 3, 4)


def test_what_runs_is_told_of_until_it_ends() -> None:
    """On threads, and elsewhere as soon as a worker has taken it."""
    log, ticket = TaskLog(), Ticket()
    log.begin(0, 0, 0, monotonic_s())
    log.hand_over(1, 0, 1, ticket)
    waiting = [each.partition for each in log.records()]
    ticket.begun_s, ticket.where = monotonic_s(), "worker process 7"
    taken = log.records()[1]
    log.end(1, 0, TaskStatus.SUCCESS, 0.0)
    ended = log.records()[1]

    assert waiting == [0]
    assert (taken.where, taken.status) == ("worker process 7", TaskStatus.RUNNING)
    assert (ended.where, ended.status) == ("worker process 7", TaskStatus.SUCCESS)
    assert len(log.records()) == 2


def test_a_task_that_waited_behind_another_began_when_its_worker_came_to_it() -> None:
    """Not when it was handed over."""
    now_s = monotonic_s()
    log = TaskLog()
    log.hand_over(0, 0, 0, Ticket(now_s - 100, "executor 1"))
    log.end(0, 0, TaskStatus.SUCCESS, 1.0)
    log.hand_over(1, 0, 1, Ticket(now_s - 100, "executor 1"))
    log.end(1, 0, TaskStatus.FAILED)
    short, unknown = log.records()

    assert short.begun_ms > unknown.begun_ms + 90_000
    assert short.took_ms == 1000
    assert unknown.took_ms >= 100_000


def test_what_never_came_as_far_as_a_worker_is_told_too() -> None:
    """Its input couldn't be pickled, say."""
    log = TaskLog()
    log.end(0, 0, TaskStatus.FAILED, error="TypeError: no")

    assert [(each.where, each.error) for each in log.records()] == [
        ("driver", "TypeError: no")
    ]


def test_of_many_tasks_a_sample_and_the_slowest_are_kept() -> None:
    """The sample's middle is that of all; the slowest are all there."""
    log = of_many(10_000)
    took = sorted(each.took_ms for each in log.sample())
    kept = {each.partition for each in log.records()}

    assert log.ended_count == 10_000
    assert len(took) <= EVERY_SO_MANY_MAX
    assert abs(took[len(took) // 2] / 1000 - 5000) < 100
    assert kept >= set(range(10_000 - SLOWEST_MAX, 10_000))
    assert log.kept_count <= EVERY_SO_MANY_MAX + SLOWEST_MAX


def test_a_slow_task_among_the_first_isnt_thinned_out() -> None:
    """Whatever its number."""
    log = TaskLog()
    for number in range(1000):
        log.begin(number, 0, number, 0.0)
        log.end(number, 0, TaskStatus.SUCCESS, 9.0 if number == 1 else 0.1)

    assert 1 in {each.partition for each in log.records()}


def test_the_newest_that_failed_are_kept() -> None:
    """Among many that didn't."""
    log = TaskLog()
    for number in range(5000):
        status = TaskStatus.FAILED if number % 3 else TaskStatus.SUCCESS
        log.end(number, 0, status, 0.1)
    failed = [
        each.partition
        for each in log.records()
        if each.status is TaskStatus.FAILED and each.partition >= 4900
    ]

    assert len(failed) >= UNSUCCESSFUL_MAX
    assert log.kept_count <= EVERY_SO_MANY_MAX + SLOWEST_MAX + UNSUCCESSFUL_MAX


def test_what_runs_when_its_stage_ends_is_given_up() -> None:
    """And what begins afterwards isn't told of: nobody hears how it ends."""
    log = TaskLog()
    log.begin(0, 0, 0, monotonic_s())
    log.close()
    log.begin(1, 0, 1, monotonic_s())
    (record,) = log.records()

    assert (record.status, record.error) == (TaskStatus.KILLED, STAGE_ENDED)


def test_a_log_is_made_anew_of_what_was_kept() -> None:
    """For who has read it somewhere else."""
    log = of_many(1000)
    sampled = log.sample()
    known = {each.partition for each in sampled}
    others = [each for each in log.records() if each.partition not in known]
    read = TaskLog.of_records(sampled, others, log.ended_count)

    assert [each.partition for each in read.records()] == [
        each.partition for each in log.records()
    ]
    assert len(read.sample()) == len(sampled)
    assert read.ended_count == 1000
