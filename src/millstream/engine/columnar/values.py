"""Values: what an expression of a user's function stands for while it is translated.

A value is a tree like the record it describes, with a Polars expression at each leaf, over
the columns of the block's frame. Expressions are made once, when a function meets a shape
for the first time, and used for every block of that shape.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.shapes import Kind, Shape, dtype_of

_INT_MAX = 2**63 - 1


class Refusal(Exception):  # noqa: N818  It is an answer, not an error.
    """Why something stays on the row path, in words a user understands."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of a plain type; null stands for None where it `is_optional`."""

    kind: Kind
    expr: pl.Expr
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple of a known length."""

    items: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Dict:
    """A dict with known text keys, in their order."""

    items: "dict[str, Value]"


@dataclass(frozen=True, slots=True)
class List:
    """A list: one expression of a list type for each column of an item.

    With a `wrapper` it is one of that class; see `shapes.ListOf`.
    """

    item: Shape
    exprs: tuple[pl.Expr, ...]
    wrapper: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """Any object that is known while translating: a number, a function, a module."""

    value: Any


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What `make` makes of each item of a list, of those for which `is_kept` holds.

    Both are given the item, the local variables, by name, and a translation of their own,
    since where the items get to is only known where the comprehension is used.
    """

    items: List
    outer: "Mapping[str, Value]"
    is_kept: (
        "Callable[[Value, Mapping[str, Value], Translation], pl.Expr | bool] | None"
    )
    make: "Callable[[Value, Mapping[str, Value], Translation], Value]"
    is_lazy: bool = False
    """Whether it is an iterator, of which each item comes once, rather than a list."""


class Special:
    """A value of a kind of its own, such as a match of a pattern; subclass it.

    It can't be a record: only what is asked of it can.
    """

    name = "object"
    is_handed_on = False
    """Whether one step may hand it to the next, as long as it doesn't come out."""

    def truth(self, t: "Translation") -> pl.Expr:
        """Return whether it is true."""
        raise self._unknown("its truth")

    def is_none(self) -> pl.Expr | bool:
        """Return whether it is None."""
        return False

    def attribute(self, t: "Translation", name: str) -> "Value":
        """Return an attribute."""
        msg = f"`.{name}`"
        raise self._unknown(msg)

    def call_method(
        self,
        t: "Translation",
        name: str,
        args: "Sequence[Value]",
        keywords: "Mapping[str, Value]",
    ) -> "Value":
        """Return what a method returns."""
        msg = f"`.{name}()`"
        raise self._unknown(msg)

    def subscript(self, t: "Translation", index: "Value") -> "Value":
        """Return an item."""
        raise self._unknown("an item")

    def items(self) -> "Sequence[Value]":
        """Return all items, of one that has a known number of them."""
        raise self._unknown("all items")

    def contains(self, t: "Translation", needle: "Value") -> "Value":
        """Return whether something is in it."""
        raise self._unknown("`in`")

    def as_record(self, t: "Translation") -> "Value":
        """Return it as a value that can be a record."""
        raise self._unknown("a record")

    def _unknown(self, what: str) -> Refusal:
        return Refusal(f"{what} of a {self.name} isn't known in columns")


Value: TypeAlias = Scalar | Tuple | Dict | List | Constant | Comprehension | Special


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition under which Polars and Python part: records for which `bad` is true.

    A null counts as true.
    """

    bad: pl.Expr
    reason: str
    is_hope: bool = False
    """Whether a careful translation of the same function would do without it."""


@dataclass(slots=True)
class Translation:
    """What translating one function brings beside its result.

    `lets` are columns to be computed before the result, in their order, each from the
    frame's columns and the lets before it.
    """

    sampler: Callable[[Sequence[tuple[str, pl.Expr]], pl.Expr], list[Any]] | None = None
    prefix: str = "t"
    is_inlining: bool = False
    """Whether what is let stands where it is used: to compare expressions."""
    is_hopeful: bool = False
    """Whether it is hoped that no record is odd: odd ones are guards, not corrected."""
    lets: list[tuple[str, pl.Expr]] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    _condition: pl.Expr | None = None

    def let(self, expr: pl.Expr) -> pl.Expr:
        """Return a column that holds `expr`: for what is used more than once.

        The same expression gets the same column.
        """
        if self.is_inlining:
            return expr
        for name, known in self.lets:
            if known.meta.eq(expr):
                return pl.col(name)
        name = f"{self.prefix}{len(self.lets)}"
        self.lets.append((name, expr))
        return pl.col(name)

    def once(self, expr: pl.Expr) -> pl.Expr:
        """Return `expr`, or a column that holds it if it takes any computing."""
        if expr.meta.is_column() or expr.meta.is_literal():
            return expr
        return self.let(expr)

    def guard(self, bad: pl.Expr, reason: str, *, is_hope: bool = False) -> None:
        """Send the block to the row path if `bad` is true, or null, of any record.

        Inside `when` only records count for which its condition holds. `reason` says in
        words what was found: "a text that is no number".
        """
        if not bad.meta.root_names() and pl.select(bad).item() is False:
            return  # Of constants alone, it is known already: `x % 3` divides by no zero.
        if self._condition is not None:
            # Where the condition doesn't hold, what `bad` says is of no interest.
            bad = pl.when(self._condition).then(bad.fill_null(True)).otherwise(False)
        self.guards.append(Guard(bad, reason, is_hope))

    @contextmanager
    def when(self, condition: pl.Expr) -> Iterator[None]:
        """Let guards count only where `condition` holds (not where it is null)."""
        outer = self._condition
        holds = condition.fill_null(False)
        self._condition = self.let(holds if outer is None else outer & holds)
        try:
            yield
        finally:
            self._condition = outer

    def sample(self, value: Scalar) -> list[Any]:
        """Return the first few records' values, as Python objects.

        Raises:
            Refusal: No data is at hand.
        """
        if self.sampler is None:
            msg = "it depends on the data, of which none is at hand"
            raise Refusal(msg)
        return self.sampler(self.lets, value.expr)

    def required(self, value: Scalar, operation: str) -> pl.Expr:
        """Return the expression of a value that mustn't be None, for an operation."""
        if value.is_optional:
            self.guard(value.expr.is_null(), f"None in {operation}")
        return value.expr


