"""What is said of a program that works, hangs, starts, stops, or is late."""

import sys
import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.observe.observed import FakeApplication, batch

from millstream.engine.observe.health import Health, behind_ms, liveness, readiness
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchStarted,
    BatchSubmitted,
    ReceiverError,
    ReceiverInfo,
    ReceiverStarted,
    StreamingStarted,
)
from millstream.testing import StreamHarness

RUNS = {"millstream.stream.active": 1.0, "millstream.stream.stopping": 0.0}


def running(**gauges: float) -> FakeApplication:
    """Return an application whose stream has done a batch of 1 s; `_` is a name's dot."""
    progress = StreamProgress(1000)
    progress.on_event(StreamingStarted(1000))
    progress.on_event(BatchCompleted(batch(2000)))
    given = {f"millstream.{k.replace('_', '.')}": v for k, v in gauges.items()}
    return FakeApplication(progress=progress, values={**RUNS, **given})


def tell(application: FakeApplication, *events: Any) -> FakeApplication:
    """Let the stream have these events, too."""
    assert application.progress is not None
    for each in events:
        application.progress.on_event(each)
    return application


def test_a_program_without_a_stream_lives_and_isnt_ready() -> None:
    """There is nothing that could hang, and nothing that reads."""
    assert liveness(FakeApplication()) == Health()
    assert readiness(FakeApplication(), 0).reasons == ("no stream has started",)


def test_a_stream_isnt_ready_before_its_start_has_ended() -> None:
    """It is known by then, and has no batches yet."""
    application = FakeApplication(progress=StreamProgress(1000), values=RUNS)

    assert readiness(application, 0).reasons == ("no stream has started",)


def test_a_stream_that_keeps_up_is_ready() -> None:
    """And lives."""
    application = running(generator_busyMs=20)

    assert liveness(application).is_good
    assert readiness(application, 9_000).is_good


def test_making_batches_may_take_as_long_as_is_said() -> None:
    """Up to the limit it is work, beyond it a hang."""
    assert liveness(running(generator_busyMs=300_000)).is_good
    assert liveness(running(generator_busyMs=300_001)).reasons == (
        (
            "making batches hangs: at the same for 5 minutes 0.001 seconds, more than "
            "5 minutes"
        ),
    )
    assert not liveness(running(generator_busyMs=8_000), busy_s_max=7).is_good


def test_a_thread_that_is_gone_is_told() -> None:
    """Nothing would ever happen again."""
    assert liveness(running(generator_busyMs=-1)).reasons == (
        "the thread that makes batches is gone",
    )


@pytest.mark.parametrize("gauges", [{"stream_stopping": 1}, {"stream_active": 0}])
def test_a_stream_that_ends_lives_and_isnt_ready(gauges: dict[str, float]) -> None:
    """A graceful stop takes its time, and is bounded by itself."""
    application = running(generator_busyMs=-1, **gauges)

    assert liveness(application).is_good
    assert not readiness(application, 2_000).is_good


def test_a_program_that_is_over_is_told_so() -> None:
    """As the page of an event log shows it."""
    application = running(generator_busyMs=-1)
    application.ended_ms = 5_000

    assert liveness(application).is_good
    assert readiness(application, 5_000).reasons == ("the program has ended",)


def test_a_receiver_that_doesnt_receive_is_named() -> None:
    """With what was the matter, until it is active again."""
    info = ReceiverInfo(0, "Lines-0", active=False, last_error_message="refused")
    application = tell(running(), ReceiverError(info))
    reasons = readiness(application, 2_000).reasons
    tell(application, ReceiverStarted(replace(info, active=True)))

    assert reasons == ("receiver 'Lines-0' isn't active: refused",)
    assert readiness(application, 2_000).is_good


def test_receivers_that_havent_started_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing has told of them yet."""
    monkeypatch.setattr(FakeApplication, "receiver_count", lambda _: 3)
    info = ReceiverInfo(0, "Lines-0", active=True)
    application = tell(running(), ReceiverStarted(info))

    assert readiness(application, 2_000).reasons == (
        "2 of 3 receivers haven't started yet",
    )


def test_a_stream_that_is_too_far_behind_isnt_ready() -> None:
    """Counted from its oldest unfinished batch; how far is the asker's to say."""
    application = tell(
        running(heldBackBatches=2),
        BatchStarted(replace(batch(3000), processing_end_ms=None)),
        BatchSubmitted(batch(4000)),
    )

    assert readiness(application, 11_000).is_good
    assert readiness(application, 11_001).reasons == (
        (
            "batches are 10.001 seconds behind, more than 10 intervals of 1 second: "
            "1 wait, 1 run, 2 are held back"
        ),
    )
    assert readiness(application, 11_001, intervals_max=11).is_good


def test_nothing_unfinished_is_not_behind() -> None:
    """However long ago the last batch was; held ones count an interval each."""
    picture = running().picture()
    assert picture is not None

    assert behind_ms(picture, 0, 99_000) == 0
    assert behind_ms(picture, 3, 99_000) == 3_000


# A real stream.


def health_of(h: StreamHarness) -> tuple[Health, Health]:
    """Return what is said of a stream now, its clock standing still."""
    application = h.sc._observers.application
    picture = application.picture()
    assert picture is not None
    now_ms = max((e.info.submission_ms for e in picture.batches), default=0)
    return liveness(application, busy_s_max=1), readiness(application, now_ms)


def wait_until_started(h: StreamHarness) -> None:
    """Block until who looks on has heard of the start."""
    progress = h.sc._observers.application.progress
    assert progress is not None
    while progress.picture().started_ms is None:
        assert progress.wait_for_news(progress.version, 10), "nothing is told"


def test_a_stream_is_ready_from_its_start_to_its_stop() -> None:
    """And lives all the time."""
    with StreamHarness() as h:
        h.collect(h.stream([["a"]]))
        h.run(batches=1)
        wait_until_started(h)
        runs = health_of(h)
        h.ssc.stop(stopSparkContext=False)
        stopped = health_of(h)

    assert runs == (Health(), Health())
    assert stopped == (Health(), Health(("the stream has stopped",)))


def test_a_step_that_hangs_while_a_batch_is_made_is_found() -> None:
    """For transform's function runs on the thread that makes all batches."""
    entered, go_on = threading.Event(), threading.Event()

    def hang(rdd: Any) -> Any:
        entered.set()
        assert go_on.wait(20), "the test lets it go on"
        return rdd

    with StreamHarness() as h:
        h.collect(h.stream([["a"]]).transform(hang))
        h.ssc.start()
        h.clock.advance(1)
        assert entered.wait(10)
        application = h.sc._observers.application
        at_once = liveness(application, busy_s_max=300)
        while liveness(application, busy_s_max=0).is_good:
            assert not go_on.wait(0.001)
        go_on.set()
        h.run(batches=1)

        assert at_once.is_good
        assert liveness(application).is_good


# Outside of pytest nothing tells of it, which is why somebody must look.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_batches_that_is_gone_is_found() -> None:
    """Which nothing else would tell of: a thread's SystemExit is silent."""
    with StreamHarness() as h:
        h.collect(h.stream([["a"]]))
        h.ssc.start()
        assert h.ssc._scheduler is not None
        loop = h.ssc._scheduler._loop
        loop.post(sys.exit)
        assert loop._thread is not None
        loop._thread.join(10)
        found, _ = health_of(h)

        assert found.reasons == ("the thread that makes batches is gone",)
