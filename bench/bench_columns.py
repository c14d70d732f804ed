"""The columnar path on files, beside Polars, the row path and other engines."""

import sys
from collections.abc import Callable
from statistics import median

import peers
from contests import (
    PROGRAMS,
    Contest,
    Rounds,
    Score,
    of_files,
    of_one_directory,
    of_watched,
    ours,
    ours_env,
    peer,
    peer_env,
)
from measuring import Benchmark

_INTERVAL_S = 0.015
_SPARK_INTERVAL_S = 0.5
_SLOW_FILES = 1
"""How many files the engines get that would take an hour for all."""


def _ours(case: str, columnar: str):
    return of_watched(
        lambda *args: ours("dstreams.py", case, *args, columnar=columnar),
        lambda _: ours_env(),
        _INTERVAL_S,
    )


def _polars(case: str, engine: str):
    program = str(PROGRAMS / "frames.py")
    return of_files(
        lambda files: [sys.executable, program, case, engine, *files], lambda _: {}
    )


def _common(case: str) -> Contest:
    return {
        "millstream": _ours(case, "on"),
        "polars": _polars(case, "streaming"),
        "polars, in memory": _polars(case, "in-memory"),
    }


def _words() -> Contest:
    contest = _common("words") | {"millstream, rows": _ours("words", "off")}
    if peers.python() is None:
        return contest
    if peers.java_home() is not None:
        contest["pyspark, dstreams"] = of_watched(
            lambda *args: peer("dstreams.py", "words", *args),
            peer_env,
            _SPARK_INTERVAL_S,
        )
        contest["pyspark, structured"] = of_one_directory(
            lambda directory: peer("structured.py", directory), peer_env
        )
    return contest | {
        "pysparkling": of_files(
            lambda files: peer("sparkling.py", *files), peer_env, _SLOW_FILES
        ),
        "bytewax": of_files(
            lambda files: peer("bytewax_words.py", *files), peer_env, _SLOW_FILES
        ),
        "pathway": of_one_directory(
            lambda directory: peer("pathway_words.py", directory), peer_env, _SLOW_FILES
        ),
    }


def _csv() -> Contest:
    lists = {
        "polars, lists": _polars("csv_list", "streaming"),
        "polars, lists, in memory": _polars("csv_list", "in-memory"),
    }
    return _common("csv") | lists


_words_rounds = Rounds("words", _words, "text")
_grep_rounds = Rounds("grep", lambda: _common("grep"), "text")
_csv_rounds = Rounds("csv", _csv, "csv")
_json_rounds = Rounds(
    "json",
    lambda: {
        "millstream": _ours("json", "on"),
        "millstream, rows": _ours("json", "off"),
    },
    "json",
)


def throughput(scores: dict[str, Score], other: str) -> float:
    """Return how much quicker Millstream was than the quickest `other...`, by wall time."""
    return _best(scores, other, lambda each: each.wall_s / each.lines) / (
        scores["millstream"].wall_s / scores["millstream"].lines
    )


def cpu_saved(scores: dict[str, Score], other: str) -> float:
    """Return how many times Millstream's CPU the thriftiest `other...` took."""
    return _best(scores, other, lambda each: each.cpu_s / each.lines) / (
        scores["millstream"].cpu_s / scores["millstream"].lines
    )


def _best(
    scores: dict[str, Score], other: str, what: Callable[[Score], float]
) -> float:
    found = [what(each) for name, each in scores.items() if name.startswith(other)]
    assert found, f"{other} didn't run (`make bench-peers` brings it; Spark needs Java)"
    return min(found)


_Compare = Callable[[dict[str, Score], str], float]


def _ratio(
    name: str, what: str, least: float, rounds: Rounds, other: str, compare: _Compare
) -> Benchmark:
    seen: dict[str, list[Score]] = {}
    both: dict[str, list[float]] = {"by wall time": [], "by CPU": []}

    def measure() -> float:
        scores = rounds.next(name)
        for contender, each in scores.items():
            if contender == "millstream" or contender.startswith(other):
                seen.setdefault(contender, []).append(each)
                benchmark.notes[contender] = _told(seen[contender])
        # On a shared machine the two can say opposite things: neither is shown alone.
        both["by wall time"].append(throughput(scores, other))
        both["by CPU"].append(cpu_saved(scores, other))
        benchmark.notes["ratio"] = ", ".join(
            f"{median(ratios):.3g} {how}" for how, ratios in both.items()
        )
        return compare(scores, other)

    benchmark = Benchmark(name, what, "x", least, measure, is_least=True)
    return benchmark


def _told(scores: list[Score]) -> str:
    wall = median(each.wall_each for each in scores)
    cpu = median(each.cpu_each for each in scores)
    start = median(each.start_s for each in scores)
    peak = median(each.peak_mib for each in scores)
    return (
        f"{1 / wall:.3f} M lines/s; {cpu:.3f} CPU-s a million lines; "
        f"start {start:.1f} s; peak {peak:.0f} MiB"
    )


BENCHMARKS = [
    _ratio(
        "columns.words.polars",
        "word count of files: throughput / a hand-written Polars program's",
        0.8,
        _words_rounds,
        "polars",
        throughput,
    ),
    _ratio(
        "columns.words.rows",
        "word count of files: throughput / the row path's",
        5,
        _words_rounds,
        "millstream, rows",
        throughput,
    ),
    _ratio(
        "columns.words.pyspark",
        "word count of files: throughput / PySpark's (DStreams, local[2], steady)",
        12,
        _words_rounds,
        "pyspark, dstreams",
        throughput,
    ),
    _ratio(
        "columns.words.pyspark_cpu",
        "word count of files: PySpark's CPU (DStreams, local[2], steady) / ours",
        12,
        _words_rounds,
        "pyspark, dstreams",
        cpu_saved,
    ),
    _ratio(
        "columns.words.structured_cpu",
        "word count of files: Structured Streaming's CPU / ours",
        2,
        _words_rounds,
        "pyspark, structured",
        cpu_saved,
    ),
    _ratio(
        "columns.grep.polars",
        "lines with a word, counted: throughput / Polars'",
        0.8,
        _grep_rounds,
        "polars",
        throughput,
    ),
    _ratio(
        "columns.csv.polars",
        "fields split, read, filtered, summed by key: throughput / Polars'",
        0.7,
        _csv_rounds,
        "polars",
        throughput,
    ),
    _ratio(
        "columns.json.rows",
        "a field of JSON lines summed: throughput / the row path's",
        3,
        _json_rounds,
        "millstream, rows",
        throughput,
    ),
]
