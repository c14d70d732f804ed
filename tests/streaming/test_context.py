"""Tests of streaming/context.py: the life of a context, its inputs, its listeners."""

import os
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from millstream import SparkContext
from millstream.engine.base.errors import (
    EngineError,
    IllegalArgumentError,
    IllegalStateError,
    OutputOperationError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.streaming import StreamingContext, StreamingListener
from millstream.testing import ManualClock, StreamHarness


def test_construction_warns_as_pyspark_does(sc: SparkContext) -> None:
    """A FutureWarning each time; a missing duration is an AssertionError."""
    with pytest.warns(FutureWarning, match="DStream is deprecated as of Spark 3.4.0"):
        StreamingContext(sc, 1).stop(False)
    with pytest.raises(AssertionError):
        StreamingContext(sc)
    with pytest.raises(TypeError, match="needs a SparkContext"):
        StreamingContext("local", 1)  # type: ignore[arg-type]
    with pytest.raises(IllegalArgumentError, match="must be positive"):
        StreamingContext(sc, 0)


def test_start_without_outputs_stops_the_context() -> None:
    """It can't be started again, and nothing is active."""
    with StreamHarness() as h:
        h.stream([])
        with pytest.raises(
            IllegalArgumentError, match="No output operations registered"
        ):
            h.ssc.start()
        with pytest.raises(IllegalStateError, match="has already been stopped"):
            h.ssc.start()
        assert StreamingContext.getActive() is None


def test_nothing_can_be_added_after_the_start() -> None:
    """Streams, outputs, levels and intervals are fixed; stop says so too."""
    with StreamHarness() as h:
        s = h.stream([])
        h.collect(s)
        h.ssc.start()
        h.ssc.start()
        assert StreamingContext.getActive() is h.ssc
        for add in (lambda: s.map(str), lambda: h.stream([]), lambda: s.pprint()):
            with pytest.raises(IllegalStateError, match="after starting a context"):
                add()
        with pytest.raises(
            UnsupportedOperationError, match="Cannot change storage level"
        ):
            s.cache()
        with pytest.raises(UnsupportedOperationError, match="checkpoint interval"):
            s.checkpoint(1)
        h.ssc.stop(False)
        with pytest.raises(IllegalStateError, match="after stopping a context"):
            s.map(str)
        assert h.ssc.getState().value == "STOPPED"


def test_only_one_context_is_active() -> None:
    """A second start is refused while the first runs; afterwards it is fine."""
    with StreamHarness() as h:
        h.collect(h.stream([]))
        h.ssc.start()
        clock = ManualClock()
        second = StreamingContext(h.sc, 1, clock=clock)
        second.queueStream([[1]]).pprint()
        with pytest.raises(IllegalStateError, match="Only one StreamingContext"):
            second.start()
        h.ssc.stop(False)
        third = StreamingContext(h.sc, 1, clock=clock)
        third.queueStream([[1]]).pprint()
        third.start()
        assert StreamingContext.getActive() is third
        third.stop(False)


def test_state_needs_a_checkpoint_directory() -> None:
    """Told at the start; the SparkContext's directory is enough."""
    with StreamHarness() as h:
        h.collect(h.stream([]).updateStateByKey(lambda v, s: s))
        with pytest.raises(
            IllegalArgumentError, match="The checkpoint directory has not been set"
        ):
            h.ssc.start()
    with StreamHarness() as h:
        h.collect(h.stream([]).countByWindow(2, 1))
        with pytest.raises(EngineError, match=r"StreamingContext\.checkpoint"):
            h.ssc.start()


def test_the_spark_contexts_checkpoint_directory_is_enough(tmp_path: Path) -> None:
    """SetCheckpointDir alone lets a stateful stream start."""
    with StreamHarness() as h:
        h.sc.setCheckpointDir(str(tmp_path))
        out = h.collect(h.stream([[("a", 1)]]).updateStateByKey(lambda v, s: len(v)))
        h.run(1)

        assert out.records == [[("a", 1)]]


def test_checkpoint_intervals_are_checked(checkpoint: str) -> None:
    """Too short, or no multiple of the slide: refused at the start."""
    for interval, text in ((0.5, "lower than its slide"), (1.5, "not a multiple")):
        with StreamHarness(checkpoint=checkpoint) as h:
            h.collect(h.stream([]).map(str).checkpoint(interval))
            with pytest.raises(IllegalArgumentError, match=text):
                h.ssc.start()


def test_remembering_follows_windows(checkpoint: str) -> None:
    """Each stream remembers what those after it need (semantics TM-17 and 18)."""
    with StreamHarness(batch=2) as h:
        source = h.stream([])
        mapped = source.map(lambda x: x)
        inner = mapped.window(4, 2)
        outer = inner.window(6, 2)
        h.collect(outer)
        h.ssc.remember(4)
        h.ssc.start()
        kept = [s._operator.remember_ms for s in (outer, inner, mapped, source)]

    assert kept == [4000, 10_000, 14_000, 14_000]
    for slide, interval in ((1, 10), (4, 12), (0.5, 10), (15, 15)):
        with StreamHarness(batch=slide, checkpoint=checkpoint) as h:
            state = h.stream([]).updateStateByKey(lambda v, s: s)
            h.collect(state)
            h.ssc.start()
            assert state._operator.checkpoint_ms == interval * 1000
            assert state._operator.remember_ms == 2 * interval * 1000


def test_a_failed_batch_is_told_to_whoever_waits() -> None:
    """Each await raises it again; later batches go on."""
    with StreamHarness() as h:
        out = h.collect(h.stream([[0], [1]]).map(lambda x: 1 // x))
        with pytest.raises(
            OutputOperationError, match="An exception was raised by Python"
        ):
            h.run(1)
        h.run(1)
        lengths = []
        for _ in range(3):
            with pytest.raises(EngineError, match="ZeroDivisionError") as raised:
                h.ssc.awaitTerminationOrTimeout(0)
            lengths.append(len(raised.traceback))
        # Or a program that waits again and again would keep all its frames.
        assert len(set(lengths)) == 1
        assert h.ssc.getState().value == "ACTIVE"

    assert out.records == [[1]]


def test_an_error_while_generating_is_told_and_passes() -> None:
    """Transform runs on the driver; its error costs one batch."""
    calls: list[int] = []

    def sometimes(rdd: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("first batch")
        return rdd

    with StreamHarness() as h:
        out = h.collect(h.stream([[1], [2]]).transform(sometimes))
        with pytest.raises(ValueError, match="first batch"):
            h.run(1)
        h.run(1)

    assert out.records == [[2]]


def test_stopping_ends_the_wait() -> None:
    """AwaitTermination returns; a second stop is harmless and can stop the rest."""
    with StreamHarness() as h:
        h.collect(h.stream([]))
        h.ssc.start()
        assert not h.ssc.awaitTerminationOrTimeout(0)
        waiter = threading.Thread(target=h.ssc.awaitTermination)
        waiter.start()
        h.ssc.stop(stopSparkContext=False)
        waiter.join(10)
        assert not waiter.is_alive()
        assert h.ssc.awaitTerminationOrTimeout(1)
        assert h.sc.parallelize([1]).count() == 1
        h.ssc.stop()
        with pytest.raises(IllegalStateError, match="stopped SparkContext"):
            h.sc.parallelize([1]).count()


def test_a_graceful_stop_processes_what_is_there() -> None:
    """One more batch is generated and waited for."""
    with StreamHarness() as h:
        out = h.collect(h.stream([[1], [2], [3]]))
        h.run(1)
        stopper = threading.Thread(
            target=lambda: h.ssc.stop(stopSparkContext=False, stopGraceFully=True)
        )
        stopper.start()
        while stopper.is_alive():
            h.clock.advance_ms(100)
            stopper.join(0.01)

    assert out.records[:2] == [[1], [2]]


class Recorder(StreamingListener):
    """Keeps the names of the calls and a few facts."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.facts: list[Any] = []
        self.completed = threading.Semaphore(0)

    def onStreamingStarted(self, streamingStarted: Any) -> None:
        self.calls.append(f"started {streamingStarted.time() > 0}")

    def onBatchSubmitted(self, batchSubmitted: Any) -> None:
        info = batchSubmitted.batchInfo()
        self.calls.append("submitted")
        self.facts.append((info.schedulingDelay(), info.processingDelay()))

    def onBatchStarted(self, batchStarted: Any) -> None:
        self.calls.append("batch started")
        self.facts.append(batchStarted.batchInfo().schedulingDelay() >= 0)

    def onOutputOperationStarted(self, outputOperationStarted: Any) -> None:
        self.calls.append("output started")

    def onOutputOperationCompleted(self, outputOperationCompleted: Any) -> None:
        info = outputOperationCompleted.outputOperationInfo()
        self.calls.append("output completed")
        self.facts.append((info.id(), info.failureReason()))

    def onBatchCompleted(self, batchCompleted: Any) -> None:
        info = batchCompleted.batchInfo()
        self.calls.append("completed")
        self.facts.append(
            (
                info.batchTime().milliseconds(),
                info.numRecords(),
                info.totalDelay() >= 0,
                [each.numRecords() for each in info.streamIdToInputInfo().values()],
                len(info.outputOperationInfos()),
            )
        )
        self.completed.release()


class Broken(StreamingListener):
    """Raises whatever it hears."""

    def onBatchStarted(self, batchStarted: Any) -> None:
        raise ValueError("broken listener")


def test_listeners_hear_everything_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged and hurts nothing; a removed one is deaf."""
    recorder = Recorder()
    with StreamHarness() as h:
        h.ssc.addStreamingListener(recorder)
        h.ssc.addStreamingListener(Broken())
        h.collect(h.stream([[1, 2]]))
        h.run(1)
        assert recorder.completed.acquire(timeout=10)
        h.ssc.removeStreamingListener(recorder)
        h.run(1)

    assert recorder.calls == [
        "started True",
        "submitted",
        "batch started",
        "output started",
        "output completed",
        "completed",
    ]
    assert recorder.facts == [
        (-1, -1),
        True,
        (0, None),
        (1000, 2, True, [2], 1),
    ]
    assert "a streaming listener raised" in caplog.text


def test_a_listener_must_not_stop_the_context() -> None:
    """It would wait for itself."""
    caught: list[BaseException] = []
    done = threading.Event()

    class Stopper(StreamingListener):
        def onBatchCompleted(self, batchCompleted: Any) -> None:
            try:
                h.ssc.stop()
            except SparkError as error:
                caught.append(error)
            done.set()

    with StreamHarness() as h:
        h.ssc.addStreamingListener(Stopper())
        h.collect(h.stream([[1]]))
        h.run(1)
        assert done.wait(10)

    assert "within listener bus thread" in str(caught[0])


def test_queue_streams() -> None:
    """One a batch or all at once; defaults; lists are copied, deques are live."""
    with StreamHarness() as h:
        listed: list[Any] = [[1], h.sc.parallelize([2], 1)]
        one = h.collect(h.ssc.queueStream(listed))
        listed.append([99])
        everything = h.collect(h.ssc.queueStream([[1], [2]], oneAtATime=False))
        default = h.collect(h.ssc.queueStream([[1]], default=[7]))
        only = h.collect(h.ssc.queueStream([], default=[1]))
        glommed = h.collect(h.ssc.queueStream([[1]]).glom())
        live: deque[Any] = deque()
        lively = h.collect(h.ssc.queueStream(live))
        constant = h.collect(h.ssc.constantStream([5]))
        h.run(2)
        live.append([3])
        h.run(1)

    assert one.records == [[1], [2], []]
    assert everything.records == [[1, 2], [], []]
    assert default.records == [[1], [7], [7]]
    assert only.records == [[1], [1], [1]]
    assert glommed.records[1] == [[]]
    assert lively.records == [[], [], [3]]
    assert constant.records == [[5], [5], [5]]


def test_transform_of_several_streams() -> None:
    """The function gets a tuple of RDDs, and the time if it asks for it."""
    with StreamHarness() as h:
        a, b = h.stream([[1]]), h.stream([[2]])
        out = h.collect(h.ssc.transform([a, b], lambda rdds: rdds[0].union(rdds[1])))
        timed = h.collect(
            h.ssc.transform([a], lambda rdds, t: rdds[0].map(lambda x: (x, t.second)))
        )
        united = h.collect(h.ssc.union(a, b, a))
        h.run(1)
        assert h.ssc.union(a) is a

    assert out.records == [[1, 2]]
    assert timed.records == [[(1, 1)]]
    assert united.records == [[1, 2, 1]]


def _write(path: Path, text: str, modified_s: float) -> None:
    path.write_text(text)
    os.utime(path, (modified_s, modified_s))


def test_text_files_come_once_by_their_modification_time(tmp_path: Path) -> None:
    """New files of each batch; hidden, old and future ones wait or are left out."""
    watched = tmp_path / "in"
    with StreamHarness(batch=10) as h:
        out = h.collect(h.ssc.textFileStream(str(watched)))
        h.run(1)
        watched.mkdir()
        _write(watched / "a.txt", "one\ntwo\n", 15)
        _write(watched / ".hidden", "no\n", 15)
        _write(watched / "future.txt", "later\n", 25)
        h.run(1)
        h.run(1)
        _write(watched / "a.txt", "again\n", 35)
        _write(watched / "empty", "", 35)
        h.run(1)

    assert out.records == [[], ["one", "two"], ["later"], []]


def test_file_names_are_no_patterns(tmp_path: Path) -> None:
    """Commas, brackets and stars in a name mean themselves; one partition a file."""
    with StreamHarness(batch=10) as h:
        out = h.collect(h.ssc.textFileStream(str(tmp_path)))
        for name in ("a,b.txt", "[c]*.txt", "{d}.txt"):
            _write(tmp_path / name, f"{name}\n", 5)
        h.run(1)

    assert sorted(out.records[0]) == ["[c]*.txt", "a,b.txt", "{d}.txt"]
    assert len(out.partitions[0]) == 3


def test_file_streams_with_a_filter_and_older_files(tmp_path: Path) -> None:
    """`filter` replaces the hidden rule; files from before the start may count."""
    _write(tmp_path / ".a", "hidden\n", 5)
    _write(tmp_path / "b.log", "log\n", 5)
    with StreamHarness(batch=10) as h:
        h.clock.set_ms(7000)
        new = h.collect(h.ssc.fileStream(str(tmp_path)))
        old = h.collect(h.ssc.fileStream(str(tmp_path), newFilesOnly=False))
        some = h.collect(
            h.ssc.fileStream(str(tmp_path), lambda path: path.endswith(".a"), False)
        )
        h.run(1)

    assert new.records == [[]]
    assert old.records == [["log"]]
    assert some.records == [["hidden"]]


def test_binary_records(tmp_path: Path) -> None:
    """Fixed lengths; another length fails the batch in words."""
    with StreamHarness(batch=10) as h:
        out = h.collect(h.ssc.binaryRecordsStream(str(tmp_path), 2))
        (tmp_path / "x").write_bytes(b"aabb")
        os.utime(tmp_path / "x", (5, 5))
        h.run(1)
        (tmp_path / "y").write_bytes(b"aab")
        os.utime(tmp_path / "y", (15, 15))
        with pytest.raises(OutputOperationError, match="does not have correct length"):
            h.run(1)

    assert out.records == [[b"aa", b"bb"]]


def test_a_directory_that_cannot_be_read_gives_empty_batches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file where a directory should be: no batch fails."""
    (tmp_path / "file").write_text("x")
    with StreamHarness() as h:
        out = h.collect(h.ssc.textFileStream(str(tmp_path / "file")))
        h.run(1)

    assert out.records == [[]]
    assert "error" not in caplog.text.lower()


def test_get_or_create_makes_and_checkpoints(checkpoint: str) -> None:
    """Without a checkpoint the function is called and the directory set."""
    with StreamHarness() as h:
        made = StreamingContext.getOrCreate(
            checkpoint, lambda: StreamingContext(h.sc, 1, clock=ManualClock())
        )
        assert h.sc.getCheckpointDir() is not None
        with pytest.raises(TypeError, match="callable"):
            StreamingContext.getActiveOrCreate(checkpoint, 3)  # type: ignore[arg-type]
        assert StreamingContext.getActiveOrCreate(None, lambda: made) is made
        (Path(checkpoint) / "checkpoint-1000").write_text("from elsewhere")
        with pytest.raises(SparkError, match="Failed to read checkpoint"):
            StreamingContext.getOrCreate(checkpoint, lambda: made)
        made.stop(False)


def test_metrics_follow_the_batches() -> None:
    """Sparks names; -1 for times that are not known; the collector's pauses beside."""
    with StreamHarness() as h:
        h.collect(h.stream([[1, 2], [3]]))
        with pytest.raises(IllegalStateError, match="no metrics before"):
            h.ssc.metrics()
        h.ssc.start()
        assert h.ssc.metrics()["streaming.lastCompletedBatch_totalDelay"] == -1
        h.run(2)
        gauges = h.ssc.metrics()

    assert gauges["streaming.totalCompletedBatches"] == 2
    assert gauges["streaming.totalReceivedRecords"] == 3
    assert gauges["streaming.totalProcessedRecords"] == 3
    assert gauges["streaming.waitingBatches"] == 0
    assert gauges["streaming.lastCompletedBatch_totalDelay"] >= 0
    assert gauges["millstream.gc.collections"] == 2


def test_slow_batches_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """After three in a row, with what to do; not again."""
    from millstream.engine.streams.events import BatchInfo

    with StreamHarness() as h:
        h.collect(h.stream([]))
        h.run(1)
        scheduler = h.ssc._scheduler
        assert scheduler is not None
        for _ in range(6):
            scheduler._warn_when_slow(BatchInfo(0, {}, 0, 0, 2500, {}))

    assert caplog.text.count("batches take longer than the interval") == 1
    assert "2.5 times" in caplog.text


def test_concurrent_jobs_overlap() -> None:
    """With two job threads, two outputs of a batch run at the same time."""
    together = threading.Barrier(2, timeout=10)
    with StreamHarness(conf={"spark.streaming.concurrentJobs": "2"}) as h:
        s = h.stream([[1]])
        s.foreachRDD(lambda rdd: together.wait())
        s.foreachRDD(lambda rdd: together.wait())
        h.run(1)

    assert not together.broken


def test_an_output_may_stop_the_context() -> None:
    """stop() from inside a batch ends the stream after it."""
    seen: list[Any] = []
    done = threading.Event()

    def stop_at_two(rdd: Any) -> None:
        seen.extend(rdd.collect())
        if len(seen) == 2:
            h.ssc.stop(stopSparkContext=False)
            done.set()

    h = StreamHarness()
    h.stream([[1], [2], [3]]).foreachRDD(stop_at_two)
    h.run(1)
    h.clock.advance(1)
    assert done.wait(10)
    h.clock.advance(1)
    h.ssc.stop()

    assert seen == [1, 2]


def test_old_blocks_go_by_age() -> None:
    """spark.cleaner.ttl drops kept partitions and shuffles, which are made again."""
    with StreamHarness(conf={"spark.cleaner.ttl": "10s"}) as h:
        kept = h.sc.parallelize([(1, 1)], 1).reduceByKey(max, 1).cache()
        assert kept.count() == 1
        assert h.sc._driver.cached_partition_count(kept._node) == 1
        h.clock.advance(60)
        h.sc.parallelize([1]).count()
        assert h.sc._driver.cached_partition_count(kept._node) == 0
        assert h.sc._driver.shuffles.count() == 0
        assert kept.collect() == [(1, 1)]
