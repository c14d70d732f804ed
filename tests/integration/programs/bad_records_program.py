"""A program some of whose records are bad, to be killed: DIRECTORY.

Numbers go to a table; some are bad, until they are in the file `corrected`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testing.certified_sinks import Right

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.bad_records import DeadLetters
from millstream.streaming.direct import BatchPlan, DirectSource

NUMBERS = 1200
BATCH = 60
BATCH_S = 0.2


def is_bad(number: int) -> bool:
    """Say whether a number is bad before it is corrected."""
    return number % 7 == 3


@dataclass(frozen=True)
class Span:
    """Numbers from one to before another."""

    start: int
    until: int


class Numbers(DirectSource[Span, int]):
    """Some numbers a batch, in two ranges."""

    range_type = Span

    def plan(self, batch: BatchPlan[Span]) -> Sequence[Span]:
        """Return the next ones."""
        start = batch.previous[-1].until if batch.previous else 0
        middle = min(NUMBERS, start + BATCH // 2)
        until = min(NUMBERS, start + BATCH)
        return [Span(start, middle), Span(middle, until)] if until > start else []

    def read(self, of: Span) -> Iterator[int]:
        """Yield them."""
        yield from range(of.start, of.until)


class Parse:
    """Makes a row of a number."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def __call__(self, number: int) -> dict[str, int]:
        """Return the row, or raise."""
        if is_bad(number):
            file = Path(self.directory) / "corrected"
            if not file.exists() or str(number) not in file.read_text().split():
                msg = f"{number} is bad"
                raise ValueError(msg)
        return {"number": number}


def main(directory: str) -> None:
    """Run until it is stopped."""

    def build() -> StreamingContext:
        conf = SparkConf().setMaster("local[2]").setAppName("bad records")
        ssc = StreamingContext(SparkContext.getOrCreate(conf), BATCH_S)
        numbers = ssc.directStream(Numbers())
        marked = numbers.onError(DeadLetters(f"{directory}/dead"), name="parse")
        marked.map(Parse(directory)).writeTo(Right(f"{directory}/out.db"), name="rows")
        ssc.checkpoint(f"{directory}/checkpoint")
        return ssc

    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", build)
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    main(sys.argv[1])
