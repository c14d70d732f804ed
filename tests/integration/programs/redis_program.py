"""Numbers of a Redis stream, put into files: python redis_program.py DIRECTORY HOW URL.

HOW is `group`, for a receiver whose numbers go to files, or `sink`, which reads directly and
writes to the list `copied`.
"""

import sys
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.redis import RedisSink
from millstream.streaming import StreamingContext
from millstream.streaming.redis import RedisUtils

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
    conf = SparkConf().setMaster("local[2]").setAppName("RedisProgram")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.receiverRestartDelay", "100")
    ssc = StreamingContext(SparkContext(conf=conf), 0.1)
    if how == "group":
        entries = RedisUtils.createStream(
            ssc, url, "readers", ["numbers"], fromIds="earliest", claimAfter=0.5
        )
    else:
        entries = RedisUtils.createDirectStream(ssc, url, ["numbers"], "earliest")
    numbers = entries.map(lambda entry: entry["number"])
    if how == "sink":
        numbers.writeTo(RedisSink(url, "copied", "list"), name="copied")
    else:
        numbers.foreachRDD(put)
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
