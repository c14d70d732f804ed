"""Partition by partition: sorting and sampling a whole partition in columns."""

from random import Random
from typing import TYPE_CHECKING, Any

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.shapes import Kind, Plain, Shape
from millstream.engine.columnar.stages import GuardFailed, plan_stage, projected
from millstream.engine.columnar.values import Refusal, Tuple, leaves, literal, shape_of
from millstream.engine.plan.ranges import RangeFunction, SortPartition
from millstream.engine.plan.sampling import BernoulliSample, mixed
from millstream.engine.plan.steps import KeyBy

if TYPE_CHECKING:
    from millstream.engine.columnar.execution import Columnar

_ORDERED = (Kind.INT, Kind.STR, Kind.BYTES, Kind.BOOL, Kind.DATE, Kind.DATETIME)


def apply(
    columnar: "Columnar",
    function: Any,
    index: int,
    columns: Columns,
    report: StageReport,
    node: int,
    name: str,
) -> Columns | None:
    """Return what a known function makes of a partition, or None: by rows."""
    try:
        made = _applied(function, index, columns)
    except Refusal as refused:
        report.note(node, name, "rows", str(refused))
        return None
    report.note(node, name, "columns", "")
    columnar.verify(made, lambda: function(index, columns.thaw()), name)
    return made


def _applied(function: Any, index: int, columns: Columns) -> Columns:
    match function:
        case SortPartition(key, is_ascending):
            return _sorted(key, columns, is_ascending=is_ascending)
        case _:
            assert isinstance(function, BernoulliSample), "asked for known ones only"
            # The very draws of the row path, or the sample would be another one.
            draw = Random(mixed(function.seed, index)).random
            lower, upper = function.lower, function.upper
            kept = [lower <= draw() < upper for _ in range(columns.count)]
            mask = pl.Series(kept, dtype=pl.Boolean)
            return Columns(columns.frame.filter(mask), columns.shape)


class _OfKey:
    """A function of a pair's key, as one of the pair."""

    columnar_fields = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __call__(self, pair: Any) -> Any:
        return self.key(pair[0])


def keyed(key: Any, columns: Columns) -> tuple[pl.LazyFrame, Tuple]:
    """Return pairs with what `key` makes of their key before them.

    Raises:
        Refusal: It isn't known in columns, or its values aren't in order there.
    """
    plan = plan_stage((KeyBy(_OfKey(key)),), columns.shape, columns.frame)
    if not plan.lowered_count:
        raise Refusal(plan.refusal)
    query = plan.run(columns.frame)
    if isinstance(query, GuardFailed):
        raise Refusal(f"guard failed: {query.reason}")
    assert isinstance(plan.value, Tuple), "keyBy makes pairs"
    _check_order(shape_of(plan.value.items[0]))
    return query, plan.value


def _check_order(shape: Shape) -> None:
    kinds = list(shapes.plain_shapes(shape))
    if not kinds or any(e.is_optional or e.kind not in _ORDERED for e in kinds):
        raise Refusal("keys that may be None, or are floats, aren't sorted in columns")
    if any(isinstance(each, shapes.ListOf | shapes.DictOf) for each in _parts(shape)):
        raise Refusal("keys with a list or a dict in them aren't sorted in columns")


def _parts(shape: Shape) -> list[Shape]:
    if isinstance(shape, shapes.TupleOf | shapes.DictOf):
        return [shape, *(part for item in shape.items for part in _parts(item))]
    return [shape]


def _sorted(key: Any, columns: Columns, *, is_ascending: bool) -> Columns:
    query, value = keyed(key, columns)
    by, pair = value.items
    ordered = query.sort(leaves(by), descending=not is_ascending, maintain_order=True)
    return Columns(projected(ordered, pair), shape_of(pair))


def range_places(function: RangeFunction, columns: Columns) -> pl.Series:
    """Return the partition of each pair: the number of bounds below its key.

    Raises:
        Refusal: The row path must do it.
    """
    query, value = keyed(function.key, columns)
    by = value.items[0]
    kind = shape_of(by)
    if not isinstance(kind, Plain) or any(
        shapes.kind_of(bound) is not kind.kind for bound in function.bounds
    ):
        raise Refusal("bounds and keys of different types")
    (expr,) = leaves(by)
    place = pl.lit(0, dtype=pl.UInt32)
    for bound in function.bounds:
        place = place + (expr > literal(bound).expr).cast(pl.UInt32)
    if not function.is_ascending:
        place = len(function.bounds) - place
    frame = query.select(place.alias("place")).collect(engine="streaming")
    return frame["place"].cast(pl.UInt32)
