"""The program of the guide "Kafka to Postgres": killed, upgraded, fed with bad records."""

import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integration.killing import run_with_kills
from tests.integration.servers.kafka import Broker, broker, wait_until
from tests.integration.servers.postgres import (
    PASSWORD,
    PostgresServer,
    postgres_server,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "kafka_to_postgres.py"
CUSTOMERS = [f"customer {number}" for number in range(17)]
Rows = Mapping[str, tuple[int, int]]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a broker that all tests share."""
    with broker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture(scope="module")
def running_server() -> Iterator[PostgresServer]:
    """Return a database that all tests share."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def server(
    running_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> PostgresServer:
    """Return it with nothing in it; its password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with psycopg.connect(running_server.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return running_server


class Orders:
    """Sends orders, and knows what the table must say of them."""

    def __init__(self, kafka: Broker, topic: str, seed: int = 1) -> None:
        self._kafka = kafka
        self._topic = topic
        self._random = random.Random(seed)
        self._orders: Counter[str] = Counter()
        self._cents: Counter[str] = Counter()

    def send(self, count: int, partition: int = 0) -> None:
        """Send so many orders to a partition."""
        texts = []
        for _ in range(count):
            customer = self._random.choice(CUSTOMERS)
            cents = self._random.randint(1, 10_000)
            texts.append(json.dumps({"customer": customer, "cents": cents}))
            self._orders[customer] += 1
            self._cents[customer] += cents
        self._kafka.produce(self._topic, texts, partition)

    @property
    def expected(self) -> Rows:
        """Each customer's orders and cents."""
        return {
            name: (count, self._cents[name]) for name, count in self._orders.items()
        }


def dsn_without_password(server: PostgresServer) -> str:
    """Return how a command line says where the database is."""
    return server.dsn.replace(f":{PASSWORD}", "")


def spent(server: PostgresServer) -> Rows:
    """Return the rows of the table; none while it isn't there."""
    with psycopg.connect(server.dsn) as connection:
        if connection.execute("SELECT to_regclass('spent')").fetchone() == (None,):
            return {}
        rows = connection.execute("SELECT customer, orders, cents FROM spent")
        return {customer: (orders, cents) for customer, orders, cents in rows}


@contextmanager
def program(
    directory: Path, *where: str, script: Path = EXAMPLE
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the program with `millstream run`; end it with SIGTERM, and well.

    Raises:
        AssertionError: It didn't end well; has what it printed.
    """
    log = directory / "program.log"
    command = [sys.executable, "-W", "ignore", "-m", "millstream", "run", str(script)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, str(directory), *where], stdout=out, stderr=out
        )
    try:
        yield process
        process.terminate()
        assert process.wait(30) == 0, log.read_text(errors="replace")[-3000:]
    except AssertionError as error:
        error.add_note(log.read_text(errors="replace")[-3000:])
        raise
    finally:
        process.kill()
        process.wait()


def test_killed_in_the_middle_it_has_counted_each_order_once(
    kafka: Broker, server: PostgresServer, tmp_path: Path
) -> None:
    """Orders come all the time; each kill hits it at another moment of its work."""
    topic = kafka.topic(3)
    orders = Orders(kafka, topic)
    is_over = threading.Event()

    def feed() -> None:
        for number in range(100):
            orders.send(20, partition=number % 3)
            if is_over.wait(0.07):
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    seen: list[int] = []
    try:
        run_with_kills(
            EXAMPLE,
            [str(tmp_path), kafka.bootstrap, topic, dsn_without_password(server)],
            lambda: not feeder.is_alive() and spent(server) == orders.expected,
            kills=3,
            seed=8,
            life_s=(1.5, 3.0),
            between=lambda _: seen.append(sum(n for n, _ in spent(server).values())),
        )
    finally:
        is_over.set()
        feeder.join()

    assert sum(count for count, _ in orders.expected.values()) == 2000
    assert 0 < seen[-1] < 2000, "it was killed in the middle"
    assert spent(server) == orders.expected


def test_a_new_version_goes_on_with_the_totals(
    kafka: Broker, server: PostgresServer, tmp_path: Path
) -> None:
    """Its state has the same name: what the old one has counted is counted."""
    topic = kafka.topic()
    orders = Orders(kafka, topic)
    where = (kafka.bootstrap, topic, dsn_without_password(server))
    orders.send(50)
    with program(tmp_path, *where):
        wait_until(lambda: spent(server) == orders.expected, "the first are there")
    changed = tmp_path / "version_2.py"
    text = EXAMPLE.read_text("utf-8")
    new = text.replace(
        'return order["customer"], ', 'return order["customer"].strip(), '
    )
    changed.write_text(new, "utf-8")
    orders.send(50)
    with program(tmp_path, *where, script=changed):
        wait_until(lambda: spent(server) == orders.expected, "all are there")

    assert new != text
    assert spent(server) == orders.expected


def test_what_is_no_order_is_a_dead_letter_and_stops_nothing(
    kafka: Broker, server: PostgresServer, tmp_path: Path
) -> None:
    """It is kept with where it was and why; the orders around it count."""
    topic = kafka.topic()
    orders = Orders(kafka, topic)
    orders.send(5)
    kafka.produce(topic, ["{no order"])
    orders.send(5)
    with program(
        tmp_path, kafka.bootstrap, topic, dsn_without_password(server)
    ) as process:
        wait_until(lambda: spent(server) == orders.expected, "orders are there")
        assert process.poll() is None
    letters: list[Any] = [
        json.loads(line)
        for file in (tmp_path / "dead-letters").rglob("*.jsonl")
        for line in file.read_text("utf-8").splitlines()
    ]

    assert [each["error"] for each in letters] == ["json.decoder.JSONDecodeError"]
    assert "{no order" in letters[0]["text"]


def quoted() -> list[str]:
    """Return the pieces of Python in the guide."""
    guide = (ROOT / "docs" / "guides" / "kafka-to-postgres.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", guide, re.DOTALL)


def test_it_begins_where_a_group_has_committed(
    kafka: Broker, server: PostgresServer, tmp_path: Path
) -> None:
    """With the guide's lines in place of the program's; what was committed is left out."""
    from confluent_kafka import Consumer, TopicPartition

    topic = kafka.topic()
    kafka.produce(topic, [json.dumps({"customer": "before", "cents": 1})] * 3)
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": "billing"}
    consumer = Consumer({**settings, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    consumer.close()
    orders = Orders(kafka, topic)
    orders.send(5)
    (lines,) = (each for each in quoted() if '"group.id"' in each)
    imports, body = lines.strip().split("\n\n")
    text = EXAMPLE.read_text("utf-8")
    for old, new in (
        ("from millstream.streaming.kafka import KafkaUtils", imports),
        (re.search(r"    params = .*?\n    records = .*?\n", text, re.DOTALL), body),
        ("pair[1]", "pair.value"),
    ):
        given = old if isinstance(old, str) else old[0] if old else ""
        assert given in text
        indented = "".join(f"    {line}\n" for line in new.splitlines())
        text = text.replace(given, indented if given.startswith(" ") else new)
    script = tmp_path / "from_group.py"
    script.write_text(text, "utf-8")
    where = (kafka.bootstrap, topic, dsn_without_password(server))
    with program(tmp_path, *where, script=script):
        wait_until(
            lambda: spent(server) == orders.expected, "the group's rest is there"
        )

    assert "before" not in spent(server)


def test_the_guide_quotes_the_program() -> None:
    """Word for word."""
    assert EXAMPLE.read_text("utf-8") in quoted()
