"""What one would write by hand with Polars, a query a file.

frames.py CASE ENGINE FILE...
"""

import sys

import polars as pl
from marks import mark

LINE = pl.col("line")


def scan(file: str) -> pl.LazyFrame:
    """Return the lines of a file: the quickest way is a separator that can't occur."""
    return pl.scan_csv(
        file,
        has_header=False,
        separator="\x01",
        quote_char=None,
        schema={"line": pl.String},
    )


def words(lines: pl.LazyFrame) -> pl.LazyFrame:
    return (
        lines.select(LINE.str.split(" ").alias("word"))
        .explode("word")
        .group_by("word")
        .agg(pl.len())
    )


def grep(lines: pl.LazyFrame) -> pl.LazyFrame:
    return lines.filter(LINE.str.contains("needle", literal=True)).select(pl.len())


def _sums(sales: pl.LazyFrame) -> pl.LazyFrame:
    return (
        sales.filter((pl.col("price") > 100.0) & (pl.col("user") % 3 != 0))
        .group_by("country")
        .agg((pl.col("price") * pl.col("quantity")).sum().alias("total"))
    )


def csv(lines: pl.LazyFrame) -> pl.LazyFrame:
    names = ["id", "user", "price", "quantity", "country"]
    fields = LINE.str.split_exact(",", 4).struct.rename_fields(names).alias("fields")
    return _sums(
        lines.select(fields)
        .unnest("fields")
        .select(
            pl.col("user").cast(pl.Int64),
            pl.col("price").cast(pl.Float64),
            pl.col("quantity").cast(pl.Int64),
            "country",
        )
    )


def csv_list(lines: pl.LazyFrame) -> pl.LazyFrame:
    fields = pl.col("fields")
    return _sums(
        lines.select(LINE.str.split(",").alias("fields")).select(
            fields.list.get(1).cast(pl.Int64).alias("user"),
            fields.list.get(2).cast(pl.Float64).alias("price"),
            fields.list.get(3).cast(pl.Int64).alias("quantity"),
            fields.list.get(4).alias("country"),
        )
    )


def sums(lines: pl.LazyFrame) -> pl.LazyFrame:
    record = LINE.str.json_decode(pl.Struct({"price": pl.Float64}))
    return lines.select(record.struct.field("price").sum())


CASES = {"words": words, "grep": grep, "csv": csv, "csv_list": csv_list, "json": sums}


def result(case: str, frame: pl.DataFrame) -> float:
    if case == "words":
        return frame.height
    return frame.item() if frame.width == 1 else frame["total"].sum()


def main(case: str, engine: str, *files: str) -> None:
    mark("started")
    for file in files:
        frame = CASES[case](scan(file)).collect(engine=engine)
        mark("batch", result(case, frame))


if __name__ == "__main__":
    main(*sys.argv[1:])
