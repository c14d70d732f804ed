"""Counts words by SQL, every second, and lets the newest batch be queried meanwhile.

python examples/line_server.py 9999 some_text.txt &
millstream run examples/sql_words.py localhost 9999

Needs: pip install 'millstream[sql]'
"""

import sys

from pyspark import SparkContext
from pyspark.sql import Row, SparkSession
from pyspark.streaming import StreamingContext


def count(time, rdd):
    """Show the words of a batch, the most frequent first."""
    if rdd.isEmpty():
        return
    print(f"========= {time} =========")
    spark = SparkSession.builder.config(conf=rdd.context.getConf()).getOrCreate()
    words = spark.createDataFrame(rdd.map(lambda word: Row(word=word)))
    words.createOrReplaceTempView("words")
    spark.sql(
        """
        select word, count(*) as total from words
        group by word order by total desc, word limit 10
        """
    ).show()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: sql_words.py HOST PORT")
    sc = SparkContext(appName="SqlWords")
    ssc = StreamingContext(sc, 1)

    lines = ssc.socketTextStream(sys.argv[1], int(sys.argv[2]))
    lines.flatMap(lambda line: line.split(" ")).foreachRDD(count)

    ssc.start()
    ssc.awaitTermination()
