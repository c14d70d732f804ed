"""Checkpoint report: what a checkpoint directory holds, told to people and as JSON.

Functions are never unpickled here: that would run what is in them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from millstream.engine.base.errors import MillstreamError, UsageError
from millstream.engine.base.secrets import is_secret_key
from millstream.engine.base.storage import Storage, open_storage
from millstream.engine.base.time import pretty_duration
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.driver_claim import DriverFacts, newest_driver
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.opening import state_file_names

_BATCHES_SHOWN = 3
_FILES_SHOWN = 3
_POSITION_CHARACTERS_MAX = 160


@dataclass(frozen=True, slots=True)
class FileReport:
    """One checkpoint file, and what is wrong with it."""

    name: str
    bytes: int
    written_ms: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class FolderReport:
    """How many files something takes, and how large they are."""

    files: int
    bytes: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """The newest valid checkpoint of a directory, and the files beside it."""

    directory: str
    files: tuple[FileReport, ...]
    """Newest first."""
    manifest: Manifest
    function_bytes: int
    states: Mapping[str, FolderReport]
    """What each state takes on disk, by the name of its stream."""
    received: Mapping[str, FolderReport]
    """The log of received data of each source that has one."""
    driver: DriverFacts | None = None
    """The driver that took the directory over last; it may have ended since."""


def report(directory: str) -> CheckpointReport:
    """Return what is in a checkpoint directory.

    Raises:
        UsageError: There is no such directory, no checkpoint in it, or none is valid.
    """
    storage, path = open_storage(directory)
    if not storage.exists(path):
        msg = f"there is no directory '{directory}'"
        raise UsageError(msg)
    checkpoints = CheckpointFiles(directory)
    files: list[FileReport] = []
    newest: tuple[Manifest, int] | None = None
    for file in reversed(checkpoints.files()):
        info = storage.stat(file.path)
        problem = None
        try:
            text, functions = checkpoints.read(file)
            facts = manifests.decode(text)
            newest = newest or (facts, len(functions))
        except (MillstreamError, OSError, ValueError) as error:
            problem = "; ".join([str(error), *getattr(error, "__notes__", ())])
        files.append(FileReport(info.name, info.size_bytes, info.modified_ms, problem))
    if not files:
        msg = f"there is no checkpoint in '{directory}'"
        hint = "checkpoints are files named checkpoint-<milliseconds>"
        raise UsageError(msg, hint=hint)
    if newest is None:
        msg = f"no checkpoint in '{directory}' is valid"
        problems = "\n".join(f"{each.name}: {each.problem}" for each in files)
        raise UsageError(msg, hint=problems)
    return CheckpointReport(
        directory,
        tuple(files),
        *newest,
        dict(_states(newest[0], directory)),
        dict(_received(newest[0], storage, path)),
        newest_driver(directory),
    )


def _states(facts: Manifest, directory: str) -> Iterator[tuple[str, FolderReport]]:
    for name, state in facts.states.items():
        storage, path = open_storage(manifests.absolute(directory, state["directory"]))
        sizes, missing = [], []
        for file in sorted(state_file_names(state)):
            try:
                sizes.append(storage.stat(f"{path}/{file}").size_bytes)
            except FileNotFoundError:
                missing.append(file)
        yield name, FolderReport(len(sizes), sum(sizes), tuple(missing))


def _received(
    facts: Manifest, storage: Storage, path: str
) -> Iterator[tuple[str, FolderReport]]:
    for source in facts.sources:
        folder = f"{path.rstrip('/')}/receivedData/{source.id}"
        if storage.exists(folder):
            sizes = [info.size_bytes for info in storage.list(folder)]
            yield source.name, FolderReport(len(sizes), sum(sizes))


def as_json(told: CheckpointReport) -> str:
    """Return a report as JSON; secrets in the conf are left out."""
    facts = asdict(told)
    facts["manifest"]["conf"] = _public_conf(told.manifest)
    return json.dumps(facts, indent=2)


def _public_conf(facts: Manifest) -> dict[str, str]:
    return {
        # Checkpoints have none; those of older versions do.
        key: "(not shown)" if is_secret_key(key) else value
        for key, value in sorted(facts.conf.items())
    }


# For people.


def as_text(told: CheckpointReport) -> str:
    """Return a report for people to read."""
    return "\n".join(_lines(told))


def _lines(told: CheckpointReport) -> Iterator[str]:
    facts = told.manifest
    pending = ", ".join(map(_time, facts.pending_ms)) or "none"
    yield f"checkpoint of '{facts.app_name}' in {told.directory}"
    yield f"  batch       {_time(facts.time_ms)}"
    yield f"  pending     {pending}"
    yield f"  grid        every {pretty_duration(facts.batch_ms)}, from {_time(facts.zero_ms)}"
    yield f"  master      {facts.master}"
    written = next(file.written_ms for file in told.files if file.problem is None)
    yield f"  written     {_time(written)}"
    yield f"  driver      {told.driver or 'none has taken the directory over'}"
    yield f"  by          Millstream {facts.millstream}, format {facts.format}"
    yield (
        f"  functions   {_size(told.function_bytes)}, pickled by Python {facts.python}; "
        "not read here"
    )
    if facts.dropped:
        yield f"  dropped     {', '.join(facts.dropped)}"
    yield "files"
    for file in told.files:
        verdict = "valid" if file.problem is None else f"DAMAGED: {file.problem}"
        yield f"  {file.name:<30} {_size(file.bytes):>10}  {verdict}"
    yield "sources"
    for source in facts.sources:
        yield f"  {source.name}  ({source.kind}, id {source.id})"
        yield from (f"    {line}" for line in _position(source.position))
        if source.name in told.received:
            yield f"    log of received data: {_folder(told.received[source.name])}"
    yield from _operators(told)
    yield "conf"
    for key, value in _public_conf(facts).items():
        yield f"  {key}={value}"


def _operators(told: CheckpointReport) -> Iterator[str]:
    yield "streams and outputs"
    for each in told.manifest.operators:
        yield f"  {each.name}  ({each.kind}, {each.call_site})"
        if each.state is not None:
            yield from (f"    {line}" for line in _state(each.state))
            yield f"    on disk: {_folder(told.states[each.name])}"
        if each.files:
            batches = sorted(map(int, each.files))
            span = f"{_time(batches[0])} to {_time(batches[-1])}"
            yield f"    checkpointed RDDs of {_many(len(batches), 'batch', 'es')}, {span}"


def _state(state: Mapping[str, Any]) -> Iterator[str]:
    versions = [each[0] for each in state["versions"]]
    rows = sum(each[2] for each in (*state["versions"], *state["snapshots"]))
    if versions:
        yield (
            f"{_many(len(versions), 'version')}, {_time(versions[0])} to "
            f"{_time(versions[-1])}; {_many(rows, 'row')}"
        )
    else:
        yield "no version yet"
    count = _many(state["placement"]["partitions"], "partition")
    yield f"{count} in {state['directory']}"


def _position(position: Mapping[str, Any]) -> Iterator[str]:
    files = position.get("files")
    if not isinstance(files, Mapping):
        if position:
            yield _shortened(json.dumps(position))
        return
    batches = [(int(time), uris) for time, uris in files.items() if uris]
    remembered = _many(len(files), "batch", "es")
    yield f"{remembered} remembered, {len(batches)} of them with files"
    for time, uris in sorted(batches)[-_BATCHES_SHOWN:]:
        names = [str(uri).rsplit("/", 1)[-1] for uri in uris[:_FILES_SHOWN]]
        more = len(uris) - len(names)
        also = f" and {more} more" if more else ""
        yield f"{_time(time)}: {', '.join(names)}{also}"


def _shortened(text: str) -> str:
    if len(text) <= _POSITION_CHARACTERS_MAX:
        return text
    return f"{text[:_POSITION_CHARACTERS_MAX]}..."


def _folder(told: FolderReport) -> str:
    text = f"{_many(told.files, 'file')}, {_size(told.bytes)}"
    return f"{text}; MISSING: {', '.join(told.missing)}" if told.missing else text


def _many(count: int, what: str, ending: str = "s") -> str:
    return f"{count} {what}{'' if count == 1 else ending}"


def _time(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({ms} ms)"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
