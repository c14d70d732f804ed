"""Tests of sql/session.py."""

import pytest

from millstream import sql
from millstream.context import SparkContext
from millstream.engine.base.errors import IllegalStateError
from millstream.errors import SparkNoSuchElementException
from millstream.sql import SparkSession, SQLContext, is_remote


def test_a_builder_makes_the_context_it_needs() -> None:
    """Master, name and settings reach it; stopping the session stops it."""
    builder = SparkSession.builder.master("local[3]").appName("built")
    session = builder.config("spark.x", 1).config(map={"spark.y": True}).getOrCreate()

    with session:
        assert session.sparkContext.master == "local[3]"
        assert session.sparkContext.getConf().get("spark.x") == "1"
        assert session.conf.get("spark.y") == "True"
        assert session.version == session.sparkContext.version
    assert SparkContext._active_spark_context is None
    assert SparkSession.getActiveSession() is None


def test_there_is_one_session_a_context(sc: SparkContext) -> None:
    """Built again it is the same; later options are set on it."""
    first = SparkSession.builder.getOrCreate()
    second = SparkSession.builder.config("spark.later", "1").getOrCreate()

    assert first is second
    assert SparkSession.getActiveSession() is first
    assert first.sparkContext is sc
    assert first.conf.get("spark.later") == "1"


def test_a_new_context_has_a_new_session() -> None:
    """The one of a context that was stopped isn't handed out."""
    with SparkContext("local"):
        old = SparkSession.builder.getOrCreate()
    with SparkContext("local") as sc:
        assert SparkSession.getActiveSession() is None
        new = SparkSession.builder.getOrCreate()
        assert new is not old
        assert new.sparkContext is sc


def test_settings_are_read_and_set(sc: SparkContext) -> None:
    """Booleans in Spark's spelling; what isn't there is told, or the default."""
    conf = SparkSession(sc).conf
    conf.set("spark.flag", True)

    assert conf.get("spark.flag") == "true"
    assert conf.get("spark.master") == "local[2]"
    assert conf.getAll["spark.flag"] == "true"
    assert not conf.isModifiable("spark.flag")
    conf.unset("spark.flag")
    conf.unset("spark.flag")
    assert conf.get("spark.flag", None) is None
    assert conf.get("spark.flag", "d") == "d"
    with pytest.raises(SparkNoSuchElementException, match=r'"spark.flag"'):
        conf.get("spark.flag")


@pytest.mark.slow
def test_the_engine_starts_with_the_first_query(sc: SparkContext) -> None:
    """Not with the session; what was set before reaches it, and what is set later."""
    spark = SparkSession(sc)
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    assert spark._opened is None

    assert spark.sql("select current_timezone()").first()[0] == "Asia/Tokyo"
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert spark.sql("select current_timezone()").first()[0] == "UTC"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


@pytest.mark.slow
def test_a_stopped_session_says_so() -> None:
    """And its context is stopped with it."""
    session = SparkSession.builder.master("local").getOrCreate()
    session.range(1).collect()
    session.stop()

    with pytest.raises(IllegalStateError, match="was stopped"):
        session.sql("select 1")


def test_python_still_sees_that_private_names_are_missing(sc: SparkContext) -> None:
    """`hasattr` and copies ask for them."""
    assert not hasattr(SparkSession(sc), "_nothing")


def test_the_older_door_finds_the_live_context(sc: SparkContext) -> None:
    """Without being told which."""
    with pytest.warns(FutureWarning, match="Deprecated in 3.0.0"):
        door = SQLContext.getOrCreate()

    assert door.sparkSession.sparkContext is sc


def test_no_session_is_remote() -> None:
    """Programs that ask go on with what has a SparkContext."""
    assert not is_remote()


def test_every_public_name_of_pysparks_package_is_there() -> None:
    """Those that are the client's are loaded when they are first used."""
    for name in sql.__all__:
        assert getattr(sql, name).__name__ == name
