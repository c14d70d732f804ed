"""Calling: a user's function of several arguments, over each record of a frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from millstream.engine.base import frames
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.pipeline import Lowered, Pipeline, Rejected
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.runs import Run
from millstream.engine.columnar.stages import projected
from millstream.engine.columnar.values import Refusal, Tuple, leaves, shape_of
from millstream.engine.plan.steps import Map

T = TypeVar("T")


class Form(Protocol):
    """How a record becomes the arguments of a function: a class of ours around it.

    It lists `function` in its `columnar_fields`, so that it can be translated too. With
    other fields that matter it has a `form_name` that says them.
    """

    def __call__(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return a function of a record that calls `function`."""
        ...


class Caller:
    """Calls one function by columns, in several forms; plans are kept from job to job."""

    def __init__(self, pipeline: Pipeline, function: Callable[..., Any]) -> None:
        """Call `function`."""
        self._pipeline = pipeline
        self._function = function
        self._key = frames.dumps_function(function)

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made for this function under a name, in this job or before."""
        made: T = self._pipeline.kept((name, self._key), make)
        return made

    def __call__(self, form: Form, records: Columns) -> Columns:
        """Return what the function makes of each record.

        Raises:
            Refusal: The row path must do it.
        """
        run, made = self._lower(form, records)
        columns = self._pipeline.columns_of(run, made, StageReport())
        if columns is None:
            msg = "Polars refused a record"
            raise Refusal(msg)
        return columns

    def changed(self, form: Form, records: Columns) -> Columns | None:
        """Return what the function makes of each record, or None: all are as they were.

        The form returns a pair of that and the old record, of a pair of equal records.
        Memory for new ones is taken only if there are any.

        Raises:
            Refusal: The row path must do it.
        """
        _run, made = self._lower(form, records)
        value = made.plan.value
        assert isinstance(value, Tuple), "such a form returns a pair"
        new, old = value.items
        shape = shape_of(new)
        if shape == shape_of(old):
            differs = [
                after.ne_missing(before).any().alias(f"d{n}")
                for n, (after, before) in enumerate(
                    zip(leaves(new), leaves(old), strict=True)
                )
            ]
            if not any(made.query.select(differs).collect(engine="streaming").row(0)):
                return None
        return Columns(projected(made.query, new), shape)

    def _lower(self, form: Form, records: Columns) -> tuple[Run, Lowered]:
        called = form(self._function)
        name = getattr(called, "form_name", type(called).__name__)
        key = name.encode() + self._key
        run = Run((), 0, [Map(called)], [key], [0])
        report = StageReport()
        made = self._pipeline.lower(
            run, records, report, is_reduced=True, is_whole=True
        )
        if isinstance(made, Rejected):
            (fate,) = report.steps.values()
            (reason,) = fate.reasons
            raise Refusal(reason)
        return run, made


@dataclass(frozen=True, slots=True)
class OfPair:
    """`f(a, b)` of a record that is both."""

    function: Callable[..., Any]
    columnar_fields = ("function",)

    def __call__(self, record: Any) -> Any:
        """Call the function."""
        function = self.function
        return function(record[0], record[1])
