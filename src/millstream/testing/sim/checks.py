"""Checks: what must be true of everything a simulated stream has written.

- An acknowledged record is in exactly one batch; one that wasn't, in one at most. So is
  every line of a file.
- A batch that runs again has the same records again.
- What a sink has is what the batches had, each record once.
- In one life of the process batches are written in order, unless several jobs run at a
  time; over all lives none is missing.
- States and windows are what a plain fold over the batches gives.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from millstream.testing.sim.program import (
    FORGOTTEN_AT,
    IDLE_BATCHES,
    INITIAL,
    WINDOWS,
    Program,
)
from millstream.testing.sim.sinks import unkept
from millstream.testing.sim.world import OutputRun, Record, World

Batches = Mapping[int, tuple[Record, ...]]


class BrokenPromiseError(AssertionError):
    """Something that Millstream promises isn't so."""


def check(program: Program, world: World) -> None:
    """Check everything, after a calm end.

    Raises:
        BrokenPromiseError: Says what is wrong, and where.
    """
    by_output: dict[str, list[OutputRun]] = defaultdict(list)
    for run in world.outputs:
        by_output[run.output].append(run)
    if program.concurrent_jobs == 1:
        _check_order(by_output)
    grid = _grid(program, [run.time_ms for run in world.outputs])
    batches: dict[int, tuple[Record, ...]] = dict.fromkeys(grid, ())
    for source in program.sources:
        found = _batches_of(source, by_output[source], grid)
        _check_receipt(source, program, world, found)
        if program.has_sinks:
            _check_sink(source, world, found)
        for time_ms, rows in found.items():
            batches[time_ms] += rows
    for operation in program.operations:
        expected = expected_of(operation, program, batches)
        _check_results(operation, by_output[operation], expected)


def _grid(program: Program, times_ms: list[int]) -> range:
    if not times_ms:
        msg = "nothing was ever written"
        raise BrokenPromiseError(msg)
    step = program.batch_ms
    off = [time for time in times_ms if (time - times_ms[0]) % step]
    if off:
        msg = f"batches {off} aren't on the grid of {times_ms[0]}"
        raise BrokenPromiseError(msg)
    return range(min(times_ms), max(times_ms) + step, step)


def _check_order(by_output: Mapping[str, list[OutputRun]]) -> None:
    for name, runs in by_output.items():
        for before, after in pairwise(runs):
            if before.life == after.life and before.time_ms >= after.time_ms:
                msg = (
                    f"output {name} wrote batch {after.time_ms} after {before.time_ms} "
                    f"in life {after.life}"
                )
                raise BrokenPromiseError(msg)


def _batches_of(source: str, runs: Iterable[OutputRun], grid: range) -> Batches:
    found: dict[int, tuple[Record, ...]] = {}
    for run in runs:
        rows = tuple(row for row in run.rows if isinstance(row, Record))
        known = found.setdefault(run.time_ms, rows)
        if known != rows:
            msg = (
                f"batch {run.time_ms} of {source} had other records when it ran again: "
                f"{known} and then {rows}"
            )
            raise BrokenPromiseError(msg)
    missing = [time for time in grid if time not in found]
    if missing:
        msg = f"batches {missing} of {source} never ran"
        raise BrokenPromiseError(msg)
    return found


def _check_receipt(source: str, program: Program, world: World, found: Batches) -> None:
    counts = Counter(row for rows in found.values() for row in rows)
    twice = [row for row, count in counts.items() if count > 1]
    if twice:
        where = [t for t, rows in found.items() if twice[0] in rows]
        msg = f"{twice[0]} of {source} is in {counts[twice[0]]} batches: {where}"
        raise BrokenPromiseError(msg)
    if source == "files":
        sent = {_line(line) for line in world.lines_put}
        promised = sent
    elif source == "direct":
        sent = {Record(number % 4, number, 0) for number in range(world.numbers)}
        promised = sent
    else:
        sent = world.sender.sent
        # Who stores one by one and doesn't wait may lose what wasn't in a block yet.
        promised = world.sender.acknowledged if program.receiver != "single" else set()
    invented = set(counts) - sent
    if invented:
        msg = f"{min(invented)} of {source} was never sent"
        raise BrokenPromiseError(msg)
    lost = promised - set(counts)
    if lost:
        msg = f"{len(lost)} promised records of {source} are lost, first {min(lost)}"
        raise BrokenPromiseError(msg)


