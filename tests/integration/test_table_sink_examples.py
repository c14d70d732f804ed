"""The examples of the sinks for tables run, and write what they say."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

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
_QUERY = "SELECT word, sum(count) FROM words GROUP BY word"


@pytest.mark.timeout(120)
def test_each_example_writes_its_table(tmp_path: Path) -> None:
    """All at once: files appear until each table has a word of theirs, as often as they."""
    watched = tmp_path / "watched"
    watched.mkdir()
    with ExitStack() as stack:
        stack.enter_context(without_iceberg_threads())
        server = stack.enter_context(postgres_server())
        targets = {
            "postgres_sink.py": server.dsn.replace(f":{PASSWORD}", ""),
            "sqlite_sink.py": str(tmp_path / "words.db"),
            "duckdb_sink.py": str(tmp_path / "words.duckdb"),
            "delta_sink.py": str(tmp_path / "delta"),
            "iceberg_sink.py": str(tmp_path / "warehouse"),
        }
        readers: dict[str, Callable[[str], dict[str, int]]] = {
            "postgres_sink.py": lambda _dsn: _in_postgres(server.dsn),
            "sqlite_sink.py": _in_sqlite,
            "duckdb_sink.py": _in_duckdb,
            "delta_sink.py": _in_delta,
            "iceberg_sink.py": _in_iceberg,
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
        found = {name: readers[name](targets[name]) for name in targets}

    for name, totals in found.items():
        assert totals["hello"] == 2 * totals["stream"] > 0, name


def _running(
    name: str, watched: Path, directory: Path, target: str
) -> "subprocess.Popen[bytes]":
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                str(_EXAMPLES / name),
                str(watched),
                str(directory / f"{name}-checkpoint"),
                target,
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )


def _in_postgres(dsn: str) -> dict[str, int]:
    with (
        suppress(psycopg.errors.UndefinedTable),
        psycopg.connect(dsn) as connection,
    ):
        return dict(connection.execute("SELECT word, total FROM totals").fetchall())
    return {}


def _in_sqlite(path: str) -> dict[str, int]:
    with (
        closing(sqlite3.connect(path)) as database,
        suppress(sqlite3.OperationalError),  # There is no table yet.
    ):
        return dict(database.execute(_QUERY).fetchall())
    return {}


def _in_duckdb(path: str) -> dict[str, int]:
    if not Path(path).exists():
        return {}
    with (
        suppress(duckdb.IOException, duckdb.CatalogException),  # It is being written.
        closing(duckdb.connect(path, read_only=True)) as database,
    ):
        return {word: int(count) for word, count in database.execute(_QUERY).fetchall()}
    return {}


def _in_delta(uri: str) -> dict[str, int]:
    if not DeltaTable.is_deltatable(uri):
        return {}
    return _totals(DeltaTable(uri).to_pyarrow_table())


def _in_iceberg(directory: str) -> dict[str, int]:
    if not Path(directory, "demo", "words", "data").exists():
        return {}
    settings = {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}",
    }
    with closing(load_catalog("default", **settings)) as catalog:
        return _totals(catalog.load_table("demo.words").scan().to_arrow())


def _totals(table: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    if "word" in table.column_names:
        for row in table.to_pylist():
            found[row["word"]] += row["count"]
    return found
