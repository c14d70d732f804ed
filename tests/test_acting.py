"""Who has the page's token stops, pauses, limits and kills; it is told who did what."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engine.observe.observed import Numbers, Quiet

from millstream.acting import RunningControl
from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import (
    IllegalArgumentError,
    JobCancelledError,
    OutputOperationError,
)
from millstream.engine.observe.application import ACTIONS_MAX
from millstream.engine.observe.control import Action, NotNowError, UnknownTargetError
from millstream.testing import StreamHarness

BY = "192.0.2.7"
LIMIT_S = 20.0


class Gate:
    """Where tasks wait, which share the test's process."""

    entered = threading.Event()
    opened = threading.Event()


@pytest.fixture(autouse=True)
def _gate() -> Iterator[None]:
    Gate.entered, Gate.opened = threading.Event(), threading.Event()
    yield
    Gate.opened.set()


def wait_at_gate(value: Any) -> Any:
    """Wait, in steps: a task that is cancelled is ended between them."""
    Gate.entered.set()
    for _ in range(int(LIMIT_S / 0.01)):
        if Gate.opened.wait(0.01):
            break
    return value


def control_of(sc: SparkContext, noted: list[Action] | None = None) -> RunningControl:
    """Return a control of a context; what is done is added to `noted`."""
    known: list[Action] = [] if noted is None else noted
    return RunningControl(sc, sc._observers.application, known.append)


def stopped(h: StreamHarness) -> bool:
    """Let time pass, for which a graceful stop waits; say whether the stream has stopped."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.002)):
        if not any(e.name == "millstream-stop" for e in threading.enumerate()):
            break
        h.clock.advance_ms(100)
        pause.wait(0.002)
    return h.ssc.getState().value == "STOPPED"


# The stream.


@pytest.mark.parametrize("gracefully", [True, False])
def test_the_stream_is_stopped_and_the_context_stays(
    gracefully: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The program goes on behind awaitTermination; one line says who, and what."""
    noted: list[Action] = []
    with StreamHarness() as h, caplog.at_level(logging.WARNING):
        out = h.collect(h.stream([[1], [2]]))
        h.run(1)
        how = "gracefully" if gracefully else "at once"
        done = control_of(h.sc, noted).stop_stream(gracefully=gracefully, by=BY)
        assert stopped(h)
        assert h.ssc.awaitTerminationOrTimeout(LIMIT_S)

        assert done == f"stop the stream {how}"
        assert [(each.what, each.by) for each in noted] == [(done, BY)]
        assert f"what={done} by={BY}" in caplog.text
        assert out.records[0] == [1]
        assert h.sc.parallelize([1, 2], 1).count() == 2


@pytest.mark.slow
def test_a_stop_at_once_cancels_what_runs() -> None:
    """A graceful one would wait for it."""
    with StreamHarness() as h:
        h.stream([[1]]).map(wait_at_gate).foreachRDD(lambda rdd: rdd.collect())
        h._start()
        h.clock.advance_ms(1000)
        assert Gate.entered.wait(LIMIT_S)
        control_of(h.sc).stop_stream(gracefully=False, by=BY)
        assert stopped(h)

        assert not Gate.opened.is_set()


def test_what_has_stopped_or_is_being_stopped_is_not_stopped_again() -> None:
    """409, not silence."""
    with StreamHarness() as h:
        control = control_of(h.sc)
        with pytest.raises(UnknownTargetError, match="no stream that has started"):
            control.stop_stream(gracefully=True, by=BY)
        h.stream([[1]]).map(wait_at_gate).foreachRDD(lambda rdd: rdd.collect())
        h._start()
        h.clock.advance_ms(1000)
        assert Gate.entered.wait(LIMIT_S)
        assert not control.is_stopping
        control.stop_stream(gracefully=True, by=BY)
        assert control.is_stopping
        with pytest.raises(NotNowError, match=r"being stopped already; .* at once"):
            control.stop_stream(gracefully=True, by=BY)
        with pytest.raises(NotNowError, match="being stopped already"):
            control.pause_batches(by=BY)
        Gate.opened.set()
        assert stopped(h)
        with pytest.raises(NotNowError, match="has stopped already"):
            control.stop_stream(gracefully=True, by=BY)
        with pytest.raises(NotNowError, match="has stopped already"):
            control.pause_batches(by=BY)
        assert not control.is_stopping


