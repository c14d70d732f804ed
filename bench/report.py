"""Writes the table of docs/performance.md from what a whole run has measured.

python bench/report.py RESULTS.json

A run of all the columnar benchmarks on the whole input, five rounds each, writes it by
itself. Anything less doesn't: small inputs don't show a steady state.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import peers
import polars as pl

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- made by bench/report.py -->\n", "<!-- end -->"
WHOLE_MB = 1000
RUNS = 5


def missing(told: dict[str, Any]) -> list[str]:
    """Return why these results aren't fit for the page; nothing when they are."""
    why = []
    if told["mb"] != WHOLE_MB:
        why.append(f"the input is {told['mb']} MB, not {WHOLE_MB}")
    from run import all_benchmarks

    results = {each["name"]: each for each in told["results"]}
    for name in all_benchmarks():
        if not name.startswith("columns."):
            continue
        if name not in results:
            why.append(f"{name} didn't run")
        elif "failed" in results[name]:
            why.append(f"{name} failed: {results[name]['failed']}")
        elif len(results[name]["numbers"]) < RUNS:
            why.append(f"{name} ran {len(results[name]['numbers'])} times, not {RUNS}")
    if told["machine"]["commit"].endswith("-dirty"):
        why.append("the working tree isn't what a commit has")
    return why


def write_if_whole(told: dict[str, Any]) -> None:
    if not any(each["name"].startswith("columns.") for each in told["results"]):
        return
    if why := missing(told):
        print(f"docs/performance.md stays as it is: {why[0]}")
        if len(why) > 1:
            print(f"    and {len(why) - 1} more reasons")
        return
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(
        before + BEGIN + "\n".join(tables(told)) + "\n" + END + after, "utf-8"
    )
    print("docs/performance.md has these numbers now")


def tables(told: dict[str, Any]) -> list[str]:
    """Return what goes between the markers."""
    return [
        *_machine(told["machine"]),
        "",
        "| what | measured | spread | limit | |",
        "|---|---|---|---|---|",
        *(_limit_row(r) for r in told["results"] if r["name"].startswith("columns.")),
        "",
        "| case | contender | M lines/s | CPU-s a million lines | start, s | peak, MiB |",
        "|---|---|---|---|---|---|",
        *_contender_rows(told["contests"]),
    ]


def _machine(facts: dict[str, str]) -> list[str]:
    versions = [f"Python {facts['python']}", f"Polars {pl.__version__}", *_peers()]
    hardware = f"{facts['processor']}, {facts['cores']} cores, load {facts['load']}"
    software = f"{facts['system']}; {', '.join(versions)}; commit {facts['commit']}"
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


def _contender_rows(contests: dict[str, dict[str, Any]]) -> list[str]:
    """Return a row for each contender of each case, over its rounds."""
    scores: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, contest in contests.items():
        for contender, each in contest.items():
            scores.setdefault((name.rsplit("-", 1)[0], contender), []).append(each)
    return [_contender_row(*key, each) for key, each in scores.items()]


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
