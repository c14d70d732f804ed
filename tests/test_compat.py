"""Tests of compat.py: PySpark's names answered with Millstream's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millstream import compat

PATHS = [
    "pyspark",
    "pyspark.accumulators",
    "pyspark.broadcast",
    "pyspark.conf",
    "pyspark.context",
    "pyspark.core.broadcast",
    "pyspark.core.context",
    "pyspark.core.files",
    "pyspark.core.rdd",
    "pyspark.core.status",
    "pyspark.errors",
    "pyspark.files",
    "pyspark.profiler",
    "pyspark.rdd",
    "pyspark.resultiterable",
    "pyspark.serializers",
    "pyspark.sql",
    "pyspark.statcounter",
    "pyspark.status",
    "pyspark.storagelevel",
    "pyspark.streaming",
    "pyspark.streaming.context",
    "pyspark.streaming.dstream",
    "pyspark.streaming.listener",
    "pyspark.streaming.util",
    "pyspark.taskcontext",
    "pyspark.util",
    "pyspark.version",
    "py4j.protocol",
    "findspark",
]

PROGRAM = """
import importlib, pickle, sys
from millstream import compat
compat.install()
for path in {paths!r}:
    importlib.import_module(path)
import pyspark, millstream, pyspark.streaming, pyspark.core.rdd, millstream.rdd
from pyspark import SparkContext, RDD
from pyspark.rdd import RDD as again
from pyspark.core.rdd import RDD as third
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
import findspark
findspark.init()
assert RDD is again is third is millstream.RDD
assert pyspark is millstream and pyspark.streaming is millstream.streaming
assert millstream.rdd.__name__ == "millstream.rdd"
assert millstream.rdd.__spec__.name == "millstream.rdd"
assert RDD.__module__ == "millstream.rdd"
try:
    importlib.import_module("pyspark.nothing")
except ModuleNotFoundError as error:
    assert "no such module" in str(error), error
else:
    raise AssertionError
sc = SparkContext("local")
try:
    sc.parallelize([0]).map(lambda x: 1 / x).collect()
except PythonException as error:
    assert isinstance(error, Py4JJavaError)
    assert "ZeroDivisionError" in error.java_exception.getMessage()
sc.stop()
compat.uninstall()
assert "pyspark" not in sys.modules
print("fine")
"""


def _python(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_module_path_is_answered_with_our_own_modules() -> None:
    """The same objects by any name; what there isn't is told."""
    assert _python(PROGRAM.format(paths=PATHS)) == "fine\n"


@pytest.mark.slow
def test_an_installed_pyspark_is_passed_over(tmp_path: Path) -> None:
    """Even where a real one is first on the path."""
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("REAL = True\n")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    program = "import pyspark; print(hasattr(pyspark, 'REAL'), pyspark.__name__)"

    assert _python(program, PYTHONPATH=path) == "True pyspark\n"
    installed = f"from millstream import compat; compat.install(); {program}"
    assert _python(installed, PYTHONPATH=path) == "False millstream\n"


@pytest.mark.slow
def test_child_processes_find_the_same_aliases(tmp_path: Path) -> None:
    """The shims put Millstream in place of PySpark in a child that never heard of it."""
    shims = str(Path(compat.__file__).parent / "shims")
    path = os.pathsep.join([shims, os.environ["PYTHONPATH"]])
    program = (
        "from pyspark.streaming import StreamingContext; import pyspark;"
        "from py4j.protocol import Py4JJavaError; print(pyspark.__name__)"
    )

    assert _python(program, PYTHONPATH=path) == "millstream\n"


def test_names_outside_pyspark_are_left_alone() -> None:
    """The finder answers for PySpark and Py4J only."""
    assert compat.PySparkFinder().find_spec("json") is None
    assert compat.target_of("pyspark.streaming") == "millstream.streaming"
    assert compat.target_of("numpy.pyspark") is None
