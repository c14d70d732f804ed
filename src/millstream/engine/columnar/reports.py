"""StageReport: which way each step of a stage went, and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class StepFate:
    """How many blocks of one step went by columns, and why others didn't."""

    name: str
    columns: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    processes: int = 0
    """How many tasks ran it in worker processes."""

    def describe(self) -> str:
        """Return it in words: "columns", or "rows: `x.foo()` isn't known"."""
        where = ", in worker processes" if self.processes else ""
        return self._describe_way() + where

    def _describe_way(self) -> str:
        if not self.rows:
            return "columns" if self.columns else "nothing came"
        reasons = ", ".join(
            reason
            if not self.columns
            else f"{reason} in {count} of {self.total} blocks"
            for reason, count in self.reasons.most_common(3)
        )
        if not self.columns:
            return f"rows: {reasons}"
        return f"columns and rows: {reasons}"

    @property
    def total(self) -> int:
        """How many blocks came."""
        return self.columns + self.rows

    def add(self, other: "StepFate") -> None:
        """Count what another task found."""
        self.columns += other.columns
        self.rows += other.rows
        self.reasons.update(other.reasons)
        self.processes += other.processes


@dataclass(slots=True)
class StageReport:
    """The fates of a stage's steps, by RDD and name; picklable, and mergeable."""

    steps: dict[tuple[int, str], StepFate] = field(default_factory=dict)
    shuffles: dict[int, StepFate] = field(default_factory=dict)
    """The fates of what reduces by key, by the RDD that it makes."""
    reducing: int = -1
    """The RDD that is being made by reducing; set by the task."""

    def note(self, node: int, name: str, way: str, reason: str) -> None:
        """Note which way one block took through a step of an RDD."""
        fate = self.steps.setdefault((node, name), StepFate(name))
        _count(fate, way, reason)

    def note_ending(self, way: str, reason: str) -> None:
        """Note which way one block was reduced, or what was reduced before merged."""
        fate = self.shuffles.setdefault(self.reducing, StepFate("by key"))
        _count(fate, way, reason)

    def add(self, other: "StageReport") -> None:
        """Take over what another task of the stage found."""
        for key, fate in other.steps.items():
            self.steps.setdefault(key, StepFate(fate.name)).add(fate)
        for node, fate in other.shuffles.items():
            self.shuffles.setdefault(node, StepFate(fate.name)).add(fate)

    @property
    def is_by_rows(self) -> bool:
        """Whether anything went by rows; what isn't reported did."""
        fates = (*self.steps.values(), *self.shuffles.values())
        return not fates or any(each.rows for each in fates)

    def lines(self) -> Iterable[str]:
        """Yield a line a step: its name and its fate."""
        for fate in (*self.steps.values(), *self.shuffles.values()):
            yield f"{fate.name}: {fate.describe()}"


def _count(fate: StepFate, way: str, reason: str) -> None:
    if way == "columns":
        fate.columns += 1
    else:
        fate.rows += 1
        fate.reasons[reason] += 1
