"""Tests of sql/connected.py: queries, views and the catalog."""

import pytest

from millstream.errors import AnalysisException
from millstream.sql import HiveContext, Row, SparkSession, SQLContext

pytestmark = pytest.mark.slow


def test_the_clients_own_methods_are_there(spark: SparkSession) -> None:
    """By `getattr` and by `dir`, for whoever completes names."""
    assert [row.id for row in spark.range(3).collect()] == [0, 1, 2]
    assert {"read", "range", "udf", "createDataFrame"} <= set(dir(spark))
    assert spark.range(1).sparkSession is spark


@pytest.mark.parametrize("kind", [SQLContext, HiveContext])
def test_the_older_doors_open(spark: SparkSession, kind: type[SQLContext]) -> None:
    """They warn, and lead to the session of the context."""
    with pytest.warns(FutureWarning, match="SparkSession.builder"):
        older = kind(spark.sparkContext)
    frame = older.createDataFrame([("a", 1)], ["name", "number"])
    with pytest.warns(FutureWarning, match="createOrReplaceTempView"):
        frame.registerTempTable("older")
    older.registerFunction("doubled", lambda number: number * 2, "int")

    assert older.sparkSession is spark
    rows = older.sql("select name, doubled(number) as twice from older").collect()
    assert rows == [Row(name="a", twice=2)]
    assert "older" in older.tableNames()
    older.dropTempTable("older")
    assert "older" not in older.tableNames()


def test_another_session_has_views_of_its_own(spark: SparkSession) -> None:
    """On the same context."""
    other = spark.newSession()
    spark.range(1).createOrReplaceTempView("mine")
    other.range(2).createOrReplaceTempView("mine")

    assert other.sparkContext is spark.sparkContext
    assert spark.table("mine").count() == 1
    assert other.table("mine").count() == 2


def test_a_query_is_bound_when_it_is_made(spark: SparkSession) -> None:
    """As Spark's are: a view that is replaced later doesn't change it."""
    spark.range(1).createOrReplaceTempView("numbers")
    before = spark.sql("select count(*) from numbers")
    spark.range(5).createOrReplaceTempView("numbers")

    assert before.first()[0] == 1
    assert spark.sql("select count(*) from Numbers").first()[0] == 5


def names_of(spark: SparkSession) -> set[str]:
    """Return the names in the catalog."""
    return {each.name for each in spark.catalog.listTables()}


def test_views_are_made_and_dropped_in_sql(spark: SparkSession) -> None:
    """They are in the catalog, and no longer."""
    spark.sql("create temp view one as select 1 as number")
    spark.sql("create or replace temporary view one as select 2 as number")

    assert spark.sql("select number from one").first().number == 2
    assert "one" in names_of(spark)
    shown = spark.sql("show tables like 'on*'").collect()
    assert shown == [Row(namespace="", tableName="one", isTemporary=True)]
    spark.sql("drop view one")
    spark.sql("drop view if exists one")
    assert "one" not in names_of(spark)
    with pytest.raises(AnalysisException, match="`one` cannot be found"):
        spark.sql("drop view one")


def test_a_view_isnt_made_over_another(spark: SparkSession) -> None:
    """Unless it is said to replace it."""
    frame = spark.range(1)
    frame.createOrReplaceTempView("taken")

    with pytest.raises(AnalysisException, match="`taken`"):
        frame.createTempView("taken")
    with pytest.raises(AnalysisException, match="`taken`"):
        spark.sql("create temp view taken as select 1")
    assert spark.catalog.dropTempView("taken")
    assert not spark.catalog.dropTempView("taken")
    frame.createTempView("taken")


def test_global_views_have_a_database_of_their_own(spark: SparkSession) -> None:
    """By its name before theirs."""
    spark.range(4).createOrReplaceGlobalTempView("all_of_us")

    assert spark.sql("select count(*) from global_temp.all_of_us").first()[0] == 4
    assert spark.table("global_temp.all_of_us").count() == 4
    found = spark.catalog.listTables("global_temp")
    assert [each.name for each in found] == ["all_of_us"]
    assert "all_of_us" not in names_of(spark)
    assert spark.catalog.dropGlobalTempView("all_of_us")


def test_views_on_views_are_kept_together(spark: SparkSession) -> None:
    """Each query brings along what it needs, however deep."""
    spark.range(10).createOrReplaceTempView("base")
    spark.sql("select id from base where id > 4").createOrReplaceTempView("middle")
    top = spark.sql("select sum(id) as total from middle")
    for name in ("base", "middle"):
        spark.catalog.dropTempView(name)

    assert top.first().total == 35


def test_names_in_texts_and_comments_are_no_views(spark: SparkSession) -> None:
    """And a view may be called like a column, or in backticks."""
    spark.createDataFrame([("words", 1)], ["word", "n"]).createOrReplaceTempView(
        "words"
    )
    query = "select word, 'words' as said from `words` /* words */ where n = 1 -- words"

    assert spark.sql(query).collect() == [Row(word="words", said="words")]
    query = "with words as (select 'other' as word) select word from words"
    assert spark.sql(query).first().word == "other"


def test_parameters_go_with_a_query(spark: SparkSession) -> None:
    """By name, by place, and frames by name."""
    frame = spark.range(5)

    assert spark.sql("select :a + 1 as b", args={"a": 41}).first().b == 42
    assert spark.sql("select ? as a, ? as b", args=[1, "x"]).first() == Row(a=1, b="x")
    found = spark.sql(
        "select max(id) as most from {numbers} where id < {n}", numbers=frame, n=3
    )
    assert found.first().most == 2


def test_the_catalog_tells_of_views(spark: SparkSession) -> None:
    """Their columns, and whether there is one."""
    spark.createDataFrame([(1, "a")], ["id", "name"]).createOrReplaceTempView("known")

    assert spark.catalog.tableExists("known")
    assert not spark.catalog.tableExists("unknown")
    assert spark.catalog.getTable("known").isTemporary
    columns = [(c.name, c.dataType) for c in spark.catalog.listColumns("known")]
    assert columns == [("id", "bigint"), ("name", "string")]


def test_what_a_view_gives_can_be_kept(spark: SparkSession) -> None:
    """By SQL and by the catalog: then it is computed once."""
    random = "select uuid() as id"
    spark.sql(f"cache table kept as {random}")
    assert spark.catalog.isCached("kept")
    assert spark.table("kept").first() == spark.table("kept").first()

    spark.sql("uncache table kept")
    assert not spark.catalog.isCached("kept")
    assert spark.table("kept").first() != spark.table("kept").first()
    spark.catalog.cacheTable("kept")
    assert spark.catalog.isCached("kept")
    spark.catalog.clearCache()
    assert not spark.catalog.isCached("kept")
    with pytest.raises(AnalysisException, match="`nothing` cannot be found"):
        spark.sql("cache table nothing")
