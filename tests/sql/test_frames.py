"""Tests of sql/frames.py: frames that are kept, and what else a frame can do."""

import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from millstream import StorageLevel
from millstream.engine.base.clock import monotonic_s
from millstream.errors import AnalysisException
from millstream.sql import Row, SparkSession, client, frames

pytestmark = pytest.mark.slow

col: Any = client.module("sql.connect.functions.builtin").col


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> Path:
    """Return where there are 5 numbers, in files."""
    place = tmp_path / "numbers"
    spark.range(5).write.parquet(place)
    return place


def take_away(place: Path) -> None:
    """Have files be where nobody looks: who reads them again fails."""
    place.rename(place.with_suffix(".away"))


def test_a_kept_frame_is_read_once(spark: SparkSession, place: Path) -> None:
    """By frames and views that were made of it before, too; until it is let go."""
    numbers = spark.read.parquet(place)
    numbers.createOrReplaceTempView("numbers")
    before = numbers.groupBy().count()
    bound = spark.sql("select sum(id) from numbers")

    assert numbers.cache() is numbers
    assert numbers.is_cached
    assert numbers.storageLevel == StorageLevel.MEMORY_AND_DISK_DESER
    assert spark.table("numbers").is_cached
    assert numbers.count() == 5
    take_away(place)

    assert numbers.schema.simpleString() == "struct<id:bigint>"
    assert before.first() == (5,)
    assert bound.first() == (10,)
    assert spark.sql("select max(id) from numbers where id < 3").first() == (2,)
    batch = spark.createDataFrame([(1, "a"), (9, "b")], "id long, word string")
    assert batch.join(numbers, "id").collect() == [Row(id=1, word="a")]
    numbers.unpersist()
    assert not numbers.is_cached
    assert numbers.storageLevel == StorageLevel.NONE
    for each in (before, bound, numbers):
        with pytest.raises(AnalysisException, match="PATH_NOT_FOUND"):
            each.collect()


@pytest.mark.parametrize("way", ["statement", "catalog", "frame of the view"])
def test_a_kept_view_is_read_once(spark: SparkSession, place: Path, way: str) -> None:
    """Whichever way it is asked for; frames that were made of it before use it."""
    spark.read.parquet(place).createOrReplaceTempView("numbers")
    before = spark.table("numbers").groupBy().count()
    match way:
        case "statement":
            spark.sql("cache table numbers")
        case "catalog":
            spark.catalog.cacheTable("numbers")
        case _:
            spark.table("numbers").cache()

    assert spark.catalog.isCached("numbers")
    assert spark.sql("select count(*) from numbers").first() == (5,)
    take_away(place)
    assert before.first() == (5,)
    spark.catalog.uncacheTable("numbers")
    assert not spark.catalog.isCached("numbers")
    with pytest.raises(AnalysisException, match="PATH_NOT_FOUND"):
        before.collect()


def test_looking_at_a_kept_frame_runs_nothing(spark: SparkSession) -> None:
    """Its columns, those of what is made of it, and its plan."""
    ran = spark.sparkContext.accumulator(0)

    def counted(rows: Any) -> Any:
        ran.add(1)
        return rows

    rdd = spark.sparkContext.parallelize([(1, "a")], 1).mapPartitions(counted)
    frame = spark.createDataFrame(rdd, "id long, word string").filter("id > 0").cache()
    other = frame.join(spark.range(3), "id").select("word")

    assert frame.columns == ["id", "word"]
    assert other.columns == ["word"]
    assert other.collect() == other.collect() == [Row(word="a")]
    assert ran.value == 1


