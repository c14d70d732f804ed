"""Subjects: what is drawn and compared, and how a difference is made small and told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.properties.columnar.choices import Choices, replayed, shrink
from tests.properties.columnar.drawing import draw_function, draw_program
from tests.properties.columnar.drawing_states import draw_mapped_states
from tests.properties.columnar.drawing_streams import draw_stream
from tests.properties.columnar.running import Case, compare_stream, running
from tests.properties.columnar.translating import compare_function

SUBJECTS: dict[str, Callable[[Choices], str]] = {
    "programs": draw_program,
    "functions": draw_function,
    "streams": draw_stream,
    "states": draw_mapped_states,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: how its source is drawn, and how its answers are compared."""

    draw: Callable[[Choices], str]
    compare: Callable[[str], Case]

    def smallest(self, choices: Choices, case: Case, tries: int) -> str:
        """Return a smaller source whose answers differ in the same way."""
        kind = _kind(case)

        def fails(numbers: Sequence[int]) -> bool:
            tried = self.compare(self.draw(replayed(numbers)))
            return not tried.is_same and _kind(tried) == kind

        return self.draw(replayed(shrink(choices.made, fails, tries)))


@contextmanager
def trying(what: str, slots: int) -> Iterator[Subject]:
    """Give what is to be tried: "programs", "functions", "streams" or "states"."""
    if what == "functions":
        yield Subject(draw_function, compare_function)
        return
    if what == "streams":
        yield Subject(draw_stream, compare_stream)
        return
    if what == "states":
        yield Subject(draw_mapped_states, compare_stream)
        return
    with running(slots) as runner:
        yield Subject(draw_program, runner.compare)


def _kind(case: Case) -> tuple[str, str]:
    return case.rows.error.split(":")[0], case.columns.error.split(":")[0]


def told(source: str, case: Case, name: str) -> str:
    """Return a difference as a reader wants it."""
    notes = ", ".join(f"{note} x{count}" for note, count in case.notes.items())
    return (
        f"\n=== {name}\n{source}--- rows:    {str(case.rows)[:700]}\n"
        f"--- columns: {str(case.columns)[:700]}\n--- notes: {notes[:700]}\n"
    )
