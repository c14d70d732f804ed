"""Encoding: one value as bytes, for systems whose messages are bytes."""

import json
from typing import Any

from millstream.engine.base.errors import SparkError


def encoded(value: Any) -> bytes:
    """Return bytes as they are, text as UTF-8, and anything else as JSON.

    >>> encoded("to"), encoded(7), encoded({"a": [1.5, None]})
    (b'to', b'7', b'{"a": [1.5, null]}')

    Raises:
        SparkError: JSON doesn't have it.
    """
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
        case _:
            try:
                return json.dumps(value, ensure_ascii=False).encode()
            except (TypeError, ValueError) as error:
                msg = f"{value!r:.100} can't be written as JSON: {error}"
                raise SparkError(
                    msg, hint="map it to text, bytes, or what JSON has"
                ) from error
