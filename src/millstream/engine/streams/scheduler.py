"""JobScheduler: batches generated on time, their jobs run in order."""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from millstream.engine.base import exits
from millstream.engine.base.call_site import on_behalf_of
from millstream.engine.base.clock import Clock, SystemClock, monotonic_s
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    OutputOperationError,
    SparkError,
    TakenOverError,
)
from millstream.engine.base.properties import LocalProperties
from millstream.engine.base.seldom import Seldom
from millstream.engine.base.threads import RecurringTimer, SerialLoop, ThreadPool
from millstream.engine.base.time import pretty_duration
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.jobs.driver import ALL_MARKED
from millstream.engine.jobs.failures import strip_engine_frames
from millstream.engine.streams.checkpointer import Checkpointer
from millstream.engine.streams.collector import CollectorPauses
from millstream.engine.streams.events import BatchInfo
from millstream.engine.streams.graph import DStreamGraph, OutputJob
from millstream.engine.streams.jobset import JobSet
from millstream.engine.streams.listener_bus import ListenerBus
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.operators import OutputOperator
from millstream.engine.streams.rate_control import RateControl
from millstream.engine.streams.recovery import plan_restart
from millstream.engine.streams.tracker import ReceiverTracker

_log = logging.getLogger(__name__)

_SLOW_BATCHES = 3
_FAILED_BATCHES_MAX = 100
_POOL_STOP_S = 2.0
_RECEIVERS_S = 10.0
BATCH_TIME = "spark.streaming.internal.batchTime"
OUTPUT_ID = "spark.streaming.internal.outputOpId"


@dataclass(slots=True)
class _Progress:
    """Which batches wait, failed or are done; guarded by the scheduler's condition."""

    pending: dict[int, JobSet] = field(default_factory=dict)
    failed: dict[int, set[OutputOperator]] = field(default_factory=dict)
    """Which outputs of which batches."""
    last_processed_ms: int = -1
    last_completed: BatchInfo | None = None
    error: tuple[BaseException, TracebackType | None] | None = None
    """The newest, with its traceback as it was then."""
    error_of_batch: dict[int, BaseException] = field(default_factory=dict)
    completed_batches: int = 0
    received_records: int = 0
    processed_records: int = 0
    held_back: int = 0
    slow_in_a_row: int = 0
    has_warned_slow: bool = False


