"""Counts the words of objects as they appear in a bucket.

millstream run examples/s3_wordcount.py s3://BUCKET/PREFIX

BUCKET is there, and text is put below PREFIX while this runs. Credentials are taken
from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region from AWS_REGION; for a server
that isn't Amazon's, its address from AWS_ENDPOINT_URL.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: s3_wordcount.py s3://BUCKET/PREFIX")
    ssc = StreamingContext(SparkContext(appName="S3WordCount"), 1)
    counts = (
        ssc.textFileStream(sys.argv[1])
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()
    ssc.start()
    ssc.awaitTermination()
