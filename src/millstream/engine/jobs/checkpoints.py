"""RddCheckpoints: an RDD written to files, and its lineage cut."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.storage import Storage, open_storage
from millstream.engine.columnar.blocks import Columns
from millstream.engine.durable import object_files
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.jobs.actions import Action, Apply
from millstream.engine.jobs.tasks import cached_id
from millstream.engine.plan.nodes import RddNode, Source, StoredBlocks, ancestors
from millstream.engine.plan.partitioners import Partitioner

_PARTITIONER = "_partitioner"
_COUNT = "_count"
RunJob = Callable[[RddNode, Action, list[int] | None], list[Any]]


@dataclass(frozen=True, slots=True)
class CheckpointPartition:
    """One partition of a checkpointed RDD: a file."""

    uri: str

    def read(self) -> Iterable[Any]:
        """Return the records of the file."""
        storage, path = open_storage(self.uri)
        return object_files.read_rows(storage, path)


@dataclass(frozen=True, slots=True)
class _WritePartition:
    directory: str
    takes_pieces: ClassVar[bool] = True

    def __call__(self, index: int, pieces: Iterator[Columns | Iterable[Any]]) -> None:
        storage, path = open_storage(f"{self.directory}/{part_name(index)}")
        object_files.write_pieces(storage, path, pieces)


def part_name(index: int) -> str:
    """Return the file name of a partition: part-00007."""
    return f"part-{index:05d}"


class RddCheckpoints:
    """Writes the RDDs that were marked, after the first job that computed them."""

    def __init__(self, run_job: RunJob, blocks: BlockStore) -> None:
        """Run writing jobs through `run_job`."""
        self._run_job = run_job
        self._blocks = blocks
        self._lock = threading.RLock()
        self._writing: set[int] = set()  # Their own jobs end in `after_job` too.
        self.directory: str | None = None

    def after_job(self, target: RddNode, *, all_marked: bool) -> None:
        """Checkpoint what is marked in the lineage of `target`, which a job just ran.

        Without `all_marked` the walk stops at marked RDDs: what is behind one isn't
        needed once it is written. With it ancestors come first (semantics RDD-19).
        """
        marked = self._marked(target, all_marked=all_marked)
        if not marked:
            return
        with self._lock:
            for node in marked:
                if not _is_marked(node) or node.id in self._writing:
                    continue
                self._writing.add(node.id)
                try:
                    if node.is_local_checkpoint:
                        self._keep_locally(node)
                    else:
                        self._write(node)
                finally:
                    self._writing.discard(node.id)

    def _marked(self, target: RddNode, *, all_marked: bool) -> list[RddNode]:
        if all_marked:
            marked = [node for node in ancestors(target) if _is_marked(node)]
            return sorted(marked, key=lambda node: node.id)
        found: list[RddNode] = []
        seen, waiting = {target.id}, [target]
        while waiting:
            node = waiting.pop()
            if _is_marked(node):
                found.append(node)
                continue
            for parent in node.parents():
                if parent.id not in seen:
                    seen.add(parent.id)
                    waiting.append(parent)
        return found

    def _write(self, node: RddNode) -> None:
        if self.directory is None:
            msg = "Checkpoint directory has not been set in the SparkContext"
            raise SparkError(msg, hint="call SparkContext.setCheckpointDir first")
        uri = f"{self.directory}/rdd-{node.id}"
        storage, path = open_storage(uri)
        storage.make_dirs(path)
        self._run_job(node, Apply(_WritePartition(uri), "checkpoint"), None)
        if node.partitioner is not None:
            payload = frames.frame(frames.dumps_function(node.partitioner))
            storage.write_atomic(f"{path}/{_PARTITIONER}", payload)
        count = frames.frame(str(node.partition_count).encode())
        storage.write_atomic(f"{path}/{_COUNT}", count)
        node.op = Source(
            tuple(
                CheckpointPartition(f"{uri}/{part_name(index)}")
                for index in range(node.partition_count)
            )
        )
        node.functions = None
        node.checkpoint_path = uri

    def _keep_locally(self, node: RddNode) -> None:
        ids = tuple(cached_id(node, index) for index in range(node.partition_count))
        missing = [i for i, each in enumerate(ids) if not self._blocks.contains(each)]
        if missing:
            self._run_job(node, Apply(_touch, "localCheckpoint"), missing)
        node.op = StoredBlocks(ids, "it was checkpointed locally and then lost")
        node.functions = None


def check(uri: str) -> None:
    """Read the checkpoint in directory `uri`, to see if it can be.

    Raises:
        SparkError, DurabilityError: A file is missing or damaged; names it.
    """
    storage, path = open_storage(uri)
    for name in _contents(storage, path)[0]:
        object_files.check(storage, f"{path}/{name}")


def _contents(storage: Storage, path: str) -> tuple[list[str], Partitioner | None]:
    """Return the names of the partitions' files, and the partitioner, if there was one."""
    names = {info.name for info in storage.list(path)}
    count = sum(name.startswith("part-") for name in names)
    if _COUNT in names:  # A missing last partition isn't seen without it.
        count = int(read_one(storage, f"{path}/{_COUNT}"))
    parts = [part_name(index) for index in range(count)]
    if count == 0 or not names.issuperset(parts):
        missing = sorted({*parts, part_name(0)} - names)
        msg = f"checkpoint '{path}' isn't complete: it lacks {', '.join(missing)}"
        raise SparkError(msg)
    partitioner: Partitioner | None = None
    if _PARTITIONER in names:
        data = read_one(storage, f"{path}/{_PARTITIONER}")
        partitioner = frames.loads_function(data)
    return parts, partitioner


def read_one(storage: Storage, path: str) -> bytes:
    """Return the one record of a file.

    Raises:
        DurabilityError: It is damaged; names it.
    """
    with storage.open_input(path) as source:
        payloads = list(frames.read_frames(source, path))
    if len(payloads) != 1:
        msg = (
            f"file '{path}' is damaged: it should have one record, not {len(payloads)}"
        )
        raise DurabilityError(msg)
    return payloads[0]


def restore(uri: str, call_site: str = "") -> RddNode:
    """Return the RDD whose checkpoint is in directory `uri`.

    Raises:
        SparkError: There are no partition files, or one is missing.
    """
    storage, path = open_storage(uri)
    parts, partitioner = _contents(storage, path)
    count = len(parts)
    source_op = Source(tuple(CheckpointPartition(f"{uri}/{name}") for name in parts))
    node = RddNode(source_op, count, partitioner, call_site)
    node.checkpoint_path = uri
    return node


def wanted_level(level: StorageLevel | None) -> StorageLevel:
    """Return the level for a local checkpoint: as asked for, and on disk too."""
    if level is None:
        return StorageLevel.MEMORY_AND_DISK
    return StorageLevel(
        True, level.useMemory, level.useOffHeap, level.deserialized, level.replication
    )


def _touch(_index: int, rows: Iterator[Any]) -> None:
    for _ in rows:
        pass


def _is_marked(node: RddNode) -> bool:
    if isinstance(node.op, StoredBlocks):
        return False
    return node.is_local_checkpoint or (
        node.is_checkpoint_wanted and node.checkpoint_path is None
    )
