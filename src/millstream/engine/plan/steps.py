"""Steps: what a stage does to each record, as data.

A narrow operation is one of these, not a closure: so that steps can be fused into one
pass, named in errors, shipped, and lowered to columns. `function` is the user's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Map:
    """`f(record)` for each record."""

    function: Callable[[Any], Any]
    name: str = "map"


@dataclass(frozen=True, slots=True)
class Filter:
    """The records for which `f(record)` is true."""

    function: Callable[[Any], Any]
    name: str = "filter"


@dataclass(frozen=True, slots=True)
class FlatMap:
    """Each item of `f(record)` for each record."""

    function: Callable[[Any], Iterable[Any]]
    name: str = "flatMap"


@dataclass(frozen=True, slots=True)
class MapValues:
    """`(key, f(value))` for each pair."""

    function: Callable[[Any], Any]
    name: str = "mapValues"


@dataclass(frozen=True, slots=True)
class FlatMapValues:
    """`(key, item)` for each item of `f(value)`."""

    function: Callable[[Any], Iterable[Any]]
    name: str = "flatMapValues"


@dataclass(frozen=True, slots=True)
class KeyBy:
    """`(f(record), record)` for each record."""

    function: Callable[[Any], Any]
    name: str = "keyBy"


@dataclass(frozen=True, slots=True)
class Keys:
    """The key of each pair."""

    function: ClassVar[None] = None
    name: str = "keys"


@dataclass(frozen=True, slots=True)
class Values:
    """The value of each pair."""

    function: ClassVar[None] = None
    name: str = "values"


@dataclass(frozen=True, slots=True)
class Glom:
    """All records of a partition as one list."""

    function: ClassVar[None] = None
    name: str = "glom"


@dataclass(frozen=True, slots=True)
class MapPartitions:
    """`f(partition index, iterator)`: any iterable of new records."""

    function: Callable[[int, Iterable[Any]], Iterable[Any]]
    name: str = "mapPartitions"


@dataclass(frozen=True, slots=True)
class Combine:
    """Pairs with equal keys combined inside their partition: no shuffle needed."""

    aggregator: "Aggregator"
    name: str = "combineByKey"

    @property
    def function(self) -> None:
        """A combine has several functions; they are in the aggregator."""
        return


@dataclass(frozen=True, slots=True)
class Reduce:
    """Values of a key folded with one function; the first value is taken as it is."""

    merge: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Merge:
    """Values of a key folded into a combiner, combiners folded into one."""

    create: Callable[[Any], Any]
    merge_value: Callable[[Any, Any], Any]
    merge_combiners: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Values of a key collected into a list, in the order of partitions and records."""


Aggregator: TypeAlias = Reduce | Merge | Group

Step: TypeAlias = (
    Map
    | Filter
    | FlatMap
    | MapValues
    | FlatMapValues
    | KeyBy
    | Keys
    | Values
    | Glom
    | MapPartitions
    | Combine
)
