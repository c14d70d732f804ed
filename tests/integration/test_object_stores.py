"""Object stores: an S3 server's objects as input, and what happens when it fails."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.s3 import S3Server, s3_server
from tests.integration.servers.stalling import stalled

from millstream import SparkContext
from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import (
    DurabilityError,
    MissingDependencyError,
    TakenOverError,
)
from millstream.engine.base.remote_storage import remote_storage
from millstream.engine.base.storage import open_storage
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.sinks.files.reading import read_manifest
from millstream.engine.sinks.files.sinks import TextSink
from millstream.streaming import StreamingContext
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module", name="server")
def server_for_all() -> Iterator[S3Server]:
    """Return a running server."""
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def in_environment(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `s3:` be that server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    remote_storage.cache_clear()
    yield
    remote_storage.cache_clear()


def put(uri: str, text: str) -> None:
    """Put an object."""
    storage, path = open_storage(uri)
    storage.write_atomic(path, text.encode())


def until(done: Any, limit_s: float = 30.0) -> None:
    """Wait until `done()`."""
    end_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.02)


def test_objects_are_read_by_uri_prefix_and_pattern(sc: SparkContext) -> None:
    """Also compressed ones, and parts of large ones."""
    put("s3://bucket/read/a.txt", "one\ntwo\n")
    put("s3://bucket/read/b.txt", "three\n")
    put("s3://bucket/read/deeper/c.txt", "four\n")
    put("s3://bucket/read/_hidden", "none\n")

    assert sc.textFile("s3://bucket/read/a.txt").collect() == ["one", "two"]
    assert sorted(sc.textFile("s3a://bucket/read").collect()) == ["one", "three", "two"]
    assert sc.textFile("s3://bucket/read/*/c*").collect() == ["four"]
    assert sc.textFile("s3://bucket/read/a.txt", 4).collect() == ["one", "two"]


def test_a_directory_stream_follows_a_prefix() -> None:
    """New objects are read once; a filter and what was there before are as for files."""
    put("s3://bucket/stream/old.txt", "old\n")
    # The server tells whole seconds: what is older than this second is old.
    until(lambda: _age_ms("s3://bucket/stream/old.txt") > 2000)
    seen: list[str] = []
    with SparkContext("local[2]", "prefix") as sc:
        ssc = StreamingContext(sc, 0.3)
        lines = ssc.textFileStream("s3://bucket/stream/")
        lines.foreachRDD(lambda rdd: seen.extend(rdd.collect()))
        ssc.start()
        put("s3://bucket/stream/new.txt", "new\n")
        until(lambda: "new" in seen)
        put("s3://bucket/stream/newer.txt", "newer\n")
        until(lambda: "newer" in seen)
        ssc.stop(False, True)

    assert seen == ["new", "newer"]


def _age_ms(uri: str) -> int:
    storage, path = open_storage(uri)
    return SystemClock().now_ms() - storage.stat(path).modified_ms


def test_a_stream_goes_on_when_a_stalled_server_does(
    server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches meanwhile are empty, and what came meanwhile is read."""
    put("s3://bucket/stalled/first.txt", "first\n")
    seen: list[str] = []
    with SparkContext("local[2]", "stalled") as sc:
        ssc = StreamingContext(sc, 0.5)
        lines = ssc.fileStream("s3://bucket/stalled", newFilesOnly=False)
        lines.foreachRDD(lambda rdd: seen.extend(rdd.collect()))
        ssc.start()
        until(lambda: seen == ["first"])
        with stalled(server.process.pid):
            until(lambda: "can't list a directory" in caplog.text, 40)
        put("s3://bucket/stalled/second.txt", "second\n")
        until(lambda: seen == ["first", "second"])
        ssc.stop(False, False)


def test_of_many_writers_of_a_new_object_one_wins(server: S3Server) -> None:
    """The server decides: the others are told that it is there."""
    storage, path = open_storage("s3://bucket/new/object")
    won: list[int] = []

    def write(number: int) -> None:
        try:
            storage.write_new(path, str(number).encode())
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    with storage.open_input(path) as source:
        assert [int(source.read())] == won


def test_of_many_drivers_one_has_a_bucket_s_checkpoint() -> None:
    """The server decides who comes first; the others find out when they look."""
    claims: list[DriverClaim] = []
    failed: list[TakenOverError] = []

    def begin() -> None:
        try:
            claims.append(DriverClaim.take_over("s3://bucket/owned", "app"))
        except TakenOverError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    holding = 0
    for claim in claims:
        with suppress(TakenOverError):
            claim.check()
            holding += 1

    assert len(claims) + len(failed) == 4
    assert holding == 1
    storage, path = open_storage("s3://bucket/owned")
    assert len(storage.list(path)) == 1


