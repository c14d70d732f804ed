"""Lowering: a user's function applied to a value, as expressions; or why it can't be.

Walks the function's syntax tree with values in place of objects. What is known while
translating (constants, closures, names of modules) is folded by running Python itself;
functions written in Python are walked in their turn.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import polars as pl

from millstream.engine.columnar import (
    containers,
    conversions,
    functions,
    known_functions,
    methods,
    numbers,
)
from millstream.engine.columnar.builtin_calls import BUILTINS
from millstream.engine.columnar.constants import (
    MUTATING,
    OPERATORS,
    PURE_TYPES,
    fold,
    is_folded,
    is_small,
)
from millstream.engine.columnar.functions import Dependency, Names, name_of
from millstream.engine.columnar.state_values import StateCall, StateCell
from millstream.engine.columnar.syntax import Scope
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    Refusal,
    Translation,
    Tuple,
    Value,
)
from millstream.engine.columnar.values import List as ListValue
from millstream.engine.columnar.values import name_of as type_name

_DEPTH_MAX = 20
_WORK_MAX = 3000
"""How many nodes of syntax trees one function may take, its helpers included."""


@dataclass(slots=True)
class Lowering:
    """The translation of one function of a stage, and of what it calls."""

    t: Translation
    on_fold: Callable[[Dependency], None]
    _depth: int = 0
    _work: int = field(default=0)
    cell: StateCell | None = None
    """The state that the function may change, while one of mapWithState is called."""

    def call(
        self,
        function: Any,
        args: Sequence[Value],
        keywords: Mapping[str, Value] | None = None,
    ) -> Value:
        """Return the value of `function(*args, **keywords)`.

        Raises:
            Refusal: It can't be told; says why.
        """
        self._depth += 1
        try:
            if self._depth > _DEPTH_MAX:
                msg = f"{name_of(function)} calls itself, or others too deep"
                raise Refusal(msg)
            return self._call(function, args, keywords or {})
        finally:
            self._depth -= 1

    def inside(self, t: Translation) -> "Lowering":
        """Return one for what is computed elsewhere: of each item of a list, say."""
        return Lowering(t, self.on_fold, self._depth, cell=self.cell)

    @contextmanager
    def holding(self, cell: StateCell) -> Iterator[StateCell]:
        """Let what is called change the state that `cell` holds."""
        self.cell = cell
        try:
            yield cell
        finally:
            self.cell = None

    def _call(  # noqa: PLR0911  A kind of function each.
        self, function: Any, args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        known = BUILTINS.get(function) if _is_hashable(function) else None
        if known is not None:
            return known(self, args, keywords)
        handler = known_functions.find(function)
        if handler is not None:
            return handler(self.t, args, keywords)
        if isinstance(function, StateCall):
            return function.lowered(self, args[0])
        if isinstance(function, FunctionType):
            return self._call_python(function, args, keywords)
        if isinstance(function, partial):
            merged = {k: Constant(v) for k, v in function.keywords.items()}
            first = [Constant(value) for value in function.args]
            return self.call(function.func, [*first, *args], {**merged, **keywords})
        if isinstance(function, operator.itemgetter | operator.methodcaller):
            return self._call_operator(function, args)
        if isinstance(function, MethodType) and isinstance(
            function.__func__, FunctionType
        ):
            bound = Constant(function.__self__)
            return self.call(function.__func__, [bound, *args], keywords)
        if getattr(function, "wraps_list", False) and len(args) == 1:
            return self._wrapped(function, args[0])
        if isinstance(function, MethodDescriptorType) and args:
            return self.call_method(args[0], function.__name__, args[1:], keywords)
        if isinstance(function, BuiltinFunctionType) and is_folded(args, keywords):
            owner = getattr(function, "__self__", None)
            if type(owner) in PURE_TYPES:
                return fold(function, args, keywords)
        method = type(function).__dict__.get("__call__")
        if isinstance(method, FunctionType) and not isinstance(function, type):
            return self.call(method, [Constant(function), *args], keywords)
        msg = f"{name_of(function)} isn't known in columns"
        raise Refusal(msg)

    def _wrapped(self, wrapper: type[Any], value: Value) -> Value:
        if isinstance(value, ListValue) and value.wrapper is None:
            return ListValue(value.item, value.exprs, wrapper)
        msg = f"{name_of(wrapper)} of a {type_name(value)}"
        raise Refusal(msg)

    def _call_operator(self, function: Any, args: Sequence[Value]) -> Value:
        made = function.__reduce__()
        if len(args) != 1:
            msg = f"{name_of(function)} takes one argument"
            raise Refusal(msg)
        (value,) = args
        if isinstance(function, operator.itemgetter):
            indices = made[1]
            items = [self.subscript(value, Constant(index)) for index in indices]
            return items[0] if len(items) == 1 else Tuple(tuple(items))
        if not isinstance(made[0], type):
            msg = "a methodcaller with keywords isn't known in columns"
            raise Refusal(msg)
        name, *rest = made[1]
        return self.call_method(value, name, [Constant(each) for each in rest], {})

    # Functions written in Python.

    def _call_python(
        self,
        function: FunctionType,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        node = functions.tree_of(function)
        functions.note_home(function, self.on_fold)
        for each in (*args, *keywords.values()):
            if isinstance(each, Comprehension):
                containers.check_kept(each)
        scope = Scope(
            self,
            Names(function, self.on_fold),
            _bound(function, node, args, keywords),
            name_of(function),
        )
        if isinstance(node, ast.Lambda):
            return scope.value(node.body)
        if any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(node)):
            return scope.generator(node)
        return scope.run(node.body)

    def count_work(self) -> None:
        """Count one node.

        Raises:
            Refusal: There are too many.
        """
        self._work += 1
        if self._work > _WORK_MAX:
            msg = "a function too long to translate"
            raise Refusal(msg)

    # Operations that several kinds of syntax share.

    def call_method(
        self,
        value: Value,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Return `value.name(*args, **keywords)`."""
        if isinstance(value, Constant):
            return self._call_method_of_constant(value, name, args, keywords)
        return methods.call_method(self.t, value, name, args, keywords)

    def _call_method_of_constant(
        self,
        value: Constant,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        owner = value.value
        if isinstance(owner, ModuleType | type) or name in getattr(
            type(owner), "columnar_fields", ()
        ):
            return self.call(self.attribute(value, name), args, keywords)
        if type(owner) in PURE_TYPES:
            if is_folded(args, keywords) and name not in MUTATING:
                return fold(getattr(owner, name, None), args, keywords)
            return methods.call_method(self.t, value, name, args, keywords)
        method = getattr(type(owner), name, None)
        if isinstance(method, FunctionType):
            return self.call(method, [value, *args], keywords)
        return methods.call_method(self.t, value, name, args, keywords)

    def attribute(self, value: Constant, name: str) -> Any:
        """Return the object `value.name`.

        Raises:
            Refusal: It may change from time to time.
        """
        owner = value.value
        if isinstance(owner, ModuleType):
            return Names.attribute(_no_names(self.on_fold), owner, name)
        if isinstance(owner, type):
            found = getattr(owner, name, None)
            if found is None or name.startswith("_"):
                msg = f"`{owner.__name__}.{name}` isn't known in columns"
                raise Refusal(msg)
            return found
        if getattr(type(owner), "is_broadcast", False) and name == "value":
            try:
                return owner.value
            except Exception as error:
                raise Refusal("a broadcast that has no value any more") from error
        fields = getattr(type(owner), "columnar_fields", ())
        if name in fields:
            return getattr(owner, name)
        msg = f"`.{name}` of a {type(owner).__name__} isn't known in columns"
        raise Refusal(msg)

    def subscript(self, value: Value, index: Value) -> Value:
        """Return `value[index]`."""
        if isinstance(value, Constant) and isinstance(index, Constant):
            return fold(operator.getitem, [value, index], {})
        return containers.item(self.t, value, index)

    def binary(self, name: str, left: Value, right: Value) -> Value:
        """Return what an operator, by its sign, makes of two values."""
        if isinstance(left, Constant) and isinstance(right, Constant):
            if not {type(left.value), type(right.value)} <= PURE_TYPES:
                msg = f"`{name}` on a {type_name(left)} and a {type_name(right)}"
                raise Refusal(msg)
            if name in ("**", "<<", "*") and not is_small(left, right):
                msg = f"`{name}` on large constants"
                raise Refusal(msg)
            return fold(OPERATORS[name], [left, right], {})
        if numbers.is_number(left) and numbers.is_number(right):
            return numbers.binary(self.t, name, left, right)
        return containers.binary(self.t, name, left, right)

    def truth(self, value: Value) -> pl.Expr | bool:
        """Return whether `value` is true; never null."""
        if isinstance(value, Constant):
            if type(value.value) not in PURE_TYPES | {type(None)}:
                msg = f"whether a {type_name(value)} is true"
                raise Refusal(msg)
            return bool(value.value)
        if isinstance(value, Tuple):
            return bool(value.items)
        if isinstance(value, Dict):
            return bool(value.items)
        if isinstance(value, Comprehension):
            value = containers.as_list(self.t, value)
        return conversions.truth(self.t, value)


def _no_names(on_fold: Callable[[Dependency], None]) -> Names:
    return Names(_nothing, on_fold)  # type: ignore[arg-type]


def _nothing() -> None:
    """Do nothing; stands where a function is asked for and none is used."""


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _bound(
    function: FunctionType,
    node: functions.FunctionNode,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> dict[str, Value]:
    """Return the parameters of a function with their values.

    Raises:
        Refusal: They don't fit, or there are `*args` or `**kwargs`.
    """
    spec = node.args
    if spec.vararg or spec.kwarg:
        msg = f"{name_of(function)} takes any number of arguments"
        raise Refusal(msg)
    positional = [each.arg for each in (*spec.posonlyargs, *spec.args)]
    if len(args) > len(positional):
        msg = f"{name_of(function)} takes {len(positional)} arguments"
        raise Refusal(msg)
    found: dict[str, Value] = dict(zip(positional, args, strict=False))
    allowed = {each.arg for each in (*spec.args, *spec.kwonlyargs)}
    for name, value in keywords.items():
        if name in found or name not in allowed:
            msg = f"{name_of(function)} doesn't take `{name}` so"
            raise Refusal(msg)
        found[name] = value
    defaults = function.__defaults__ or ()
    given = dict(
        zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    )
    given.update(function.__kwdefaults__ or {})
    for name, default in given.items():
        found.setdefault(name, Constant(default))
    missing = {*positional, *(each.arg for each in spec.kwonlyargs)} - set(found)
    if missing:
        msg = f"{name_of(function)} isn't given `{min(missing)}`"
        raise Refusal(msg)
    return found


def scalar_truth(lowering: Lowering, value: Value) -> pl.Expr:
    """Return the truth of a value as an expression, of a constant too."""
    truth = lowering.truth(value)
    return pl.lit(truth) if isinstance(truth, bool) else truth
