"""Plain pickle: bytes of strangers, unpickled without running anything of theirs.

A pickle that only has numbers, text, bytes, None, lists, tuples, dicts and sets names no
class and no function; what names one is refused before it is looked up.
"""

import io
import pickle  # noqa: TID251  Nothing that it names is looked up, unless it is known.
from collections.abc import Collection
from typing import Any

from millstream.engine.base.errors import SparkError


def loads(data: bytes, known: Collection[tuple[str, str]] = ()) -> Any:
    """Return the plain data in `data`.

    Classes in `known`, by module and name, are taken as well: the caller answers for it
    that making one is harmless, whatever it is made of.

    Raises:
        SparkError: It is no pickle, or names another class or a function.
    """
    try:
        return _Plain(io.BytesIO(data), known).load()
    except SparkError:
        raise
    except Exception as error:
        msg = f"what was received can't be unpickled: {error!r}"
        raise SparkError(msg) from error


class _Plain(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, known: Collection[tuple[str, str]]) -> None:
        super().__init__(source)
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return super().find_class(module, name)
        msg = (
            f"what was received names `{module}.{name}`: only plain data is taken from "
            "the network, since unpickling anything else runs what the sender chose"
        )
        raise SparkError(
            msg, hint="send numbers, text, bytes, None, and lists and dicts of such"
        )

    def persistent_load(self, pid: Any) -> Any:
        msg = f"what was received refers to an object outside of it: {pid!r:.80}"
        raise SparkError(msg)
