r"""Fields: lines that are only split, all into as many parts, read as those parts.

`line.split(",")` of every line is what a reader of CSV files does on its way through the
bytes, in less time than cutting lines and splitting them takes. That it is the same holds
for a block whose lines all have as many fields as the first one, the last of which is never
empty; other blocks are split.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from millstream.engine.columnar.shapes import TEXT, Kind, column_names
from millstream.engine.columnar.stages import Compute, StagePlan, plan_stage
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Special,
    Translation,
    Value,
    leaves,
)
from millstream.engine.plan.steps import Step
from millstream.engine.plan.text import split_lines, with_unix_ends

_FIELDS_MAX = 256
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FieldsPlan:
    """How the steps of a stage go over lines that are read as fields."""

    stage: StagePlan
    separator: str
    types: tuple[pl.DataType, ...]
    """Of each field of a line: text, or what it is only ever read as."""

    @property
    def is_current(self) -> bool:
        """Whether what was folded in is as it was."""
        return self.stage.is_current


@dataclass(frozen=True, slots=True)
class Line(Special):
    """A line of which only `split` by one separator is known; `first` is one of them."""

    name = "str"
    is_handed_on = True
    first: str
    separators: list[str] = field(default_factory=list)
    """The one, once it is known."""

    def call_method(
        self,
        t: Translation,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Return the fields of the line."""
        match args:
            case [Constant(str() as separator)] if name == "split" and not keywords:
                is_known = separator in self.separators or not self.separators
                if is_known and _can_separate(separator):
                    self.separators[:] = [separator]
                    return Fields(len(self.first.split(separator)))
        return Special.call_method(self, t, name, args, keywords)


def _can_separate(text: str) -> bool:
    # A byte, none of those that the reader takes for something else.
    return len(text) == 1 and text.isascii() and text not in "\n\r\0"


@dataclass(frozen=True, slots=True)
class Fields(Special):
    """The list of a line's fields, each of which is a column."""

    name = "list"
    is_handed_on = True
    count: int

    def items(self) -> Sequence[Value]:
        """Return the fields."""
        return [Scalar(Kind.STR, pl.col(name)) for name in column_names(self.count)]

    def subscript(self, t: Translation, index: Value) -> Value:
        """Return one of the fields."""
        place = index.value if isinstance(index, Constant) else None
        if type(place) is not int or not -self.count <= place < self.count:
            msg = "a field that isn't there, or that varies"
            raise Refusal(msg)
        return self.items()[place]


def plan_fields(
    steps: Sequence[Step],
    data: bytes,
    known: StagePlan,
    on_slip: Callable[[Exception], str] | None = None,
) -> FieldsPlan | None:
    """Return how steps go over the fields of lines like the first one of `data`.

    None if they do anything else with a line than to split it; `known` is how they go
    over the lines.
    """
    line = Line(_first_line(data))
    try:
        made = plan_stage(steps, TEXT, on_slip=on_slip, is_hopeful=True, record=line)
    except Refusal:  # What comes out are the lines, or lists of their fields.
        return None
    if made.lowered_count != known.lowered_count or made.shape != known.shape:
        return None
    if not line.separators:
        return None
    (separator,) = line.separators
    count = len(line.first.split(separator))
    if not 1 < count <= _FIELDS_MAX:
        return None
    stage, numbers = _with_numbers(made, column_names(count))
    types = (numbers.get(name, pl.String()) for name in column_names(count))
    return FieldsPlan(stage, separator, tuple(types))


_NUMBERS: tuple[pl.DataType, ...] = (pl.Int64(), pl.Float64())


def _with_numbers(
    stage: StagePlan, names: Sequence[str]
) -> tuple[StagePlan, dict[str, pl.DataType]]:
    """Return a plan whose fields are numbers already, if they are read as such at once.

    The reader of CSV files reads numbers as the cast does, or, where it can't, fails.
    """
    uses: dict[str, list[pl.Expr]] = {}
    for expr in [*leaves(stage.value), *stage.exprs]:
        for name in expr.meta.root_names():
            uses.setdefault(name, []).append(expr)
    numbers: dict[str, pl.DataType] = {}
    for name in names:
        match uses.get(name):
            case [expr]:
                for number in _NUMBERS:
                    if expr.meta.eq(pl.col(name).cast(number, strict=False)):
                        numbers[name] = number
            case _:
                pass

    def read(expr: pl.Expr) -> pl.Expr:
        roots = expr.meta.root_names()
        return pl.col(roots[0]) if numbers.keys() & roots else expr

    operations = tuple(
        (step, Compute(tuple((name, read(expr)) for name, expr in each.columns)))
        if isinstance(each, Compute)
        else (step, each)
        for step, each in stage.operations
    )
    return replace(stage, operations=operations), numbers


def _first_line(data: bytes) -> str:
    return split_lines(data[: data.find(b"\n") + 1] or data, is_text=True)[0]


def frame_of_fields(data: bytes, plan: FieldsPlan) -> pl.DataFrame | None:
    """Return the fields of the lines of `data`, as columns.

    None unless it is certain that each line has as many as the plan says.
    """
    separator, count = plan.separator, len(plan.types)
    if not data or data.startswith(_BYTE_ORDER_MARK):
        return None
    data = with_unix_ends(data)
    # The reader learns from the first line, and overlooks an empty field at the very end.
    first = _first_line(data)
    if len(first.split(separator)) != count or data.endswith(separator.encode()):
        return None
    names = column_names(count)
    try:
        # All of them: where some are left out, nothing notices that a line has more.
        frame = pl.read_csv(
            data,
            has_header=False,
            separator=separator,
            quote_char=None,
            schema=dict(zip(names, plan.types, strict=True)),
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None  # A line with more fields, one that is no number, invalid UTF-8.
    # A line with fewer fields gets empty ones, of which the last is one.
    last = frame[names[-1]]
    is_there = (
        last.str.len_bytes() > 0 if last.dtype == pl.String else last.is_not_null()
    )
    return frame if is_there.fill_null(False).all() else None
