"""Numbers of a JetStream stream, put into files: python nats_program.py DIRECTORY HOW URL.

HOW is `durable`, for a receiver whose numbers go to files, or `sink`, which reads directly and
publishes to the stream `copied`.
"""

import sys
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.jetstream.sink import JetStreamSink
from millstream.streaming import StreamingContext
from millstream.streaming.nats import NatsUtils

directory, how, url = sys.argv[1:]


def put(time: Any, rdd: Any) -> None:
    """Put a batch's numbers into a file of its own, atomically."""
    numbers = rdd.collect()
    name = f"{round(time.timestamp() * 1000)}"
    scratch = Path(directory, f".{name}")
    scratch.write_text(" ".join(numbers), "ascii")
    scratch.replace(Path(directory, "out", name))


def setup() -> StreamingContext:
    """Build the stream."""
    conf = SparkConf().setMaster("local[2]").setAppName("NatsProgram")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.receiverRestartDelay", "100")
    ssc = StreamingContext(SparkContext(conf=conf), 0.1)
    if how == "durable":
        numbers = NatsUtils.createStream(
            ssc, url, "numbers", "readers", fromSequence="earliest", ackWait=0.5
        )
    else:
        numbers = NatsUtils.createDirectStream(ssc, url, ["numbers"], "earliest")
    if how == "sink":
        numbers.writeTo(JetStreamSink(url, "copied", "copied.numbers"), name="copied")
    else:
        numbers.foreachRDD(put)
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
