"""Syntax: the statements and expressions of one function, walked with values."""

import ast
import operator
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from millstream.engine.columnar import (
    comparisons,
    containers,
    formatting,
    methods,
    numbers,
)
from millstream.engine.columnar.constants import (
    COMPARE_CONSTANTS,
    PURE_TYPES,
    as_value,
    fold,
    is_folded,
)
from millstream.engine.columnar.functions import Names
from millstream.engine.columnar.merging import Perhaps, choose
from millstream.engine.columnar.shapes import Kind, Plain
from millstream.engine.columnar.state_values import Fork
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
    as_scalar,
)
from millstream.engine.columnar.values import List as ListValue
from millstream.engine.columnar.values import name_of as type_name

if TYPE_CHECKING:
    from millstream.engine.columnar.lowering import Lowering

_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


@dataclass(slots=True)
class Scope:
    """The local variables of one call, and how its syntax is walked."""

    lowering: "Lowering"
    names: Names
    locals: dict[str, Value]
    title: str

    @property
    def t(self) -> Translation:
        """What the function brings beside its result."""
        return self.lowering.t

    # Statements.

    def run(self, statements: Sequence[ast.stmt]) -> Value:
        """Return what a function's body returns."""
        for position, statement in enumerate(statements):
            self.lowering.count_work()
            match statement:
                case ast.Return(value):
                    return Constant(None) if value is None else self.value(value)
                case ast.If(test, body, orelse):
                    rest = statements[position + 1 :]
                    return self._branch(test, [*body, *rest], [*orelse, *rest])
                case _:
                    self._assign(statement)
        return Constant(None)

    def _branch(
        self, test: ast.expr, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]
    ) -> Value:
        condition = self.truth(test)
        if isinstance(condition, bool):
            return self.run(body if condition else orelse)
        condition = self.t.once(condition)
        before = dict(self.locals)
        fork = Fork(self.lowering.cell)
        with self.t.when(condition):
            self.narrow(test, holds=True)
            taken = self.run(body)
        self.locals = dict(before)
        fork.turn()
        with self.t.when(~condition):
            self.narrow(test, holds=False)
            other = self.run(orelse)
        self.locals = before
        fork.join(condition)
        return choose(condition, taken, other)

    def narrow(self, test: ast.expr, *, holds: bool) -> None:
        """Use what a test says about a variable being None, where it holds or doesn't."""
        for name, is_present in _presence(test, holds=holds):
            known = self.locals.get(name)
            if isinstance(known, Scalar) and known.is_optional:
                if is_present:
                    self.locals[name] = Scalar(known.kind, known.expr)
                else:
                    self.locals[name] = Constant(None)
            elif isinstance(known, Perhaps):
                self.locals[name] = known.value if is_present else Constant(None)

    def _assign(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets, value):
                made = self.value(value)
                for target in targets:
                    self._bind(target, made)
            case ast.AnnAssign(ast.Name() as target, _, value) if value is not None:
                self._bind(target, self.value(value))
            case ast.AugAssign(ast.Name(name) as target, op, value):
                made = self._operate(op, self._name(name), self.value(value))
                self._bind(target, made)
            case ast.Expr(ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value) if self.lowering.cell is not None:
                self._kept(self.value(value))  # For what it does to the state.
            case ast.For():
                self._add_up(statement)
            case _:
                msg = f"`{_text(statement)}` in {self.title} isn't known in columns"
                raise Refusal(msg)

    def _add_up(self, loop: ast.For) -> None:
        """Take a loop that only adds an int of each item to a variable.

        Raises:
            Refusal: It is another one.
        """
        match loop:
            case ast.For(
                ast.Name(item) as target,
                source,
                [ast.AugAssign(ast.Name(total), ast.Add(), element)],
                [],
            ) if item != total and total not in _names_in(element):
                pass
            case _:
                msg = f"`{_text(loop)}` in {self.title} isn't known in columns"
                raise Refusal(msg)
        over, start = self.value(source), self.locals.get(total)
        if start is None:
            msg = f"`{total}` has no value before the loop"
            raise Refusal(msg)
        if not isinstance(over, Constant) or not _is_empty(over.value):
            added = over
            if not isinstance(element, ast.Name) or element.id != item:
                added = self._comprehension(target, source, [], element, is_lazy=True)
            self.locals[total] = self._kept(_added(self.t, added, start))
        # The last item: nobody knows it here.
        self.locals[item] = Constant(_Unknown())

    def _bind(self, target: ast.expr, value: Value) -> None:
        match target:
            case ast.Name(name):
                self.locals[name] = self._kept(value)
            case ast.Tuple(elements) | ast.List(elements):
                items = containers.unpacked(self.t, value, len(elements))
                for each, item in zip(elements, items, strict=True):
                    self._bind(each, item)
            case _:
                msg = f"assigning to `{_text(target)}` isn't known in columns"
                raise Refusal(msg)

    def _kept(self, value: Value) -> Value:
        if isinstance(value, Comprehension):
            containers.check_kept(value)
        if isinstance(value, Scalar):
            return Scalar(value.kind, self.t.once(value.expr), value.is_optional)
        if isinstance(value, ListValue):
            exprs = tuple(map(self.t.once, value.exprs))
            return ListValue(value.item, exprs, value.wrapper)
        return value

    def generator(self, node: ast.FunctionDef | ast.Lambda) -> Value:
        """Return what a generator function yields, if it is one loop."""
        assert isinstance(node, ast.FunctionDef), "a lambda with yield has its own form"
        *before, loop = node.body
        for statement in before:
            self._assign(statement)
        conditions: list[ast.expr] = []
        spot: tuple[ast.expr, ast.expr] | None = None
        while True:
            match loop:
                case ast.For(target, source, [inner], []) if spot is None:
                    spot = target, source
                    loop = inner
                case ast.If(test, [inner], []) if spot is not None:
                    conditions.append(test)
                    loop = inner
                case ast.Expr(ast.Yield(element)) if element is not None and spot:
                    return self._comprehension(*spot, conditions, element, is_lazy=True)
                case _:
                    msg = f"{self.title} yields in a way that isn't known in columns"
                    raise Refusal(msg)

    # Expressions.

    def value(self, node: ast.expr) -> Value:  # noqa: C901, PLR0911, PLR0912
        """Return the value of an expression."""
        self.lowering.count_work()
        match node:
            case ast.Constant(constant):
                return Constant(constant)
            case ast.Name(name):
                return self._name(name)
            case ast.Tuple(elements) | ast.List(elements) | ast.Set(elements):
                return self._display(node, elements)
            case ast.Dict(keys, values):
                return self._dict(keys, values)
            case ast.Subscript(value, ast.Slice() as cut):
                return self._slice(value, cut)
            case ast.Subscript(value, index):
                return self.lowering.subscript(self.value(value), self.value(index))
            case ast.Attribute(value, name):
                return self._attribute(self.value(value), name)
            case ast.Call():
                return self._call(node)
            case ast.BinOp(left, op, right):
                return self._operate(op, self.value(left), self.value(right))
            case ast.UnaryOp(op, inner):
                return self._unary(op, inner)
            case ast.Compare():
                return as_value(self.truth(node))
            case ast.BoolOp(op, operands):
                return self._logic(isinstance(op, ast.And), operands)
            case ast.IfExp(test, body, orelse):
                return self._choice(test, body, orelse)
            case ast.JoinedStr(parts):
                return self._f_string(parts)
            case ast.ListComp(element, [clause]) | ast.GeneratorExp(element, [clause]):
                if clause.is_async:
                    msg = "an asynchronous comprehension"
                    raise Refusal(msg)
                return self._comprehension(
                    clause.target,
                    clause.iter,
                    clause.ifs,
                    element,
                    is_lazy=isinstance(node, ast.GeneratorExp),
                )
            case _:
                msg = f"`{_text(node)}` isn't known in columns"
                raise Refusal(msg)

    def _name(self, name: str) -> Value:
        if name in self.locals:
            return self.locals[name]
        return Constant(self.names.look_up(name))

    def _operate(self, op: ast.operator, left: Value, right: Value) -> Value:
        sign = _SIGNS.get(type(op))
        if sign is None:
            msg = f"`{type(op).__name__}` isn't known in columns"
            raise Refusal(msg)
        return self.lowering.binary(sign, left, right)

    def _display(self, node: ast.expr, elements: Sequence[ast.expr]) -> Value:
        if any(isinstance(each, ast.Starred) for each in elements):
            msg = f"`{_text(node)}` isn't known in columns"
            raise Refusal(msg)
        items = [self.value(each) for each in elements]
        for item in items:
            if isinstance(item, Comprehension):
                containers.check_kept(item)
        if isinstance(node, ast.Tuple):
            if items and all(_is_plain_constant(each) for each in items):
                return Constant(tuple(each.value for each in items))  # type: ignore[union-attr]
            return Tuple(tuple(items)) if items else Constant(())
        if all(isinstance(each, Constant) for each in items):
            made = [each.value for each in items if isinstance(each, Constant)]
            try:
                return Constant(set(made) if isinstance(node, ast.Set) else made)
            except TypeError as error:
                raise Refusal(str(error)) from error
        if isinstance(node, ast.Set):
            msg = "a set of what varies isn't known in columns"
            raise Refusal(msg)
        return containers.listed(self.t, items)

    def _dict(
        self, keys: Sequence[ast.expr | None], values: Sequence[ast.expr]
    ) -> Value:
        made: dict[str, Value] = {}
        for key, value in zip(keys, values, strict=True):
            name = None if key is None else self.value(key)
            if not isinstance(name, Constant) or type(name.value) is not str:
                msg = "a dict whose keys aren't constant texts"
                raise Refusal(msg)
            made[name.value] = self.value(value)
        if not made:
            msg = "an empty dict isn't known in columns"
            raise Refusal(msg)
        return Dict(made)

    def _slice(self, owner: ast.expr, cut: ast.Slice) -> Value:
        value = self.value(owner)
        bounds = [
            Constant(None) if each is None else self.value(each)
            for each in (cut.lower, cut.upper, cut.step)
        ]
        if isinstance(value, Constant) and is_folded(bounds, {}):
            index = slice(
                *[each.value for each in bounds if isinstance(each, Constant)]
            )
            return fold(operator.getitem, [value, Constant(index)], {})
        return containers.sliced(self.t, value, bounds)

    def _attribute(self, value: Value, name: str) -> Value:
        if isinstance(value, Constant):
            return Constant(self.lowering.attribute(value, name))
        return methods.attribute(self.t, value, name)

    def _call(self, node: ast.Call) -> Value:
        if any(isinstance(each, ast.Starred) for each in node.args) or any(
            each.arg is None for each in node.keywords
        ):
            msg = f"`{_text(node)}` isn't known in columns"
            raise Refusal(msg)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            args = [self._argument(each) for each in node.args]
            keywords = {
                each.arg: self._argument(each.value)
                for each in node.keywords
                if each.arg
            }
            return self.lowering.call_method(owner, node.func.attr, args, keywords)
        function = self.value(node.func)
        if not isinstance(function, Constant):
            msg = f"`{_text(node.func)}` is called, and is no function"
            raise Refusal(msg)
        args = [self._argument(each) for each in node.args]
        keywords = {
            each.arg: self._argument(each.value) for each in node.keywords if each.arg
        }
        return self.lowering.call(function.value, args, keywords)

    def _argument(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Lambda):
            return Constant(Local(self, node))
        return self.value(node)

    def _unary(self, op: ast.unaryop, inner: ast.expr) -> Value:
        if isinstance(op, ast.Not):
            truth = self.truth(inner)
            return Constant(not truth) if isinstance(truth, bool) else as_value(~truth)
        value = self.value(inner)
        sign = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}[type(op)]
        if isinstance(value, Constant):
            if type(value.value) not in (int, float, bool):
                msg = f"`{sign}` of a {type_name(value)}"
                raise Refusal(msg)
            plain = {"-": operator.neg, "+": operator.pos, "~": operator.invert}[sign]
            return fold(plain, [value], {})
        if not numbers.is_number(value):
            msg = f"`{sign}` of a {type_name(value)}"
            raise Refusal(msg)
        return numbers.unary(self.t, sign, value)

    def _logic(self, is_and: bool, operands: Sequence[ast.expr]) -> Value:
        first, *rest = operands
        left = self.value(first)
        if not rest:
            return left
        truth = self.lowering.truth(left)
        if isinstance(truth, bool):
            return self._logic(is_and, rest) if truth == is_and else left
        condition = self.t.once(truth)
        before = dict(self.locals)
        is_on = condition if is_and else ~condition
        fork = Fork(self.lowering.cell)
        with self.t.when(is_on):
            self.narrow(first, holds=is_and)
            right = self._logic(is_and, rest)
        self.locals = before
        fork.turn()
        fork.join(is_on)
        if isinstance(left, Perhaps):
            left = Constant(None) if is_and else left.value
        if is_and:
            return choose(condition, right, left)
        if isinstance(left, Scalar):
            if _is_float(left) and _is_int(right):
                # `x or 0`: no column holds both, and it is seldom that x is 0.0.
                self.t.guard(~condition, "0.0, in place of which an int stands")
                return left
            left = Scalar(left.kind, left.expr)  # What is true is no None.
        return choose(condition, left, right)

    def _choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Value:
        condition = self.truth(test)
        if isinstance(condition, bool):
            return self.value(body if condition else orelse)
        condition = self.t.once(condition)
        before = dict(self.locals)
        fork = Fork(self.lowering.cell)
        with self.t.when(condition):
            self.narrow(test, holds=True)
            taken = self.value(body)
        self.locals = dict(before)
        fork.turn()
        with self.t.when(~condition):
            self.narrow(test, holds=False)
            other = self.value(orelse)
        self.locals = before
        fork.join(condition)
        return choose(condition, taken, other)

    # Truth: of conditions, in which `and` and `or` may join values of any types.

    def truth(self, node: ast.expr) -> pl.Expr | bool:
        """Return whether an expression is true, never null."""
        self.lowering.count_work()
        match node:
            case ast.BoolOp(op, operands):
                return self._all_true(isinstance(op, ast.And), operands)
            case ast.UnaryOp(ast.Not(), inner):
                truth = self.truth(inner)
                return (not truth) if isinstance(truth, bool) else ~truth
            case ast.Compare(left, ops, comparators):
                return self._compared(self.value(left), ops, comparators)
            case _:
                return self.lowering.truth(self.value(node))

    def _all_true(self, is_and: bool, operands: Sequence[ast.expr]) -> pl.Expr | bool:
        first, *rest = operands
        truth = self.truth(first)
        if not rest:
            return truth
        if isinstance(truth, bool):
            return self._all_true(is_and, rest) if truth == is_and else truth
        truth = self.t.once(truth)
        before = dict(self.locals)
        is_on = truth if is_and else ~truth
        fork = Fork(self.lowering.cell)
        with self.t.when(is_on):
            self.narrow(first, holds=is_and)
            others = self._all_true(is_and, rest)
        self.locals = before
        fork.turn()
        fork.join(is_on)
        if isinstance(others, bool):
            return truth if others == is_and else others
        return truth & others if is_and else truth | others

    def _compared(
        self, left: Value, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr]
    ) -> pl.Expr | bool:
        right = self._kept(self.value(comparators[0]))
        sign = _COMPARISONS[type(ops[0])]
        holds = self._compare(sign, left, right)
        if len(ops) == 1 or holds is False:
            return holds
        if holds is True:
            return self._compared(right, ops[1:], comparators[1:])
        holds = self.t.once(holds)
        fork = Fork(self.lowering.cell)
        with ExitStack() as stack:
            stack.enter_context(self.t.when(holds))
            rest = self._compared(right, ops[1:], comparators[1:])
        fork.turn()
        fork.join(holds)
        if isinstance(rest, bool):
            return holds if rest else False
        return holds & rest

    def _compare(self, sign: str, left: Value, right: Value) -> pl.Expr | bool:
        if isinstance(left, Constant) and isinstance(right, Constant):
            kinds = {type(left.value), type(right.value)}
            if not kinds <= PURE_TYPES | {type(None)}:
                msg = f"`{sign}` on a {type_name(left)} and a {type_name(right)}"
                raise Refusal(msg)
            if sign in ("is", "is not") and type(None) not in kinds:
                msg = "`is` on values"
                raise Refusal(msg)
            folded = fold(COMPARE_CONSTANTS[sign], [left, right], {})
            return bool(folded.value)
        return comparisons.compare(self.t, sign, left, right)

    # Text and comprehensions.

    def _f_string(self, parts: Sequence[ast.expr]) -> Value:
        made: list[Value] = []
        for part in parts:
            match part:
                case ast.Constant():
                    made.append(Constant(part.value))
                case ast.FormattedValue(inner, conversion, spec):
                    text = Constant("") if spec is None else self.value(spec)
                    if not isinstance(text, Constant):
                        msg = "a format that varies"
                        raise Refusal(msg)
                    letter = None if conversion < 0 else chr(conversion)
                    made.append(
                        formatting.format_value(
                            self.t, self.value(inner), letter, text.value
                        )
                    )
                case _:
                    msg = "an f-string of an unknown form"
                    raise Refusal(msg)
        if all(isinstance(each, Constant) for each in made):
            return Constant("".join(e.value for e in made if isinstance(e, Constant)))
        return formatting.text_of_parts(made)

    def _comprehension(
        self,
        target: ast.expr,
        source: ast.expr,
        conditions: Sequence[ast.expr],
        element: ast.expr,
        *,
        is_lazy: bool,
    ) -> Value:
        items = self.value(source)

        def bound(item: Value, outer: Mapping[str, Value], t: Translation) -> Scope:
            inner = self.lowering.inside(t)
            scope = Scope(inner, self.names, dict(outer), self.title)
            scope._bind(target, item)
            return scope

        def is_kept(
            item: Value, outer: Mapping[str, Value], t: Translation
        ) -> pl.Expr | bool:
            if not conditions:
                return True
            return bound(item, outer, t)._all_true(True, conditions)

        def make(item: Value, outer: Mapping[str, Value], t: Translation) -> Value:
            return bound(item, outer, t).value(element)

        return containers.comprehension(
            items,
            dict(self.locals),
            is_kept if conditions else None,
            make,
            is_lazy=is_lazy,
        )


