"""MQTT streams on a real broker: nothing is lost, over kills, stalls and restarts."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.servers.mqtt import (
    Broker,
    broker,
    needs_mosquitto,
    with_password,
    with_tls,
)
from tests.integration.servers.ports import free_port
from tests.integration.test_programs import lines_until

from millstream import SparkConf, SparkContext
from millstream.engine.base.clock import monotonic_s
from millstream.streaming import StreamingContext, StreamingListener
from millstream.streaming.mqtt import MQTTUtils

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), needs_mosquitto]

PROGRAM = Path(__file__).parent / "programs" / "mqtt_program.py"
LIMIT_S = 20.0


class Heard(StreamingListener):
    """What the receiver reported, and a wait for it."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._changed = threading.Condition()

    def onReceiverStopped(self, receiverStopped: Any) -> None:
        """Keep why: it restarts."""
        with self._changed:
            self.errors.append(receiverStopped.receiverInfo().lastErrorMessage())
            self._changed.notify_all()

    def wait_for(self, words: str) -> str:
        """Return the error that has `words` in it, once there is one."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: [each for each in self.errors if words in each], LIMIT_S
            )
            assert found, f"no error says '{words}': {self.errors}"
            return str(found[0])


class Stream:
    """A stream that runs, and what it has given."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.heard = Heard()
        self._changed = threading.Condition()

    def add(self, rdd: Any) -> None:
        """Take a batch."""
        taken = rdd.collect()
        with self._changed:
            self.records += taken
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        """Return the records when there are `count`."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.records) >= count, LIMIT_S
            ), f"{len(self.records)} of {count}: {self.heard.errors}"
            return list(self.records)


RUNNING: list[Stream] = []


def add_to_running(rdd: Any) -> None:
    """Give a batch to the stream that runs; a function that a checkpoint can have."""
    RUNNING[-1].add(rdd)


@contextmanager
def streaming(
    make: Callable[[StreamingContext], Any], checkpoint: Path | None = None
) -> Iterator[Stream]:
    """Run what `make` returns, in batches of 0.1 s, and stop it."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("mqtt")
    conf.set("spark.streaming.receiverRestartDelay", "100")
    ssc = StreamingContext(SparkContext(conf=conf), 0.1)
    stream = Stream()
    ssc.addStreamingListener(stream.heard)
    RUNNING.append(stream)
    make(ssc).foreachRDD(add_to_running)
    if checkpoint is not None:
        ssc.checkpoint(str(checkpoint))
    ssc.start()
    try:
        yield stream
    finally:
        ssc.stop(stopSparkContext=True, stopGraceFully=False)


def published_until_taken(b: Broker, stream: Stream) -> None:
    """Publish until the subscription is seen to be there; clear what came."""
    until_s = monotonic_s() + LIMIT_S
    while not stream.records:
        assert monotonic_s() < until_s, stream.heard.errors
        b.publish([("ready", "ready")])
        threading.Event().wait(0.05)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A broker that takes everybody."""
    with broker(tmp_path / "broker") as made:
        yield made


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_of_several_topics_and_wildcards(
    mosquitto: Broker, protocol: str
) -> None:
    """Pairs of topic and payload, in order of publishing, each once."""
    sent = [(f"plant/{number % 3}/heat", str(number)) for number in range(300)]
    with streaming(
        lambda ssc: MQTTUtils.createPairedStream(
            ssc, mosquitto.url, ["plant/+/heat", "ready"], protocol=protocol
        )
    ) as stream:
        published_until_taken(mosquitto, stream)
        mosquitto.publish([*sent, ("plant/0/cold", "no"), ("ready", "end")])
        stream.wait_for(len(sent) + 2)
        records = [each for each in stream.records if each[0] != "ready"]

    assert records == sent


def test_payloads_are_text_or_bytes(mosquitto: Broker) -> None:
    """UTF-8, with U+FFFD for what isn't; bytes without a decoder; at QoS 0 and 2, too."""

    def both(ssc: StreamingContext) -> Any:
        text = MQTTUtils.createStream(ssc, mosquitto.url, ["a", "ready"], qos=0)
        data = MQTTUtils.createStream(
            ssc, mosquitto.url, "a", decoder=None, qos=2, clientId="bytes"
        )
        return text.union(data)

    with streaming(both) as stream:
        published_until_taken(mosquitto, stream)
        count = len(stream.records)
        until_s = monotonic_s() + LIMIT_S
        while len(set(map(type, stream.records))) < 2:  # Both have subscribed.
            assert monotonic_s() < until_s, stream.heard.errors
            mosquitto.publish([("a", "x")], qos=2)
            threading.Event().wait(0.05)
        count = len(stream.records)
        mosquitto.publish([("a", b"\xffz\xc3\xa9")], qos=2)
        stream.wait_for(count + 2)

    assert "\ufffdz\u00e9" in stream.records
    assert b"\xffz\xc3\xa9" in stream.records


