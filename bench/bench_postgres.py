"""Writing to PostgreSQL: CPU a row, the server's too, by a bare COPY's of the same rows."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from measuring import Benchmark

_ROWS = 300_000
_ROUNDS = 3
_CREATE = "CREATE TABLE bare (id bigint, name text, amount float8, at bigint)"


def _rows() -> list[dict[str, Any]]:
    return [
        {"id": n, "name": f"customer {n % 1000}", "amount": n * 0.37, "at": n * 1000}
        for n in range(_ROWS)
    ]


def _server_cpu_s(postmaster: int) -> float:
    """Return the CPU seconds of a server's processes."""
    ticks = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended.
        if int(fields[1]) == postmaster:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _ratio(
    make: Callable[[], tuple[Callable[[Any], None], Callable[[], Any]]],
) -> float:
    """Return the sink's CPU / that of `bare(cursor)`; `make` returns it, and pieces."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import psycopg
    from tests.integration.servers.postgres import postgres_server

    from millstream.engine.sinks.contract import SinkBatch
    from millstream.engine.sinks.postgres.sink import PostgresSink
    from millstream.engine.sinks.records import Records

    bare, pieces = make()
    with postgres_server() as server:
        sink = PostgresSink(server.dsn, "rows")
        run = sink.open("bench.rows", 1).run

        def cpu_s(work: Callable[[], object]) -> float:
            pid = server.process.pid
            begin = time.process_time() + _server_cpu_s(pid)
            work()
            return time.process_time() + _server_cpu_s(pid) - begin

        with closing(psycopg.connect(server.dsn)) as connection:
            connection.execute(_CREATE)
            connection.commit()

            def plainly() -> None:
                with connection.cursor() as cursor:
                    bare(cursor)
                connection.commit()

            taken = [0.0, 0.0]
            for turn in range(_ROUNDS + 1):
                batch = SinkBatch("bench.rows", turn + 1, 1, run)
                records: Records[Any] = Records(pieces())
                mine = cpu_s(lambda b=batch, r=records: sink.write(b, 0, r))
                theirs = cpu_s(plainly)
                if turn:  # The first one warms up.
                    taken[0] += mine
                    taken[1] += theirs
        sink.close()
    return taken[0] / taken[1]


def rows_ratio() -> float:
    """Return it for dicts, by COPY of the same dicts as psycopg's manual has it."""

    def make() -> tuple[Callable[[Any], None], Callable[[], Any]]:
        rows = _rows()

        def bare(cursor: Any) -> None:
            with cursor.copy("COPY bare (id, name, amount, at) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(tuple(row.values()))

        return bare, lambda: [rows]

    return _ratio(make)


def columns_ratio() -> float:
    """Return it for columns, by CSV of the same columns that Polars makes, and COPY."""

    def make() -> tuple[Callable[[Any], None], Callable[[], Any]]:
        import polars as pl

        from millstream.engine.columnar.blocks import Columns
        from millstream.engine.columnar.shapes import TEXT, DictOf, Kind, Plain

        frame = pl.DataFrame(_rows())
        whole, real = Plain(Kind.INT), Plain(Kind.FLOAT)
        shape = DictOf(tuple(frame.columns), (whole, TEXT, real, whole))

        def bare(cursor: Any) -> None:
            statement = "COPY bare FROM STDIN (FORMAT csv)"
            with cursor.copy(statement) as copy:
                for part in frame.iter_slices(50_000):
                    copy.write(part.write_csv(include_header=False))

        def pieces() -> Any:
            return [Columns(part, shape) for part in frame.iter_slices(50_000)]

        return bare, pieces

    return _ratio(make)


BENCHMARKS = [
    Benchmark(
        "sinks.postgres.rows",
        "PostgresSink, dicts: CPU, the server's too / psycopg's write_row of them",
        "x",
        1.3,
        rows_ratio,
        runs=3,
    ),
    Benchmark(
        "sinks.postgres.columns",
        "PostgresSink, columns: CPU, the server's too / a bare COPY of them as CSV",
        "x",
        1.3,
        columns_ratio,
        runs=3,
    ),
]
