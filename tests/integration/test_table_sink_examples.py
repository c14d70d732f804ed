"""The examples of the sinks for tables run, and write what they say."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from tests.integration.servers.postgres import PASSWORD, postgres_server
from tests.integration.sink_batches import without_iceberg_threads

pytestmark = pytest.mark.slow

_EXAMPLES = Path(__file__).parents[2] / "examples"
_WAIT_S = 90
_QUERY = "SELECT count(*) FROM words WHERE word = 'stream'"


@pytest.mark.timeout(120)
def test_each_example_writes_its_table(tmp_path: Path) -> None:
    """All at once: files appear until each table has a word of theirs."""
    watched = tmp_path / "watched"
    watched.mkdir()
    with ExitStack() as stack:
        stack.enter_context(without_iceberg_threads())
        server = stack.enter_context(postgres_server())
        targets = {
            "postgres": server.dsn.replace(f":{PASSWORD}", ""),
            "sqlite": str(tmp_path / "words.db"),
            "duckdb": str(tmp_path / "words.duckdb"),
            "delta": str(tmp_path / "delta"),
            "iceberg": str(tmp_path / "warehouse"),
        }
        readers: dict[str, Callable[[str], bool]] = {
            "postgres": lambda _dsn: _is_in_postgres(server.dsn),
            "sqlite": _is_in_sqlite,
            "duckdb": _is_in_duckdb,
            "delta": _is_in_delta,
            "iceberg": _is_in_iceberg,
        }
        programs = {
            name: stack.enter_context(_running(name, watched, tmp_path, target))
            for name, target in targets.items()
        }
        missing = set(targets)
        until_s = time.monotonic() + _WAIT_S
        for number in range(10_000):
            scratch = tmp_path / "file"
            scratch.write_text("hello stream hello\n")
            scratch.rename(watched / f"{number}.txt")
            missing = {name for name in missing if not readers[name](targets[name])}
            if not missing:
                break
            codes = {name: program.poll() for name, program in programs.items()}
            assert set(codes.values()) == {None}, f"ended by themselves: {codes}"
            assert time.monotonic() < until_s, f"nothing is in {missing}"
            time.sleep(0.2)
        for program in programs.values():
            program.send_signal(signal.SIGTERM)
        for program in programs.values():
            assert program.wait(30) in {0, -signal.SIGTERM, 143}

    assert not missing


def _running(
    name: str, watched: Path, directory: Path, target: str
) -> "subprocess.Popen[bytes]":
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                str(_EXAMPLES / f"{name}_sink.py"),
                str(watched),
                str(directory / f"{name}-checkpoint"),
                target,
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )


def _is_in_postgres(dsn: str) -> bool:
    query = "SELECT count(*) FROM totals WHERE word = 'stream' AND total > 0"
    with suppress(psycopg.Error), psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchone() == (1,)
    return False


def _is_in_sqlite(path: str) -> bool:
    with closing(sqlite3.connect(path)) as database, suppress(sqlite3.Error):
        found: int = database.execute(_QUERY).fetchone()[0]
        return found > 0
    return False


def _is_in_duckdb(path: str) -> bool:
    if not Path(path).exists():
        return False
    with (
        suppress(duckdb.Error),
        closing(duckdb.connect(path, read_only=True)) as database,
    ):
        found = database.execute(_QUERY).fetchall()[0][0]
        return bool(found > 0)
    return False


def _is_in_delta(uri: str) -> bool:
    if not DeltaTable.is_deltatable(uri):
        return False
    table = DeltaTable(uri).to_pyarrow_table()
    return "word" in table.column_names and "stream" in table["word"].to_pylist()


def _is_in_iceberg(directory: str) -> bool:
    if not Path(directory, "demo", "words", "data").exists():
        return False
    settings = {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}",
    }
    with closing(load_catalog("default", **settings)) as catalog:
        table = catalog.load_table("demo.words").scan().to_arrow()
    return "word" in table.column_names and "stream" in table["word"].to_pylist()
