"""Actor streams: fed from other processes, in processes of their own, over restarts."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.engine.sources.fed import KEY, connected
from tests.integration.receiving import until
from tests.integration.servers.ports import free_port
from tests.integration.test_programs import EXAMPLES, lines_until

from millstream import SparkConf, SparkContext
from millstream.errors import PySparkException, PySparkTypeError
from millstream.streaming import StreamingContext, StreamingListener
from millstream.streaming.actor import (
    ActorHelper,
    ActorUtils,
    Directive,
    FeedRefusedError,
    OneForOneStrategy,
    RemoteFeeder,
    RemotePort,
)
from millstream.testing import Collected, StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def records_of(out: Collected) -> list[Any]:
    """Return all records that came out."""
    return [record for batch in out.records for record in batch]


class Adding(ActorHelper):
    """Stores sums; adds workers; fails when told to."""

    def __init__(self, base: int = 0) -> None:
        self.total = base

    def on_receive(self, message: Any) -> None:
        """Handle a number, or a command."""
        match message:
            case "restart":
                raise RuntimeError("restart me")
            case "escalate":
                raise ValueError("escalate this")
            case {"add": name}:
                self.addWorker(Adding, 1000, name=name)
            case _:
                self.total += message
                self.store([self.total])


@contextmanager
def harness(**settings: Any) -> Iterator[tuple[StreamHarness, Collected, RemoteFeeder]]:
    """Run a stream of an `Adding(100)`, and feed it."""
    port = RemotePort(free_port(), KEY)
    with StreamHarness() as h:
        stream = ActorUtils.createStream(
            h.ssc, Adding, 100, name="adding", remote=port, **settings
        )
        out = h.collect(stream)
        h.ssc.start()
        connected(port.port).close()
        with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
            yield h, out, feeder


def test_a_stream_of_what_an_actor_and_its_workers_store() -> None:
    """A restart forgets what the object knew, and loses nothing that was stored."""
    with harness() as (h, out, feeder):
        feeder.sendAll([1, 2, {"add": "other"}])
        feeder.send(5, to="other")
        with pytest.raises(FeedRefusedError, match="RuntimeError"):
            feeder.send("restart")
        feeder.send(4)
        h.run()

    assert records_of(out) == [101, 103, 1005, 104]


def test_an_escalation_restarts_the_receiver_and_is_heard() -> None:
    """Listeners are told why; what the feeder sends again comes."""

    class Stopped(StreamingListener):
        messages: list[str] = []

        def onReceiverStopped(self, receiverStopped: Any) -> None:
            self.messages.append(receiverStopped.receiverInfo().lastErrorMessage())

    with harness() as (h, out, feeder):
        h.ssc.addStreamingListener(Stopped())
        feeder.send(1)
        with pytest.raises(FeedRefusedError, match="ValueError"):
            feeder.send("escalate")
        sent: list[bool] = []

        def send_again() -> None:
            try:
                feeder.send(2)
            except PySparkException:
                h.run()  # The clock moves: the receiver begins anew after its pause.
            else:
                sent.append(True)

        until(lambda: sent, send_again)
        h.run()

    assert records_of(out) == [101, 102]
    assert "the actor 'adding' failed: escalate this" in Stopped.messages[0]


def test_a_strategy_of_the_program_s_own() -> None:
    """Here every failure is passed over, and the object goes on."""
    strategy = OneForOneStrategy(decider=lambda error: Directive.RESUME)
    with harness(supervisorStrategy=strategy) as (h, out, feeder):
        feeder.send(1)
        for word in ("restart", "escalate"):
            with pytest.raises(FeedRefusedError):
                feeder.send(word)
        feeder.send(1)
        h.run()

    assert records_of(out) == [101, 102]


def test_an_actor_lives_where_the_receiver_does(tmp_path: Path) -> None:
    """In a process of its own; a class of the program's own travels by value."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("apart")
    conf.set("spark.millstream.receivers", "apart")
    driver = os.getpid()

    class Local(ActorHelper):
        """Nobody can import it."""

        def on_receive(self, message: Any) -> None:
            self.store([(message, os.getpid() != driver)])

    port = RemotePort(free_port(), KEY)
    out: list[Any] = []
    ssc = StreamingContext(SparkContext(conf=conf), 0.1)
    try:
        stream = ActorUtils.createStream(ssc, Local, remote=port)
        stream.foreachRDD(lambda rdd: out.extend(rdd.collect()))
        ssc.start()
        connected(port.port).close()
        with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
            feeder.sendAll(["a", "b"])
        until(lambda: len(out) == 2)
    finally:
        ssc.stop()

    assert out == [("a", True), ("b", True)]


def test_the_key_is_in_no_checkpoint_and_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who goes on finds it in the environment, and feeders go on."""
    caplog.set_level(logging.DEBUG)
    port = free_port()

    def setup(h: StreamHarness) -> None:
        remote = RemotePort(port, os.environ["FEED_KEY"])
        stream = ActorUtils.createStream(h.ssc, Adding, name="adding", remote=remote)
        h.collect(stream, "out")

    monkeypatch.setenv("FEED_KEY", KEY)
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run()
        connected(port).close()
        with RemoteFeeder("127.0.0.1", port, KEY) as feeder:
            feeder.send(1)
        stranger = RemoteFeeder("127.0.0.1", port, "not that key, but long")
        with stranger, pytest.raises(PySparkException):
            stranger.send(1)
        h.run(2)
        h.crash()
        files = [each for each in tmp_path.rglob("*") if each.is_file()]
        assert files
        assert not [each for each in files if KEY.encode() in each.read_bytes()]
        monkeypatch.setenv("MILLSTREAM_SECRET_ACTOR_REMOTE_KEY", KEY)
        h.restart()
        h.run()
        connected(port).close()
        with RemoteFeeder("127.0.0.1", port, KEY) as feeder:
            feeder.send(2)
        h.run()

        assert records_of(h.output("out"))[-1] == 2
    assert KEY not in caplog.text


def test_a_port_that_is_taken_is_waited_for() -> None:
    """The receiver restarts until the port is free."""
    import socket

    taken = socket.create_server(("127.0.0.1", 0))
    port = RemotePort(taken.getsockname()[1], KEY)
    with StreamHarness() as h:
        out = h.collect(ActorUtils.createStream(h.ssc, Adding, remote=port))
        h.run(1)
        taken.close()
        sent: list[bool] = []

        def send() -> None:
            try:
                with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
                    feeder.send(7)
            except PySparkException:
                h.run()
            else:
                sent.append(True)

        until(lambda: sent, send)
        h.run()

    assert records_of(out) == [7]


def test_a_class_without_the_helper_is_refused_at_once() -> None:
    """Not when the receiver starts."""
    with StreamHarness() as h, pytest.raises(PySparkTypeError, match="ActorHelper"):
        ActorUtils.createStream(h.ssc, int)  # type: ignore[arg-type]


def test_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feeder in one program, the stream in another."""
    monkeypatch.setenv("FEED_KEY", KEY)
    port = str(free_port())
    feeder = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "actor_feeder.py"), "127.0.0.1", port],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    done: list[tuple[str, str]] = []
    talking = threading.Thread(
        target=lambda: done.append(feeder.communicate("hello actor\nhello you\n"))
    )
    talking.start()
    try:
        lines_until(["('actor', 1)", "('you', 1)"], "actor_wordcount.py", port)
        assert feeder.wait(10) == 0
    finally:
        feeder.kill()
        talking.join(10)
