"""A program that writes down each message of a broker; a test kills it.

mqtt_program.py DIRECTORY BROKER_URL TOPIC
"""

import sys
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.mqtt import MQTTUtils


def write_down(directory: Path, time: Any, rdd: Any) -> None:
    """Write a batch to a file of its own: one that runs again writes it again."""
    records = rdd.collect()
    if records:
        file = directory / f"batch-{time.timestamp():.3f}"
        file.with_suffix(".part").write_text("\n".join(records))
        file.with_suffix(".part").rename(file)


def setup() -> StreamingContext:
    """Build the stream."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("killed")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    conf.set("spark.streaming.receiverRestartDelay", "200")
    conf.set("spark.streaming.stopGracefullyOnShutdown", "true")
    ssc = StreamingContext(SparkContext(conf=conf), 0.2)
    out, url, topic = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    messages = MQTTUtils.createStream(ssc, url, topic, clientId="killed")
    messages.foreachRDD(lambda time, rdd: write_down(out, time, rdd))
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(f"{sys.argv[1]}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
