"""Fusion: many steps as one Python loop, and where in it a record was when it failed.

A run of element-wise steps becomes one generated function, so a record passes through all
of them without a generator frame a step. The code is made per *shape* (the kinds of step
and the ending), never per function, and kept; functions come in as arguments. Each step
is on its own lines, so the line a traceback points at tells the step, and the frame's
variables hold the record: naming the culprit costs nothing until something fails.
"""

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import CodeType, TracebackType
from typing import Any

from millstream.engine.plan.steps import (
    Aggregator,
    Combine,
    Filter,
    FlatMap,
    FlatMapValues,
    Glom,
    Group,
    KeyBy,
    Keys,
    Map,
    MapPartitions,
    MapValues,
    Merge,
    Reduce,
    Step,
    Values,
)

# CPython allows 20 nested blocks in a function; the first loop takes one.
_LOOPS_MAX = 15
_STEPS_MAX = 200

FILE_PREFIX = "<millstream stage"

_loops: dict[str, "FusedLoop"] = {}  # By file name; as many as there are shapes.


class Ending(Enum):
    """What the loop does with a record that came through."""

    YIELD = "yield"
    LIST = "list"
    COUNT = "count"
    REDUCE = "reduce"
    MERGE = "merge"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class FusedLoop:
    """One generated function and what its lines mean."""

    run: Callable[..., Any]
    file_name: str
    step_of_line: dict[int, int]
    record_of_line: dict[int, str]


_LINES: dict[type[Any], Callable[[int, str, str], tuple[list[str], bool]]] = {
    Map: lambda i, x, y: ([f"{y} = f{i}({x})"], False),
    Filter: lambda i, x, y: ([f"if not f{i}({x}): continue", f"{y} = {x}"], False),
    FlatMap: lambda i, x, y: ([f"for {y} in f{i}({x}):"], True),
    MapValues: lambda i, x, y: ([f"{y} = ({x}[0], f{i}({x}[1]))"], False),
    FlatMapValues: lambda i, x, y: (
        [f"for v{i} in f{i}({x}[1]):", f"  {y} = ({x}[0], v{i})"],
        True,
    ),
    KeyBy: lambda i, x, y: ([f"{y} = (f{i}({x}), {x})"], False),
    Keys: lambda _, x, y: ([f"{y} = {x}[0]"], False),
    Values: lambda _, x, y: ([f"{y} = {x}[1]"], False),
}

# The same steps as clauses of a list comprehension: the fastest loop Python has.
_CLAUSES: dict[type[Any], Callable[[int, str, str], str]] = {
    Map: lambda i, x, y: f"for {y} in (f{i}({x}),)",
    Filter: lambda i, x, _: f"if f{i}({x})",
    FlatMap: lambda i, x, y: f"for {y} in f{i}({x})",
    MapValues: lambda i, x, y: f"for {y} in (({x}[0], f{i}({x}[1])),)",
    FlatMapValues: lambda i, x, y: (
        f"for v{i} in f{i}({x}[1])\n for {y} in (({x}[0], v{i}),)"
    ),
    KeyBy: lambda i, x, y: f"for {y} in ((f{i}({x}), {x}),)",
    Keys: lambda _, x, y: f"for {y} in ({x}[0],)",
    Values: lambda _, x, y: f"for {y} in ({x}[1],)",
}

_BEFORE = {
    Ending.COUNT: "n = 0",
    Ending.LIST: "listed = []; append = listed.append",
}
_AFTER = {Ending.COUNT: "return n", Ending.LIST: "return listed"}
_LAST = {
    Ending.LIST: ["append({x})"],
    Ending.YIELD: ["yield {x}"],
    Ending.COUNT: ["n += 1"],
    Ending.REDUCE: [
        "k, v = {x}",
        "if k in combined: combined[k] = merge(combined[k], v)",
        "else: combined[k] = v",
    ],
    Ending.MERGE: [
        "k, v = {x}",
        "if k in combined: combined[k] = merge(combined[k], v)",
        "else: combined[k] = create(v)",
    ],
    Ending.GROUP: [
        "k, v = {x}",
        "if k in combined: combined[k].append(v)",
        "else: combined[k] = [v]",
    ],
}


# From 3.12 on a comprehension has no frame of its own, and its variables are gone once
# it has failed; with them the record that did it.
_COMPREHENSIONS_KEEP_VARIABLES = sys.version_info < (3, 12)


def is_fusible(step: Step) -> bool:
    """Say whether `step` works record by record."""
    return type(step) in _LINES


