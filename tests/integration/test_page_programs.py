"""The programs that the documents show for sources run, each on its real server."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.integration.pages import left_out
from tests.integration.servers.firehoses import Jetstream, post
from tests.integration.servers.flume import Sink
from tests.integration.servers.http import served
from tests.integration.servers.kafka import Broker, broker, wait_until
from tests.integration.servers.kinesis import REGION, moto
from tests.integration.servers.mqtt import broker as mosquitto
from tests.integration.servers.nats import nats_process
from tests.integration.servers.postgres import postgres_server
from tests.integration.servers.redis import redis_process
from tests.integration.servers.s3 import s3_server
from tests.integration.servers.twitter import TOKEN, Account
from tests.integration.test_object_stores import put
from tests.integration.test_programs import lines_until, port

from millstream.engine.base.remote_storage import remote_storage

__all__ = ["port"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a broker that all tests share."""
    with broker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Return what writes a page's program to a file, and returns the file.

    Batches are shorter there than the page's, for haste.
    """

    def write(text: str) -> str:
        hasty = re.sub(r"(StreamingContext\(.*), 1\)", r"\1, 0.2)", text)
        assert hasty != text, "a batch is a second on all pages"
        file = tmp_path / "page.py"
        file.write_text(hasty, "utf-8")
        return str(file)

    return write


@pytest.fixture
def checkpoint(tmp_path: Path) -> Mapping[str, str]:
    """Return what puts the checkpoint directory elsewhere."""
    return {'"checkpoint"': repr(str(tmp_path / "checkpoint"))}


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again."""
    is_over = threading.Event()

    def act_on() -> None:
        while not is_over.wait(0.1):
            act()

    thread = threading.Thread(target=act_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_words_of_a_socket(port: int, program: Callable[[str], str]) -> None:
    """The first program of the guide."""
    text = left_out("docs/index.md", 1, {"9999": str(port)})

    lines_until(["('hello', ", "('stream', "], program(text))


def test_counts_that_outlive_the_program(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    """Those of the guide: counts are in the checkpoint."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    text = left_out(
        "docs/index.md",
        2,
        {
            '"incoming"': repr(str(incoming)),
            '"checkpoints"': repr(str(tmp_path / "checkpoints")),
        },
    )
    # The page has shown them before.
    before = """
from millstream import SparkContext
from millstream.streaming import StreamingContext

def add_up(new, total):
    return (total or 0) + sum(new)

"""
    numbers = iter(range(1_000_000))

    def put() -> None:
        (tmp_path / "scratch").write_text("hello\n")
        (tmp_path / "scratch").rename(incoming / str(next(numbers)))

    with meanwhile(put):
        lines_until(["('hello', "], program(before + text))
        again = lines_until(["('hello', "], program(before + text))

    assert "('hello', 1)" not in again


def test_kafka(
    kafka: Broker, program: Callable[[str], str], checkpoint: Mapping[str, str]
) -> None:
    """Words of a topic."""
    topic = kafka.topic()
    kafka.produce(topic, ["hello kafka", "hello"])
    text = left_out(
        "docs/sources/kafka.md",
        1,
        {"localhost:9092": kafka.bootstrap, '["lines"]': f'["{topic}"]', **checkpoint},
    )

    lines_until(["('hello', 2)", "('kafka', 1)"], program(text))


def test_from_kafka_to_postgres(
    kafka: Broker, tmp_path: Path, program: Callable[[str], str]
) -> None:
    """The README's: totals of a topic's records are in a table."""
    topic = kafka.topic()
    with postgres_server() as server:
        text = left_out(
            "README.md",
            2,
            {
                "localhost:9092": kafka.bootstrap,
                '["orders"]': f'["{topic}"]',
                "postgresql://localhost/shop": server.dsn,
                "/var/lib/orders/checkpoint": str(tmp_path / "checkpoint"),
                "    return ssc": "    stream.count().pprint()\n    return ssc",
            },
        )
        # The README's first program has them.
        before = """
from millstream import SparkContext
from millstream.streaming import StreamingContext
"""

        def found() -> list[tuple[str, int]]:
            with psycopg.connect(server.dsn) as connection:
                try:
                    rows = connection.execute("SELECT item, count FROM totals")
                    return rows.fetchall()
                except psycopg.errors.UndefinedTable:
                    return []

        with meanwhile(lambda: kafka.produce(topic, ["shoe"])):
            lines_until(["1"], program(before + text))
            wait_until(found, "totals are there")

        assert {item for item, _ in found()} == {"shoe"}


def test_redis(
    tmp_path: Path, program: Callable[[str], str], checkpoint: Mapping[str, str]
) -> None:
    """What each shop took."""
    with redis_process(tmp_path) as server:
        with server.client() as client:
            client.xadd("orders", {"shop": "mill", "cents": 250})
            client.xadd("orders", {"shop": "mill", "cents": 50})
        text = left_out(
            "docs/sources/redis.md",
            1,
            {"redis://localhost:6379/0": server.url, **checkpoint},
        )

        lines_until(["('mill', 300)"], program(text))


def test_nats(
    tmp_path: Path, program: Callable[[str], str], checkpoint: Mapping[str, str]
) -> None:
    """How many orders there are from Europe."""
    with nats_process(tmp_path) as server:
        server.make("ORDERS")
        for subject in ("ORDERS.eu.fr", "ORDERS.us", "ORDERS.eu.it"):
            server.publish(subject, ["an order"])
        text = left_out(
            "docs/sources/nats.md",
            1,
            {
                "nats://localhost:4222": server.url,
                '"orders.eu.>"': '"ORDERS.eu.>"',
                **checkpoint,
            },
        )

        lines_until(["2"], program(text))


def test_mqtt(
    tmp_path: Path, program: Callable[[str], str], checkpoint: Mapping[str, str]
) -> None:
    """The greatest heat of each place."""
    with mosquitto(tmp_path / "broker") as server:
        text = left_out(
            "docs/sources/mqtt.md",
            1,
            {"tcp://localhost:1883": server.url, **checkpoint},
        )
        both = [("plant/one/heat", "31.5"), ("plant/one/heat", "30")]
        with meanwhile(lambda: server.publish(both)):
            lines_until(["('plant/one/heat', 31.5)"], program(text))


def test_kinesis(
    program: Callable[[str], str],
    checkpoint: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Words of the records of a stream."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    with moto() as server:
        server.create("orders")
        server.put("orders", [("k", b"hello stream")])
        text = left_out(
            "docs/sources/kinesis.md",
            1,
            {
                "https://kinesis.eu-west-1.amazonaws.com": server.url,
                "eu-west-1": REGION,
                **checkpoint,
            },
        )

        lines_until(["('hello', 1)", "('stream', 1)"], program(text))


def test_flume(program: Callable[[str], str], checkpoint: Mapping[str, str]) -> None:
    """How many events each host sends, fetched from two agents."""
    with closing(Sink()) as one, closing(Sink()) as other:
        for sink in (one, other):
            with sink.changed:
                sink.channel.append(({"host": f"host{sink.port}"}, b"a line"))
                sink.changed.notify_all()
        text = left_out(
            "docs/sources/flume.md",
            1,
            {
                '("agent1", 9988)': f'("127.0.0.1", {one.port})',
                '("agent2", 9988)': f'("127.0.0.1", {other.port})',
                **checkpoint,
            },
        )

        lines_until(
            [f"('host{one.port}', 1)", f"('host{other.port}', 1)"], program(text)
        )


def test_twitter(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashtags of posts that match a rule; the server's rules are texts."""
    monkeypatch.setenv("TWITTER_BEARER_TOKEN", TOKEN)
    account = Account()
    with served(account.app()) as at:
        text = left_out(
            "docs/sources/twitter.md",
            1,
            {'lang:en"]': f'lang:en"], baseUrl="http://127.0.0.1:{at}"'},
        )
        with meanwhile(lambda: account.publish("it is python lang:en #mill", "#bird")):
            lines = lines_until(["('#mill', "], program(text))

    assert not [line for line in lines if "#bird" in line]


def test_bluesky(program: Callable[[str], str], tmp_path: Path) -> None:
    """What is done with posts."""
    log = Jetstream()
    with served(log.app()) as at:
        text = left_out(
            "docs/sources/web.md",
            1,
            {
                'post"], ': f'post"], url="ws://127.0.0.1:{at}/subscribe", ',
                '"checkpoint': f'"{tmp_path}/checkpoint',
            },
        )
        numbers = iter(range(1_000_000))
        with meanwhile(lambda: log.publish(post(next(numbers)))):
            lines_until(["('create', "], program(text))


def test_files_of_a_bucket(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of objects that appear."""
    before = """
from millstream import SparkContext
from millstream.streaming import StreamingContext

ssc = StreamingContext(SparkContext(), 1)
"""
    after = """
lines.countByValue().pprint()
ssc.start()
ssc.awaitTermination()
"""
    numbers = iter(range(1_000_000))
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        remote_storage.cache_clear()
        with meanwhile(lambda: put(f"s3://bucket/incoming/{next(numbers)}", "hello\n")):
            text = left_out("docs/sources/files.md", 1, {})
            lines_until(["('hello', "], program(before + text + after))
    remote_storage.cache_clear()
