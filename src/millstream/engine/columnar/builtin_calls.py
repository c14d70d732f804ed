"""Built-in calls: `len`, `sum`, `map` and such, and the functions of `operator`, `math`."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from millstream.engine.columnar import comparisons, containers, conversions, numbers
from millstream.engine.columnar.constants import (
    PURE_TYPES,
    as_value,
    exactly,
    fold,
    is_folded,
)
from millstream.engine.columnar.functions import name_of
from millstream.engine.columnar.merging import choose
from millstream.engine.columnar.syntax import Local, Scope
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
)
from millstream.engine.columnar.values import List as ListValue
from millstream.engine.columnar.values import name_of as type_name

if TYPE_CHECKING:
    from millstream.engine.columnar.lowering import Lowering

_Builtin = Callable[["Lowering", Sequence[Value], Mapping[str, Value]], Value]


def _operation(sign: str) -> _Builtin:
    def apply(lowering: "Lowering", args: Sequence[Value], _keywords: Any) -> Value:
        left, right = exactly(2, args, sign)
        return lowering.binary(sign, left, right)

    return apply


def _comparison(sign: str) -> _Builtin:
    def apply(lowering: "Lowering", args: Sequence[Value], _keywords: Any) -> Value:
        left, right = exactly(2, args, sign)
        if sign == "contains":
            left, right = right, left
        found = comparisons.compare(
            lowering.t, "in" if sign == "contains" else sign, left, right
        )
        return as_value(found)

    return apply


def _length(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "len()")
    if isinstance(value, Constant):
        return fold(len, args, {})
    return containers.length(lowering.t, value)


def _extreme(name: str) -> _Builtin:
    def apply(
        lowering: "Lowering", args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        if keywords:
            msg = f"{name}() with keywords isn't known in columns"
            raise Refusal(msg)
        if is_folded(args, keywords):
            return fold(min if name == "min" else max, args, keywords)
        if len(args) == 1:
            return containers.aggregate(lowering.t, name, args[0])
        best = args[0]
        # As Python does: a later one must be better, or the first one stays.
        for each in args[1:]:
            sign = "<" if name == "min" else ">"
            is_better = comparisons.compare(lowering.t, sign, each, best)
            if isinstance(is_better, bool):
                best = each if is_better else best
            else:
                best = choose(lowering.t.once(is_better), each, best)
        return best

    return apply


def _total(
    lowering: "Lowering", args: Sequence[Value], keywords: Mapping[str, Value]
) -> Value:
    start = keywords.get("start", args[1] if len(args) == 2 else Constant(0))
    if not args or len(args) > 2:
        msg = f"sum() with {len(args)} arguments"
        raise Refusal(msg)
    items = args[0]
    if isinstance(items, Constant):
        if isinstance(start, Constant):
            return fold(sum, args, keywords)
        if not numbers.is_number(start) or fold(len, [items], {}).value:
            msg = "sum() of constants, from what varies"
            raise Refusal(msg)
        return start  # The very one: not even 0 is added to it.
    if isinstance(start, Constant) and type(start.value) is int and start.value == 0:
        return containers.aggregate(lowering.t, "sum", items)
    return containers.sum_from(lowering.t, items, start)


def _one(function: Callable[[Translation, Value], Value], plain: Any) -> _Builtin:
    def apply(
        lowering: "Lowering", args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        (value,) = exactly(1, args, name_of(plain))
        if keywords:
            msg = f"{name_of(plain)} with keywords isn't known in columns"
            raise Refusal(msg)
        if isinstance(value, Constant):
            if type(value.value) not in PURE_TYPES | {type(None)}:
                msg = f"{name_of(plain)} of a {type_name(value)}"
                raise Refusal(msg)
            return fold(plain, args, {})
        return function(lowering.t, value)

    return apply


def _number(function: Callable[[Translation, Value], Value], plain: Any) -> _Builtin:
    def checked(t: Translation, value: Value) -> Value:
        if not numbers.is_number(value):
            msg = f"{name_of(plain)} of a {type_name(value)}"
            raise Refusal(msg)
        return function(t, value)

    return _one(checked, plain)


def _round(
    lowering: "Lowering", args: Sequence[Value], keywords: Mapping[str, Value]
) -> Value:
    digits = keywords.get("ndigits", args[1] if len(args) == 2 else None)
    if not args or not numbers.is_number(args[0]):
        msg = "round() of what is no number"
        raise Refusal(msg)
    if is_folded(args, keywords):
        return fold(round, args, keywords)
    return numbers.rounded(lowering.t, args[0], digits)


def _tuple(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "tuple()")
    if isinstance(value, Tuple):
        return value
    if isinstance(value, Constant):
        return fold(tuple, args, {})
    msg = f"tuple() of a {type_name(value)} isn't known in columns"
    raise Refusal(msg)


def _list(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "list()")
    if isinstance(value, ListValue | Comprehension):
        return containers.as_list(lowering.t, value, is_consumed=True)
    if isinstance(value, Tuple):
        return containers.listed(lowering.t, list(value.items))
    if isinstance(value, Constant):
        return fold(list, args, {})
    msg = f"list() of a {type_name(value)} isn't known in columns"
    raise Refusal(msg)


def _map(lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]) -> Value:
    function, items = exactly(2, args, "map()")
    return containers.comprehension(
        items,
        {},
        None,
        lambda item, _outer, t: _applied(lowering, function, item, t),
        is_lazy=True,
    )


def _filter(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    function, items = exactly(2, args, "filter()")

    def is_kept(item: Value, _outer: Any, t: Translation) -> pl.Expr | bool:
        inner = lowering.inside(t)
        if isinstance(function, Constant) and function.value is None:
            return inner.truth(item)
        return inner.truth(_applied(lowering, function, item, t))

    return containers.comprehension(
        items, {}, is_kept, lambda item, _outer, _t: item, is_lazy=True
    )


def _applied(
    lowering: "Lowering", function: Value, item: Value, t: Translation
) -> Value:
    if not isinstance(function, Constant):
        msg = "a function that varies"
        raise Refusal(msg)
    inner = lowering.inside(t)
    if isinstance(function.value, Local):
        local = function.value
        parameters = local.parameters()
        if len(parameters) != 1:
            msg = "an inner lambda of several parameters"
            raise Refusal(msg)
        scope = Scope(
            inner,
            local.scope.names,
            {**local.scope.locals, parameters[0]: item},
            local.scope.title,
        )
        return scope.value(local.node.body)
    return inner.call(function.value, [item])


def _truthful(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "bool()")
    return as_value(lowering.truth(value))


def _negated(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "not")
    truth = lowering.truth(value)
    return Constant(not truth) if isinstance(truth, bool) else as_value(~truth)


def _item(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    value, index = exactly(2, args, "getitem")
    return lowering.subscript(value, index)


def _is_instance(
    lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
) -> Value:
    value, kinds = exactly(2, args, "isinstance()")
    if isinstance(value, Constant) or not isinstance(kinds, Constant):
        raise Refusal("isinstance() of such values isn't known in columns")
    kind: type[Any] | None = None
    match value:
        case Scalar(plain, _, False):
            kind = plain.value
        case Tuple():
            kind = tuple
        case Dict():
            kind = dict
        case ListValue(wrapper=wrapper):
            kind = wrapper or list
        case _:
            pass
    if kind is None:
        raise Refusal(f"isinstance() of a {type_name(value)} that may be None")
    return fold(issubclass, [Constant(kind), kinds], {})


def _any_all(name: str) -> _Builtin:
    def apply(
        lowering: "Lowering", args: Sequence[Value], _k: Mapping[str, Value]
    ) -> Value:
        (value,) = exactly(1, args, f"{name}()")
        if isinstance(value, Constant):
            return fold(any if name == "any" else all, args, {})
        return containers.aggregate(lowering.t, name, value)

    return apply


def _sorted(
    lowering: "Lowering", args: Sequence[Value], keywords: Mapping[str, Value]
) -> Value:
    (value,) = exactly(1, args, "sorted()")
    if keywords:
        msg = "sorted() with keywords isn't known in columns"
        raise Refusal(msg)
    if isinstance(value, Constant):
        return fold(sorted, args, {})
    return containers.aggregate(lowering.t, "sorted", value)


BUILTINS: dict[Any, _Builtin] = {
    len: _length,
    min: _extreme("min"),
    max: _extreme("max"),
    sum: _total,
    any: _any_all("any"),
    all: _any_all("all"),
    sorted: _sorted,
    isinstance: _is_instance,
    tuple: _tuple,
    list: _list,
    map: _map,
    filter: _filter,
    abs: _number(numbers.absolute, abs),
    round: _round,
    bool: _truthful,
    int: _one(conversions.to_int, int),
    float: _one(conversions.to_float, float),
    str: _one(conversions.to_text, str),
    repr: _one(conversions.to_repr, repr),
    math.floor: _number(lambda t, v: numbers.whole(t, v, "floor"), math.floor),
    math.ceil: _number(lambda t, v: numbers.whole(t, v, "ceil"), math.ceil),
    math.trunc: _number(lambda t, v: numbers.whole(t, v, "trunc"), math.trunc),
    math.sqrt: _number(numbers.square_root, math.sqrt),
    operator.getitem: _item,
    operator.not_: _negated,
    operator.truth: _truthful,
    operator.neg: _number(lambda t, v: numbers.unary(t, "-", v), operator.neg),
    operator.abs: _number(numbers.absolute, operator.abs),
    operator.add: _operation("+"),
    operator.concat: _operation("+"),
    operator.sub: _operation("-"),
    operator.mul: _operation("*"),
    operator.truediv: _operation("/"),
    operator.floordiv: _operation("//"),
    operator.mod: _operation("%"),
    operator.pow: _operation("**"),
    operator.and_: _operation("&"),
    operator.or_: _operation("|"),
    operator.xor: _operation("^"),
    operator.eq: _comparison("=="),
    operator.ne: _comparison("!="),
    operator.lt: _comparison("<"),
    operator.le: _comparison("<="),
    operator.gt: _comparison(">"),
    operator.ge: _comparison(">="),
    operator.contains: _comparison("contains"),
}
