"""Plain pickle: bytes of strangers, unpickled without running anything of theirs.

A pickle that only has numbers, text, bytes, None, lists, tuples, dicts and sets names no
class and no function; what names one is refused before it is looked up.
"""

import io
import pickle  # noqa: TID251  Nothing that it names is looked up.
from typing import Any

from millstream.engine.base.errors import SparkError


def loads(data: bytes) -> Any:
    """Return the plain data in `data`.

    Raises:
        SparkError: It is no pickle, or names a class or function.
    """
    try:
        return _Plain(io.BytesIO(data)).load()
    except SparkError:
        raise
    except Exception as error:
        msg = f"what was received can't be unpickled: {error!r}"
        raise SparkError(msg) from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
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
