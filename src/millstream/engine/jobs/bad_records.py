"""Bad records: those at a mark that make a later step raise, found and taken out.

It begins when a task has failed. What a stage is made of is cut at its marks, at what is
kept, and at what reads several parents side by side; each segment runs anew, over the records at its mark,
without what the task does with them in the end: so that nothing is written, kept or
reduced in the search. Where steps work record by record, the record that was taken last
is the culprit, and the rest goes on behind it; where a function is given a whole
partition, the records are split until the bad ones are alone. The same records give the
same finds, whoever runs them: a batch that runs again has the same bad records.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream.engine.base import accumulating, driver_link, frames, task_scope
from millstream.engine.base.errors import (
    InternalError,
    PySparkPicklingError,
    SparkError,
)
from millstream.engine.jobs import failures
from millstream.engine.jobs.actions import Action, Apply, CountByValue
from millstream.engine.jobs.found_records import (
    Find,
    Reason,
    described,
    range_of,
)
from millstream.engine.plan.fusion import is_fusible
from millstream.engine.plan.marks import RecordMark
from millstream.engine.plan.nodes import (
    Cartesian,
    Pipeline,
    RddNode,
    Shuffled,
    Zipped,
)
from millstream.engine.plan.partitions import freeze, is_immutable
from millstream.engine.plan.steps import Merge

if TYPE_CHECKING:
    from millstream.engine.jobs.tasks import Task

_EXAMPLES = 3
"""So many are described of what is only counted."""

Check = Callable[[Any], Any]
"""Raises for a record that is of no use."""
CheckAll = Callable[[Iterable[Any]], Any]
"""Takes all records that come out of a segment, and raises if some are of no use."""


class TooManyBadRecordsError(SparkError):
    """So many records of a partition are bad that it must be the program's fault."""


def may_be_of_a_record(error: Exception) -> bool:
    """Say whether it is worth to look for a record that is to blame."""
    scope = task_scope.current()
    is_barrier = scope is not None and scope.barrier is not None
    return not is_barrier and not isinstance(
        error, InternalError | MemoryError | TooManyBadRecordsError
    )


def search(
    task: "Task",
    end: RddNode,
    partition: int,
    error: Exception,
    check: CheckAll | None,
    what_checks: str = "",
) -> "Search | None":
    """Return what is bad of what makes up one partition of `end`; None: no record is.

    `check` takes what comes out, for what the task does with it; its name in errors is
    `what_checks`.

    Raises:
        TooManyBadRecordsError: It isn't the records, it is the program.
    """
    if not may_be_of_a_record(error) or not _has_tolerant_mark(end, partition):
        return None
    found = Search(task, end, what_checks or end.call_site)
    _start_effects()
    try:
        found.clear(end, partition, check)
    except TooManyBadRecordsError:
        raise
    except PySparkPicklingError as unpicklable:
        error.add_note(f"its record can't be taken out: {unpicklable}")
        return None
    except Exception as other:
        if type(other) is not type(error):
            error.add_note(f"its record can't be taken out: {other!r:.300}")
        return None
    return found if found.finds else None


def _start_effects() -> None:
    """Forget what the failed run of a task has added and told: it runs again."""
    accumulating.start_task_accumulators()
    if driver_link.is_worker():
        driver_link.start_telling()


@contextmanager
def _effects(*, are_kept: bool) -> Iterator[None]:
    """Keep what is added and told meanwhile, unless there is an error; or forget it."""
    added = accumulating.task_accumulators()
    before = {} if added is None else copy.deepcopy(added)
    told_before = driver_link.take_told() if driver_link.is_worker() else ()
    is_kept = False
    try:
        yield
        is_kept = are_kept
    finally:
        if added is not None and not is_kept:
            added.clear()
            added.update(before)
        if driver_link.is_worker():
            told_now = driver_link.take_told() if is_kept else ()
            for topic, news in (*told_before, *told_now):
                driver_link.tell(topic, news)


def each(check: Check) -> CheckAll:
    """Return what checks records one by one."""
    return lambda rows: deque(map(check, rows), 0)


def action_check(action: Action) -> CheckAll | None:
    """Return what checks the records that an action is for; None: any will do."""
    match action:
        case CountByValue():
            return each(hash)
        case Apply(function):
            return getattr(function, "check", None)
        case _:
            return None


def pair_check(node: RddNode, functions: Any) -> Check:
    """Return what refuses records that a shuffle can't place, or begin a combiner with."""
    op = node.op
    assert isinstance(op, Shuffled), "only a shuffle places pairs"
    place = functions.place
    create = (
        functions.aggregator.create
        if isinstance(functions.aggregator, Merge) and op.map_side
        else None
    )
    is_hashed = functions.aggregator is not None and op.map_side

    def check(record: Any) -> None:
        key, value = record
        if is_hashed:
            hash(key)
        place(key)
        if create is not None:
            create(value)

    return check


