"""NATS JetStream as source and sink, with a real server."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.running_examples import file_example
from tests.integration.servers.certificates import write_certificate
from tests.integration.servers.kafka import wait_until
from tests.integration.servers.nats import NatsProcess, nats_process, nats_server
from tests.integration.test_programs import lines_until

from millstream.engine.base.errors import EngineError
from millstream.engine.clients.nats import nats_loop
from millstream.engine.sinks.contract import SinkBatch, StaleRunError
from millstream.engine.sinks.jetstream.sink import JetStreamSink
from millstream.engine.sinks.records import Records
from millstream.streaming.nats import NatsServer, NatsUtils
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow
__all__ = ["nats_server"]


@pytest.fixture(scope="module", autouse=True)
def _loop() -> None:
    """Start the thread that the process keeps, before tests look for threads."""
    nats_loop()


PROGRAM = Path(__file__).parent / "programs" / "nats_program.py"


def direct(h: StreamHarness, server: NatsProcess, *streams: str, **more: Any) -> Any:
    """Return a direct stream, from the beginning."""
    login = {"user": server.user, "password": server.password}
    more = {"fromSequences": "earliest", **login, **more}
    return NatsUtils.createDirectStream(h.ssc, server.url, streams, **more)


def place_of(message: Any) -> tuple[int, str, str]:
    """Return where a message is, and what it says."""
    return message.sequence, message.subject, message.data.decode()


def test_each_batch_has_what_was_published_since_the_one_before(
    nats_server: NatsProcess,
) -> None:
    """From the beginning: text, in the order of sequence numbers."""
    nats_server.make("words")
    nats_server.publish("words.a", ["to"])
    with StreamHarness() as h:
        got = h.collect(direct(h, nats_server, "words"))
        h.run(batches=1)
        nats_server.publish("words.a", ["be", "or"])
        h.run(batches=2)

    assert got.records == [["to"], ["be", "or"], []]


class MakeSink:
    """Makes sinks; picklable."""

    def __init__(self, server: NatsProcess) -> None:
        self.settings = (server.url, server.user, server.password)

    def __setstate__(self, state: dict[str, Any]) -> None:
        import nats.js  # noqa: F401  Once, for all of the kit's processes.

        self.__dict__.update(state)

    def __call__(self) -> JetStreamSink:
        """Return a sink."""
        url, user, password = self.settings
        return JetStreamSink(
            url, "copied", "copied.numbers", user=user, password=password, timeout=10.0
        )


def test_what_is_written_is_there_exactly_once(nats_server: NatsProcess) -> None:
    """Even where the stream's own window for duplicates is too short to help."""
    nats_server.make("copied", duplicate_window=0.1)
    report = certify_sink(
        MakeSink(nats_server),
        lambda: [json.loads(m)["number"] for m in nats_server.messages("copied")],
    )

    assert report.guarantee == "exactly once", str(report)
    assert not [each for each in report.findings if each.note], str(report)


def test_each_stream_is_a_partition_and_a_handler_makes_the_records(
    nats_server: NatsProcess,
) -> None:
    """Partition i has range i; a handler sees where a message is."""
    nats_server.make("a")
    nats_server.make("b")
    nats_server.publish("a.x", [1, 2])
    nats_server.publish("b.y", [3])
    seen: list[Any] = []
    with StreamHarness() as h:
        stream = direct(h, nats_server, "a", "b", messageHandler=place_of)
        stream.foreachRDD(lambda rdd: seen.append((rdd.ranges, rdd.glom().collect())))
        h.run(batches=1)

    (ranges, parts), *_ = seen
    assert [(each.stream, each.after, each.until) for each in ranges] == [
        ("a", 0, 2),
        ("b", 0, 1),
    ]
    assert parts == [[(1, "a.x", "1"), (2, "a.x", "2")], [(1, "b.y", "3")]]