def test_the_broker_keeps_what_comes_meanwhile(mosquitto: Broker) -> None:
    """A stream that was stopped, and starts again, has what was published in between."""

    def make(ssc: StreamingContext) -> Any:
        return MQTTUtils.createStream(ssc, mosquitto.url, ["words", "ready"])

    with streaming(make) as stream:
        published_until_taken(mosquitto, stream)
    mosquitto.publish([("words", str(number)) for number in range(50)])
    with streaming(make) as stream:
        stream.wait_for(50)

    assert [each for each in stream.records if each != "ready"] == [
        str(number) for number in range(50)
    ]


def test_a_killed_program_loses_nothing(mosquitto: Broker, tmp_path: Path) -> None:
    """Killed at random while messages come, it has each of them, some twice perhaps."""
    out = tmp_path / "out"
    out.mkdir()
    sent: list[str] = []
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            some = [f"{len(sent) + number}" for number in range(20)]
            mosquitto.publish([("words", each) for each in some])
            sent.extend(some)
            is_over.wait(0.02)

    def missing() -> set[str]:
        files = [each for each in out.glob("batch-*") if each.suffix != ".part"]
        seen = {line for file in files for line in file.read_text().split("\n")}
        return set(sent) - seen

    # Only what is published to a session that is there is kept.
    with streaming(
        lambda ssc: MQTTUtils.createStream(
            ssc, mosquitto.url, ["words", "ready"], clientId="killed"
        )
    ) as stream:
        published_until_taken(mosquitto, stream)
    sender = threading.Thread(target=send)
    sender.start()

    def between(life: int) -> None:
        if life == 2:
            is_over.set()
            sender.join()

    try:
        run_with_kills(
            PROGRAM,
            [str(out), mosquitto.url, "words"],
            lambda: not missing(),
            between=between,
        )
    finally:
        is_over.set()
        sender.join()

    assert len(sent) > 1000
    assert not missing()


def test_a_broker_that_restarts(mosquitto: Broker) -> None:
    """The stream connects again, and what it had not acknowledged comes again."""
    with streaming(
        lambda ssc: MQTTUtils.createStream(ssc, mosquitto.url, ["words", "ready"])
    ) as stream:
        published_until_taken(mosquitto, stream)
        mosquitto.stop()
        said = stream.heard.wait_for("127.0.0.1")
        mosquitto.start()
        mosquitto.publish([("words", "again")])
        until_s = monotonic_s() + LIMIT_S
        while "again" not in stream.records:
            assert monotonic_s() < until_s, stream.heard.errors
            threading.Event().wait(0.02)

    assert f"127.0.0.1:{mosquitto.port}" in said


def test_a_broker_that_hangs(mosquitto: Broker) -> None:
    """Silence is noticed within twice the keep-alive; then the stream goes on."""
    with streaming(
        lambda ssc: MQTTUtils.createStream(
            ssc, mosquitto.url, ["words", "ready"], keepAliveInterval=1, timeout=1
        )
    ) as stream:
        published_until_taken(mosquitto, stream)
        with mosquitto.frozen():
            stream.heard.wait_for("ended: Keep alive timeout")
            stream.heard.wait_for("didn't answer in 1 s")
        mosquitto.publish([("words", "back")])
        until_s = monotonic_s() + LIMIT_S
        while "back" not in stream.records:
            assert monotonic_s() < until_s, stream.heard.errors
            threading.Event().wait(0.02)


