"""Repeats: one job run many times by several contenders, each in a process of its own.

As in `contests.py`, a round runs every contender once, one after the other, and is kept
for as long as one `bench/run.py` runs.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import contests
from measuring import Benchmark
from trees import Mark, each_mark

OURS = "millstream"
"""Names of contenders that are ours begin so: one that fails fails the benchmark."""


@dataclass(frozen=True, slots=True)
class Took:
    """What one time took.

    Attributes:
        wall_s: The seconds, as the program took them: the median.
        cpu_s: CPU seconds of the whole tree of processes, on average.
        start_s: Seconds from the program's start until it was ready for work.
        peak_mib: Peak memory of the tree.
        result: What was computed.
    """

    wall_s: float
    cpu_s: float
    start_s: float
    peak_mib: float
    result: Any


@dataclass(frozen=True, slots=True)
class Program:
    """How a contender is run."""

    command: list[str]
    env: dict[str, str]


Contest = dict[str, Callable[[], Program]]
"""The contenders by name."""


def took(marks: list[Mark]) -> Took:
    """Return what a program's marks say: started, warm, done."""
    started, warm, done = marks
    seconds = done.value["seconds"]
    return Took(
        median(seconds),
        (done.cpu_s - warm.cpu_s) / len(seconds),
        started.wall_s,
        done.peak_mib,
        done.value["result"],
    )


# The contenders.


def ours(program: str, *args: object, **conf: str) -> Callable[[], Program]:
    """Run a PySpark program on Millstream; `conf` is what follows spark.millstream."""
    command = [sys.executable, "-m", "millstream", "run"]
    for key, value in conf.items():
        command += ["--conf", f"spark.millstream.{key}={value}"]
    command += ["--conf", "spark.executor.instances=2"]  # What Ray asks.
    command += [str(contests.PROGRAMS / program), *map(str, args)]
    return lambda: Program(command, contests.ours_env())


def peer(program: str, *args: object) -> Callable[[], Program]:
    """Run a program in the environment of the other engines."""
    return lambda: Program(
        contests.peer(program, *map(str, args)), contests.peer_env(2**30)
    )


# The rounds.


def round_of(name: str, contest: Contest, number: int) -> dict[str, Took]:
    """Return what each contender took in a round, running it if it hasn't been.

    A peer that fails is left out, and why is said on the error output.
    """
    kept = rounds_dir() / f"{name}-{number}.json"
    if not kept.exists():
        taken = {}
        for contender, program_of in contest.items():
            try:
                program = program_of()
                taken[contender] = asdict(took(each_mark(program.command, program.env)))
            except (RuntimeError, AssertionError, ValueError) as error:
                if contender.startswith(OURS):
                    raise
                print(f"{name}: {contender} left out: {error}", file=sys.stderr)
        results = {contender: each["result"] for contender, each in taken.items()}
        differ = len({json.dumps(each) for each in results.values()}) > 1
        assert not differ, f"{name}: contenders differ: {results}"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(taken, indent=1), "utf-8")
    told = json.loads(kept.read_text("utf-8"))
    return {contender: Took(**each) for contender, each in told.items()}


def rounds_dir() -> Path:
    return contests.rounds_dir() / "repeats"


def kept_rounds(directory: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rounds that were run, by name and number."""
    return {
        file.stem: json.loads(file.read_text("utf-8"))
        for file in sorted((directory / "repeats").glob("*.json"))
    }


@dataclass(slots=True)
class Rounds:
    """A contest's rounds, one for each time that a benchmark asks."""

    name: str
    contest: Callable[[], Contest]
    _seen: dict[str, list[dict[str, Took]]] = field(default_factory=dict)

    def next(self, benchmark: Benchmark) -> dict[str, Took]:
        """Return the next round that the benchmark hasn't seen, and note all of them."""
        seen = self._seen.setdefault(benchmark.name, [])
        seen.append(round_of(self.name, self.contest(), len(seen)))
        for contender in seen[-1]:
            every = [each[contender] for each in seen if contender in each]
            benchmark.notes[contender] = (
                f"{median(each.wall_s for each in every) * 1000:.4g} ms, "
                f"{median(each.cpu_s for each in every) * 1000:.4g} CPU-ms"
            )
        return seen[-1]


def wall(each: Took) -> float:
    return each.wall_s


def cpu(each: Took) -> float:
    return each.cpu_s


def least(
    taken: dict[str, Took], contenders: tuple[str, ...], what: Callable[[Took], float]
) -> float:
    """Return the least that any of the contenders took; at least one must be there."""
    found = [what(taken[each]) for each in contenders if each in taken]
    assert found, f"none of {contenders} ran (see above, or `make bench-peers`)"
    return min(found)