def test_ranges_end_where_nothing_is_left_whatever_was_deleted(
    nats_server: NatsProcess,
) -> None:
    """Of one subject among others, with holes, and the last message deleted."""
    nats_server.make("a")
    nats_server.publish("a.x", [1, 2, 3])
    nats_server.publish("a.y", [4, 5])
    nats_server.publish("a.x", [6])

    async def delete(js: Any) -> None:
        await js.delete_msg("a", 2)
        await js.delete_msg("a", 6)

    nats_server.ask(delete)
    with StreamHarness() as h:
        got = h.collect(direct(h, nats_server, "a", subject="a.x"))
        all_of_it = h.collect(direct(h, nats_server, "a"))
        h.run(batches=1)
        nats_server.publish("a.x", [7])
        h.run(batches=1)

    assert got.records == [["1", "3"], ["7"]]
    assert all_of_it.records == [["1", "3", "4", "5"], ["7"]]


def test_a_stream_begins_where_it_is_told(nats_server: NatsProcess) -> None:
    """At its end when the program started, or at a number."""
    nats_server.make("a")
    nats_server.publish("a.x", range(1, 5))
    with StreamHarness() as h:
        latest = h.collect(direct(h, nats_server, "a", fromSequences="latest"))
        third = h.collect(direct(h, nats_server, "a", fromSequences={"a": 3}))
        h._start()
        nats_server.publish("a.x", [5])
        h.run(batches=1)

    assert latest.records == [["5"]]
    assert third.records == [["3", "4", "5"]]


def test_batches_are_no_larger_than_the_rate_allows(nats_server: NatsProcess) -> None:
    """The backlog is read in order, in pieces of the allowed size."""
    nats_server.make("a")
    nats_server.publish("a.x", range(25))
    with StreamHarness() as h:
        stream = direct(h, nats_server, "a")
        got = h.collect(stream)
        stream._operator.rate = 10.0
        h.run(batches=4)

    sizes = [len(batch) for batch in got.records]
    assert sizes == [10, 10, 5, 0]
    assert [int(n) for batch in got.records for n in batch] == list(range(25))


def test_more_than_a_page_is_read_whole(nats_server: NatsProcess) -> None:
    """Pages follow each other without a gap."""
    nats_server.make("a")

    async def publish(js: Any) -> None:
        for number in range(1234):
            await js.publish_async("a.x", str(number).encode())
        await js.publish_async_completed()

    nats_server.ask(publish)
    with StreamHarness() as h:
        got = h.collect(direct(h, nats_server, "a"))
        h.run(batches=1)

    assert got.records == [[str(number) for number in range(1234)]]


