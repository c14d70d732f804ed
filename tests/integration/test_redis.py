"""Redis Streams and Redis keys, with a real Valkey server."""

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
from tests.integration.servers.kafka import wait_until
from tests.integration.servers.redis import (
    RedisProcess,
    redis_process,
    redis_server,
)
from tests.integration.test_programs import lines_until

from millstream.engine.base.errors import EngineError
from millstream.engine.sinks.redis import RedisSink
from millstream.streaming.redis import RedisUtils
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow
__all__ = ["redis_server"]

PROGRAM = Path(__file__).parent / "programs" / "redis_program.py"


@pytest.fixture
def client(redis_server: RedisProcess) -> Iterator[Any]:
    """A client of an empty server."""
    client = redis_server.client()
    client.flushall()
    yield client
    client.close()


def test_each_batch_has_what_was_added_since_the_one_before(
    redis_server: RedisProcess, client: Any
) -> None:
    """From the beginning: dicts of text, in the order of their ids."""
    client.xadd("words", {"text": "to", "n": 1})
    with StreamHarness() as h:
        stream = RedisUtils.createDirectStream(
            h.ssc,
            redis_server.url,
            ["words"],
            "earliest",
            password=redis_server.password,
        )
        got = h.collect(stream)
        h.run(batches=1)
        client.xadd("words", {"text": "be"})
        client.xadd("words", {"text": "or"})
        h.run(batches=2)

    assert got.records == [
        [{"text": "to", "n": "1"}],
        [{"text": "be"}, {"text": "or"}],
        [],
    ]


def direct(h: StreamHarness, server: RedisProcess, *streams: str, **more: Any) -> Any:
    """Return a direct stream."""
    more = {"fromIds": "earliest", "password": server.password, **more}
    return RedisUtils.createDirectStream(h.ssc, server.url, streams, **more)


def number_of(message: Any) -> tuple[str, int]:
    """Return which stream an entry is of, and its number."""
    return message.stream, int(message.fields[b"n"])


def add(client: Any, stream: str, numbers: Any) -> list[str]:
    """Add numbers to a stream; return the ids."""
    pipe = client.pipeline(transaction=False)
    for number in numbers:
        pipe.xadd(stream, {"n": number})
    return [id_.decode() for id_ in pipe.execute()]


def test_each_stream_is_a_partition_and_a_handler_makes_the_records(
    redis_server: RedisProcess, client: Any
) -> None:
    """Partition i has range i, whose ids and count are known."""
    add(client, "a", range(3))
    add(client, "b", range(2))
    seen: list[Any] = []
    with StreamHarness() as h:
        stream = direct(h, redis_server, "a", "b", messageHandler=number_of)
        stream.foreachRDD(lambda rdd: seen.append((rdd.ranges, rdd.glom().collect())))
        h.run(batches=1)

    (ranges, parts), *_ = seen
    assert [(each.stream, each.after, each.count) for each in ranges] == [
        ("a", "0-0", 3),
        ("b", "0-0", 2),
    ]
    assert parts == [[("a", 0), ("a", 1), ("a", 2)], [("b", 0), ("b", 1)]]


def test_latest_is_where_the_stream_ended_when_the_program_started(
    redis_server: RedisProcess, client: Any
) -> None:
    """What was there before isn't read; what comes before the first batch is."""
    add(client, "a", range(3))
    with StreamHarness() as h:
        stream = direct(
            h, redis_server, "a", "later", fromIds="latest", messageHandler=number_of
        )
        got = h.collect(stream)
        h._start()
        add(client, "a", [10])
        add(client, "later", [11])
        h.run(batches=1)
        add(client, "later", [12])
        h.run(batches=1)

    assert got.records == [[("a", 10), ("later", 11)], [("later", 12)]]


def test_a_stream_begins_after_an_id(redis_server: RedisProcess, client: Any) -> None:
    """Each stream may have an id of its own."""
    ids = add(client, "a", range(4))
    with StreamHarness() as h:
        stream = direct(
            h, redis_server, "a", fromIds={"a": ids[1]}, messageHandler=number_of
        )
        got = h.collect(stream)
        h.run(batches=1)

    assert got.records == [[("a", 2), ("a", 3)]]


