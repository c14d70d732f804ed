"""State values: states as they are kept, so that nobody's later change reaches them.

Atoms are kept as they are. Anything else, which user code could change in place, is kept
as its pickle, and each reader gets a copy of its own.
"""

from typing import Any

from millstream.engine.base import frames

ATOMS = frozenset({int, float, str, bytes, bool, type(None)})


class Pickled(bytes):
    """A state that isn't an atom, pickled."""

    __slots__ = ()


def freeze_state(value: Any) -> Any:
    """Return `value` as it is kept."""
    return value if type(value) in ATOMS else Pickled(frames.dumps(value))


def thaw_state(kept: Any) -> Any:
    """Return what was frozen: a copy of the caller's own."""
    return frames.loads(kept) if type(kept) is Pickled else kept
