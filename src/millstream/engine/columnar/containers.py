"""Containers: tuples, lists and dicts: their items, lengths, sums and comprehensions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar import (
    list_operations,
    methods,
    numbers,
    shapes,
    text_operations,
)
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    as_scalar,
    leaves,
    literal,
    name_of,
    shape_of,
    value_of,
)


def item(t: Translation, value: Value, index: Value) -> Value:
    """Return `value[index]`."""
    match value:
        case Tuple(items):
            return items[_position(index, len(items))]
        case Dict(items):
            key = index.value if isinstance(index, Constant) else None
            if type(key) is not str or key not in items:
                msg = "a dict's key that isn't there, or that varies"
                raise Refusal(msg)
            return items[key]
        case List(inner, exprs, None):
            kept = List(inner, tuple(map(t.once, exprs)))
            return list_operations.list_item(t, kept, index)
        case Scalar(kind) if kind in (Kind.STR, Kind.BYTES):
            return text_operations.item(t, value, index)
        case Special():
            return value.subscript(t, index)
        case Constant(dict() as entries):
            return methods.look_up(t, entries, index, None)
        case Constant(str()):
            return text_operations.item(t, as_scalar(value, "a text"), index)
        case _:
            msg = f"an item of a {name_of(value)} isn't known in columns"
            raise Refusal(msg)


def _position(index: Value, length: int) -> int:
    position = index.value if isinstance(index, Constant) else None
    if not isinstance(position, int) or not -length <= position < length:
        msg = "a tuple's index that is out of range, or that varies"
        raise Refusal(msg)
    return position


def sliced(t: Translation, value: Value, bounds: Sequence[Value]) -> Value:
    """Return `value[start:stop:step]`."""
    start, stop, step = bounds
    match value:
        case Tuple(items):
            if not all(isinstance(each, Constant) for each in bounds):
                msg = "a slice of a tuple that varies"
                raise Refusal(msg)
            cut = slice(*[each.value for each in bounds if isinstance(each, Constant)])
            kept = items[cut]
            return Tuple(kept) if kept else Constant(())
        case List(wrapper=None):
            return list_operations.list_slice(t, value, start, stop, step)
        case Scalar(kind) if kind in (Kind.STR, Kind.BYTES):
            return text_operations.slice_of(t, value, start, stop, step)
        case Constant(str()):
            text = as_scalar(value, "a text")
            return text_operations.slice_of(t, text, start, stop, step)
        case _:
            msg = f"a slice of a {name_of(value)} isn't known in columns"
            raise Refusal(msg)


def unpacked(t: Translation, value: Value, count: int) -> Sequence[Value]:
    """Return the items of a value that is assigned to `count` names."""
    match value:
        case Tuple(items) if len(items) == count:
            return items
        case Constant(tuple() | list() as constant) if len(constant) == count:
            return [Constant(each) for each in constant]
        case List():
            size = list_operations.list_length(t, value)
            t.guard(
                as_scalar(size, "a length").expr != count,
                "a list of another length to unpack",
            )
            return [
                list_operations.list_item(t, value, Constant(position))
                for position in range(count)
            ]
        case Special() if len(value.items()) == count:
            return value.items()
        case _:
            msg = f"unpacking a {name_of(value)} into {count} names"
            raise Refusal(msg)


def binary(t: Translation, name: str, left: Value, right: Value) -> Value:
    """Return what an operator makes of values that aren't both numbers."""
    if name == "%" and _is_text(left):
        from millstream.engine.columnar import formatting  # noqa: PLC0415  Above us.

        template = left.value if isinstance(left, Constant) else left
        return formatting.percent(t, template, right)
    if name == "+":
        if _is_text(left) and _is_text(right):
            return text_operations.concat(t, left, right)
        tuples = [_as_tuple(each) for each in (left, right)]
        if all(each is not None for each in tuples):
            return Tuple(tuple(i for each in tuples if each for i in each.items))
        if isinstance(left, List) and isinstance(right, List):
            if left.wrapper or right.wrapper:
                msg = f"`+` on a {name_of(left)} and a {name_of(right)}"
                raise Refusal(msg)
            return _joined_lists(left, right)
        match left, right:
            case Constant(list() as known), List(wrapper=None):
                return _joined_lists(_listed(t, known), right)
            case List(wrapper=None), Constant(list() as known):
                return _joined_lists(left, _listed(t, known))
            case _:
                pass
    if name == "*":
        for text, count in ((left, right), (right, left)):
            if _is_text(text):
                return text_operations.repeat(t, text, count)
    msg = f"`{name}` on a {name_of(left)} and a {name_of(right)}"
    raise Refusal(msg)