def test_a_wrong_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error names the broker; neither it, nor a log, nor a checkpoint the password."""
    caplog.set_level(logging.DEBUG)
    settings = with_password(tmp_path / "broker", "me", "right-password")
    with (
        broker(tmp_path / "broker", settings) as made,
        streaming(
            lambda ssc: MQTTUtils.createStream(
                ssc, made.url, "words", username="me", password="wrong-password"
            ),
            tmp_path / "checkpoint",
        ) as stream,
    ):
        said = stream.heard.wait_for("refused the connection: Not authorized")

    # Only now: a running stream renames and removes files of its checkpoint.
    files = [each for each in (tmp_path / "checkpoint").rglob("*") if each.is_file()]
    assert f"127.0.0.1:{made.port}" in said
    assert files
    shown = [said, caplog.text, repr(stream.heard.errors)]
    assert not any("wrong-password" in each for each in shown)
    assert not any(b"wrong-password" in each.read_bytes() for each in files)


def test_a_right_password(tmp_path: Path) -> None:
    """Also as part of the URL."""
    settings = with_password(tmp_path / "broker", "me", "pass")
    with (
        broker(tmp_path / "broker", settings) as made,
        streaming(
            lambda ssc: MQTTUtils.createStream(
                ssc, made.url.replace("//", "//me:pass@"), "words"
            )
        ) as stream,
    ):
        until_s = monotonic_s() + LIMIT_S
        while not stream.records:
            assert monotonic_s() < until_s, stream.heard.errors
            made.publish([("words", "x")], username="me", password="pass")


def test_tls(tmp_path: Path) -> None:
    """A certificate is checked; of one whose signer isn't known the error says so."""
    with broker(tmp_path / "broker", with_tls(tmp_path / "broker")) as made:
        url = made.url.replace("tcp:", "ssl:")
        with streaming(lambda ssc: MQTTUtils.createStream(ssc, url, "words")) as stream:
            said = stream.heard.wait_for("can't connect to the MQTT broker")
            assert "certificate verify failed" in said
        certificate = str(tmp_path / "broker" / "own.pem")
        with streaming(
            lambda ssc: MQTTUtils.createStream(ssc, url, "words", caFile=certificate)
        ) as stream:
            until_s = monotonic_s() + LIMIT_S
            while "connected" not in made.log or "millstream-" not in made.log:
                assert monotonic_s() < until_s, stream.heard.errors
                threading.Event().wait(0.02)
            assert stream.heard.errors == []


def test_web_sockets(tmp_path: Path) -> None:
    """A broker behind a web server is found by its path."""
    port = free_port()
    listener = [f"listener {port} 127.0.0.1", "protocol websockets"]
    with broker(tmp_path / "broker", ["allow_anonymous true", *listener]) as made:
        url = f"ws://127.0.0.1:{port}/mqtt"
        with streaming(
            lambda ssc: MQTTUtils.createStream(ssc, url, ["words", "ready"])
        ) as stream:
            published_until_taken(made, stream)


def test_nobody_listens() -> None:
    """The error says where, and the stream tries again."""
    url = f"tcp://127.0.0.1:{free_port()}"
    with streaming(lambda ssc: MQTTUtils.createStream(ssc, url, "words")) as stream:
        said = stream.heard.wait_for("can't connect to the MQTT broker 127.0.0.1:")

    assert "Connection refused" in said


def test_the_example(mosquitto: Broker, tmp_path: Path) -> None:
    """It counts words of messages."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.wait(0.1):
            mosquitto.publish([("words/a", "hello stream")])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        lines_until(
            ["('hello', "],
            "mqtt_wordcount.py",
            mosquitto.url,
            "words/#",
            str(tmp_path / "checkpoint"),
        )
    finally:
        is_over.set()
        sender.join()
