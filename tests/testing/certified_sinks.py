"""Sinks for the certification kit: one that is right, and some that are wrong in one way."""

import sqlite3
from collections.abc import Collection
from typing import Any

from millstream.streaming.sinks import Opening, Records, Sink, SinkBatch, StaleRunError

_TABLES = """
create table if not exists numbers (number integer);
create table if not exists marks (
    output text, part integer, batch_ms integer, parts integer, run integer,
    primary key (output, part)
);
"""


class Right(Sink[Any]):
    """Numbers in SQLite, each partition with its mark in one transaction."""

    fences = True
    marks_first = False
    has_marks = True

    def __init__(self, path: str) -> None:
        self.path = path

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        connection.executescript(_TABLES)
        return connection

    def open(self, output: str, run: int) -> Opening:
        """Keep the run."""
        connection = self._connect()
        connection.execute("begin immediate")
        known = "select max(run), max(batch_ms) from marks where output = ?"
        highest, newest = connection.execute(known, (output,)).fetchone()
        run = max(run, (highest or 0) + 1)
        connection.execute("update marks set run = ? where output = ?", (run, output))
        connection.execute(
            "insert or replace into marks values (?, -1, null, 0, ?)", (output, run)
        )
        connection.execute("commit")
        connection.close()
        return Opening(run, newest)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return what has this batch's mark, or a later one's."""
        connection = self._connect()
        rows = connection.execute(
            "select part from marks where output = ? and batch_ms >= ?",
            (batch.output, batch.time_ms),
        ).fetchall()
        connection.close()
        return [part for (part,) in rows] if self.has_marks else []

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write numbers and mark."""
        connection = self._connect()
        connection.execute("begin immediate")
        try:
            self._write(connection, batch, partition, records)
            connection.execute("commit")
        finally:
            connection.close()

    def _write(
        self,
        connection: sqlite3.Connection,
        batch: SinkBatch,
        partition: int,
        records: Records[Any],
    ) -> None:
        (run,) = connection.execute(
            "select max(run) from marks where output = ?", (batch.output,)
        ).fetchone()
        if self.fences and run > batch.run:
            msg = "replaced"
            raise StaleRunError(msg)
        mark = (batch.output, partition, batch.time_ms, batch.partitions, batch.run)
        there = connection.execute(
            "select 1 from marks where output = ? and part = ? and batch_ms >= ?",
            mark[:3],
        ).fetchone()
        if there is not None and self.has_marks:
            return
        connection.execute("insert or replace into marks values (?, ?, ?, ?, ?)", mark)
        if self.marks_first:
            connection.execute("commit")
            connection.execute("begin immediate")
        connection.executemany(
            "insert into numbers values (:number)",
            [{"number": row["number"]} for row in records],
        )


class WithoutMarks(Right):
    """Doesn't look whether a batch is there."""

    has_marks = False


class MarksFirst(Right):
    """Marks a batch in a transaction of its own, before its records."""

    marks_first = True


class WithoutFence(Right):
    """Lets a replaced writer write."""

    fences = False
