"""Kinesis streams on real servers: each record once, over kills, stalls, resharding."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.servers.kinesis import (
    REGION,
    Kinesis,
    kinesalite,
    moto,
    needs_npm,
)
from tests.integration.test_programs import lines_until

from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.sources.kinesis.client import (
    KinesisError,
    KinesisUnreachableError,
)
from millstream.streaming.kinesis import (
    InitialPositionInStream,
    KinesisRecord,
    KinesisUtils,
)
from millstream.testing import Collected, StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parent / "programs" / "kinesis_program.py"
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[Kinesis]:
    """A server for the tests that don't break it."""
    with moto() as made:
        yield made


@pytest.fixture
def stream(server: Kinesis, request: pytest.FixtureRequest) -> str:
    """A stream of two shards, named after the test."""
    name = request.node.name.replace("[", "-").replace("]", "")
    server.create(name, 2)
    return str(name)


def reading(
    server: Kinesis, stream: str, **given: Any
) -> Callable[[StreamHarness], Any]:
    """Return a setup that collects what a stream has, from its oldest record."""
    options = {
        "awsAccessKeyId": "my-key-id",
        "awsSecretKey": "my-secret-key",
        "fetchInterval": 0.05,
        **given,
    }

    def setup(h: StreamHarness) -> None:
        where = options.get("endpointUrl", server.url)
        others = {key: each for key, each in options.items() if key != "endpointUrl"}
        records = KinesisUtils.createStream(
            h.ssc,
            "app",
            stream,
            where,
            REGION,
            InitialPositionInStream.TRIM_HORIZON,
            1,
            **others,
        )
        h.collect(records, "out")

    return setup


def run_until(h: StreamHarness, count: int) -> list[Any]:
    """Run batches until there are so many records, and return them."""
    out: Collected = h.output("out")
    until_s = monotonic_s() + LIMIT_S
    while sum(map(len, out.records)) < count:
        assert monotonic_s() < until_s, f"{sum(map(len, out.records))} of {count}"
        h.run()
        threading.Event().wait(0.01)
    return [record for batch in out.records for record in batch]


