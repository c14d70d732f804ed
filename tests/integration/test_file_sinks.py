"""File sinks: crashed at every step, on this machine and on an S3 server; killed programs."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec.implementations.arrow
import polars as pl
import pyarrow.fs
import pyarrow.parquet
import pytest
from tests.integration.killing import run_with_kills
from tests.integration.servers.s3 import s3_server

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.remote_storage import remote_storage
from millstream.engine.base.storage import open_storage
from millstream.engine.sinks.contract import Sink
from millstream.engine.sinks.files.reading import read_manifest
from millstream.engine.sinks.files.sinks import CsvSink, JsonSink, ParquetSink, TextSink
from millstream.testing.certify import certify_sink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROGRAM = Path(__file__).parent / "programs" / "file_sink_program.py"
IMPORTED = (fsspec.implementations.arrow, pyarrow.fs, pyarrow.parquet)
"""What a writer takes: imported once, before the kit forks its writers."""


def _parquet(paths: list[str]) -> list[int]:
    return pl.read_parquet(paths)["number"].to_list()


def _json(paths: list[str]) -> list[int]:
    return pl.scan_ndjson(paths).collect()["number"].to_list()


def _csv(paths: list[str]) -> list[int]:
    return pl.scan_csv(paths).collect()["number"].to_list()


def _text(paths: list[str]) -> list[int]:
    texts = [Path(each).read_text("utf-8") for each in paths]
    return [int(line.split(",")[0].split()[1]) for line in "".join(texts).splitlines()]


@pytest.mark.parametrize(
    ("make", "read"),
    [(ParquetSink, _parquet), (JsonSink, _json), (CsvSink, _csv), (TextSink, _text)],
)
def test_each_is_certified(
    tmp_path: Path,
    make: Callable[..., Sink[Any]],
    read: Callable[[list[str]], list[int]],
) -> None:
    """Exactly once, with files of all kinds: large, carried, and merged."""
    directory = str(tmp_path / "out")

    def make_sink(_imported: object = IMPORTED) -> Sink[Any]:
        return make(directory, target_bytes=3000)

    def read_back() -> list[int]:
        found = read_manifest(directory)
        found.check()
        return read(found.paths()) if found.files else []

    report = certify_sink(make_sink, read_back)

    assert report.guarantee == "exactly once", str(report)
    files = read_manifest(directory).files
    assert any(each.level for each in files if each.is_final)


@pytest.fixture(name="store")
def store_on_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `s3:` be a server on loopback."""
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        remote_storage.cache_clear()
        yield
        remote_storage.cache_clear()


def _lines(uris: list[str], known: dict[str, list[str]]) -> list[str]:
    """Return the lines of files, which never change: `known` has those of some."""
    for uri in uris:
        if uri not in known:
            storage, path = open_storage(uri)
            with storage.open_input(path) as source:
                known[uri] = source.read().decode().splitlines()
    return [line for uri in uris for line in known[uri]]


def test_one_is_certified_on_an_object_store(store: None) -> None:
    """Where nothing is renamed: the server has an entry written once."""
    uri = "s3://bucket/certified"
    known: dict[str, list[str]] = {}

    def make_sink(_imported: object = IMPORTED) -> Sink[Any]:
        return TextSink(uri, target_bytes=1000)

    def read_back() -> list[int]:
        lines = _lines(read_manifest(uri).paths(), known)
        return [int(line.split(",")[0].split()[1]) for line in lines]

    report = certify_sink(make_sink, read_back)

    assert report.guarantee == "exactly once", str(report)
    storage, path = open_storage(uri)
    seen = [f"s3://{info.path}" for info in storage.list(path) if not info.is_dir]
    assert max(Counter(_lines(seen, known)).values()) == 1


def test_a_killed_program_commits_each_line_once(tmp_path: Path) -> None:
    """Lines of a directory to Parquet, killed at random and started again."""
    incoming, out = tmp_path / "in", tmp_path / "out"
    incoming.mkdir()
    total = 40

    def drop(first: int, last: int) -> None:
        for number in range(first, last):
            hidden = incoming / f".{number}"
            hidden.write_text(f"{2 * number}\n{2 * number + 1}\n")
            hidden.rename(incoming / f"{number}.txt")

    def between(life: int) -> None:
        drop(10 * (life + 1), 10 * (life + 2))

    def is_done() -> bool:
        return _rows(out) >= 2 * total

    drop(0, 10)
    run_with_kills(
        PROGRAM,
        [str(tmp_path)],
        is_done,
        seed=3,
        life_s=(2.0, 3.5),
        between=between,
    )

    found = read_manifest(out)
    found.check()
    assert sorted(pl.read_parquet(found.paths())["number"]) == list(range(2 * total))
    # It ended well: readers that know of no manifest see all of it, too.
    seen = pl.read_parquet(str(out / "*.parquet"))
    assert sorted(seen["number"]) == list(range(2 * total))


def test_the_example_writes_parquet(tmp_path: Path) -> None:
    """Lines of files that are moved in, in folders by day."""
    incoming, out = tmp_path / "in", tmp_path / "out"
    incoming.mkdir()
    script = Path(__file__).parents[2] / "examples" / "parquet_sink.py"
    program = subprocess.Popen(
        [
            *[sys.executable, "-m", "millstream", "run", str(script)],
            *[str(incoming), str(out), str(tmp_path / "checkpoint")],
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
    )
    try:
        until_s = time.monotonic() + 60
        number = 0
        while not _rows(out):
            assert time.monotonic() < until_s, "nothing was committed"
            assert program.poll() is None, "the program ended by itself"
            (tmp_path / "lines").write_text("to be or not to be\n")
            (tmp_path / "lines").rename(incoming / f"lines-{number}")
            number += 1
            time.sleep(0.2)
    finally:
        program.terminate()
        program.wait()

    table = pl.read_parquet(read_manifest(out).paths(), hive_partitioning=True)
    assert set(table["line"]) == {"to be or not to be"}
    assert table.columns == ["line", "length", "day"]


def _rows(out: Path) -> int:
    try:
        return read_manifest(out).rows()
    except DurabilityError:
        return 0  # No run has begun yet.
