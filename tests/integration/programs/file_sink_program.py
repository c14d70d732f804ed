"""The driver that a test kills: numbers of text files, committed to Parquet files.

python file_sink_program.py DIRECTORY
"""

import sys
from pathlib import Path

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.files.sinks import ParquetSink
from millstream.streaming import StreamingContext

DIRECTORY = Path(sys.argv[1])


def build() -> StreamingContext:
    """Return the program."""
    conf = SparkConf().setMaster("local[2]").setAppName("numbers")
    ssc = StreamingContext(SparkContext(conf=conf), 0.5)
    ssc.checkpoint(str(DIRECTORY / "checkpoint"))
    lines = ssc.fileStream(str(DIRECTORY / "in"), newFilesOnly=False)
    numbers = lines.map(lambda line: {"number": int(line)})
    numbers.writeTo(ParquetSink(DIRECTORY / "out", target_bytes=3000), name="numbers")
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(str(DIRECTORY / "checkpoint"), build)
    ssc.start()
    ssc.awaitTermination()