class JobScheduler:
    """Runs one streaming context from its start to its stop.

    Batches are generated on one thread, which alone touches the graph; their jobs run on
    a pool of `spark.streaming.concurrentJobs` threads, first come, first served. An error
    is kept for whoever waits; later batches go on.
    """

    def __init__(
        self,
        graph: DStreamGraph,
        settings: Settings,
        clock: Clock,
        tracker: ReceiverTracker,
        properties: LocalProperties,
        bus: ListenerBus,
        make_checkpointer: Callable[[Callable[[BaseException], None]], Checkpointer],
        rates: RateControl,
        *,
        claim: DriverClaim | None = None,
        on_taken_over: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing runs yet.

        When `claim` is lost nothing runs any more, and `on_taken_over` is called, on
        whichever thread has noticed.
        """
        self._claim = claim
        self._on_taken_over = on_taken_over
        self._is_taken_over = False
        self.checkpointer = make_checkpointer(self._report_loop_error)
        self._rates = rates
        self.graph = graph
        self.clock = clock
        self.tracker = tracker
        self.bus = bus
        self.collector = CollectorPauses(
            settings.get_str("spark.millstream.gc") == "between-batches"
        )
        self._settings = settings
        self._wall = SystemClock()
        self._properties = properties
        self._saved: dict[str, str] = {}
        self._loop = SerialLoop("millstream-generator", self._report_loop_error)
        self._timer = RecurringTimer(
            clock, graph.batch_ms, self._on_tick, "millstream-timer"
        )
        concurrent = settings.get_int("spark.streaming.concurrentJobs")
        self._pool = ThreadPool(concurrent, "millstream-job")
        waiting = settings.get_int("spark.millstream.waitingBatches.max")
        self._pending_max = waiting + concurrent if waiting > 0 else None
        # Batches whose time has come, while too many wait; the generator's thread only.
        self._held: deque[tuple[int, bool]] = deque()
        self._has_told_held = False
        self._is_paused = False
        self.changed = threading.Condition()
        self.batch_watchers: list[Callable[[int, bool], None]] = []
        """Called when a batch has ended, before anybody else hears: its time in ms, and
        whether all of it succeeded."""
        self._progress = _Progress()
        self._is_stopping = False
        self._stops_gracefully = False
        self._is_hurried = False
        self._is_stopped = False
        self._is_over = False
        self._is_started = False
        self._seldom = Seldom(_log)

    # Life.

    def start(
        self, open_states: Callable[[], None], restored: Manifest | None = None
    ) -> None:
        """Start receivers, then the grid of batches.

        `open_states` is called when the zero time is known. With `restored` the grid of
        that checkpoint goes on, after the batches that run again.
        """
        self._saved = self._properties.snapshot()
        self._is_started = True
        if self._claim is not None:
            self._claim.when_lost(self._abandon)
        self._loop.start()
        self.checkpointer.start()
        if restored is None:
            first_ms = self._timer.start_time_ms()
            self.graph.start(first_ms - self.graph.batch_ms)
            open_states()
            # Before anything is received: what is acknowledged needs a way back.
            self.checkpointer.at_start()
            self.tracker.start()
        else:
            self.tracker.recover(
                first_ms=restored.first_rerun_ms, closed_ms=restored.closed_ms
            )
            self.tracker.start()
            self.graph.restart(restored.zero_ms, restored.time_ms)
            open_states()
            first_ms = self._run_again(restored)
        self.collector.start()
        self._timer.start(first_ms)

    def _run_again(self, restored: Manifest) -> int:
        """Generate what the checkpoint leaves undone; return the first new batch."""
        plan = plan_restart(
            restored.time_ms,
            restored.pending_ms,
            self.clock.now_ms(),
            restored.zero_ms,
            self.graph.batch_ms,
        )
        _log.info(
            "restarted from a checkpoint checkpoint=%d batches_again=%d first_new=%d",
            restored.time_ms,
            len(plan.rerun_ms),
            plan.first_ms,
        )
        for time_ms in plan.rerun_ms:
            self._loop.post(self._due(time_ms, is_rerun=True))
        return plan.first_ms

    def stop(self, *, is_graceful: bool) -> bool:
        """Stop receivers, then generating, then the jobs; say whether it was gracefully.

        Gracefully, everything received is processed first, within
        `spark.streaming.gracefulStopTimeout` (default ten batches), unless `hurry` is
        called meanwhile.
        """
        if not self._is_started or self._is_stopped:
            self._is_stopped = True
            return False
        with self.changed:
            self._is_stopping = True
            is_graceful = (
                is_graceful and not self._is_hurried and not self._is_taken_over
            )
            self._stops_gracefully = is_graceful
        if self._is_paused and is_graceful:
            self.resume()
        limit_s = self._graceful_limit_s() if is_graceful else 0.0
        # Their own time, not the batches': what they have handed over comes first.
        self.tracker.stop(is_graceful=is_graceful, limit_s=max(limit_s, _RECEIVERS_S))
        if is_graceful:
            self._stop_generating_gracefully(limit_s)
        else:
            self._timer.stop(interrupt=True)
        # Jobs that haven't begun don't: after a restart their batches run again.
        with self.changed:
            was_graceful = is_graceful and not self._is_hurried
            self._is_stopped = True
        self._loop.stop()
        self.checkpointer.stop()
        self.graph.stop()
        if not self._pool.close(_POOL_STOP_S):
            _log.warning("jobs of a stopped stream still run")
        self.tracker.close_logs()
        self._rates.stop()
        self.collector.stop()
        with self.changed:
            self._is_over = True
        return was_graceful

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._is_stopping

    def hurry(self) -> bool:
        """Let a graceful `stop`, under way or to come, wait for nothing more.

        It goes on as one at once. What hasn't begun doesn't; the checkpoint has those
        batches as unfinished, as it has the ones that run. Returns before the stop has;
        False if there is nothing to hurry: it doesn't wait, or not any more.
        """
        with self.changed:
            is_quick = self._is_stopping and not self._stops_gracefully
            if self._is_stopped or self._is_hurried or is_quick:
                return False
            self._is_hurried = True
            self.changed.notify_all()
        self.tracker.hurry()
        self._timer.interrupt()
        return True

    def _abandon(self, error: TakenOverError) -> None:
        """Let nothing more begin: another driver has the checkpoint directory."""
        with self.changed:
            if self._is_over:
                return  # A job that outlives its stream has looked.
            self._is_taken_over = True
            self._progress.error = error, error.__traceback__
            self.changed.notify_all()
        _log.error("this driver stops: %s", error)
        self._on_taken_over()

    def _graceful_limit_s(self) -> float:
        limit_ms = self._settings.find_ms("spark.streaming.gracefulStopTimeout")
        return (10 * self.graph.batch_ms if limit_ms is None else limit_ms) / 1000

    def _stop_generating_gracefully(self, limit_s: float) -> None:
        begin = monotonic_s()

        def left() -> float:
            return max(0.0, limit_s - (monotonic_s() - begin))

        with self.changed:
            is_done = self.changed.wait_for(
                lambda: not self._waits or not self.tracker.has_unallocated_blocks(),
                left(),
            )
        if not is_done:
            _log.warning("graceful stop: time ran out while received blocks waited")
        last_ms = self._timer.stop(interrupt=False)
        with self.changed:
            is_done = self.changed.wait_for(
                lambda: not self._waits or self._is_processed(last_ms), left()
            )
        if self._is_hurried:
            _log.warning("graceful stop: told to wait no longer last_batch=%d", last_ms)
        elif not is_done:
            _log.warning(
                "graceful stop: time ran out before the last batch was processed; what "
                "is left runs after a restart batch=%d limit_s=%g; raise "
                "spark.streaming.gracefulStopTimeout",
                last_ms,
                limit_s,
            )

    # Generating.

    def _on_tick(self, time_ms: int) -> None:
        self._loop.post(self._due(time_ms, is_rerun=False))

    def _due(self, time_ms: int, *, is_rerun: bool) -> Callable[[], None]:
        return lambda: self._on_due(time_ms, is_rerun=is_rerun)

    def _on_due(self, time_ms: int, *, is_rerun: bool) -> None:
        """Generate a batch, or hold it back while too many wait, or all have to."""
        if self._held or self._is_full():
            self._held.append((time_ms, is_rerun))
            self._hold_back()
        else:
            self.generate(time_ms, is_rerun=is_rerun)

    def _is_full(self) -> bool:
        with self.changed:
            waiting = len(self._progress.pending)
        is_full = self._pending_max is not None and waiting >= self._pending_max
        return is_full or self._is_paused

    def _hold_back(self) -> None:
        self.tracker.pause()
        with self.changed:
            self._progress.held_back = len(self._held)
            sets = self._progress.pending.values()
            waiting = sum(each.processing_start_ms is None for each in sets)
        if not self._has_told_held and not self._is_paused:
            self._has_told_held = True
            _log.warning(
                "batches come faster than they are processed: %d wait, so receivers have "
                "to. Use a longer batch duration or limit the input; "
                "spark.millstream.waitingBatches.max=0 lets any number wait, as Spark does",
                waiting,
            )

    @property
    def is_paused(self) -> bool:
        """Whether batches are held back until `resume`."""
        return self._is_paused

    def pause(self) -> None:
        """Hold batches back from the next one on, and receivers with them. Idempotent."""
        self._is_paused = True

    def resume(self) -> None:
        """Run what was held back, then go on. Idempotent; a graceful stop does it, too."""
        self._is_paused = False
        self._loop.post(self._release)

    def limit_input(self, stream_id: int, per_second: int) -> None:
        """Let an input take in so many records a second at most; see `RateControl`."""
        self._rates.limit(stream_id, per_second)

    def unlimit_input(self, stream_id: int) -> bool:
        """Take `limit_input` back; False if there is nothing to take back."""
        return self._rates.unlimit(stream_id)

    @property
    def input_limits(self) -> Mapping[int, float]:
        """What `limit_input` has set, by the ids of inputs."""
        return self._rates.limits

    def _release(self) -> None:
        """Generate what was held back, as far as there is room again."""
        if not self._held:
            return
        while self._held and not self._is_full() and self._begins:
            time_ms, is_rerun = self._held.popleft()
            self.generate(time_ms, is_rerun=is_rerun)
        with self.changed:
            self._progress.held_back = len(self._held)
        if not self._held:
            self.tracker.resume()

    def generate(self, time_ms: int, *, is_rerun: bool = False) -> None:
        """Make and submit the jobs of one batch; on the generator's thread."""
        if self._is_taken_over:
            return
        self._properties.install({**self._saved, ALL_MARKED: "true"})
        try:
            self.tracker.allocate_blocks_to_batch(time_ms)
            jobs = self._jobs_of(time_ms)
        except Exception as error:
            if self._is_taken_over:
                return  # Which was why, and is told.
            strip_engine_frames(error)
            _log.error("error generating jobs batch=%d error=%s", time_ms, error)
            self._note_error(time_ms, error)
            with self.changed:
                self._progress.failed[time_ms] = set(self.graph.outputs)
                self._forget_old_failures()
            self.checkpointer.after_generating(
                time_ms, self._unfinished(), lambda _: None
            )
            self._finish(time_ms)
            return
        self._submit(time_ms, jobs, is_rerun=is_rerun)

    def _jobs_of(self, time_ms: int) -> list[OutputJob]:
        try:
            return self.graph.generate_jobs(time_ms)
        except SystemExit as asked:
            raise exits.error_of(asked) from None

    def _unfinished(self) -> list[int]:
        """Return the batches that a restart must run again: pending and failed ones."""
        with self.changed:
            return sorted({*self._progress.pending, *self._progress.failed})

    def _submit(self, time_ms: int, jobs: list[OutputJob], *, is_rerun: bool) -> None:
        infos = {
            source.id: info
            for source in self.graph.inputs
            if not is_rerun and (info := source.info_of(time_ms)) is not None
        }
        job_set = JobSet(time_ms, infos, self._wall.now_ms())
        numbered = [(job_set.add_job(job.name, job.description), job) for job in jobs]
        if not numbered:
            _log.info("no jobs in batch batch=%d", time_ms)
            self._after_batch(time_ms)
            return
        with self.changed:
            self._progress.pending[time_ms] = job_set
            self._progress.failed.pop(time_ms, None)
            self._progress.received_records += job_set.info().record_count
            for event in job_set.on_submitted():
                self.bus.post(event)
        # What the batch reads must be on disk before anybody sees what it makes of it.
        waits = self.graph.waits_for_checkpoints
        self.checkpointer.after_generating(
            time_ms,
            self._unfinished(),
            lambda is_safe: self._begin(job_set, numbered, is_safe) if waits else None,
        )
        if not waits:
            self._begin(job_set, numbered, is_safe=True)

    def _begin(
        self, job_set: JobSet, jobs: list[tuple[int, OutputJob]], is_safe: bool
    ) -> None:
        """Let a batch's jobs run, or let them fail when it can't be made safe."""
        if is_safe:
            for output_id, job in jobs:
                self._pool.submit(self._work(job_set, output_id, job))
            return
        msg = f"the checkpoint of batch {job_set.batch_ms} ms couldn't be written"
        hint = (
            "the batch reads what only a checkpoint would know: it runs after a restart"
        )
        for output_id, job in jobs:
            self._on_started(job_set, output_id)
            self._on_completed(job_set, output_id, job, DurabilityError(msg, hint=hint))

    # Running.

    def _work(
        self, job_set: JobSet, output_id: int, job: OutputJob
    ) -> Callable[[], None]:
        return lambda: self._run_job(job_set, output_id, job)

    def _run_job(self, job_set: JobSet, output_id: int, job: OutputJob) -> None:
        if not self._begins or not self._may_begin():
            return
        self._properties.install(
            {
                **self._saved,
                BATCH_TIME: str(job_set.batch_ms),
                OUTPUT_ID: str(output_id),
                ALL_MARKED: "true",
                "spark.job.description": (
                    f"Streaming job from [output operation {output_id}, batch time "
                    f"{job_set.batch_ms} ms]"
                ),
            }
        )
        self._on_started(job_set, output_id)
        error: BaseException | None = None
        try:
            # What an output does by itself has no line of the user's on its stack.
            with on_behalf_of(job.name):
                job.run()
        except SystemExit as asked:
            error = exits.error_of(asked)
        except Exception as raised:
            error = raised
        finally:
            self._properties.install({})
        self._on_completed(job_set, output_id, job, error)

    @property
    def _waits(self) -> bool:
        """Whether a graceful stop waits for what is still to be done."""
        return not self._is_hurried and not self._is_taken_over

    @property
    def _begins(self) -> bool:
        """Whether jobs begin that haven't."""
        return not self._is_stopped and not self._is_hurried

    def _may_begin(self) -> bool:
        """Say whether no newer driver is known to have taken over.

        A process that was stopped for a while finds out before it puts anything out.
        """
        if self._claim is not None:
            self._look(self._claim.check_unless_recent)
        return not self._is_taken_over

    def _look(self, check: Callable[[], None]) -> None:
        try:
            check()
        except TakenOverError:
            return  # `_abandon` was called.
        except (MillstreamError, OSError) as error:
            # Only told: the batch's checkpoint will have to know, and fails otherwise.
            self._seldom.warning(
                "it isn't known whether another driver has taken over error=%s", error
            )

    def _on_started(self, job_set: JobSet, output_id: int) -> None:
        with self.changed:
            for event in job_set.on_job_started(
                output_id, self._wall.now_ms(), self.clock.now_ms()
            ):
                self.bus.post(event)

    def _on_completed(
        self,
        job_set: JobSet,
        output_id: int,
        job: OutputJob,
        error: BaseException | None,
    ) -> None:
        failure = (
            None if error is None else output_failure(error, job, job_set.batch_ms)
        )
        if failure is not None:
            if self._claim is not None:
                self._look(self._claim.check)  # That may be why it failed.
            _log.error(
                "error running output operation batch=%d output=%s error=%s",
                job_set.batch_ms,
                job.name,
                error,
            )
            self._note_error(job_set.batch_ms, failure)
        with self.changed:
            for event in job_set.on_job_completed(
                output_id,
                self._wall.now_ms(),
                self.clock.now_ms(),
                None if failure is None else str(failure),
            ):
                self.bus.post(event)
            if failure is not None:
                self._progress.failed.setdefault(job_set.batch_ms, set()).add(
                    job.output
                )
            self._note_recovered(job.output)
            if not job_set.is_complete:
                return
            for watch in self.batch_watchers:
                watch(job_set.batch_ms, not job_set.has_failed)
            info = job_set.info()
            self._progress.pending.pop(job_set.batch_ms, None)
            self._progress.last_completed = info
            self._progress.completed_batches += 1
            self._progress.processed_records += info.record_count
            if job_set.has_failed:
                self._forget_old_failures()
        self._rates.on_batch_completed(info)
        self._warn_when_slow(info)
        self._loop.post(lambda: self._after_batch(job_set.batch_ms))

    def _note_recovered(self, output: OutputOperator) -> None:
        failed = self._progress.failed
        for time_ms in output.take_recovered():
            outputs = failed.get(time_ms, set())
            outputs.discard(output)
            if not outputs:
                failed.pop(time_ms, None)

    def _forget_old_failures(self) -> None:
        failed = self._progress.failed
        if len(failed) > _FAILED_BATCHES_MAX:
            oldest = min(failed)
            del failed[oldest]
            _log.error(
                "more than %d batches have failed: the oldest won't run again after a "
                "restart batch=%d",
                _FAILED_BATCHES_MAX,
                oldest,
            )

    def _after_batch(self, time_ms: int) -> None:
        """Forget what is old, and make safe what is new; on the generator's thread."""
        if not self.checkpointer.is_needed:
            self._clear(time_ms)
            self._clear_checkpoint_data(time_ms)
        else:
            try:
                self.checkpointer.after_batch(
                    time_ms,
                    self._unfinished(),
                    lambda is_safe: self._loop.post(
                        lambda: self._on_safe(time_ms, is_safe=is_safe)
                    ),
                )
            except Exception as error:
                _log.error(
                    "the state of a batch can't be kept batch=%d error=%s",
                    time_ms,
                    error,
                )
                self._note_error(time_ms, error)
                self._clear_checkpoint_data(time_ms)
            self._clear(time_ms)
        self.collector.after_batch(len(self._progress.pending))
        self._release()

    def _clear(self, time_ms: int) -> None:
        if time_ms not in self._progress.failed:
            self.graph.clear_metadata(time_ms)

    def _on_safe(self, time_ms: int, *, is_safe: bool) -> None:
        """Forget what only a restart from before this batch would need."""
        if is_safe:
            self.checkpointer.after_commit(time_ms)
        self._clear_checkpoint_data(time_ms)

    def _clear_checkpoint_data(self, time_ms: int) -> None:
        if time_ms not in self._progress.failed:
            oldest_ms = min((time_ms, *self._unfinished()))
            # What an older checkpoint would run again is kept, should the newest ones be
            # damaged or not have been written.
            floor_ms = self.checkpointer.floor(oldest_ms)
            before_ms = floor_ms - self.graph.max_input_remember_ms()
            try:
                self.tracker.forget(before_ms)
            except (MillstreamError, OSError) as error:
                self._seldom.warning(
                    "the log of blocks can't be cleaned error=%s", error
                )
            for source in self.graph.inputs:
                source.forget_infos(before_ms)
        self._finish(time_ms)

    def _finish(self, time_ms: int) -> None:
        with self.changed:
            self._progress.last_processed_ms = max(
                self._progress.last_processed_ms, time_ms
            )
            self.changed.notify_all()

    # Errors and waiting.

    def _note_error(self, batch_ms: int, error: BaseException) -> None:
        with self.changed:
            self._keep_error(error)
            self._progress.error_of_batch[batch_ms] = error
            while len(self._progress.error_of_batch) > 1000:
                oldest = next(iter(self._progress.error_of_batch))
                del self._progress.error_of_batch[oldest]
            self.changed.notify_all()

    def _report_loop_error(self, error: BaseException) -> None:
        _log.error("error in the generator error=%s", error, exc_info=error)
        with self.changed:
            self._keep_error(error)
            self.changed.notify_all()

    def _keep_error(self, error: BaseException) -> None:
        # What fails after either, fails because of it.
        if not self._is_taken_over and not self._is_over:
            self._progress.error = error, error.__traceback__

    @property
    def error(self) -> BaseException | None:
        """The newest error a batch reported, as it was then.

        Each time it is raised its traceback grows, and so would a program that goes on.
        """
        found = self._progress.error
        return None if found is None else found[0].with_traceback(found[1])

    def error_of(self, batch_ms: int) -> BaseException | None:
        """Return the newest error of one batch."""
        return self._progress.error_of_batch.get(batch_ms)

    @property
    def pending_ms(self) -> list[int]:
        """Batches that wait or run, oldest first."""
        with self.changed:
            return sorted(self._progress.pending)

    @property
    def last_processed_ms(self) -> int:
        """The newest batch that is done with, forgetting included; -1 before the first."""
        return self._progress.last_processed_ms

    def metrics(self) -> dict[str, float]:
        """Return the gauges of semantics MET-1, and the collector's pauses in ms."""
        with self.changed:
            progress = self._progress
            running = [
                each
                for each in progress.pending.values()
                if each.processing_start_ms is not None
            ]
            last = progress.last_completed
            known: dict[str, int | None] = {
                "submissionTime": None if last is None else last.submission_ms,
                "processingStartTime": None
                if last is None
                else last.processing_start_ms,
                "processingEndTime": None if last is None else last.processing_end_ms,
                "processingDelay": None if last is None else last.processing_delay_ms,
                "schedulingDelay": None if last is None else last.scheduling_delay_ms,
                "totalDelay": None if last is None else last.total_delay_ms,
            }
            gauges: dict[str, float] = {
                "streaming.receivers": len(self.tracker.receiver_infos()),
                "streaming.totalCompletedBatches": progress.completed_batches,
                "streaming.totalReceivedRecords": progress.received_records,
                "streaming.totalProcessedRecords": progress.processed_records,
                "streaming.unprocessedBatches": len(progress.pending),
                "streaming.waitingBatches": len(progress.pending) - len(running),
                "streaming.runningBatches": len(running),
                "millstream.heldBackBatches": progress.held_back,
            }
        for name, value in known.items():
            gauges[f"streaming.lastCompletedBatch_{name}"] = (
                -1 if value is None else value
            )
        gauges["millstream.stream.stopping"] = int(self._is_stopping)
        gauges["millstream.generator.busyMs"] = self._generator_busy_ms()
        gauges.update(self.tracker.gauges())
        written = self.checkpointer.statistics
        gauges["millstream.checkpoint.written"] = written.written
        gauges["millstream.checkpoint.joined"] = written.joined
        gauges["millstream.checkpoint.failed"] = written.failed
        gauges["millstream.checkpoint.lastCollectMs"] = written.last_collect_ms
        gauges["millstream.checkpoint.lastWriteMs"] = written.last_write_ms
        gauges["millstream.checkpoint.lastBytes"] = written.last_bytes
        gauges["millstream.gc.collections"] = self.collector.collections
        gauges["millstream.gc.lastPauseMs"] = self.collector.last_pause_ms
        gauges["millstream.gc.longestPauseMs"] = self.collector.longest_pause_ms
        gauges["millstream.gc.totalPauseMs"] = self.collector.total_pause_ms
        return gauges

    def _generator_busy_ms(self) -> int:
        if self._loop.has_ended and not self._is_stopping:
            return -1
        return int(self._loop.busy_s * 1000)

    def wait_until_processed(self, time_ms: int, timeout_s: float) -> bool:
        """Block until the batch at `time_ms` is done with; False when time runs out."""
        with self.changed:
            return self.changed.wait_for(lambda: self._is_processed(time_ms), timeout_s)

    def _is_processed(self, time_ms: int) -> bool:
        progress = self._progress
        is_reached = progress.last_processed_ms >= time_ms
        return is_reached and not any(each <= time_ms for each in progress.pending)

    def _warn_when_slow(self, info: BatchInfo) -> None:
        took, interval = info.processing_delay_ms or 0, self.graph.batch_ms
        progress = self._progress
        progress.slow_in_a_row = progress.slow_in_a_row + 1 if took > interval else 0
        if progress.slow_in_a_row < _SLOW_BATCHES or progress.has_warned_slow:
            return
        progress.has_warned_slow = True
        _log.warning(
            "batches take longer than the interval: %s for a batch of %s (%.1f times); "
            "%d batches wait. Use a longer batch duration, more partitions and slots "
            "(local[N]), or limit the input (spark.streaming.receiver.maxRate)",
            pretty_duration(took),
            pretty_duration(interval),
            took / interval,
            len(progress.pending),
        )


def output_failure(
    error: BaseException, job: OutputJob, batch_ms: int
) -> OutputOperationError:
    """Return the error that a failed output operation raises in who waits for it."""
    strip_engine_frames(error)
    text = "".join(traceback.format_exception(error)).rstrip()
    msg = (
        f"An exception was raised by Python:\n{text}\n"
        f"(in output operation {job.name}, batch {batch_ms} ms)"
    )
    failure = OutputOperationError(msg)
    failure.__cause__ = error
    return failure


def refuse_on(loop_is_current: bool) -> None:
    """Refuse to stop a context from its listeners' thread.

    Raises:
        SparkError: Called there.
    """
    if loop_is_current:
        msg = "Cannot stop StreamingContext within listener bus thread."
        raise SparkError(msg, hint="stop it from another thread")
