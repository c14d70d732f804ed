"""Numbers from 0 on go to a Kafka topic: python kafka_sink_program.py DIRECTORY SERVERS TOPIC COUNT."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.kafka.sink import KafkaSink
from millstream.streaming import StreamingContext
from millstream.streaming.direct import BatchPlan, DirectSource

directory, servers, topic, count = sys.argv[1:]


class Numbers(DirectSource[list[int], int]):
    """Some numbers a batch, in two ranges, as long as there are any."""

    def plan(self, batch: BatchPlan[list[int]]) -> Sequence[list[int]]:
        """Return the next numbers."""
        begin = batch.previous[-1][1] if batch.previous else 0
        ends = [min(begin + size, int(count)) for size in (4, 8)]
        return [[begin, ends[0]], [ends[0], ends[1]]]

    def read(self, of: list[int]) -> Iterable[int]:
        """Return the numbers of a range."""
        return range(*of)


def setup() -> StreamingContext:
    """Build the stream."""
    conf = SparkConf().setMaster("local[2]").setAppName("KafkaSinkProgram")
    ssc = StreamingContext(SparkContext(conf=conf), 0.1)
    pairs: Any = ssc.directStream(Numbers()).map(lambda n: (n % 3, {"number": n}))
    pairs.writeTo(KafkaSink(servers, topic, timeout=10.0), name="numbers")
    return ssc


if __name__ == "__main__":
    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup)
    ssc.start()
    ssc.awaitTermination()
