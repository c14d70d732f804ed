"""Tests of sql/tables/readers.py: files that are read and written."""

import datetime
import gzip
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.errors import (
    AnalysisException,
    PySparkException,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.sql import Row, SparkSession

pytestmark = pytest.mark.slow

ROWS = [Row(id=1, name="ada", paid=1.5), Row(id=2, name=None, paid=None)]
SCHEMA = "id long, name string, paid double"


@pytest.fixture
def frame(spark: SparkSession) -> Any:
    """Return a frame of two rows."""
    return spark.createDataFrame(ROWS, SCHEMA)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which isn't the engine's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_id(frame: Any) -> list[Any]:
    """Return rows in order."""
    return sorted(frame.collect(), key=lambda row: row.id)


@pytest.mark.parametrize("source", ["parquet", "json", "csv"])
def test_what_is_written_is_read(
    spark: SparkSession, frame: Any, here: Path, source: str
) -> None:
    """By the driver's relative paths, by a glob, a list, and as a default of `path`."""
    writer = frame.write.option("header", True)
    writer.format(source).save("out")

    reader = spark.read.format(source).options(header=True, inferSchema=True)
    assert by_id(reader.load("out")) == ROWS
    assert by_id(reader.load(str(here / "ou*"))) == ROWS
    assert by_id(reader.load(["out/"])) == ROWS
    assert by_id(reader.load(Path("out"))) == ROWS
    assert by_id(reader.option("path", f"file://{here}/out").load()) == ROWS
    assert reader.load(["out", "{out,none}"]).count() == 4


def test_the_default_is_parquet(spark: SparkSession, frame: Any, here: Path) -> None:
    """Or what the session's setting says."""
    frame.write.save("default")
    assert spark.read.parquet("default").count() == 2
    assert spark.read.load("default").count() == 2
    spark.conf.set("spark.sql.sources.default", "json")
    try:
        frame.write.save("lines")
        assert by_id(spark.read.load("lines")) == ROWS
        assert next(here.glob("lines/*.json")).read_text().startswith('{"id":1')
    finally:
        spark.conf.unset("spark.sql.sources.default")


def test_modes_do_what_they_say(spark: SparkSession, frame: Any, here: Path) -> None:
    """Append, overwrite, ignore; else it is an error, which names the path."""
    for _ in range(2):
        frame.write.mode("append").parquet("out")
    assert spark.read.parquet("out").count() == 4
    frame.write.mode("ignore").parquet("out")
    assert spark.read.parquet("out").count() == 4
    frame.limit(1).write.mode("overwrite").parquet("out")
    assert spark.read.parquet("out").count() == 1
    for mode in ("error", "errorifexists", None):
        with pytest.raises(AnalysisException, match=f"PATH_ALREADY_EXISTS.*{here}/out"):
            frame.write.mode(mode).parquet("out")
    with pytest.raises(PySparkValueError, match="'replace'"):
        frame.write.mode("replace").parquet("out")


def test_only_a_directory_that_is_whole_says_so(
    spark: SparkSession, frame: Any, here: Path
) -> None:
    """By `_SUCCESS`, which goes before more is written; it is no table's file."""
    frame.write.parquet("out")
    assert (here / "out" / "_SUCCESS").read_bytes() == b""
    failing = spark.range(4).selectExpr("assert_true(id < 3) is null a", "id")

    with pytest.raises(PySparkException):
        failing.write.mode("append").parquet("out")
    assert not (here / "out" / "_SUCCESS").exists()
    frame.write.mode("append").partitionBy("id").parquet("parts")
    assert (here / "parts" / "_SUCCESS").exists()
    assert spark.read.parquet("parts").count() == 2


def test_what_is_read_is_not_overwritten(
    spark: SparkSession, frame: Any, here: Path
) -> None:
    """The engine would lose it; a frame that is kept can be written there."""
    del here
    frame.write.parquet("out")
    read = spark.read.parquet("out")

    with pytest.raises(AnalysisException, match=r"UNSUPPORTED_OVERWRITE"):
        read.filter("id = 1").write.mode("overwrite").parquet("out")
    assert read.count() == 2
    read.filter("id = 1").cache().write.mode("overwrite").parquet("out")
    assert spark.read.parquet("out").count() == 1


def test_no_rows_are_written_with_their_columns(
    spark: SparkSession, frame: Any, here: Path
) -> None:
    """So that whoever reads it finds a table."""
    del here
    frame.limit(0).write.parquet("none")
    frame.write.parquet("some")
    frame.limit(0).write.mode("overwrite").parquet("some")

    for name in ("none", "some"):
        read = spark.read.parquet(name)
        assert read.columns == frame.columns
        assert read.count() == 0


def test_partitions_are_directories_with_types(spark: SparkSession, here: Path) -> None:
    """Whole numbers, dates, others as text; a given schema gets them, too."""
    rows = [(1, "2020-01-02", "x/y", 7), (20, "1969-12-31", "é=z", 8)]
    frame = spark.createDataFrame(rows, "k int, day string, word string, v int")
    frame.write.partitionBy("k", "day", "word").json("parts")

    assert {each.name for each in here.glob("parts/*=*")} == {"k=1", "k=20"}
    read = spark.read.json("parts")
    assert read.schema.simpleString() == "struct<v:bigint,k:int,day:date,word:string>"
    days = datetime.date(2020, 1, 2), datetime.date(1969, 12, 31)
    expected = [(7, 1, days[0], "x/y"), (8, 20, days[1], "é=z")]
    assert sorted(map(tuple, read.collect())) == expected
    assert read.filter("k = 20").select("v").collect() == [(8,)]
    given = spark.read.schema("v int").json("parts")
    assert given.schema.simpleString() == "struct<v:int,k:int,day:date,word:string>"


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_partitions_of_null_come_back_as_null(
    spark: SparkSession, here: Path, source: str
) -> None:
    """As Spark calls their directories; an empty text is one of them, as there."""
    rows = [(None, "x", 1), (0, None, 2), (0, "", 3)]
    frame = spark.createDataFrame(rows, "k int, word string, v string")
    frame.write.partitionBy("k", "word").format(source).save("parts")

    null = "__HIVE_DEFAULT_PARTITION__"
    assert {each.name for each in here.glob("parts/*=*")} == {"k=0", f"k={null}"}
    read = spark.read.schema("v string").format(source).load("parts")
    assert read.schema.simpleString() == "struct<v:string,k:int,word:string>"
    found = sorted(map(tuple, read.collect()))
    assert found == [("1", None, "x"), ("2", 0, None), ("3", 0, None)]


@pytest.mark.parametrize("path", ["none", "none*", "{none,nil}", "file:///none"])
def test_a_missing_path_is_named(spark: SparkSession, here: Path, path: str) -> None:
    """When the frame is made, and by queries if it goes later."""
    absolute = path if path.startswith("file:") else str(here / path)
    for reader in (
        spark.read.parquet,
        spark.read.csv,
        spark.read.json,
        spark.read.text,
    ):
        with pytest.raises(AnalysisException) as info:
            reader(path)
        assert f"[PATH_NOT_FOUND] Path does not exist: {absolute}." in str(info.value)
        assert info.value.getCondition() == "PATH_NOT_FOUND"


def test_an_empty_directory_has_no_columns(spark: SparkSession, here: Path) -> None:
    """Unless a schema says so."""
    (here / "empty").mkdir()

    for reader in (spark.read.parquet, spark.read.json):
        with pytest.raises(AnalysisException, match=r"UNABLE_TO_INFER_SCHEMA.*empty"):
            reader("empty")
    assert spark.read.schema("a int").parquet("empty").collect() == []


def test_a_file_that_goes_is_missed(
    spark: SparkSession, frame: Any, here: Path
) -> None:
    """The engine itself would find no rows."""
    frame.write.parquet("out")
    read = spark.read.parquet("out")
    (here / "out").rename(here / "away")

    with pytest.raises(AnalysisException, match=r"PATH_NOT_FOUND.*out"):
        read.count()


def test_a_bad_file_is_named(spark: SparkSession, here: Path) -> None:
    """With what is wrong about it."""
    (here / "bad.parquet").write_text("not parquet")
    (here / "bad.json").write_text('{"a":1}\n{"a":\n')
    (here / "bad.csv").write_text("a\nx\n")

    with pytest.raises(PySparkException, match=r"(?s)Parquet.*bad.parquet"):
        spark.read.parquet("bad.parquet").collect()
    with pytest.raises(PySparkException, match=r"(?s)Json.*bad.json"):
        spark.read.schema("a int").json("bad.json").collect()
    strict = spark.read.csv("bad.csv", schema="a int", mode="FAILFAST")
    with pytest.raises(PySparkException, match=r"(?s)'a'.*bad.csv"):
        strict.collect()


CSV = "id;day;note\n1;2020-01-02; a \nx;02/01/2020;NA\n"


def test_csv_values_are_what_the_schema_says(spark: SparkSession, here: Path) -> None:
    """Or NULL; with null texts, formats and trimming."""
    (here / "a.csv").write_text(CSV)
    reader = spark.read.options(sep=";", header=True)

    names = ["id", "day", "note"]
    texts = reader.csv("a.csv")
    assert texts.collect() == [("1", "2020-01-02", " a "), ("x", "02/01/2020", "NA")]
    assert texts.columns == names
    typed = reader.csv("a.csv", schema="id int, day date, note string")
    day = datetime.date(2020, 1, 2)
    assert typed.collect() == [(1, day, " a "), (None, None, "NA")]
    told = reader.csv(
        "a.csv",
        schema="id int, day date, note string",
        nullValue="NA",
        dateFormat="dd/MM/yyyy",
        ignoreLeadingWhiteSpace=True,
    )
    assert told.collect() == [(1, None, "a "), (None, day, None)]
    (here / "t.csv").write_text("1\t2\n")
    assert spark.read.csv("t.csv", sep="\\t").collect() == [("1", "2")]


def test_options_can_be_given_by_place(spark: SparkSession, here: Path) -> None:
    """As in PySpark; one more than there are is no option."""
    (here / "a.csv").write_text("1|2\n")
    (here / "a.json").write_text('{"a":"1"}\n')
    texts = spark.sparkContext.parallelize(["3|4"])

    assert spark.read.csv("a.csv", "a int, b int", "|").collect() == [(1, 2)]
    assert spark.read.csv(texts, "a int, b int", "|").collect() == [(3, 4)]
    assert spark.read.json("a.json", "a string", False).collect() == [("1",)]
    with pytest.raises(PySparkNotImplementedError, match="primitivesAsString"):
        spark.read.json("a.json", "a string", True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'separator'"):
        spark.read.csv("a.csv", separator="|")


def test_texts_are_lines_or_whole_files(spark: SparkSession, here: Path) -> None:
    """Compressed ones, too."""
    (here / "a.txt").write_text("x\ny\n")
    with gzip.open(here / "b.txt.gz", "wt") as file:
        file.write("z\n")

    assert spark.read.text("a.txt").collect() == [("x",), ("y",)]
    assert spark.read.text("a.txt", wholetext=True).collect() == [("x\ny\n",)]
    spark.createDataFrame([("p",)], ["value"]).write.text("lines", compression="gzip")
    assert spark.read.text("lines").collect() == [("p",)]


def test_rdds_and_frames_of_texts_are_parsed(spark: SparkSession) -> None:
    """A record for each text, over how many lines it may go."""
    texts = ['{"a": 1,\n"b": "x"}', '{"a": 2}']
    rdd = spark.sparkContext.parallelize(texts, 2)
    for given in (rdd, spark.createDataFrame([(each,) for each in texts], ["value"])):
        assert spark.read.json(given).collect() == [(1, "x"), (2, None)]
        typed = spark.read.json(given, schema="b string, c int")
        assert typed.collect() == [Row(b="x", c=None), Row(b=None, c=None)]
    lines = spark.sparkContext.parallelize(["a,b", "1,2"], 1)
    csv = spark.read.csv(lines, header=True, inferSchema=True)
    assert csv.collect() == [Row(a=1, b=2)]
    with pytest.raises(AnalysisException, match="one column of texts"):
        spark.read.json(spark.range(1))
    with pytest.raises(PySparkTypeError, match="NOT_EXPECTED_TYPE"):
        spark.read.json(7)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("orc", {}, "format 'orc'"),
        ("xml", {}, "format 'xml'"),
        ("json", {"multiLine": True}, "multiLine='true'"),
        ("json", {"mode": "DROPMALFORMED"}, "mode='DROPMALFORMED'"),
        ("csv", {"mode": "DROPMALFORMED"}, "'dropmalformed'"),
        ("csv", {"encoding": "latin1"}, "encoding='latin1'"),
        ("csv", {"inferSchema": True, "nullValue": "x"}, "inferSchema"),
        ("parquet", {"modifiedAfter": "2020-01-01T00:00:00"}, "modifiedAfter"),
    ],
)
def test_what_the_engine_passes_over_is_refused(
    spark: SparkSession, here: Path, source: str, options: dict[str, Any], message: str
) -> None:
    """In words, rather than to give something else."""
    (here / "a").write_text("")
    with pytest.raises(PySparkNotImplementedError, match=message):
        spark.read.format(source).options(**options).load("a")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("orc", {}, "format 'orc'"),
        ("avro", {}, "can be read, and not written"),
        ("csv", {"quoteAll": True}, "quoteAll='true'"),
        ("json", {"ignoreNullFields": False}, "ignoreNullFields='false'"),
    ],
)
def test_what_is_not_written_is_refused(
    frame: Any, here: Path, source: str, options: dict[str, Any], message: str
) -> None:
    """Before anything is written."""
    with pytest.raises(PySparkNotImplementedError, match=message):
        frame.write.format(source).options(**options).save("out")
    with pytest.raises(PySparkNotImplementedError, match="bucketBy"):
        frame.write.bucketBy(2, "id").parquet("out")
    assert not (here / "out").exists()


def test_options_that_ask_for_what_is_done_are_taken(
    spark: SparkSession, frame: Any, here: Path
) -> None:
    """And those that Spark doesn't know."""
    del here
    frame.write.csv("out", encoding="UTF-8", quoteAll=False)
    read = spark.read.options(encoding="utf-8", mode="PERMISSIVE", mine="7").csv("out")
    assert read.count() == 2
