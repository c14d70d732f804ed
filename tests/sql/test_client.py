"""Tests of sql/client.py: PySpark's SQL is there by its names, in any order of imports."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from millstream import compat
from millstream.engine.base.errors import MissingDependencyError
from millstream.sql import client

_SITE = Path(sysconfig.get_path("purelib"))
_EXTRA = ("pyspark", "pysail", "grpc", "pandas")


def _python(program: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _path(*entries: Path) -> str:
    return os.pathsep.join([*map(str, entries), os.environ["PYTHONPATH"]])


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """Return an import path on which all is that is installed, but for the extra."""
    for each in _SITE.iterdir():
        if not each.name.startswith(_EXTRA):
            (tmp_path / each.name).symlink_to(each)
    return _path(tmp_path)


USE = """
from pyspark.sql import SparkSession, Row
import pyspark, millstream, millstream.sql
assert pyspark is millstream and pyspark.sql is millstream.sql
with SparkSession.builder.master("local[2]").getOrCreate() as spark:
    from pyspark.sql import functions
    import pyspark.sql.functions as F
    from pyspark.sql.types import *
    from pyspark.sql.types import LongType, Row as again
    from pyspark.sql.functions import *
    from pyspark.sql import *
    assert F is functions and again is Row is millstream.Row
    frame = spark.createDataFrame([Row(a=1)]).select(F.col("a") + 1, lit("x"))
    assert isinstance(frame, DataFrame), type(frame)
    assert frame.collect() == [(2, "x")]
    assert isinstance(frame.schema[0].dataType, LongType)
    from pyspark.errors import AnalysisException
    try:
        frame.select("nothing").collect()
    except AnalysisException:
        print("fine")
"""
NAMES = """
from pyspark.sql import SparkSession, Row, functions
import pyspark, millstream, millstream.sql
import pyspark.sql.functions as F
from pyspark.sql.types import *
from pyspark.sql.types import LongType, Row as again
from pyspark.sql.functions import *
from pyspark.sql import *
from pyspark import RDD
import millstream.sql.types, millstream.sql.functions
assert pyspark is millstream and pyspark.sql is millstream.sql
assert F is functions is millstream.sql.functions and again is Row is millstream.Row
assert LongType is millstream.sql.types.LongType and RDD is millstream.RDD
assert col.__module__ == "spark_client.sql.functions.builtin", col.__module__
assert SparkSession is millstream.sql.SparkSession and Window is millstream.sql.Window
print("fine")
"""
ORDERS = {
    "installed first": "from millstream import compat; compat.install()",
    "after the session": "import millstream.sql\nfrom millstream import compat; compat.install()",
    "functions first": (
        "from millstream import compat; compat.install()\nimport pyspark.sql.functions"
    ),
    "types first": (
        "from millstream import compat; compat.install()\n"
        "from pyspark.sql.types import StructType"
    ),
    "the client's own before": (
        "import pyspark.sql.functions as f; assert f.__name__ == 'pyspark.sql.functions'\n"
        "from millstream import compat; compat.install()"
    ),
    "ours used before": (
        "from millstream.sql import functions; import millstream.sql.types\n"
        "from millstream import compat; compat.install()"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_names_of_pyspark_are_answered_in_any_order_of_imports(order: str) -> None:
    """Those of SQL by the client's, all others by ours."""
    assert _python(ORDERS[order] + "\n" + NAMES) == "fine\n"


@pytest.mark.slow
def test_an_import_by_the_shims_is_the_same() -> None:
    """As `millstream run` has it."""
    shims = Path(compat.__file__).parent / "shims"
    assert _python(USE, PYTHONPATH=_path(shims)) == "fine\n"


@pytest.mark.slow
def test_a_pyspark_of_another_version_is_passed_over(tmp_path: Path) -> None:
    """In driver and engine, even where it comes first on the path."""
    other = tmp_path / "pyspark"
    (other / "sql" / "connect").mkdir(parents=True)
    (other / "sql" / "connect" / "session.py").write_text("raise SystemExit(3)\n")
    (other / "sql" / "__init__.py").write_text("raise SystemExit(3)\n")
    (other / "__init__.py").write_text("raise SystemExit(3)\n")
    (other / "version.py").write_text("__version__ = '3.5.9'\n")
    program = ORDERS["installed first"] + "\n" + USE
    udf = """
with SparkSession.builder.master("local[2]").getOrCreate() as spark:
    twice = F.udf(lambda x: 2 * x, "bigint")
    assert spark.range(2).select(twice("id")).collect() == [(0,), (2,)]
    print("too")
"""
    assert _python(program + udf, PYTHONPATH=_path(tmp_path)) == "fine\ntoo\n"


