"""Ray actors: workers on the nodes of a Ray cluster; an extra.

Each slot is a long-lived actor that runs one task at a time, restarted by Ray where it
dies. Ray's own retries and lineage are off: what was lost is told, and the driver decides.
A task's result is what an actor's method returns, so that it belongs to the driver and
outlives the actor.
"""

import logging
import os  # noqa: TID251  The working directory.
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.workers.protocol import Broken, Done, Lost
from millstream.engine.workers.queueing import TaskQueue, Ticket

_log = logging.getLogger(__name__)

_BODIES_MAX = 64
_HEARTBEAT_S = 1.0
_STARTING_S = 0.02
_LISTEN_S = 0.01
_SILENCE_MAX_S = 5.0


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
        self._bodies: dict[str, Callable[[bytes], bytes]] = {}
        self._answers: dict[bytes, Any] = {}
        driver_link.connect(self._ask)

    def ping(self) -> int:
        """Return the process's id."""
        return os.getpid()

    def run(
        self,
        stage_id: str,
        pickled: bytes | None,
        given: bytes,
        answers: dict[bytes, Any],
    ) -> tuple[Any, ...]:
        """Return what came of a task: its kind, and more about it."""
        self._answers.update(answers)
        try:
            if pickled is not None:
                self._bodies[stage_id] = frames.loads_function(pickled)
                while len(self._bodies) > _BODIES_MAX:
                    del self._bodies[next(iter(self._bodies))]
            if stage_id not in self._bodies:
                return ("unknown",)
            return "done", self._bodies[stage_id](given)
        except _Asked as asked:
            return "asked", asked.topic, asked.question
        except BaseException:
            return "broken", traceback.format_exc()

    def _ask(self, topic: str, question: Any) -> Any:
        key = frames.dumps((topic, question))
        if key not in self._answers:
            raise _Asked(topic, question)
        return self._answers[key]


class _Actor:
    """One executor as the driver knows it."""

    def __init__(self, number: int, handle: Any) -> None:
        self.number = number
        self.handle = handle
        self.known: set[str] = set()
        self.answers: dict[bytes, Any] = {}
        """What its task has asked."""
        self.ticket: Ticket | None = None
        self.is_alive = False
        """Whether it has answered, lately; else it gets no task."""
        self.beat: Any = None
        """The answer that is waited for."""
        self.asked_s = 0.0


