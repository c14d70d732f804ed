"""Driver: what one SparkContext owns, and the door through which all jobs go."""

import itertools
import logging
import os  # noqa: TID251  CPU count only.
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.engine.base import scratch, task_scope
from millstream.engine.base.call_site import user_call_site
from millstream.engine.base.clock import Clock, SystemClock, monotonic_s
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import (
    IllegalArgumentError,
    IllegalStateError,
    PySparkRuntimeError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.properties import LocalProperties
from millstream.engine.base.seldom import Seldom
from millstream.engine.columnar.execution import Columnar, Mode
from millstream.engine.durable.block_store import BlockStore, HeldBlocks
from millstream.engine.jobs.actions import Action, Collect
from millstream.engine.jobs.book import JobBook
from millstream.engine.jobs.checkpoints import RddCheckpoints
from millstream.engine.jobs.failures import strip_engine_frames
from millstream.engine.jobs.placement import (
    Place,
    Placement,
    Processes,
    records_read,
)
from millstream.engine.jobs.runner import JobRun
from millstream.engine.jobs.shuffles import ShuffleRegistry
from millstream.engine.jobs.speculation import rules_of as speculation_rules
from millstream.engine.jobs.stages import Stage
from millstream.engine.jobs.tasks import cached_id
from millstream.engine.plan.nodes import RddNode
from millstream.engine.workers.in_process import InProcessWorkers, Killable
from millstream.engine.workers.protocol import ScalableWorkers

if TYPE_CHECKING:
    import pstats

    from millstream.engine.columnar.reports import StageReport
    from millstream.engine.workers.protocol import Workers

ALL_MARKED = "checkpointAllMarkedAncestors"
_SETTLE_S = 1.0
_driver_numbers = itertools.count()


class Driver:
    """Runs jobs and keeps what outlives them: cached blocks, shuffles, the job book.

    Several threads may run jobs at once. Not to be used after `stop`.
    """

    _receivers_here = 0
    """How many receivers run on threads of this process."""

    def __init__(
        self,
        settings: Settings,
        *,
        slots: int,
        task_failures_max: int = 1,
        clock: Clock | None = None,
        ray_address: str | None = None,
        is_cluster: bool = False,
    ) -> None:
        """Run at most `slots` tasks at a time, each up to `task_failures_max` times.

        With a `ray_address` they run on that cluster; 0 slots are as many as it has.
        With `is_cluster` they run in worker processes as if that were one.

        Raises:
            MissingDependencyError: Ray isn't installed.
            ConnectionError: There is no cluster at the address.
        """
        self.settings = settings
        self._elsewhere: Workers | None = None
        self._is_scaled = False
        if ray_address is not None:
            self._elsewhere, slots = _ray_workers(ray_address, slots)
        self.slots = slots
        self.task_failures_max = task_failures_max
        self.clock: Clock = clock or SystemClock()
        self.start_time_ms = SystemClock().now_ms()
        self.properties = LocalProperties()
        self.book = JobBook()
        self.local_dir = scratch.make_directory(_spill_root(settings))
        self.blocks = BlockStore(
            settings.get_bytes("spark.millstream.memory"),
            self.local_dir / "blocks",
            is_compressed=settings.get_bool("spark.rdd.compress"),
        )
        self.shuffles = ShuffleRegistry(self.blocks)
        self.columnar = Columnar(
            Mode(settings.get_str("spark.millstream.columnar")),
            settings.get_int("spark.millstream.columnar.rows.min"),
        )
        self.workers = InProcessWorkers(slots)
        self.name = f"{os.getpid()}-{next(_driver_numbers)}"
        """Not any other driver's, of this process or another."""
        self.is_cluster = is_cluster or ray_address is not None
        """Whether tasks run elsewhere even if it isn't worth it."""
        mode = _processes_mode(settings, clock)
        is_sent = ray_address is not None or (is_cluster and mode is Processes.AUTO)
        self._placement = Placement(Processes.ALWAYS if is_sent else mode, slots)
        self.task_timeout_s = _task_timeout_s(settings)
        self.speculation = speculation_rules(settings)
        self.barrier_turn = threading.Lock()
        self.is_profiling = settings.get_bool("spark.python.profile")
        self.profiles: dict[int, pstats.Stats] = {}
        self._checkpoints = RddCheckpoints(self.run_job, self.blocks)
        self._ttl_ms = settings.find_ms("spark.cleaner.ttl")
        self._cleaned_ms = 0
        self._task_ids = itertools.count()
        self._broadcast_ids = itertools.count()
        self.outliving: weakref.WeakSet[Killable] = weakref.WeakSet()
        """Tasks that still run though their job has failed; `stop` ends them."""
        self._lock = threading.Lock()
        self._runs: dict[int, JobRun] = {}
        # Finalizers run on any thread, at any moment, under any lock: they only append
        # here, and the next job does the work.
        self._garbage: deque[tuple[int, int]] = deque()
        self._is_stopped = False

    def run_job(
        self,
        node: RddNode,
        action: Action,
        partitions: Sequence[int] | None = None,
    ) -> list[Any]:
        """Return what `action` makes of each partition, in the order asked for.

        Blocks. Afterwards marked RDDs in the lineage are checkpointed.

        Raises:
            JobFailedError: A task failed too often; told with the user's traceback.
            JobCancelledError: The job was cancelled.
            PySparkPicklingError: A function can't be pickled.
            IllegalStateError: The context was stopped.
        """
        self.check_usable()
        parts = range(node.partition_count) if partitions is None else partitions
        self._check_partitions(node, parts)
        self._collect_garbage()
        if not parts:
            return []
        properties = self.properties.snapshot()
        site = user_call_site()
        record = self.book.open_job(site, properties, self.clock.now_ms())
        run = JobRun(self, record, node, action, parts, properties)
        with self._lock:
            self._runs[record.id] = run
        error: str | None = "stopped"
        try:
            results = run.run()
            error = None
        except Exception as raised:
            error = str(raised)
            strip_engine_frames(raised)
            raise
        finally:
            with self._lock:
                self._runs.pop(record.id, None)
            self.book.close_job(record, self.clock.now_ms(), error)
        all_marked = properties.get(ALL_MARKED) == "true"
        self._checkpoints.after_job(node, all_marked=all_marked)
        return results

    def iterate_job(
        self, node: RddNode, *, prefetch: bool = False
    ) -> Iterator[list[Any]]:
        """Yield the partitions one at a time; with `prefetch` the next runs meanwhile."""
        if not prefetch:
            for part in range(node.partition_count):
                yield self.run_job(node, Collect(), [part])[0]
            return
        yield from self._iterate_ahead(node)

    def _iterate_ahead(self, node: RddNode) -> Iterator[list[Any]]:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  Rarely used.

        properties = self.properties.snapshot()

        def compute(part: int) -> list[Any]:
            self.properties.install(properties)
            rows: list[Any] = self.run_job(node, Collect(), [part])[0]
            return rows

        with ThreadPoolExecutor(1, "millstream-prefetch") as ahead:
            coming = [ahead.submit(compute, 0)] if node.partition_count else []
            for part in range(node.partition_count):
                rows = coming.pop().result()
                if part + 1 < node.partition_count:
                    coming.append(ahead.submit(compute, part + 1))
                yield rows

    def check_usable(self) -> None:
        """Refuse after `stop`, and inside a task, where there is no driver.

        Raises:
            IllegalStateError: The context was stopped.
            PySparkRuntimeError: Called from a task (SPARK-5063).
        """
        if task_scope.current() is not None:
            msg = (
                "It appears that you are attempting to broadcast an RDD or reference an "
                "RDD from an action or transformation. RDD transformations and actions "
                "can only be invoked by the driver, not inside of other transformations"
                " (SPARK-5063)."
            )
            raise PySparkRuntimeError(
                msg,
                hint="collect or broadcast the small side first, or use join",
            )
        if self._is_stopped:
            msg = "Cannot call methods on a stopped SparkContext."
            raise IllegalStateError(msg, hint="create a new SparkContext")

    def place(self, key: bytes, stage: Stage, task_count: int) -> Place:
        """Return where the tasks of a stage run; `key` identifies its functions."""
        from millstream.engine.jobs.explaining import expects_rows  # noqa: PLC0415

        with self._lock:
            return self._placement.choose(
                key,
                task_count,
                records=lambda: records_read(stage, self.shuffles.records_of),
                is_by_rows=lambda: expects_rows(stage, self),
                has_receivers=self._receivers_here > 0,
            )

    def note_receivers_here(self, more: int) -> None:
        """Note that so many more receivers run on threads of this process."""
        with self._lock:
            self._receivers_here += more

    def note_cost(
        self,
        key: bytes,
        took_s: float,
        report: "StageReport",
        *,
        moved_bytes: int | None = None,
    ) -> None:
        """Note what a task of a stage took, and what was moved if it ran elsewhere."""
        with self._lock:
            self._placement.measured(
                key, took_s, was_by_rows=report.is_by_rows, moved_bytes=moved_bytes
            )

    @property
    def can_scale(self) -> bool:
        """Whether the number of workers may change."""
        return isinstance(self._elsewhere, ScalableWorkers)

    @property
    def ready_count(self) -> int:
        """How many workers take tasks now; those that are being started don't yet."""
        workers = self._elsewhere
        return (
            workers.ready_count if isinstance(workers, ScalableWorkers) else self.slots
        )

    def scale(self, count: int) -> None:
        """Have `count` workers, by and by."""
        workers = self._elsewhere
        assert isinstance(workers, ScalableWorkers), "their number is fixed"
        self._is_scaled = True
        workers.scale(count)

    @cached_property
    def seldom(self) -> Seldom:
        """For warnings of its jobs' runs that could come with every batch."""
        return Seldom(logging.getLogger(f"{__package__}.runner"))

    @cached_property
    def _persisted(self) -> "weakref.WeakSet[RddNode]":
        """What is to be kept; guarded by the lock."""
        return weakref.WeakSet()

    @property
    def parallelism(self) -> int:
        """How many tasks run at a time; it follows what was scaled when that is there."""
        return (self.ready_count if self._is_scaled else 0) or self.slots

    def expected_s(self, key: bytes) -> float | None:
        """Return how long a task of a stage takes, if any was measured."""
        with self._lock:
            return self._placement.expected_s(key)

    def elsewhere(self) -> "Workers":
        """Return the workers outside this process; processes start with the first task."""
        with self._lock:
            if self._elsewhere is None:
                from millstream.engine.workers import pool  # noqa: PLC0415  Few need it.

                processes = pool.acquire(self.slots)
                limit = self.settings.get_bytes("spark.millstream.worker.memory")
                processes.memory_max_bytes = limit
                self._elsewhere = processes
            return self._elsewhere

    def persist(self, node: RddNode, level: StorageLevel) -> None:
        """Keep the partitions of `node` as jobs compute them."""
        node.level = level
        with self._lock:
            self._persisted.add(node)
        self.watch(node)

    def persisted(self) -> list[RddNode]:
        """Return the RDDs that are to be kept and that somebody refers to, oldest first."""
        with self._lock:
            known = list(self._persisted)
        return sorted(
            (each for each in known if each.level is not None), key=lambda each: each.id
        )

    def held_of(self, node: RddNode) -> HeldBlocks:
        """Return what is kept of `node` now."""
        parts = range(node.partition_count)
        return self.blocks.held_of(cached_id(node, part) for part in parts)

    def unpersist(self, node: RddNode) -> None:
        """Drop the kept partitions of `node` and keep none from now on."""
        node.level = None
        self._drop_blocks(node.id, node.partition_count)

    def watch(self, node: RddNode) -> None:
        """See to it that what is kept for `node` goes when nothing refers to it."""
        if node.scope is None:
            node.scope = weakref.finalize(
                node, self._garbage.append, (node.id, node.partition_count)
            )
            node.scope.atexit = False

    def cached_partition_count(self, node: RddNode) -> int:
        """Return how many partitions of `node` are kept now."""
        parts = range(node.partition_count)
        return sum(self.blocks.contains(cached_id(node, part)) for part in parts)

    def forget_shuffles(self, node: RddNode) -> None:
        """Drop the shuffle outputs that `node` reads directly."""
        waiting = [node]
        while waiting:
            current = waiting.pop()
            self.shuffles.forget(current.id)
            waiting.extend(current.parents())

    @property
    def checkpoint_dir(self) -> str | None:
        """Where RDD checkpoints go: a URI, or None."""
        return self._checkpoints.directory

    def set_checkpoint_dir(self, uri: str | None) -> None:
        """Write RDD checkpoints below `uri`, which must exist."""
        self._checkpoints.directory = uri

    def cancel_job(self, job_id: int, reason: str = "") -> None:
        """Cancel one job, if it runs."""
        self._cancel(lambda run: run.record.id == job_id, reason)

    def cancel_group(self, group: str) -> None:
        """Cancel the running jobs of a group."""
        self._cancel(
            lambda run: run.record.group == group,
            f"part of cancelled job group {group}",
        )

    def cancel_tag(self, tag: str) -> None:
        """Cancel the running jobs that carry a tag."""
        self._cancel(
            lambda run: tag in run.record.tags, f"part of cancelled job tags {tag}"
        )

    def cancel_all(self, reason: str = "as part of cancellation of all jobs") -> None:
        """Cancel every running job."""
        self._cancel(lambda _: True, reason)

    def cancel_batches(self) -> None:
        """Cancel the running jobs of streaming batches: nobody waits for them."""
        self._cancel(
            lambda run: run.record.batch_time is not None,
            "because the StreamingContext was stopped",
        )

    def _cancel(self, chosen: Any, reason: str) -> None:
        with self._lock:
            runs = [run for run in self._runs.values() if chosen(run)]
        for run in runs:
            run.cancel(f"Job {run.record.id} cancelled {reason}".rstrip())

    def settle(self, timeout_s: float) -> None:
        """Wait, bounded, for tasks that still run though their job has failed."""
        until_s = monotonic_s() + timeout_s
        for task in tuple(self.outliving):
            task.wait(max(0.0, until_s - monotonic_s()))

    def next_task_id(self) -> int:
        """Return a number no other task of this driver has."""
        return next(self._task_ids)

    def next_broadcast_id(self) -> int:
        """Return a number no other broadcast of this driver has."""
        return next(self._broadcast_ids)

    def add_profile(self, rdd_id: int, stats: "pstats.Stats") -> None:
        """Add one task's profile to its RDD's."""
        known = self.profiles.get(rdd_id)
        if known is None:
            self.profiles[rdd_id] = stats
        else:
            known.add(stats)

    def stop(self) -> None:
        """Cancel what runs, drop what is kept, delete local files. Idempotent."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
        self.cancel_all("because SparkContext was shut down")
        self.settle(_SETTLE_S)
        for task in tuple(self.outliving):
            task.kill()
        self.workers.close()
        if self._elsewhere is not None:
            self._elsewhere.release()
        self.blocks.clear()
        scratch.remove_directory(self.local_dir)

    def _check_partitions(self, node: RddNode, parts: Sequence[int]) -> None:
        for part in parts:
            if not 0 <= part < node.partition_count:
                msg = (
                    f"Attempting to access a non-existent partition: {part}. "
                    f"Total number of partitions: {node.partition_count}"
                )
                raise IllegalArgumentError(msg)

    def _collect_garbage(self) -> None:
        while self._garbage:
            try:
                node_id, partition_count = self._garbage.popleft()
            except IndexError:
                break  # Another thread took the last one.
            self.shuffles.forget(node_id)
            self._drop_blocks(node_id, partition_count)
        if self._ttl_ms is not None:
            self._clean_by_age(self._ttl_ms)

    def _clean_by_age(self, ttl_ms: int) -> None:
        now_ms = self.clock.now_ms()
        if now_ms - self._cleaned_ms >= ttl_ms // 2:
            self._cleaned_ms = now_ms
            self.blocks.remove_older(now_ms - ttl_ms, "rdd-")
            self.blocks.remove_older(now_ms - ttl_ms, "input-")
            self.shuffles.forget_older(now_ms - ttl_ms)

    def _drop_blocks(self, node_id: int, partition_count: int) -> None:
        self.blocks.remove_all(f"rdd-{node_id}-{p}" for p in range(partition_count))


def _ray_workers(address: str, count: int) -> "tuple[Workers, int]":
    from millstream.engine.workers.ray_actors import RayWorkers  # noqa: PLC0415  An extra.

    made = RayWorkers(address or None, count or None)
    return made, made.count


def _task_timeout_s(settings: Settings) -> float | None:
    timeout_ms = settings.find_ms("spark.task.timeout")
    return None if timeout_ms is None else timeout_ms / 1000


def _processes_mode(settings: Settings, clock: Clock | None) -> Processes:
    """Return what a setting says; under a clock of a test's own all runs here."""
    if clock is not None or settings.get_bool("spark.python.profile"):
        return Processes.OFF
    return Processes(settings.get_str("spark.millstream.processes"))


def _spill_root(settings: Settings) -> Path:
    return Path(settings.find_str("spark.local.dir") or tempfile.gettempdir())
