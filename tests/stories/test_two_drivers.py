"""Stories of a directory that another driver takes over: the older one ends, nothing is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    SparkError,
    TakenOverError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.driver_claim import DriverClaim, newest_driver
from millstream.streaming import restoring
from millstream.streaming.context import StreamingContext, StreamingContextState
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

LIMIT_S = 30.0
LIVE: dict[str, "Tap"] = {}
CONF = {"spark.streaming.receiver.writeAheadLog.enable": "true"}


class Tap(Receiver[str]):
    """A receiver that does nothing by itself."""

    def __init__(self) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)

    def onStart(self) -> None:
        """Let the test find it."""
        LIVE["tap"] = self

    def onStop(self) -> None:
        """Say that it is stopped."""
        LIVE.pop("tap", None)


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def setup(h: StreamHarness) -> None:
    """Count the words of a receiver."""
    words = h.ssc.receiverStream(Tap()).named("words")
    h.collect(words, "words")
    totals = words.map(lambda word: (word, 1)).updateStateByKey(count, 1)
    h.collect(totals.named("totals"), "totals")


@pytest.fixture
def h(tmp_path: Path) -> Iterator[StreamHarness]:
    """Return a stream that has run one batch."""
    with StreamHarness(checkpoint=str(tmp_path), conf=CONF, setup=setup) as made:
        started(made).store(["be"])
        made.run(1)
        yield made


def started(h: StreamHarness) -> Tap:
    """Start the harness and return its tap."""
    LIVE.clear()
    h._start()
    while "tap" not in LIVE:
        h.clock.wait_until_someone_waits(0.01)
    return LIVE["tap"]


def take_over(h: StreamHarness) -> DriverClaim:
    """Let another driver take the harness's directory over."""
    assert h.ssc._checkpoint_dir is not None
    return DriverClaim.take_over(h.ssc._checkpoint_dir, "newer")


def files_of(directory: Path) -> dict[str, bytes]:
    """Return all files with their contents."""
    files = (each for each in directory.rglob("*") if each.is_file())
    return {str(each.relative_to(directory)): each.read_bytes() for each in files}


def wait_until_stopped(h: StreamHarness) -> None:
    """Return when the stream has stopped by itself."""
    assert h.ssc._ended.wait(LIMIT_S)
    assert h.ssc.getState() is StreamingContextState.STOPPED


def totals_of(h: StreamHarness) -> dict[str, int]:
    """Return the newest totals."""
    return dict(h.output("totals").records[-1])


def test_a_batch_notices_and_the_stream_stops(h: StreamHarness, tmp_path: Path) -> None:
    """`awaitTermination` raises, each time again; no checkpoint and no state changes."""
    take_over(h)
    before = files_of(tmp_path)
    h.clock.advance_ms(1000)

    with pytest.raises(TakenOverError, match="taken over by a newer driver: process"):
        h.ssc.awaitTermination(LIMIT_S)
    wait_until_stopped(h)
    with pytest.raises(TakenOverError, match="application 'newer'"):
        h.ssc.awaitTermination(LIMIT_S)
    after = files_of(tmp_path)
    # The log may have got a record: what it says was accepted by nobody.
    (log,) = [name for name in before if name.startswith("receivedBlockMetadata/")]
    assert after.pop(log).startswith(before.pop(log))
    assert after == before
    assert "tap" not in LIVE, "receivers have stopped"


def test_a_receiver_notices_and_what_it_gives_is_refused(h: StreamHarness) -> None:
    """Accepted is only what the newer driver finds in the log."""
    LIVE["tap"].store(["to"])
    take_over(h)
    with pytest.raises(SparkError):
        LIVE["tap"].store(["nobody's"])

    with pytest.raises(TakenOverError):
        h.ssc.awaitTermination(LIMIT_S)
    wait_until_stopped(h)
    h.crash()
    h.restart(upgrade="apply")
    h.run(1)
    assert totals_of(h)["be"] == 1
    assert totals_of(h)["to"] == 1


def test_a_graceful_stop_writes_nothing_either(
    h: StreamHarness, tmp_path: Path
) -> None:
    """What waits is the newer driver's."""
    LIVE["tap"].store(["to"])
    take_over(h)
    before = files_of(tmp_path)
    with pytest.raises(SparkError):
        LIVE["tap"].store(["nobody's"])
    h.ssc.stop(stopSparkContext=False, stopGraceFully=True)
    wait_until_stopped(h)

    after = files_of(tmp_path)
    assert {n for n in after if n.startswith("checkpoint-")} == {
        n for n in before if n.startswith("checkpoint-")
    }
    assert h.output("words").records == [["be"]]


def test_a_process_that_slept_puts_nothing_out(h: StreamHarness) -> None:
    """It looks before a job begins when it hasn't for a second."""
    claim = h.ssc._claim
    assert claim is not None
    LIVE["tap"].store(["to"])
    take_over(h)
    claim._looked_s -= 2.0
    h.clock.advance_ms(1000)
    with pytest.raises(TakenOverError):
        h.ssc.awaitTermination(LIMIT_S)
    wait_until_stopped(h)

    assert h.output("words").records == [["be"]]


