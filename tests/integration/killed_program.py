"""The driver that tests kill: counts words of files, or of a receiver that acknowledges.

python killed_program.py files DIRECTORY
python killed_program.py receiver DIRECTORY PORT
python killed_program.py slow DIRECTORY
python killed_program.py sink DIRECTORY PORT

Says `ready` when everything is imported, begins when a line comes in, says `started`, and
`stopping` when it was asked to. What each batch puts out is in files of DIRECTORY/out, named after the output and the batch's time.
"""

import json
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle  # noqa: F401  Imported before the clock of a life runs.
import polars  # noqa: F401

from millstream import SparkConf, SparkContext, StorageLevel
from millstream.engine.base.errors import SparkError
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import Receiver
from millstream.streaming.sinks import SqliteSink
from millstream.streaming.state import StateSpec

BATCH_S = 0.1


def put_out(directory: str, name: str) -> Callable[[Any, Any], None]:
    """Return an output operation: a batch's records in a file of its own, atomically."""
    folder = Path(directory, "out")

    def output(time: Any, rdd: Any) -> None:
        ms = round(time.timestamp() * 1000)
        scratch = folder / f".{name}-{ms}-{os.getpid()}"
        scratch.write_text(json.dumps(rdd.collect()), encoding="utf-8")
        scratch.replace(folder / f"{name}-{ms}")

    return output


def add_up(new: list[int], total: int | None) -> int:
    """Return the total."""
    return sum(new) + (total or 0)


def number(word: str, one: int, state: Any) -> tuple[str, int]:
    """Number the occurrences of a word over the whole stream."""
    state.update((state.getOption() or 0) + one)
    return word, state.get()


def meet(identity: int, word: str, state: Any) -> tuple[int, str, int]:
    """Count how often a record came."""
    state.update((state.getOption() or 0) + 1)
    return identity, word, state.get()


def count_words(words: Any, directory: str) -> None:
    """Put out the words, their totals, and each one's number."""
    pairs = words.map(lambda word: (word, 1))
    words.foreachRDD(put_out(directory, "words"))
    pairs.updateStateByKey(add_up, 2).foreachRDD(put_out(directory, "totals"))
    spec = StateSpec.function(number).numPartitions(2)
    pairs.mapWithState(spec).foreachRDD(put_out(directory, "numbers"))


def of_files(ssc: StreamingContext, directory: str) -> None:
    """Count the words of files."""
    count_words(ssc.textFileStream(f"{directory}/in"), directory)


class AcknowledgingReceiver(Receiver[tuple[int, str]]):
    """Takes a list of [id, word] a line from a port; says the ids when they are stored."""

    def __init__(self, port: int) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)
        self.port = port
        self.connection: socket.socket | None = None

    def onStart(self) -> None:
        """Connect, and receive on a thread."""
        self.connection = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self._run, args=(self.connection,), daemon=True).start()

    def onStop(self) -> None:
        """Close the connection, which ends the thread."""
        if self.connection is not None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RD)

    def _run(self, connection: socket.socket) -> None:
        with connection, connection.makefile("r", encoding="ascii") as lines:
            for line in lines:
                block = [(identity, word) for identity, word in json.loads(line)]
                try:
                    self.store(block)
                except SparkError:
                    if self.isStopped():
                        return  # It isn't stored, so it isn't acknowledged.
                    raise
                identities = [identity for identity, _ in block]
                connection.sendall(json.dumps(identities).encode() + b"\n")


def of_receiver(ssc: StreamingContext, directory: str, port: int) -> None:
    """Count the words of records, each record once however often it came."""
    records = ssc.receiverStream(AcknowledgingReceiver(port))
    records.foreachRDD(put_out(directory, "records"))
    met = records.mapWithState(StateSpec.function(meet).numPartitions(2))
    met.foreachRDD(put_out(directory, "met"))
    new = met.filter(lambda each: each[2] == 1)
    count_words(new.map(lambda each: each[1]), directory)


def of_sink(ssc: StreamingContext, directory: str, port: int) -> None:
    """Count the words of records, and put each record into a table, once."""
    records = ssc.receiverStream(AcknowledgingReceiver(port))
    met = records.mapWithState(StateSpec.function(meet).numPartitions(2))
    new = met.filter(lambda each: each[2] == 1).map(lambda each: (each[0], each[1]))
    sink = SqliteSink(f"{directory}/records.db", "records")
    new.writeTo(sink, name="records", columns=["identity", "word"])
    count_words(new.map(lambda each: each[1]), directory)


def of_slow_output(ssc: StreamingContext, directory: str) -> None:
    """Count the words of files; a batch with words lasts until the gate is opened."""

    def wait(rdd: Any) -> None:
        if not rdd.isEmpty():
            print("working", flush=True)
            # A pipe: blocks until there is a writer.
            Path(directory, "gate").read_bytes()

    words = ssc.textFileStream(f"{directory}/in")
    words.foreachRDD(wait)
    count_words(words, directory)


def say_when_stopping(record: logging.LogRecord) -> bool:
    """Print `stopping` in place of the log's line; a filter."""
    if record.getMessage().startswith("told to end"):
        print("stopping", flush=True)
    return record.levelno >= logging.ERROR


def main(kind: str, directory: str, *port: str) -> None:
    """Go on where the last one was killed."""
    conf = SparkConf().setMaster("local[2]").setAppName("killed")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.stopGracefullyOnShutdown", "true")
    # Seconds: what a machine with other work to do may need for ten batches.
    conf.set("spark.streaming.gracefulStopTimeout", "30s")

    def setup() -> StreamingContext:
        ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
        match kind:
            case "files":
                of_files(ssc, directory)
            case "slow":
                of_slow_output(ssc, directory)
            case "sink":
                of_sink(ssc, directory, int(port[0]))
            case _:
                of_receiver(ssc, directory, int(port[0]))
        return ssc

    print("ready", flush=True)
    sys.stdin.readline()
    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup)
    ssc.start()
    logger = logging.getLogger("millstream.streaming.context")
    logger.setLevel(logging.INFO)
    logger.addFilter(say_when_stopping)
    print("started", flush=True)
    ssc.awaitTermination()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