def _listed(t: Translation, known: list[Any]) -> List | None:
    """Return a list that is known as a column; None stands for an empty one."""
    return listed(t, list(map(Constant, known))) if known else None


def _joined_lists(left: List | None, right: List | None) -> List:
    if left is None or right is None:
        found = left or right
        assert found is not None, "one of them is no constant"
        return found
    if left.item != right.item:
        msg = "lists of different types joined"
        raise Refusal(msg)
    exprs = [a.list.concat(b) for a, b in zip(left.exprs, right.exprs, strict=True)]
    return List(left.item, tuple(exprs))


def _as_tuple(value: Value) -> Tuple | None:
    if isinstance(value, Tuple):
        return value
    if isinstance(value, Constant) and type(value.value) is tuple:
        return Tuple(tuple(map(Constant, value.value)))
    return None


def _is_text(value: Value) -> bool:
    if isinstance(value, Constant):
        return type(value.value) is str
    return isinstance(value, Scalar) and value.kind is Kind.STR


def length(t: Translation, value: Value) -> Value:
    """Return `len(value)`."""
    match value:
        case Tuple(items):
            return Constant(len(items))
        case Dict(items):
            return Constant(len(items))
        case List():
            return list_operations.list_length(t, value)
        case Scalar(kind) if kind is Kind.STR:
            return text_operations.length(t, value)
        case Scalar(kind) if kind is Kind.BYTES:
            size = t.required(value, "len()").bin.size()
            return Scalar(Kind.INT, size.cast(pl.Int64))
        case Comprehension():
            return list_operations.list_length(t, as_list(t, value))
        case Special():
            return literal(len(value.items()))
        case _:
            msg = f"len() of a {name_of(value)}"
            raise Refusal(msg)


_AGGREGATES: dict[str, Callable[[Translation, List], Value]] = {
    "sum": list_operations.list_sum,
    "min": list_operations.list_min,
    "max": list_operations.list_max,
    "any": list_operations.list_any,
    "all": list_operations.list_all,
    "sorted": list_operations.list_sorted,
}


def aggregate(t: Translation, name: str, value: Value) -> Value:
    """Return what `sum`, `min`, `max`, `any`, `all` or `sorted` makes of a value."""
    if isinstance(value, Comprehension):
        value = as_list(t, value, is_consumed=True)
    if isinstance(value, List) and name in _AGGREGATES:
        return _AGGREGATES[name](t, value)
    msg = f"{name}() of a {name_of(value)} isn't known in columns"
    raise Refusal(msg)


def sum_from(t: Translation, value: Value, start: Value) -> Value:
    """Return `sum(value, start)`."""
    if isinstance(value, Comprehension):
        value = as_list(t, value, is_consumed=True)
    first = as_scalar(start, "what sum() begins with")
    if not isinstance(value, List) or first.kind not in (Kind.INT, Kind.FLOAT):
        msg = f"sum() of a {name_of(value)} from a {name_of(start)}"
        raise Refusal(msg)
    if value.item == shapes.Plain(Kind.FLOAT) or first.kind is Kind.FLOAT:
        return list_operations.list_sum_of_floats(t, value, first)
    total = list_operations.list_sum(t, value)
    return numbers.binary(t, "+", first, total)


def listed(t: Translation, items: Sequence[Value]) -> List:
    """Return a list of these items, which must have one shape."""
    del t
    found = {shape_of(_varying(each)) for each in items}
    if len(found) != 1:
        msg = "a list of items of different types"
        raise Refusal(msg)
    (shape,) = found
    if _has_list(shape):
        msg = "a list of lists"  # Polars would join them to one.
        raise Refusal(msg)
    columns = zip(*[leaves(_varying(each)) for each in items], strict=True)
    exprs = tuple(pl.concat_list(*column) for column in columns)
    return _list_of(shape, exprs)


