"""Runs the benchmarks, each in a process of its own, and prints a table.

python bench/run.py                 all of them
python bench/run.py rows start      those whose names begin so
python bench/run.py --list          what there is
python bench/run.py --strict        exit with 1 when one is over its limit
python bench/run.py --mb 100 col    the columnar ones on 100 MB of input, not 1 GB
python bench/run.py scaling         what limits on many machines: never with others
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import repeats
import report
import scaling
from data import size_mb
from measuring import Benchmark

HERE = Path(__file__).parent


def all_benchmarks() -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    for file in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(file.stem)
        found |= {each.name: each for each in module.BENCHMARKS}
    return found


def run_one(benchmark: Benchmark, runs: int) -> None:
    """Measure in this process and print the result as JSON."""
    numbers = [benchmark.measure() for _ in range(runs)]
    print(json.dumps({"numbers": numbers, "notes": benchmark.notes}))


def run_apart(benchmark: Benchmark, runs: int | None) -> dict[str, object]:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--one", benchmark.name]
    command += ["--runs", str(runs or benchmark.runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        sys.stderr.write(done.stderr)  # Which contenders were left out, say.
    else:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"name": benchmark.name, "failed": last}
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "name": benchmark.name,
        "unit": benchmark.unit,
        "limit": benchmark.limit,
        "is_least": benchmark.is_least,
        "what": benchmark.what,
        "median": median(told["numbers"]),
        "numbers": told["numbers"],
        "notes": told["notes"],
    }


def machine() -> dict[str, str]:
    import millstream

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit or "unknown",
        "api": millstream.__version__,
        "versions": ", ".join(report.versions()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def line_of(benchmark: Benchmark, result: dict[str, object]) -> str:
    if "failed" in result:
        return f"{benchmark.name:26} FAILED: {result['failed']}"
    numbers = result["numbers"]
    assert isinstance(numbers, list), "the child prints a list"
    value = float(median(numbers))
    limit = f"{benchmark.limit:g}" if benchmark.limit is not None else "-"
    missed = "  UNDER" if benchmark.is_least else "  OVER"
    verdict = "" if is_within(benchmark, result) else missed
    spread = f"{min(numbers):.3g}..{max(numbers):.3g}" if len(numbers) > 1 else ""
    return (
        f"{benchmark.name:26} {value:8.3f} {benchmark.unit:3} "
        f"{'least' if benchmark.is_least else 'limit'} {limit:>4}{verdict}"
        f"  {spread}"
    )


def show(benchmark: Benchmark, result: dict[str, object]) -> None:
    print(line_of(benchmark, result), flush=True)
    print(f"    {benchmark.what}")
    notes = result.get("notes") or {}
    assert isinstance(notes, dict), "notes have names"
    for key, value in notes.items():
        print(f"    {key}: {value}")


def is_within(benchmark: Benchmark, result: dict[str, object]) -> bool:
    value = result.get("median")
    return isinstance(value, float | int) and benchmark.is_within(value)


@contextmanager
def scratch() -> Iterator[str]:
    """Give a directory for this run, in which its Ray clusters are, too.

    Ray joins a cluster that somebody else has started here, unless it looks elsewhere.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        os.environ["RAY_TMPDIR"] = str(Path(directory) / "ray")
        os.environ.pop("RAY_ADDRESS", None)
        # Lets a cluster bind to loopback, whatever the machine's addresses are.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        yield directory


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="beginnings of names")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--runs", type=int, help="runs each, instead of its own number")
    parser.add_argument("--mb", type=int, help="size of the columnar path's input")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = all_benchmarks()
    if options.one:
        run_one(known[options.one], options.runs or known[options.one].runs)
        return 0
    chosen = [
        each
        for each in known.values()
        if not options.names or each.name.startswith(tuple(options.names))
    ]
    if options.list:
        for each in chosen:
            most = "at least" if each.is_least else "at most"
            limit = "" if each.limit is None else f"{most} {each.limit:g} {each.unit}"
            print(f"{each.name:26} {each.what}; {limit}")
        return 0
    facts = machine()
    for key, value in facts.items():
        print(f"{key:10} {value}")
    print()
    if options.names == ["scaling"]:
        with scratch():
            scaling.show(options.runs or 3)
        return 0
    if options.mb:
        os.environ["MILLSTREAM_BENCH_MB"] = str(options.mb)
    results = []
    with scratch() as rounds:
        # Contests are run once for all the benchmarks that ask for their rounds.
        os.environ["MILLSTREAM_BENCH_ROUNDS"] = rounds
        for each in chosen:
            result = run_apart(each, options.runs)
            results.append(result)
            show(each, result)
        contests = {
            file.stem: json.loads(file.read_text("utf-8"))
            for file in sorted(Path(rounds).glob("*.json"))
        }
        repeated = repeats.kept_rounds(Path(rounds))
    written = HERE / "results" / f"{facts['date'].replace(':', '')}.json"
    written.parent.mkdir(exist_ok=True)
    told = {
        "machine": facts,
        "mb": size_mb(),
        "results": results,
        "contests": contests,
        "repeats": repeated,
    }
    written.write_text(json.dumps(told, indent=1))
    report.write_if_whole(told)
    within = sum(map(is_within, chosen, results))
    print(f"\n{within} of {len(chosen)} within their limits; {written} has it all")
    return 1 if options.strict and within < len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
