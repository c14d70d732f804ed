"""Checkpointer: what a stream must know after a crash, written batch by batch.

The generator's thread collects facts, because it alone may look at the graph; a thread of
the checkpointer's own writes: first the states' changes, then the checkpoint that names
them. Twice a batch: when its jobs are made, and when it is done.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import MillstreamError
from millstream.engine.base.storage import open_storage
from millstream.engine.base.threads import SerialLoop
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.durable.state_store import StateStore
from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.inputs import InputOperator
from millstream.engine.streams.manifest import Manifest, OperatorRecord, SourceRecord
from millstream.engine.streams.naming import directory_name
from millstream.engine.streams.operators import Operator
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.version import MILLSTREAM_VERSION

_log = logging.getLogger(__name__)

_TRIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Program:
    """What a checkpoint says about the application, the same for its whole life."""

    app_name: str
    master: str
    checkpoint_dir: str
    conf: Mapping[str, str]
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class CheckpointStatistics:
    """What checkpoints have cost so far."""

    written: int = 0
    failed: int = 0
    last_collect_ms: float = 0.0
    last_write_ms: float = 0.0
    last_bytes: int = 0
    state_bytes: int = 0


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
    ) -> None:
        """Write to `files`; without them states are committed, nothing else.

        `dump()` returns the pickled functions and streams of the graph.
        """
        self._graph = graph
        self._program = program
        self._files = files
        self._dump = dump
        self._on_error = on_error
        self._loop = SerialLoop("millstream-checkpoint", on_error)
        self._names = graph.names()
        self._states = graph.keyed_states()
        self._retained: dict[int, Manifest] = {}
        self._lock = threading.Lock()
        self.statistics = CheckpointStatistics()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write at all."""
        return self._files is not None or bool(self._states)

    def start(self) -> None:
        """Start the writing thread."""
        self._loop.start()

    def stop(self) -> None:
        """Write what was collected, then end."""
        self._loop.stop()

    # On the generator's thread.

    def after_generating(self, time_ms: int, pending_ms: Sequence[int]) -> None:
        """Write that this batch and those in `pending_ms` aren't done."""
        if self._files is not None:
            self._post(time_ms, pending_ms, [], lambda _: None)

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
                garbage += operator.clear_checkpoint_files(self._floor(oldest_ms))
        manifest = self._manifest(time_ms, pending_ms)
        self.statistics.last_collect_ms = (monotonic_s() - begin_s) * 1000
        remembered = max((o.remember_ms or 0 for o in self._states), default=0)
        floor_ms = self._floor(oldest_ms) - remembered
        work = _Work(time_ms, manifest, functions, commits, floor_ms, garbage, on_done)
        self._loop.post(lambda: self._write(work))

    def _floor(self, oldest_ms: int) -> int:
        """Return the newest batch that no restart from a retained checkpoint goes before."""
        with self._lock:
            firsts = [each.first_rerun_ms for each in self._retained.values()]
        slide = max((each.slide_ms for each in self._names), default=0)
        return min((oldest_ms, *firsts)) - slide

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
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
                millstream=MILLSTREAM_VERSION,
            )

        return make

    def _record(self, operator: Operator, name: str) -> Callable[[], OperatorRecord]:
        parents = tuple(self._names[parent] for parent in operator.parents)
        files = {str(time): uri for time, uri in operator.checkpoint_files.items()}

        def make() -> OperatorRecord:
            state = None
            if isinstance(operator, KeyedStateOperator):
                state = {
                    "partitions": operator.place.count,
                    "directory": operator.states.files.uri,
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

    def _write(self, work: _Work) -> None:
        for tries in range(1, _TRIES_MAX + 1):
            try:
                self._write_once(work)
            except (MillstreamError, OSError) as error:
                self.statistics.failed += 1
                _log.warning(
                    "a checkpoint couldn't be written batch=%d try=%d of %d error=%s",
                    work.time_ms,
                    tries,
                    _TRIES_MAX,
                    error,
                )
                if tries == _TRIES_MAX:
                    self._on_error(error)
                    work.on_done(False)
            else:
                self._tidy(work)
                work.on_done(True)
                return

    def _write_once(self, work: _Work) -> None:
        begin_s = monotonic_s()
        for operator, version in work.commits:
            operator.states.commit(version)
        if self._files is not None:
            manifest = work.manifest()
            parts = [manifest.encode(), work.functions]
            self._files.write(work.time_ms, parts)
            self.statistics.last_bytes = sum(map(len, parts))
            self.statistics.written += 1
            with self._lock:
                self._retained[self.statistics.written] = manifest
                # A name may stand for two files, with and without `.bk`.
                for old in sorted(self._retained)[: -2 * len(self._files.files())]:
                    del self._retained[old]
        self.statistics.last_write_ms = (monotonic_s() - begin_s) * 1000

    def _tidy(self, work: _Work) -> None:
        """Compact states and delete what no checkpoint refers to. Failing only warns."""
        try:
            for operator, version in work.commits:
                files = operator.states.files
                operator.states.forget_before(work.floor_ms)
                files.compact(min(work.floor_ms, version))
            if work.commits:
                self._delete_old_states()
            for uri in work.garbage:
                storage, path = open_storage(uri)
                storage.delete_tree(path)
        except (MillstreamError, OSError) as error:
            _log.warning("old checkpoint data couldn't be cleaned error=%s", error)

    def _delete_old_states(self) -> None:
        with self._lock:
            retained = list(self._retained.values())
        for operator in self._states:
            name = self._names[operator]
            keep: set[str] = set()
            for manifest in retained:
                record = manifest.states.get(name)
                if record is not None:
                    keep |= state_file_names(record)
            operator.states.files.clean(keep)


def open_states(
    graph: DStreamGraph,
    directory: str,
    records: Mapping[str, Mapping[str, Any]],
    restart_ms: int | None,
    chain_max: int,
) -> None:
    """Open the store of every stream that keeps state, below `directory`.

    `records` are the states of a checkpoint by name, and `restart_ms` is the time of its
    batch: from there on versions are made again.
    """
    assert graph.zero_ms is not None, "states begin with the grid"
    names = graph.names()
    for operator in graph.keyed_states():
        name = names[operator]
        uri = f"{directory}/state/{directory_name(name)}"
        record = records.get(name)
        if record is None:
            files = StateFiles(uri, chain_max=chain_max)
        else:
            files = StateFiles.restore(record["directory"], record, chain_max=chain_max)
        if restart_ms is not None:
            files.rewind(restart_ms)
        operator.store = StateStore(name, operator.place.count, files, graph.zero_ms)
        if record is None:
            operator.keep_initial()


def state_file_names(record: Mapping[str, object]) -> set[str]:
    """Return the files that a state's record in a manifest names."""
    names: set[str] = set()
    for part in ("versions", "snapshots"):
        rows = record.get(part)
        if isinstance(rows, list):
            names |= {row[1] for row in rows if row[1] is not None}
    return names
