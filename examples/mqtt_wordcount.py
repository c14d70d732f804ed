"""Counts the words of messages that are published to MQTT topics, every second.

millstream run examples/mqtt_wordcount.py BROKER_URL TOPIC CHECKPOINT_DIRECTORY

With `mosquitto` on this machine: BROKER_URL is tcp://localhost:1883, TOPIC perhaps words/#;
`mosquitto_pub -t words/a -q 1 -m 'hello stream'` publishes. The broker keeps what is
published while this program doesn't run, once it has run.
"""

import sys

from pyspark import SparkConf, SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.mqtt import MQTTUtils


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    conf = SparkConf().setAppName("MQTTWordCount")
    # What the broker has an acknowledgement for must outlive this program.
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    ssc = StreamingContext(SparkContext(conf=conf), 1)
    messages = MQTTUtils.createStream(ssc, broker_url, topic)
    counts = (
        messages.flatMap(lambda message: message.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: mqtt_wordcount.py BROKER_URL TOPIC CHECKPOINT_DIRECTORY")
    broker_url, topic, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
