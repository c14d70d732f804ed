"""Tests of migration.py and `millstream migrate-check`: what is read from a program's text."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.cli import main
from millstream.commands import migration
from millstream.commands.migration import check, count

ROOT = Path(__file__).parents[2]
PROGRAMS = [
    *sorted((ROOT / "examples").glob("*.py")),
    *sorted((ROOT / "tests/integration/programs").glob("*.py")),
]

HEADER = """from pyspark import SparkConf, SparkContext
from pyspark.streaming import StreamingContext
from pyspark.sql import SparkSession
sc = SparkContext()
ssc = StreamingContext(sc, 1)
lines = ssc.socketTextStream("localhost", 9)
"""


def findings(tmp_path: Path, text: str, header: str = HEADER) -> list[tuple[str, str]]:
    """Return verdicts and what they are of, but for what runs, of the lines after HEADER."""
    file = tmp_path / "app.py"
    file.write_text(header + text)
    return [
        (each.verdict, each.what)
        for each in check(file)
        if each.verdict != "runs" and each.line > header.count("\n")
    ]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda file: file.name)
def test_programs_that_run_here_are_never_told_that_they_do_not(program: Path) -> None:
    """Each of these runs in a test."""
    assert [each for each in check(program) if each.verdict == "breaks"] == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sc._jvm.java.lang.System.gc()", "._jvm"),
        ("x = sc._gateway", "._gateway"),
        ("lines._jdstream.print()", "._jdstream"),
        ("from py4j.java_gateway import java_import", "py4j.java_gateway.java_import"),
        ("import py4j.java_gateway", "py4j.java_gateway"),
        ("from pyspark.ml.feature import Tokenizer", "pyspark.ml.feature.Tokenizer"),
        ("import pyspark.pandas as ps", "pyspark.pandas"),
        ("from pyspark.streaming import Nothing", "pyspark.streaming.Nothing"),
        ("from pyspark.nowhere import x", "pyspark.nowhere"),
        ("spark.readStream.format('kafka').load()", ".readStream"),
        ("SparkSession.builder.getOrCreate().streams.active", "SparkSession.streams"),
        ("sc.hadoopFile('a', 'b', 'c', 'd')", "SparkContext.hadoopFile"),
        ("sc.parallelize([1]).saveAsHadoopFile('a', 'b')", "RDD.saveAsHadoopFile"),
        ("lines.map(len).filter(bool).frobnicate()", "DStream.frobnicate"),
        ("lines.foreachRDD(lambda rdd: rdd.frobnicate())", "RDD.frobnicate"),
        ("def f(t, mine): mine.frobnicate()\nlines.foreachRDD(f)", "RDD.frobnicate"),
        ("SparkContext.frobnicate()", "SparkContext.frobnicate"),
        ("with SparkContext() as c: c.frobnicate()", "SparkContext.frobnicate"),
        ("def f(c: SparkContext): c.frobnicate()", "SparkContext.frobnicate"),
        ("SparkContext('spark://host:7077')", "master spark://host:7077"),
        ("SparkConf().setMaster('yarn')", "master yarn"),
        ("SparkSession.builder.master('k8s://x')", "master k8s://x"),
        ("SparkConf().set('spark.master', 'mesos://x')", "master mesos://x"),
    ],
)
def test_what_is_not_here_will_not_run(tmp_path: Path, text: str, what: str) -> None:
    """The JVM, modules and methods that aren't here, other clusters."""
    assert ("breaks", what) in findings(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "verdict", "what"),
    [
        ("lines.foreachRDD(print)", "better", "DStream.foreachRDD"),
        ("ssc.textFileStream('in')", "better", "StreamingContext.textFileStream"),
        (
            "StreamingContext.getOrCreate('c', f)",
            "differs",
            "StreamingContext.getOrCreate",
        ),
        ("sc.sequenceFile('f')", "differs", "SparkContext.sequenceFile"),
        (
            "SparkConf().set('spark.executor.memory', '1g')",
            "differs",
            "spark.executor.memory",
        ),
        ("SparkConf().set('spark.nonsense', '1')", "differs", "spark.nonsense"),
        (
            (
                "from pyspark.streaming.kafka import KafkaUtils\n"
                "KafkaUtils.createStream(ssc, 'zk', 'g', {})"
            ),
            "differs",
            "KafkaUtils.createStream",
        ),
        (
            (
                "from pyspark.streaming.kafka import KafkaUtils as K\n"
                "K.createDirectStream(ssc, ['t'], {}).foreachRDD(print)"
            ),
            "better",
            "KafkaUtils.createDirectStream",
        ),
    ],
)
def test_what_is_better_or_different_is_told(
    tmp_path: Path, text: str, verdict: str, what: str
) -> None:
    """By notes, and by the catalogue of settings."""
    assert (verdict, what) in findings(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "from py4j.protocol import Py4JJavaError",
        "SparkConf().set('spark.default.parallelism', '4').setMaster('local[2]')",
        "lines.map(lambda kv: kv[1].nothing).pprint()",
        "unknown.frobnicate()",
        "import numpy\nnumpy.frobnicate()",
        "lines.foreachRDD",
        "lines.foreachRDD(lambda rdd: rdd.offsetRanges())",
        "def f(sc): sc = object()",
        "from . import beside\nfrom .beside import x",
    ],
)
def test_what_runs_or_is_not_sparks_is_not_told_of(tmp_path: Path, text: str) -> None:
    """Nor what nobody knows the type of."""
    told = findings(tmp_path, text)

    assert [each for each in told if each[0] == "breaks"] == []


