"""Contests: the same work on the same input by several contenders, each in its own process.

A contest is run in rounds; a round runs every contender once, one after the other, so
that a slow minute of the machine hits all of them. Rounds are kept in a directory for as
long as one `bench/run.py` runs: several benchmarks read their numbers from the same round.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import peers
from data import Input, cache_dir, input_of
from trees import Mark, Program, each_mark

import millstream

PROGRAMS = Path(__file__).parent / "contenders"
# The very package that the benchmarks import: a copy beside this file may be another.
_SOURCE = Path(millstream.__file__).parent.parent
_AHEAD = 3
"""So many files are there before they are needed, so that no batch waits for one."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one contender took, from the end of its warm-up to its last batch's end.

    Attributes:
        lines: How many lines that were.
        wall_s: The seconds.
        cpu_s: CPU seconds of the whole tree of processes.
        start_s: Seconds from the program's start until it was ready for work.
        peak_mib: Peak memory of the tree.
        values: What each batch computed.
    """

    lines: int
    wall_s: float
    cpu_s: float
    start_s: float
    peak_mib: float
    values: list[Any]

    @property
    def cpu_each(self) -> float:
        """CPU seconds for a million lines."""
        return self.cpu_s / self.lines * 1e6

    @property
    def wall_each(self) -> float:
        """Seconds for a million lines."""
        return self.wall_s / self.lines * 1e6


Contest = dict[str, Callable[[Input], Score]]
"""How to run each contender, by name."""


def score(marks: list[Mark], lines: tuple[int, ...]) -> Score:
    """Return the score of a program that marked each batch after its start.

    A quarter of the batches, at least one, warms up and isn't counted: a JVM compiles for
    many seconds, and to count those would flatter us. A program without batches is
    counted from when it is ready for work.
    """
    started, *batches = marks
    warm = max(1, len(batches) // 4) if len(batches) > 1 else 0
    begin = batches[warm - 1] if warm else started
    counted = sum(lines[warm:])
    last = batches[-1]
    return Score(
        counted,
        last.wall_s - begin.wall_s,
        last.cpu_s - begin.cpu_s,
        started.wall_s,
        last.peak_mib,
        [each.value for each in batches],
    )


# The programs.


def ours(program: str, *args: str, columnar: str = "on") -> list[str]:
    """Return the command that runs a PySpark program on Millstream, unmodified."""
    # The row path as a loop in one process: what processes bring is another benchmark.
    conf = ["--conf", f"spark.millstream.columnar={columnar}"]
    conf += ["--conf", "spark.millstream.processes=off"]
    path = str(PROGRAMS / program)
    return [sys.executable, "-m", "millstream", "run", *conf, path, *args]


def ours_env() -> dict[str, str]:
    return {"PYTHONPATH": str(_SOURCE)}


def peer(program: str, *args: str) -> list[str]:
    python = peers.python()
    assert python is not None, "run `make bench-peers` first"
    return [str(python), str(PROGRAMS / program), *args]


def peer_env(batch_bytes: int) -> dict[str, str]:
    """Return what Spark needs: Java, its own Python, two splits a file."""
    env = {
        "PYTHONPATH": "",
        "PATHWAY_THREADS": "2",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": "--driver-memory 4g --conf spark.ui.enabled=false "
        "--conf spark.ui.showConsoleProgress=false --conf "
        "spark.hadoop.mapreduce.input.fileinputformat.split.maxsize="
        f"{batch_bytes * 51 // 100} pyspark-shell",
    }
    java = peers.java_home()
    return env | ({"JAVA_HOME": str(java)} if java else {})


def of_files(
    command: Callable[[list[str]], list[str]],
    env: Callable[[int], dict[str, str]],
    files_max: int | None = None,
) -> Callable[[Input], Score]:
    """Run a program that takes its files as arguments; a slow one gets only some."""

    def run(data: Input) -> Score:
        some = data.first(files_max or len(data.files))
        batch_bytes = some.size // len(some.files)
        marks = each_mark(command([str(f) for f in some.files]), env(batch_bytes))
        return score(marks, some.lines)

    return run


def of_one_directory(
    command: Callable[[str], list[str]],
    env: Callable[[int], dict[str, str]],
    files_max: int | None = None,
) -> Callable[[Input], Score]:
    """Run a program on a directory in which all files are from the start."""

    def run(data: Input) -> Score:
        some = data.first(files_max or len(data.files))
        with watched() as directory:
            for age, file in enumerate(reversed(some.files)):
                _place(file, directory, age)  # Spark reads the oldest first.
            batch_bytes = some.size // len(some.files)
            marks = each_mark(command(str(directory)), env(batch_bytes))
        return score(marks, some.lines)

    return run


def of_watched(
    command: Callable[[str, str, str], list[str]],
    env: Callable[[int], dict[str, str]],
    interval_s: float,
    files_max: int | None = None,
) -> Callable[[Input], Score]:
    """Run a stream on a directory in which files appear, one a batch.

    There are always files for the next batches, so a busy engine never waits.
    """

    def run(data: Input) -> Score:
        some = data.first(files_max or len(data.files))
        batch_bytes = some.size // len(some.files)
        with watched() as directory:
            feeder = _Feeder(some.files, directory, interval_s)
            words = (str(directory), str(interval_s), str(len(some.files)))
            try:
                marks = each_mark(command(*words), env(batch_bytes), feeder.see)
            finally:
                feeder.stop()
        assert len(marks) == len(some.files) + 1, "two files came in one batch"
        return score(marks, some.lines)

    return run


@contextmanager
def watched() -> Iterator[Path]:
    """Give a directory on the disk that has the input, so that files can be linked."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as directory:
        yield Path(directory)


