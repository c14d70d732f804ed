"""Failures: a task's error told in the user's terms.

The user's own traceback without the engine's frames, the stage's steps by name, the
partition, and a short form of the record.
"""

import re
import reprlib
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from millstream.engine.base.call_site import is_ours
from millstream.engine.base.errors import PySparkRuntimeError
from millstream.engine.plan.fusion import Culprit, find_culprit, is_fusible
from millstream.engine.plan.nodes import RddNode
from millstream.engine.plan.steps import Step

_RUNPY = "<frozen runpy>"  # By which `millstream run` starts a program.

MEMORY_HINT = (
    "memory ran out: use more partitions, so that a task reads less, or fewer slots, so "
    "that fewer tasks run at a time"
)

_MESSAGE_MAX = 2000

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 120
_short.maxlong = 60


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """Why a task failed, as text and as the exception itself."""

    error: BaseException
    text: str


def describe(
    error: BaseException,
    trail: list[tuple[Step, RddNode]],
    title: str,
    partition: int,
) -> TaskFailure:
    """Return what to tell about `error`, raised in a task of the stage `title`."""
    if _is_stop_iteration(error):
        stopped = PySparkRuntimeError(
            "Caught StopIteration thrown from user's code; failing the task",
            condition="STOP_ITERATION_OCCURRED",
            hint="a function raised StopIteration, which would end the partition early; "
            "use next(iterator, default) or catch it",
        )
        stopped.__cause__ = error
        stopped.__traceback__ = error.__traceback__
        error = stopped
    culprit = find_culprit(error.__traceback__)
    lines = [user_traceback(error).rstrip()]
    steps = [f"{step.name} ({node.call_site})" for step, node in trail]
    where = f"  in {title}, partition {partition}"
    if culprit is not None:
        position = _position(culprit, trail)
        if position is not None:
            where = f"  in step {steps[position]}, partition {partition}"
        where += f", record {shorten(culprit.record)}"
    lines.append(where)
    if len(steps) > 1:
        lines.append(f"  steps of the stage: {' -> '.join(steps)}")
    if culprit is not None and culprit.is_ours and _is_about_form(error):
        lines.append(
            "  hint: the operation needs (key, value) pairs, and this record is none"
        )
    strip_engine_frames(error)
    return TaskFailure(error, "\n".join(lines))


def operator_of(
    error: BaseException, trail: list[tuple[Step, RddNode]], ending: str
) -> str:
    """Return in which step of a stage an error was raised; else `ending`."""
    culprit = find_culprit(error.__traceback__)
    position = None if culprit is None else _position(culprit, trail)
    if position is None:
        position = next(
            (at for at, (step, _) in enumerate(trail) if not is_fusible(step)), None
        )
    if position is None:
        return ending
    step, node = trail[position]
    return f"{step.name} ({node.call_site})" if node.call_site else step.name


_SITE = re.compile(r" at (.+):(\d+)\)?$")


def user_line(error: BaseException, operator: str) -> tuple[str | None, int | None]:
    """Return the user's file and line that are nearest to where an error was raised.

    Where none of the user's functions ran, say that a step is `int`, it is where the
    program makes the step; `operator` says it, as `operator_of` does.
    """
    site = _SITE.search(operator)
    found: tuple[str | None, int | None] = (
        (None, None) if site is None else (site[1], int(site[2]))
    )
    current = error.__traceback__
    while current is not None:
        if not is_ours(current.tb_frame.f_code.co_filename):
            found = current.tb_frame.f_code.co_filename, current.tb_lineno
        current = current.tb_next
    return found


def summary(error: BaseException, most: int = 300) -> str:
    """Return an error's class and the first line that it says."""
    first = message_of(error).strip().partition("\n")[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3]}..."


def message_of(error: BaseException) -> str:
    """Return what an error says, shortened; one that can't say it is named."""
    try:
        text = str(error)
    except Exception as other:
        return f"<a message that raises {type(other).__name__}>"
    return text if len(text) <= _MESSAGE_MAX else f"{text[:_MESSAGE_MAX]}..."


def name_of(kind: type[BaseException]) -> str:
    """Return the name of a type of errors, as a traceback has it."""
    name = kind.__qualname__
    return (
        name
        if kind.__module__ in {"builtins", "__main__"}
        else f"{kind.__module__}.{name}"
    )


def shorten(value: Any) -> str:
    """Return a short repr; one that fails is named, not raised."""
    try:
        return _short.repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def size_of_input(records: int, size_bytes: int) -> str:
    """Return a line about a task's input; nothing of what isn't known (0)."""
    told = [f"about {records:,} records"] if records else []
    if size_bytes:
        told.append(f"{_readable(size_bytes)} handed over to the worker process")
    return f"\n  its input: {', '.join(told)}" if told else ""


def _readable(size_bytes: int) -> str:
    size, unit = float(size_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


def strip_engine_frames(error: BaseException) -> None:
    """Leave only the user's frames in the traceback of `error`."""
    kept: TracebackType | None = None
    frames: list[TracebackType] = []
    current = error.__traceback__
    while current is not None:
        if not is_ours(current.tb_frame.f_code.co_filename):
            frames.append(current)
        current = current.tb_next
    for each in reversed(frames):
        kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    error.__traceback__ = kept


def user_traceback(error: BaseException) -> str:
    """Return the traceback of `error` and its causes without the engine's frames."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        current = waiting.pop()
        if current is None:
            continue
        current.stack = traceback.StackSummary.from_list(
            [
                frame
                for frame in current.stack
                if not is_ours(frame.filename) and not frame.filename.startswith(_RUNPY)
            ]
        )
        waiting += [current.__cause__, current.__context__]
    return "".join(told.format())


def _position(culprit: Culprit, trail: list[tuple[Step, RddNode]]) -> int | None:
    """Return where in the trail the failing step is; found by its functions."""
    functions = culprit.functions
    if not functions or not culprit.step_index >= 0:
        return None
    if culprit.step_index == len(functions):
        return None  # The ending: what reads the stage failed, not one of its steps.
    for start in range(len(trail) - len(functions) + 1):
        run = trail[start : start + len(functions)]
        if all(step.function is f for (step, _), f in zip(run, functions, strict=True)):
            return start + culprit.step_index
    return None


def _is_stop_iteration(error: BaseException) -> bool:
    return isinstance(error, StopIteration) or (
        isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration)
    )


def _is_about_form(error: BaseException) -> bool:
    words = str(error)
    return isinstance(error, TypeError | ValueError | IndexError | KeyError) and any(
        part in words
        for part in ("unpack", "subscriptable", "index out of range", "indices")
    )
