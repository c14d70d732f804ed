"""Serializers: the names programs import; records are pickled whatever is chosen."""

import itertools
import marshal
from collections.abc import Iterable, Iterator
from typing import Any

from millstream.engine.base import frames

__all__ = [
    "AutoBatchedSerializer",
    "BatchedSerializer",
    "CPickleSerializer",
    "CloudPickleSerializer",
    "MarshalSerializer",
    "NoOpSerializer",
    "PickleSerializer",
    "Serializer",
    "UTF8Deserializer",
]


class Serializer:
    """Turns values into bytes and back."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` as bytes."""
        raise NotImplementedError

    def loads(self, obj: bytes) -> Any:
        """Return the value in `obj`."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CPickleSerializer(Serializer):
    """Pickle."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` pickled."""
        return frames.dumps(obj)

    def loads(self, obj: bytes) -> Any:
        """Return the value pickled in `obj`."""
        return frames.loads(obj)


PickleSerializer = CPickleSerializer


class CloudPickleSerializer(CPickleSerializer):
    """Pickle that carries functions by value."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` pickled by value."""
        return frames.dumps_function(obj)


class MarshalSerializer(Serializer):
    """Python's marshal: fewer types, faster."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` marshalled."""
        return marshal.dumps(obj)

    def loads(self, obj: bytes) -> Any:
        """Return the value marshalled in `obj`."""
        return marshal.loads(obj)  # noqa: S302  What the class is for.


class NoOpSerializer(Serializer):
    """Bytes as they are."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj`."""
        data: bytes = obj
        return data

    def loads(self, obj: bytes) -> Any:
        """Return `obj`."""
        return obj


class UTF8Deserializer(Serializer):
    """UTF-8 text; bytes when `use_unicode` is false."""

    def __init__(self, use_unicode: bool = True) -> None:
        """Choose text or bytes."""
        self.use_unicode = use_unicode

    def loads(self, obj: bytes) -> Any:
        """Return the text in `obj`."""
        return obj.decode("utf-8") if self.use_unicode else obj


class BatchedSerializer(Serializer):
    """Another serializer, `batchSize` records at a time."""

    def __init__(self, serializer: Serializer, batchSize: int = -1) -> None:
        """Wrap `serializer`."""
        self.serializer, self.batchSize = serializer, batchSize

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` as the inner serializer does."""
        return self.serializer.dumps(obj)

    def loads(self, obj: bytes) -> Any:
        """Return the value as the inner serializer does."""
        return self.serializer.loads(obj)

    def batches(self, rows: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield `rows` in lists of `batchSize`; all in one when that is below 1."""
        if self.batchSize < 1:
            yield list(rows)
            return
        remaining = iter(rows)
        while batch := list(itertools.islice(remaining, self.batchSize)):
            yield batch


class AutoBatchedSerializer(BatchedSerializer):
    """Another serializer, in batches of a size that suits it."""

    def __init__(self, serializer: Serializer, bestSize: int = 1 << 16) -> None:
        """Wrap `serializer`."""
        super().__init__(serializer)
        self.bestSize = bestSize
