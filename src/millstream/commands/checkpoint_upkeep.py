"""Checkpoint upkeep: a copy of a checkpoint to go on from, and what nobody needs any more."""

from collections.abc import Iterator
from dataclasses import dataclass

from millstream.commands.checkpoint_report import report
from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import MillstreamError, UsageError
from millstream.engine.base.progress import counted
from millstream.engine.base.storage import FileInfo, Storage, open_storage
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.opening import state_file_names

_LOGS = ("receivedBlockMetadata", "receivedData")
"""In this order: what the first names, the second has by then."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A copy of a checkpoint directory."""

    time_ms: int
    """The batch of the checkpoint that was copied."""
    files: int
    bytes: int
    left: tuple[str, ...]
    """What the checkpoint names outside of its directory: the copy names it, too."""


def fork(source: str, target: str) -> Fork:
    """Copy the newest valid checkpoint of a directory, with all that it needs.

    The program of `source` may run meanwhile: the copy is as if it had been killed.

    Raises:
        UsageError: There is no valid checkpoint, or something is in `target`.
        OSError: A file can't be read or written; one may vanish while the program runs.
    """
    facts = report(source)
    storage, root = open_storage(source)
    own, own_root = open_storage(target)
    if own.exists(own_root) and own.list(own_root):
        msg = f"'{target}' isn't empty"
        raise UsageError(msg, hint="give a directory that isn't there yet")
    valid = next(each.name for each in facts.files if each.problem is None)
    names, left = _needed_by(facts.manifest, storage, root)
    size = 0
    # The checkpoint last: a copy that was broken off has none, and is no checkpoint.
    for name in counted(f"copying to {target}", [*names, valid]):
        with storage.open_input(f"{root}/{name}") as file:
            data = file.read()
        own.write_atomic(f"{own_root}/{name}", data)
        size += len(data)
    return Fork(facts.manifest.time_ms, len(names) + 1, size, left)


def _needed_by(
    facts: Manifest, storage: Storage, root: str
) -> tuple[list[str], tuple[str, ...]]:
    """Return the files that a restart reads, below the directory, and what is elsewhere."""
    names: list[str] = []
    left: list[str] = []
    for state in facts.states.values():
        directory = state["directory"]
        if manifests.absolute("", directory) == directory:
            left.append(directory)
        else:
            names += [f"{directory}/{each}" for each in sorted(state_file_names(state))]
    for directory in {uri for each in facts.operators for uri in each.files.values()}:
        if manifests.absolute("", directory) == directory:
            left.append(directory)
        else:
            names += _below(storage, root, directory)
    for log in _LOGS:
        names += _below(storage, root, log)
    return names, tuple(sorted(left))


def _below(storage: Storage, root: str, directory: str) -> list[str]:
    """Return the files below a directory, by their names from `root` on."""
    if not storage.exists(f"{root}/{directory}"):
        return []
    found: list[str] = []
    for info in storage.list(f"{root}/{directory}"):
        name = f"{directory}/{info.name}"
        found += _below(storage, root, name) if info.is_dir else [name]
    return found


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that no checkpoint names."""

    name: str
    bytes: int
    age_ms: int


def leftovers(directory: str, older_than_ms: int) -> list[Leftover]:
    """Return files of states and RDDs that no checkpoint names, and that are old.

    Those of a crash, of streams that an upgrade has dropped, of a clean-up that failed.
    What is younger than `older_than_ms` may be about to be named.

    Raises:
        UsageError: There is no valid checkpoint; or one is damaged, so that nobody knows
            what it names.
    """
    report(directory)
    storage, root = open_storage(directory)
    kept = _named(directory)
    now_ms = SystemClock().now_ms()
    return [
        Leftover(name, info.size_bytes, now_ms - info.modified_ms)
        for name, info in _candidates(storage, root)
        if not _is_kept(name, kept) and now_ms - info.modified_ms >= older_than_ms
    ]


def _named(directory: str) -> set[str]:
    """Return the files and directories that the checkpoints name."""
    checkpoints = CheckpointFiles(directory)
    kept: set[str] = set()
    for file in checkpoints.files():
        try:
            facts = manifests.decode(checkpoints.read(file)[0])
        except (MillstreamError, OSError) as error:
            msg = f"nobody knows what '{file.path}' needs: {error}"
            hint = "delete that checkpoint first, if it can't be restored from a copy"
            raise UsageError(msg, hint=hint) from error
        for state in facts.states.values():
            names = state_file_names(state)
            kept.update(f"{state['directory']}/{each}" for each in names)
        kept.update(uri for each in facts.operators for uri in each.files.values())
    return kept


def _candidates(storage: Storage, root: str) -> Iterator[tuple[str, FileInfo]]:
    """Yield the files of states, and of RDDs: all that is neither checkpoint nor log."""
    for info in storage.list(root):
        if info.is_dir and info.name not in _LOGS:
            yield from _files(storage, root, info.name)


def _files(
    storage: Storage, root: str, directory: str
) -> Iterator[tuple[str, FileInfo]]:
    for info in storage.list(f"{root}/{directory}"):
        name = f"{directory}/{info.name}"
        if info.is_dir:
            yield from _files(storage, root, name)
        else:
            yield name, info


def _is_kept(name: str, kept: set[str]) -> bool:
    """Say whether a file, or a directory that it is in, is named."""
    parts = name.split("/")
    return any("/".join(parts[:count]) in kept for count in range(1, len(parts) + 1))


def delete(directory: str, found: list[Leftover]) -> None:
    """Delete leftovers.

    Raises:
        OSError: One can't be deleted.
    """
    storage, root = open_storage(directory)
    for each in found:
        storage.delete(f"{root}/{each.name}")
