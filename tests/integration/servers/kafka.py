"""Kafka for tests: a broker from a wheel, and a cluster of mock brokers that can fail.

`broker()` is a real server of its own, or, with `KAFKA_BOOTSTRAP` set, any cluster that is
there. `MockCluster` is what librdkafka brings along: several brokers in this process, on
real ports, whose failures are planned by the test. It knows no transactions, no admin
calls, and keeps 5 MB or 100,000 records a partition.
"""

import ctypes
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.integration.servers.stalling import go_on, stall

BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP")
_START_S = 20.0
_WAIT_S = 20.0
_numbers = itertools.count()


class Broker:
    """A server that speaks Kafka's protocol, and what tests do to it."""

    def __init__(self, bootstrap: str, process: "subprocess.Popen[str] | None") -> None:
        """Talk to the server at `bootstrap`; `process` is it, if it is this test's own."""
        self.bootstrap = bootstrap
        self._process = process

    def topic(self, partitions: int = 1, name: str | None = None) -> str:
        """Create a topic of a new name, and return the name."""
        name = name or f"millstream-{os.getpid()}-{next(_numbers)}"
        new = _admin_library().NewTopic(
            name, num_partitions=partitions, replication_factor=1
        )
        with self._admin() as admin:
            admin.create_topics([new])[name].result(_WAIT_S)
        return name

    def grow(self, topic: str, partitions: int) -> None:
        """Let a topic have so many partitions."""
        with self._admin() as admin:
            made = admin.create_partitions(
                [_admin_library().NewPartitions(topic, partitions)]
            )
            made[topic].result(_WAIT_S)

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        with self._admin() as admin:
            admin.delete_topics([topic])[topic].result(_WAIT_S)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Forget the records below an offset, as retention does."""
        from confluent_kafka import TopicPartition

        with self._admin() as admin:
            place = TopicPartition(topic, partition, before)
            for each in admin.delete_records([place]).values():
                each.result(_WAIT_S)

    def produce(
        self, topic: str, values: Iterable[Any], partition: int = 0, **more: Any
    ) -> None:
        """Send records; `more` is what `Producer.produce` takes, such as `key`."""
        produce(self.bootstrap, topic, values, partition, **more)

    def committed(self, group: str, topic: str, partition: int = 0) -> int | None:
        """Return what a group has committed, or None."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0}
        )
        try:
            place = TopicPartition(topic, partition)
            offset = consumer.committed([place], timeout=_WAIT_S)[0].offset
        finally:
            consumer.close()
        return None if offset < 0 else int(offset)

    def pause(self) -> None:
        """Let the server stand still: it accepts, and doesn't answer."""
        stall(self._own.pid)

    def resume(self) -> None:
        """Let it go on."""
        go_on(self._own.pid)

    @property
    def is_own(self) -> bool:
        """Whether it was started here, and may be stopped."""
        return self._process is not None

    @property
    def _own(self) -> "subprocess.Popen[str]":
        assert self._process is not None, "it is someone else's cluster"
        return self._process

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        yield _admin_library().AdminClient(
            {"bootstrap.servers": self.bootstrap, "log_level": 0}
        )


def _admin_library() -> Any:
    return import_module("confluent_kafka.admin")


