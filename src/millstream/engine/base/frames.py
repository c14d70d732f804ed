"""Frames: how values and functions become bytes and come back.

The only module that pickles. Data goes through plain pickle, protocol 5; functions go
through cloudpickle, so that lambdas and what they close over travel by value.
"""

import io
import pickle
import zlib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cache
from types import CodeType
from typing import Any, BinaryIO, ClassVar

from millstream.engine.base import secrets
from millstream.engine.base.errors import DurabilityError, PySparkPicklingError

_HEADER_BYTES = 8
_FRAME_BYTES_MAX = 1 << 31


def dumps(value: Any) -> bytes:
    """Return `value` pickled; raises PySparkPicklingError naming what can't be."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        # Classes and functions of the main script: only cloudpickle carries them.
        return dumps_function(value)


def buffer(data: bytes) -> pickle.PickleBuffer:
    """Return bytes such that who pickles them with buffers apart doesn't copy them."""
    return pickle.PickleBuffer(data)


def dumps_unshared(value: Any) -> bytes:
    """Return `value` pickled without references inside: equal plain values, equal bytes.

    Plain are int, str, bytes, None and tuples of them. What refers to itself can't be.
    """
    out = io.BytesIO()
    pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return out.getvalue()


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Return the value in `data`. Never call it on bytes from a stranger."""
    return pickle.loads(data)  # noqa: S301  Our own bytes only; see the docstring.


def dumps_function(function: Any, live: Mapping[str, Any] | None = None) -> bytes:
    """Return `function` pickled by value, with what it closes over.

    What is in `live` isn't pickled: only its name is, and `loads_function` puts what has
    that name then in its place. With `live`, which checkpoints have, secrets are left out.

    Raises:
        PySparkPicklingError: It refers to something that can't travel; the text names it.
    """
    try:
        out = io.BytesIO()
        pickler = _function_pickler(with_names=live is not None)(
            out, pickle.HIGHEST_PROTOCOL
        )
        if live is None:
            pickler.dump(function)
        else:
            pickler.names = {id(each): name for name, each in live.items()}
            with secrets.left_out():
                pickler.dump(function)
    except PySparkPicklingError:
        raise
    except Exception as error:
        if hasattr(error, "getCondition"):
            raise  # One of ours: it says already what is wrong (SPARK-5063).
        what = getattr(function, "__qualname__", type(function).__name__)
        msg = f"Could not serialize object: {type(error).__name__}: {error}"
        raise PySparkPicklingError(
            msg,
            hint=f"`{what}` refers to something that can't be sent to a task, such as a "
            "lock, socket, generator or open file; create it inside the function",
        ) from error
    return out.getvalue()


def loads_function(data: bytes, live: Mapping[str, Any] | None = None) -> Any:
    """Return the function in `data`: a copy of its own on each call."""
    if live is None:
        return pickle.loads(data)  # noqa: S301  Made by `dumps_function`.
    return _LiveUnpickler(data, live).load()


class _LiveUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, live: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._live = live

    def persistent_load(self, pid: Any) -> Any:
        return self._live[pid]


@cache
def _function_pickler(*, with_names: bool) -> Any:
    import cloudpickle  # noqa: PLC0415  Half the import time of the package.

    reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]

    def reduce_with_file(code: CodeType) -> Any:
        # cloudpickle leaves out which file code is from; a traceback that says
        # "<dynamic-code>" points nowhere, and the source couldn't be looked up.
        make, arguments = reduce_code(code)
        return make, tuple(
            code.co_filename if each == "<dynamic-code>" else each for each in arguments
        )

    class FunctionPickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap(
            {CodeType: reduce_with_file}, cloudpickle.Pickler.dispatch_table
        )

    class NamingPickler(FunctionPickler):
        names: dict[int, str]

        # Called for every object: only where there are names.
        def persistent_id(self, value: Any) -> str | None:
            return self.names.get(id(value))

    return NamingPickler if with_names else FunctionPickler


def write_frame(out: BinaryIO, payload: bytes) -> int:
    """Append one frame: length and CRC-32 (4 bytes each, big-endian), then `payload`.

    Returns:
        The bytes written, header included.

    Raises:
        DurabilityError: The payload is over 2 GiB.
    """
    out.write(header_of(payload))
    out.write(payload)
    return _HEADER_BYTES + len(payload)


def read_frames(source: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the payloads of `source`, which errors call `name`.

    Raises:
        DurabilityError: A frame is cut short or its checksum doesn't match.
    """
    position = 0
    while header := source.read(_HEADER_BYTES):
        if len(header) < _HEADER_BYTES:
            raise torn(name, position)
        length = int.from_bytes(header[:4], "big")
        if length > _FRAME_BYTES_MAX:
            raise torn(name, position)
        payload = source.read(length)
        if len(payload) < length:
            raise torn(name, position)
        if checksum(payload) != int.from_bytes(header[4:], "big"):
            msg = f"file '{name}' is damaged: the checksum at byte {position} is wrong"
            raise DurabilityError(msg)
        yield payload
        position += _HEADER_BYTES + length


def header_of(payload: bytes) -> bytes:
    """Return what stands before `payload` in its frame.

    Raises:
        DurabilityError: The payload is over 2 GiB.
    """
    if len(payload) > _FRAME_BYTES_MAX:
        msg = (
            f"a batch of records takes {len(payload)} bytes pickled; 2 GiB is the limit"
        )
        raise DurabilityError(msg, hint="use smaller records or a smaller batch size")
    return len(payload).to_bytes(4, "big") + checksum(payload).to_bytes(4, "big")


def checksum(payload: bytes) -> int:
    """Return the CRC-32 of a frame's length and payload.

    The length is part of it, so that no run of zero bytes is a valid frame.
    """
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "big")))


def torn(name: str, position: int) -> DurabilityError:
    """Return the error for a frame that was cut short."""
    return DurabilityError(f"file '{name}' is damaged: cut short after byte {position}")


def frame(payload: bytes) -> bytes:
    """Return `payload` as one frame."""
    return header_of(payload) + payload
