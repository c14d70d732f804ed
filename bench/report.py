"""Writes the tables of docs/performance.md from what whole runs have measured.

python bench/report.py RESULTS.json

A run of all the columnar benchmarks on the whole input, five rounds each, writes theirs by
itself; one of all the benchmarks of worker processes and Ray, three rounds each, those.
Anything less doesn't: small inputs don't show a steady state.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import peers
import polars as pl

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
END = "<!-- end -->"
WHOLE_MB = 1000


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: which benchmarks are in it, and how often they run at least."""

    begin: str
    prefixes: tuple[str, ...]
    runs: int

    def has(self, name: str) -> bool:
        return name.startswith(self.prefixes)


COLUMNS = Section("<!-- made by bench/report.py -->\n", ("columns.",), 5)
WORKERS = Section(
    "<!-- made by bench/report.py: workers -->\n", ("processes.", "ray."), 3
)


def missing(told: dict[str, Any], section: Section) -> list[str]:
    """Return why these results aren't fit for a section; nothing when they are."""
    why = []
    if told["mb"] != WHOLE_MB:
        why.append(f"the input is {told['mb']} MB, not {WHOLE_MB}")
    from run import all_benchmarks

    results = {each["name"]: each for each in told["results"]}
    for name in all_benchmarks():
        if not section.has(name):
            continue
        if name not in results:
            why.append(f"{name} didn't run")
        elif "failed" in results[name]:
            why.append(f"{name} failed: {results[name]['failed']}")
        elif len(results[name]["numbers"]) < section.runs:
            times = len(results[name]["numbers"])
            why.append(f"{name} ran {times} times, not {section.runs}")
    if told["machine"]["commit"].endswith("-dirty"):
        why.append("the working tree isn't what a commit has")
    return why


def write_if_whole(told: dict[str, Any]) -> None:
    for section in (COLUMNS, WORKERS):
        if any(section.has(each["name"]) for each in told["results"]):
            _write_section(told, section)


def _write_section(told: dict[str, Any], section: Section) -> None:
    if why := missing(told, section):
        print(f"docs/performance.md stays as it is: {why[0]}")
        if len(why) > 1:
            print(f"    and {len(why) - 1} more reasons")
        return
    page = PAGE.read_text("utf-8")
    before, rest = page.split(section.begin, 1)
    after = rest.split(END, 1)[1]
    made = "\n".join(tables(told, section))
    PAGE.write_text(before + section.begin + made + "\n" + END + after, "utf-8")
    print("docs/performance.md has these numbers now")


def tables(told: dict[str, Any], section: Section) -> list[str]:
    """Return what goes between the markers."""
    rows = [_limit_row(r) for r in told["results"] if section.has(r["name"])]
    return [
        *_machine(told["machine"]),
        "",
        "| what | measured | spread | limit | |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *(_contests(told) if section is COLUMNS else _repeats(told)),
    ]


def _contests(told: dict[str, Any]) -> list[str]:
    return [
        "| case | contender | M lines/s | CPU-s a million lines | start, s | peak, MiB |",
        "|---|---|---|---|---|---|",
        *_rows(told["contests"], _contender_row),
    ]


def _repeats(told: dict[str, Any]) -> list[str]:
    return [
        "| case | contender | ms | CPU-ms | start, s | peak, MiB |",
        "|---|---|---|---|---|---|",
        *_rows(told["repeats"], _repeat_row),
    ]


def versions() -> list[str]:
    """Return what is measured with what."""
    return [f"Polars {pl.__version__}", *_peers()]


def _machine(facts: dict[str, str]) -> list[str]:
    used = [f"Python {facts['python']}", *versions()]
    hardware = f"{facts['processor']}, {facts['cores']} cores, load {facts['load']}"
    software = f"{facts['system']}; {', '.join(used)}; commit {facts['commit']}"
    return [f"{hardware} at the start; {software}."]


def _peers() -> list[str]:
    lines = peers.REQUIREMENTS.read_text("utf-8").splitlines()
    pins = [line.replace("==", " ") for line in lines if "==" in line]
    if (java := peers.java_home()) is not None:
        command = [str(java / "bin" / "java"), "-version"]
        said = subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stderr
        pins.append("Java " + said.split('"')[1] if '"' in said else "Java")
    return pins


def _limit_row(result: dict[str, Any]) -> str:
    value, limit = result["median"], result["limit"]
    spread = f"{min(result['numbers']):.3g} to {max(result['numbers']):.3g}"
    measured = f"| {result['what']} | {value:.3g} {result['unit']} | {spread} |"
    if limit is None:
        return f"{measured} | |"
    is_within = value >= limit if result["is_least"] else value <= limit
    bound = f"{'at least' if result['is_least'] else 'at most'} {limit:g}"
    return f"{measured} {bound} | {'ok' if is_within else '**missed**'} |"


def _rows(
    contests: dict[str, dict[str, Any]],
    row: Callable[[str, str, list[dict[str, Any]]], str],
) -> list[str]:
    """Return a row for each contender of each case, over its rounds."""
    scores: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, contest in contests.items():
        for contender, each in contest.items():
            scores.setdefault((name.rsplit("-", 1)[0], contender), []).append(each)
    return [row(*key, each) for key, each in scores.items()]


def _repeat_row(case: str, contender: str, rounds: list[dict[str, Any]]) -> str:
    wall, cpu, start, peak = (
        median(each[what] for each in rounds)
        for what in ("wall_s", "cpu_s", "start_s", "peak_mib")
    )
    return (
        f"| {case} | {contender} | {_short(wall * 1e3)} | {_short(cpu * 1e3)} "
        f"| {start:.1f} | {peak:.0f} |"
    )


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _contender_row(case: str, contender: str, rounds: list[dict[str, Any]]) -> str:
    speed = median(each["lines"] / each["wall_s"] for each in rounds) / 1e6
    cpu = median(each["cpu_s"] / each["lines"] for each in rounds) * 1e6
    start = median(each["start_s"] for each in rounds)
    peak = median(each["peak_mib"] for each in rounds)
    return (
        f"| {case} | {contender} | {speed:.3g} | {cpu:.3g} | {start:.1f} | {peak:.0f} |"
    )


if __name__ == "__main__":
    write_if_whole(json.loads(Path(sys.argv[1]).read_text("utf-8")))