# Where marks are.

_Place = tuple[RddNode, int]


def _has_tolerant_mark(end: RddNode, partition: int) -> bool:
    waiting: list[_Place] = [(end, partition)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        node, part = waiting.pop()
        if (node.id, part) in seen:
            continue
        seen.add((node.id, part))
        if node.mark is not None and node.mark.is_tolerant:
            return True
        if not _is_border(node, end):
            waiting.extend(node.inputs_of(part))
    return False


def _is_border(node: RddNode, end: RddNode) -> bool:
    """Say whether what is above a node is out of reach.

    What is kept stands for itself: whether it was computed in this very task, or an hour
    ago elsewhere, must make no difference.
    """
    return node.level is not None and node is not end


@dataclass(slots=True)
class _Segment:
    """What lies between some marks and an end."""

    marks: list[_Place] = field(default_factory=list)
    others: list[_Place] = field(default_factory=list)
    """The ends of segments that this one reads, and that no tolerant mark begins."""
    pipelines: list[RddNode] = field(default_factory=list)


def _segment(end: RddNode, partition: int) -> _Segment:
    found = _Segment()
    waiting: list[_Place] = [(end, partition)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        node, part = waiting.pop()
        if (node.id, part) in seen:
            continue
        seen.add((node.id, part))
        if node.mark is not None and node.mark.is_tolerant:
            found.marks.append((node, part))
            continue
        if _is_border(node, end):
            continue
        inputs = node.inputs_of(part)
        if node.mark is not None:
            found.others.extend(inputs)
            continue
        if isinstance(node.op, Zipped | Cartesian):
            found.others.extend(inputs)
            continue
        if isinstance(node.op, Pipeline):
            found.pipelines.append(node)
        waiting.extend(inputs)
    return found


# Finding.


class Search:
    """One search in one task; afterwards `finds` and the records that are good."""

    def __init__(self, task: "Task", end: RddNode, ending: str) -> None:
        """Search in what `task` was to run; `ending` is what the records of `end` are for."""
        self._task, self._end, self._ending = task, end, ending
        self._loaded: dict[int, Any] = {}
        self.good: dict[tuple[int, int], Sequence[Any]] = {}
        """What is left, by node and partition: rows that no user code has seen."""
        self.finds: list[Find] = []

    def again(self) -> "Task":
        """Return a task like the failed one over the records that are good."""
        self._task.trail.clear()
        made = self._over_good(unkept=None)
        made.trail, made.report = self._task.trail, self._task.report
        return made

    def again_unkept(self) -> "Task":
        """Return a like task that computes the end, and leaves it to others to keep it."""
        return self._over_good(unkept=self._end)

    def _over_good(self, *, unkept: RddNode | None) -> "Task":
        rows = {key: freeze(rows).thaw() for key, rows in self.good.items()}
        made = self._task.over(rows, unkept=unkept)
        made.finds = self._task.finds
        return made

    def clear(self, end: RddNode, partition: int, check: CheckAll | None) -> None:
        """Take out every bad record of what makes up one partition of `end`."""
        segment = _segment(end, partition)
        for inner, part in segment.others:
            self.clear(inner, part, None)
        rows = {
            (node.id, part): self._records(node, part) for node, part in segment.marks
        }
        empty: dict[tuple[int, int], Sequence[Any]] = dict.fromkeys(rows, ())
        is_plain = all(
            is_fusible(step)
            for node in segment.pipelines
            for step in self._functions(node)
        )
        for node, part in segment.marks:
            key = node.id, part

            def run(some: Iterable[Any], key: tuple[int, int] = key) -> "_Run":
                others = {**self.good, **empty}
                return self._run(end, partition, check, {**others, key: some})

            sifting = _Sifting(run, rows[key], node.mark)
            sifting.sift(is_plain=is_plain)
            if sifting.bad:
                self._note(node, part, sifting)
            self.good[key] = sifting.good()

    def _records(self, node: RddNode, part: int) -> Sequence[Any]:
        """Return the records at a mark."""
        known = self.good.get((node.id, part))
        if known is not None:
            return known
        try:
            return self._listed(node, part)
        except Exception:
            # The error was before the mark: another one above may have a say.
            ((parent, index),) = node.inputs_of(part)
            self.clear(parent, index, None)
            return self._listed(node, part)

    def _listed(self, node: RddNode, part: int) -> Sequence[Any]:
        # What user code adds to accumulators on the way to a mark counts here: the task's
        # last run begins at the mark.
        with _effects(are_kept=True):
            return self._over_good(unkept=self._end).listed(node, part)

    def _functions(self, node: RddNode) -> Any:
        task = self._task.over({}, unkept=None, loaded=self._loaded)
        return task.functions_of(node)

    def _run(
        self,
        end: RddNode,
        partition: int,
        check: CheckAll | None,
        rows: dict[tuple[int, int], Iterable[Any]],
    ) -> "_Run":
        task = self._task.over(rows, unkept=self._end, loaded=self._loaded)
        try:
            with _effects(are_kept=False):
                made = task.iterate(end, partition)
                if check is not None:
                    check(made)
                deque(made, 0)  # What the check didn't look at may raise as well.
        except (InternalError, MemoryError):
            raise
        except Exception as raised:
            error = raised
            return _Run(
                error, lambda: failures.operator_of(error, task.trail, self._ending)
            )
        return _Run(None, str)

    def _note(self, node: RddNode, part: int, sifting: "_Sifting") -> None:
        mark = node.mark
        assert mark is not None, "only marked nodes are sifted"
        bad = sorted(sifting.bad)
        some = bad if mark.keeps_records else bad[:_EXAMPLES]
        taken_out = mark.taken_out.get(part, frozenset())
        total = len(sifting.rows) + len(taken_out)
        places = [at for at in range(total) if at not in taken_out]
        records = [
            described(
                places[index],
                sifting.rows[index],
                sifting.bad[index],
                keeps_record=mark.keeps_records,
            )
            for index in some
        ]
        self.finds.append(
            Find(
                mark.token,
                mark.time_ms,
                part,
                total,
                range_of(node, part),
                tuple(places[index] for index in bad),
                tuple(records),
            )
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """How a run over some records ended."""

    error: Exception | None
    operator: Callable[[], str]


class _Counted:
    """Records, each a copy if it could be changed, that says how many were taken."""

    def __init__(self, rows: Iterable[Any], *, is_shared: bool) -> None:
        self.count = 0
        self._rows, self._is_shared = rows, is_shared

    def __iter__(self) -> Iterator[Any]:
        for row in self._rows:
            self.count += 1
            yield row if self._is_shared else frames.loads(frames.dumps(row))


class _Sifting:
    """The records at one mark, and which of them are bad."""

    def __init__(
        self,
        run: Callable[[Iterable[Any]], _Run],
        rows: Sequence[Any],
        mark: RecordMark | None,
    ) -> None:
        assert mark is not None, "only marked nodes are sifted"
        self._run, self.rows, self._mark = run, rows, mark
        self._is_shared = isinstance(rows, range) or is_immutable(rows)
        self._allowed = mark.allowed(len(rows))
        self.bad: dict[int, Reason] = {}

    def good(self) -> list[Any]:
        """Return the records that aren't bad."""
        return [row for at, row in enumerate(self.rows) if at not in self.bad]

    def sift(self, *, is_plain: bool) -> None:
        """Find the bad ones; `is_plain` says that steps work record by record."""
        if is_plain:
            self._one_by_one()
        else:
            self._split(0, len(self.rows))

    def _one_by_one(self) -> None:
        coming, taken = iter(self.rows), 0
        while True:
            some = _Counted(coming, is_shared=self._is_shared)
            if self._run(some).error is None or some.count == 0:
                return
            start, taken = taken, taken + some.count
            last = _Counted([self.rows[taken - 1]], is_shared=self._is_shared)
            alone = self._run(last)
            if alone.error is None:
                # All were taken before the first one was through, or it has a memory.
                self._split(start, len(self.rows))
                return
            self._add(taken - 1, alone)

    def _split(self, start: int, end: int) -> None:
        if start == end:
            return
        some = _Counted(self.rows[start:end], is_shared=self._is_shared)
        run = self._run(some)
        if run.error is None or some.count == 0:
            return
        if end - start == 1:
            self._add(start, run)
            return
        middle = (start + end) // 2
        self._split(start, middle)
        self._split(middle, end)

    def _add(self, index: int, run: _Run) -> None:
        error = run.error
        assert error is not None, "only what raised is bad"
        operator = run.operator()
        file, line = failures.user_line(error, operator)
        message = failures.message_of(error)
        kind = failures.name_of(type(error))
        self.bad[index] = Reason(kind, message, file, line, operator)
        if len(self.bad) > self._allowed:
            raise self._too_many(error) from error
        # It and its frames would hold all that is run over.
        error.__traceback__ = None

    def _too_many(self, error: Exception) -> TooManyBadRecordsError:
        mark, total = self._mark, len(self.rows)
        if mark.keeps_records and self._allowed == mark.max_records:
            limit = f"max_records={mark.max_records}"
        elif self._allowed == total - 1:
            limit = "not all of ten or more"
        else:
            limit = f"max_share={mark.max_share:g}"
        msg = (
            f"{len(self.bad)} of the partition's {total} records make a step raise, more "
            f"than onError lets pass ({limit}): it looks like the program's fault, not the "
            f"records'. The last one raised {failures.name_of(type(error))}: "
            f"{failures.message_of(error)}"
        )
        return TooManyBadRecordsError(
            msg,
            hint="correct the step, or what feeds the stream; or let more pass, by "
            "max_share in onError",
        )
