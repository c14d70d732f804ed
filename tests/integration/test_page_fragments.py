"""What the documents show of sources and sinks, a few lines each, on real servers."""

import asyncio
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from aiohttp import web
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from tests.integration.pages import left_out, run
from tests.integration.servers.http import Hook, served
from tests.integration.servers.kafka import broker, wait_until
from tests.integration.servers.nats import nats_process
from tests.integration.servers.ports import free_port
from tests.integration.servers.postgres import (
    PASSWORD,
    USER,
    PostgresServer,
    postgres_server,
)
from tests.integration.servers.redis import redis_process
from tests.integration.servers.s3 import s3_server
from tests.integration.sink_batches import without_iceberg_threads
from tests.integration.test_kafka_sink import committed
from tests.integration.test_own import example

from millstream import SparkConf
from millstream.engine.base.catalogue import CATALOGUE
from millstream.engine.base.remote_storage import remote_storage
from millstream.engine.clients.nats import nats_loop
from millstream.sql import SparkSession
from millstream.streaming import kafka010
from millstream.streaming.actor import ActorHelper, ActorUtils, RemotePort
from millstream.streaming.nats import NatsUtils
from millstream.streaming.redis import RedisUtils
from millstream.streaming.secrets import Secret
from millstream.streaming.web import WebUtils
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COUNTS = [[("hello", 2), ("stream", 1)]]
LOG_KEY = "spark.streaming.receiver.writeAheadLog.enable"


def put_out(text: str, **more: Any) -> dict[str, Any]:
    """Run a sink's lines on a stream of one batch; return their names."""
    with StreamHarness() as h:
        stream = h.stream(COUNTS)
        names = run(text, counts=stream, totals=stream, **more)
        h.run()
    return names


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Return a server with the schema that pages name."""
    with postgres_server() as server:
        asked(server, "CREATE SCHEMA sales")
        yield server


def asked(server: PostgresServer, text: str) -> list[tuple[Any, ...]]:
    """Return what the server answers."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module", autouse=True)
def _loop() -> None:
    """Start the thread that the process keeps, before tests look for threads."""
    nats_loop()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `s3:` be a server on loopback."""
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        remote_storage.cache_clear()
        yield
        remote_storage.cache_clear()


def test_the_first_sink(postgres: PostgresServer) -> None:
    """The page on all sinks has PostgreSQL's."""
    put_out(
        left_out(
            "docs/sinks/index.md", 1, {"postgresql://localhost/shop": postgres.dsn}
        )
    )

    assert sorted(asked(postgres, "SELECT word, count FROM counts")) == COUNTS[0]


def test_postgres(postgres: PostgresServer) -> None:
    """Totals by word, in a schema."""
    dsn = {"postgresql://me@db/shop?sslmode=require": postgres.dsn}
    put_out(left_out("docs/sinks/postgres.md", 1, dsn))

    assert sorted(asked(postgres, "SELECT word, total FROM sales.totals")) == COUNTS[0]


def test_tables_of_a_database_in_queries(postgres: PostgresServer) -> None:
    """One is read, one is written."""
    asked(postgres, "CREATE TABLE sales.users AS SELECT 7 AS id, 'ann' AS name")
    address = f"jdbc:postgresql://127.0.0.1:{postgres.port}/postgres"
    text = left_out(
        "docs/sql/tables.md",
        1,
        {
            "jdbc:postgresql://db:5432/shop": address,
            '"me"': f'"{USER}"',
            "sales.totals": "sales.written",
        },
    )
    with SparkSession.builder.master("local[2]").getOrCreate() as session:
        names = run(
            text,
            spark=session,
            password=PASSWORD,
            url=address,
            totals=session.createDataFrame(COUNTS[0], ["word", "total"]),
            properties={"user": USER, "password": PASSWORD},
        )
        users = [tuple(row) for row in names["users"].collect()]

    assert users == [(7, "ann")]
    assert sorted(asked(postgres, "SELECT word, total FROM sales.written")) == COUNTS[0]


def test_duckdb(tmp_path: Path) -> None:
    """A table in a file."""
    file = str(tmp_path / "words.duckdb")
    put_out(left_out("docs/sinks/duckdb.md", 1, {"words.duckdb": file}))

    with closing(duckdb.connect(file, read_only=True)) as database:
        rows = database.execute("SELECT word, n FROM words ORDER BY word").fetchall()
    assert rows == COUNTS[0]