def test_columns_are_asked_of_what_a_kept_frame_is_made_of(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    """By frames from before; where two have one name, it is run again, and logged."""
    base = spark.range(5)
    doubled = base.withColumn("twice", base.id * 2)
    earlier = doubled.twice
    large = doubled.filter(doubled.id > 2).cache()

    assert large.select(base.id, earlier, large.twice).collect() == [
        (3, 6, 6),
        (4, 8, 8),
    ]
    other = spark.range(3)
    joined = base.join(other, base.id == other.id).cache()
    assert joined.count() == 3
    with caplog.at_level(logging.WARNING, logger=frames.__name__):
        assert joined.select(other.id).count() == 3
    assert "columns=id,id" in caplog.text


def test_many_threads_compute_a_kept_frame_once(spark: SparkSession) -> None:
    """The others wait for the first."""
    ran = spark.sparkContext.accumulator(0)

    def counted(rows: Any) -> Any:
        ran.add(1)
        return rows

    rdd = spark.sparkContext.parallelize([(n,) for n in range(9)], 1)
    frame = spark.createDataFrame(rdd.mapPartitions(counted), "id long")
    frame = frame.select(col("id") + 1).cache()
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(frame.count())) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert counts == [9] * 4
    assert ran.value == 1


def test_a_kept_frame_goes_with_its_last_user(spark: SparkSession) -> None:
    """Nothing is held for frames of batches that are over."""
    frame = spark.range(100_000).cache()
    assert frame.count() == 100_000
    kept = weakref.ref(vars(frame._plan)["plan"])
    derived = frame.groupBy().count()
    del frame
    assert derived.first() == (100_000,)
    assert kept() is not None
    del derived
    gc.collect()

    assert kept() is None


def test_a_kept_frame_keeps_types(spark: SparkSession) -> None:
    """Nested ones, nulls, and moments in another zone of the session."""
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        text = (
            "select timestamp'2020-01-02 03:04:05' t, date'1960-01-01' d, "
            "named_struct('a', 1, 'b', cast(null as string)) s, map('k', array(1, null)) m, "
            "cast(1.5 as decimal(9,2)) n, timestamp_ntz'2020-01-02 03:04:05' z"
        )
        plain, kept = spark.sql(text), spark.sql(text).cache()
        assert kept.collect() == plain.collect()
        assert kept.schema == plain.schema
        shown = "cast(t as string)", "s.b is null", "m['k'][1] is null"
        assert kept.selectExpr(*shown).collect() == [
            ("2020-01-02 03:04:05", True, True)
        ]
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_kept_frame_outlives_the_engines_process(
    spark: SparkSession, place: Path
) -> None:
    """What is kept isn't in it."""
    numbers = spark.read.parquet(place).cache()
    assert numbers.count() == 5
    take_away(place)
    before = spark._backend.pid
    spark._backend.replace()

    assert spark._backend.pid != before
    assert numbers.count() == 5


def test_a_checkpoint_is_the_outcome_itself(spark: SparkSession, place: Path) -> None:
    """Computed now, or at first use; what it was made of may go."""
    numbers = spark.read.parquet(place)
    now, later = numbers.localCheckpoint(), numbers.checkpoint(eager=False)
    assert later.count() == 5
    take_away(place)

    assert now.count() == later.count() == 5


def test_a_batch_joins_a_large_kept_table_fast(spark: SparkSession) -> None:
    """A thousand rows with a million: far below a batch's interval."""
    static = spark.range(1_000_000).withColumn("twice", col("id") * 2).cache()
    static.count()
    static.createOrReplaceTempView("static")
    spent = []
    for start in range(5):
        batch = spark.createDataFrame(
            [(n * 7 + start,) for n in range(1000)], "id long"
        )
        batch.createOrReplaceTempView("batch")
        began_s = monotonic_s()
        text = "select count(*), sum(twice) from batch join static using (id)"
        total = 2 * sum(n * 7 + start for n in range(1000))
        assert spark.sql(text).first() == (1000, total)
        spent.append(monotonic_s() - began_s)

    assert min(spent) < 0.5, spent


def test_a_frame_becomes_other_libraries_tables(spark: SparkSession) -> None:
    """Arrow's and Polars'."""
    frame = spark.createDataFrame([(1, ["x", None])], "id int, tags array<string>")

    assert frame.toArrow().to_pylist() == [{"id": 1, "tags": ["x", None]}]
    expected = pl.DataFrame(
        {"id": pl.Series([1], dtype=pl.Int32), "tags": [["x", None]]}
    )
    assert frame.toPolars().equals(expected)
