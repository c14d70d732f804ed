"""StreamProgress folds events into a picture."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.engine.observe.observed import batch, life_of

from millstream.engine.observe.progress import (
    Batch,
    BatchStatus,
    Means,
    Picture,
    StreamProgress,
)
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    BatchStarted,
    BatchSubmitted,
    OutputOperationCompleted,
    OutputOperationInfo,
    OutputOperationStarted,
    ReceiverError,
    ReceiverInfo,
    ReceiverStarted,
    ReceiverStopped,
    StreamingStarted,
    StreamInputInfo,
)


def times(batches: tuple[Batch, ...]) -> list[int]:
    """Return the batches' times."""
    return [each.info.batch_ms for each in batches]


def test_before_any_event_nothing_is_known() -> None:
    """The picture is empty, and has no means."""
    picture = StreamProgress(1000).picture()

    assert picture.started_ms is None
    assert picture.batches == ()
    assert picture.means() == Means(None, None, None, None)
    assert picture.mean_rate_of(0) is None
    assert picture.stream_ids == []


def test_a_batch_waits_then_runs_then_has_ended() -> None:
    """It is in one place at a time."""
    progress = StreamProgress(1000)
    info = batch(2000)
    seen = []
    for event in life_of(info):
        progress.on_event(event)
        picture = progress.picture()
        seen.append(
            (len(picture.waiting), len(picture.running), len(picture.completed))
        )
        assert picture.batches == picture.active or not picture.active

    assert seen == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert progress.picture().find(2000) == Batch(info, BatchStatus.COMPLETED)
    assert progress.picture().find(3000) is None


def test_the_start_is_remembered() -> None:
    """It is what the event says."""
    progress = StreamProgress(1000)
    progress.on_event(StreamingStarted(77))

    assert progress.picture().started_ms == 77


def test_records_are_received_at_the_start_and_processed_at_the_end() -> None:
    """As Spark counts them; failed batches, too."""
    progress = StreamProgress(1000)
    submitted, started, completed = life_of(batch(1000, records=7, failure="bad"))
    progress.on_event(submitted)
    progress.on_event(started)
    running = progress.picture()
    progress.on_event(completed)
    ended = progress.picture()

    assert (running.received_records, running.processed_records) == (7, 0)
    assert (ended.received_records, ended.processed_records) == (7, 7)
    assert (ended.completed_count, ended.failed_count) == (1, 1)


def test_the_newest_batches_are_retained_and_all_are_counted() -> None:
    """What is dropped is counted on; failed ones leave their list, too."""
    progress = StreamProgress(1000, retained_max=2)
    for number in range(1, 5):
        progress.on_event(
            BatchCompleted(
                batch(number * 1000, failure="no" if number in {1, 3} else None)
            )
        )
    picture = progress.picture()

    assert times(picture.completed) == [4000, 3000]
    assert times(picture.failed) == [3000]
    assert (picture.completed_count, picture.failed_count) == (4, 2)


def test_a_batch_that_runs_again_is_retained_once() -> None:
    """Its newest run is what is known of it."""
    progress = StreamProgress(1000)
    progress.on_event(BatchCompleted(batch(1000, failure="no")))
    progress.on_event(BatchCompleted(batch(1000, records=3)))
    picture = progress.picture()

    assert times(picture.completed) == [1000]
    assert picture.failed == ()
    assert picture.means().input_rate == 3


def test_batches_are_newest_first_in_whatever_order_they_end() -> None:
    """With several at a time, an older one may end later, or still wait."""
    progress = StreamProgress(1000)
    progress.on_event(BatchSubmitted(batch(2000)))
    for time_ms in (3000, 1000, 4000):
        progress.on_event(BatchCompleted(batch(time_ms)))

    assert times(progress.picture().batches) == [4000, 3000, 2000, 1000]


def test_a_newer_batch_that_waits_is_before_those_that_have_ended() -> None:
    """The usual order of things."""
    progress = StreamProgress(1000)
    progress.on_event(BatchCompleted(batch(1000)))
    progress.on_event(BatchSubmitted(batch(2000)))

    assert times(progress.picture().batches) == [2000, 1000]


def test_output_operations_of_a_running_batch_are_seen() -> None:
    """As they start and end, before the batch has."""
    progress = StreamProgress(1000)
    idle = OutputOperationInfo(1000, 0, "print", "print")
    info = replace(batch(1000), outputs={0: idle}, processing_end_ms=None)
    progress.on_event(BatchStarted(info))
    started = replace(idle, start_ms=5)
    progress.on_event(OutputOperationStarted(started))
    (running,) = progress.picture().running
    progress.on_event(
        OutputOperationCompleted(replace(started, end_ms=9, failure_reason="no"))
    )
    (failed,) = progress.picture().running

    assert (running.active_count, running.completed_count, running.failed_count) == (
        1,
        0,
        0,
    )
    assert (failed.active_count, failed.completed_count, failed.failed_count) == (
        0,
        0,
        1,
    )
    assert (running.first_failure, failed.first_failure) == (None, "no")


def test_an_output_operation_of_an_unknown_batch_is_passed_over() -> None:
    """A listener that came late hears of the middle of a batch first."""
    progress = StreamProgress(1000)
    progress.on_event(OutputOperationStarted(OutputOperationInfo(1000, 0, "a", "a", 1)))

    assert progress.picture().batches == ()


def test_a_batch_without_inputs_counts_no_records() -> None:
    """An input that it doesn't tell of gave nothing."""
    progress = StreamProgress(500)
    progress.on_event(BatchCompleted(batch(1000, records=6)))
    progress.on_event(BatchCompleted(replace(batch(1500), inputs={})))
    picture = progress.picture()

    assert picture.input_rates(0) == [(1000, 12.0), (1500, 0.0)]
    assert picture.mean_rate_of(0) == 6.0
    assert picture.mean_rate_of(9) == 0.0


