"""The word count in PySpark's Structured Streaming, a file a batch, each counted anew.

structured.py DIRECTORY
"""

import sys

from marks import mark
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split


def tell(frame, _number: int) -> None:
    word = explode(split(col("value"), " ")).alias("word")
    mark("batch", frame.select(word).groupBy("word").count().count())


def main(directory: str) -> None:
    session = (
        SparkSession.builder.master("local[2]")
        .appName("bench")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    lines = (
        session.readStream.format("text")
        .option("maxFilesPerTrigger", 1)
        .load(directory)
    )
    mark("started")
    query = lines.writeStream.foreachBatch(tell).trigger(availableNow=True).start()
    query.awaitTermination()
    session.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