def _place(file: Path, directory: Path, age_s: float = 0) -> None:
    """Let a file appear as new: under a name that isn't read first, then its own."""
    hidden = directory / f".{file.name}"
    os.link(file, hidden)
    modified = time.time() - age_s
    os.utime(hidden, (modified, modified))
    hidden.rename(directory / file.name)


class _Feeder:
    """Lets files appear, never two in one interval, and not too many ahead."""

    def __init__(
        self, files: tuple[Path, ...], directory: Path, interval_s: float
    ) -> None:
        self._files = files
        self._directory = directory
        # A batch takes files by when they were changed, so an interval apart is enough; an
        # engine that needs less than this for a file would wait for the next one.
        self._gap_s = 1.2 * interval_s
        self._done = 0
        self._more = Event()
        self._stopped = Event()
        self._thread = Thread(target=self._feed, daemon=True)

    def see(self, mark: Mark, _: Program) -> None:
        if mark.name == "started":
            self._thread.start()
        else:
            self._done += 1
            self._more.set()

    def stop(self) -> None:
        self._stopped.set()
        self._more.set()

    def _feed(self) -> None:
        for number, file in enumerate(self._files):
            while number >= self._done + _AHEAD and not self._stopped.is_set():
                self._more.wait()
                self._more.clear()
            if self._stopped.wait(self._gap_s):
                return
            _place(file, self._directory)


# The rounds.


def round_of(name: str, contest: Contest, data: Input, number: int) -> dict[str, Score]:
    """Return the scores of a round, running it if it hasn't been.

    A contender that fails is left out, and why is said on the error output.
    """
    kept = rounds_dir() / f"{name}-{number}.json"
    if not kept.exists():
        scores = {}
        for contender, run in contest.items():
            try:
                scores[contender] = asdict(run(data))
            except (RuntimeError, AssertionError, ValueError, IndexError) as error:
                print(f"{name}: {contender} left out: {error}", file=sys.stderr)
        kept.write_text(json.dumps(scores, indent=1), "utf-8")
    told = json.loads(kept.read_text("utf-8"))
    scored = {contender: Score(**each) for contender, each in told.items()}
    _check_agreement(name, scored)
    return scored


def _check_agreement(name: str, scores: dict[str, Score]) -> None:
    """See that all computed the same, as far as they went, but for floats' last digits."""
    told = [each.values for each in scores.values() if len(each.values) > 1]
    for batch in zip(*told, strict=False):
        off = max(batch) - min(batch)
        assert off <= 1e-6 * abs(max(batch)), f"{name}: contenders differ: {batch}"


@cache
def _own_rounds() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="rounds-")


def rounds_dir() -> Path:
    return Path(os.environ.get("MILLSTREAM_BENCH_ROUNDS") or _own_rounds().name)


class Rounds:
    """A contest's rounds, one for each time that it is asked."""

    def __init__(self, name: str, contest: Callable[[], Contest], kind: str) -> None:
        self._name = name
        self._contest = contest
        self._kind = kind
        self._asked: dict[str, int] = {}

    def next(self, asking: str) -> dict[str, Score]:
        """Return the scores of the next round that `asking` hasn't seen."""
        number = self._asked[asking] = self._asked.get(asking, -1) + 1
        return round_of(self._name, self._contest(), input_of(self._kind), number)
