"""The state's update by hand: a full join of 1M totals with a batch's sums, in Polars."""

import polars as pl
from marks import mark
from stateful import BATCHES, KEYS, touched


def main() -> None:
    state = pl.DataFrame({"key": range(KEYS), "total": [1] * KEYS})
    batches = [
        pl.DataFrame({"key": touched(number), "new": 1})
        for number in range(BATCHES + 2)
    ]
    for number, batch in enumerate(batches):
        if number >= 2:
            mark("started" if number == 2 else "batch", state.height)
        new = batch.group_by("key").agg(pl.col("new").sum())
        state = state.join(new, on="key", how="full", coalesce=True).select(
            "key", pl.col("total").fill_null(0) + pl.col("new").fill_null(0)
        )
    mark("batch", state.height)


if __name__ == "__main__":
    main()