@pytest.mark.slow
def test_functions_in_worker_processes_have_the_same_names() -> None:
    """Types, rows and functions travel with a function, or are imported in it."""
    program = """
from millstream import compat; compat.install()
from pyspark import SparkContext
from pyspark.sql import Row, SparkSession
from pyspark.sql import types as T
from pyspark.sql.types import LongType
import pyspark.sql.functions as F
def work(x):
    import pyspark.sql.types as again
    assert again is T and again.LongType is LongType and T.Row is Row
    return Row(a=x, kind=T.StructType().add("a", LongType()).simpleString(), f=F.__name__)
conf = {"spark.millstream.processes": "always"}
with SparkSession.builder.master("local[2]").config(map=conf).getOrCreate() as spark:
    rows = spark.sparkContext.parallelize([1], 1).map(work).collect()
    assert type(rows[0]) is Row
    print(rows)
"""
    expected = "[Row(a=1, kind='struct<a:bigint>', f='spark_client.sql.functions')]\n"
    assert _python(program) == expected


@pytest.mark.slow
def test_what_is_changed_of_the_client_is_changed_for_nobody_else() -> None:
    """Who imports `pyspark` without our finder has it as it is."""
    program = """
import millstream.sql.connected
import pyspark.sql.types
from pyspark.sql import Row
import millstream.sql.types as ours
assert pyspark.sql.types.Row is Row and Row.__module__ == "pyspark.sql.types"
assert ours.Row.__module__ == "millstream.sql.row"
assert pyspark.sql.types.LongType is not ours.LongType
print("fine")
"""
    assert _python(program) == "fine\n"


@pytest.mark.slow
def test_importing_sql_loads_nothing_of_the_extra() -> None:
    """It is slow to load, and may not be there."""
    program = """
import sys
import millstream.sql
from millstream.sql import Row, SparkSession, SQLContext
heavy = {"pandas", "grpc", "pyarrow", "spark_client", "pyspark", "pysail", "google", "sqlglot"}
print(sorted(heavy & set(sys.modules)))
"""
    assert _python(program) == "[]\n"


@pytest.mark.slow
def test_without_the_extra_queries_say_how_to_get_it(bare: str) -> None:
    """All else works: rows, sessions, contexts and streams."""
    program = """
from millstream import compat; compat.install()
from pyspark.sql import Row, SparkSession
from pyspark.sql.types import Row as again
from pyspark.streaming import StreamingContext
from pyspark.errors import AnalysisException
from millstream.engine.base.errors import MissingDependencyError
assert Row is again
with SparkSession.builder.master("local[2]").getOrCreate() as spark:
    sc = spark.sparkContext
    rdd = sc.parallelize([Row(a=1)])
    assert rdd.collect() == [(1,)]
    StreamingContext(sc, 1)
    def functions():
        import pyspark.sql.functions
    def types():
        from pyspark.sql.types import LongType
    def frame():
        from pyspark.sql import DataFrame
    for asked in (
        lambda: spark.sql("select 1"), lambda: spark.range(1), lambda: spark.read,
        lambda: spark.createDataFrame([Row(a=1)]), lambda: spark.udf, lambda: spark.catalog,
        lambda: rdd.toDF(), functions, types, frame,
    ):
        try:
            asked()
        except MissingDependencyError as error:
            assert "pyspark-client" in str(error), error
            assert "pip install 'millstream[sql]'" in str(error.__notes__), error.__notes__
        else:
            raise AssertionError(asked)
print("fine")
"""
    assert _python(program, "-S", PYTHONPATH=bare) == "fine\n"


def test_a_version_that_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where it is."""
    (tmp_path / "pyspark" / "sql" / "connect").mkdir(parents=True)
    (tmp_path / "pyspark" / "sql" / "connect" / "session.py").touch()
    (tmp_path / "pyspark" / "version.py").write_text("__version__: str = '4.3.0'\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    with pytest.raises(MissingDependencyError, match=r"4\.2: .*pyspark is 4\.3\b"):
        client.root()
