"""Memory of SQL over thousands of queries: what the driver and its engine hold at the end."""

import gc

import psutil
from measuring import Benchmark

_QUERIES = 5_000
_SETTLE = 200
_ROWS = 1_000
_LOOK_EVERY = 100


def sql_soak_mb() -> float:
    """Return by how many MB both have grown since they settled, after 5,000 queries."""
    from millstream import SparkContext
    from millstream.sql import Row, SparkSession

    def held() -> int:
        gc.collect()
        # What is about to end is no longer held: the process that takes queries counts.
        return int(psutil.Process().memory_info().rss) + backend.memory_bytes

    def batch(number: int) -> None:
        rows = [Row(word=f"w{number % 7}-{each % 100}") for each in range(_ROWS)]
        session.createDataFrame(rows).createOrReplaceTempView("words")
        query = "select word, count(*) as total from words group by word"
        assert len(session.sql(query).collect()) == min(_ROWS, 100)

    with SparkContext("local[2]", "soak") as sc:
        session = SparkSession(sc)
        backend = session._backend
        for number in range(_SETTLE):
            batch(number)
        settled = held()
        most = settled
        for number in range(_QUERIES):
            batch(number)
            if number % _LOOK_EVERY == 0:
                most = max(most, held())
        grown = held() - settled
        sql_soak.notes["settled"] = f"{settled >> 20} MB"
        sql_soak.notes["most between"] = f"+{(most - settled) >> 20} MB"
        sql_soak.notes["processes replaced"] = f"{backend.replaced_count}"
    return grown / (1 << 20)


sql_soak = Benchmark(
    name="sql.soak",
    what="5,000 queries of 1,000-row batches: growth of driver and engine since they "
    "settled",
    unit="MB",
    limit=300.0,
    measure=sql_soak_mb,
    runs=1,
)

BENCHMARKS = [sql_soak]