@lru_cache(maxsize=4096)
def fuse(kinds: tuple[type[Any], ...], ending: Ending) -> FusedLoop:
    """Return the loop for steps of these kinds. Pure; made once per shape."""
    if ending is Ending.LIST and _COMPREHENSIONS_KEEP_VARIABLES:
        return _comprehension(kinds)
    lines = [_signature(kinds, ending)]
    step_of_line: dict[int, int] = {}
    record_of_line: dict[int, str] = {}

    def put(text: str, depth: int, step: int, record: str) -> None:
        lines.append("  " * depth + text)
        step_of_line[len(lines)] = step
        record_of_line[len(lines)] = record

    if ending in _BEFORE:
        lines.append("  " + _BEFORE[ending])
    put("for x0 in rows:", 1, -1, "x0")
    depth, record = 2, "x0"
    for index, kind in enumerate(kinds):
        code, nests = _LINES[kind](index, record, f"x{index + 1}")
        for text in code:
            put(text, depth, index, record)
        depth += nests
        record = f"x{index + 1}"
    for text in _LAST[ending]:
        put(text.format(x=record), depth, len(kinds), record)
    if ending in _AFTER:
        lines.append("  " + _AFTER[ending])
    return _compiled(lines, kinds, ending, step_of_line, record_of_line)


def _comprehension(kinds: tuple[type[Any], ...]) -> FusedLoop:
    record = "x0"
    clauses: list[tuple[str, int, str]] = []
    for index, kind in enumerate(kinds):
        following = record if kind is Filter else f"x{index + 1}"
        clauses.extend(
            (text.strip(), index, record)
            for text in _CLAUSES[kind](index, record, following).split("\n")
        )
        record = following
    lines = [_signature(kinds, Ending.LIST), f"  return [{record}", "  for x0 in rows"]
    step_of_line, record_of_line = {3: -1}, {3: "x0"}
    for text, index, name in clauses:
        lines.append("  " + text)
        step_of_line[len(lines)] = index
        record_of_line[len(lines)] = name
    lines[-1] += "]"
    return _compiled(lines, kinds, Ending.LIST, step_of_line, record_of_line)


def _signature(kinds: tuple[type[Any], ...], ending: Ending) -> str:
    functions = "".join(f", f{index}" for index in range(len(kinds)))
    more = {
        Ending.REDUCE: ", combined, merge",
        Ending.MERGE: ", combined, create, merge",
        Ending.GROUP: ", combined",
    }.get(ending, "")
    return f"def stage(rows{functions}{more}):"


def _compiled(
    lines: list[str],
    kinds: tuple[type[Any], ...],
    ending: Ending,
    step_of_line: dict[int, int],
    record_of_line: dict[int, str],
) -> FusedLoop:
    shape = ".".join([*(kind.__name__ for kind in kinds[:8]), ending.value])
    file_name = f"{FILE_PREFIX} {shape} {len(_loops)}>"
    source = "\n".join(lines) + "\n"
    scope: dict[str, Any] = {}
    exec(compile(source, file_name, "exec"), scope)  # noqa: S102  Our own text only.
    # A debugger that steps into the loop sees its source.
    linecache.cache[file_name] = (len(source), None, lines, file_name)
    loop = FusedLoop(scope["stage"], file_name, step_of_line, record_of_line)
    _loops[file_name] = loop
    return loop


def iterate(rows: Iterable[Any], steps: Sequence[Step], index: int) -> Iterator[Any]:
    """Return the records of partition `index` after `steps`; nothing runs until asked."""
    for run in _runs(steps):
        rows = _through(rows, run, index)
    return iter(rows)


def to_list(rows: Iterable[Any], steps: Sequence[Step], index: int) -> list[Any]:
    """Return the records after `steps` as a list, by the fastest loop."""
    runs = _runs(steps)
    if not runs:
        return list(rows)
    for run in runs[:-1]:
        rows = _through(rows, run, index)
    last = runs[-1]
    if not is_fusible(last[0]):
        return list(_through(rows, last, index))
    loop = fuse(tuple(map(type, last)), Ending.LIST)
    listed: list[Any] = _run(loop, rows, last)
    return listed


def count(rows: Iterable[Any], steps: Sequence[Step], index: int) -> int:
    """Return how many records come through `steps`."""
    rows, last = _all_but_last(rows, steps, index)
    if not last and isinstance(rows, Sized):
        return len(rows)
    counted: int = _run(fuse(tuple(map(type, last)), Ending.COUNT), rows, last)
    return counted