def numbered(count: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Return records of 20 keys."""
    return [
        (str(number % 20), str(number).encode())
        for number in range(first, first + count)
    ]


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]"])
def test_each_record_once(server: Kinesis, stream: str, master: str) -> None:
    """Whether tasks run in the driver's process or in others; keys in order."""
    server.put(stream, numbered(1200))
    handler = _key_and_number
    with StreamHarness(
        master=master, setup=reading(server, stream, messageHandler=handler)
    ) as h:
        records = run_until(h, 1200)

    assert sorted(number for _, number in records) == list(range(1200))
    for key in {key for key, _ in records}:
        numbers = [number for each, number in records if each == key]
        assert numbers == sorted(numbers)


def _key_and_number(record: KinesisRecord) -> tuple[str, int]:
    return record.partitionKey, int(record.data)


def test_only_what_comes_from_the_start_on(server: Kinesis, stream: str) -> None:
    """LATEST leaves out what was there, but for the last second."""
    server.put(stream, numbered(10))
    put_ms = SystemClock().now_ms()
    while SystemClock().now_ms() < put_ms + 1100:
        threading.Event().wait(0.05)
    with StreamHarness() as h:
        latest = InitialPositionInStream.LATEST
        records = KinesisUtils.createStream(
            *(h.ssc, "app", stream, server.url, REGION, latest, 1),
            awsAccessKeyId="id",
            awsSecretKey="key",
            fetchInterval=0.05,
        )
        h.collect(records, "out")
        h.run()
        server.put(stream, numbered(10, 10))

        assert sorted(map(int, run_until(h, 10))) == list(range(10, 20))


def test_it_goes_on_after_a_crash(
    server: Kinesis,
    stream: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No record is read twice. Secrets aren't in the checkpoint, but the environment."""
    monkeypatch.setenv("MILLSTREAM_SECRET_KINESIS_ACCESS_KEY_ID", "my-key-id")
    monkeypatch.setenv("MILLSTREAM_SECRET_KINESIS_SECRET_KEY", "my-secret-key")
    server.put(stream, numbered(300))
    with StreamHarness(checkpoint=str(tmp_path), setup=reading(server, stream)) as h:
        run_until(h, 300)
        h.crash()
        server.put(stream, numbered(300, 300))
        h.restart()
        out = h.output("out")
        # A batch may have run before the crash and after it: with the same records.
        while len({each for batch in out.records for each in batch}) < 600:
            run_until(h, sum(map(len, out.records)) + 1)
        batches = dict(zip(out.times_ms, out.records, strict=True))
        repeated = [
            (batches[time], records)
            for time, records in zip(out.times_ms, out.records, strict=True)
        ]
    files = [each for each in tmp_path.rglob("*") if each.is_file()]

    records = [int(each) for batch in batches.values() for each in batch]
    assert sorted(records) == list(range(600))
    assert all(one == other for one, other in repeated)
    assert files
    for file in files:
        assert b"my-secret-key" not in file.read_bytes()
        assert b"my-key-id" not in file.read_bytes()


def test_a_killed_program_has_each_record_once(
    server: Kinesis,
    stream: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed at random while records come: none is lost, none is in two batches."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    sent: list[int] = []
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            server.put(stream, numbered(50, len(sent)))
            sent.extend(range(len(sent), len(sent) + 50))
            is_over.wait(0.02)

    def seen() -> list[int]:
        files = [each for each in tmp_path.glob("batch-*") if each.suffix != ".part"]
        return [int(line) for file in files for line in file.read_text().split("\n")]

    def is_done() -> bool:
        return is_over.is_set() and set(seen()) >= set(sent)

    def between(life: int) -> None:
        if life == 2:
            is_over.set()
            sender.join()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        run_with_kills(
            PROGRAM, [str(tmp_path), server.url, stream], is_done, between=between
        )
    finally:
        is_over.set()
        sender.join()

    assert len(sent) > 500
    assert sorted(seen()) == sorted(sent)


@needs_npm
def test_keys_stay_in_order_over_resharding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards are split and merged while a stream is read, and crashes: in order, once."""
    monkeypatch.setenv("MILLSTREAM_SECRET_KINESIS_ACCESS_KEY_ID", "my-key-id")
    monkeypatch.setenv("MILLSTREAM_SECRET_KINESIS_SECRET_KEY", "my-secret-key")
    with kinesalite() as server:
        server.create("orders", 2)
        first, second = server.shards("orders")
        middle = int(first["HashKeyRange"]["EndingHashKey"]) // 2
        setup = reading(server, "orders", messageHandler=_key_and_number)
        with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
            server.put("orders", numbered(200))
            run_until(h, 100)
            server.split("orders", first["ShardId"], middle)
            server.put("orders", numbered(200, 200))
            (right,) = (
                each["ShardId"]
                for each in server.shards("orders")
                if each["HashKeyRange"]["StartingHashKey"] == str(middle)
            )
            run_until(h, 300)
            h.crash()
            server.merge("orders", right, second["ShardId"])
            server.put("orders", numbered(200, 400))
            h.restart()
            out = h.output("out")
            while len({each for batch in out.records for each in batch}) < 600:
                run_until(h, sum(map(len, out.records)) + 1)
            batches = dict(zip(out.times_ms, out.records, strict=True))
            operator: Any = h.ssc._graph.inputs[0]
            reads = {each.shard for each in operator._latest.ranges}
            is_open = {
                each["ShardId"]
                for each in server.shards("orders")
                if "EndingSequenceNumber" not in each["SequenceNumberRange"]
            }

    records = [each for batch in batches.values() for each in batch]
    assert sorted(number for _, number in records) == list(range(600))
    for key in {key for key, _ in records}:
        numbers = [number for each, number in records if each == key]
        assert numbers == sorted(numbers)
    assert len(is_open) == 2
    assert reads >= is_open


def test_a_server_that_hangs(server: Kinesis, stream: str) -> None:
    """Batches fail when the time-out is over, and go on when it answers again."""
    server.put(stream, numbered(10))
    with StreamHarness(setup=reading(server, stream, timeout=0.5)) as h:
        run_until(h, 10)
        with (
            server.frozen(),
            pytest.raises(KinesisUnreachableError, match="can't be reached"),
        ):
            run_until(h, 11)
        server.put(stream, numbered(10, 10))
        out = h.output("out")
        until_s = monotonic_s() + LIMIT_S
        while sum(map(len, out.records)) < 20:
            assert monotonic_s() < until_s
            try:
                h.run()
            except KinesisUnreachableError:
                threading.Event().wait(0.05)
        records = [int(each) for batch in out.records for each in batch]

    assert sorted(records) == list(range(20))


def test_a_stream_that_is_deleted(server: Kinesis, stream: str) -> None:
    """The batch fails, and says which stream isn't there."""
    server.put(stream, numbered(10))
    with StreamHarness(setup=reading(server, stream)) as h:
        run_until(h, 10)
        server.client.delete_stream(StreamName=stream)
        with pytest.raises(KinesisError, match=f"'{stream}'.*isn't there"):
            run_until(h, 11)


def test_a_stream_that_never_was(server: Kinesis) -> None:
    """The program doesn't start."""
    with (
        StreamHarness(setup=reading(server, "nothing")) as h,
        pytest.raises(KinesisError, match=r"'nothing'.*isn't there"),
    ):
        h.run()


def test_nobody_speaks_tls_there(server: Kinesis) -> None:
    """The error says what went wrong, and where."""
    url = server.url.replace("http:", "https:")
    with (
        StreamHarness(setup=reading(server, "any", endpointUrl=url)) as h,
        pytest.raises(KinesisUnreachableError, match=r"SSL.*127\.0\.0\.1"),
    ):
        h.run()


def test_wrong_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """They are refused; neither the error nor the log has them."""
    caplog.set_level(logging.DEBUG, "millstream")
    # Two calls are let through: those that make the stream.
    with (
        moto(INITIAL_NO_AUTH_ACTION_COUNT="2") as server,
        StreamHarness(setup=reading(server, "orders")) as h,
    ):
        server.create("orders")
        with pytest.raises(KinesisError, match="refused us") as found:
            h.run()

    told = f"{found.value!r} {found.value.hint} {caplog.text}"
    assert "my-secret-key" not in told
    assert "my-key-id" not in told


def test_the_example(
    server: Kinesis,
    stream: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts words of records."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    server.put(stream, [("k", b"hello stream")])
    arguments = [stream, REGION, str(tmp_path), server.url]

    lines_until(["('hello', 1)"], "kinesis_wordcount.py", *arguments)
