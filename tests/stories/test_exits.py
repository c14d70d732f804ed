"""Stories of programs whose functions call sys.exit()."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import (
    JobFailedError,
    MillstreamError,
    OutputOperationError,
)
from millstream.engine.base.exits import ExitCalledError
from millstream.streaming.listener import StreamingListener
from millstream.testing import StreamHarness

pytestmark = pytest.mark.timeout(60)


def leave_at_b(word: str) -> str:
    """End, as it seems, at one of the words."""
    if word == "b":
        sys.exit(3)
    return word


def by_transform(h: StreamHarness, seen: list[Any]) -> None:
    """Call it on the thread that makes batches."""

    def leave(rdd: Any) -> Any:
        return rdd.map(leave_at_b) if rdd.first() != "b" else leave_at_b("b")

    h.stream([["a"], ["b"], ["c"]]).transform(leave).foreachRDD(
        lambda rdd: seen.extend(rdd.collect())
    )


def by_output(h: StreamHarness, seen: list[Any]) -> None:
    """Call it on the thread of a batch's output."""
    h.stream([["a"], ["b"], ["c"]]).foreachRDD(
        lambda rdd: seen.extend(map(leave_at_b, rdd.collect()))
    )


def by_task(h: StreamHarness, seen: list[Any]) -> None:
    """Call it in a task."""
    words = h.stream([["a"], ["b"], ["c"]]).map(leave_at_b)
    words.foreachRDD(lambda rdd: seen.extend(rdd.collect()))


@pytest.mark.parametrize("leaving", [by_transform, by_output, by_task])
def test_a_batch_fails_and_the_stream_goes_on(
    leaving: Callable[[StreamHarness, list[Any]], None],
) -> None:
    """Nobody waits for ever; the error names the line, and says what to do instead."""
    seen: list[Any] = []
    with StreamHarness() as h:
        leaving(h, seen)
        h.run(1)
        with pytest.raises(MillstreamError, match=r"sys\.exit\(3\) was called") as no:
            h.run(1)
        h.run(1)

        assert isinstance(no.value, ExitCalledError | OutputOperationError)
        assert seen == ["a", "c"]


@pytest.mark.parametrize(
    ("master", "processes"),
    [
        ("local[1]", "off"),
        ("local[2]", "off"),
        pytest.param("local[2]", "always", marks=pytest.mark.slow),
    ],
)
def test_a_job_fails_wherever_its_tasks_run(master: str, processes: str) -> None:
    """On the program's own thread, on others, and in processes, which stay."""
    conf = SparkConf().setMaster(master).setAppName("leaving")
    conf.set("spark.millstream.processes", processes)
    with SparkContext(conf=conf) as sc:
        words = sc.parallelize(["a", "b"], 2)
        with pytest.raises(JobFailedError, match=r"sys\.exit\(3\) was called") as no:
            words.map(leave_at_b).collect()

        assert "in leave_at_b" in str(no.value)
        assert words.count() == 2


def test_a_listener_that_leaves_is_told_of_and_others_hear_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when it raises any other error."""

    class Leaving(StreamingListener):
        def onBatchStarted(self, batchSubmitted: Any) -> None:
            sys.exit(3)

    class Hearing(StreamingListener):
        heard = 0

        def onBatchCompleted(self, batchCompleted: Any) -> None:
            self.heard += 1

    hearing = Hearing()
    with StreamHarness() as h:
        h.ssc.addStreamingListener(Leaving())
        h.ssc.addStreamingListener(hearing)
        h.collect(h.stream([["a"], ["b"]]))
        h.run(2)

    assert hearing.heard == 2
    assert "a streaming listener raised event=BatchStarted" in caplog.text
