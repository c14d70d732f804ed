"""Ray actors: workers on the nodes of a Ray cluster; an extra.

Each slot is a long-lived actor that runs one task at a time, restarted by Ray where it
dies. Ray's own retries and lineage are off: what was lost is told, and the driver decides.
"""

import io
import itertools
import logging
import os  # noqa: TID251  The working directory.
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.base.threads import SerialLoop
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.frozen_bytes import Held
from millstream.engine.workers import ray_nodes, ray_scaling
from millstream.engine.workers.protocol import Broken, Done, Lost, Missed, TaskOrder
from millstream.engine.workers.queueing import TaskQueue, Ticket
from millstream.engine.workers.ray_blocks import Holder, Parts, RayHeld, Reads
from millstream.engine.workers.ray_executor import Call, Executor, Slice
from millstream.engine.workers.ray_nodes import NodeWatch

_log = logging.getLogger(__name__)

_BEATS = "beats"
"""What an actor answers while it runs a task."""
_HEARTBEAT_S = 1.0
_STARTING_S = 0.02
_LISTEN_S = 0.01
_SILENCE_MAX_S = 5.0
_JOIN_S = 10.0
_LOOK_S = 0.5


class _Actor:
    """One executor as the driver knows it."""

    def __init__(self, number: int, handle: Any) -> None:
        self.number = number
        self.handle = handle
        self.known: set[str] = set()
        self.runs: dict[int, Any] = {}
        """How to call it, by how many parts of what it holds it returns."""
        self.node: str | None = None
        self.tickets: list[Ticket] = []
        self.freed_s = 0.0
        self.is_alive = False
        """Whether it has answered, lately; else it gets no task."""
        self.is_leaving = False
        """Whether it ends after its task: there are to be fewer."""
        self.beat: Any = None
        """The answer that is waited for."""
        self.asked_s = 0.0

    @property
    def where(self) -> str:
        """What it is called where people read it."""
        at = "" if self.node is None else f" on {self.node[:12]}"
        return f"Ray executor {self.number}{at}"