class RayWorkers(TaskQueue[_Actor]):
    """Runs tasks on actors, `count` of them, spread over the cluster. Thread-safe."""

    def __init__(self, address: str | None, count: int | None = None) -> None:
        """Join the cluster at `address`, or the one of the environment, or start one here.

        Without a `count` there is an actor for each CPU that the cluster has.

        Raises:
            MissingDependencyError: Ray isn't installed.
            ConnectionError: There is no cluster at the address.
        """
        super().__init__()
        self._ray = ray = _imported()
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            _join(ray, address)
        self.count = count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._heart = threading.Thread(
            target=self._listen_to_hearts, name="millstream-worker-hearts", daemon=True
        )
        made = ray.remote(
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=2,  # One for a task, one to say that it is alive.
            scheduling_strategy="SPREAD",
        )(Executor)
        self._actors = [
            _Actor(number, made.remote(list(sys.path), os.getcwd()))  # noqa: PTH109
            for number in range(self.count)
        ]
        self._heart.start()

    def release(self) -> None:
        """End the actors, and Ray if it was started here."""
        self._is_closed.set()
        with self._lock:
            self._waiting.clear()
        for actor in self._actors:
            self._ray.kill(actor.handle)
        if self._owns_ray:
            self._ray.shutdown()

    def _listen_to_hearts(self) -> None:
        """Ask every actor now and then whether it lives.

        Ray takes half a minute to notice that a node is gone. An actor that is silent for
        a few seconds loses its task, and what it says of it later is not heard. One that
        is being started may take its time: it gets no task before it has answered.
        """
        wait_s = _STARTING_S
        while not self._is_closed.wait(wait_s):
            for actor in self._actors:
                try:
                    self._listen_to(actor)
                except Exception as error:
                    if self._is_closed.is_set():
                        return
                    _log.warning("a Ray actor can't be asked error=%r", error)
            is_calm = all(actor.is_alive for actor in self._actors)
            wait_s = _HEARTBEAT_S if is_calm else _STARTING_S

    def _listen_to(self, actor: _Actor) -> None:
        if actor.beat is None:
            actor.beat, actor.asked_s = actor.handle.ping.remote(), monotonic_s()
        heard, _ = self._ray.wait([actor.beat], timeout=_LISTEN_S)
        if not heard:
            if actor.is_alive and monotonic_s() - actor.asked_s > _SILENCE_MAX_S:
                self._mourn(actor)
            return
        beat, actor.beat = actor.beat, None
        try:
            self._ray.get(beat)
        except self._ray.exceptions.RayError:
            actor.is_alive = False  # It is being started anew.
            return
        if not actor.is_alive:
            actor.is_alive = True
            self._dispatch()

    def _mourn(self, actor: _Actor) -> None:
        """Take the task from an actor that is silent, and have another one started."""
        _log.warning("a Ray actor is silent actor=%d", actor.number)
        with self._lock:
            actor.is_alive = False
            ticket = actor.ticket
        # What it may still be doing is for nobody.
        self._ray.kill(actor.handle, no_restart=False)
        if ticket is not None:
            reason = f"its Ray actor was silent for {_SILENCE_MAX_S:g} s"
            self._settle(actor, ticket, Lost(reason, is_own_doing=False))

    def _executors(self) -> list[_Actor]:
        return self._actors

    def _is_ready(self, executor: _Actor) -> bool:
        return executor.is_alive

    def _begin(self, executor: _Actor, ticket: Ticket) -> None:
        executor.answers = {}
        self._run(executor, ticket)

    def _end(self, executor: _Actor) -> None:
        self._ray.kill(executor.handle, no_restart=False)

    def _run(self, actor: _Actor, ticket: Ticket) -> None:
        body = ticket.order.stage
        pickled = None if body.id in actor.known else body.pickled
        actor.known.add(body.id)
        ref = actor.handle.run.remote(
            body.id, pickled, ticket.order.given, actor.answers
        )
        future: Future[Any] = ref.future()
        future.add_done_callback(lambda done: self._on_done(actor, ticket, done))

    def _on_done(self, actor: _Actor, ticket: Ticket, done: "Future[Any]") -> None:
        if self._is_closed.is_set():
            return
        # An actor that fell silent may speak of a task that was taken from it.
        error = done.exception()
        if error is not None:
            actor.is_alive = False
            actor.known.clear()  # One that is started anew knows nothing.
            name = type(error).__name__
            reason = f"its Ray actor was lost ({name}: {error})".replace("\n", " ")
            self._settle(actor, ticket, Lost(reason[:500], is_own_doing=False))
            return
        match done.result():
            case _ if actor.ticket is not ticket:
                pass
            case ("unknown",):
                actor.known.discard(ticket.order.stage.id)
                self._run(actor, ticket)
            case ("asked", topic, question):
                key = frames.dumps((topic, question))
                actor.answers[key] = driver_link.answer_to(topic, question)
                self._run(actor, ticket)
            case ("done", value):
                self._settle(actor, ticket, Done(value))
            case ("broken", reason):
                self._settle(actor, ticket, Broken(reason))
            case other:
                msg = f"an executor returned {other!r:.100}"
                raise AssertionError(msg)


def _join(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine, for this machine alone."""
    is_own = address is None and not os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    ray.init(
        address=address,
        namespace="millstream",
        configure_logging=False,
        **(own if is_own else {}),
    )


def _imported() -> Any:
    try:
        import ray  # noqa: PLC0415  An extra.
    except ImportError as error:
        msg = "master 'ray' needs Ray"
        raise MissingDependencyError(
            msg, hint="pip install 'millstream[ray]'"
        ) from error
    return ray
