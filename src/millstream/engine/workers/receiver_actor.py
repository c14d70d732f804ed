"""Receiver actor: a receiver's own process on some node of a Ray cluster; an extra.

It takes no CPU of the cluster's count, and Ray never restarts it: the driver starts
another one, of a newer epoch. It ends with the driver.
"""

import os  # noqa: TID251  The working directory.
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from millstream.engine.base import frames
from millstream.engine.workers.receiver_hosting import (
    HostLost,
    HostOrder,
    Program,
    Serve,
)


class ReceiverHostActor:
    """The actor."""

    def __init__(
        self, paths: list[str], working_directory: str, pickled: bytes
    ) -> None:
        """Find modules where the driver does, if this machine has them."""
        sys.path[:] = [*dict.fromkeys([*paths, *sys.path])]
        if Path(working_directory).is_dir():
            os.chdir(working_directory)
        program: Program = frames.loads_function(pickled)
        self._serve: Serve = program(lambda: os._exit(0))

    def poll(self, data: bytes) -> bytes:
        """Answer a poll."""
        return self._serve(data)


class ReceiverActor:
    """One actor as the driver knows it. Thread-safe."""

    starting_max_s = 120.0
    silence_max_s = 5.0  # Ray takes half a minute to notice that a node is gone.

    def __init__(self, order: HostOrder) -> None:
        """Start the actor, on the preferred host if there is a node of that name."""
        self._ray = ray = _imported()
        made = ray.remote(
            num_cpus=0,
            memory=1,  # Ray places what asks for nothing wherever it likes.
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=order.polls_max + 1,
            scheduling_strategy=_strategy(ray, order.preferred_host),
        )(ReceiverHostActor)
        here = os.getcwd()  # noqa: PTH109
        self._handle = made.remote(list(sys.path), here, order.program)

    def poll(self, data: bytes) -> "Future[bytes]":
        """Return what comes of a poll: HostLost when the actor has ended."""
        future: Future[bytes] = Future()
        asked: Future[bytes] = self._handle.poll.remote(data).future()
        asked.add_done_callback(lambda done: self._settle(future, done))
        return future

    def end(self) -> None:
        """End the actor at once, if it hasn't ended."""
        self._ray.kill(self._handle)

    def _settle(self, future: "Future[bytes]", done: "Future[bytes]") -> None:
        error = done.exception()
        errors = self._ray.exceptions
        if error is None:
            future.set_result(done.result())
        elif isinstance(error, errors.ActorUnavailableError):
            future.set_exception(error)  # It may be there again a little later.
        else:
            name = type(error).__name__
            reason = f"its Ray actor was lost ({name}: {error})".replace("\n", " ")
            future.set_exception(HostLost(reason[:500]))


def _imported() -> Any:
    import ray  # noqa: PLC0415  An extra, there if the master is a Ray cluster.

    return ray


def _strategy(ray: Any, host: str | None) -> Any:
    """Return how Ray chooses the node: where the receiver would rather be, or spread."""
    from ray.util.scheduling_strategies import (  # noqa: PLC0415  An extra.
        NodeAffinitySchedulingStrategy,
    )

    for node in ray.nodes() if host is not None else []:
        names = (
            node["NodeManagerHostname"],
            node["NodeManagerAddress"],
            node["NodeID"],
        )
        if node["Alive"] and host in names:
            return NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
    return "SPREAD"


def start(order: HostOrder) -> ReceiverActor:
    """Start a host; see `StartHost`."""
    return ReceiverActor(order)