def _has_list(shape: shapes.Shape) -> bool:
    match shape:
        case shapes.ListOf():
            return True
        case shapes.TupleOf(items) | shapes.DictOf(_, items):
            return any(map(_has_list, items))
        case _:
            return False


def _varying(value: Value) -> Value:
    """Return a value without constants, so that unlike ones have one shape."""
    match value:
        case Constant(constant) if isinstance(constant, tuple):
            return Tuple(tuple(_varying(Constant(each)) for each in constant))
        case Constant():
            return as_scalar(value, "an item of a list")
        case Tuple(items):
            return Tuple(tuple(map(_varying, items)))
        case Dict(items):
            return Dict({key: _varying(each) for key, each in items.items()})
        case _:
            return value


def _list_of(shape: shapes.Shape, exprs: tuple[pl.Expr, ...]) -> List:
    if not exprs:
        msg = "a list of items that are all the same"
        raise Refusal(msg)
    if any(each.is_optional for each in shapes.plain_shapes(shape)):
        msg = "a list with None in it"
        raise Refusal(msg)
    return List(shape, exprs)


def comprehension(
    items: Value,
    outer: Mapping[str, Value],
    is_kept: Any,
    make: Any,
    *,
    is_lazy: bool,
) -> Value:
    """Return a comprehension over a list; it is worked out where it is used."""
    if isinstance(items, Comprehension):
        msg = "a comprehension over another one isn't known in columns"
        raise Refusal(msg)
    if isinstance(items, List):
        return Comprehension(items, outer, is_kept, make, is_lazy)
    msg = f"a loop over a {name_of(items)} isn't known in columns"
    raise Refusal(msg)


def check_kept(value: Comprehension) -> None:
    """Refuse a comprehension that is kept for later, when it may not be used, or twice.

    Raises:
        Refusal: It is an iterator, or may raise.
    """
    if value.is_lazy:
        msg = "an iterator that is kept in a variable"
        raise Refusal(msg)
    inner = Translation(prefix="e")
    names = shapes.column_names(shapes.column_count(value.items.item))
    item = value_of(value.items.item, iter([pl.col(name) for name in names]))
    if value.is_kept is not None:
        value.is_kept(item, value.outer, inner)
    value.make(item, value.outer, inner)
    if inner.guards:
        msg = "a comprehension that may raise and is kept in a variable"
        raise Refusal(msg)


def as_list(
    t: Translation, value: List | Comprehension, *, is_consumed: bool = False
) -> List:
    """Return a comprehension as a list, if it uses nothing but its items.

    With `is_consumed` an iterator will do as well as a list.

    Raises:
        Refusal: It uses other columns, or needs a guard.
    """
    if isinstance(value, List):
        return List(value.item, value.exprs)
    if value.is_lazy and not is_consumed:
        msg = "an iterator in place of a list"
        raise Refusal(msg)
    del t
    if not isinstance(value.items.item, shapes.Plain) or value.is_kept is not None:
        msg = "a comprehension with a condition, or over tuples, inside an expression"
        raise Refusal(msg)
    inner = Translation(prefix="e")
    item = value_of(value.items.item, iter([pl.element()]))
    made = value.make(item, value.outer, inner)
    scalar = made if isinstance(made, Scalar) else None
    if inner.guards or inner.lets or scalar is None or scalar.is_optional:
        msg = "a comprehension that computes too much inside an expression"
        raise Refusal(msg)
    if set(scalar.expr.meta.root_names()) - {""}:
        msg = "a comprehension that uses more than its items inside an expression"
        raise Refusal(msg)
    (source,) = value.items.exprs
    return List(shapes.Plain(scalar.kind), (source.list.eval(scalar.expr),))


def call_method(
    t: Translation, value: List | Tuple, name: str, args: Sequence[Value]
) -> Value:
    """Return what a method of a list makes."""
    if isinstance(value, List) and value.wrapper is None:
        return list_operations.call_list_method(t, value, name, args, {})
    msg = f"`.{name}()` of a {name_of(value)} isn't known in columns"
    raise Refusal(msg)
