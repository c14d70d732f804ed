"""Worker main: the loop of a worker process, which runs one task at a time."""

import os  # noqa: TID251  The working directory.
import queue
import sys
import threading
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable.frozen_bytes import Description
from millstream.engine.workers.driver_channel import DriverChannel, open_channel
from millstream.engine.workers.live_blocks import LiveBlocks
from millstream.engine.workers.payloads import BlockFile, PayloadFiles, take
from millstream.engine.workers.protocol import BlockLostError, Body

BODIES_MAX = 64
"""So many stages a worker knows; the driver counts along."""


class _Messages:
    """What the driver says, read on a thread of its own: it hears at once of the end.

    Answers to what a task asks go before the tasks that wait.
    """

    def __init__(self, channel: DriverChannel) -> None:
        self._channel = channel
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="driver", daemon=True).start()

    def next(self) -> Any:
        """Return the next message that is no answer; waits for it."""
        return self._messages.get()

    def answer(self) -> Any:
        """Return the next answer; waits for it."""
        return self._answers.get()

    def _listen(self) -> None:
        try:
            for message in self._channel.messages():
                match message:
                    case ("answer", answer):
                        self._answers.put(answer)
                    case _:
                        self._messages.put(message)
        finally:
            # The driver has closed its end, or died: whatever runs here runs for nobody.
            os._exit(0)


def main() -> None:
    """Serve a driver until it closes its end, which ends the process at once."""
    channel = open_channel()
    messages = _Messages(channel)
    _, directories = messages.next()
    files, live = PayloadFiles(directories), LiveBlocks()
    driver_link.connect(
        lambda topic, question: _ask(channel, messages, topic, question)
    )
    bodies: OrderedDict[str, Body] = OrderedDict()
    channel.send("ready")
    while True:
        match messages.next():
            case ("stage", stage_id, pickled, paths, working_directory):
                sys.path[:] = paths
                if working_directory != str(Path.cwd()):
                    os.chdir(working_directory)
                bodies[stage_id] = _loaded(pickled)
                if len(bodies) > BODIES_MAX:
                    bodies.popitem(last=False)
            case ("environment", changed, gone):
                for name in gone:
                    os.environ.pop(name, None)
                os.environ.update(changed)
            case ("task", number, stage_id, given, reads):
                inside = _Inside(files, live, reads)
                _run(channel, number, inside, bodies[stage_id], given)
            case other:
                msg = f"the driver said {other!r:.100}"
                raise AssertionError(msg)


def _ask(channel: DriverChannel, messages: _Messages, topic: str, question: Any) -> Any:
    channel.send("ask", topic, question)
    return messages.answer()


class _Inside:
    """What the body of a task can do here."""

    def __init__(
        self, files: PayloadFiles, live: LiveBlocks, reads: list[BlockFile]
    ) -> None:
        self.files = files
        self.held: list[BlockFile] = []
        self._live = live
        self._reads = reads

    def hold(self, block: Frozen) -> int:
        file = self.files.hold(block)
        self._live.add(str(file.path), block)
        self.held.append(file)
        return len(self.held) - 1

    def read(self, place: int, about: Description) -> Frozen:
        file = self._reads[place]
        key = str(file.path)
        try:
            return self._live.get(key) or about.unpack(file)
        except OSError as error:
            raise BlockLostError(place) from error


def _run(
    channel: DriverChannel, number: int, inside: _Inside, body: Body, given: Any
) -> None:
    try:
        made = inside.files.put(body(take(given), inside))
    except BlockLostError as lost:
        channel.send("missed", number, (lost.place,))
    except BaseException:
        channel.send("broken", number, traceback.format_exc())
    else:
        channel.send("done", number, made, inside.held)


def _loaded(pickled: bytes) -> Body:
    try:
        body: Body = frames.loads_function(pickled)
    except BaseException:
        reason = traceback.format_exc()

        def body(_given: bytes | memoryview, _inside: Any) -> bytes:
            msg = f"a worker can't load what it should run:\n{reason}"
            raise RuntimeError(msg)

    return body
