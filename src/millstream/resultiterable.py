"""ResultIterable: the values of one key, as PySpark hands them out."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class ResultIterable(Generic[T_co]):
    """A sized iterable of values; iterate as often as you like.

    >>> list(ResultIterable([1, 2]))
    [1, 2]
    """

    wraps_list: ClassVar[bool] = True
    """For columns: it is made of a list, and iterated over as that is."""

    def __init__(self, data: Iterable[T_co]) -> None:
        """Hold `data`."""
        self.data: Iterable[T_co] = data
        self.index = 0
        self.maxindex = len(data)  # type: ignore[arg-type]  # Lists, in practice.

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.data)

    def __len__(self) -> int:
        return self.maxindex

    def __repr__(self) -> str:
        return f"ResultIterable({self.data!r})"
