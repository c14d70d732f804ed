"""A query a batch: a frame of an RDD, a view, a query, its rows; PySpark and DuckDB beside."""

import sys
from collections.abc import Callable

import contests
from measuring import Benchmark
from repeats import Contest, Program, Rounds, cpu, ours, peer, wall

_OURS = "millstream, local[2]"
_PYSPARK = "pyspark, local[2]"
_DUCKDB = "duckdb"


def _contest(case: str) -> Contest:
    def duckdb() -> Program:
        program = str(contests.PROGRAMS / "duck_queries.py")
        return Program([sys.executable, program, case, "5", "30"], {})

    return {
        _OURS: ours("queries.py", case, "local[2]", 10, 30),
        _DUCKDB: duckdb,
        # Its JVM has compiled what it will by then; a large batch takes it a minute.
        _PYSPARK: peer("queries.py", case, "local[2]", *_times(case)),
    }


def _times(case: str) -> tuple[int, int]:
    return (10, 20) if case == "small" else (1, 2)


_small = Rounds("sql-small", lambda: _contest("small"))
_large = Rounds("sql-large", lambda: _contest("large"))


def _measured(rounds: Rounds, name: str, what: str, limit: float) -> Benchmark:
    def cpu_ms() -> float:
        return cpu(rounds.next(benchmark)[_OURS]) * 1000

    benchmark = Benchmark(name, what, "ms", limit, cpu_ms, runs=3)
    return benchmark


def _beside(rounds: Rounds, name: str, what: str, theirs: str) -> Benchmark:
    def ratio() -> float:
        taken = rounds.next(benchmark)
        how: Callable[..., float] = cpu if theirs == _PYSPARK else wall
        return how(taken[theirs]) / how(taken[_OURS])

    benchmark = Benchmark(name, what, "x", None, ratio, runs=3)
    return benchmark


_CASE = "frame, view, query and rows of a batch of"

BENCHMARKS = [
    _measured(_small, "sql.small", f"{_CASE} 1,000 objects: CPU, the engine's too", 20),
    _measured(
        _large, "sql.large", f"{_CASE} 1,000,000 records in columns: CPU, as above", 200
    ),
    _beside(
        _small, "sql.beside.small", f"{_CASE} 1,000: PySpark's CPU / ours", _PYSPARK
    ),
    _beside(
        _large, "sql.beside.large", f"{_CASE} 1,000,000: PySpark's CPU / ours", _PYSPARK
    ),
    _beside(
        _small,
        "sql.duckdb.small",
        f"{_CASE} 1,000: plain DuckDB's time / ours",
        _DUCKDB,
    ),
    _beside(
        _large,
        "sql.duckdb.large",
        f"{_CASE} 1,000,000: plain DuckDB's time / ours",
        _DUCKDB,
    ),
]