@pytest.mark.slow
@pytest.mark.parametrize("who", ["page", "program"])
def test_a_graceful_stop_under_way_is_made_one_at_once(who: str) -> None:
    """Whoever has begun it; both who waits and who has stopped it go on as ever."""
    noted: list[Action] = []
    with StreamHarness() as h:
        control = control_of(h.sc, noted)
        h.stream([[1]]).map(wait_at_gate).foreachRDD(lambda rdd: rdd.collect())
        h._start()
        h.clock.advance_ms(1000)
        assert Gate.entered.wait(LIMIT_S)
        waiting = Caller(h.ssc.awaitTermination)
        begin = {
            "page": lambda: control.stop_stream(gracefully=True, by=BY),
            "program": lambda: h.ssc.stop(False, True),
        }[who]
        stopping = Caller(begin)
        until(lambda: control.is_stopping)
        done = control.stop_stream(gracefully=False, by=BY)
        with pytest.raises(NotNowError, match="stopped at once already"):
            control.stop_stream(gracefully=False, by=BY)
        waiting.ends()
        stopping.ends()

        # Time has stood still: nobody waited for a batch.
        assert h.clock.now_ms() == 1000
        assert not Gate.opened.is_set()
        assert done == "stop the stream at once, not gracefully any more"
        assert noted[-1].what == done
        with pytest.raises(NotNowError, match="has stopped already"):
            control.stop_stream(gracefully=False, by=BY)


def test_a_stop_at_once_is_no_quicker_the_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """409: there is nothing to take from it."""
    entered, opened = threading.Event(), threading.Event()
    with StreamHarness() as h:
        control = control_of(h.sc)
        h.collect(h.stream([[1]]))
        h.run(1)

        def stop(**_: bool) -> None:
            entered.set()
            assert opened.wait(LIMIT_S)

        with monkeypatch.context() as patched:
            patched.setattr(h.ssc, "stop", stop)
            control.stop_stream(gracefully=False, by=BY)
            assert entered.wait(LIMIT_S)
            with pytest.raises(NotNowError, match="stopped at once already"):
                control.stop_stream(gracefully=False, by=BY)
            opened.set()


class Caller:
    """Somebody who calls a function on a thread of their own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._raised: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._raised.append(error)

    def ends(self) -> None:
        """Wait until it has returned; raise what it has raised."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        for error in self._raised:
            raise error


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    pytest.fail("it doesn't happen")