def test_settings() -> None:
    """What is set is set under a name that the engine knows."""
    conf = SparkConf(loadDefaults=False)
    run(left_out("docs/monitoring.md", 1, {}), conf=conf)
    run(left_out("docs/monitoring.md", 2, {}), conf=conf)
    given = {key for key, _ in conf.getAll()}

    assert {"spark.millstream.otel.endpoint", "spark.eventLog.dir"} < given
    assert given <= CATALOGUE.keys()


def test_logs_of_a_program() -> None:
    """They are JSON on standard error."""
    said = subprocess.run(
        [sys.executable, "-c", left_out("docs/monitoring.md", 3, {}) + _SAY],
        stderr=subprocess.PIPE,
        check=True,
    ).stderr

    assert json.loads(said)["event"] == "hello"


_SAY = """
import logging
logging.getLogger("millstream").info("hello")
"""

EVENTS = [{"day": "monday", "number": 1}, {"day": "tuesday", "number": 2}]


def test_delta(tmp_path: Path) -> None:
    """A table in a directory, in place of a bucket."""
    uri = str(tmp_path / "events")
    text = left_out("docs/sinks/delta.md", 1, {"s3://bucket/events": uri})
    with StreamHarness() as h:
        run(text, events=h.stream([EVENTS]))
        h.run()

    table = DeltaTable(uri)
    assert table.metadata().partition_columns == ["day"]
    assert sorted(table.to_pyarrow_table()["number"].to_pylist()) == [1, 2]


def test_iceberg(tmp_path: Path) -> None:
    """A table of a catalog in a file, in place of one behind a service."""
    settings = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"file://{tmp_path}",
    }
    text = left_out(
        "docs/sinks/iceberg.md",
        1,
        {'{"type": "rest", "uri": "https://catalog", "token": token}': repr(settings)},
    )
    with without_iceberg_threads():
        with StreamHarness() as h:
            run(text, events=h.stream([EVENTS]))
            h.run()
        with closing(load_catalog("default", **settings)) as catalog:
            table = catalog.load_table("demo.events").scan().to_arrow()

    assert sorted(table["number"].to_pylist()) == [1, 2]


@pytest.mark.usefixtures("store")
def test_files_in_a_bucket() -> None:
    """Written with a manifest, read by it, and read as a stream."""
    with StreamHarness() as h:
        run(left_out("docs/sinks/files.md", 1, {}), records=h.stream([EVENTS]))
        h.run()
    table = run(left_out("docs/sinks/files.md", 2, {}))["table"].collect()

    assert sorted(table["number"]) == [1, 2]
    assert sorted(table["day"]) == ["monday", "tuesday"]


def test_kafka(tmp_path: Path) -> None:
    """Keys and values of a topic."""
    with broker(tmp_path) as server:
        topic = server.topic()
        put_out(
            left_out(
                "docs/sinks/kafka.md",
                1,
                {"localhost:9092": server.bootstrap, "word-counts": topic},
            )
        )
        found = {each.key(): each.value() for each in committed(server, topic)}

    assert found == {b"hello": b"2", b"stream": b"1"}


def test_kafka_commits(tmp_path: Path) -> None:
    """A group has what was put out."""
    with broker(tmp_path) as server, StreamHarness() as h:
        topic = server.topic()
        server.produce(topic, ["to", "be"])
        params = {
            "bootstrap.servers": server.bootstrap,
            "group.id": "readers-of-pages",
            "auto.offset.reset": "earliest",
        }
        stream = kafka010.KafkaUtils.createDirectStream(
            h.ssc,
            kafka010.LocationStrategies.PreferConsistent,
            kafka010.ConsumerStrategies.Subscribe([topic], params),
        )
        run(left_out("docs/sources/kafka.md", 2, {}), stream=stream)
        h.run(2)
        wait_until(
            lambda: server.committed("readers-of-pages", topic) == 2, "it is committed"
        )


def test_redis(tmp_path: Path) -> None:
    """Counts in a hash; entries of a stream, as a group's member."""
    with redis_process(tmp_path) as server, server.client() as client:
        address = {"redis://localhost:6379/0": server.url}
        put_out(left_out("docs/sinks/redis.md", 1, address))

        assert client.hgetall("word-counts") == {b"hello": b"2", b"stream": b"1"}

        client.xadd("orders", {"shop": "mill"})
        text = left_out("docs/sources/redis.md", 2, address)
        assert received(text, tmp_path, RedisUtils=RedisUtils) == [{"shop": "mill"}]