def _check_sink(source: str, world: World, found: Batches) -> None:
    shelf = world.shelves.get(f"simulation.{source}")
    records = {row for rows in found.values() for row in rows}
    wrong = unkept(source, shelf, records)
    if wrong is not None:
        raise BrokenPromiseError(wrong)


def _line(line: str) -> Record:
    key, number = line.split(",")
    return Record(int(key), int(number), 0)


def _check_results(
    operation: str,
    runs: Iterable[OutputRun],
    expected: Mapping[int, list[tuple[int, int]]],
) -> None:
    ran = set()
    for run in runs:
        ran.add(run.time_ms)
        wanted = tuple(sorted(expected.get(run.time_ms, [])))
        if run.rows != wanted:
            msg = (
                f"{operation} of batch {run.time_ms}, life {run.life}, is {run.rows}, "
                f"and a plain fold gives {wanted}"
            )
            raise BrokenPromiseError(msg)
    missing = sorted(set(expected) - ran)
    if missing:
        msg = f"{operation} of batches {missing} was never written"
        raise BrokenPromiseError(msg)


def expected_of(
    operation: str, program: Program, batches: Batches
) -> dict[int, list[tuple[int, int]]]:
    """Return what an operation must give in each of its batches, by a plain fold."""
    counts = {
        time: Counter(record.key for record in rows) for time, rows in batches.items()
    }
    if operation in WINDOWS:
        return _windows(operation, counts)
    if operation == "counts":
        return {time: list(each.items()) for time, each in counts.items()}
    fold = _FOLDS[operation]
    state: dict[int, int] = dict(INITIAL) if operation == "initial" else {}
    seen: dict[int, int] = {}
    results = {}
    for time, each in counts.items():
        results[time] = fold(state, each, seen, time, program)
    return results


def _windows(
    operation: str, counts: Mapping[int, Counter[int]]
) -> dict[int, list[tuple[int, int]]]:
    window, slide = WINDOWS[operation]
    times = list(counts)
    results = {}
    for index, time in enumerate(times):
        if (index + 1) % slide:
            continue
        total: Counter[int] = Counter()
        for each in times[max(0, index + 1 - window) : index + 1]:
            total += counts[each]
        results[time] = list(total.items())
    return results


_Fold = Callable[
    [dict[int, int], Counter[int], dict[int, int], int, Program],
    list[tuple[int, int]],
]


def _update(
    state: dict[int, int], new: Counter[int], _s: object, _t: int, _p: object
) -> list[tuple[int, int]]:
    for key, count in new.items():
        state[key] = state.get(key, 0) + count
    return list(state.items())


def _forgetting(
    state: dict[int, int], new: Counter[int], _s: object, _t: int, _p: object
) -> list[tuple[int, int]]:
    for key in {*state, *new}:
        total = state.get(key, 0) + new[key]
        if total >= FORGOTTEN_AT:
            state.pop(key, None)
        else:
            state[key] = total
    return list(state.items())


def _mapped(
    state: dict[int, int], new: Counter[int], _s: object, _t: int, _p: object
) -> list[tuple[int, int]]:
    emitted = []
    for key, count in new.items():
        old = state.get(key, 0)
        state[key] = old + count
        emitted += [(key, old + each) for each in range(1, count + 1)]
    return emitted


def _idle(
    state: dict[int, int],
    new: Counter[int],
    seen: dict[int, int],
    time: int,
    program: Program,
) -> list[tuple[int, int]]:
    emitted = _mapped(state, new, seen, time, program)
    seen.update(dict.fromkeys(new, time))
    for key in [k for k in state if seen[k] < time - IDLE_BATCHES * program.batch_ms]:
        emitted.append((key, -state.pop(key)))
    return emitted


_FOLDS: dict[str, _Fold] = {
    "update": _update,
    "initial": _update,
    "forgetting": _forgetting,
    "mapped": _mapped,
    "snapshots": lambda *given: (_mapped(*given), list(given[0].items()))[1],
    "idle": _idle,
}
