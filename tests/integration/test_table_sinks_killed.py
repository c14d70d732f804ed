"""A program that is killed again and again writes each row to each table once."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from tests.integration.killing import run_with_kills
from tests.integration.programs.table_sinks_program import NUMBERS, catalog_of
from tests.integration.servers.postgres import PASSWORD, postgres_server
from tests.integration.sink_batches import without_iceberg_threads

pytestmark = pytest.mark.slow

_PROGRAM = Path(__file__).parent / "programs" / "table_sinks_program.py"


@pytest.mark.timeout(180)
def test_each_row_is_in_each_table_once_whenever_the_program_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed three times, it goes on from its checkpoint, which has no password."""
    monkeypatch.setenv("MILLSTREAM_SECRET_POSTGRES_PASSWORD", PASSWORD)
    directory = str(tmp_path)
    with without_iceberg_threads(), postgres_server() as server:

        def of_postgres() -> list[int]:
            with psycopg.connect(server.dsn) as connection:
                rows = connection.execute("SELECT number FROM numbers").fetchall()
            return [row[0] for row in rows]

        readers: dict[str, Callable[[], list[int]]] = {
            "postgres": of_postgres,
            "sqlite": lambda: _of_sqlite(directory),
            "duckdb": lambda: _of_duckdb(directory),
            "delta": lambda: _of_delta(directory),
            "iceberg": lambda: _of_iceberg(directory),
        }
        run_with_kills(
            _PROGRAM,
            [directory, server.dsn],
            # The last output of a batch.
            lambda: _is_there(directory) and len(_of_iceberg(directory)) >= NUMBERS,
            kills=3,
            life_s=(2.5, 5.0),
            limit_s=100,
        )
        found = {name: Counter(read()) for name, read in readers.items()}
        with psycopg.connect(server.dsn) as connection:
            newest = connection.execute("SELECT digit, number FROM newest").fetchall()

    expected = Counter(range(NUMBERS))
    assert {
        name: numbers == expected for name, numbers in found.items()
    } == dict.fromkeys(readers, True)
    assert sorted(newest) == [(digit, NUMBERS - 10 + digit) for digit in range(10)]
    checkpoints = [p for p in (tmp_path / "checkpoint").rglob("*") if p.is_file()]
    assert checkpoints
    assert not any(PASSWORD.encode() in path.read_bytes() for path in checkpoints)


def _is_there(directory: str) -> bool:
    return Path(directory, "warehouse", "tests", "numbers").exists()


def _of_sqlite(directory: str) -> list[int]:
    with closing(sqlite3.connect(f"{directory}/numbers.db")) as database:
        return [row[0] for row in database.execute("SELECT number FROM numbers")]


def _of_duckdb(directory: str) -> list[int]:
    with closing(duckdb.connect(f"{directory}/numbers.duckdb")) as database:
        return [n for (n,) in database.execute("SELECT number FROM numbers").fetchall()]


def _of_delta(directory: str) -> list[int]:
    numbers: list[int] = (
        DeltaTable(f"{directory}/delta").to_pyarrow_table()["number"].to_pylist()
    )
    return numbers


def _of_iceberg(directory: str) -> list[int]:
    with closing(load_catalog("default", **catalog_of(directory))) as catalog:
        table = catalog.load_table("tests.numbers").scan().to_arrow()
    return table["number"].to_pylist() if "number" in table.column_names else []