def test_a_driver_notices_that_another_one_has_its_bucket() -> None:
    """Its stream stops, and a restart goes on with all that was there."""
    uri = "s3://bucket/taken-over"
    conf = {
        f"spark.streaming.{log}.writeAheadLog.closeFileAfterWrite": "true"
        for log in ("driver", "receiver")
    }

    def setup(h: StreamHarness) -> None:
        counts = h.stream([["a"]] * 9).map(lambda word: (word, 1))
        h.collect(counts.updateStateByKey(add_up, 1), "counts")

    with StreamHarness(checkpoint=uri, conf=conf, setup=setup) as h:
        h.run(2)
        DriverClaim.take_over(uri, "newer")
        h.clock.advance_ms(1000)
        with pytest.raises(TakenOverError, match="'s3://bucket/taken-over' was taken"):
            h.ssc.awaitTermination(30)
        h.restart()
        h.run(1)

        assert h.output("counts").records[-1] == [("a", 4)]


def add_up(new: list[int], total: int | None) -> int:
    """Return the total."""
    return sum(new) + (total or 0)


def test_a_bucket_that_is_not_there_is_named(sc: SparkContext) -> None:
    """In input, and by a sink when a run begins."""
    with pytest.raises((FileNotFoundError, OSError), match="absent"):
        sc.textFile("s3://absent/x").collect()
    with pytest.raises(OSError, match=r"'absent'.* NO_SUCH_BUCKET"):
        TextSink("s3://absent/out").open("app.out", 1)


def test_a_server_that_is_gone_is_named_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In some seconds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    remote_storage.cache_clear()
    storage, path = open_storage("s3://bucket/gone")
    with pytest.raises(DurabilityError, match=r"127\.0\.0\.1:9") as caught:
        storage.write_new(path, b"")
    assert "very-secret" not in "".join(
        map(str, (caught.value, caught.value.__notes__))
    )


def test_a_sink_sees_a_server_that_takes_no_conditions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is committed there."""
    from millstream.engine.base.errors import UnsupportedOperationError

    storage, _ = open_storage("s3://bucket/x")
    assert hasattr(storage, "_put_new")
    monkeypatch.setattr(storage, "_put_new", storage.write_atomic)
    with pytest.raises(UnsupportedOperationError, match="exactly once"):
        TextSink("s3://bucket/careless").open("app.out", 1)


def test_a_sink_on_a_store_needs_no_renames(server: S3Server, tmp_path: Path) -> None:
    """Batches to S3, read by their manifest, and by their names when it is closed."""
    rows: list[str] = []
    with SparkContext("local[2]", "stored") as sc:
        ssc = StreamingContext(sc, 0.3)
        queue = [sc.parallelize([f"{n}.a", f"{n}.b"], 2) for n in range(4)]
        sink = TextSink("s3://bucket/stored", target_bytes=1 << 20)
        ssc.queueStream(queue).writeTo(sink, name="lines")
        ssc.start()
        until(lambda: _rows("s3://bucket/stored") == 8)
        ssc.stop(False, True)
        rows = sc.textFile("s3://bucket/stored").collect()

    assert sorted(rows) == sorted(f"{n}.{name}" for n in range(4) for name in "ab")
    read_manifest("s3://bucket/stored").check()


def _rows(directory: str) -> int:
    try:
        return read_manifest(directory).rows()
    except DurabilityError:
        return 0


@pytest.mark.parametrize("scheme", ["gs", "abfs"])
def test_other_stores_say_what_is_missing(scheme: str) -> None:
    """Reading goes by Arrow; the condition needs the store's own package."""
    from millstream.engine.base.object_puts import conditional_put

    put_new = conditional_put(scheme)
    assert put_new is not None, "they can do it"
    with pytest.raises(MissingDependencyError, match=f"'{scheme}:'"):
        put_new("bucket/x", b"")


def test_the_example_counts_words_of_objects(tmp_path: Path) -> None:
    """Of those that appear while it runs."""
    script = Path(__file__).parents[2] / "examples" / "s3_wordcount.py"
    printed = tmp_path / "printed"
    with printed.open("wb") as out:
        program = subprocess.Popen(
            [
                *[sys.executable, "-m", "millstream", "run", str(script)],
                "s3://bucket/words",
            ],
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"},
            stdout=out,
        )
    numbers = itertools.count()

    def is_counted() -> bool:
        assert program.poll() is None, "the program ended by itself"
        put(f"s3://bucket/words/{next(numbers)}", "to be or not to be\n")
        time.sleep(0.2)
        return "('be', " in printed.read_text()

    try:
        until(is_counted, 60)
    finally:
        program.terminate()
        program.wait()
