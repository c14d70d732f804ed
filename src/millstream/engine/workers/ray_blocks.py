"""Ray blocks: what tasks on a Ray cluster hold, as the driver knows it.

A part, in Ray's store, is what a task has returned of the blocks that it holds; it goes when
the driver no longer refers to any of them.
"""

import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from millstream.engine.workers.ray_executor import Slice

_GET_S = 30.0
_HERE_MAX_BYTES = 90_000
"""What is smaller Ray itself brings to the driver, at once."""


class Part:
    """An object in Ray's store, which belongs to the driver."""

    def __init__(
        self, ref: Any, key: str, gone: "Gone", holder: "Holder | None", size: int
    ) -> None:
        """Be what `ref` names, made by an executor, or by the driver."""
        self.ref = ref
        self.key = key
        self.holder = holder
        self.copies: set[Holder] = set()
        self.is_copied = False
        """Whether a copy was asked for."""
        self.is_lost = False
        self._is_here = holder is None or size <= _HERE_MAX_BYTES
        self._gone = gone

    def __del__(self) -> None:
        """Have the copies let go."""
        for copy in self.copies:
            self._gone.add(copy.executor, self.key)

    def lose_executor(self, executor: int) -> None:
        """Hear that an executor has ended: what it made is its node's, copies its own."""
        self.copies = {each for each in self.copies if each.executor != executor}

    def lose_node(self, node: str) -> None:
        """Hear that a node is gone."""
        self.copies = {each for each in self.copies if each.node != node}
        if self.holder is not None and self.holder.node == node and not self._is_here:
            self.holder = next(iter(self.copies), None)
            self.is_lost = self.holder is None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a part: an executor, on a node."""

    executor: int
    node: str | None


class Gone:
    """Copies to be let go, noted by finalizers, on any thread and under any lock."""

    def __init__(self) -> None:
        """Start without any."""
        self._noted: deque[tuple[int, str]] = deque()

    def add(self, executor: int, key: str) -> None:
        """Note one."""
        self._noted.append((executor, key))

    def take(self) -> dict[int, list[str]]:
        """Return those that were noted, by executor."""
        taken: dict[int, list[str]] = {}
        while self._noted:
            executor, key = self._noted.popleft()
            taken.setdefault(executor, []).append(key)
        return taken


class RayHeld:
    """A block in a part."""

    path = None
    memory_bytes = 0
    """None of this machine's: Ray's store has its own."""

    def __init__(self, part: Part, place: Slice) -> None:
        """Be the block at `place`."""
        self.part = part
        self.place = place

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.place.size

    @property
    def holder(self) -> int | None:
        """The executor that has made it."""
        holder = self.part.holder
        return None if holder is None else holder.executor

    def read(self) -> memoryview:
        """Return the bytes, brought here if they are on another node.

        Raises:
            OSError: They are lost.
        """
        import ray  # noqa: PLC0415  An extra.

        if self.part.is_lost:
            msg = f"block {self.place.key} was lost with its node"
            raise OSError(msg)
        try:
            data = memoryview(ray.get(self.part.ref, timeout=_GET_S))
        except ray.exceptions.RayError as error:
            self.part.is_lost = True
            msg = f"block {self.place.key} is lost: {error}"
            raise OSError(msg) from error
        return data[self.place.start :][: self.place.size]

    def is_there(self) -> bool:
        """Say whether it isn't known to be lost."""
        return not self.part.is_lost


class Reads:
    """What tasks that are handed over together read: each part travels once."""

    def __init__(self) -> None:
        """Start without any."""
        self.refs: list[Any] = []
        self._places: dict[int, int] = {}

    def add(self, blocks: Iterable[Any]) -> list[Slice]:
        """Return where blocks of these workers are in the parts that travel."""
        slices = []
        for each in blocks:
            assert isinstance(each, RayHeld), "of these workers"
            place = self._places.setdefault(id(each.part), len(self._places))
            if place == len(self.refs):
                self.refs.append(each.part.ref)
            at = each.place
            slices.append(Slice(place, at.start, at.size, at.key))
        return slices


class Parts:
    """All parts that there are. Thread-safe."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[Part] = weakref.WeakSet()
        self.gone = Gone()

    def new(
        self, ref: Any, key: str, holder: Holder | None = None, size: int = 0
    ) -> Part:
        """Return a part that was made, of `size` bytes."""
        part = Part(ref, key, self.gone, holder, size)
        with self._lock:
            self._all.add(part)
        return part

    def lose_executor(self, executor: int) -> None:
        """Hear that an executor has ended."""
        for part in self._known():
            part.lose_executor(executor)

    def lose_node(self, node: str) -> None:
        """Hear that a node is gone."""
        for part in self._known():
            part.lose_node(node)

    def _known(self) -> list[Part]:
        with self._lock:
            return list(self._all)
