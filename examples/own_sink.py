"""Counts words of files, and commits each batch's counts by a sink of one's own.

millstream run examples/own_sink.py DIRECTORY DATABASE CHECKPOINT_DIRECTORY

DIRECTORY is watched: move text files into it. DATABASE is an SQLite file.
Whatever is killed when, its table `records` has each batch's counts once:
`sqlite3 DATABASE 'select data from records'`.
"""

import json
import sqlite3
import sys
from contextlib import closing, contextmanager

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import Opening, Sink, check_partitions, check_run

TABLES = """
create table if not exists records (data text);
create table if not exists marks (
    output text, partition integer, batch_ms integer, partitions integer, run integer,
    primary key (output, partition)
);
"""


class RecordsSink(Sink):
    """Records as JSON: those of a partition and its mark in one transaction."""

    def __init__(self, path):
        self.path = path

    @property
    def identity(self):
        """Where it writes, for errors."""
        return f"table 'records' of {self.path}"

    def open(self, output, run):
        """Raise the run's number: what an older run writes from now on is refused."""
        marks = "select max(run), max(batch_ms) from marks where output = ?"
        with self.transaction() as db:
            known, newest_ms = db.execute(marks, (output,)).fetchone()
            run = max(run, (known or 0) + 1)
            db.execute("update marks set run = ? where output = ?", (run, output))
            new = (output, -1, None, 0, run)  # Also where there is no mark yet.
            db.execute("insert or replace into marks values (?, ?, ?, ?, ?)", new)
        return Opening(run, newest_ms)

    def begin(self, batch):
        """Return the partitions that have this batch's mark."""
        marks = (
            "select partition, partitions from marks where output = ? and batch_ms = ?"
        )
        with self.transaction() as db:
            self.check(db, batch)
            rows = db.execute(marks, (batch.output, batch.time_ms)).fetchall()
        for _, partitions in rows:
            check_partitions(batch, partitions, self.identity)
        return [partition for partition, _ in rows]

    def write(self, batch, partition, records):
        """Commit a partition, unless it is there already."""
        rows = [(json.dumps(each),) for each in records]  # Before others have to wait.
        mark = "select batch_ms from marks where output = ? and partition = ?"
        with self.transaction() as db:
            self.check(db, batch)
            there = db.execute(mark, (batch.output, partition)).fetchone()
            if there is not None and there[0] >= batch.time_ms:
                return
            db.executemany("insert into records values (?)", rows)
            new = (batch.output, partition, batch.time_ms, batch.partitions, batch.run)
            db.execute("insert or replace into marks values (?, ?, ?, ?, ?)", new)

    def check(self, db, batch):
        """Refuse a run that a newer one has taken over from."""
        runs = "select max(run) from marks where output = ?"
        (run,) = db.execute(runs, (batch.output,)).fetchone()
        check_run(batch, run, self.identity)

    @contextmanager
    def transaction(self):
        """Return a connection; what is written by it is there wholly or not at all."""
        with closing(sqlite3.connect(self.path, 30, isolation_level=None)) as db:
            db.executescript(TABLES)
            db.execute("begin immediate")  # Only one at a time, from here on.
            yield db
            db.execute("commit")  # Closed without it, nothing of it is there.


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="OwnSink"), 1)
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    counts.writeTo(RecordsSink(database), name="counts")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: own_sink.py DIRECTORY DATABASE CHECKPOINT_DIRECTORY")
    directory, database, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
