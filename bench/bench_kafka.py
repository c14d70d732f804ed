"""A Kafka direct stream's word count: its CPU beside a bare consumer and the counting."""

import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from operator import add

from measuring import Benchmark, cpu_s

_MESSAGES = 200_000
_BEHIND = 120_000
"""More messages than a client fetches ahead, behind those that are read: at the end of a
partition this broker is asked over and over, since it doesn't wait as Kafka does."""
_WORDS_A_MESSAGE = 18
_AT_A_TIME = 500
_BLOCK = 50_000
_BARE_FACTOR = 1.3
_TOPIC = "bench"


@contextmanager
def _broker() -> Iterator[str]:
    """Run a broker for a while, and say where it is."""
    program = str(files("noida_db") / "noida-db")
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "start", "--data-dir", directory]
        command += ["--only", "kafka", "--kafka-port", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None, "its output is a pipe"
                told = (line.split() for line in process.stdout)
                yield next(words[1] for words in told if words[:1] == ["kafka"])
            finally:
                process.terminate()


@cache
def _lines() -> list[str]:
    draw = random.Random(1)
    words = [f"word{number}" for number in range(1000)]
    some = [" ".join(draw.choices(words, k=_WORDS_A_MESSAGE)) for _ in range(5000)]
    return [some[number % len(some)] for number in range(_MESSAGES)]


def _send(servers: str) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    for line in [*_lines(), *_lines()[:_BEHIND]]:
        while True:
            try:
                producer.produce(_TOPIC, line, partition=0)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(60) == 0, "not everything was sent"


def _bare(servers: str) -> None:
    """Read all messages, and do nothing with their values."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bare",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(_TOPIC, 0, 0)])
    count = 0
    while count < _MESSAGES:
        messages = consumer.consume(min(_AT_A_TIME, _MESSAGES - count), 1.0)
        for message in messages:
            message.value()
        count += len(messages)
    consumer.close()


def _counted(pairs: object) -> None:
    counts = (
        pairs.map(lambda pair: pair[1])  # type: ignore[attr-defined]
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(add)
        .collect()
    )
    assert sum(n for _, n in counts) == _MESSAGES * _WORDS_A_MESSAGE, "some are missing"


class _InMemory:
    """The bytes that a bare consumer gives, without the consumer."""

    def __init__(self, *, has_blocks: bool) -> None:
        self.has_blocks = has_blocks
        self._raw = [line.encode() for line in _lines()]

    def blocks(self) -> Iterator[object]:
        from millstream.engine.sources.kafka.source import text_blocks

        for begin in range(0, _MESSAGES, _BLOCK):
            some = self._raw[begin : begin + _BLOCK]
            yield from text_blocks([None] * len(some), some)

    def read(self) -> Iterator[object]:
        for value in self._raw:
            yield None, value.decode()


def _measure(columnar: str, benchmark: Callable[[], Benchmark]) -> float:
    """Return the stream's CPU / (1.3 x a bare consumer's + the counting's)."""
    from millstream import SparkConf, SparkContext
    from millstream.engine.plan.nodes import Source
    from millstream.streaming.kafka import KafkaUtils, OffsetRange

    conf = SparkConf().setMaster("local[1]").setAppName("kafka")
    conf.set("spark.millstream.columnar", columnar)
    conf.set("spark.millstream.processes", "off")
    with _broker() as servers, SparkContext(conf=conf) as sc:
        _send(servers)
        params = {"bootstrap.servers": servers}
        everything = [OffsetRange(_TOPIC, 0, 0, _MESSAGES)]
        in_memory = _InMemory(has_blocks=columnar == "on")

        def direct() -> None:
            _counted(KafkaUtils.createRDD(sc, params, everything))

        def counting() -> None:
            _counted(sc._rdd(Source((in_memory,)), 1))

        direct()  # Imports, and the functions are made columns.
        rounds = [
            (cpu_s(lambda: _bare(servers)), cpu_s(counting), cpu_s(direct))
            for _ in range(3)
        ]
    bare, alone, whole = (
        statistics.median(each) * 1e6 / _MESSAGES for each in zip(*rounds, strict=True)
    )
    benchmark().notes.update(
        {
            "CPU a message, us": f"{whole:.2f}",
            "a bare consumer's": f"{bare:.2f}",
            "the counting's": f"{alone:.2f}",
        }
    )
    return statistics.median(
        third / (_BARE_FACTOR * first + second) for first, second, third in rounds
    )


columns = Benchmark(
    "kafka.columns",
    "word count of a Kafka direct stream by columns: CPU / (1.3 bare consumers + counting)",
    "x",
    1.0,
    lambda: _measure("on", lambda: columns),
    runs=3,
)
rows = Benchmark(
    "kafka.rows",
    "the same by rows: CPU / (1.3 bare consumers + counting)",
    "x",
    1.0,
    lambda: _measure("off", lambda: rows),
    runs=3,
)
BENCHMARKS = [columns, rows]
