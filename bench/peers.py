"""Makes the environment of the other engines, which nothing else here uses.

python bench/peers.py

It is beside the benchmarks' input, not in the repository, and made anew when
peers.txt has changed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from data import cache_dir

REQUIREMENTS = Path(__file__).with_name("peers.txt")
_JAVA_PLACES = ("/usr/lib/jvm/java-17-openjdk-amd64", "/usr/lib/jvm/openjdk-17")


def python() -> Path | None:
    """Return the environment's interpreter, if it is there and has these requirements."""
    ready = _directory() / ".ready"
    if ready.exists() and ready.read_text("utf-8") == REQUIREMENTS.read_text("utf-8"):
        return _directory() / "bin" / "python"
    return None


def java_home() -> Path | None:
    """Return a Java that Spark 3.5 runs on, if there is one."""
    given = os.environ.get("JAVA_HOME")
    for place in filter(None, (given, *_JAVA_PLACES)):
        if (Path(place) / "bin" / "java").exists():
            return Path(place)
    found = shutil.which("java")
    return Path(found).resolve().parent.parent if found else None


def _directory() -> Path:
    return cache_dir() / "peers"


def make() -> None:
    directory = _directory()
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(directory)], check=True
    )
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    (directory / ".ready").write_text(REQUIREMENTS.read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    if python() is None:
        make()
    print(python(), "with Java at", java_home())