def test_batches_are_no_larger_than_the_rate_allows(
    redis_server: RedisProcess, client: Any
) -> None:
    """The backlog is read in order, in pieces of the allowed size."""
    add(client, "a", range(25))
    with StreamHarness() as h:
        stream = direct(h, redis_server, "a", messageHandler=number_of)
        got = h.collect(stream)
        stream._operator.rate = 10.0
        h.run(batches=4)

    numbers = [[n for _, n in batch] for batch in got.records]
    assert numbers == [list(range(10)), list(range(10, 20)), list(range(20, 25)), []]


def test_a_batch_runs_again_with_the_same_entries(
    redis_server: RedisProcess,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a crash, ranges are those of the checkpoint, whatever came since."""
    with_password_from_environment(monkeypatch, redis_server)
    add(client, "a", range(5))

    def setup(h: StreamHarness) -> None:
        h.collect(direct(h, redis_server, "a", messageHandler=number_of), "got")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(batches=1)
        h.crash()
        add(client, "a", range(5, 8))
        h.restart()
        h.run(batches=1)
        got = h.output("got")

    by_time: dict[int, list[Any]] = {}
    for time_ms, batch in zip(got.times_ms, got.records, strict=True):
        assert by_time.setdefault(time_ms, batch) == batch
    assert [n for batch in by_time.values() for _, n in batch] == list(range(8))


def test_trimmed_entries_are_an_error_that_names_the_stream(
    redis_server: RedisProcess, client: Any
) -> None:
    """Entries were counted when they were planned; fewer of them are data loss."""
    add(client, "a", range(3))
    with StreamHarness() as h:
        got = h.collect(direct(h, redis_server, "a", messageHandler=number_of))
        h.run(batches=1)
        add(client, "a", range(3, 9))
        client.xtrim("a", maxlen=2, approximate=False)
        with pytest.raises(EngineError, match="stream 'a' has 2 of 6 entries"):
            h.run(batches=1)

    assert len(got.records) == 1
    assert got.records[0] == [("a", n) for n in range(3)]


def test_without_failing_on_data_loss_what_is_left_is_read(
    redis_server: RedisProcess, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The loss is told in the log."""
    with StreamHarness() as h:
        stream = direct(
            h, redis_server, "a", messageHandler=number_of, failOnDataLoss=False
        )
        got = h.collect(stream)
        h.run(batches=1)
        add(client, "a", range(6))
        client.xtrim("a", maxlen=2, approximate=False)
        h.run(batches=1)

    assert got.records[1:] == [[("a", 4), ("a", 5)]]
    assert "data loss" in caplog.text


def test_a_stream_that_vanishes_fails_batches_until_it_is_told_to_go_on(
    redis_server: RedisProcess, client: Any
) -> None:
    """It says that the stream was deleted."""
    add(client, "a", range(3))
    with StreamHarness() as h:
        h.collect(direct(h, redis_server, "a"))
        h.run(batches=1)
        client.delete("a")
        with pytest.raises(EngineError, match="'a' was deleted, or made anew"):
            h.run(batches=1)


def test_a_wrong_password_is_told_without_it(redis_server: RedisProcess) -> None:
    """The error names the server and what to check."""
    with StreamHarness() as h:
        h.collect(direct(h, redis_server, "a", password="wrong-9917"))
        with pytest.raises(EngineError, match="doesn't let this program in") as caught:
            h.run(batches=1)

    assert redis_server.url in str(caught.value)
    assert "wrong-9917" not in "".join(map(str, [caught.value, caught.value.__cause__]))


def test_a_server_without_tls_is_told_within_the_time_out(
    redis_server: RedisProcess,
) -> None:
    """The handshake fails, or waits no longer than it may."""
    url = redis_server.url.replace("redis:", "rediss:")
    with StreamHarness() as h:
        h.collect(RedisUtils.createDirectStream(h.ssc, url, ["a"], timeout=1.0))
        with pytest.raises(EngineError, match=r"Redis at rediss://127\.0\.0\.1"):
            h.run(batches=1)


def test_a_stalled_server_fails_batches_and_is_read_on_when_it_is_back(
    redis_server: RedisProcess, client: Any
) -> None:
    """A command waits no longer than its time-out; then nothing is left out."""
    add(client, "a", range(2))
    with StreamHarness() as h:
        stream = direct(h, redis_server, "a", messageHandler=number_of, timeout=0.3)
        got = h.collect(stream)
        h.run(batches=1)
        add(client, "a", range(2, 4))
        with (
            redis_server.stalled(),
            pytest.raises(EngineError, match=r"didn't answer in 0\.3 s"),
        ):
            h.run(batches=1)
        h.run(batches=1)

    assert got.records[-1] == [("a", 2), ("a", 3)]


def test_no_checkpoint_and_no_log_has_the_password(
    redis_server: RedisProcess,
    client: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the source's nor the sink's."""
    add(client, "a", range(3))
    url = redis_server.url.replace("//", f"//:{redis_server.password}@")

    def setup(h: StreamHarness) -> None:
        stream = RedisUtils.createDirectStream(h.ssc, url, ["a"], "earliest")
        stream.writeTo(RedisSink(url, "copied", "list"), name="copied")

    caplog.set_level(logging.DEBUG)
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(batches=2)

    assert client.llen("copied") == 3
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    secret = redis_server.password.encode()
    assert not [each for each in files if secret in each.read_bytes()]
    assert redis_server.password not in caplog.text


def numbers_of(directory: Path) -> Counter[int]:
    """Return how often each number is in the files of a program."""
    files = (directory / "out").iterdir()
    return Counter(int(n) for each in files for n in each.read_text().split())


@contextmanager
def adding(server: RedisProcess) -> Iterator[list[int]]:
    """Add numbers to a stream, in a thread, until the end."""
    added: list[int] = []
    is_over = threading.Event()

    def run() -> None:
        with server.client() as client:
            while not is_over.wait(0.01):
                added.append(len(added))
                client.xadd("numbers", {"number": added[-1]})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield added
    finally:
        is_over.set()
        thread.join()


def run_killed(
    how: str, server: RedisProcess, directory: Path, is_done: Any, seed: int
) -> list[int]:
    """Run the program while numbers are added; kill it twice; return the numbers."""
    (directory / "out").mkdir()
    url = server.url.replace("//", f"//:{server.password}@")
    numbers: list[int] = []

    def between(life: int) -> None:
        if life == 1:
            stop()

    with adding(server) as added:
        killed = threading.Event()

        def stop() -> None:
            killed.set()

        def is_all_there() -> bool:
            nonlocal numbers
            if not numbers:
                numbers = added[:]
                if len(numbers) < 50:
                    numbers = []
                    return False
            return bool(is_done(set(numbers)))

        run_with_kills(
            PROGRAM,
            [str(directory), how, url],
            is_all_there,
            kills=2,
            seed=seed,
            life_s=(1.0, 1.8),
            between=between,
        )
    assert killed.is_set()
    return numbers


def with_password_from_environment(
    monkeypatch: pytest.MonkeyPatch, server: RedisProcess
) -> None:
    """Let programs that go on from a checkpoint find the password."""
    monkeypatch.setenv("MILLSTREAM_SECRET_REDIS_PASSWORD", server.password)


def test_a_killed_receiver_gets_each_entry_at_least_once(
    redis_server: RedisProcess,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a consumer group: nothing lost, and nothing is left pending."""
    with_password_from_environment(monkeypatch, redis_server)
    numbers = run_killed(
        "group",
        redis_server,
        tmp_path,
        lambda wanted: wanted <= numbers_of(tmp_path).keys(),
        seed=2,
    )

    assert set(numbers) <= numbers_of(tmp_path).keys()


def test_a_killed_program_writes_each_record_once(
    redis_server: RedisProcess,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Directly from a stream to a list: it has each number once, in order."""
    with_password_from_environment(monkeypatch, redis_server)
    numbers = run_killed(
        "sink",
        redis_server,
        tmp_path,
        lambda wanted: wanted <= set(map(int, client.lrange("copied", 0, -1))),
        seed=3,
    )

    copied = list(map(int, client.lrange("copied", 0, -1)))
    assert copied == list(range(len(copied)))
    assert len(copied) >= len(numbers)


class MakeSink:
    """Makes sinks that write in one way; picklable."""

    def __init__(self, server: RedisProcess, write: str) -> None:
        self.settings = (server.url, server.password, write)

    def __setstate__(self, state: dict[str, Any]) -> None:
        import redis  # noqa: F401  Once, for all of the kit's processes.

        self.__dict__.update(state)

    def __call__(self) -> RedisSink:
        """Return a sink."""
        url, password, write = self.settings
        record = {
            "hash": lambda r: (r["number"], r),
            "set": lambda r: (r["number"], r),
            "count": lambda r: (r["number"], 1),
            "list": None,
            "stream": None,
        }[write]
        return RedisSink(
            url, "copied:", write, record=record, password=password, timeout=5.0
        )


def read_back(client: Any, write: str) -> list[int]:
    """Return the numbers that are there."""
    match write:
        case "hash":
            return list(map(int, client.hkeys("copied:")))
        case "set":
            keys = client.keys("copied:*")
            return [json.loads(client.get(key))["number"] for key in keys]
        case "count":
            counts = client.hgetall("copied:")
            return [int(n) for n, often in counts.items() for _ in range(int(often))]
        case "list":
            return [json.loads(e)["number"] for e in client.lrange("copied:", 0, -1)]
        case _:
            return [int(f[b"number"]) for _, f in client.xrange("copied:")]


@pytest.mark.parametrize("write", ["count"])
def test_what_is_written_is_there_exactly_once(
    redis_server: RedisProcess, client: Any, write: str
) -> None:
    """Through crashes at every step, second attempts, and stale writers."""
    report = certify_sink(
        MakeSink(redis_server, write), lambda: read_back(client, write)
    )

    assert report.guarantee == "exactly once", str(report)


@pytest.mark.parametrize("write", ["hash", "count", "list", "stream", "set"])
def test_each_way_of_writing_writes_what_it_says(
    redis_server: RedisProcess, client: Any, write: str
) -> None:
    """Of the same records, through two batches."""
    records = [{"number": n, "text": str(n)} for n in range(6)]
    with StreamHarness() as h:
        sink = MakeSink(redis_server, write)()
        h.stream([records[:3], records[3:]]).writeTo(sink, name="numbers")
        h.run(batches=2)

    assert sorted(read_back(client, write)) == list(range(6))


def test_an_entry_has_a_dicts_fields_and_a_stream_keeps_so_many(
    redis_server: RedisProcess, client: Any
) -> None:
    """What is no dict is in the field `value`; older entries go."""
    sink = RedisSink(
        redis_server.url, "copied", "stream", maxlen=1, password=redis_server.password
    )
    with StreamHarness(master="local[1]") as h:
        h.stream([[{"n": 1, "text": "é"}, "to", 2.5]]).writeTo(sink, name="words")
        h.run(batches=1)

    found = [fields for _, fields in client.xrange("copied")]
    # About so many: whole nodes of a hundred entries are dropped.
    assert found == [
        {b"n": b"1", b"text": "é".encode()},
        {b"value": b"to"},
        {b"value": b"2.5"},
    ]


def test_a_group_that_vanishes_is_made_anew_and_reads_what_is_there(
    redis_server: RedisProcess, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it began with what was new."""
    conf = {"spark.streaming.receiverRestartDelay": "50"}
    with StreamHarness(conf=conf) as h:
        stream = RedisUtils.createStream(
            h.ssc,
            redis_server.url,
            "readers",
            ["a"],
            messageHandler=number_of,
            password=redis_server.password,
        )
        got = h.collect(stream)
        h._start()
        wait_until(lambda: has_group(client), "there is a group")
        add(client, "a", [1])
        run_until(h, got, {1})
        # In one step: the receiver doesn't see a stream without a group in between.
        pipe = client.pipeline(transaction=True)
        pipe.flushall()
        pipe.xadd("a", {"n": 2})
        pipe.execute()
        run_until(h, got, {1, 2})
        wait_until(lambda: not pending(client), "all are acknowledged")

    assert "group vanished, and was made anew" in caplog.text


def has_group(client: Any) -> bool:
    """Say whether the stream has its group."""
    return bool(client.exists("a")) and bool(client.xinfo_groups("a"))


def pending(client: Any) -> int:
    """Return how many entries aren't acknowledged."""
    return int(client.xpending("a", "readers")["pending"])


def run_until(h: StreamHarness, got: Any, wanted: set[int]) -> None:
    """Run batches until all of these have come."""

    def has_come() -> bool:
        h.run(batches=1)
        return wanted <= {number for batch in got.records for _, number in batch}

    wait_until(has_come, f"{wanted} have come")


def test_what_a_dead_member_left_pending_is_claimed(
    redis_server: RedisProcess, client: Any
) -> None:
    """After a while, by any other member."""
    add(client, "a", [1, 2])
    client.xgroup_create("a", "readers", "0")
    client.xreadgroup("readers", "dead", {"a": ">"}, count=1)
    with StreamHarness() as h:
        stream = RedisUtils.createStream(
            h.ssc,
            redis_server.url,
            "readers",
            ["a"],
            messageHandler=number_of,
            claimAfter=0.05,
            password=redis_server.password,
        )
        got = h.collect(stream)
        run_until(h, got, {1, 2})
        wait_until(lambda: not pending(client), "all are acknowledged")


def test_the_example_counts_words(tmp_path: Path) -> None:
    """As a user runs it."""
    with redis_process(tmp_path) as server:
        with server.client() as client:
            client.xadd("words", {"text": "hello stream"})
            client.xadd("words", {"text": "hello"})
        lines_until(
            ["('hello', 2)"],
            "redis_wordcount.py",
            server.url,
            "words",
            str(tmp_path / "checkpoint"),
        )


def test_the_example_adds_counts_up(
    redis_server: RedisProcess, client: Any, tmp_path: Path
) -> None:
    """As a user runs it."""
    url = redis_server.url.replace("//", f"//:{redis_server.password}@")
    with file_example("redis_sink.py", tmp_path, url, "words"):
        wait_until(lambda: client.hlen("words") == 2, "words are counted")

    assert client.hgetall("words") == {b"hello": b"2", b"stream": b"1"}


def test_a_key_of_another_type_fails_the_batch_and_nothing_is_written(
    redis_server: RedisProcess, client: Any
) -> None:
    """The mark isn't moved either: the batch is written when the key is right."""
    client.set("copied", "text")
    sink = RedisSink(redis_server.url, "copied", "list", password=redis_server.password)
    with StreamHarness() as h:
        h.stream([["to"], ["be"]]).writeTo(sink, name="words")
        with pytest.raises(EngineError, match="it is a string, not a list"):
            h.run(batches=1)
        client.delete("copied")
        h.run(batches=1)

    assert client.lrange("copied", 0, -1) == [b"to", b"be"]


def test_a_field_that_is_no_number_leaves_all_counts_as_they_were(
    redis_server: RedisProcess, client: Any
) -> None:
    """Counts that were added to before are set back."""
    client.hset("counts", mapping={"to": 5, "be": "many"})
    sink = RedisSink(
        redis_server.url, "counts", "count", password=redis_server.password
    )
    with StreamHarness(master="local[1]") as h:
        h.stream([[("to", 2), ("be", 1)]]).writeTo(sink, name="counts")
        with pytest.raises(EngineError, match="field be"):
            h.run(batches=1)

    assert client.hgetall("counts") == {b"to": b"5", b"be": b"many"}


def test_a_sink_whose_server_is_gone_writes_when_it_is_back(tmp_path: Path) -> None:
    """A batch fails with the server's name, and is written before the next one."""
    with redis_process(tmp_path) as server, StreamHarness() as h:
        sink = RedisSink(server.url, "copied", "list", timeout=0.3)
        h.stream([["to"], ["be"], ["or"]]).writeTo(sink, name="words")
        h.run(batches=1)
        with server.stalled(), pytest.raises(EngineError, match=server.url):
            h.run(batches=1)
        h.run(batches=1)
        with server.client() as client:
            assert client.lrange("copied", 0, -1) == [b"to", b"be", b"or"]
