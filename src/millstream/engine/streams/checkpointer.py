"""Checkpointer: what a stream must know after a crash, written batch by batch.

The generator's thread collects facts, because it alone may look at the graph; a thread of
the checkpointer's own writes: first the states' changes, then the checkpoint that names
them. Twice a batch: when its jobs are made, and when it is done.

What waits while the disk is busy is written as one checkpoint: the newest holds all facts
of those before it. When too many wait, the generator does too.

A driver that another one has taken the directory over from writes nothing: it looks before
each checkpoint, and again after it, for only what a newer driver must have found is safe.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    TakenOverError,
)
from millstream.engine.base.seldom import Seldom
from millstream.engine.base.storage import open_storage
from millstream.engine.base.threads import SerialLoop
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.streams import placement
from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.inputs import InputOperator
from millstream.engine.streams.manifest import (
    Manifest,
    OperatorRecord,
    SourceRecord,
    relative_to,
    this_python,
)
from millstream.engine.streams.opening import needs_of
from millstream.engine.streams.operators import Operator
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.version import MILLSTREAM_VERSION

_log = logging.getLogger(__name__)

_TRIES_MAX = 3
_WAITING_MAX = 20
"""Ten batches' worth: what the states' changes of so many take stays in memory."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a checkpoint says about the application, the same for its whole life."""

    app_name: str
    master: str
    checkpoint_dir: str
    conf: Mapping[str, str]
    digests: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    """Directories that only checkpoints of before an upgrade need."""


@dataclass(slots=True)
class CheckpointStatistics:
    """What checkpoints have cost so far."""

    written: int = 0
    joined: int = 0
    """Those that weren't written by themselves, but as part of a newer one."""
    failed: int = 0
    last_collect_ms: float = 0.0
    last_write_ms: float = 0.0
    last_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """One checkpoint to write."""

    time_ms: int
    manifest: Callable[[], Manifest]
    functions: bytes
    commits: Sequence[tuple[KeyedStateOperator, int]]
    floor_ms: int
    garbage: Sequence[str]
    on_done: Callable[[bool], None]


