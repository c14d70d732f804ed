"""Opening: what a restart from a checkpoint reads, and where states go on."""

import itertools
import logging
from collections.abc import Collection, Mapping
from typing import Any

from millstream.engine.base.storage import open_storage
from millstream.engine.durable.checkpoint_files import Needs
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_store import StateStore
from millstream.engine.jobs import checkpoints
from millstream.engine.streams import placement
from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.manifest import Manifest, absolute, decode
from millstream.engine.streams.naming import directory_name
from millstream.engine.streams.operators import Operator

_log = logging.getLogger(__name__)


def needs_of(manifest: Manifest) -> Needs:
    """Return what a restart from a checkpoint needs besides it."""
    states = manifest.states.values()
    return Needs(
        manifest.first_rerun_ms,
        {each["directory"]: frozenset(state_file_names(each)) for each in states},
    )


def needs_of_parts(parts: list[bytes]) -> Needs:
    """Return the same for a checkpoint that was read.

    Raises:
        DurabilityError: It has no manifest that can be read.
    """
    return needs_of(decode(parts[0]))


def state_file_names(record: Mapping[str, object]) -> set[str]:
    """Return the files that a state's record in a manifest names."""
    names: set[str] = set()
    for part in ("versions", "snapshots"):
        rows = record.get(part)
        if isinstance(rows, list):
            names |= {row[1] for row in rows if row[1] is not None}
    return names


def check_files(restored: Manifest, directory: str) -> None:
    """Read what a restart from a checkpoint in `directory` would read, to see if it can.

    Raises:
        MillstreamError, OSError: A file is damaged or missing; names it.
    """
    for record in restored.operators:
        before_ms = restored.first_rerun_ms - record.slide_ms
        rdds = {int(time): uri for time, uri in record.files.items()}
        for time in _from(before_ms, rdds):
            checkpoints.check(absolute(directory, rdds[time]))
        if record.state is not None:
            uri = absolute(directory, record.state["directory"])
            files = StateFiles.restore(uri, record.state)
            files.rewind(_made_again_from(restored, record.state))
            files.check(_from(before_ms, files.versions))


def _made_again_from(restored: Manifest, state: Mapping[str, Any]) -> int:
    """Return the first version that batches make again; the initial state none does."""
    begin: int = state["begin"]
    return max(restored.time_ms, begin + 1)


def _from(begin_ms: int, times: Collection[int]) -> list[int]:
    """Return the newest of `times` up to `begin_ms`, and all that are newer."""
    first_ms = max((each for each in times if each <= begin_ms), default=begin_ms)
    return [each for each in times if each >= first_ms]


def open_states(
    graph: DStreamGraph,
    directory: str,
    restored: Manifest | None,
    chain_max: int,
    memory: StateMemory,
) -> None:
    """Open the store of every stream that keeps state, below `directory`.

    What `restored` has of it goes on: versions from its batch on are made again. A state
    that it doesn't have begins with the first batch that runs again.
    """
    assert graph.zero_ms is not None, "states begin with the grid"
    names = graph.names()
    records = {} if restored is None else restored.states
    for operator in graph.keyed_states():
        name = names[operator]
        record = records.get(name)
        begin = graph.zero_ms
        if record is None:
            uri = f"{directory}/state/{directory_name(name)}"
            if restored is not None:
                uri = _unused(uri)
                begin += _slides_before(restored, operator) * operator.slide_ms
            files = StateFiles(uri, chain_max=chain_max)
        else:
            assert restored is not None, "it has the record"
            uri = absolute(directory, record["directory"])
            files = StateFiles.restore(uri, record, chain_max=chain_max)
            files.rewind(_made_again_from(restored, record))
            begin = record["begin"]
            moved = placement.put_in_place(files, record["placement"], operator)
            if moved:
                _log.info(
                    "state was moved to its partitions state=%s keys=%d", name, moved
                )
        operator.store = StateStore(
            name,
            operator.place.count,
            files,
            begin,
            memory=memory,
            keeps_stamps=operator.looks_for_idle,
        )
        if record is None:
            operator.keep_initial()


def _unused(uri: str) -> str:
    """Return a directory like `uri` that isn't there.

    An older checkpoint may name files of another state that had this name.
    """
    storage, path = open_storage(uri)
    others = (f"-{number}" for number in itertools.count(2))
    return uri + next(
        each
        for each in itertools.chain([""], others)
        if not storage.exists(path + each)
    )


def _slides_before(restored: Manifest, operator: Operator) -> int:
    """Return how many slides of the grid end before the first batch that runs again."""
    since = restored.first_rerun_ms - restored.zero_ms
    return max(0, since - 1) // operator.slide_ms  # It is 0 before the first batch.
