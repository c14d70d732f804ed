"""The driver that tests restart elsewhere: adds up records of a receiver that acknowledges.

millstream run restarted_program.py CHECKPOINT PORT

Says a line of JSON for each output of a batch: its name, the batch's time, its records.
"""

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from millstream import SparkConf, SparkContext, StorageLevel
from millstream.engine.base.errors import SparkError
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import Receiver
from millstream.streaming.state import StateSpec

BATCH_S = 0.5


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


def say(name: str) -> Callable[[Any, Any], None]:
    """Return an output operation that says a batch's records."""

    def output(time: Any, rdd: Any) -> None:
        said = {"name": name, "ms": round(time.timestamp() * 1000)}
        print(json.dumps({**said, "records": rdd.collect()}), flush=True)

    return output


def meet(identity: int, word: str, state: Any) -> tuple[int, str, int]:
    """Count how often a record came."""
    state.update((state.getOption() or 0) + 1)
    return identity, word, state.get()


def add_up(new: list[int], total: int | None) -> int:
    """Return the total."""
    return sum(new) + (total or 0)


def main(checkpoint: str, port: str) -> None:
    """Go on from the checkpoint, or begin."""
    conf = SparkConf().setAppName("restarted")
    # An object store can't append.
    for log in ("receiver", "driver"):
        conf.set(f"spark.streaming.{log}.writeAheadLog.closeFileAfterWrite", "true")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.stopGracefullyOnShutdown", "true")
    conf.set("spark.streaming.gracefulStopTimeout", "60s")

    def setup() -> StreamingContext:
        ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
        ssc.checkpoint(checkpoint)
        records = ssc.receiverStream(AcknowledgingReceiver(int(port)))
        met = records.mapWithState(StateSpec.function(meet).numPartitions(2))
        new = met.filter(lambda each: each[2] == 1)
        new.foreachRDD(say("new"))
        words = new.map(lambda each: (each[1], 1))
        words.updateStateByKey(add_up, 2).foreachRDD(say("totals"))
        return ssc

    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    main(*sys.argv[1:])
