"""Counts words in new records of a Kafka topic, each record once, also over restarts.

pip install 'millstream[kafka]'
millstream run examples/kafka_wordcount.py 127.0.0.1:9092 lines /data/checkpoint

The arguments are a broker, a topic that is there, whose records are lines of text, and where
to keep how far this is.
"""

import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.kafka import KafkaUtils

if len(sys.argv) != 4:
    sys.exit("usage: kafka_wordcount.py SERVERS TOPIC CHECKPOINT_DIRECTORY")
servers, topic, checkpoint = sys.argv[1:]


def setup():
    """Build the whole stream: only what is made in here can be restored."""
    ssc = StreamingContext(SparkContext(appName="KafkaWordCount"), 1)
    params = {"bootstrap.servers": servers, "auto.offset.reset": "smallest"}
    pairs = KafkaUtils.createDirectStream(ssc, [topic], params)
    words = pairs.map(lambda pair: pair[1]).flatMap(lambda line: line.split())
    words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b).pprint()
    return ssc


ssc = StreamingContext.getOrCreate(checkpoint, setup)
ssc.start()
ssc.awaitTermination()
