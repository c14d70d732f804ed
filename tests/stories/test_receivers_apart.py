"""Stories of receivers in processes of their own: nothing that was acknowledged is lost."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream import RDD, SparkConf, SparkContext, StorageLevel
from millstream.engine.base.errors import PySparkPicklingError
from millstream.streaming import StreamingContext, StreamingListener
from millstream.streaming.receiver import AsyncReceiver, Receiver

CLUSTER = "local-cluster[2,1,1024]"
WAIT_S = 40


class Source:
    """A server of numbers, on loopback: it keeps each until that is acknowledged.

    A client gets the first number that isn't, acknowledges it by a byte, gets the next.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.acknowledged = 0
        self.changed = threading.Condition()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Serve one client after the other."""
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client:
                self.talk(client)

    def talk(self, client: socket.socket) -> None:
        """Give numbers until the client goes, or there are no more."""
        try:
            while self.acknowledged < self.count:
                client.sendall(f"{self.acknowledged}\n".encode())
                if not client.recv(1):
                    return
                with self.changed:
                    self.acknowledged += 1
                    self.changed.notify_all()
            client.recv(1)  # Until it goes.
        except OSError:
            return

    def wait_for(self, count: int) -> None:
        """Return when so many numbers are acknowledged."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.acknowledged >= count, WAIT_S)

    def close(self) -> None:
        """Take no more clients."""
        self.server.shutdown(socket.SHUT_RDWR)  # It wakes the thread.
        self.server.close()


class Reliable(Receiver[Any]):
    """Acknowledges to a source what is stored."""

    def __init__(self, port: int) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)
        self.port = port

    def onStart(self) -> None:
        """Receive in a thread."""
        threading.Thread(target=self.receive, daemon=True).start()

    def onStop(self) -> None:
        """Leave it to the thread."""

    def receive(self) -> None:
        """Store, and only then acknowledge."""
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            for line in server.makefile():
                if self.isStopped():
                    return
                self.store([(int(line), os.getpid())])
                server.sendall(b"+")


class Singles(Receiver[Any]):
    """Stores some numbers one by one, and writes down where it is."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def onStart(self) -> None:
        """Store in a thread."""
        threading.Thread(target=self.receive, daemon=True).start()

    def onStop(self) -> None:
        """Do nothing: it ends by itself."""

    def receive(self) -> None:
        """Store."""
        for number in range(self.count):
            self.store((number, "a record"))


class Coroutine(AsyncReceiver[Any]):
    """The same, as a coroutine."""

    async def run(self, store: Any) -> None:
        """Store blocks and records."""
        import asyncio

        await store([0, 1, 2])
        for number in range(3, 10):
            await store(number)
        await asyncio.Event().wait()


class Stream:
    """A stream whose output a test waits for."""

    def __init__(self, master: str, **conf: str) -> None:
        made = SparkConf().setMaster(master).setAppName("apart")
        for key, value in conf.items():
            made.set(key, value)
        self.sc = SparkContext(conf=made)
        self.ssc = StreamingContext(self.sc, 0.1)
        self.found: list[Any] = []
        self.changed = threading.Condition()

    def collect(self, stream: Any) -> None:
        """Note what comes out."""

        def take(rdd: RDD[Any]) -> None:
            records = rdd.collect()
            with self.changed:
                self.found += records
                self.changed.notify_all()

        stream.foreachRDD(take)

    def wait_for(self, count: int) -> None:
        """Return when so many records came out."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.found) >= count, WAIT_S)

    def stop(self, *, is_graceful: bool = True) -> None:
        """End it."""
        self.ssc.stop(stopSparkContext=True, stopGraceFully=is_graceful)


@pytest.fixture
def streams() -> Iterator[Callable[..., Stream]]:
    """Return a function that makes a stream; the last one is stopped with the test."""
    made: list[Stream] = []

    def make(master: str = CLUSTER, **conf: str) -> Stream:
        made.append(Stream(master, **conf))
        return made[-1]

    yield make
    for each in made:
        each.stop(is_graceful=False)


