"""JobRun: one job from its plan to its results."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from millstream.engine.base import (
    accumulating,
    driver_link,
    exits,
    frames,
    notebooks,
    task_scope,
)
from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import (
    JobCancelledError,
    JobFailedError,
    WorkerLostError,
)
from millstream.engine.columnar.reports import StageReport
from millstream.engine.durable.frozen_bytes import Shared
from millstream.engine.jobs import (
    failures,
    found_records,
    placement,
    shipping,
)
from millstream.engine.jobs.actions import Action, Apply, Fold
from millstream.engine.jobs.attempts import (
    CancelTask,
    FailStage,
    FinishStage,
    Instruction,
    RedoStage,
    StageAttempts,
    StartTask,
)
from millstream.engine.jobs.barrier import BarrierRoom
from millstream.engine.jobs.book import JobRecord, StageOperator, StageRecord
from millstream.engine.jobs.placement import Place
from millstream.engine.jobs.speculation import Speculation
from millstream.engine.jobs.stages import Stage, plan_stages
from millstream.engine.jobs.task_log import TaskStatus, Traffic
from millstream.engine.jobs.tasks import (
    MissingShuffleError,
    Task,
    cached_id,
    functions_of,
    note_made,
)
from millstream.engine.plan.nodes import RddNode
from millstream.engine.workers.in_process import Killable
from millstream.engine.workers.protocol import (
    Broken,
    Done,
    Ending,
    Lost,
    Missed,
    StageBody,
    TaskOrder,
    Ticket,
)

if TYPE_CHECKING:
    import cProfile
    import pstats

    from millstream.engine.jobs.driver import Driver

_log = logging.getLogger(__name__)

_STAGE_ROUNDS_MAX = 4
_LOSSES_MAX = 4
"""A task whose worker was lost so often is taken to be the reason."""


# Not frozen: that would take twice as long to make, for each task.
@dataclass(slots=True)
class _Succeeded:
    index: int
    attempt: int
    value: Any
    updates: dict[int, Any]
    report: StageReport
    profile: "pstats.Stats | None"
    told: tuple[tuple[str, Any], ...] = ()
    """What it has told the driver from elsewhere."""
    took_s: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class _Failed:
    index: int
    attempt: int
    failure: failures.TaskFailure
    took_s: float | None = None
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class _Missed:
    index: int
    attempt: int
    node: RddNode


@dataclass(frozen=True, slots=True)
class _Lost:
    index: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Cancelled:
    reason: str


_Ended: TypeAlias = _Succeeded | _Failed | _Missed | _Lost
_Outcome: TypeAlias = _Ended | _Cancelled


# Looked up when they are called, as everywhere: simulations bring their own.
def _new_queue() -> "queue.SimpleQueue[_Outcome]":
    return queue.SimpleQueue()


def _new_lock() -> threading.Lock:
    return threading.Lock()


def _operators(stage: Stage) -> tuple[StageOperator, ...]:
    return tuple(
        StageOperator(
            each.id,
            each.title(),
            each.call_site,
            tuple(parent.id for parent in each.parents()),
        )
        for each in stage.members
    )


@dataclass(slots=True)
class JobRun:
    """One job. `run` blocks the thread that wants the results; `cancel` is for others."""

    driver: "Driver"
    record: JobRecord
    target: RddNode
    action: Action
    partitions: Sequence[int]
    properties: dict[str, str]
    results: dict[int, Any] = field(default_factory=dict)
    _outcomes: "queue.SimpleQueue[_Outcome]" = field(default_factory=_new_queue)
    _lock: threading.Lock = field(default_factory=_new_lock)
    _running: set[Killable] = field(default_factory=set)
    _elsewhere: dict[threading.Event, Ticket] = field(default_factory=dict)
    _cancelled: str | None = None

    def run(self) -> list[Any]:
        """Return one result a partition, in the order asked for.

        Raises:
            JobFailedError: A task failed too often; told with the user's traceback.
            JobCancelledError: Somebody cancelled the job.
            PySparkPicklingError: A function can't be pickled.
        """
        try:
            return self._run_rounds()
        except JobFailedError:
            # The failed task's neighbours end by themselves, as in Spark: a kill could hit
            # them in the middle of opening a file.
            self.driver.outliving.update(self._give_up("failed"))
            for ticket in self._tickets():
                ticket.drop()
            raise
        except BaseException:
            self._abandon()
            raise

    def _run_rounds(self) -> list[Any]:
        shuffles = self.driver.shuffles
        for tries in range(_STAGE_ROUNDS_MAX):
            stages = plan_stages(
                self.target,
                [part for part in self.partitions if part not in self.results],
                is_shuffled=shuffles.has_every_block if tries else shuffles.has,
                is_cached=self._is_cached,
            )
            if all(self._run_stage(stage) for stage in stages):
                return [self.results[part] for part in self.partitions]
        msg = (
            f"Job aborted due to stage failure: outputs of earlier stages were lost "
            f"{_STAGE_ROUNDS_MAX} times in a row"
        )
        raise JobFailedError(msg, hint="free disk or memory for shuffle data")

    def cancel(self, reason: str) -> None:
        """End the job: its thread raises JobCancelledError, its tasks are stopped."""
        if self._cancelled is None:
            self._outcomes.put(_Cancelled(reason))
            self._abandon(reason)

    def _abandon(self, reason: str = "abandoned") -> None:
        """Stop the tasks that run and start no more: nobody waits for them."""
        for killable in self._give_up(reason):
            killable.kill()
        for ticket in self._tickets():
            ticket.cancel()

    def _give_up(self, reason: str) -> tuple[Killable, ...]:
        """Start no more tasks and return those that run."""
        with self._lock:
            self._cancelled = self._cancelled or reason
            return tuple(self._running)

    def _tickets(self) -> tuple[Ticket, ...]:
        with self._lock:
            return tuple(self._elsewhere.values())

    def _is_cached(self, node: RddNode) -> bool:
        contains = self.driver.blocks.contains
        return all(contains(cached_id(node, p)) for p in range(node.partition_count))

    def _run_stage(self, stage: Stage) -> bool:
        """Run one stage; False when outputs it reads have gone missing."""
        if stage.is_result:
            parts = [part for part in stage.partitions if part not in self.results]
            return self._run_tasks(stage, parts)
        # Another job may be making the very same shuffle: wait for it, don't do it twice.
        with self.driver.shuffles.making(stage.node):
            return self._run_tasks(stage, self.driver.shuffles.missing(stage.node))

    def _run_tasks(self, stage: Stage, partitions: Sequence[int]) -> bool:
        if not partitions:
            return True
        ship_functions(stage)
        now_ms = self.driver.clock.now_ms()
        title = f"{self.action.name if stage.is_result else 'shuffle'} of "
        title += f"{stage.node.title()} ({stage.node.call_site})"
        record = self.driver.book.open_stage(
            self.record, title, len(partitions), now_ms
        )
        record.operators = _operators(stage)
        record.writes_shuffle = not stage.is_result
        runner = _StageRun(self, stage, record, partitions, title)
        try:
            return runner.run()
        finally:
            self.driver.book.close_stage(record, self.driver.clock.now_ms())

    def start(self, work: Callable[[], None], *, is_alone: bool) -> None:
        """Run one task's work on a worker, so that `cancel` reaches it."""
        killable = Killable()

        def guarded() -> None:
            with self._lock:
                if self._cancelled is not None:
                    return
                self._running.add(killable)
            try:
                killable.run(work)
            finally:
                with self._lock:
                    self._running.discard(killable)

        if is_alone:
            self.driver.workers.run_here(guarded)
        else:
            self.driver.workers.submit(guarded)

    def start_elsewhere(
        self, order: TaskOrder, take: Callable[[Ending], _Outcome]
    ) -> Ticket | None:
        """Run one task in a worker process, so that `cancel` reaches it.

        Return None if the job is cancelled: then it doesn't run.
        """
        with self._lock:
            if self._cancelled is not None:
                return None

        ended = threading.Event()

        def on_ending(ending: Ending) -> None:
            ended.set()
            with self._lock:
                self._elsewhere.pop(ended, None)
            self.report(take(ending))

        # Not under the lock: the task may end before `submit` returns, in this thread.
        ticket = self.driver.elsewhere().submit(order, on_ending)
        with self._lock:
            if not ended.is_set():
                self._elsewhere[ended] = ticket
            is_late = self._cancelled is not None
        if is_late:
            ticket.cancel()
        return ticket

    def cancel_elsewhere(self, ticket: Ticket) -> None:
        """End one task in a worker process: nobody waits for it."""
        with self._lock:
            for ended, known in list(self._elsewhere.items()):
                if known is ticket:
                    del self._elsewhere[ended]
        ticket.cancel()

    def next_outcome(self, timeout_s: float | None = None) -> _Outcome | None:
        """Block until a task ends or the job is cancelled; None if time ran out first."""
        try:
            return self._outcomes.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def report(self, outcome: _Outcome) -> None:
        """Take a task's outcome; called in the task's thread."""
        self._outcomes.put(outcome)


