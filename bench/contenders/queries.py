"""A query a batch for PySpark; PySpark and Millstream run the very same file.

queries.py CASE MASTER WARM REPEATS
"""

import sys
import tempfile
import warnings

from marks import mark, repeat
from pyspark import SparkContext
from pyspark.sql import Row, SparkSession

SMALL = 1_000
LARGE = 1_000_000
QUERY = "select word, sum(n) as total from words group by word"


def small(spark):
    """Make a frame of 1,000 objects and count them by word, as in foreachRDD."""
    words = [f"word{number % 100}" for number in range(SMALL)]
    batch = spark.sparkContext.parallelize(words, 2)

    def job():
        frame = spark.createDataFrame(batch.map(lambda word: Row(word=word, n=1)))
        frame.createOrReplaceTempView("words")
        return sorted(list(row) for row in spark.sql(QUERY).collect())

    return job


def large(spark):
    """The same of a million records of text, which Millstream has in columns."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"word{n % 5000} {n}\n" for n in range(LARGE))
        file.flush()
        lines = spark.sparkContext.textFile(file.name, 2)
        pairs = lines.map(lambda line: (line.split(" ")[0], int(line.split(" ")[1])))
        batch = pairs.persist()
        batch.count()

    def job():
        batch.toDF(["word", "n"]).createOrReplaceTempView("words")
        return sorted(list(row) for row in spark.sql(QUERY).collect())

    return job


def main(case: str, master: str, warm: str, repeats: str) -> None:
    context = SparkContext(master, "bench")
    context.setLogLevel("ERROR")
    spark = SparkSession.builder.getOrCreate()
    job = {"small": small, "large": large}[case](spark)
    mark("started")
    repeat(job, int(warm), int(repeats))
    spark.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
