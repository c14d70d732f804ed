"""Puts out Kafka's records, then commits how far for a group, without a checkpoint.

pip install 'millstream[kafka]'
millstream run examples/kafka_commits.py 127.0.0.1:9092 lines my-group

The arguments are a broker, a topic that is there, and a group of consumers. Each record is
put out at least once: a restart begins where the group has committed.
"""

import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.kafka010 import (
    ConsumerStrategies,
    KafkaUtils,
    LocationStrategies,
)

if len(sys.argv) != 4:
    sys.exit("usage: kafka_commits.py SERVERS TOPIC GROUP")
servers, topic, group = sys.argv[1:]

ssc = StreamingContext(SparkContext(appName="KafkaCommits"), 1)
params = {
    "bootstrap.servers": servers,
    "group.id": group,
    "auto.offset.reset": "earliest",
}
records = KafkaUtils.createDirectStream(
    ssc,
    LocationStrategies.PreferConsistent,
    ConsumerStrategies.Subscribe([topic], params),
)


def committed(offsets, error):
    """Say what the group has now; called some batch later."""
    print("committed", sorted(offsets.values()), error or "")


def put_out(rdd):
    """Print the records, and only then commit."""
    for record in rdd.collect():
        print(record.topic, record.partition, record.offset, record.value)
    records.commitAsync(rdd.offsetRanges(), committed)


records.foreachRDD(put_out)
ssc.start()
ssc.awaitTermination()
