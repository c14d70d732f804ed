"""Worker processes beside PySpark, and state in them beside state in this process."""

import importlib.util
from collections.abc import Callable

import bench_shuffle
from bench_processes import text_file
from data import size_mb
from measuring import Benchmark
from repeats import Contest, Program, Rounds, Took, cpu, least, ours, peer, wall

_HAS_RAY = importlib.util.find_spec("ray") is not None
_PYSPARK = "pyspark, local[2]"
_HERE = "millstream, local[2], threads"
_PROCESSES = "millstream, local[2], processes"
_ALONE = "millstream, local"
_CASE = Callable[..., Callable[[], Program]]


def _keys() -> int:
    """Return a million, or fewer on small inputs."""
    return min(1_000_000, size_mb() * 1000)


def _everywhere(case: str, warm: int, repeats: int) -> Contest:
    """Return those who run small jobs: threads, processes, Ray, PySpark."""

    def mine(master: str, processes: str) -> Callable[[], Program]:
        args = (case, master, warm, repeats)
        return ours("jobs.py", *args, processes=processes, columnar="off")

    return {
        _HERE: mine("local[2]", "off"),
        _PROCESSES: mine("local[2]", "always"),
        **({"millstream, ray": mine("ray", "always")} if _HAS_RAY else {}),
        _PYSPARK: peer("jobs.py", case, "local[2]", warm, repeats),
    }


def _words() -> Contest:
    def mine(master: str) -> Callable[[], Program]:
        args = ("words", master, 1, 3, text_file())
        return ours("jobs.py", *args, columnar="off")

    return {
        _ALONE: mine("local"),
        _PROCESSES: mine("local[2]"),
        "pyspark, local": peer("jobs.py", "words", "local", 1, 2, text_file()),
        _PYSPARK: peer("jobs.py", "words", "local[2]", 1, 2, text_file()),
    }


def _state(case: str, columnar: str) -> Contest:
    def mine(processes: str) -> Callable[[], Program]:
        args = (case, "local[2]", _keys(), 5, 20)
        return ours("running_state.py", *args, processes=processes, columnar=columnar)

    theirs = peer("running_state.py", case, "local[2]", _keys(), 1, 4)
    return {
        _HERE: mine("off"),
        _PROCESSES: mine("always"),
        # It has no mapWithState, and no columns.
        **({_PYSPARK: theirs} if case == "updated" and columnar == "off" else {}),
    }


_no_op = Rounds("no-op", lambda: _everywhere("no_op", 10, 30))
_paced = Rounds("paced", lambda: _everywhere("paced", 20, 50))
_idle = Rounds("idle", lambda: _everywhere("idle", 0, 1))
_by_words = Rounds("words-by-rows", _words)
_by_columns = Rounds("state-columns", lambda: _state("updated", "on"))
_by_rows = Rounds("state-rows", lambda: _state("updated", "off"))
_mapped = Rounds("state-map", lambda: _state("mapped", "on"))


def _idle_cpu(each: Took) -> float:
    return max(each.cpu_s, 0.01)  # A tick of the clock, where there was none.


def _beside(
    name: str, what: str, rounds: Rounds, how: Callable[[Took], float]
) -> Benchmark:
    """Return a benchmark of PySpark / ours in processes, which has no limit."""

    def ratio() -> float:
        taken = rounds.next(benchmark)
        return least(taken, (_PYSPARK,), how) / how(taken[_PROCESSES])

    benchmark = Benchmark(name, what, "x", None, ratio, runs=3)
    return benchmark


def _resident(name: str, what: str, rounds: Rounds) -> Benchmark:
    """Return a benchmark of batches with state in processes / with state here."""

    def ratio() -> float:
        taken = rounds.next(benchmark)
        return wall(taken[_PROCESSES]) / wall(taken[_HERE])

    benchmark = Benchmark(
        name,
        f"{what}, a batch with 1M keys: time in worker processes / in this process",
        "x",
        1.2,
        ratio,
        runs=3,
    )
    return benchmark


_VERSUS = "PySpark's {} in local[2] / ours in two worker processes"

BENCHMARKS = [
    _resident("processes.state.columns", "updateStateByKey by columns", _by_columns),
    _resident("processes.state.rows", "updateStateByKey by rows", _by_rows),
    _resident("processes.state.map", "mapWithState, 10,000 keys touched", _mapped),
    _beside(
        "processes.beside.words",
        "word count by rows over 1M lines: " + _VERSUS.format("time"),
        _by_words,
        wall,
    ),
    _beside(
        "processes.beside.no_op",
        "a stage of 64 tasks that do nothing: " + _VERSUS.format("time"),
        _no_op,
        wall,
    ),
    _beside(
        "processes.beside.shuffle",
        "8x8 shuffle of 10 MB: " + _VERSUS.format("time"),
        bench_shuffle.rounds,
        wall,
    ),
    _beside(
        "processes.beside.state",
        "updateStateByKey by rows, 1M keys: " + _VERSUS.format("time"),
        _by_rows,
        wall,
    ),
    _beside(
        "processes.beside.paced",
        "a job of 4 and 4 tasks each 100 ms: " + _VERSUS.format("CPU"),
        _paced,
        cpu,
    ),
    _beside(
        "processes.beside.idle",
        "an idle context: " + _VERSUS.format("CPU"),
        _idle,
        _idle_cpu,
    ),
]
