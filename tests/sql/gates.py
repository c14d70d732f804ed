"""Gates: queries that stay where they are until a test lets them go on."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from millstream.sql import SparkSession, functions, types

F: Any = functions
T: Any = types

WAIT_S = 20.0


class Gate:
    """A function of queries that stays in them until the gate is opened."""

    def __init__(self, directory: Path) -> None:
        self._opened = directory / "opened"
        self._entered = directory
        opened, entered = str(self._opened), str(directory)

        def stay(value: int) -> int:
            from pathlib import Path
            from time import sleep
            from uuid import uuid4

            (Path(entered) / f"in-{uuid4()}").touch()
            while not Path(opened).exists():
                sleep(0.005)
            return value

        self.stay: Any = F.udf(stay, T.LongType(), useArrow=False)

    def wait_for(self, count: int) -> None:
        """Wait until so many queries are in it."""
        until(lambda: len(list(self._entered.glob("in-*"))) >= count)

    def open(self) -> None:
        """Let all go on, and whoever comes later."""
        self._opened.touch()


@contextmanager
def running(
    spark: SparkSession, gate: Gate, count: int, tag: str | None = None
) -> Iterator[list[Future[Any]]]:
    """Have so many queries in the gate, all of them with a tag and a group of jobs."""

    def query() -> Any:
        if tag is not None:
            spark.addTag(tag)
            spark.sparkContext.setJobGroup(f"group of {tag}", "")
        try:
            return spark.range(1).select(gate.stay("id").alias("id")).collect()
        finally:
            if tag is not None:
                spark.clearTags()

    with ThreadPoolExecutor(count) as pool:
        try:
            futures = [pool.submit(query) for _ in range(count)]
            gate.wait_for(count)
            yield futures
        finally:
            gate.open()


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end, "it hasn't come to be"
        time.sleep(0.005)