@dataclass(slots=True)
class _StageRun:
    """The tasks of one stage, attempt by attempt."""

    job: JobRun
    stage: Stage
    record: StageRecord
    partitions: Sequence[int]
    title: str
    _last_failure: dict[int, failures.TaskFailure] = field(default_factory=dict)
    _losses: dict[int, int] = field(default_factory=dict)
    _given_bytes: dict[int, int] = field(default_factory=dict)
    """What was handed over to a task in a worker process."""
    _action: bytes | None = None
    _key: bytes = b""
    """What identifies the stage's functions, over jobs."""
    _snapshot: Stage | None = None
    """The stage as it was when its body was made."""
    _body: StageBody | None = None
    """What its tasks run, if that is in worker processes."""
    _room: BarrierRoom | None = None
    _tickets: dict[tuple[int, int], Ticket] = field(default_factory=dict)
    """Attempts that were handed over, by index and number."""
    _speculation: Speculation | None = None
    _second: set[tuple[int, int]] = field(default_factory=set)
    """Attempts that were started beside slow ones, by index and number."""

    def run(self) -> bool:
        """Return True when all is done, False when outputs to read were missing."""
        if isinstance(self.job.action, Apply | Fold) and self.stage.is_result:
            self._action = frames.dumps_function(self.job.action)
        failures_max = self.job.driver.task_failures_max
        self._place()
        if self.stage.is_barrier:
            return self._run_together(failures_max)
        return self._loop(StageAttempts(len(self.partitions), failures_max))

    def _place(self) -> None:
        """Choose where the tasks run."""
        job, driver = self.job, self.job.driver
        action_key = self._action or b""
        self._key = placement.key_of(self.stage, job.action, action_key)
        if not placement.can_travel(
            self.stage, job.action, is_cluster=driver.is_cluster
        ):
            return
        place = driver.place(self._key, self.stage, len(self.partitions))
        if place is Place.PROCESSES:
            self._snapshot = shipping.snapshot(self.stage)
            pickled = shipping.ship(
                self._snapshot, job.action, action_key, driver.columnar, self.title
            )
            name = f"{driver.name}-{self.record.id}"
            self._body = StageBody(name, pickled)
            if driver.speculation is not None:
                self._speculation = Speculation(
                    driver.speculation, len(self.partitions)
                )

    def _run_together(self, rounds_max: int) -> bool:
        """Run a barrier stage: one failure fails all tasks, and all run again."""
        driver = self.job.driver
        with (
            driver.barrier_turn
        ):  # Two half-started barrier stages would wait for ever.
            for _ in range(rounds_max - 1):
                attempts = self._open_room()
                try:
                    return self._loop(attempts)
                except JobFailedError:
                    _log.warning("barrier stage runs again stage=%d", self.record.id)
                self._await_others(attempts)
            return self._loop(self._open_room())

    def _open_room(self) -> StageAttempts:
        count = len(self.partitions)
        self._room = BarrierRoom.open(count, self.job.driver.slots)
        return StageAttempts(count, 1)

    def _await_others(self, attempts: StageAttempts) -> None:
        """Wait until what is left of a round has ended: its tasks aren't the next one's."""
        while attempts.running:
            match self.job.next_outcome():
                case _Cancelled(reason):
                    raise JobCancelledError(reason)
                case None:
                    continue
                case ended:
                    attempts.running.discard((ended.index, ended.attempt))
        self.record.active_count = 0

    def _loop(self, attempts: StageAttempts) -> bool:
        is_alone = len(self.partitions) == 1 or self.job.driver.slots == 1
        is_alone = is_alone and self._body is None
        todo: deque[Instruction] = deque(attempts.start())
        while True:
            with self._together():
                is_done = self._follow(todo, is_alone=is_alone)
            if is_done is not None:
                return is_done
            match self.job.next_outcome(self._patience_s()):
                case None:
                    pass
                case _Cancelled(reason):
                    raise JobCancelledError(reason)
                case ended if attempts.is_running(ended.index, ended.attempt):
                    self._hear(ended, attempts, todo)
                case _:
                    pass  # Of an attempt that was given up.
            todo.extend(self._copies(attempts))

    def _together(self) -> AbstractContextManager[None]:
        if self._body is None:
            return nullcontext()
        return self.job.driver.elsewhere().together()

    def _follow(self, todo: deque[Instruction], *, is_alone: bool) -> bool | None:
        """Do what is put down; return how the stage ended, or None if it goes on."""
        while todo:
            match todo.popleft():
                case StartTask(index, attempt):
                    self._start(index, attempt, is_alone=is_alone)
                    if is_alone:
                        break  # Hear how it went before the next one starts.
                case CancelTask(index, attempt):
                    self._cancel(index, attempt)
                case FailStage(index, count):
                    raise self._job_failed(index, count)
                case FinishStage():
                    return True
                case RedoStage():
                    return False
                case other:
                    assert_never(other)
        return None

    def _hear(
        self, ended: _Ended, attempts: StageAttempts, todo: deque[Instruction]
    ) -> None:
        """Take what came of an attempt, and put down what is to be done then."""
        index, attempt = ended.index, ended.attempt
        ticket = self._tickets.pop((index, attempt), None)
        self.record.active_count -= 1
        match ended:
            case _Succeeded():
                self._note_time(ticket)
                self._accept(ended)
                self._note_end(
                    index,
                    attempt,
                    TaskStatus.SUCCESS,
                    took_s=ended.took_s,
                    traffic=ended.traffic,
                )
                todo.extend(attempts.on_success(index, attempt))
            case _Failed():
                self.record.failed_count += 1
                self._note_failure(ended)
                self._note_end(
                    index,
                    attempt,
                    TaskStatus.FAILED,
                    failures.summary(ended.failure.error),
                    ended.took_s,
                    ended.traffic,
                )
                todo.extendleft(attempts.on_failure(index, attempt))
            case _Lost():
                self._note_end(index, attempt, TaskStatus.FAILED, ended.reason)
                todo.extendleft(self._after_loss(ended, attempts))
            case _Missed():
                missed = f"outputs that it reads are gone, of shuffle {ended.node.id}"
                self._note_end(index, attempt, TaskStatus.FAILED, missed)
                todo.extend(attempts.on_missed(index, attempt))
            case _:
                assert_never(ended)

    def _note_end(
        self,
        index: int,
        attempt: int,
        status: TaskStatus,
        error: str = "",
        took_s: float | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.record.tasks.end(
            self.partitions[index],
            attempt,
            status,
            took_s,
            traffic,
            error,
            self._is_copy(index, attempt),
        )

    def _is_copy(self, index: int, attempt: int) -> bool:
        return bool(self._second) and (index, attempt) in self._second

    def _note_time(self, ticket: Ticket | None) -> None:
        if self._speculation is not None and ticket is not None:
            begun_s = ticket.begun_s
            if begun_s is not None:
                self._speculation.on_success(monotonic_s() - begun_s)

    def _patience_s(self) -> float | None:
        """Return how long to wait for a task to end before the slow ones are looked at."""
        watched = self._speculation
        return None if watched is None else watched.wait_s(monotonic_s())

    def _copies(self, attempts: StageAttempts) -> list[Instruction]:
        """Return what starts second attempts of tasks that are slow."""
        watched, now_s = self._speculation, monotonic_s()
        if watched is None or attempts.is_over or not watched.is_due(now_s):
            return []
        copies: list[Instruction] = []
        for index in watched.slow(now_s, self._begun_s(attempts)):
            made = attempts.on_slow(index)
            copies += made
            self._second.update(
                (each.index, each.attempt)
                for each in made
                if isinstance(each, StartTask)
            )
            if made:
                _log.info(
                    "a slow task is tried a second time job=%d stage=%d partition=%d",
                    self.job.record.id,
                    self.record.id,
                    self.partitions[index],
                )
        return copies

    def _begun_s(self, attempts: StageAttempts) -> dict[int, float]:
        """Return when the tasks that run have begun, by index; not of those that wait."""
        return {
            index: ticket.begun_s
            for index, attempt in sorted(attempts.running)
            if (ticket := self._tickets.get((index, attempt))) is not None
            and ticket.begun_s is not None
        }

    def _cancel(self, index: int, attempt: int) -> None:
        """End an attempt that nobody waits for any more."""
        self.record.active_count -= 1
        faster = "another attempt of the task was faster"
        self._note_end(index, attempt, TaskStatus.KILLED, faster)
        ticket = self._tickets.pop((index, attempt), None)
        if ticket is not None:
            self.job.cancel_elsewhere(ticket)

    def _after_loss(
        self, lost: _Lost, attempts: StageAttempts
    ) -> tuple[Instruction, ...]:
        """Run a task again whose worker was lost; not for ever."""
        times = self._losses[lost.index] = self._losses.get(lost.index, 0) + 1
        self.job.driver.seldom.warning(
            "task lost job=%d stage=%d partition=%d attempt=%d reason=%s",
            self.job.record.id,
            self.record.id,
            self.partitions[lost.index],
            lost.attempt,
            lost.reason,
        )
        if times < _LOSSES_MAX:
            return attempts.on_lost(lost.index, lost.attempt)
        failed = self._worker_failed(lost.index, lost.attempt, lost.reason)
        self.record.failed_count += 1
        self._note_failure(failed)
        return attempts.on_failure(lost.index, lost.attempt)

    def _worker_failed(self, index: int, attempt: int, reason: str) -> _Failed:
        where = f"in {self.title}, partition {self.partitions[index]}"
        error = WorkerLostError(f"{reason}, {where}")
        text = f"{reason}\n  {where}{self._input_size(index)}"
        return _Failed(index, attempt, failures.TaskFailure(error, text))

    def _input_size(self, index: int) -> str:
        """Return how large a task's input is, to be told behind where it ran."""
        records = placement.records_read(
            self.stage, self.job.driver.shuffles.records_of
        )
        return failures.size_of_input(records, self._given_bytes.get(index, 0))

    def _accept(self, done: _Succeeded) -> None:
        job, driver = self.job, self.job.driver
        partition = self.partitions[done.index]
        self.record.completed_count += 1
        self.record.task_s += done.took_s
        self.record.longest_task_s = max(self.record.longest_task_s, done.took_s)
        accumulating.merge(done.updates)
        driver_link.heard(done.told)
        self.record.report.add(done.report)
        if done.profile is not None:
            driver.add_profile(self.stage.node.id, done.profile)
        if self.stage.is_result:
            job.results[partition] = done.value
        else:
            now_ms = driver.clock.now_ms()
            driver.shuffles.add(self.stage.node, partition, done.value, now_ms)
            driver.watch(self.stage.node)

    def _note_failure(self, failed: _Failed) -> None:
        self._last_failure[failed.index] = failed.failure
        self.job.driver.seldom.warning(
            "task failed job=%d stage=%d partition=%d attempt=%d error=%s",
            self.job.record.id,
            self.record.id,
            self.partitions[failed.index],
            failed.attempt,
            type(failed.failure.error).__name__,
        )

    def _job_failed(self, index: int, count: int) -> JobFailedError:
        failure = self._last_failure[index]
        partition = self.partitions[index]
        times = "1 time" if count == 1 else f"{count} times"
        msg = (
            f"Job aborted due to stage failure: Task {partition} in stage "
            f"{self.record.id} ({self.title}) failed {times}, most recent failure:\n"
            f"{failure.text}"
        )
        if isinstance(failure.error, MemoryError):
            msg += f"{self._input_size(index)}\n  hint: {failures.MEMORY_HINT}"
        return JobFailedError(notebooks.name_cells(msg), user_error=failure.error)

    def _start(self, index: int, attempt: int, *, is_alone: bool) -> None:
        self.record.active_count += 1
        if self._body is not None:
            self._start_elsewhere(self._body, index, attempt)
            return
        self.job.start(
            lambda: self.job.report(self._run_task(index, attempt)), is_alone=is_alone
        )

    def _scope(self, index: int, attempt: int) -> task_scope.TaskScope:
        return task_scope.TaskScope(
            stage_id=self.record.id,
            partition_id=self.partitions[index],
            attempt_number=attempt,
            task_attempt_id=self.job.driver.next_task_id(),
            local_properties=self.job.properties,
            barrier=self._room.seat(index) if self._room else None,
        )

    def _start_elsewhere(self, body: StageBody, index: int, attempt: int) -> None:
        """Hand one attempt over to a worker process."""
        driver, partition = self.job.driver, self.partitions[index]
        scope = self._scope(index, attempt)
        try:
            assert self._snapshot is not None, "made with the body"
            given, reads = shipping.gather(
                self._snapshot,
                partition,
                scope,
                driver.clock.now_ms(),
                driver.blocks,
                driver.shuffles,
            )
            order = TaskOrder(
                body,
                frames.dumps(given),
                self.title,
                driver.task_timeout_s,
                reads,
                shipping.shelves(self.stage, driver.slots),
                shipping.nearest(reads),
                self._executor_of_other(index, attempt),
                driver.expected_s(self._key),
                goes_alone=self._speculation is not None,
            )
        except MissingShuffleError as missing:
            self.job.report(_Missed(index, attempt, missing.node))
            return
        except Exception as error:
            failure = failures.describe(error, [], self.title, partition)
            self.job.report(_Failed(index, attempt, failure))
            return
        held_bytes = sum(each.size for each in reads)
        self._given_bytes[index] = len(order.given) + held_bytes
        ticket = self.job.start_elsewhere(
            order, lambda ending: self._ended(index, attempt, order, ending)
        )
        if ticket is not None:
            self._tickets[index, attempt] = ticket
            self.record.tasks.hand_over(
                partition, attempt, scope.task_attempt_id, ticket
            )

    def _executor_of_other(self, index: int, attempt: int) -> int | None:
        """Return which worker runs an earlier attempt of a task: not to be asked again."""
        for earlier in range(attempt):
            ticket = self._tickets.get((index, earlier))
            if ticket is not None and ticket.executor is not None:
                return ticket.executor
        return None

    def _ended(
        self, index: int, attempt: int, order: TaskOrder, ending: Ending
    ) -> _Outcome:
        """Return what came of a task in a worker process; on a thread of the workers'."""
        match ending:
            case Lost(reason, is_own_doing) if not is_own_doing:
                return _Lost(index, attempt, reason)
            case Lost(reason) | Broken(reason):
                return self._worker_failed(index, attempt, reason)
            case Missed(places):
                lost = [order.reads[place] for place in places]
                self.job.driver.blocks.remove_lost(known=lost)
                return _Missed(index, attempt, self.stage.node)
            case Done():
                try:
                    return self._taken(index, attempt, order, ending)
                except Exception as error:  # What came back can't be unpickled here.
                    failure = failures.describe(
                        error, [], self.title, self.partitions[index]
                    )
                    return _Failed(index, attempt, failure)
            case _:
                assert_never(ending)

    def _taken(
        self, index: int, attempt: int, order: TaskOrder, done: Done
    ) -> _Outcome:
        driver = self.job.driver
        made: shipping.Succeeded | shipping.Failed = frames.loads(done.value)
        if isinstance(made, shipping.Failed):
            error = frames.loads(made.error)
            return _Failed(index, attempt, failures.TaskFailure(error, made.text))
        for each in made.kept:
            kept = shipping.shared(each.frozen, done.held)
            if each.level.replication > 1 and isinstance(kept, Shared):
                driver.elsewhere().copy(kept.held)
            driver.blocks.put_frozen(
                each.block_id,
                kept,
                each.level,
                group=each.group,
                now_ms=driver.clock.now_ms(),
            )
        value = made.value
        if not self.stage.is_result:
            value = [shipping.shared(each, done.held) for each in value]
        moved_bytes = len(order.given) + len(done.value)
        driver.note_cost(self._key, made.took_s, made.report, moved_bytes=moved_bytes)
        return _Succeeded(
            index,
            attempt,
            value,
            made.updates,
            made.report,
            None,
            made.told,
            made.took_s,
            self._traffic_of(index, made, done),
        )

    def _traffic_of(self, index: int, made: shipping.Succeeded, done: Done) -> Traffic:
        """Return what a worker says that it read and made, and what was moved for that."""
        traffic = made.traffic
        if traffic.bytes_in is None:
            traffic.bytes_in = self._given_bytes.get(index)
        if traffic.bytes_out is None:
            traffic.bytes_out = len(done.value) + sum(each.size for each in done.held)
        return traffic

    def _run_task(self, index: int, attempt: int) -> _Outcome:
        """Run one attempt in this thread; never raises for user code's sake."""
        driver, partition = self.job.driver, self.partitions[index]
        task = Task(
            driver.blocks, driver.shuffles, driver.clock.now_ms(), driver.columnar
        )
        scope = self._scope(index, attempt)
        start_s = monotonic_s()
        self.record.tasks.begin(partition, attempt, scope.task_attempt_id, start_s)
        profiler = _new_profiler() if driver.is_profiling else None
        with task_scope.entered(scope):
            accumulating.start_task_accumulators()
            try:
                if profiler is not None:
                    profiler.enable()
                value = self._evaluate(task, partition)
            except MissingShuffleError as missing:
                return _Missed(index, attempt, missing.node)
            except Exception as error:
                took_s = monotonic_s() - start_s
                failure = failures.describe(error, task.trail, self.title, partition)
                return _Failed(index, attempt, failure, took_s, task.traffic)
            finally:
                if profiler is not None:
                    profiler.disable()
                updates = accumulating.take_task_updates()
                if self._room is not None:
                    self._room.leave(index)
        took_s = monotonic_s() - start_s
        driver.note_cost(self._key, took_s, task.report)
        stats = None if profiler is None else _stats_of(profiler)
        told = found_records.told(task.finds)
        traffic = task.traffic
        note_made(traffic, value, is_result=self.stage.is_result)
        return _Succeeded(
            index, attempt, value, updates, task.report, stats, told, took_s, traffic
        )

    def _evaluate(self, task: Task, partition: int) -> Any:
        try:
            if not self.stage.is_result:
                return task.write_shuffle(self.stage.node, partition)
            action = self.job.action
            if self._action is not None:
                action = frames.loads_function(self._action)
            key = self._action or b""
            return task.run_action(self.stage.node, partition, action, key)
        except SystemExit as asked:
            raise exits.error_of(asked) from None


def _new_profiler() -> "cProfile.Profile":
    import cProfile  # noqa: PLC0415  Only when profiling.

    return cProfile.Profile()


def _stats_of(profiler: "cProfile.Profile") -> "pstats.Stats":
    import pstats  # noqa: PLC0415  Only when profiling.

    return pstats.Stats(profiler)


def ship_functions(stage: Stage) -> None:
    """Pickle the functions of every RDD in the stage that hasn't been shipped yet.

    By the first job that needs them, and once: what a function closes over is what it
    was then, as in PySpark.

    Raises:
        PySparkPicklingError: One can't be pickled; the text names it.
    """
    for node in stage.members:
        if node.functions is None:
            functions = functions_of(node)
            if functions is not None:
                node.functions = frames.dumps_function(functions)