def until_held(h: StreamHarness, count: int) -> None:
    """Wait until so many batches are held back."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.002)):
        if h.ssc.metrics()["millstream.heldBackBatches"] == count:
            return
        pause.wait(0.002)
    pytest.fail("they aren't held back")


def test_paused_batches_wait_and_all_run_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """None is lost, and nobody is told that batches come too fast."""
    noted: list[Action] = []
    with StreamHarness() as h:
        control = control_of(h.sc, noted)
        assert not control.is_paused
        out = h.collect(h.stream([[1], [2], [3], [4], [5]]))
        h.run(2)
        control.pause_batches(by=BY)
        assert control.is_paused
        for held in (1, 2):
            h.clock.advance_ms(1000)
            until_held(h, held)
        seen = [*out.records]
        with pytest.raises(NotNowError, match="paused already"):
            control.pause_batches(by=BY)
        control.resume_batches(by=BY)
        with pytest.raises(NotNowError, match="aren't paused"):
            control.resume_batches(by=BY)
        assert h.ssc._scheduler is not None
        assert h.ssc._scheduler.wait_until_processed(4000, LIMIT_S)
        h.run(1)

        assert seen == [[1], [2]]
        assert out.times_ms == [1000, 2000, 3000, 4000, 5000]
        assert out.records == [[1], [2], [3], [4], [5]]
        assert [each.what for each in noted] == ["pause batches", "resume batches"]
        assert "faster than they are processed" not in caplog.text


def test_a_graceful_stop_runs_what_was_paused() -> None:
    """Nothing that was received is left."""
    with StreamHarness() as h:
        control = control_of(h.sc)
        out = h.collect(h.stream([[1], [2], [3]]))
        h.run(1)
        control.pause_batches(by=BY)
        h.clock.advance_ms(1000)
        until_held(h, 1)
        control.stop_stream(gracefully=True, by=BY)
        assert stopped(h)

        assert out.records[:2] == [[1], [2]]


def test_inputs_are_limited_at_run_time_within_what_settings_allow() -> None:
    """Receivers and direct streams, without back-pressure too; it can be changed again."""
    conf = {"spark.streaming.receiver.maxRate": "1000"}
    with StreamHarness(conf=conf) as h:
        control = control_of(h.sc)
        h.collect(h.ssc.directStream(Numbers()), "numbers")
        h.collect(h.ssc.receiverStream(Quiet()), "received")
        h.collect(h.stream([]), "scripted")
        h.run(1)
        first = control.limit_input(0, 50, by=BY)
        control.limit_input(1, 70, by=BY)
        limited = h.ssc.metrics()
        control.limit_input(0, 90, by=BY)
        control.limit_input(1, 5000, by=BY)
        raised = h.ssc.metrics()
        with pytest.raises(UnknownTargetError, match="unknown input: 9"):
            control.limit_input(9, 5, by=BY)
        with pytest.raises(NotNowError, match="no rate that could be limited"):
            control.limit_input(2, 5, by=BY)

        assert first == "limit input 0 to 50 records/s"
        assert limited["millstream.input.0.rateLimit"] == 50
        assert limited["millstream.receiver.1.rateLimit"] == 70
        assert raised["millstream.input.0.rateLimit"] == 90
        assert raised["millstream.receiver.1.rateLimit"] == 1000


@pytest.mark.parametrize("settings", ["none", "maximum", "back-pressure"])
def test_a_limit_is_removed_and_what_settings_say_holds(settings: str) -> None:
    """Their maximum, back-pressure's first rate, or nothing at all."""
    conf, holds = {
        "none": ({}, -1),
        "maximum": ({"spark.streaming.receiver.maxRate": "1000"}, 1000),
        "back-pressure": (
            {
                "spark.streaming.backpressure.enabled": "true",
                "spark.streaming.backpressure.initialRate": "300",
            },
            300,
        ),
    }[settings]
    noted: list[Action] = []
    with StreamHarness(conf=conf) as h:
        control = control_of(h.sc, noted)
        h.collect(h.ssc.directStream(Numbers()), "numbers")
        h.collect(h.ssc.receiverStream(Quiet()), "received")
        with pytest.raises(UnknownTargetError, match="no stream that has started"):
            control.unlimit_input(0, by=BY)
        assert control.limits == {}
        h._start()
        control.limit_input(0, 50, by=BY)
        control.limit_input(1, 70, by=BY)
        limited = (h.ssc.metrics(), control.limits)
        control.limit_input(1, 90, by=BY)
        control.unlimit_input(0, by=BY)
        done = control.unlimit_input(1, by=BY)
        free = (h.ssc.metrics(), control.limits)
        with pytest.raises(NotNowError, match="input 0 has no limit that was set here"):
            control.unlimit_input(0, by=BY)
        with pytest.raises(UnknownTargetError, match="unknown input: 9"):
            control.unlimit_input(9, by=BY)

    direct = -1 if settings == "maximum" else holds  # Which is one of receivers.
    names = ("millstream.input.0.rateLimit", "millstream.receiver.1.rateLimit")
    assert [limited[0][each] for each in names] == [50, 70]
    assert limited[1] == {0: 50, 1: 70}
    assert [free[0][each] for each in names] == [direct, holds]
    assert free[1] == {}
    assert done == "remove the limit of input 1"
    assert noted[-1].what == done


def test_a_limit_never_raises_the_first_rate_of_back_pressure() -> None:
    """Before there is an estimate, too."""
    conf = {
        "spark.streaming.backpressure.enabled": "true",
        "spark.streaming.backpressure.initialRate": "300",
    }
    with StreamHarness(conf=conf) as h:
        h.collect(h.ssc.directStream(Numbers()), "numbers")
        h._start()
        control_of(h.sc).limit_input(0, 5000, by=BY)

        assert h.ssc.metrics()["millstream.input.0.rateLimit"] == 300