def test_notes_are_of_methods_that_there_are() -> None:
    """A note on a method that was renamed would never be told."""
    from millstream.streaming.kafka import KafkaUtils
    from millstream.streaming.kinesis import KinesisUtils

    classes = {
        **migration._classes(),
        "KafkaUtils": KafkaUtils,
        "KinesisUtils": KinesisUtils,
    }
    for name in (*migration._BETTER, *migration._DIFFERS):
        owner, _, method = name.partition(".")
        assert hasattr(classes[owner], method), name


def test_lines_and_columns_are_those_of_the_name(tmp_path: Path) -> None:
    """In a chain over several lines, too."""
    file = tmp_path / "app.py"
    file.write_text(HEADER + "(lines\n    .map(len)\n    .frobnicate())\n")
    (found,) = [each for each in check(file) if each.verdict == "breaks"]

    assert (found.line, found.column) == (9, 6)


def test_the_command_tells_places_and_counts(tmp_path: Path) -> None:
    """It exits with 1 when something won't run, and with 0 when all does."""
    file = tmp_path / "app.py"
    file.write_text(HEADER + "sc._jvm\nlines.foreachRDD(print)\n")
    result = CliRunner().invoke(main, ["migrate-check", str(file)])

    assert result.exit_code == 1
    assert f"{file}:7:4: won't run: ._jvm: there is no JVM here" in result.output
    assert f"{file}:8:7: better: DStream.foreachRDD: " in result.output
    assert result.output.endswith("1 won't run\n")
    only = CliRunner().invoke(main, ["migrate-check", "--only", "breaks", str(file)])
    assert "better: " not in only.output
    file.write_text(HEADER)
    assert CliRunner().invoke(main, ["migrate-check", str(file)]).exit_code == 0


def test_findings_as_json_are_for_programs(tmp_path: Path) -> None:
    """Each with its place; what just runs, too."""
    file = tmp_path / "app.py"
    file.write_text(HEADER + "sc._jvm\n")
    told = json.loads(
        CliRunner().invoke(main, ["migrate-check", "--json", str(file)]).output
    )

    assert told["will_run"] is False
    assert told["counts"] == count(check(file))
    assert {"file", "line", "column", "verdict", "what", "text"} == set(
        told["findings"][0]
    )


def test_nothing_of_the_program_runs(tmp_path: Path) -> None:
    """It is only read."""
    file = tmp_path / "app.py"
    file.write_text("raise SystemExit('it ran')\n")

    assert CliRunner().invoke(main, ["migrate-check", str(file)]).exit_code == 0


def test_what_is_no_python_3_is_told(tmp_path: Path) -> None:
    """With its line, and exit code 2."""
    file = tmp_path / "app.py"
    file.write_text("print 'python 2'\n")
    result = CliRunner().invoke(main, ["migrate-check", str(file)])

    assert result.exit_code == 2
    assert f"Error: {file}: " in result.output
