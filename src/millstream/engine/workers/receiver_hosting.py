"""Receiver hosting: what the place where a receiver lives apart offers to the driver."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Serve: TypeAlias = Callable[[bytes], bytes]
"""What a host does with a poll: it may take a while, and is called from many threads."""
Program: TypeAlias = Callable[[Callable[[], None]], Serve]
"""What a host runs: it is given how to end its process, and returns how it serves."""


class HostLost(Exception):  # noqa: N818  An end, which isn't always an error.
    """A host has ended, or can't be started; the text says how."""


@dataclass(frozen=True, slots=True)
class HostOrder:
    """A host to be started."""

    title: str
    """What its output is marked with."""
    program: bytes
    """A pickled `Program`."""
    polls_max: int
    """So many polls are made at a time."""
    preferred_host: str | None = None
    """Where it would rather be."""


class Host(Protocol):
    """A process with one receiver, as the driver knows it."""

    starting_max_s: float
    """Without an answer for so long it can't be started."""
    silence_max_s: float
    """Without an answer for so long it is dead."""

    def poll(self, data: bytes) -> "Future[bytes]":
        """Return what comes of a poll: HostLost when the host has ended.

        Any other exception means that this poll, or its answer, is lost.
        """
        ...

    def end(self) -> None:
        """End the process at once, if it hasn't ended."""
        ...


StartHost: TypeAlias = Callable[[HostOrder], Host]
