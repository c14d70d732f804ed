"""Actions: what a job does with each partition of its last RDD, as data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Collect:
    """The partition as a list."""

    name: str = "collect"


@dataclass(frozen=True, slots=True)
class Count:
    """How many records the partition has."""

    name: str = "count"


@dataclass(frozen=True, slots=True)
class Take:
    """The first records, at most `count`; no more than needed are computed."""

    count: int
    name: str = "take"


@dataclass(frozen=True, slots=True)
class Apply:
    """`function(partition index, iterator)`; pickled by value, like all functions."""

    function: Callable[[int, Iterator[Any]], Any]
    name: str = "runJob"


@dataclass(frozen=True, slots=True)
class Fold:
    """All records of the partition folded with one function: a list of one, or of none."""

    function: Callable[[Any, Any], Any]
    name: str = "reduce"


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of the partition's records; 0 of nothing."""

    name: str = "sum"


@dataclass(frozen=True, slots=True)
class CountByValue:
    """How often each record occurs in the partition, as a dict."""

    name: str = "countByValue"


Action: TypeAlias = Collect | Count | Take | Apply | Fold | Sum | CountByValue
