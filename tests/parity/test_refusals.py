"""What the engine of SQL refuses is what the table says that it does, and nothing else."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from tests.parity.differences import LACKING_FUNCTIONS, REFUSED
from tests.parity.surface import is_here, recorded

from millstream.errors import PySparkException, UnsupportedOperationException
from millstream.sql import SparkSession, SQLContext, Window, client
from millstream.sql import functions as F

pytest.importorskip("pysail", reason="needs the extra `sql`")

pytestmark = pytest.mark.slow

_FUNCTIONS: Final = "pyspark.sql.functions."
# They are called otherwise than with columns, or are for a table's partitions alone.
_NOT_TRIED: Final = frozenset(
    [
        "arrow_udf",
        "arrow_udtf",
        "broadcast",
        "call_function",
        "call_udf",
        "col",
        "column",
        "expr",
        "pandas_udf",
        "udf",
        "udtf",
        "window",
        "bucket",
        "days",
        "hours",
        "months",
        "years",
    ]
)
# How the engine tells that it knows no such function, whatever its arguments: in a query,
# and over a window.
_SIGNS: Final = ("function: ", "[UNRESOLVED_ROUTINE]", "cast Time64(")
_SIGNS_OVER: Final = ("unknown window function: ", *_SIGNS)


def _identity(*given: Any) -> Any:
    return given[-1]


def _in_protobuf(df: Any, function: Any) -> None:
    df.select(function("text", "Message", binaryDescriptorSet=b"")).collect()


def _trials(spark: Any, df: Any, here: Path) -> dict[str, Callable[[], Any]]:
    """Return a call of each name that is refused, on a frame of `id` and `text`."""
    avro, protobuf = (
        client.module(f"sql.{name}.functions") for name in ("avro", "protobuf")
    )
    grouped, catalog, udf = df.groupBy("id"), spark.catalog, spark.udf
    write, read, schema = df.write, spark.read, "id long, text string"
    state = (_identity, schema, schema, "append", "NoTimeout")
    file = here / "module.py"
    file.write_text("")
    df.write.mode("overwrite").saveAsTable("of_refusals")
    table, of_table = df.writeTo("of_refusals"), {"tableName": "of_refusals"}
    calls: dict[str, dict[str, Callable[[], Any]]] = {
        "Catalog": {
            "analyzeTable": lambda: catalog.analyzeTable(**of_table),
            "createDatabase": lambda: catalog.createDatabase("other"),
            "dropDatabase": lambda: catalog.dropDatabase("other"),
            "dropTable": lambda: catalog.dropTable(**of_table),
            "dropView": lambda: catalog.dropView("other"),
            "functionExists": lambda: catalog.functionExists("count"),
            "getCreateTableString": lambda: catalog.getCreateTableString(**of_table),
            "getFunction": lambda: catalog.getFunction("count"),
            "getTableProperties": lambda: catalog.getTableProperties(**of_table),
            "listPartitions": lambda: catalog.listPartitions(**of_table),
            "listViews": lambda: catalog.listViews(),
            "recoverPartitions": lambda: catalog.recoverPartitions(**of_table),
            "refreshByPath": lambda: catalog.refreshByPath(str(here)),
            "refreshTable": lambda: catalog.refreshTable(**of_table),
            "truncateTable": lambda: catalog.truncateTable(**of_table),
        },
        "DataFrame": {
            "dropDuplicatesWithinWatermark": lambda: (
                df.dropDuplicatesWithinWatermark().collect()
            ),
            "freqItems": lambda: df.freqItems(["id"]).collect(),
            "mergeInto": lambda: (
                df.mergeInto("of_refusals", F.expr("true"))
                .whenNotMatched()
                .insertAll()
                .merge()
            ),
            "observe": lambda: df.observe("seen", F.count("*")).collect(),
            "pandas_api": lambda: df.pandas_api(),
            "repartitionById": lambda: df.repartitionById(2, df.id).collect(),
            "sameSemantics": lambda: df.sameSemantics(df),
            "semanticHash": lambda: df.semanticHash(),
            "transpose": lambda: df.transpose().collect(),
            "withWatermark": lambda: df.withWatermark("id", "1 minute").collect(),
            "writeStream": lambda: df.writeStream.format("console").start(),
        },
        "DataFrameReader": {
            "orc": lambda: read.orc(str(here)),
            "xml": lambda: read.xml(str(here)),
        },
        "DataFrameStatFunctions": {
            "freqItems": lambda: df.stat.freqItems(["id"]).collect(),
        },
        "DataFrameWriter": {
            "bucketBy": lambda: write.bucketBy(2, "id").saveAsTable("new"),
            "clusterBy": lambda: df.write.clusterBy("id").saveAsTable("new"),
            "orc": lambda: df.write.orc(str(here / "orc")),
            "xml": lambda: df.write.xml(str(here / "xml"), rowTag="row"),
        },
        "DataFrameWriterV2": {
            "clusterBy": lambda: df.writeTo("new").clusterBy("id").create(),
            "overwrite": lambda: table.overwrite(F.lit(True)),
            "overwritePartitions": lambda: table.overwritePartitions(),
        },
        "GroupedData": {
            "applyInPandasWithState": lambda: grouped.applyInPandasWithState(
                *state
            ).collect(),
            "transformWithState": lambda: grouped.transformWithState(
                _identity, schema, "append", "none"
            ).collect(),
            "transformWithStateInPandas": lambda: grouped.transformWithStateInPandas(
                _identity, schema, "append", "none"
            ).collect(),
        },
        "SQLContext": {"readStream": lambda: SQLContext(spark.sparkContext).readStream},
        "SparkSession": {
            "addArtifact": lambda: spark.addArtifact(str(file), pyfile=True),
            "addArtifacts": lambda: spark.addArtifacts(str(file), pyfile=True),
            "readStream": lambda: spark.readStream.format("rate").load(),
            "copyFromLocalToFs": lambda: spark.copyFromLocalToFs(
                str(file), str(here / "copy.py")
            ),
        },
        "UDFRegistration": {
            "registerJavaFunction": lambda: udf.registerJavaFunction("f", "a.B"),
            "registerJavaUDAF": lambda: udf.registerJavaUDAF("f", "a.B"),
        },
        "avro.functions": {
            "from_avro": lambda: df.select(avro.from_avro("text", "{}")).collect(),
            "to_avro": lambda: df.select(avro.to_avro("text")).collect(),
        },
        "protobuf.functions": {
            name: partial(_in_protobuf, df, getattr(protobuf, name))
            for name in ("from_protobuf", "to_protobuf")
        },
    }
    return {
        f"pyspark.sql.{owner}.{name}": call
        for owner, named in calls.items()
        for name, call in named.items()
    }


@pytest.fixture(scope="module")
def df(spark: SparkSession) -> Any:
    """A frame of two rows."""
    return spark.createDataFrame([(1, "a"), (2, "b")], "id long, text string")


@pytest.mark.filterwarnings("ignore")
def test_what_is_said_to_be_refused_raises(
    spark: SparkSession, df: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error of PySpark's tree, at the latest when the query runs."""
    monkeypatch.chdir(tmp_path)
    done, odd = [], {}
    trials = _trials(spark, df, tmp_path)
    for path, call in trials.items():
        try:
            call()
        except (PySparkException, grpc.RpcError):
            continue
        except Exception as error:
            odd[path] = repr(error)
        else:
            done.append(path)

    assert done == []
    assert odd == {}
    assert sorted(trials) == sorted(
        path for path in REFUSED if path.startswith("pyspark.sql.")
    )


