"""Explaining: which steps go by columns, before and after they have run."""

from pathlib import Path

import pytest

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.testing import StreamHarness


def test_text_is_known_before_it_runs(
    sc: SparkContext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps, the shuffle and the source have a line each, with the reason for rows."""
    (tmp_path / "a.txt").write_text("a b\n")
    words = sc.textFile(str(tmp_path)).flatMap(lambda line: line.split(" "))
    odd = words.filter(lambda w: w.swoosh())  # type: ignore[attr-defined]
    odd.map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b).explain()
    shown = capsys.readouterr().out.splitlines()

    ways = [line.split("test_explaining.py:", 1)[-1] for line in shown]
    assert [way.split(": ", 1)[1] for way in ways] == [
        "rows: what it reads is rows",
        "rows: what it reads is rows",
        "rows: str.swoosh() isn't known",
        "columns",
        "text, as columns",
    ]
    assert shown[0].startswith("* ")
    assert "filter at test_explaining.py" in shown[2]


@pytest.mark.usefixtures("threads")
def test_what_ran_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of blocks, with the guards that failed."""
    conf = SparkConf().set("spark.millstream.columnar.rows.min", "0")
    with SparkContext("local[2]", "explained", conf=conf) as sc:
        rdd = sc.parallelize([1, 2, 2**63 - 1], 3).map(lambda x: x + 1)
        assert rdd.collect() == [2, 3, 2**63]
        rdd.explain()

    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(
        "columns and rows: guard failed: an int of more than 64 bits in 1 of 3 blocks"
    )
    assert shown[1].endswith("Python objects")


def test_off_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows by decision, not for want of knowledge."""
    conf = SparkConf().set("spark.millstream.columnar", "off")
    with SparkContext("local", "explained", conf=conf) as sc:
        sc.parallelize([1]).map(lambda x: x + 1).explain()

    assert "rows: spark.millstream.columnar is off" in capsys.readouterr().out


def test_a_stream_before_its_start(
    sc: SparkContext, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a batch would be like is known of text, through windows and state."""
    ssc = StreamingContext(sc, 1)
    ssc.checkpoint(checkpoint)
    words = ssc.socketTextStream("localhost", 9).map(lambda w: (w, 1))
    words.reduceByKeyAndWindow(lambda a, b: a + b, lambda a, b: a - b, 10, 1).explain()
    shown = capsys.readouterr().out

    assert "map at test_explaining.py" in shown
    assert "text, as columns" in shown

    ssc.queueStream([["a"]]).map(len).explain()

    assert "unknown until one has run" in capsys.readouterr().out


def test_a_stream_tells_of_its_newest_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """What happened there."""
    conf = {"spark.millstream.columnar.rows.min": "0"}
    with StreamHarness(conf=conf) as h:
        doubled = h.stream([[1, 2]]).map(lambda x: x * 2)
        h.collect(doubled)
        h.run(batches=1)
        doubled.explain()

    shown = capsys.readouterr().out
    assert "map at test_explaining.py" in shown
    assert shown.splitlines()[0].endswith(": columns")


def test_groups_of_one_value_are_known_before_they_are_made(
    sc: SparkContext, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is the same in every record has no column yet: a list of it will."""
    ones = sc.parallelize(range(10), 2).map(lambda n: (n % 3, 1))
    ones.groupByKey().mapValues(len).explain()
    ones.groupByKey().mapValues(sum).explain()
    none = sc.parallelize(range(10), 2).map(lambda n: (n % 3, None))
    none.groupByKey().mapValues(len).explain()
    shown = [line.split(": ", 1)[1] for line in capsys.readouterr().out.splitlines()]

    assert shown[0] == shown[5] == "columns"
    assert shown[12] == "rows: values that are all None are grouped"


def test_a_job_is_planned_by_what_is_expected_of_groups() -> None:
    """With so many records that processes are thought of."""
    with SparkContext("local[2]", "groups") as sc:
        ones = sc.parallelize(range(50_000), 2).map(lambda n: (n % 3, 1))
        counts = ones.groupByKey().mapValues(len).collectAsMap()
    assert counts == {0: 16_667, 1: 16_667, 2: 16_666}