def literal(value: Any) -> Scalar:
    """Return a constant of a plain type as a value.

    Raises:
        Refusal: It is of no plain type, or an int of more than 64 bits.
    """
    kind = shapes.kind_of(value)
    if kind is None:
        msg = f"a {type(value).__name__} isn't known in columns"
        raise Refusal(msg)
    if kind is Kind.INT and not -_INT_MAX - 1 <= value <= _INT_MAX:
        msg = "an int of more than 64 bits"
        raise Refusal(msg)
    if kind is Kind.STR and not shapes.is_unicode(value):
        msg = "a text that isn't Unicode"
        raise Refusal(msg)
    if kind is Kind.FLOAT and value == 0 and math.copysign(1, value) < 0:
        # Polars takes the expressions 0.0 and -0.0 for the same.
        msg = "-0.0 as a constant"
        raise Refusal(msg)
    return Scalar(kind, pl.lit(value, dtype=dtype_of(kind)))


def as_scalar(value: "Value", what: str) -> Scalar:
    """Return a value that is one column; a constant becomes one.

    Raises:
        Refusal: It is something else; `what` says in which place.
    """
    match value:
        case Scalar():
            return value
        case Constant(constant):
            return literal(constant)
        case _:
            msg = f"a {name_of(value)} as {what}"
            raise Refusal(msg)


def name_of(value: "Value") -> str:
    """Return what a user calls the type of a value."""
    match value:
        case Scalar(kind):
            return str(kind.value.__name__)
        case Tuple():
            return "tuple"
        case Dict():
            return "dict"
        case List(wrapper=wrapper):
            return "list" if wrapper is None else wrapper.__name__
        case Constant(constant):
            return type(constant).__name__
        case Comprehension():
            return "comprehension"
        case Special():
            return value.name
        case _:
            assert_never(value)


def as_record(t: Translation, value: "Value") -> "Value":
    """Return a value with what is of a kind of its own in it made into records.

    Raises:
        Refusal: There is something that can be no record.
    """
    match value:
        case Special():
            return value.as_record(t)
        case Tuple(items):
            return Tuple(tuple(as_record(t, item) for item in items))
        case Dict(items):
            return Dict({key: as_record(t, item) for key, item in items.items()})
        case _:
            return value


def shape_of(value: "Value") -> Shape:
    """Return the shape that a value has as a record.

    Raises:
        Refusal: It is an object that is no plain constant.
    """
    match value:
        case Scalar(kind, _, is_optional):
            return shapes.Plain(kind, is_optional)
        case Tuple(items):
            if not items:
                msg = "an empty tuple isn't known in columns"
                raise Refusal(msg)
            return shapes.TupleOf(tuple(map(shape_of, items)))
        case Dict(items):
            if not items:
                msg = "an empty dict isn't known in columns"
                raise Refusal(msg)
            return shapes.DictOf(tuple(items), tuple(map(shape_of, items.values())))
        case List(item, _, wrapper):
            return shapes.ListOf(item, wrapper)
        case Constant(constant):
            if constant is None:
                return shapes.Fixed(None)
            if type(constant) is tuple and constant:
                return shapes.TupleOf(tuple(shape_of(Constant(e)) for e in constant))
            literal(constant)
            if constant != constant:  # noqa: PLR0124
                # As a key it counts which object it is, and a column has one for all.
                msg = "NaN in every record"
                raise Refusal(msg)
            return shapes.Fixed(constant)
        case Comprehension() | Special():
            msg = f"a {name_of(value)} as a record isn't known in columns"
            raise Refusal(msg)
        case _:
            assert_never(value)


def leaves(value: "Value") -> list[pl.Expr]:
    """Return the expressions of a value's columns, as `shape_of` orders them."""
    match value:
        case Scalar(_, expr):
            return [expr]
        case Constant():
            return []
        case List(_, exprs):
            return list(exprs)
        case Tuple(items):
            return [expr for item in items for expr in leaves(item)]
        case Dict(items):
            return [expr for item in items.values() for expr in leaves(item)]
        case Comprehension() | Special():
            msg = f"a {name_of(value)} as a record isn't known in columns"
            raise Refusal(msg)
        case _:
            assert_never(value)


def value_of(shape: Shape, exprs: Iterator[pl.Expr]) -> "Value":
    """Return the value that a record of this shape is, its columns taken from `exprs`."""
    match shape:
        case shapes.Plain(kind, is_optional):
            return Scalar(kind, next(exprs), is_optional)
        case shapes.Fixed(constant):
            return Constant(constant)
        case shapes.TupleOf(items):
            return Tuple(tuple(value_of(item, exprs) for item in items))
        case shapes.DictOf(keys, items):
            fields = [value_of(item, exprs) for item in items]
            return Dict(dict(zip(keys, fields, strict=True)))
        case shapes.ListOf(item, wrapper):
            count = shapes.column_count(item)
            return List(item, tuple(next(exprs) for _ in range(count)), wrapper)
        case _:
            assert_never(shape)
