"""Tests of testing/sim: threads that take turns, and their locks, events and queues."""

from random import Random

import pytest

from millstream.testing.sim.primitives import SimClock, SimQueues, SimThreading
from millstream.testing.sim.runtime import (
    DeadlockError,
    ProcessDiedError,
    SimRuntime,
    ThreadEndedError,
)


def run(seed: int) -> tuple[list[str], float]:
    """Let three threads append to a list; return it, and the time at the end."""
    runtime = SimRuntime(Random(seed))
    threading, said = SimThreading(runtime), list[str]()
    lock = threading.Lock()

    def work(name: str) -> None:
        for number in range(4):
            with lock:
                said.append(f"{name}{number}")
            threading.Event().wait(0.5)

    threads = [threading.Thread(target=work, args=(each,), name=each) for each in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said, runtime.now_ms


def test_the_seed_decides_the_order() -> None:
    """The same one again and again, another one for another seed; time jumps."""
    first, at_ms = run(1)

    assert run(1) == (first, at_ms)
    assert any(run(seed)[0] != first for seed in range(2, 9))
    assert [each for each in first if each[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert at_ms == 2000


def test_waits_end_in_the_order_of_their_moments() -> None:
    """Whoever waits for the earliest moment goes on first, at that moment."""
    runtime = SimRuntime(Random(0), 1000)
    threading, clock, said = SimThreading(runtime), SimClock(runtime), list[int]()

    def work(until_ms: int) -> None:
        assert clock.wait_until(until_ms, threading.Event())
        said.append(clock.now_ms())

    threads = [
        threading.Thread(target=work, args=(each,)) for each in (3000, 1500, 2000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert said == [1500, 2000, 3000]


def test_a_deadlock_is_told_with_who_waits_for_what() -> None:
    """Instead of hanging."""
    runtime = SimRuntime(Random(0))
    threading = SimThreading(runtime)
    one, two = threading.Lock(), threading.Lock()
    both = threading.Event()

    def work() -> None:
        with two:
            both.set()
            one.acquire()

    with one:
        threading.Thread(target=work, name="other").start()
        both.wait()
        with pytest.raises(DeadlockError, match=r"program: waits for a lock of other"):
            two.acquire()
    runtime.die("over")
    runtime.reap()
    assert runtime.alive() == []


def test_time_limits_are_of_simulated_time() -> None:
    """Of locks, conditions, queues and joins."""
    runtime = SimRuntime(Random(0))
    threading, queues = SimThreading(runtime), SimQueues(runtime)
    condition, waiting = threading.Condition(), queues.SimpleQueue()

    with condition:
        assert not condition.wait_for(lambda: False, 3)
    assert runtime.now_ms == 3000
    with pytest.raises(queues.Empty):
        waiting.get(timeout=2)
    assert runtime.now_ms == 5000
    held = threading.Lock()
    held.acquire()
    assert not held.acquire(timeout=1)
    thread = threading.Thread(target=lambda: threading.Event().wait(10))
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    thread.join()
    assert not thread.is_alive()
    assert runtime.now_ms == 16_000


def test_a_condition_gives_its_lock_back_while_it_waits() -> None:
    """However often it is held, and takes it again as often."""
    runtime = SimRuntime(Random(3))
    threading = SimThreading(runtime)
    condition, items = threading.Condition(), list[int]()

    def work() -> None:
        for number in range(3):
            with condition:
                items.append(number)
                condition.notify_all()

    threading.Thread(target=work).start()
    with condition, condition:
        assert condition.wait_for(lambda: len(items) == 3)
    assert items == [0, 1, 2]


def test_a_bounded_queue_refuses_what_it_has_no_room_for() -> None:
    """As queue.Queue."""
    queues = SimQueues(SimRuntime(Random(0)))
    waiting = queues.Queue(1)
    waiting.put_nowait(1)

    with pytest.raises(queues.Full):
        waiting.put_nowait(2)
    assert waiting.get_nowait() == 1
    assert waiting.empty()


@pytest.mark.parametrize("step", range(1, 30, 3))
def test_a_killed_process_does_nothing_more(step: int) -> None:
    """Its threads end wherever they are, without letting anything out."""
    runtime = SimRuntime(Random(step))
    threading, said = SimThreading(runtime), list[str]()
    ended = list[str]()

    def work() -> None:
        try:
            while True:
                said.append("alive")
                threading.Event().wait(0.1)
        except ThreadEndedError:
            ended.append("here")
            raise

    def process() -> None:
        for number in range(3):
            threading.Thread(target=work, name=f"{number}").start()
        runtime.sleep_until(10_000)

    runtime.dies_at_step = step
    with pytest.raises(ProcessDiedError, match="killed at step"):
        process()
    before = len(said)
    runtime.reap()

    assert len(said) == before
    assert len(ended) <= 3
    assert runtime.alive() == []
    threading.Thread(target=lambda: said.append("new life")).start()
    runtime.sleep_until(runtime.now_ms + 1)
    assert said[-1] == "new life"


def test_what_a_thread_raises_is_kept() -> None:
    """With its name, for whoever checks the run."""
    runtime = SimRuntime(Random(0))
    threading = SimThreading(runtime)

    def work() -> None:
        raise ValueError("odd")

    threading.Thread(target=work, name="worker").start()
    runtime.sleep_until(1)
    ((name, error),) = runtime.failures

    assert name == "worker"
    assert str(error) == "odd"
