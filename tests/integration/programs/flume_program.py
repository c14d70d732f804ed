"""A program that writes down each event of Flume; a test kills it.

flume_program.py DIRECTORY push|polling PORT
"""

import logging
import sys
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.flume import FlumeUtils


def write_down(directory: Path, time: Any, rdd: Any) -> None:
    """Write a batch to a file of its own: one that runs again writes it again."""
    records = rdd.collect()
    if records:
        file = directory / f"batch-{time.timestamp():.3f}"
        file.with_suffix(".part").write_text("\n".join(body for _, body in records))
        file.with_suffix(".part").rename(file)


def setup() -> StreamingContext:
    """Build the stream."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("killed")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.receiverRestartDelay", "200")
    conf.set("spark.streaming.stopGracefullyOnShutdown", "true")
    ssc = StreamingContext(SparkContext(conf=conf), 0.2)
    out, kind, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if kind == "push":
        events = FlumeUtils.createStream(ssc, "127.0.0.1", port)
    else:
        addresses = [("127.0.0.1", port)]
        events = FlumeUtils.createPollingStream(
            ssc, addresses, maxBatchSize=20, parallelism=2
        )
    events.foreachRDD(lambda time, rdd: write_down(out, time, rdd))
    return ssc


if __name__ == "__main__":
    logging.basicConfig()
    ssc = StreamingContext.getOrCreate(f"{sys.argv[1]}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
