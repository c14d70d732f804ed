"""A program that writes down each record of a stream; a test kills it.

kinesis_program.py DIRECTORY ENDPOINT STREAM
"""

import sys
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.kinesis import InitialPositionInStream, KinesisUtils


def write_down(directory: Path, time: Any, rdd: Any) -> None:
    """Write a batch to a file of its own: one that runs again writes it again."""
    records = rdd.collect()
    if records:
        file = directory / f"batch-{time.timestamp():.3f}"
        file.with_suffix(".part").write_text("\n".join(records))
        file.with_suffix(".part").rename(file)


def setup() -> StreamingContext:
    """Build the stream."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("killed")
    conf.set("spark.streaming.stopGracefullyOnShutdown", "true")
    ssc = StreamingContext(SparkContext(conf=conf), 0.2)
    out, endpoint, stream = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    records = KinesisUtils.createStream(
        ssc,
        "killed",
        stream,
        endpoint,
        "us-east-1",
        InitialPositionInStream.TRIM_HORIZON,
        1,
        fetchInterval=0.05,
    )
    records.foreachRDD(lambda time, rdd: write_down(out, time, rdd))
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(f"{sys.argv[1]}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