# Jobs.


@pytest.mark.parametrize("target", ["job", "stage"])
def test_a_job_is_killed_by_itself_or_by_its_stage(target: str) -> None:
    """Who called it hears by whom."""
    raised: list[BaseException] = []
    conf = SparkConf(False).setMaster("local[2]").setAppName("t")
    conf.set("spark.ui.enabled", "false")
    with SparkContext(conf=conf) as sc:
        control = control_of(sc)

        def count() -> None:
            try:
                sc.parallelize(range(100), 2).map(wait_at_gate).count()
            except JobCancelledError as error:
                raised.append(error)

        caller = threading.Thread(target=count, daemon=True)
        caller.start()
        assert Gate.entered.wait(LIMIT_S)
        (job,) = sc._driver.book.active_job_ids()
        (stage,) = sc._driver.book.active_stage_ids()
        if target == "job":
            control.kill_job(job, by=BY)
        else:
            control.kill_stage(stage, by=BY)
        caller.join(LIMIT_S)
        assert not caller.is_alive()
        with pytest.raises(NotNowError, match=f"job {job} doesn't run: it has failed"):
            control.kill_job(job, by=BY)
        with pytest.raises(NotNowError, match=f"stage {stage} doesn't run"):
            control.kill_stage(stage, by=BY)
        with pytest.raises(UnknownTargetError, match="unknown job: 99"):
            control.kill_job(99, by=BY)
        with pytest.raises(UnknownTargetError, match="unknown stage: 99"):
            control.kill_stage(99, by=BY)

        assert f"by {BY}" in str(raised[0])


def test_a_batch_whose_job_is_killed_fails_and_later_ones_run() -> None:
    """As when a task fails."""
    with StreamHarness() as h:
        seen: list[Any] = []
        stream = h.stream([[1], [2]]).map(lambda x: wait_at_gate(x) if x == 1 else x)
        stream.foreachRDD(lambda rdd: seen.extend(rdd.collect()))
        h._start()
        h.clock.advance_ms(1000)
        assert Gate.entered.wait(LIMIT_S)
        (job,) = h.sc._driver.book.active_job_ids()
        control_of(h.sc).kill_job(job, by=BY)
        h.run(1)

        assert h.ssc._scheduler is not None
        error = h.ssc._scheduler.error_of(1000)
        assert isinstance(error, OutputOperationError)
        assert f"on the page, by {BY}" in str(error)
        assert seen == [2]


# What is told, and what settings say.


def test_what_is_done_is_in_the_event_log(tmp_path: Path) -> None:
    """With who asked for it, and when."""
    import json

    conf = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(tmp_path)}
    with StreamHarness(conf=conf) as h:
        h.collect(h.stream([[1]]))
        h.run(1)
        h.sc._observers._control.pause_batches(by=BY)
    (file,) = tmp_path.rglob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    (told,) = [each for each in lines if each["event"] == "ActionTaken"]

    assert (told["what"], told["by"]) == ("pause batches", BY)
    assert told["time"] > 1_600_000_000_000


def test_what_was_done_is_known_while_the_program_runs() -> None:
    """Newest first, the newest two hundred; and who watches hears that there is news."""
    with StreamHarness() as h:
        application = h.sc._observers.application
        h.collect(h.stream([[1]]))
        h.run(1)
        control = h.sc._observers._control
        before = application.version
        for _ in range(101):
            control.pause_batches(by=BY)
            control.resume_batches(by="192.0.2.8")
        actions = application.actions()

        assert application.version >= before + 202
        assert len(actions) == ACTIONS_MAX
        assert [(each.what, each.by) for each in actions[:2]] == [
            ("resume batches", "192.0.2.8"),
            ("pause batches", BY),
        ]


def paged(token: str | None = None) -> SparkConf:
    """Return settings with a page."""
    conf = SparkConf(False).setMaster("local[2]").setAppName("t")
    conf.set("spark.ui.enabled", "true").set("spark.ui.port", "0")
    return conf if token is None else conf.set("spark.millstream.ui.token", token)