def test_messages_that_were_dropped_are_an_error_that_names_the_stream(
    nats_server: NatsProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless failing on data loss is turned off: then it is told in the log."""
    nats_server.make("a", max_msgs=3)
    nats_server.publish("a.x", [1])
    with StreamHarness() as h:
        h.collect(direct(h, nats_server, "a"))
        h.run(batches=1)
        nats_server.publish("a.x", range(2, 7))
        with pytest.raises(EngineError, match="'a' begins at 4, and was read up to 1"):
            h.run(batches=1)
    with StreamHarness() as h:
        got = h.collect(
            direct(h, nats_server, "a", fromSequences=2, failOnDataLoss=False)
        )
        h.run(batches=1)

    assert got.records == [["4", "5", "6"]]
    assert "data loss" in caplog.text


def test_a_stream_that_is_made_anew_is_an_error(nats_server: NatsProcess) -> None:
    """Its numbers begin at 1 again."""
    nats_server.make("a")
    nats_server.publish("a.x", range(3))
    with StreamHarness() as h:
        h.collect(direct(h, nats_server, "a"))
        h.run(batches=1)
        nats_server.make("a")
        with pytest.raises(EngineError, match="'a' was made anew"):
            h.run(batches=1)


def test_a_stream_that_is_not_there_is_named(nats_server: NatsProcess) -> None:
    """Both by the source and by the sink."""
    with StreamHarness() as h:
        h.collect(direct(h, nats_server, "missing"))
        with pytest.raises(EngineError, match=r"stream 'missing'.*stream not found"):
            h.run(batches=1)
    with StreamHarness() as h:
        sink = JetStreamSink(with_login(nats_server), "missing", "missing.x")
        h.stream([["to"]]).writeTo(sink, name="missing")
        with pytest.raises(EngineError, match="stream not found"):
            h.run(batches=1)


def test_a_stream_that_forgets_what_is_read_is_refused(
    nats_server: NatsProcess,
) -> None:
    """A work queue can't be read again; the error says what can."""
    nats_server.make("a", retention="workqueue")
    with StreamHarness() as h:
        h.collect(direct(h, nats_server, "a"))
        with pytest.raises(EngineError, match="retention 'workqueue'"):
            h.run(batches=1)


def test_a_wrong_password_is_told_without_it(nats_server: NatsProcess) -> None:
    """The error names the server and what to check."""
    with StreamHarness() as h:
        h.collect(direct(h, nats_server, "a", password="wrong-9917", timeout=5.0))
        with pytest.raises(EngineError, match="doesn't let this program in") as caught:
            h.run(batches=1)

    assert nats_server.url in str(caught.value)
    assert "wrong-9917" not in "".join(map(str, [caught.value, caught.value.__cause__]))


def test_a_token_lets_in(tmp_path: Path) -> None:
    """As part of the URL, or beside it."""
    with nats_process(tmp_path, args=["--auth", "sesame-1881"]) as server:
        url = server.url.replace("//", "//sesame-1881@")

        async def info(_client: Any, jetstream: Any) -> int:
            return int((await jetstream.account_info()).streams)

        for each in (
            NatsServer.of(url, timeout_s=5.0),
            NatsServer.of(server.url, token="sesame-1881", timeout_s=5.0),
        ):
            assert each.ask("what is there", info) == 0
            assert "1881" not in repr(each)


def test_a_server_without_tls_is_told_within_the_time_out(
    nats_server: NatsProcess,
) -> None:
    """A program that wants TLS doesn't go on without it."""
    url = nats_server.url.replace("nats:", "tls:")
    with StreamHarness() as h:
        h.collect(NatsUtils.createDirectStream(h.ssc, url, ["a"], timeout=2.0))
        with pytest.raises(EngineError, match=r"NATS at tls://127\.0\.0\.1"):
            h.run(batches=1)


def test_a_stalled_server_fails_batches_and_is_read_on_when_it_is_back(
    nats_server: NatsProcess,
) -> None:
    """A step waits no longer than its time-out; then nothing is left out."""
    nats_server.make("a")
    nats_server.publish("a.x", ["to"])
    with StreamHarness() as h:
        got = h.collect(direct(h, nats_server, "a", timeout=0.5))
        h.run(batches=1)
        nats_server.publish("a.x", ["be"])
        with (
            nats_server.stalled(),
            pytest.raises(EngineError, match=r"didn't answer in 0\.5 s"),
        ):
            h.run(batches=1)
        h.run(batches=1)

    assert got.records[-1] == ["be"]


def test_a_sink_whose_server_stalls_publishes_when_it_is_back(
    nats_server: NatsProcess,
) -> None:
    """The batch that failed is published before the next one, once."""
    nats_server.make("copied")
    sink = JetStreamSink(with_login(nats_server), "copied", "copied.x", timeout=0.5)
    with StreamHarness() as h:
        h.stream([["to"], ["be"], ["or"]]).writeTo(sink, name="stalled")
        h.run(batches=1)
        with (
            nats_server.stalled(),
            pytest.raises(EngineError, match=nats_server.url),
        ):
            h.run(batches=1)
        h.run(batches=1)

    assert nats_server.messages("copied") == [b"to", b"be", b"or"]


def test_a_message_that_is_too_large_fails_the_batch(nats_server: NatsProcess) -> None:
    """The error says how large it may be; what came before it stays."""
    nats_server.make("copied")
    sink = JetStreamSink(with_login(nats_server), "copied", "copied.x")
    with StreamHarness(master="local[1]") as h:
        h.stream([["to"], ["x" * (2 << 20)]]).writeTo(sink, name="large")
        h.run(batches=1)
        with pytest.raises(EngineError, match="takes 1048576 bytes a message"):
            h.run(batches=1)

    assert nats_server.messages("copied") == [b"to"]


def test_a_stream_that_does_not_store_the_subject_is_told(
    nats_server: NatsProcess,
) -> None:
    """Another stream's subject isn't written to by mistake."""
    nats_server.make("copied")
    nats_server.make("other")
    sink = JetStreamSink(with_login(nats_server), "copied", "other.x")
    with StreamHarness(master="local[1]") as h:
        h.stream([["to"]]).writeTo(sink, name="elsewhere")
        with pytest.raises(
            EngineError, match=r"'copied' doesn't store subject 'other\.x'"
        ):
            h.run(batches=1)

    assert nats_server.messages("other") == []


def test_no_checkpoint_and_no_log_has_the_password(
    nats_server: NatsProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the source's nor the sink's."""
    nats_server.make("a")
    nats_server.make("copied")
    nats_server.publish("a.x", [1, 2])
    url = with_login(nats_server)

    def setup(h: StreamHarness) -> None:
        stream = NatsUtils.createDirectStream(h.ssc, url, ["a"], "earliest")
        stream.writeTo(JetStreamSink(url, "copied", "copied.x"), name="copied")

    caplog.set_level(logging.DEBUG)
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(batches=2)

    assert sorted(nats_server.messages("copied")) == [b"1", b"2"]
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    secret = nats_server.password.encode()
    assert not [each for each in files if secret in each.read_bytes()]
    assert nats_server.password not in caplog.text


def with_login(server: NatsProcess) -> str:
    """Return the server's URL with user and password."""
    return server.url.replace("//", f"//{server.user}:{server.password}@")


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
def test_a_durable_consumer_that_vanishes_is_made_anew(
    nats_server: NatsProcess, caplog: pytest.LogCaptureFixture, retention: str
) -> None:
    """It goes on behind what was acknowledged."""
    nats_server.make("a", retention=retention)
    nats_server.publish("a.x", [1, 2])
    conf = {"spark.streaming.receiverRestartDelay": "50"}
    with StreamHarness(conf=conf) as h:
        stream = NatsUtils.createStream(
            h.ssc, with_login(nats_server), "a", "readers", fromSequence="earliest"
        )
        got = h.collect(stream)
        run_until(h, got, {"1", "2"})
        nats_server.ask(lambda js: js.delete_consumer("a", "readers"))
        nats_server.publish("a.x", [3])
        run_until(h, got, {"1", "2", "3"})

    assert [n for batch in got.records for n in batch].count("1") == 1
    assert "consumer vanished, and is made anew" in caplog.text


def run_until(h: StreamHarness, got: Any, wanted: set[str]) -> None:
    """Run batches until all of these have come."""

    def has_come() -> bool:
        h.run(batches=1)
        return wanted <= {record for batch in got.records for record in batch}

    wait_until(has_come, f"{wanted} have come")


def test_certificates_are_checked_and_shown(tmp_path: Path) -> None:
    """With the right authority a program is let in; with none it isn't."""
    own, key = write_certificate(tmp_path)
    options = ["--tls", f"--tlscert={own}", f"--tlskey={key}"]
    options += ["--tlsverify", f"--tlscacert={own}"]

    async def info(_client: Any, jetstream: Any) -> int:
        return int((await jetstream.account_info()).streams)

    with nats_process(tmp_path, args=options) as server:
        url = server.url.replace("nats:", "tls:")
        right = NatsServer.of(url, tls_cert=own, tls_key=key, tls_ca=own, timeout_s=5.0)
        assert right.ask("what is there", info) == 0
        wrong = NatsServer.of(url, timeout_s=5.0)
        with pytest.raises(EngineError, match="CERTIFICATE_VERIFY_FAILED"):
            wrong.ask("what is there", info)


def test_the_example_counts_words(nats_server: NatsProcess, tmp_path: Path) -> None:
    """As a user runs it."""
    nats_server.make("words")
    nats_server.publish("words.a", ["hello stream", "hello"])
    lines_until(
        ["('hello', 2)"],
        "nats_wordcount.py",
        with_login(nats_server),
        "words",
        str(tmp_path),
    )


def test_the_example_publishes_counts(nats_server: NatsProcess, tmp_path: Path) -> None:
    """As a user runs it."""
    nats_server.make("counts")
    with file_example("nats_sink.py", tmp_path, with_login(nats_server), "counts"):
        wait_until(lambda: len(nats_server.messages("counts")) == 2, "it is published")

    found = [json.loads(each) for each in nats_server.messages("counts")]
    assert sorted(found, key=str) == [
        {"word": "hello", "count": 2},
        {"word": "stream", "count": 1},
    ]


@contextmanager
def publishing(server: NatsProcess) -> Iterator[list[int]]:
    """Publish numbers, in a thread, until the end."""
    published: list[int] = []
    is_over = threading.Event()

    async def publish(js: Any) -> None:
        import asyncio

        while not is_over.is_set():
            await js.publish("numbers.x", str(len(published)).encode())
            published.append(len(published))
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=server.ask, args=(publish,))
    thread.start()
    try:
        yield published
    finally:
        is_over.set()
        thread.join()


def found_in(directory: Path) -> Counter[int]:
    """Return how often each number is in the files of a program."""
    files = (directory / "out").iterdir()
    return Counter(int(n) for each in files for n in each.read_text().split())


@pytest.mark.parametrize("how", ["durable", "sink"])
def test_a_killed_program_loses_nothing(
    nats_server: NatsProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Directly, and into a stream, each number comes once; durably, at least once."""
    monkeypatch.setenv("MILLSTREAM_SECRET_NATS_PASSWORD", nats_server.password)
    nats_server.make("numbers")
    nats_server.make("copied")
    (tmp_path / "out").mkdir()
    wanted: set[int] = set()

    def found() -> Counter[int]:
        if how == "sink":
            return Counter(map(int, nats_server.messages("copied")))
        return found_in(tmp_path)

    with publishing(nats_server) as published:

        def is_done() -> bool:
            if not wanted and len(published) >= 50:
                wanted.update(published)
            return bool(wanted) and wanted <= found().keys()

        run_with_kills(
            PROGRAM,
            [str(tmp_path), how, with_login(nats_server)],
            is_done,
            kills=2,
            seed=len(how),
            life_s=(1.0, 1.8),
        )

    assert wanted <= found().keys()
    if how != "durable":
        assert set(found().values()) == {1}


def test_a_writer_that_is_replaced_midway_publishes_no_further(
    nats_server: NatsProcess,
) -> None:
    """It looks at its mark before each five hundred; the new one publishes the rest."""
    nats_server.make("copied", duplicate_window=0.1)
    url = with_login(nats_server)
    old, new = (JetStreamSink(url, "copied", "copied.x") for _ in range(2))
    run = old.open("midway", 1).run
    batch = SinkBatch("midway", 1000, 1, run)

    def records(replace: bool) -> Iterator[int]:
        for number in range(1200):
            if replace and number == 700:
                runs.append(new.open("midway", 1).run)
            yield number

    runs: list[int] = []
    assert not old.begin(batch)
    with pytest.raises(StaleRunError):
        old.write(batch, 0, Records([records(replace=True)]))
    assert len(nats_server.messages("copied")) == 500

    new.write(SinkBatch("midway", 1000, 1, runs[0]), 0, Records([records(False)]))
    found = list(map(int, nats_server.messages("copied")))
    assert found == list(range(1200))
