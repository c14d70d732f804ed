"""Tests of testing/harness.py: the kit that users write their tests with."""

from typing import Any

import pytest

from millstream import SparkConf
from millstream.engine.base.errors import (
    IllegalStateError,
    OutputOperationError,
    SparkError,
)
from millstream.testing import ManualClock, StreamHarness


def test_batches_come_as_they_were_written() -> None:
    """Records, times and partitions of each; None is no RDD, the end is empty."""
    with StreamHarness(batch=1.0, master="local[2]") as h:
        s = h.stream([[1, 2], [3], None, []], partitions=2)
        out = h.collect(s.map(lambda x: x * 10), name="mapped")
        h.run(batches=5)

        assert out.records == [[10, 20], [30], [], []]
        assert out.times_ms == [1000, 2000, 4000, 5000]
        assert out.partitions == [[[10], [20]], [[], [30]], [[], []], [[], []]]
        assert h.output("mapped") is out
        assert repr(out).startswith("Collected([[10, 20]")
        with pytest.raises(KeyError, match="nothing is collected under the name 'x'"):
            h.output("x")


def test_the_clock_is_virtual_and_in_the_tests_hand() -> None:
    """It starts at 0; run moves it batch by batch; advance moves it too."""
    with StreamHarness(batch=0.5) as h:
        out = h.collect(h.stream([[1]]))
        assert isinstance(h.clock, ManualClock)
        assert h.clock.now_ms() == 0
        h.run(2)
        assert h.clock.now_ms() == 1000
        h.clock.advance(0.3)
        h.run(1)

    assert out.times_ms == [500, 1000, 1500]


def test_batches_can_be_fed_while_it_runs() -> None:
    """Feed appends to the script of one stream."""
    with StreamHarness() as h:
        s = h.stream([[1]])
        out, mapped = h.collect(s), s.map(str)
        h.run(1)
        h.feed(s, [7, 8])
        h.feed(s, None)
        h.run(4)
        h.feed(s, [9])
        h.run(1)
        with pytest.raises(SparkError, match=r"made by StreamHarness\.stream"):
            h.feed(mapped, [1])

    assert out.records == [[1], [7, 8], [], [], [9]]


def test_run_raises_a_batchs_error_and_can_go_on() -> None:
    """The error is the batch's own; the next run runs the next batch."""
    with StreamHarness() as h:
        out = h.collect(h.stream([[0], [2]]).map(lambda x: 4 // x))
        with pytest.raises(OutputOperationError, match="ZeroDivisionError"):
            h.run(2)
        h.run(1)

    assert out.records == [[2]]


def test_settings_and_setup() -> None:
    """A conf as dict or SparkConf; setup builds the streams."""

    def build(h: StreamHarness) -> None:
        h.collect(h.stream([[1]]), name="built")

    conf: dict[str, Any] = {"spark.default.parallelism": 3}
    with StreamHarness(conf=conf, setup=build) as h:
        h.run(1)
        assert h.output("built").records == [[1]]
        assert h.sc.defaultParallelism == 3
    with StreamHarness(
        conf=SparkConf(False).set("spark.default.parallelism", "4")
    ) as h:
        assert h.sc.defaultParallelism == 4
    with pytest.raises(ZeroDivisionError):
        StreamHarness(setup=lambda h: 1 // 0)


def test_crash_ends_everything_until_the_restart(checkpoint: str) -> None:
    """The restored stream fills the same outputs; without a directory there is none."""
    h = StreamHarness(checkpoint=checkpoint)
    h.collect(h.stream([[1]]), name="out")
    h.run(1)
    h.crash()

    assert h.output("out").records == [[1]]
    with pytest.raises(IllegalStateError, match="has crashed"):
        h.run(1)
    h.restart()
    h.run(1)
    assert h.output("out").records == [[1], [1], []]
    h.crash()
    with (
        StreamHarness() as without,
        pytest.raises(IllegalStateError, match="no checkpoint directory"),
    ):
        without.restart()


def test_harnesses_follow_one_another() -> None:
    """Ten in a row leave nothing behind that hinders the next."""
    for _ in range(10):
        with StreamHarness() as h:
            out = h.collect(h.stream([[1]]).map(lambda x: x + 1))
            h.run(1)
            assert out.records == [[2]]