def produce(
    bootstrap: str,
    topic: str,
    values: Iterable[Any],
    partition: int = 0,
    **more: Any,
) -> None:
    """Send records and wait until each has arrived.

    Raises:
        AssertionError: One hasn't.
    """
    from confluent_kafka import Producer

    failed: list[Any] = []

    def on_delivery(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {"bootstrap.servers": bootstrap, "log_level": 0, "linger.ms": 1}
    )
    for value in values:
        producer.poll(0)
        while True:
            try:
                producer.produce(
                    topic, value, partition=partition, on_delivery=on_delivery, **more
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break

    assert producer.flush(_WAIT_S) == 0, "records are on their way still"
    assert not failed, failed


@contextmanager
def broker(directory: Path, port: int = 0) -> Iterator[Broker]:
    """Start a broker that keeps its data in `directory`; or use `KAFKA_BOOTSTRAP`."""
    if BOOTSTRAP is not None:
        yield Broker(BOOTSTRAP, None)
        return
    # The server itself: its command is a script, whose end would leave it behind.
    program = files("noida_db") / "noida-db"
    where = ["--data-dir", str(directory), "--only", "kafka", "--kafka-port", str(port)]
    process = subprocess.Popen(
        [str(program), "start", *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Broker(_address(process), process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(_WAIT_S)
        assert process.stdout is not None, "it is a pipe"
        process.stdout.close()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None, "it is a pipe"
    for line in process.stdout:
        words = line.split()
        if words and words[0] == "kafka":
            return words[1]
    msg = f"the broker has ended: {process.wait(_START_S)}"
    raise AssertionError(msg)


# The mock cluster: librdkafka's own API, which the client library exports.

FETCH, OFFSETS, METADATA = 1, 2, 3
"""Numbers of requests, for `fail`."""
NOT_LEADER, UNKNOWN_TOPIC = 6, 3
"""Numbers of errors, for `fail`."""


class MockCluster:
    """Some mock brokers, whose failures are planned."""

    def __init__(self, brokers: int = 3) -> None:
        """Start so many brokers."""
        self._library = _library()
        config = self._call("rd_kafka_conf_new", ctypes.c_void_p)
        self._set(config, "log_level", "0")
        text = ctypes.create_string_buffer(512)
        self._client = self._call(
            "rd_kafka_new", ctypes.c_void_p, 0, ctypes.c_void_p(config), text, 512
        )
        assert self._client, text.value
        self._cluster = self._call(
            "rd_kafka_mock_cluster_new",
            ctypes.c_void_p,
            ctypes.c_void_p(self._client),
            brokers,
        )
        assert self._cluster, "no mock cluster"
        self.count = brokers
        self.bootstrap = self._on("bootstraps", ctypes.c_char_p).decode()

    def _set(self, config: Any, key: str, value: str) -> None:
        text = ctypes.create_string_buffer(512)
        self._call(
            "rd_kafka_conf_set",
            ctypes.c_int,
            ctypes.c_void_p(config),
            key.encode(),
            value.encode(),
            text,
            512,
        )

    def _call(self, name: str, result: Any, *args: Any) -> Any:
        function = getattr(self._library, name)
        function.restype = result
        return function(*args)

    def _on(self, name: str, result: Any, *args: Any) -> Any:
        return self._call(
            f"rd_kafka_mock_{name}"
            if name.startswith(("topic", "broker", "partition", "push"))
            else f"rd_kafka_mock_cluster_{name}",
            result,
            ctypes.c_void_p(self._cluster),
            *args,
        )

    def _must(self, name: str, *args: Any) -> None:
        error = self._on(name, ctypes.c_int, *args)
        assert error == 0, f"{name}: error {error}"

    def topic(self, partitions: int = 1, name: str | None = None) -> str:
        """Create a topic of a new name, on all brokers, and return the name."""
        name = name or f"mock-{next(_numbers)}"
        self._must("topic_create", name.encode(), partitions, self.count)
        return name

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Let a broker, from 1 on, lead a partition."""
        self._must("partition_set_leader", topic.encode(), partition, broker)

    def down(self, brokers: Sequence[int] | None = None) -> None:
        """Let brokers refuse connections; all of them by default."""
        for each in brokers or range(1, self.count + 1):
            self._must("broker_set_down", each)

    def up(self, brokers: Sequence[int] | None = None) -> None:
        """Let brokers be reached again."""
        for each in brokers or range(1, self.count + 1):
            self._must("broker_set_up", each)

    def fail(self, request: int, error: int, times: int = 1) -> None:
        """Answer the next requests of a kind with an error."""
        errors = (ctypes.c_int * times)(*[error] * times)
        self._on(
            "push_request_errors_array", None, request, ctypes.c_size_t(times), errors
        )

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Forget the records below an offset."""
        self._must(
            "partition_delete_records",
            topic.encode(),
            partition,
            ctypes.c_int64(before),
        )

    def produce(
        self, topic: str, values: Iterable[Any], partition: int = 0, **more: Any
    ) -> None:
        """Send records."""
        produce(self.bootstrap, topic, values, partition, **more)

    def close(self) -> None:
        """Stop all brokers."""
        self._on("destroy", None)
        self._call("rd_kafka_destroy", None, ctypes.c_void_p(self._client))


def _library() -> ctypes.CDLL:
    """Return the client library that the Python package has loaded."""
    import confluent_kafka  # noqa: F401  Loads it.

    for line in Path("/proc/self/maps").read_text("ascii").splitlines():
        path = line.split(maxsplit=5)[-1]
        if "librdkafka" in path:
            return ctypes.CDLL(path)
    msg = "librdkafka isn't loaded"
    raise AssertionError(msg)


@contextmanager
def mock_cluster(brokers: int = 3) -> Iterator[MockCluster]:
    """Start a mock cluster for a while."""
    made = MockCluster(brokers)
    try:
        yield made
    finally:
        made.close()


def wait_until(is_so: Any, what: str, limit_s: float = _WAIT_S) -> None:
    """Return when a condition holds.

    Raises:
        AssertionError: It doesn't in time.
    """
    until_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until_s, f"waited in vain until {what}"
        time.sleep(0.02)
