"""Tests of engine/sources/flume/polling.py, against a sink with transactions."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.engine.sources.supervised import Supervised
from tests.integration.servers.flume import Sink
from tests.integration.servers.ports import free_port

from millstream.engine.base import frames
from millstream.engine.base.errors import UsageError
from millstream.engine.sources.flume import polling as flume_polling
from millstream.engine.sources.flume.frames import FlumeLimits
from millstream.engine.sources.flume.polling import FlumePollingReceiver

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that broke are made anew soon."""
    monkeypatch.setattr(flume_polling, "_RETRY_S", 0.02)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A sink, closed afterwards."""
    with closing(Sink()) as made:
        yield made


def polling(*sinks: Sink, **settings: Any) -> Supervised:
    """Return a receiver of these sinks."""
    addresses = [("127.0.0.1", each.port) for each in sinks]
    return Supervised(FlumePollingReceiver(addresses, **settings))


def bodies(count: int) -> list[bytes]:
    """Return so many different bodies."""
    return [b"%d" % number for number in range(count)]


def test_a_batch_is_acknowledged_when_it_is_stored(sink: Sink) -> None:
    """Blocks of up to the batch size; then the sink has nothing in flight."""
    sink.put(bodies(25))
    with polling(sink, batch_events_max=10, parallelism=1) as running:
        sink.wait_until(lambda: sink.heard["ack"] == 3)

        assert [len(block) for block in running.blocks] == [10, 10, 5]
        assert [body for _, body in running.records] == bodies(25)
        assert running.records[0][0] == {"at": "1"}
        assert not sink.heard["nack"]
        assert sink.is_empty


def test_what_cannot_be_stored_is_given_back(sink: Sink) -> None:
    """A nack; the receiver restarts, and the batch comes again."""
    with polling(sink, batch_events_max=10, parallelism=1) as running:
        running.refuses = lambda records: len(running.stops) == 0
        sink.put(bodies(3))
        sink.wait_until(lambda: sink.heard["nack"] == 1)
        running.restart_now()
        sink.wait_until(lambda: sink.heard["ack"] == 1)

        assert [body for _, body in running.records] == bodies(3)
        assert set(sink.times_given.values()) == {2}


def test_there_are_as_many_connections_as_asked_for(sink: Sink) -> None:
    """`parallelism` in all, shared out; at least one for each address."""
    with closing(Sink()) as other:
        with polling(sink, other, parallelism=5):
            sink.wait_until(lambda: sink.connection_count == 3)
            other.wait_until(lambda: other.connection_count == 2)
        with polling(sink, other, parallelism=1):
            sink.wait_until(lambda: sink.connection_count == 1)
            other.wait_until(lambda: other.connection_count == 1)


def test_a_sink_that_is_down_holds_up_no_other(sink: Sink) -> None:
    """Its connection tries again; listeners hear; the receiver goes on."""
    port = free_port()
    addresses = [("127.0.0.1", port), ("127.0.0.1", sink.port)]
    receiver = FlumePollingReceiver(addresses, parallelism=1)
    with Supervised(receiver) as running:
        running.wait_until(lambda: len(running.errors) >= 2)
        sink.put(bodies(3))
        sink.wait_until(lambda: sink.heard["ack"] == 1)
        assert f"the Flume sink 127.0.0.1:{port} broke" in running.errors[0]
        with closing(Sink(port=port)) as late:
            late.put([b"late"])
            late.wait_until(lambda: late.heard["ack"] == 1)

        assert [body for _, body in running.records] == [*bodies(3), b"late"]
        assert running.starts == 1


def test_an_acknowledgement_that_is_lost_repeats_the_batch(sink: Sink) -> None:
    """At least once: what was stored comes again on the next connection."""
    with polling(sink, parallelism=1) as running:
        hit = threading.Event()

        def break_once(records: list[Any]) -> bool:
            if not hit.is_set():
                hit.set()
                sink.disconnect()
                sink.wait_until(lambda: not sink.in_flight)
            return False

        running.refuses = break_once
        sink.put(bodies(2))
        sink.wait_until(lambda: sink.heard["ack"] == 1)

        assert [body for _, body in running.records] == bodies(2) * 2
        assert running.starts == 1


def test_a_transaction_that_timed_out_repeats_the_batch() -> None:
    """The sink refuses the late acknowledgement, and gives the batch out again."""
    with (
        closing(Sink(transaction_s=0.05)) as sink,
        polling(sink, parallelism=2) as running,
    ):
        late = threading.Event()

        def be_late(records: list[Any]) -> bool:
            if not late.is_set():
                late.set()
                # The other connection's polls have the sink look at the time.
                sink.wait_until(lambda: sink.times_given[b"0"] == 2)
            return False

        running.refuses = be_late
        sink.put(bodies(1))
        running.wait_until(lambda: len(running.blocks) == 2)
        sink.wait_until(lambda: sink.is_empty)
        running.wait_until(lambda: bool(running.errors))

        assert running.starts == 1
        assert "no such transaction" in running.errors[0]
        assert [body for _, body in running.records] == bodies(1) * 2


def test_a_sink_that_stalls_is_left_and_found_again(sink: Sink) -> None:
    """The wait is bounded; the error says which sink, and the limit."""
    limits = FlumeLimits(stall_s=0.2)
    sink.is_stalled.set()
    with polling(sink, parallelism=1, limits=limits) as running:
        running.wait_until(lambda: len(running.errors) >= 2)
        assert "hasn't answered getEventBatch for 0.2 s" in running.errors[0]
        assert f"127.0.0.1:{sink.port}" in running.errors[0]
        sink.is_stalled.clear()
        sink.put(bodies(2))
        sink.wait_until(lambda: sink.is_empty and sink.heard["ack"] > 0)

        assert {body for _, body in running.records} == set(bodies(2))


def test_a_server_of_another_kind_is_an_error() -> None:
    """Something else answers there: the error says what came."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = ("127.0.0.1", server.getsockname()[1])
        limits = FlumeLimits(stall_s=0.2)
        receiver = FlumePollingReceiver([address], parallelism=1, limits=limits)
        with Supervised(receiver) as running:
            running.wait_until(lambda: bool(running.errors))
        thread.join(10)

    assert "FlumeLimits.buffers_max" in running.errors[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"addresses": []},
        {"addresses": [("a", 1)], "parallelism": 0},
        {"addresses": [("a", 1)], "batch_events_max": 0},
    ],
)
def test_numbers_are_over_0(settings: dict[str, Any]) -> None:
    """And there is an address."""
    with pytest.raises(UsageError, match="over 0"):
        FlumePollingReceiver(**settings)


def test_a_receiver_travels_and_says_what_it_reads() -> None:
    """It is pickled for its launch, and into checkpoints."""
    made = FlumePollingReceiver([("a", 1), ("b", 2)], parallelism=7)
    copy = frames.loads(frames.dumps(made))

    assert copy.identity == "flume polling a:1, b:2"
    assert copy.connections == 7