class RayWorkers(TaskQueue[_Actor]):
    """Runs tasks on actors, `count` of them, spread over the cluster. Thread-safe."""

    depth = 32  # A call takes longer than the shortest tasks,
    ahead_s = (
        0.06  # and an actor would wait milliseconds for each of those that aren't.
    )

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
        # Ray tells how a call ended on the thread that `ray.kill` waits for: whoever took
        # a lock of ours there would wait forever for one who holds it and kills.
        self._endings = SerialLoop(
            "millstream-worker-endings",
            lambda error: _log.error("a task's ending was lost", exc_info=error),
        )
        made = ray.remote(
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
            concurrency_groups={_BEATS: 1},
            scheduling_strategy="SPREAD",
        )(Executor)
        here = os.getcwd()  # noqa: PTH109
        self._start_actor: Callable[[], Any] = lambda: made.remote(list(sys.path), here)
        self._parts = Parts()
        self._looked_s = 0.0
        self._nodes = NodeWatch(lambda: ray_nodes.addresses(ray), ray_nodes.answers)
        self._numbers = itertools.count()
        self._names = itertools.count()
        self._actors: list[_Actor] = []
        self._add(self.count)
        self._endings.start()
        self._heart.start()

    def _add(self, count: int) -> None:
        # A list of its own: others may be going through the one there is.
        new = [_Actor(next(self._numbers), self._start_actor()) for _ in range(count)]
        self._actors = [*self._actors, *new]

    @property
    def ready_count(self) -> int:
        """How many actors take tasks now."""
        with self._lock:
            return ray_scaling.count_ready(self._actors)

    def scale(self, count: int) -> None:
        """Have `count` actors, by and by, and nodes for them where Ray can have more."""
        ray_scaling.request_nodes(count)
        with self._lock:
            self._check_open()
            missing, leaving = ray_scaling.plan_change(self._actors, count)
            self._add(missing)
            for actor in leaving:
                actor.is_leaving = True
                if not actor.tickets:
                    self._remove(actor)

    def _remove(self, actor: _Actor) -> None:
        self._actors = [each for each in self._actors if each is not actor]
        self._ray.kill(actor.handle)

    def _is_freed(self, executor: _Actor) -> None:
        if executor.is_leaving:
            self._remove(executor)

    def release(self) -> None:
        """End the actors, and Ray if it was started here."""
        self._is_closed.set()
        with self._lock:
            self._waiting.clear()
        # Nobody may be inside Ray when it ends, with the program or here: it would crash.
        if self._heart is not threading.current_thread():
            self._heart.join(_JOIN_S)
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._endings.stop()
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
            self._look_at_nodes()
            self._let_go()
            is_calm = all(actor.is_alive for actor in self._actors)
            wait_s = _HEARTBEAT_S if is_calm else _STARTING_S

    def _listen_to(self, actor: _Actor) -> None:
        if actor.beat is None:
            ping = actor.handle.ping.options(concurrency_group=_BEATS)
            actor.beat, actor.asked_s = ping.remote(), monotonic_s()
        heard, _ = self._ray.wait([actor.beat], timeout=_LISTEN_S)
        if not heard:
            if actor.is_alive and monotonic_s() - actor.asked_s > _SILENCE_MAX_S:
                self._mourn(actor)
            return
        beat, actor.beat = actor.beat, None
        try:
            actor.node = self._ray.get(beat)
        except self._ray.exceptions.RayError:
            self._is_ended(actor)
            return
        if not actor.is_alive:
            actor.is_alive = True
            self._dispatch()

    def _mourn(self, actor: _Actor) -> None:
        """Take the task from an actor that is silent, and have another one started."""
        _log.warning("a Ray actor is silent actor=%d", actor.number)
        with self._lock:
            actor.is_alive = False
            tickets = list(actor.tickets)
        # What it may still be doing is for nobody.
        self._ray.kill(actor.handle, no_restart=False)
        self._parts.lose_executor(actor.number)
        reason = f"its Ray actor was silent for {_SILENCE_MAX_S:g} s"
        for ticket in tickets:
            self._settle(actor, ticket, Lost(reason, is_own_doing=False))
        is_alone = not any(e.is_alive and e.node == actor.node for e in self._actors)
        if is_alone and actor.node is not None:
            self._lose_node(actor.node)

    def _look_at_nodes(self) -> None:
        """See which nodes are gone, now and then."""
        now_s = monotonic_s()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        nodes = {each.node for each in self._actors if each.node is not None}
        for node in self._nodes.look(nodes):
            _log.warning("a Ray node is gone node=%s", node)
            self._lose_node(node)

    def _lose_node(self, node: str) -> None:
        """Take tasks from actors of a node that is gone, and from who waits for its blocks.

        Ray itself would have them wait until it knows of the node's end.
        """
        self._parts.lose_node(node)
        with self._lock:
            gone = [
                (actor, ticket)
                for actor in self._actors
                if actor.node == node
                for ticket in actor.tickets
            ]
            for actor in self._actors:
                actor.is_alive = actor.is_alive and actor.node != node
            waiting = [
                (actor, ticket, lost)
                for actor in self._actors
                for ticket in actor.tickets
                if actor.node != node and (lost := _lost_of(ticket.order))
            ]
        for actor, ticket in gone:
            lost_with_node = Lost("its Ray node is gone", is_own_doing=False)
            self._settle(actor, ticket, lost_with_node)
        for actor, ticket, lost in waiting:
            self._settle(actor, ticket, Missed(lost))
            self._end(actor)

    def hold(self, block: Frozen) -> RayHeld:
        """Keep a block of the driver's, for tasks to read."""
        data = io.BytesIO()
        frozen_bytes.share(block, data)
        key = f"driver-{next(self._names)}"
        ref = self._ray.put(frames.buffer(data.getvalue()))
        part = self._parts.new(ref, key)
        return RayHeld(part, Slice(0, 0, data.tell(), key))

    def copy(self, held: Held) -> None:
        """Have an executor on another node keep a block, too, if there is another node."""
        assert isinstance(held, RayHeld), "of these workers"
        part = held.part
        with self._lock:
            node = None if part.holder is None else part.holder.node
            others = [
                each
                for each in self._actors
                if each.is_alive and not each.is_leaving and each.node != node
            ]
        if part.is_copied or not others:
            return
        part.is_copied = True
        chosen = min(others, key=lambda each: len(each.tickets))
        pin = chosen.handle.pin.options(concurrency_group=_BEATS)
        ref = pin.remote(part.key, part.ref)

        def on_done(done: "Future[Any]") -> None:
            if done.exception() is None:
                part.copies.add(Holder(chosen.number, chosen.node))

        ref.future().add_done_callback(on_done)

    def _let_go(self) -> None:
        """Have copies go that nobody needs any more."""
        for number, keys in self._parts.gone.take().items():
            for actor in self._actors:
                if actor.number == number:
                    unpin = actor.handle.unpin.options(concurrency_group=_BEATS)
                    unpin.remote(keys)

    def _executors(self) -> list[_Actor]:
        return self._actors

    def _is_ready(self, executor: _Actor) -> bool:
        return executor.is_alive and not executor.is_leaving

    def _begin(self, executor: _Actor, tickets: Sequence[Ticket]) -> None:
        self._run(executor, tickets, {})

    def _end(self, executor: _Actor) -> None:
        self._ray.kill(executor.handle, no_restart=False)

    def _run(
        self, actor: _Actor, tickets: Sequence[Ticket], answers: dict[bytes, Any]
    ) -> None:
        """Call an actor; `answers` is what a task has asked, and begins anew with."""
        reads, calls, shelves = Reads(), [], 0
        for ticket in tickets:
            order = ticket.order
            body = order.stage
            pickled = None if body.id in actor.known else body.pickled
            actor.known.add(body.id)
            name = f"{body.id}-{next(self._names)}"
            slices = reads.add(order.reads)
            shelves += order.shelves
            calls.append(
                Call(
                    body.id, pickled, order.given, answers, name, order.shelves, slices
                )
            )
        run = actor.runs.get(shelves)
        if run is None:
            run = actor.handle.run.options(num_returns=1 + shelves)
            actor.runs[shelves] = run
        made = run.remote(calls, *reads.refs)
        refs = made if shelves else [made]
        future: Future[Any] = refs[0].future()
        future.add_done_callback(
            lambda done: self._endings.post(
                partial(self._on_done, actor, tickets, calls, refs[1:], done)
            )
        )

    def _on_done(
        self,
        actor: _Actor,
        tickets: Sequence[Ticket],
        calls: Sequence[Call],
        refs: list[Any],
        done: "Future[Any]",
    ) -> None:
        if self._is_closed.is_set():
            return
        error = done.exception()
        if error is not None:
            self._on_error(actor, tickets, error)
            return
        with self.together():  # What they make room for is handed over together, too.
            for ticket, call, outcome in zip(
                tickets, calls, done.result(), strict=True
            ):
                parts, refs = refs[: call.shelves], refs[call.shelves :]
                # One that fell silent may speak of a task that was taken from it.
                if ticket in actor.tickets:
                    self._take(actor, ticket, call, parts, outcome)

    def _take(
        self,
        actor: _Actor,
        ticket: Ticket,
        call: Call,
        parts: list[Any],
        outcome: tuple[Any, ...],
    ) -> None:
        match outcome:
            case ("unknown",):
                actor.known.discard(ticket.order.stage.id)
                self._run(actor, [ticket], call.answers)
            case ("asked", topic, question):
                key = frames.dumps((topic, question))
                answer = driver_link.answer_to(topic, question)
                self._run(actor, [ticket], {**call.answers, key: answer})
            case ("done", value, slices):
                held = self._held(actor, call.name, parts, slices)
                self._settle(actor, ticket, Done(value, held))
            case ("missed", places):
                self._settle(actor, ticket, Missed(places))
            case ("broken", reason):
                self._settle(actor, ticket, Broken(reason))
            case other:
                msg = f"an executor returned {other!r:.100}"
                raise AssertionError(msg)

    def _held(
        self, actor: _Actor, name: str, refs: list[Any], slices: list[Slice]
    ) -> list[RayHeld]:
        holder = Holder(actor.number, actor.node)
        sizes = [0] * len(refs)
        for each in slices:
            sizes[each.part] += each.size
        parts = [
            self._parts.new(ref, f"{name}-part-{place}", holder, sizes[place])
            for place, ref in enumerate(refs)
        ]
        return [RayHeld(parts[each.part], each) for each in slices]

    def _on_error(
        self, actor: _Actor, tickets: Sequence[Ticket], error: BaseException
    ) -> None:
        lost = self._ray.exceptions.ObjectLostError
        cause = getattr(error, "cause", None)
        is_missed = isinstance(error, lost) or isinstance(cause, lost)
        if not is_missed:
            self._is_ended(actor)
        name = type(error).__name__
        reason = f"its Ray actor was lost ({name}: {error})".replace("\n", " ")
        for ticket in tickets:
            reads = ticket.order.reads
            if is_missed and reads:
                # Which one it doesn't say in a way to rely on.
                places = _lost_of(ticket.order) or tuple(range(len(reads)))
                self._settle(actor, ticket, Missed(places))
            else:
                self._settle(actor, ticket, Lost(reason[:500], is_own_doing=False))

    def _is_ended(self, actor: _Actor) -> None:
        """Hear that an actor's process has ended: Ray starts it anew."""
        actor.is_alive = False
        actor.known.clear()
        self._parts.lose_executor(actor.number)


def _lost_of(order: TaskOrder) -> tuple[int, ...]:
    """Return the places of what a task reads that is known to be lost."""
    return tuple(i for i, each in enumerate(order.reads) if not each.is_there())


def _join(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine, for this machine alone."""
    is_own = address is None and not os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    ray.init(
        # None would join whatever cluster was last started on this machine.
        address="local" if is_own else address,
        namespace="millstream",
        configure_logging=False,
        **(own if is_own else {}),
    )
    # Ray's own handler ends the program at once, whatever a stream has to finish.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _imported() -> Any:
    try:
        import ray  # noqa: PLC0415  An extra.
    except ImportError as error:
        msg = "master 'ray' needs Ray"
        raise MissingDependencyError(
            msg, hint="pip install 'millstream[ray]'"
        ) from error
    return ray
