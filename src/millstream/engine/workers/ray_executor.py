"""Ray executor: the actor that runs tasks on a node of a Ray cluster.

What a task holds is returned beside its outcome, in as many parts as were asked for, so
that it belongs to the driver and outlives the actor: what an actor puts into Ray's store by
itself is lost with it. What a task reads comes as an argument, which Ray brings to the node
and maps.
"""

import io
import os  # noqa: TID251  The working directory.
import sys
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.frozen_bytes import Description
from millstream.engine.workers.live_blocks import LiveBlocks
from millstream.engine.workers.protocol import BlockLostError, Body

_BODIES_MAX = 64


@dataclass(frozen=True, slots=True)
class Slice:
    """A block: where it is in one of the parts that a task has returned, or reads."""

    part: int
    start: int
    size: int
    key: str
    """Not any other block's."""


@dataclass(frozen=True, slots=True)
class Call:
    """A task, as an actor is told to run it."""

    stage_id: str
    pickled: bytes | None
    """The stage's body, if the actor needn't know it."""
    given: bytes
    answers: dict[bytes, Any]
    """To what it has asked: it begins anew with them."""
    name: str
    """Not any other task's."""
    shelves: int
    """In how many parts what it holds is wanted."""
    reads: Sequence[Slice]
    """Which slices of the parts that come along it reads."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A block that came with a task."""

    data: memoryview
    path: None = None

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def memory_bytes(self) -> int:
        return 0

    def read(self) -> memoryview:
        return self.data

    def is_there(self) -> bool:
        return True


class _Asked(BaseException):
    """A task wants to know something from the driver; it runs again with the answer.

    No Exception, so that user code that catches those lets it pass.
    """

    def __init__(self, topic: str, question: Any) -> None:
        super().__init__(topic)
        self.topic = topic
        self.question = question


class Executor:
    """The actor: runs bodies of stages that it is told once."""

    def __init__(self, paths: list[str], working_directory: str) -> None:
        """Find modules where the driver does, if this machine has them."""
        sys.path[:] = [*dict.fromkeys([*paths, *sys.path])]
        if Path(working_directory).is_dir():
            os.chdir(working_directory)
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._answers: dict[bytes, Any] = {}
        self._live = LiveBlocks()
        self._pinned: dict[str, Any] = {}
        driver_link.connect(self._ask)

    def ping(self) -> str:
        """Return the node's id."""
        import ray  # noqa: PLC0415  An extra.

        node: str = ray.get_runtime_context().get_node_id()
        return node

    def pin(self, key: str, part: Any) -> None:
        """Keep a part on this node, until `unpin`."""
        self._pinned[key] = part

    def unpin(self, keys: Sequence[str]) -> None:
        """Let parts go that `pin` has kept."""
        for key in keys:
            self._pinned.pop(key, None)

    def run(self, calls: Sequence[Call], *parts: Any) -> Any:
        """Return what came of tasks, in their order: of each its kind, and more about it.

        `parts` has what they read. If any wants parts of what it holds, a sequence is
        returned: the outcomes, and those parts.
        """
        outcomes, filled = [], []
        for call in calls:
            inside = _Inside(call, parts, self._live)
            outcomes.append(self._outcome(call, inside))
            filled += inside.filled()
        return (outcomes, *filled) if filled else outcomes

    def _outcome(self, call: Call, inside: "_Inside") -> tuple[Any, ...]:
        self._answers.update(call.answers)
        try:
            if call.pickled is not None:
                self._bodies[call.stage_id] = frames.loads_function(call.pickled)
                while len(self._bodies) > _BODIES_MAX:
                    self._bodies.popitem(last=False)
            body = self._bodies.get(call.stage_id)
            if body is None:
                return ("unknown",)
            return "done", body(call.given, inside), inside.slices
        except _Asked as asked:
            inside.empty()
            return "asked", asked.topic, asked.question
        except BlockLostError as lost:
            inside.empty()
            return "missed", (lost.place,)
        except BaseException:
            inside.empty()
            return "broken", traceback.format_exc()

    def _ask(self, topic: str, question: Any) -> Any:
        key = frames.dumps((topic, question))
        if key not in self._answers:
            raise _Asked(topic, question)
        return self._answers[key]


class _Inside:
    """What the body of a task can do here."""

    def __init__(self, call: Call, parts: Sequence[Any], live: LiveBlocks) -> None:
        self._name = call.name
        self._reads = call.reads
        self._parts = parts
        self._live = live
        self._shelves = [io.BytesIO() for _ in range(call.shelves)]
        self.slices: list[Slice] = []

    def hold(self, block: Frozen) -> int:
        number = len(self.slices)
        part = number % len(self._shelves)
        shelf = self._shelves[part]
        start = shelf.tell()
        # Apart: an Arrow file tells places from its own beginning.
        data = io.BytesIO()
        frozen_bytes.share(block, data)
        shelf.write(data.getbuffer())
        key = f"{self._name}-{number}"
        self.slices.append(Slice(part, start, shelf.tell() - start, key))
        self._live.add(key, block)
        return number

    def read(self, place: int, about: Description) -> Frozen:
        each = self._reads[place]
        try:
            data = memoryview(self._parts[each.part])[each.start :][: each.size]
            return self._live.get(each.key) or about.unpack(_Given(data))
        except OSError as error:
            raise BlockLostError(place) from error

    def filled(self) -> list[Any]:
        """Return the parts of what is held."""
        return [frames.buffer(each.getvalue()) for each in self._shelves]

    def empty(self) -> None:
        """Hold nothing: the task didn't end."""
        self.slices = []
        self._shelves = [io.BytesIO() for _ in self._shelves]
