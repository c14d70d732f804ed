"""Manifest: what a checkpoint says about a stream, as data. A core: pure.

JSON, so that people and later versions can read it: times, conf, every source with its
position, every operator by its stable name, the versions of every state. Functions are
kept beside it, pickled; nothing in here needs them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from millstream.engine.base.errors import DurabilityError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """An input stream: what it is called, its id, and where it is."""

    name: str
    kind: str
    id: int
    position: Mapping[str, Any]
    """What the source needs to read its remembered batches again; its own form."""


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """A stream with parents, or an output operation."""

    name: str
    kind: str
    parents: tuple[str, ...]
    call_site: str
    slide_ms: int
    files: Mapping[str, str] = field(default_factory=dict)
    """Checkpointed RDDs: their directories by batch time."""
    state: Mapping[str, Any] | None = None
    """The versions of its keyed state: see durable/state_files."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One checkpoint of one streaming application."""

    time_ms: int
    zero_ms: int
    batch_ms: int
    remember_ms: int | None
    pending_ms: tuple[int, ...]
    app_name: str
    master: str
    checkpoint_dir: str
    conf: Mapping[str, str]
    sources: tuple[SourceRecord, ...]
    operators: tuple[OperatorRecord, ...]
    program: Mapping[str, str]
    """A digest of each function of the program that made the stream."""
    python: str
    millstream: str
    format: int = FORMAT

    def encode(self) -> bytes:
        """Return the JSON text, UTF-8."""
        return json.dumps(asdict(self), indent=1).encode()

    @property
    def states(self) -> dict[str, Mapping[str, Any]]:
        """The keyed states, by the names of their operators."""
        return {each.name: each.state for each in self.operators if each.state}

    @property
    def first_rerun_ms(self) -> int:
        """The oldest batch that a restart from here runs again."""
        return min((self.time_ms, *self.pending_ms))


def decode(text: bytes) -> Manifest:
    """Return the manifest in `text`.

    Raises:
        DurabilityError: It is none, or of a later version's format.
    """
    try:
        facts = json.loads(text)
        found = facts["format"]
        if found > FORMAT:
            msg = (
                f"the checkpoint has format {found}; this version reads up to {FORMAT}"
            )
            raise DurabilityError(
                msg, hint=f"it was written by Millstream {facts['millstream']}"
            )
        return Manifest(
            **{
                **facts,
                "pending_ms": tuple(facts["pending_ms"]),
                "sources": tuple(SourceRecord(**each) for each in facts["sources"]),
                "operators": tuple(
                    OperatorRecord(**{**each, "parents": tuple(each["parents"])})
                    for each in facts["operators"]
                ),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"the checkpoint's manifest can't be read: {error!r}"
        raise DurabilityError(msg) from error