@pytest.mark.parametrize("event", [ReceiverStarted, ReceiverError, ReceiverStopped])
def test_a_receiver_is_as_its_newest_event_says(
    event: type[ReceiverStarted | ReceiverError | ReceiverStopped],
) -> None:
    """Of each receiver one is known."""
    progress = StreamProgress(1000)
    progress.on_event(ReceiverStarted(ReceiverInfo(3, "lines", active=True)))
    newer = ReceiverInfo(3, "lines", active=False, last_error="no")
    progress.on_event(event(newer))

    assert progress.picture().receivers == {3: newer}
    assert progress.picture().stream_ids == [3]


def test_who_waits_for_news_is_woken_by_an_event() -> None:
    """And is told when none came in time."""
    progress = StreamProgress(1000)
    known = progress.version
    told: list[bool] = []
    waiting = threading.Thread(
        target=lambda: told.append(progress.wait_for_news(known, 30.0))
    )
    waiting.start()
    progress.on_event(StreamingStarted(1))
    waiting.join()

    assert told == [True]
    assert not progress.wait_for_news(progress.version, 0.0)


def test_a_picture_is_the_same_until_something_changes() -> None:
    """Who asks often doesn't have it made anew; what one has doesn't change."""
    progress = StreamProgress(1000)
    first = progress.picture()

    assert progress.picture() is first

    progress.on_event(BatchCompleted(batch(1000)))
    sums = progress.sums

    assert progress.picture() is not first
    assert first.completed == ()

    fresh = StreamProgress(1000)
    empty = fresh.picture()
    fresh.go_on_from(sums)

    assert empty.completed_count == 0
    assert fresh.picture().completed_count == 1


def means_of(picture: Picture) -> Iterator[float | None]:
    """Yield the means, as somebody would who had the batches alone."""
    ended = [each.info for each in picture.completed]
    for values in (
        [each.scheduling_delay_ms for each in ended],
        [each.processing_delay_ms for each in ended],
        [each.total_delay_ms for each in ended],
        [e.info.record_count * 1000 / picture.batch_ms for e in picture.batches],
    ):
        known = [each for each in values if each is not None]
        yield sum(known) / len(known) if known else None


class Progress(RuleBasedStateMachine):
    """Any events in any order, beside three plain dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = StreamProgress(100, retained_max=3)
        self.waiting: dict[int, BatchInfo] = {}
        self.running: dict[int, BatchInfo] = {}
        self.ended: dict[int, BatchInfo] = {}
        self.ended_count = self.failed_count = 0

    batches = st.builds(
        lambda time, records, waited, took, failure, stream: replace(
            batch(
                time * 100, records=records, waited=waited, took=took, failure=failure
            ),
            inputs={stream: StreamInputInfo(stream, records)} if stream else {},
        ),
        st.integers(1, 9),
        st.integers(0, 50),
        st.integers(0, 500),
        st.integers(0, 500),
        st.sampled_from([None, None, "ValueError: no"]),
        st.integers(0, 3),
    )

    @rule(info=batches)
    def submit(self, info: BatchInfo) -> None:
        """Let a batch wait."""
        early = replace(info, processing_start_ms=None, processing_end_ms=None)
        self.progress.on_event(BatchSubmitted(early))
        self.waiting[info.batch_ms] = early

    @rule(info=batches)
    def start(self, info: BatchInfo) -> None:
        """Let a batch run."""
        early = replace(info, processing_end_ms=None)
        self.progress.on_event(BatchStarted(early))
        self.waiting.pop(info.batch_ms, None)
        self.running[info.batch_ms] = early

    @rule(info=batches, is_known=st.booleans())
    def complete(self, info: BatchInfo, is_known: bool) -> None:
        """Let a batch end; of one that could never start no times are known."""
        if not is_known:
            info = replace(info, processing_start_ms=None, processing_end_ms=None)
        self.progress.on_event(BatchCompleted(info))
        self.waiting.pop(info.batch_ms, None)
        self.running.pop(info.batch_ms, None)
        self.ended[info.batch_ms] = info
        self.ended_count += 1
        self.failed_count += Batch(info, BatchStatus.COMPLETED).failed_count > 0
        while len(self.ended) > 3:
            del self.ended[min(self.ended)]

    @invariant()
    def the_picture_equals_the_dicts(self) -> None:
        """Places, order, counts and means."""
        picture = self.progress.picture()

        for shown, known in (
            (picture.waiting, self.waiting),
            (picture.running, self.running),
            (picture.completed, self.ended),
        ):
            assert [e.info for e in shown] == [known[t] for t in sorted(known)[::-1]]
        assert [e.info for e in picture.failed] == [
            e.info for e in picture.completed if e.failed_count
        ]
        assert times(picture.batches) == sorted(times(picture.batches), reverse=True)
        assert (picture.completed_count, picture.failed_count) == (
            self.ended_count,
            self.failed_count,
        )
        means = picture.means()
        told = (
            means.scheduling_delay_ms,
            means.processing_ms,
            means.total_delay_ms,
            means.input_rate,
        )
        for mean, naive in zip(told, means_of(picture), strict=True):
            assert mean == (None if naive is None else pytest.approx(naive))
        known_ids = {key for each in picture.batches for key in each.info.inputs}
        assert picture.stream_ids == sorted(known_ids)
        for key in known_ids:
            rates = [rate for _, rate in picture.input_rates(key)]
            assert picture.mean_rate_of(key) == pytest.approx(sum(rates) / len(rates))


TestProgress = Progress.TestCase
TestProgress.settings = settings(max_examples=25, stateful_step_count=15)
