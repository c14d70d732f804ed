"""Manifest: what a checkpoint says about a stream, as data. A core: pure.

JSON, so that people and later versions can read it: times, conf, every source with its
position, every operator by its stable name, the versions of every state. Functions are
kept beside it, pickled; nothing in here needs them. Files below the checkpoint directory
are named relative to it, so that it may be moved or copied.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
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
    """Its keyed state: the directory, the batch before its first one (`begin`), where
    keys are (see placement), its versions (see durable/state_files)."""


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
    next_source_id: int = 0
    """No source has had this id or a higher one: ids name directories and blocks."""
    dropped: tuple[str, ...] = ()
    """Names that upgrades were allowed to drop, so that they may be named again."""
    format: int = FORMAT

    def encode(self) -> bytes:
        """Return the JSON text, UTF-8: a line for each field, source and operator."""
        # Indented further it would be a third of what a checkpoint costs: only without
        # indents is json's encoder native.
        lines = ",\n".join(
            f'"{each.name}": {_text(getattr(self, each.name))}' for each in _FIELDS
        )
        return f"{{\n{lines}\n}}".encode()

    @property
    def states(self) -> dict[str, Mapping[str, Any]]:
        """The keyed states, by the names of their operators."""
        return {each.name: each.state for each in self.operators if each.state}

    @property
    def first_rerun_ms(self) -> int:
        """The oldest batch that a restart from here runs again."""
        return min((self.time_ms, *self.pending_ms))

    @property
    def closed_ms(self) -> int | None:
        """The newest batch that owns received blocks; None without receivers."""
        known = [each.position.get("closed_ms") for each in self.sources]
        return max((each for each in known if each is not None), default=None)


_FIELDS = fields(Manifest)


def _text(value: Any) -> str:
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return "[\n " + ",\n ".join(map(_line, value)) + "\n]"
    return json.dumps(value)


def _line(record: Any) -> str:
    # Not `asdict`, which copies every value in depth.
    return json.dumps(
        {each.name: getattr(record, each.name) for each in fields(record)}
    )


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
                "dropped": tuple(facts["dropped"]),
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


def this_python() -> str:
    """Return the version of Python that functions pickled here need."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:")


def relative_to(directory: str, uri: str) -> str:
    """Return how a manifest in `directory` names `uri`.

    >>> relative_to("file:/c", "file:/c/state/x"), relative_to("file:/c", "s3://b/x")
    ('state/x', 's3://b/x')
    """
    return uri.removeprefix(f"{directory.rstrip('/')}/")


def absolute(directory: str, name: str) -> str:
    """Return the URI of what a manifest in `directory` calls `name`.

    >>> absolute("file:/d", "state/x"), absolute("file:/d", "s3://b/x")
    ('file:/d/state/x', 's3://b/x')
    """
    if _ABSOLUTE.match(name):
        return name
    return f"{directory.rstrip('/')}/{name}"
