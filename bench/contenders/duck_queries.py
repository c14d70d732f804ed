"""A query a batch for plain DuckDB, on Arrow tables.

duck_queries.py CASE WARM REPEATS
"""

import sys

import duckdb
import pyarrow as pa
from marks import mark, repeat

SMALL = 1_000
LARGE = 1_000_000
QUERY = "select word, sum(n)::bigint as total from words group by word"


def main(case: str, warm: str, repeats: str) -> None:
    connection = duckdb.connect(config={"threads": 2})
    if case == "small":
        objects = [(f"word{number % 100}", 1) for number in range(SMALL)]
    else:
        batch = pa.table(
            {
                "word": [f"word{number % 5000}" for number in range(LARGE)],
                "n": range(LARGE),
            }
        )

    def job():
        if case == "small":
            words, numbers = zip(*objects, strict=True)
            table = pa.table({"word": words, "n": numbers})
        else:
            table = batch
        connection.register("words", table)
        return sorted(list(row) for row in connection.sql(QUERY).fetchall())

    mark("started")
    repeat(job, int(warm), int(repeats))


if __name__ == "__main__":
    main(*sys.argv[1:])
