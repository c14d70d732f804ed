"""What importing Millstream pulls in: its own modules and small ones of Python's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"

# Each takes tens of milliseconds or megabytes, or belongs to an extra.
HEAVY = frozenset(
    {
        "aiohttp",
        "asyncio",
        "click",
        "cloudpickle",
        "concurrent.futures.process",
        "duckdb",
        "fsspec",
        "http.server",
        "lz4",
        "multiprocessing.pool",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "pyspark",
        "ray",
        "sqlite3",
        "ssl",
        "starlette",
        "uvicorn",
        "zstandard",
    }
)
STATEMENTS = {
    "the package": "import millstream",
    "the contexts": "from millstream import SparkConf, SparkContext, RDD, StorageLevel",
    "streaming": "from millstream.streaming import StreamingContext",
    "receivers": "import millstream.streaming.receiver",
    "the test kit": "import millstream.testing",
    "rows": "from millstream.sql import Row, SparkSession",
    "errors": "import millstream.errors",
}


def modules_after(statement: str) -> set[str]:
    """Return the modules that `statement` adds to a bare interpreter's."""
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        f"{statement}\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", STATEMENTS)
def test_importing_pulls_in_nothing_heavy(name: str) -> None:
    """A program pays for a library when it uses it, not before."""
    added = modules_after(STATEMENTS[name])

    assert "millstream" in added
    assert not added & HEAVY


def test_the_package_alone_imports_no_other_part() -> None:
    """`import millstream` reads three files; the rest comes with the first use."""
    ours = {each for each in modules_after("import millstream") if "millstream" in each}

    assert ours <= {"millstream", "millstream.version"}


def test_only_packages_that_are_required_are_imported() -> None:
    """All that the contexts import is Python's own or Millstream's."""
    added = modules_after(
        "from millstream import SparkContext; import millstream.streaming"
    )
    roots = {each.split(".")[0].removeprefix("_") for each in added}

    strangers = {
        each
        for each in roots
        if each not in sys.stdlib_module_names
        and f"_{each}" not in sys.stdlib_module_names
    }
    assert strangers <= {"millstream"}