def kill_by(url: str | None, token: str) -> tuple[int, str]:
    """Ask a page to kill a job that there isn't; return the status, and why."""
    assert url is not None
    application = httpx.get(f"{url}/api/v1/applications", timeout=20).json()[0]["id"]
    answer = httpx.post(
        f"{url}/api/v1/applications/{application}/jobs/99/kill",
        headers={"authorization": f"Bearer {token}"},
        timeout=20,
    )
    return answer.status_code, answer.json()["error"]


@pytest.mark.slow
def test_the_token_is_a_setting_or_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The setting wins, as elsewhere; without either the page is read-only."""
    monkeypatch.delenv("MILLSTREAM_UI_TOKEN", raising=False)
    with SparkContext(conf=paged()) as sc:
        status, why = kill_by(sc.uiWebUrl, "set-in-the-program")
        assert status == 403
        assert "read-only" in why
    monkeypatch.setenv("MILLSTREAM_UI_TOKEN", "from-the-environment")
    with SparkContext(conf=paged()) as sc:
        assert kill_by(sc.uiWebUrl, "from-the-environment")[0] == 404
    with SparkContext(conf=paged("set-in-the-program")) as sc:
        assert kill_by(sc.uiWebUrl, "set-in-the-program") == (404, "unknown job: 99")
        assert kill_by(sc.uiWebUrl, "from-the-environment")[0] == 403


@pytest.mark.slow
def test_a_token_that_is_made_is_printed_once_and_nowhere_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As an address that signs a browser in; the log hasn't it, nor has the page."""
    with caplog.at_level(logging.DEBUG), SparkContext(conf=paged("auto")) as sc:
        url = sc.uiWebUrl
        (line,) = capsys.readouterr().err.splitlines()
        token = line.partition("?token=")[2]
        signed_in = httpx.get(f"{url}/login/?token={token}", timeout=20)
        environment = httpx.get(f"{url}/environment/", timeout=20)

        assert line.startswith(f"the page: {url}/login/?token=")
        assert signed_in.status_code == 303
        assert "set-cookie" in signed_in.headers
        assert kill_by(url, token)[0] == 404
        # The test's own client logs what it asks for.
        logged = [e for e in caplog.records if not e.name.startswith("http")]
        assert logged
        assert not [each for each in logged if token in each.getMessage()]
        assert token not in environment.text


@pytest.mark.slow
def test_a_token_is_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the page, the conf in words, the event log, checkpoints or the log."""
    token = "never-to-be-seen-anywhere"
    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
        "spark.millstream.ui.token": token,
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(tmp_path / "events"),
    }
    checkpoint = tmp_path / "checkpoint"

    def set_up(h: StreamHarness) -> None:
        words = h.stream([["a"], ["b"]]).map(lambda word: (word, 1))
        h.collect(words.updateStateByKey(lambda new, old: sum(new) + (old or 0)), "out")

    with (
        caplog.at_level(logging.DEBUG),
        StreamHarness(checkpoint=str(checkpoint), conf=conf, setup=set_up) as h,
    ):
        h.run(2)
        shown = httpx.get(f"{h.sc.uiWebUrl}/environment/", timeout=20).text
        words = h.sc.getConf().toDebugString()
    files = [each for each in tmp_path.rglob("*") if each.is_file()]

    assert len(files) > 2
    assert not [each for each in files if token.encode() in each.read_bytes()]
    assert token not in shown + words + caplog.text
    assert "spark.millstream.ui.token=*****" in words


def test_a_token_that_could_be_guessed_is_refused_when_the_context_starts() -> None:
    """Before anything is served; nothing is left behind."""
    with pytest.raises(IllegalArgumentError, match="at least 16"):
        SparkContext(conf=paged("secret"))

    assert SparkContext._active_spark_context is None


def test_threads_are_those_of_the_process() -> None:
    """This one among them."""
    with StreamHarness() as h:
        names = [each.name for each in control_of(h.sc).threads()]

    assert threading.current_thread().name in names