def combine(
    rows: Iterable[Any],
    steps: Sequence[Step],
    aggregator: Aggregator,
    index: int,
) -> dict[Any, Any]:
    """Return the pairs after `steps` with equal keys combined, in order of first sight."""
    rows, last = _all_but_last(rows, steps, index)
    kinds = tuple(map(type, last))
    combined: dict[Any, Any] = {}
    match aggregator:
        case Reduce(merge):
            _run(fuse(kinds, Ending.REDUCE), rows, last, combined, merge)
        case Merge(create, merge_value, _):
            loop = fuse(kinds, Ending.MERGE)
            _run(loop, rows, last, combined, create, merge_value)
        case Group():
            _run(fuse(kinds, Ending.GROUP), rows, last, combined)
    return combined


def _all_but_last(
    rows: Iterable[Any], steps: Sequence[Step], index: int
) -> tuple[Iterable[Any], Sequence[Step]]:
    """Apply every run of steps but a last fusible one, which is returned."""
    runs = _runs(steps)
    last: Sequence[Step] = ()
    if runs and is_fusible(runs[-1][0]):
        last = runs.pop()
    for run in runs:
        rows = _through(rows, run, index)
    return rows, last


def _runs(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """Return `steps` cut into runs: fusible ones together, others alone."""
    runs: list[Sequence[Step]] = []
    start = loops = 0
    for position, step in enumerate(steps):
        if not is_fusible(step):
            if position > start:
                runs.append(steps[start:position])
            runs.append(steps[position : position + 1])
            start, loops = position + 1, 0
            continue
        nests = isinstance(step, FlatMap | FlatMapValues)
        if loops + nests > _LOOPS_MAX or position - start >= _STEPS_MAX:
            runs.append(steps[start:position])
            start, loops = position, 0
        loops += nests
    if start < len(steps):
        runs.append(steps[start:])
    return runs


def _through(rows: Iterable[Any], run: Sequence[Step], index: int) -> Iterable[Any]:
    first = run[0]
    match first:
        case MapPartitions(function):
            return StepIterator(function(index, iter(rows)), first)
        case Glom():
            return iter([list(rows)])
        case Combine(aggregator):
            return iter(combine(rows, (), aggregator, index).items())
        case _:
            made: Iterable[Any] = _run(
                fuse(tuple(map(type, run)), Ending.YIELD), rows, run
            )
            return made


class StepIterator:
    """The records a partition function returns, by the name of its step.

    Its frame marks, in a traceback, that the function above it belongs to `step`.
    """

    __slots__ = ("_iterator", "step")

    def __init__(self, made: Any, step: Step) -> None:
        """Wrap what the function returned; None isn't an iterable and says so."""
        self.step = step
        try:
            self._iterator: Iterator[Any] = iter(made)
        except TypeError:
            msg = (
                f"the function given to {step.name} must return an iterable, "
                f"not {type(made).__name__}"
            )
            raise TypeError(msg) from None

    def __iter__(self) -> Iterator[Any]:
        return self._iterator

    def __next__(self) -> Any:
        return next(self._iterator)


def _run(
    loop: FusedLoop, rows: Iterable[Any], steps: Sequence[Step], *more: Any
) -> Any:
    return loop.run(rows, *[step.function for step in steps], *more)


@dataclass(frozen=True, slots=True)
class Culprit:
    """Where a record was when user code raised.

    `functions` are those of the fused steps, by which the step is found again; empty when
    a kernel failed. `is_ours` says that the generated line itself raised: the record has
    the wrong form (it is no pair, say).
    """

    step_index: int
    functions: tuple[Any, ...]
    record: Any
    is_ours: bool


_record_of_code: dict[CodeType, str] = {}


def mark_record(function: Callable[..., Any], variable: str) -> None:
    """Say which variable of an engine function holds the record it works on."""
    _record_of_code[function.__code__] = variable


def find_culprit(traceback: TracebackType | None) -> Culprit | None:
    """Return the step and record of the last engine loop in `traceback`, if any."""
    found: Culprit | None = None
    while traceback is not None:
        code, variables = traceback.tb_frame.f_code, traceback.tb_frame.f_locals
        is_last = traceback.tb_next is None
        if code.co_filename in _loops:
            loop, line = _loops[code.co_filename], traceback.tb_lineno
            if line in loop.step_of_line:
                record = variables.get(loop.record_of_line[line])
                found = Culprit(
                    loop.step_of_line[line], _functions(traceback), record, is_last
                )
        elif code in _record_of_code:
            found = Culprit(0, (), variables.get(_record_of_code[code]), is_last)
        traceback = traceback.tb_next
    return found


def _functions(traceback: TracebackType) -> tuple[Any, ...]:
    # Before 3.12 a comprehension has a frame of its own; the functions are free
    # variables in it, which f_locals shows as well.
    variables = traceback.tb_frame.f_locals
    found: list[Any] = []
    while (name := f"f{len(found)}") in variables:
        found.append(variables[name])
    return tuple(found)
