"""Keeps what each customer has spent, from a Kafka topic in a PostgreSQL table, exactly once.

pip install 'millstream[kafka,postgres]'
PGPASSWORD=... millstream run examples/kafka_to_postgres.py DIRECTORY SERVERS TOPIC DSN

A record of the topic is an order: {"customer": "ann", "cents": 1250}. DIRECTORY has the
checkpoint, and the records that are no orders. DSN says how to connect, such as
postgresql://me@localhost/shop; the table `spent` is made.
"""

import json
import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.bad_records import DeadLetters
from millstream.streaming.kafka import KafkaUtils
from millstream.streaming.sinks import PostgresSink
from millstream.streaming.state import StateSpec


def read(pair):
    """Return the customer and the cents of an order; its key in Kafka isn't needed."""
    order = json.loads(pair[1])
    return order["customer"], order["cents"]


def add_up(customer, cents, known):
    """Count an order in, and return the customer's row."""
    orders, total = known.get() if known.exists() else (0, 0)
    known.update((orders + 1, total + cents))
    return customer, orders + 1, total + cents


def setup():
    """Build the stream; with a checkpoint it goes on from there."""
    ssc = StreamingContext(SparkContext(appName="KafkaToPostgres"), 1)
    params = {"bootstrap.servers": servers, "auto.offset.reset": "smallest"}
    records = KafkaUtils.createDirectStream(ssc, [topic], params)
    bad = DeadLetters(f"{directory}/dead-letters")
    orders = records.onError(bad, name="orders").map(read)
    spent = orders.mapWithState(StateSpec.function(add_up)).named("spent")
    table = PostgresSink(dsn, "spent", mode="upsert", key=["customer"])
    spent.writeTo(table, name="spent", columns=["customer", "orders", "cents"])
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: kafka_to_postgres.py DIRECTORY SERVERS TOPIC DSN")
    directory, servers, topic, dsn = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(
        f"{directory}/checkpoint", setup, upgrade="apply"
    )
    ssc.start()
    ssc.awaitTermination()
