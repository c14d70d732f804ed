"""Writes the lines of a directory's files to Parquet files, each exactly once.

millstream run examples/parquet_sink.py DIRECTORY OUT CHECKPOINT_DIRECTORY

Move text files into DIRECTORY. OUT may be a directory or a URI such as s3://bucket/lines. Read
it meanwhile with:

polars.read_parquet(millstream.streaming.sinks.read_manifest(OUT).paths(), hive_partitioning=True)
"""

import datetime
import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.sinks import ParquetSink


def record(line):
    """Return a line as a row of the table."""
    return {"day": datetime.date.today().isoformat(), "line": line, "length": len(line)}


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="ParquetSink"), 1)
    records = ssc.textFileStream(directory).map(record)
    # Files of some 64 MB; what is less waits for ten minutes, or for the program's end.
    sink = ParquetSink(out, partition_by=["day"], target_bytes=64 << 20, carry_s=600)
    records.writeTo(sink, name="lines")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: parquet_sink.py DIRECTORY OUT CHECKPOINT_DIRECTORY")
    directory, out, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