@pytest.fixture
def lines() -> Iterator[int]:
    """Return the port of a server that gives each client a few lines, and keeps it."""
    server = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.sendall("one\ntwo\r\nthr\u00e9\n".encode() * 50)
            clients.append(client)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)  # It wakes the thread.
    server.close()
    for each in clients:
        each.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["socket", "singles", "coroutine"])
def test_a_receiver_gives_the_same_wherever_it_lives(
    streams: Callable[..., Stream], lines: int, kind: str
) -> None:
    """Lines of a socket, records of a program's own receiver, and of a coroutine."""
    outputs: dict[str, list[Any]] = {
        "socket": ["one", "two", "thr\u00e9"] * 50,
        "singles": [(number, "a record") for number in range(2000)],
        "coroutine": list(range(10)),
    }
    expected = outputs[kind]
    found = []
    for wish in ("here", "apart"):
        stream = streams(**{"spark.millstream.receivers": wish})
        source: Any = {
            "socket": lambda made=stream: made.ssc.socketTextStream("127.0.0.1", lines),
            "singles": lambda made=stream: made.ssc.receiverStream(Singles(2000)),
            "coroutine": lambda made=stream: made.ssc.receiverStream(Coroutine()),
        }[kind]
        stream.collect(source())
        stream.ssc.start()
        stream.wait_for(len(expected))
        stream.stop()
        found.append(stream.found)

    assert found == [expected, expected]


@pytest.mark.slow
def test_a_killed_receiver_loses_nothing_that_was_acknowledged(
    streams: Callable[..., Stream], caplog: pytest.LogCaptureFixture
) -> None:
    """Another one goes on with what wasn't; listeners hear of both, and of the death."""
    events: list[tuple[str, str]] = []

    class Heard(StreamingListener):
        def onReceiverStarted(self, receiverStarted: Any) -> None:
            info = receiverStarted.receiverInfo()
            events.append(("started", info.name()))

        def onReceiverStopped(self, receiverStopped: Any) -> None:
            info = receiverStopped.receiverInfo()
            events.append(("stopped", info.lastError()))

    source, stream = Source(300), streams()
    stream.ssc.addStreamingListener(Heard())
    stream.collect(stream.ssc.receiverStream(Reliable(source.port)))
    stream.ssc.start()
    stream.wait_for(20)
    first = stream.found[0][1]
    os.kill(first, signal.SIGKILL)
    source.wait_for(300)
    stream.stop()
    source.close()

    numbers = [number for number, _ in stream.found]
    again = [number for number in numbers if numbers.count(number) > 1]
    pids = {pid for _, pid in stream.found}
    assert sorted(set(numbers)) == list(range(300))
    # One may have been stored, and its receiver killed before it could say so.
    assert len(again) in (0, 2)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert [kind for kind, _ in events] == ["started", "stopped", "started", "stopped"]
    assert "its process was killed (SIGKILL)" in events[1][1]
    assert "receiver 'Reliable-0' of stream 0 was lost" in caplog.text


@pytest.mark.slow
def test_a_graceful_stop_processes_all_that_was_acknowledged(
    streams: Callable[..., Stream],
) -> None:
    """Each number once: the last ones, too."""
    source, stream = Source(1 << 30), streams()
    stream.collect(stream.ssc.receiverStream(Reliable(source.port)))
    stream.ssc.start()
    source.wait_for(50)
    stream.stop()
    source.close()

    numbers = [number for number, _ in stream.found]
    assert numbers == list(range(len(numbers)))
    # The last may have been stored when the receiver was told to stop.
    assert len(numbers) - source.acknowledged in (0, 1)


class Unsendable(Receiver[Any]):
    """It holds what no other process can have."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_receiver_that_cannot_travel_is_told_by_name(
    streams: Callable[..., Stream],
) -> None:
    """And what to do."""
    stream = streams()
    stream.collect(stream.ssc.receiverStream(Unsendable()))

    with pytest.raises(PySparkPicklingError) as caught:
        stream.ssc.start()

    text = str(caught.value) + str(getattr(caught.value, "__notes__", ""))
    assert "receiver 'Unsendable' of stream 0 can't be sent" in text
    assert "spark.millstream.receivers=here" in text