def test_the_same_process_may_go_on_with_its_directory(
    h: StreamHarness, tmp_path: Path
) -> None:
    """After a stop, a crash, or from nothing: the newest context has it, and only that."""
    for number in range(2, 5):
        h.restart()
        started(h).store(["be"])
        h.run(1)
        assert totals_of(h) == {"be": number}
        (owner,) = tmp_path.glob("driver-*")
        assert owner.name == f"driver-{number}"


def test_a_stream_without_a_directory_has_no_owner() -> None:
    """Nothing is looked at."""
    with StreamHarness() as h:
        out = h.collect(h.stream([["a"]]))
        h.run(1)

        assert h.ssc._claim is None
        assert out.records == [["a"]]


def test_a_program_that_cannot_go_on_takes_nothing_over(
    h: StreamHarness, tmp_path: Path
) -> None:
    """The driver that has the directory goes on: a bad new version must not end it."""
    h.crash()
    running = take_over(h)

    def other(h: StreamHarness) -> None:
        h.collect(h.stream([["a"]]), "another")

    with pytest.raises(SparkError, match="differs from the checkpoint"):
        h.restart(other, upgrade="refuse")
    running.check()
    with pytest.raises(SparkError, match="would drop the state of 'totals'"):
        h.restart(other, upgrade="apply")
    running.check()
    h.restart(setup)
    with pytest.raises(TakenOverError):
        running.check()


@pytest.mark.parametrize("upgrade", [None, "apply"])
def test_what_the_older_driver_wrote_last_is_taken_over_too(
    upgrade: Any, h: StreamHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may write until the moment in which the newer one takes the directory."""
    old = restoring.read_checkpoint(str(tmp_path))
    LIVE["tap"].store(["to"])
    h.run(1)
    h.crash()
    read = restoring.read_checkpoint
    answers = iter([old])

    def slow(directory: str, **options: Any) -> Any:
        found = next(answers, None)
        return read(directory, **options) if found is None else found

    monkeypatch.setattr(restoring, "read_checkpoint", slow)
    h.restart(upgrade=upgrade)
    assert h.ssc._restart_from is not None
    assert old is not None
    assert h.ssc._restart_from.time_ms == old.manifest.time_ms + 1000
    h.run(1)

    assert totals_of(h) == {"be": 1, "to": 1}


def test_two_that_begin_in_an_empty_directory_are_one_after_the_other(
    tmp_path: Path,
) -> None:
    """The second one found no checkpoint, and begins anew only where there is none."""
    with StreamHarness(conf=CONF, setup=setup) as h:

        def make() -> StreamingContext:
            return h.ssc

        ssc = StreamingContext.getOrCreate(str(tmp_path), make)
        CheckpointFiles(str(tmp_path)).write(1000, [b"of", b"another driver"])
        with pytest.raises(SparkError, match="another driver has begun in") as raised:
            ssc.start()

        assert raised.value.hint is not None
        assert "start this program again" in raised.value.hint


def test_a_claim_lost_before_the_start_is_told_by_it(tmp_path: Path) -> None:
    """`start` raises it; no receiver begins."""
    with StreamHarness(checkpoint=str(tmp_path), conf=CONF, setup=setup) as h:
        h.ssc._claim_directory()
        take_over(h)
        LIVE.clear()
        with pytest.raises(TakenOverError):
            h.ssc.start()

        assert "tap" not in LIVE


def test_a_claim_lost_at_the_first_checkpoint_is_told_by_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the checkpoint couldn't be written, which says nothing."""
    with StreamHarness(checkpoint=str(tmp_path), conf=CONF, setup=setup) as h:
        write = CheckpointFiles.write

        def taken_over_then(*args: Any, **options: Any) -> None:
            write(*args, **options)
            take_over(h)

        monkeypatch.setattr(CheckpointFiles, "write", taken_over_then)
        with pytest.raises(TakenOverError) as raised:
            h.ssc.start()

    assert isinstance(raised.value, DurabilityError)
    assert isinstance(raised.value, MillstreamError)


def test_what_fails_because_of_a_takeover_is_told_as_one(h: StreamHarness) -> None:
    """An output that a newer driver's sink refuses isn't the error that is raised."""
    h.crash()
    directory = h.ssc._checkpoint_dir
    assert directory is not None

    def refused(rdd: Any) -> None:
        if rdd.collect():
            DriverClaim.take_over(directory, "newer")
            msg = "refused: a newer run has taken over"
            raise ValueError(msg)

    def changed(h: StreamHarness) -> None:
        words = h.ssc.receiverStream(Tap()).named("words")
        words.foreachRDD(refused)

    h.restart(changed, upgrade="apply", allow_drop=["totals"])
    h.ssc.start()  # The last batch runs again.
    with pytest.raises(TakenOverError):
        h.ssc.awaitTermination(LIMIT_S)


def test_the_owner_is_told_as_long_as_nobody_else_takes_over(
    h: StreamHarness, tmp_path: Path
) -> None:
    """Also after the driver's end: nobody knows from elsewhere whether it has ended."""
    h.crash()
    found = newest_driver(str(tmp_path))

    assert found is not None
    assert found.application == "StreamHarness"