def _is_float(value: Scalar) -> bool:
    return value.kind is Kind.FLOAT and not value.is_optional


def _is_int(value: Value) -> bool:
    return isinstance(value, Constant) and type(value.value) is int


class _Unknown:
    """What stands for a value that isn't known; everything refuses it."""


def _names_in(node: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _is_empty(value: object) -> bool:
    return type(value) in (list, tuple) and not value


def _added(t: Translation, items: Value, start: Value) -> Value:
    """Return `start` with ints added one by one; floats would be rounded otherwise."""
    if isinstance(items, Comprehension):
        items = containers.as_list(t, items, is_consumed=True)
    kinds = [as_scalar(start, "what is added to").kind]
    if isinstance(items, ListValue) and items.item == Plain(Kind.INT):
        kinds.append(Kind.INT)
    if kinds != [Kind.INT, Kind.INT]:
        msg = "a loop that adds up what isn't an int"
        raise Refusal(msg)
    return containers.sum_from(t, items, start)


@dataclass(frozen=True, slots=True)
class Local:
    """A lambda inside a function; it may use the function's variables."""

    scope: Scope
    node: ast.Lambda

    def parameters(self) -> list[str]:
        """Return the names of its parameters.

        Raises:
            Refusal: They aren't plain.
        """
        spec = self.node.args
        if spec.vararg or spec.kwarg or spec.defaults or spec.kwonlyargs:
            msg = "an inner lambda with more than plain parameters"
            raise Refusal(msg)
        return [each.arg for each in (*spec.posonlyargs, *spec.args)]


def _is_plain_constant(value: Value) -> bool:
    return isinstance(value, Constant) and type(value.value) in PURE_TYPES - {
        dict,
        list,
        set,
    }


def _presence(test: ast.expr, *, holds: bool) -> list[tuple[str, bool]]:
    """Return the variables of which a test tells whether they are None."""
    match test:
        case ast.Compare(ast.Name(name), [op], [ast.Constant(None)]):
            if isinstance(op, ast.Is | ast.Eq):
                return [(name, not holds)]
            if isinstance(op, ast.IsNot | ast.NotEq):
                return [(name, holds)]
        case ast.Name(name) if holds:  # What is true is no None.
            return [(name, True)]
        case ast.UnaryOp(ast.Not(), inner):
            return _presence(inner, holds=not holds)
        case ast.BoolOp(ast.And(), operands) if holds:
            return [
                each for operand in operands for each in _presence(operand, holds=True)
            ]
        case ast.BoolOp(ast.Or(), operands) if not holds:
            return [
                each for operand in operands for each in _presence(operand, holds=False)
            ]
        case _:
            pass
    return []


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:57] + "..."