def _called(name: str) -> Any:
    """Return what a function makes of columns, or raise as it does."""
    function = getattr(F, name)
    kinds = inspect.Parameter
    needed = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.default is kinds.empty and each.kind is not kinds.VAR_KEYWORD
    ]
    return function(*[F.col("id") for _ in needed])


def _refusal(name: str, df: Any) -> str | None:
    """Return how the engine says that it hasn't a function at all, if it says so."""
    try:
        made = _called(name)
    except UnsupportedOperationException as error:
        # Ours, before the engine is asked.
        return str(error)
    except (AssertionError, AttributeError, PySparkException, TypeError):
        # The client takes no columns there. The engine isn't asked.
        return None
    told = _answer(df, made)
    if not told.startswith(_SIGNS):
        return None
    over = _answer(df, made.over(Window.orderBy("id")))
    return told if over.startswith(_SIGNS_OVER) else None


def _answer(df: Any, column: Any) -> str:
    try:
        _ = df.select(column).schema
    except PySparkException as error:
        return str(error)
    return "done"


@pytest.mark.filterwarnings("ignore")
def test_the_functions_that_the_engine_lacks_are_known(df: Any) -> None:
    """All others are found by their names, whatever they say to such arguments."""
    names = [
        each.name
        for each in recorded().values()
        if each.path == _FUNCTIONS + each.name
        and each.kind == "function"
        and each.name not in _NOT_TRIED
        and is_here(each.path)
    ]
    lacking = {name: told for name in names if (told := _refusal(name, df))}

    assert {
        name: lacking[name] for name in lacking if name not in LACKING_FUNCTIONS
    } == {}
    assert sorted(lacking) == sorted(LACKING_FUNCTIONS)