class Checkpointer:
    """Collects and writes the checkpoints of one stream."""

    def __init__(
        self,
        graph: DStreamGraph,
        program: Program,
        files: CheckpointFiles | None,
        dump: Callable[[], bytes],
        on_error: Callable[[BaseException], None],
        loop: SerialLoop | None = None,
        *,
        claim: DriverClaim | None = None,
    ) -> None:
        """Write to `files`; without them states are committed, nothing else.

        `dump()` returns the pickled functions and streams of the graph. `loop` stands in
        for the thread that writes. With `claim` nothing is written once that is lost.
        """
        self._claim = claim
        self._graph = graph
        self._program = program
        self._files = files
        self._dump = dump
        self._on_error = on_error
        self._loop = loop or SerialLoop("millstream-checkpoint", on_error)
        self._names = graph.names()
        self._states = graph.keyed_states()
        self._changed = threading.Condition()
        self._waiting: list[_Work] = []
        self._is_stopped = False
        self._has_told_waiting = False
        self._oldest_kept_ms: int | None = None
        self._left_behind = list(program.left_behind)
        self.statistics = CheckpointStatistics()
        self._seldom = Seldom(_log)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write at all."""
        return self._files is not None or bool(self._states)

    def start(self) -> None:
        """Start the writing thread.

        Raises:
            OSError: The checkpoints of before a restart can't be listed.
        """
        if self._files is not None:
            self._files.look()
            self._note_oldest(self._files)
        self._loop.start()

    def _note_oldest(self, files: CheckpointFiles) -> None:
        known = [each.oldest_ms for each in files.needs()]
        self._oldest_kept_ms = min(known, default=None)

    def stop(self) -> None:
        """Write what was collected, then end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._loop.stop()

    # Before the first batch.

    def at_start(self) -> None:
        """Write that the stream has begun; return when that is safe.

        Until then a restart wouldn't know that there was a stream: what receivers had
        acknowledged would be lost.

        Raises:
            TakenOverError: A newer driver has the directory.
            DurabilityError: It couldn't be written.
        """
        if self._files is None:
            return
        assert self._graph.zero_ms is not None, "the grid is known"
        written: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._post(self._graph.zero_ms, [], [], written.put)
        if not written.get():
            self._check_claim()  # That one has told why.
            msg = f"the first checkpoint can't be written to '{self._files.uri}'"
            raise DurabilityError(msg, hint="the log says why; is the disk full?")

    # On the generator's thread.

    def after_generating(
        self, time_ms: int, pending_ms: Sequence[int], on_done: Callable[[bool], None]
    ) -> None:
        """Write that this batch and those in `pending_ms` aren't done.

        `on_done` is called as in `after_batch`; with True at once when nothing is written.
        """
        if self._files is None:
            on_done(True)
        else:
            self._post(time_ms, pending_ms, [], on_done)

    def after_batch(
        self, time_ms: int, pending_ms: Sequence[int], on_done: Callable[[bool], None]
    ) -> None:
        """Commit states up to this batch, and write that it is done.

        `on_done` is called on the writing thread: with True when everything is safe, with
        False when it couldn't be made so.

        Raises:
            JobFailedError: A state that no job had computed couldn't be.
        """
        commits = [
            (operator, version)
            for operator in self._states
            for version in operator.uncommitted(time_ms)
        ]
        for operator, version in commits:
            operator.stage_missing(version)
        self._post(time_ms, pending_ms, commits, on_done)

    def after_commit(self, time_ms: int) -> None:
        """Cut the lineage of states that are safe now."""
        for operator in self._states:
            for version in sorted(operator.generated):
                if version <= time_ms and operator.states.files.has(version):
                    operator.after_commit(version)

    def _post(
        self,
        time_ms: int,
        pending_ms: Sequence[int],
        commits: Sequence[tuple[KeyedStateOperator, int]],
        on_done: Callable[[bool], None],
    ) -> None:
        begin_s = monotonic_s()
        garbage: list[str] = []
        functions = b""
        oldest_ms = min((time_ms, *pending_ms))
        if self._files is not None:
            functions = self._dump()
            for operator in self._names:
                operator.update_checkpoint_files()
                garbage += operator.clear_checkpoint_files(self.floor(oldest_ms))
        manifest = self._manifest(time_ms, pending_ms)
        self.statistics.last_collect_ms = (monotonic_s() - begin_s) * 1000
        remembered = max((o.remember_ms or 0 for o in self._states), default=0)
        floor_ms = self.floor(oldest_ms) - remembered
        work = _Work(time_ms, manifest, functions, commits, floor_ms, garbage, on_done)
        with self._changed:
            if len(self._waiting) >= _WAITING_MAX and not self._is_stopped:
                self._wait_for_room()
            self._waiting.append(work)
        self._loop.post(self._write_waiting)

    def _wait_for_room(self) -> None:
        if not self._has_told_waiting:
            self._has_told_waiting = True
            _log.warning(
                "checkpoints are written slower than batches come: %d wait, so the next "
                "batch has to. Use a longer batch duration, or a faster disk for them",
                len(self._waiting),
            )
        self._changed.wait_for(
            lambda: len(self._waiting) < _WAITING_MAX or self._is_stopped
        )

    def floor(self, oldest_ms: int) -> int:
        """Return a time that no batch before is needed, whichever checkpoint is taken.

        `oldest_ms` is the oldest batch that a restart from a checkpoint of now runs again.
        """
        kept_ms = oldest_ms if self._oldest_kept_ms is None else self._oldest_kept_ms
        slide = max((each.slide_ms for each in self._names), default=0)
        return min(oldest_ms, kept_ms) - slide

    def _manifest(
        self, time_ms: int, pending_ms: Sequence[int]
    ) -> Callable[[], Manifest]:
        """Return what makes the manifest once the states are committed."""
        graph, program = self._graph, self._program
        assert graph.zero_ms is not None, "checkpoints begin after the start"
        zero_ms = graph.zero_ms
        sources = tuple(
            SourceRecord(name, operator.kind, operator.id, operator.position())
            for operator, name in self._names.items()
            if isinstance(operator, InputOperator)
        )
        others = [
            (operator, self._record(operator, name))
            for operator, name in self._names.items()
            if not isinstance(operator, InputOperator)
        ]

        def make() -> Manifest:
            return Manifest(
                time_ms=time_ms,
                zero_ms=zero_ms,
                batch_ms=graph.batch_ms,
                remember_ms=graph.remember_ms,
                pending_ms=tuple(sorted(pending_ms)),
                app_name=program.app_name,
                master=program.master,
                checkpoint_dir=program.checkpoint_dir,
                conf=program.conf,
                sources=sources,
                operators=tuple(make_record() for _, make_record in others),
                program=program.digests,
                python=this_python(),
                millstream=MILLSTREAM_VERSION,
                next_source_id=graph.next_source_id,
                dropped=program.dropped,
            )

        return make

    def _record(self, operator: Operator, name: str) -> Callable[[], OperatorRecord]:
        parents = tuple(self._names[parent] for parent in operator.parents)
        directory = self._program.checkpoint_dir
        files = {
            str(time): relative_to(directory, uri)
            for time, uri in operator.checkpoint_files.items()
        }

        def make() -> OperatorRecord:
            state = None
            if isinstance(operator, KeyedStateOperator):
                state = {
                    "directory": relative_to(directory, operator.states.files.uri),
                    "begin": operator.states.begin,
                    "placement": placement.record_of(operator),
                    **operator.states.files.record(),
                }
            return OperatorRecord(
                name,
                operator.kind,
                parents,
                operator.call_site,
                operator.slide_ms,
                files,
                state,
            )

        return make

    # On the writing thread.

    def _write_waiting(self) -> None:
        with self._changed:
            works, self._waiting = self._waiting, []
            self._changed.notify_all()
        if works:
            self.statistics.joined += len(works) - 1
            self._write(_joined(works))

    def _write(self, work: _Work) -> None:
        is_safe = False
        try:
            is_safe = self._is_written(work)
            if is_safe:
                self._tidy(work)
        except Exception as error:  # A library's own; somebody waits for `on_done`.
            self._on_error(error)
        work.on_done(is_safe)

    def _is_written(self, work: _Work) -> bool:
        for tries in range(1, _TRIES_MAX + 1):
            try:
                self._write_once(work)
            except TakenOverError:
                return False  # Whoever watches the claim has been told.
            except (MillstreamError, OSError) as error:
                self.statistics.failed += 1
                self._seldom.warning(
                    "a checkpoint couldn't be written batch=%d try=%d tries_max=%d error=%s",
                    work.time_ms,
                    tries,
                    _TRIES_MAX,
                    error,
                )
                if tries == _TRIES_MAX:
                    self._on_error(error)
            else:
                return True
        return False

    def _write_once(self, work: _Work) -> None:
        begin_s = monotonic_s()
        self._check_claim()
        for operator, version in work.commits:
            latest = operator.states.files.latest
            if latest is None or version > latest:
                operator.states.commit(version)
        if self._files is not None:
            manifest = work.manifest()
            parts = [manifest.encode(), work.functions]
            if self._claim is not None:
                self._claim.check_unless_recent()  # A large state takes its time.
            self._files.write(work.time_ms, parts, needs_of(manifest))
            self._note_oldest(self._files)
            self.statistics.last_bytes = sum(map(len, parts))
            self._check_claim()
            self.statistics.written += 1
        self.statistics.last_write_ms = (monotonic_s() - begin_s) * 1000

    def _check_claim(self) -> None:
        if self._claim is not None:
            self._claim.check()

    def _tidy(self, work: _Work) -> None:
        """Compact states and delete what no checkpoint refers to. Failing only warns."""
        try:
            for operator, version in work.commits:
                files = operator.states.files
                operator.states.forget_before(work.floor_ms)
                files.compact(min(work.floor_ms, version))
            if work.commits:
                self._delete_old_states()
            garbage = list(work.garbage)
            if self._files is None or not self._files.has_others:
                # Nobody can go back there now.
                garbage += self._left_behind
                self._left_behind = []
            for uri in garbage:
                storage, path = open_storage(uri)
                storage.delete_tree(path)
        except (MillstreamError, OSError) as error:
            self._seldom.warning(
                "old checkpoint data couldn't be cleaned error=%s", error
            )

    def _delete_old_states(self) -> None:
        needs = [] if self._files is None else self._files.needs()
        for operator in self._states:
            files = operator.states.files
            # By their directory: under an older program it may have another name.
            directory = relative_to(self._program.checkpoint_dir, files.uri)
            known = [each.state_files.get(directory, frozenset()) for each in needs]
            # Looked at between listing and deleting: what a newer driver has written
            # isn't in the list then.
            files.clean(frozenset().union(*known), self._check_claim)


def _joined(works: Sequence[_Work]) -> _Work:
    """Return the newest of `works`, which has to do the others' part as well."""
    *others, newest = works
    if not others:
        return newest

    def on_done(is_safe: bool) -> None:
        for each in works:
            each.on_done(is_safe)

    commits = dict.fromkeys(commit for each in works for commit in each.commits)
    return replace(
        newest,
        # For its file's name, which must be as new as theirs would have been.
        time_ms=max(each.time_ms for each in works),
        commits=list(commits),
        garbage=[uri for each in works for uri in each.garbage],
        on_done=on_done,
    )