def test_nats(tmp_path: Path) -> None:
    """Messages of a subject; messages by a durable consumer."""
    with nats_process(tmp_path) as server:
        address = {"nats://localhost:4222": server.url}
        server.make("COUNTS")
        subject = {'"counts.words"': '"COUNTS.words"'}
        put_out(left_out("docs/sinks/nats.md", 1, {**address, **subject}))

        assert len(server.messages("COUNTS")) == len(COUNTS[0])

        server.make("ORDERS")
        server.publish("ORDERS.eu", ["an order"])
        text = left_out("docs/sources/nats.md", 2, address)
        assert received(text, tmp_path, NatsUtils=NatsUtils) == ["an order"]


def received(text: str, directory: Path, **more: Any) -> list[Any]:
    """Return the first records of a receiver's stream, which the block calls `orders`."""
    conf = SparkConf(loadDefaults=False)
    with StreamHarness(
        conf={LOG_KEY: "true"}, checkpoint=str(directory / "checkpoint")
    ) as h:
        out = h.collect(run(text, ssc=h.ssc, conf=conf, **more)["orders"])
        while not any(out.records):
            h.run()

    assert conf.get(LOG_KEY) == "true", "as the harness has it"
    return [record for batch in out.records for record in batch]


def test_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are posted, with a token."""
    monkeypatch.setenv("HOOK_TOKEN", "sesame-3321")
    hook = Hook(token="Bearer sesame-3321")
    with served(hook.app()) as port:
        text = left_out(
            "docs/sinks/webhook.md",
            1,
            {"https://shop.example": f"http://127.0.0.1:{port}"},
        )
        put_out(text, Secret=Secret)

    assert sorted(map(tuple, hook.records)) == COUNTS[0]


def test_the_certificate_of_a_sink_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the example's, and exactly once."""
    file = str(tmp_path / "out.db")

    def rows_of(path: str) -> list[Any]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("select data from records").fetchall()

    run(
        left_out("docs/sinks/own.md", 1, {'"out.db"': repr(file)}),
        RecordsSink=example("own_sink").RecordsSink,
        rows_of=rows_of,
        json=json,
    )

    assert "exactly once" in capsys.readouterr().out


def test_a_websocket_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it follows, and gets it parsed."""
    monkeypatch.setenv("TRADES_TOKEN", "sesame-9912")
    asked_for: list[Any] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked_for.append(
            (request.headers["Authorization"], await socket.receive_json())
        )
        for number in (1, 2, 2, 3):
            await socket.send_str(json.dumps({"number": number}))
        await asyncio.sleep(30)
        return socket

    app = web.Application()
    app.router.add_get("/stream", serve)
    with served(app) as port, StreamHarness() as h:
        text = left_out(
            "docs/sources/web.md",
            2,
            {"wss://trades.example": f"ws://127.0.0.1:{port}"},
        )
        names = run(text, ssc=h.ssc, WebUtils=WebUtils, Secret=Secret)
        out = h.collect(names["trades"])
        while sum(map(len, out.records)) < 3:
            h.run()

    numbers = [trade["number"] for batch in out.records for trade in batch]
    assert numbers == [1, 2, 3]
    assert asked_for[0] == ("Bearer sesame-9912", {"follow": "all", "after": None})


def listens(port: int) -> bool:
    """Say whether somebody takes connections there."""
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class _Keeper(ActorHelper):
    """Stores whatever comes."""

    def on_receive(self, message: Any) -> None:
        """Store a message."""
        self.store([message])


def test_a_feeder_of_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent to the actors of a stream is in it."""
    monkeypatch.setenv("FEED_KEY", "a-key-of-the-tests-0917")
    port = free_port()
    with StreamHarness() as h:
        remote = RemotePort(port, "a-key-of-the-tests-0917")
        stream = ActorUtils.createStream(h.ssc, _Keeper, name="words", remote=remote)
        out = h.collect(stream)
        h.run()
        wait_until(lambda: listens(port), "the receiver listens")
        run(left_out("docs/sources/actor.md", 1, {"4040": str(port)}))
        while sum(map(len, out.records)) < 4:
            h.run()

    records = [record for batch in out.records for record in batch]
    assert records == [{"word": "hello"}, "many", "at", "once"]
