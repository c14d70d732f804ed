"""Golden queries: small programs whose output is known from a real PySpark."""

import datetime
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Sql:
    """What a query may use: PySpark's names, from whichever package."""

    spark: Any
    F: Any
    T: Any
    Window: Any
    Row: Any


@dataclass(frozen=True, slots=True)
class Query:
    """One program, and whether Spark defines the order of the lines it prints."""

    name: str
    run: Callable[[Sql], Any]
    is_ordered: bool

    def output(self, sql: Sql) -> str:
        """Return what the program prints, and what it returns."""
        with redirect_stdout(io.StringIO()) as printed:
            returned = self.run(sql)
        return printed.getvalue() + ("" if returned is None else f"{returned!r}\n")


QUERIES: Final[dict[str, Query]] = {}
SETTINGS: Final = {"spark.sql.session.timeZone": "UTC"}


def query(
    *, is_ordered: bool = True
) -> Callable[[Callable[[Sql], Any]], Callable[[Sql], Any]]:
    """Enter the function into QUERIES under its name."""

    def enter(function: Callable[[Sql], Any]) -> Callable[[Sql], Any]:
        name = function.__name__
        assert name not in QUERIES, f"two queries are called {name}"
        QUERIES[name] = Query(name, function, is_ordered)
        return function

    return enter


@contextmanager
def _view(frame: Any, name: str) -> Iterator[None]:
    """Give a frame a name inside the block."""
    frame.createOrReplaceTempView(name)
    try:
        yield
    finally:
        frame.sparkSession.catalog.dropTempView(name)


def _show(sql: Sql, text: str) -> None:
    """Print all that a statement answers."""
    sql.spark.sql(text).show(truncate=False)


def _show_types(sql: Sql, text: str) -> None:
    """Print what a statement answers, and its types; what may be null has its own."""
    frame = sql.spark.sql(text)
    frame.show(truncate=False)
    for name, kind in frame.dtypes:
        print(f"{name}: {kind}")


def _show_error(action: Callable[[], Any]) -> None:
    """Print the class and the condition of what an action raises."""
    try:
        action()
    except Exception as error:
        condition = getattr(error, "getCondition", lambda: "no condition")
        print(type(error).__name__, condition())
    else:
        print("no error")


def _harvest(sql: Sql) -> Any:
    """Return a table of flour: who milled how much of which grain in which month."""
    rows = [
        ("Anna", "rye", 1, 40),
        ("Anna", "oats", 1, 15),
        ("Anna", "rye", 2, 35),
        ("Bela", "rye", 1, 20),
        ("Bela", "wheat", 2, 60),
        ("Cleo", "oats", 2, 15),
        ("Cleo", None, 3, None),
    ]
    return sql.spark.createDataFrame(
        rows, "miller string, grain string, month int, sacks int"
    )


def _millers(sql: Sql) -> Any:
    """Return a table that joins to the harvest, each side with a row of its own."""
    rows = [("Anna", "north"), ("Bela", "south"), ("Dora", "east"), (None, "west")]
    return sql.spark.createDataFrame(rows, "miller string, bank string")


# show()


@query()
def show_plain(sql: Sql) -> None:
    """Numbers, texts, flags and nulls, right-aligned."""
    rows = [
        (1, "wheel", 0.5, True),
        (20, None, -3.0, False),
        (None, "a text of more than twenty letters", None, None),
    ]
    schema = "id int, name string, ratio double, is_running boolean"
    sql.spark.createDataFrame(rows, schema).show()


@query()
def show_exactly_twenty_letters(sql: Sql) -> None:
    """A text of 20 letters stays, one of 21 is cut."""
    rows = [("abcdefghijklmnopqrst",), ("abcdefghijklmnopqrstu",)]
    sql.spark.createDataFrame(rows, ["letters"]).show()


@query()
def show_untruncated(sql: Sql) -> None:
    """Nothing is cut, and cells are left-aligned."""
    rows = [(1, "the river turns the wheel, the wheel turns the stone"), (22, "")]
    sql.spark.createDataFrame(rows, ["id", "sentence"]).show(truncate=False)


@query()
def show_truncated_at_a_width(sql: Sql) -> None:
    """With room for dots there are dots; below four there are none."""
    frame = sql.spark.createDataFrame([("waterwheel", 1234567890)], ["part", "n"])
    frame.show(truncate=6)
    frame.show(truncate=4)
    frame.show(truncate=3)
    frame.show(truncate=1)


@query()
def show_vertical(sql: Sql) -> None:
    """A line a column, a heading a row."""
    rows = [(1, "sluice", None), (2, "a gate that holds the water back", 2.5)]
    frame = sql.spark.createDataFrame(rows, "id int, a_longer_name string, x double")
    frame.show(vertical=True)


@query()
def show_vertical_cut(sql: Sql) -> None:
    """Fewer rows, cut cells, or none at all."""
    frame = sql.spark.range(12).selectExpr("id", "repeat('ab', 15) as text")
    frame.show(2, 9, True)
    frame.show(1, truncate=False, vertical=True)
    frame.filter("id < 0").show(vertical=True)


@query()
def show_top_rows(sql: Sql) -> None:
    """It says that there are more rows, and only then."""
    frame = sql.spark.range(5)
    frame.show(2)
    frame.show(5)
    frame.show(6)


@query()
def show_top_row(sql: Sql) -> None:
    """One row isn't called rows; none are asked for too."""
    sql.spark.range(3).show(1)
    sql.spark.range(3).show(0)


@query()
def show_twenty_rows_unless_told(sql: Sql) -> None:
    """The default is 20 rows."""
    sql.spark.range(23).show()


@query()
def show_empty(sql: Sql) -> None:
    """No rows: the heading stays."""
    sql.spark.createDataFrame([], "name string, id int").show()


@query()
def show_without_columns(sql: Sql) -> None:
    """Rows of nothing."""
    sql.spark.range(2).select().show()


@query()
def show_nested(sql: Sql) -> None:
    """Arrays, maps and structs in cells, nulls inside them too."""
    rows = [
        ([1, None, 3], {"a": 1, "b": None}, ("x", None)),
        ([], {}, (None, 2)),
        (None, None, None),
    ]
    schema = "a array<int>, m map<string, int>, s struct<t: string, n: int>"
    sql.spark.createDataFrame(rows, schema).show(truncate=False)


@query()
def show_deeply_nested(sql: Sql) -> None:
    """Arrays of structs of arrays, made by SQL."""
    _show_types(
        sql,
        """
        SELECT array(named_struct('k', 'a', 'v', array(1, 2)),
                     named_struct('k', 'b', 'v', array(3))) AS x,
               map('m', map(1, true)) AS y,
               array(array('p'), array('q', NULL), NULL) AS z
        """,
    )


@query()
def show_doubles(sql: Sql) -> None:
    """When doubles take an exponent, and their special values."""
    numbers = [0.1, 100.0, 1e7, 12345678.9, 1e-3, 1e-4, 1.5e300, -0.0, 1 / 3]
    special = [float("nan"), float("inf"), float("-inf")]
    rows = [(each,) for each in numbers + special]
    sql.spark.createDataFrame(rows, ["x"]).show(truncate=False)


@query()
def show_floats(sql: Sql) -> None:
    """Single precision prints its own shortest form."""
    numbers = "0.1, 16777216, 1e10, 3.4028235e38, 1e-5, 0.33333334"
    _show(
        sql,
        f"SELECT x, CAST(x AS double) AS y FROM (SELECT explode(array({numbers}))"
        " AS z) LATERAL VIEW explode(array(CAST(z AS float))) t AS x",
    )


@query()
def show_control_characters(sql: Sql) -> None:
    """Line ends and tabs are written as escapes."""
    rows = [("one\ntwo",), ("tab\there",), ("return\r",), ("bell\a\b\f\v",)]
    sql.spark.createDataFrame(rows, ["text"]).show(truncate=False)


@query()
def show_binary(sql: Sql) -> None:
    """Bytes are pairs of hexadecimal digits."""
    rows = [(bytearray(b"mill"),), (bytearray(b""),), (None,)]
    sql.spark.createDataFrame(rows, "raw binary").show()


@query()
def show_wide_characters(sql: Sql) -> None:
    """Chinese, Japanese and Korean letters take two cells."""
    rows = [
        ("水車", "a"),
        ("すいしゃ", "bb"),
        ("물레방아", "ccc"),
        ("mill", "\uff46\uff55\uff4c\uff4c"),
    ]
    frame = sql.spark.createDataFrame(rows, ["名前", "x"])
    frame.show()
    frame.show(truncate=False)


@query()
def show_wide_characters_cut(sql: Sql) -> None:
    """A cut counts letters, not cells."""
    rows = [("水車は川の流れで回り、石臼を動かして麦を挽く。昔の話。",), ("short",)]
    frame = sql.spark.createDataFrame(rows, ["文"])
    frame.show()
    frame.show(truncate=8)


@query()
def show_vertical_wide(sql: Sql) -> None:
    """Wide letters in names and cells of a vertical table."""
    rows = [("水車は川の流れで回り、石臼を動かして麦を挽く。昔の話。", 1), ("short", 2)]
    sql.spark.createDataFrame(rows, ["文", "番号"]).show(vertical=True)


@query()
def show_emoji(sql: Sql) -> None:
    """Characters beyond the basic plane."""
    rows = [("🌊",), ("🌾🌾",), ("👩‍🌾",), ("🇩🇪",), ("𝔪𝔦𝔩𝔩",)]
    sql.spark.createDataFrame(rows, ["sign"]).show()


@query()
def show_emoji_cut(sql: Sql) -> None:
    """A cut among characters beyond the basic plane."""
    rows = [("🌊" * 25,), ("a" + "🌾" * 12,)]
    sql.spark.createDataFrame(rows, ["sign"]).show()


@query()
def show_combining_characters(sql: Sql) -> None:
    """Accents of their own, right-to-left and zero-width letters."""
    rows = [("Mu\u0308hle",), ("Mühle",), ("טחנה",), ("طاحونة",), ("a\u200bb",), ("ｶﾞ",)]
    sql.spark.createDataFrame(rows, ["word"]).show()


# Schemas


@query()
def print_schema_flat(sql: Sql) -> None:
    """Every simple type has its name."""
    schema = (
        "a tinyint, b smallint, c int, d bigint, e float, f double, g decimal(9,2),"
        " h string, i binary, j boolean, k date, l timestamp, m timestamp_ntz"
    )
    sql.spark.createDataFrame([], schema).printSchema()


@query()
def print_schema_nested(sql: Sql) -> None:
    """Elements, keys and values are indented; levels can be limited."""
    schema = (
        "id int not null, tags array<string>, sizes map<string, array<int>>,"
        " maker struct<name: string, works: array<struct<year: int, what: string>>>"
    )
    frame = sql.spark.createDataFrame([], schema)
    frame.printSchema()
    frame.printSchema(2)


@query()
def print_schema_of_intervals(sql: Sql) -> None:
    """Two kinds of intervals."""
    text = "SELECT INTERVAL '1-2' YEAR TO MONTH AS a, INTERVAL '3' DAY AS b"
    sql.spark.sql(text).printSchema()


@query()
def dtypes_and_columns(sql: Sql) -> Any:
    """Types by their short names."""
    frame = sql.spark.sql(
        "SELECT 1 AS a, 2L AS b, 1.50 AS c, 1e0 AS d, 'x' AS e, array(1) AS f,"
        " map('k', 1) AS g, named_struct('p', 1, 'q', 'z') AS h, NULL AS i,"
        " DATE'2024-02-29' AS j, X'00' AS k, true AS l"
    )
    print(frame.columns)
    return frame.dtypes


@query()
def schema_repr(sql: Sql) -> Any:
    """A schema as Python, as a short text and as JSON."""
    schema = "id int not null, tags array<string>, m map<string, double>"
    frame = sql.spark.createDataFrame([], schema)
    print(frame.schema.simpleString())
    print(frame.schema.json())
    print(frame.schema["tags"], frame.schema.fieldNames())
    return frame.schema


@query()
def schema_of_expressions(sql: Sql) -> Any:
    """What is nullable, and which types expressions get."""
    frame = sql.spark.range(1).selectExpr(
        "id + 1", "id / 2", "id * 1.5", "concat(id, 'x')", "count(*) OVER () AS n"
    )
    frame.printSchema()
    return frame.schema


@query()
def schema_of_functions(sql: Sql) -> None:
    """What functions say may be null."""
    text = (
        "SELECT make_date(2024, 2, 29) AS a, to_date('29/02/2024', 'dd/MM/yyyy') AS b,"
        " -1.50 AS c, round(2.345, 2) AS d, collect_list(id) AS e, make_ym_interval(1, 2)"
        " AS f, sort_array(collect_set(id)) AS g, count(id) AS h FROM range(2)"
    )
    sql.spark.sql(text).printSchema()
    sql.spark.sql("SELECT explode(map('k', 1.5D))").printSchema()
    frame = sql.spark.sql("SELECT TIMESTAMP'2024-01-01 10:00:03' AS at")
    frame.groupBy(sql.F.window("at", "10 seconds")).count().printSchema()


@query()
def frame_repr(sql: Sql) -> Any:
    """Columns and types in brackets."""
    print(repr(sql.spark.range(1)))
    print(repr(_harvest(sql).groupBy("miller").agg(sql.F.sum("sacks"))))
    return sql.spark.sql("SELECT array(1) AS a, named_struct('x', 1.0) AS `b c`")


@query()
def names_of_expressions(sql: Sql) -> Any:
    """The names that columns get by themselves."""
    frame = sql.spark.sql(
        "SELECT 1, 'a', 1 + 2, -id, id % 2, NOT true, id > 1 OR id = 0,"
        " CASE WHEN id > 0 THEN 'x' ELSE 'y' END, CAST(id AS string),"
        " upper('a'), coalesce(id, 0), DATE'2024-01-01', 1.50, 2.0D, array(1, 2)[0],"
        " named_struct('f', 1).f, id <=> 1, id = 1 AND id < 5"
        " FROM range(1)"
    )
    return frame.columns


@query()
def names_of_predicates(sql: Sql) -> Any:
    """The names of IN, IS, BETWEEN and LIKE."""
    frame = sql.spark.sql(
        "SELECT id IN (1, 2), id IS NULL, id IS NOT NULL, id BETWEEN 1 AND 2,"
        " (id > 1) IS TRUE, 'a' LIKE 'b', 'a' RLIKE 'b' FROM range(1)"
    )
    return frame.columns


@query()
def names_of_functions(sql: Sql) -> Any:
    """The names of functions that Spark writes in another way."""
    frame = sql.spark.sql(
        "SELECT if(id > 0, 1, 2), id div 2, percentile(id, 0.5), mean(id), nvl(1, 2),"
        " count(*) OVER (), row_number() OVER (ORDER BY id) FROM range(1) GROUP BY id"
    )
    return frame.columns


@query()
def names_of_columns_of_the_api(sql: Sql) -> Any:
    """The same, said in Python."""
    F = sql.F
    frame = sql.spark.range(1)
    selected = frame.select(
        F.col("id") + 1,
        -F.col("id"),
        F.lit("x"),
        F.col("id").cast("string"),
        F.when(F.col("id") > 0, "a").otherwise("b"),
        F.col("id").isin(1, 2),
        F.col("id").isNull(),
        F.concat_ws("-", F.col("id"), F.lit("y")),
        F.expr("id * 2"),
        ~(F.col("id") == 3),
    )
    return selected.columns


@query()
def column_repr(sql: Sql) -> Any:
    """Columns print their expression."""
    F = sql.F
    print(F.col("a"), F.col("a") + 1, F.col("a").alias("b"), F.lit(1))
    return F.col("a").desc()


@query()
def column_repr_of_texts(sql: Sql) -> Any:
    """A text prints in quotes."""
    return sql.F.lit("x")


@query()
def describe_all(sql: Sql) -> None:
    """Five figures of each column."""
    _harvest(sql).describe().show()


@query()
def describe_one(sql: Sql) -> None:
    """Five figures of one column."""
    _harvest(sql).describe("sacks").show()


@query()
def summary(sql: Sql) -> None:
    """The figures asked for."""
    frame = sql.spark.range(1, 9).selectExpr("id", "id * 0.5D AS half")
    frame.summary("count", "min", "max").show()


@query()
def summary_with_percentiles(sql: Sql) -> None:
    """Eight figures, percentiles among them."""
    sql.spark.range(1, 9).selectExpr("id", "id * 0.5D AS half").summary().show()


# createDataFrame()


@query()
def create_from_rows(sql: Sql) -> Any:
    """Names and types come from the rows."""
    Row = sql.Row
    rows = [Row(name="Anna", sacks=40), Row(name="Bela", sacks=None)]
    frame = sql.spark.createDataFrame(rows)
    frame.printSchema()
    return frame.collect()


@query()
def create_from_a_class_of_rows(sql: Sql) -> Any:
    """Rows made by a row of names."""
    Sack = sql.Row("grain", "kilos")
    return sql.spark.createDataFrame([Sack("rye", 50.5), Sack("oats", 40.0)]).collect()


@query()
def create_from_tuples(sql: Sql) -> Any:
    """Names given, some, or none."""
    rows = [(1, "rye", 2.5), (2, "oats", None)]
    sql.spark.createDataFrame(rows, ["id", "grain", "kilos"]).show()
    sql.spark.createDataFrame(rows, ["id"]).show()
    return sql.spark.createDataFrame(rows)


@query()
def create_from_dicts(sql: Sql) -> None:
    """Columns of dicts, missing keys too."""
    rows = [
        {"name": "Anna", "sacks": 3},
        {"sacks": 4, "name": "Bela"},
        {"name": "Cleo"},
    ]
    frame = sql.spark.createDataFrame(rows)
    frame.show()
    frame.printSchema()


@query()
def create_from_pandas(sql: Sql) -> None:
    """Types of pandas become Spark's."""
    pandas = import_module("pandas")
    data = pandas.DataFrame(
        {
            "id": [1, 2, 3],
            "x": [0.5, None, 2.0],
            "word": ["a", None, "ccc"],
            "flag": [True, False, True],
            "day": [datetime.date(2024, 1, each) for each in (1, 2, 3)],
        }
    )
    frame = sql.spark.createDataFrame(data)
    frame.show()
    frame.printSchema()


@query()
def create_with_a_struct_type(sql: Sql) -> Any:
    """Types and nullability are as they are given."""
    T = sql.T
    schema = T.StructType(
        [
            T.StructField("id", T.ShortType(), nullable=False),
            T.StructField("price", T.DecimalType(8, 3)),
            T.StructField("tags", T.ArrayType(T.StringType(), containsNull=False)),
        ]
    )
    rows = [(1, Decimal("2.5"), ["a", "b"]), (2, None, [])]
    frame = sql.spark.createDataFrame(rows, schema)
    frame.show()
    frame.printSchema()
    return frame.collect()


@query()
def create_with_a_text_of_types(sql: Sql) -> Any:
    """Types by words, with and without colons."""
    sql.spark.createDataFrame([(1, "x")], "id: int, `a name`: string").show()
    return sql.spark.createDataFrame([(1.5, None)], "x float, y date").collect()


@query()
def create_of_single_values(sql: Sql) -> Any:
    """A simple type makes one column, called value."""
    sql.spark.createDataFrame([3, None, 5], sql.T.IntegerType()).show()
    return sql.spark.createDataFrame(["a", "b"], "string").collect()


@query()
def create_with_nulls_first(sql: Sql) -> None:
    """A type is found in a later row."""
    rows = [(None, 1), ("x", None), (None, None)]
    frame = sql.spark.createDataFrame(rows, ["a", "b"])
    frame.show()
    frame.printSchema()


@query()
def create_nested(sql: Sql) -> Any:
    """Lists, dicts and rows inside rows, with their types found."""
    Row = sql.Row
    rows = [
        Row(id=1, tags=["a", None], sizes={"x": 1}, at=Row(lat=1.5, names=["p"])),
        Row(id=2, tags=[], sizes={}, at=Row(lat=None, names=None)),
    ]
    frame = sql.spark.createDataFrame(rows)
    frame.printSchema()
    frame.show(truncate=False)
    return frame.collect()


@query()
def create_with_null_structs(sql: Sql) -> Any:
    """A field of a null struct is null."""
    rows = [(1, ("Anna", 3)), (2, None), (3, (None, None))]
    schema = "id int, maker struct<name: string, works: int>"
    frame = sql.spark.createDataFrame(rows, schema)
    frame.select("id", "maker", "maker.name", "maker.works").show()
    frame.selectExpr(
        "id", "maker IS NULL AS a", "maker.name IS NULL AS b", "maker.works + 1 AS c"
    ).show()
    return frame.collect()


@query()
def create_with_null_structs_in_structs(sql: Sql) -> None:
    """A null at any level reaches all that is below it."""
    rows = [(1, ((7, "x"),)), (2, (None,)), (3, None)]
    schema = "id int, o struct<i: struct<n: int, t: string>>"
    frame = sql.spark.createDataFrame(rows, schema)
    frame.select("id", "o.i", "o.i.n", "o.i.t").show()
    frame.filter("o.i.t IS NULL").select("id").show()
    frame.filter("o.i.t = ''").select("id").show()


@query()
def create_with_null_structs_in_arrays(sql: Sql) -> None:
    """Structs in lists may be null as well."""
    rows = [(1, [(1, "a"), None]), (2, None), (3, [])]
    frame = sql.spark.createDataFrame(
        rows, "id int, l array<struct<n: int, t: string>>"
    )
    frame.show(truncate=False)
    frame.selectExpr("id", "l.t AS t", "size(l) AS size").show(truncate=False)


@query()
def create_with_dates_and_decimals(sql: Sql) -> Any:
    """Types found for Python's dates, moments, decimals and bytes."""
    noon = datetime.datetime(2024, 2, 29, 12, 30, 0, 250000, tzinfo=datetime.UTC)
    rows = [
        (datetime.date(2024, 2, 29), noon, Decimal("12.50"), bytearray(b"ab"), 2**40)
    ]
    frame = sql.spark.createDataFrame(rows, ["day", "at", "price", "raw", "big"])
    frame.show(truncate=False)
    frame.printSchema()
    return frame.select("day", "price", "raw", "big").collect()


@query()
def create_refuses_what_does_not_fit(sql: Sql) -> None:
    """Values are checked against the schema."""
    create = sql.spark.createDataFrame
    _show_error(lambda: create([("x",)], "id int").collect())
    _show_error(lambda: create([(None,)], "id int not null").collect())
    _show_error(lambda: create([(1, 2)], "id int").collect())
    _show_error(lambda: create([(300,)], "id tinyint").collect())


@query()
def create_refuses_what_has_no_type(sql: Sql) -> None:
    """An empty list, and a column of nulls."""
    create = sql.spark.createDataFrame
    _show_error(lambda: create([]))
    _show_error(lambda: create([(None,)], ["a"]).collect())
    _show_error(lambda: create([(1,), ("x",)], ["a"]).collect())


# Texts


@query()
def text_padding(sql: Sql) -> None:
    """Padding and cutting count letters, wide ones too."""
    _show(
        sql,
        "SELECT lpad('7', 3, '0') a, rpad('mill', 2, 'x') b, rpad('ab', 7, 'xyz') c,"
        " lpad('水車', 5, '*') d, lpad('ab', 4) e, lpad('ab', 0, 'x') f,"
        " lpad(NULL, 3, 'x') g, rpad('a', 3, '') h",
    )


@query()
def text_lengths(sql: Sql) -> None:
    """Letters, bytes and bits; reversing keeps letters whole."""
    _show(
        sql,
        "SELECT t, length(t), octet_length(t), bit_length(t), reverse(t),"
        " substring(t, 2, 2), left(t, 1), right(t, 1)"
        " FROM VALUES ('mill'), ('水車場'), ('🌊ab'), (''), (NULL) AS v(t)",
    )


@query()
def text_cases(sql: Sql) -> None:
    """Upper, lower and initial letters of several alphabets."""
    _show(
        sql,
        "SELECT t, upper(t), lower(t), initcap(t) FROM VALUES ('the miLL wheel'),"
        " ('straße'), ('ÉTÉ à paris'), ('  two  blanks') AS v(t)",
    )


@query()
def text_initial_letters(sql: Sql) -> None:
    """Only blanks part words; a last sigma has its own form."""
    _show(sql, """SELECT initcap('mill-wheel o"clock x_y') a, initcap('ΣΟΦΟΣ') b""")


@query()
def text_joining(sql: Sql) -> None:
    """A null ends concat, and is left out by concat_ws."""
    _show(
        sql,
        "SELECT concat('a', 1, true), concat('a', NULL), concat_ws('-', 'a', NULL, 'b'),"
        " concat_ws(',', array('x', NULL, 'y'), 'z'), concat_ws('|'), 'a' || 'b' || 2,"
        " repeat('ab', 3), space(2) || '.'",
    )


@query()
def text_replacing(sql: Sql) -> None:
    """translate, replace, overlay and substring_index."""
    _show(
        sql,
        "SELECT translate('millstream', 'mls', 'ML') a, replace('aXbX', 'X', '--') b,"
        " overlay('millstone' PLACING 'wheel' FROM 5) c,"
        " substring_index('a.b.c.d', '.', 2) d, substring_index('a.b.c.d', '.', -1) e,"
        " substring_index('abc', '.', 1) f, replace('abc', '', 'x') g",
    )


@query()
def text_formatting(sql: Sql) -> None:
    """format_number groups digits and rounds to even; format_string is printf."""
    _show(
        sql,
        "SELECT format_number(1234567.891, 2) a, format_number(0.5, 0) b,"
        " format_number(1.5D, 0) c, format_number(-1234.5, 1) d,"
        " format_number(12332.123456, '#,###.00') e,"
        " format_string('%s has %05d of %.2f%%', 'mill', 42, 3.14159D) f,"
        " printf('%-6s|%+d|%x', 'ab', 7, 255) g",
    )


@query()
def text_trimming(sql: Sql) -> None:
    """Blanks, or other letters, at either end."""
    _show(
        sql,
        "SELECT concat('[', trim('  a b '), ']') a, concat('[', ltrim('  a '), ']') b,"
        " concat('[', rtrim(' a  '), ']') c, trim(BOTH 'x' FROM 'xxaxx') d,"
        " trim(LEADING 'xy' FROM 'yxayx') e, btrim('--a--', '-') f,"
        " concat('[', trim('\\ta\\n'), ']') g",
    )


@query()
def text_searching(sql: Sql) -> None:
    """Positions count from one; zero is none."""
    _show(
        sql,
        "SELECT instr('millstream', 's') a, locate('l', 'millstream', 4) b,"
        " position('z' IN 'mill') c, contains('mill', 'il') d, startswith('mill', 'mi') e,"
        " endswith('mill', NULL) f, find_in_set('b', 'a,b,c') g, locate('', 'abc') h",
    )


@query()
def text_like(sql: Sql) -> None:
    """Patterns of LIKE, with an escape and in both cases."""
    _show(
        sql,
        "SELECT t, t LIKE 'mi%' a, t LIKE '_ill' b, t LIKE '%!%%' ESCAPE '!' c,"
        " t ILIKE 'MILL' d, t NOT LIKE '%e%' e"
        " FROM VALUES ('mill'), ('mile'), ('100%'), (''), (NULL) AS v(t)",
    )


@query()
def text_like_any(sql: Sql) -> None:
    """One of several patterns, or all of them."""
    _show(
        sql,
        "SELECT t, t LIKE ANY ('a%', '%l') a, t LIKE ALL ('m%', '%l') b"
        " FROM VALUES ('mill'), ('mile') AS v(t)",
    )


@query()
def text_regular_expressions(sql: Sql) -> None:
    """Matching, extracting, replacing and counting."""
    _show(
        sql,
        r"""
        SELECT t, t RLIKE '^[a-z]+\\d' a, regexp_extract(t, '([a-z]+)(\\d*)', 2) b,
               regexp_extract(t, '\\d+', 0) c, regexp_replace(t, '(\\d)', '<$1>') d,
               regexp_extract_all(t, '(\\d)', 1) e, regexp_count(t, '[a-z]') f,
               regexp_instr(t, '\\d') g, regexp_substr(t, '\\d+') h
        FROM VALUES ('ab12'), ('x-7-y8'), ('none'), ('') AS v(t)
        """,
    )


@query()
def text_splitting(sql: Sql) -> None:
    """Splitting by patterns, with limits, and parts by number."""
    _show(
        sql,
        "SELECT split('a1b22c', '[0-9]+') a, split('a,b,,', ',') b, split('a,b,c', ',', 2)"
        " c, split_part('a.b.c', '.', 2) e, split_part('a.b', '.', -1)"
        " f, split_part('a.b', '.', 5) g, split('', ',') h",
    )


@query()
def text_splitting_into_letters(sql: Sql) -> None:
    """An empty pattern parts all letters."""
    _show(sql, "SELECT split('abc', '') a, split('水車', '') b")


@query()
def text_encoding(sql: Sql) -> None:
    """Codes, digests and distances."""
    _show(
        sql,
        "SELECT hex('mill') a, unhex('6D') b, base64('mill') c,"
        " CAST(unbase64('bWlsbA==') AS string) d, md5('mill') e, crc32('mill') f,"
        " ascii('m') g, chr(109) h, levenshtein('mill', 'mile') i, soundex('Miller') j",
    )
    _show(
        sql,
        "SELECT sha1('mill') a, sha2('mill', 256) b, hex(255) c, bin(10) d,"
        " conv('ff', 16, 10) e, url_encode('a b&c') f, encode('é', 'utf-8') g",
    )


@query()
def text_hashes(sql: Sql) -> None:
    """Spark's own hashes."""
    _show(
        sql,
        "SELECT hash('mill') a, xxhash64('mill') b, hash(1, 'x') c, xxhash64(NULL) d,"
        " hash(2L) e",
    )


@query()
def text_comparing(sql: Sql) -> None:
    """Texts compare by their bytes, and turn into numbers beside numbers."""
    _show(
        sql,
        "SELECT 'a' < 'B' a, 'é' > 'z' b, '10' > 9 c, '1' = 1 d, 'a' = 'a ' e,"
        " greatest('b', 'a', NULL) f, '' IS NULL g",
    )


# Dates and moments


@query()
def date_formats(sql: Sql) -> None:
    """Patterns of date_format."""
    _show(
        sql,
        "SELECT date_format(t, 'yyyy-MM-dd') a, date_format(t, 'dd.MM.yy HH:mm:ss.SSS') b,"
        " date_format(t, 'EEE, d MMM yyyy') c, date_format(t, 'EEEE MMMM') d,"
        " date_format(t, 'h:mm a') e, date_format(t, 'D') f, date_format(t, \"'Q'q\") g"
        " FROM VALUES (TIMESTAMP'2024-02-29 17:05:09.123456'), (TIMESTAMP'1999-12-31'),"
        " (NULL) AS v(t)",
    )


@query()
def date_arithmetic(sql: Sql) -> None:
    """Adding days and months; the end of a month stays one only by chance."""
    _show(
        sql,
        "SELECT d, date_add(d, 1) a, date_sub(d, 30) b, add_months(d, 1) c,"
        " datediff(DATE'2024-03-01', d) e, d + 7 f,"
        " last_day(d) h, next_day(d, 'Mon') i"
        " FROM VALUES (DATE'2024-02-29'), (DATE'2023-12-31'), (NULL) AS v(d)",
    )


@query()
def date_differences(sql: Sql) -> None:
    """A date less a date is an interval of days."""
    _show_types(sql, "SELECT DATE'2024-03-01' - DATE'2024-02-28' a")


@query()
def date_months_between(sql: Sql) -> None:
    """Whole months, and the rest as 31sts."""
    _show(
        sql,
        "SELECT months_between('2024-03-31', '2024-02-29') a,"
        " months_between(DATE'2024-03-15', DATE'2024-02-29') b,"
        " months_between(TIMESTAMP'2024-03-15 12:00:00', TIMESTAMP'2023-01-01') c,"
        " months_between('2024-01-10', '2024-03-11', false) d",
    )


@query()
def date_truncating(sql: Sql) -> None:
    """Trunc of dates, date_trunc of moments."""
    _show(
        sql,
        "SELECT trunc(d, 'year') a, trunc(d, 'MM') b, trunc(d, 'quarter') c,"
        " trunc(d, 'week') e, date_trunc('hour', t) g,"
        " date_trunc('WEEK', t) h, date_trunc('millisecond', t) i"
        " FROM VALUES (DATE'2024-08-15', TIMESTAMP'2024-08-15 10:20:30.456789') AS v(d, t)",
    )


@query()
def date_truncating_to_nonsense(sql: Sql) -> None:
    """An unknown unit is null."""
    _show(
        sql,
        "SELECT trunc(DATE'2024-08-15', 'nonsense') a,"
        " date_trunc('nonsense', TIMESTAMP'2024-08-15 10:20:30') b",
    )


@query()
def date_year_of_week(sql: Sql) -> None:
    """The year that a week belongs to."""
    _show(sql, "SELECT extract(YEAROFWEEK FROM DATE'2024-12-30') a")


@query()
def date_week_days(sql: Sql) -> None:
    """Monday is 0, and Sunday 6."""
    _show(
        sql,
        "SELECT d, weekday(d) a, dayofweek(d) b FROM VALUES (DATE'2024-12-30'),"
        " (DATE'2025-01-04'), (DATE'2025-01-05') AS v(d)",
    )


@query()
def date_parts(sql: Sql) -> None:
    """Years to seconds."""
    _show(
        sql,
        "SELECT year(t) a, quarter(t) b, month(t) c, day(t) d, dayofyear(t) e,"
        " dayofweek(t) f, weekofyear(t) h, hour(t) i, minute(t) j,"
        " second(t) k, extract(SECOND FROM t) l,"
        " dayname(t) n, monthname(t) o"
        " FROM VALUES (TIMESTAMP'2024-12-30 23:59:58.75'), (TIMESTAMP'2023-01-01') AS v(t)",
    )


@query()
def date_parsing(sql: Sql) -> None:
    """Texts to dates and moments, with and without a pattern."""
    _show_types(
        sql,
        "SELECT to_date('2024-02-29') a, to_date('29/02/2024', 'dd/MM/yyyy') b,"
        " to_timestamp('2024-02-29 10:11:12.5') c,"
        " to_timestamp('Feb 29 2024 1PM', 'MMM dd yyyy ha') d,"
        " try_to_timestamp('nonsense') e, CAST('2024-2-9' AS date) f,"
        " try_cast('2023-02-29' AS date) g,"
        " CAST('2024-02-29T10:00:00+02:00' AS timestamp) h, make_date(2024, 2, 29) i",
    )


@query()
def date_unix_seconds(sql: Sql) -> None:
    """Seconds since 1970, both ways, in UTC."""
    _show(
        sql,
        "SELECT unix_timestamp('2024-02-29 00:00:00') a, from_unixtime(0) b,"
        " from_unixtime(1709164800, 'yyyy/MM/dd') c, timestamp_seconds(2) d,"
        " timestamp_millis(1709164800123) e, unix_millis(TIMESTAMP'1970-01-01 00:00:01') f,"
        " unix_date(DATE'1970-01-11') g, CAST(TIMESTAMP'2024-02-29' AS bigint) h,"
        " unix_timestamp('29.02.2024', 'dd.MM.yyyy') i",
    )


@query()
def date_of_fractional_seconds(sql: Sql) -> None:
    """Half a second isn't lost."""
    _show(
        sql,
        "SELECT timestamp_seconds(1.5) a, CAST(1.5 AS timestamp) b,"
        " CAST(TIMESTAMP'1970-01-01 00:00:01.5' AS double) c",
    )


@query()
def date_time_zones(sql: Sql) -> None:
    """Moments moved between zones."""
    _show(
        sql,
        "SELECT from_utc_timestamp('2024-07-01 12:00:00', 'Europe/Berlin') a,"
        " to_utc_timestamp('2024-01-01 12:00:00', 'Asia/Tokyo') b,"
        " TIMESTAMP'2024-01-01 12:00:00 America/New_York' c,"
        " convert_timezone('Europe/Berlin', 'UTC', TIMESTAMP_NTZ'2024-07-01 12:00:00') d,"
        " current_timezone() e",
    )


@query()
def date_show_moments(sql: Sql) -> None:
    """Fractions of a second lose their zeros; years may be small."""
    _show_types(
        sql,
        "SELECT t, CAST(t AS string) s, CAST(t AS date) d, CAST(t AS timestamp_ntz) n"
        " FROM VALUES (TIMESTAMP'2024-02-29 10:00:00'), (TIMESTAMP'2024-02-29 10:00:00.100'),"
        " (TIMESTAMP'0099-01-01 00:00:00.000001'), (TIMESTAMP'1969-12-31 23:59:59.9')"
        " AS v(t)",
    )


@query()
def date_intervals(sql: Sql) -> None:
    """Intervals print themselves as SQL."""
    _show_types(
        sql,
        "SELECT INTERVAL '1-2' YEAR TO MONTH a, INTERVAL '3 04:05:06.7' DAY TO SECOND b,"
        " TIMESTAMP'2024-03-01' - TIMESTAMP'2024-02-28 12:00:00' d,"
        " DATE'2024-03-01' + INTERVAL 1 MONTH e, INTERVAL '2' HOUR * 1.5 f,"
        " make_ym_interval(1, 2) g",
    )


@query()
def date_intervals_of_one_unit(sql: Sql) -> None:
    """Intervals of hours, minutes and years keep their unit."""
    _show_types(
        sql, "SELECT INTERVAL 90 MINUTES a, INTERVAL '5' HOUR b, INTERVAL 2 YEARS c"
    )


@query()
def date_and_hours(sql: Sql) -> None:
    """A date and hours make a moment."""
    _show_types(sql, "SELECT DATE'2024-02-29' + INTERVAL 36 HOURS a")


@query()
def date_parts_of_intervals(sql: Sql) -> None:
    """The hours of an interval of days are fewer than 24."""
    _show(
        sql,
        "SELECT extract(HOUR FROM INTERVAL '3 04:05:06' DAY TO SECOND) a,"
        " extract(DAY FROM INTERVAL '3 04:05:06' DAY TO SECOND) b,"
        " extract(MONTH FROM INTERVAL '1-2' YEAR TO MONTH) c",
    )


@query()
def date_interval_arithmetic(sql: Sql) -> None:
    """Adding intervals to dates and moments, and comparing them."""
    _show(
        sql,
        "SELECT TIMESTAMP'2024-01-31 10:00:00' + INTERVAL 1 MONTH a,"
        " DATE'2024-02-29' - INTERVAL 1 YEAR b,"
        " INTERVAL 1 DAY > INTERVAL 23 HOURS d, timestampadd(HOUR, 5, DATE'2024-01-01') e,"
        " timestampdiff(MONTH, DATE'2024-01-31', DATE'2024-03-30') f",
    )


@query()
def date_sequences(sql: Sql) -> None:
    """Days, months and numbers in steps."""
    _show(
        sql,
        "SELECT sequence(DATE'2024-02-28', DATE'2024-03-01') a,"
        " sequence(DATE'2024-01-31', DATE'2024-04-30', INTERVAL 1 MONTH) b,"
        " sequence(5, 1, -2) c, sequence(1, 3) d",
    )


@query()
def date_windows(sql: Sql) -> None:
    """Moments in windows of time, tumbling and sliding."""
    F = sql.F
    frame = sql.spark.sql(
        "SELECT * FROM VALUES (TIMESTAMP'2024-01-01 10:00:03', 1),"
        " (TIMESTAMP'2024-01-01 10:00:09', 2), (TIMESTAMP'2024-01-01 10:00:12', 4)"
        " AS v(at, n)"
    )
    tumbling = frame.groupBy(F.window("at", "10 seconds")).agg(F.sum("n").alias("sum"))
    tumbling.orderBy("window").show(truncate=False)
    print(tumbling.dtypes)
    sliding = frame.groupBy(F.window("at", "10 seconds", "5 seconds")).sum("n")
    sliding.orderBy("window").select("window.start", "window.end", "sum(n)").show()


# Numbers


@query()
def decimal_arithmetic(sql: Sql) -> None:
    """Precision and scale of results."""
    _show_types(
        sql,
        "SELECT 1.10 + 2.205 a, 1.10 - 2.2 b, 1.10 * 2.205 c, 1.00 / 3 d, 7.5 % 2 e,"
        " -1.50 f, 10 / 4 g, CAST(1 AS decimal(10,2)) / 3 h",
    )


@query()
def decimal_limits(sql: Sql) -> None:
    """Where 38 digits aren't enough, the scale gives way, down to six."""
    _show_types(
        sql,
        "SELECT CAST(1 AS decimal(38,10)) / 3 a,"
        " CAST(1 AS decimal(38,18)) * CAST(1 AS decimal(38,18)) b,"
        " CAST(1 AS decimal(38,18)) + CAST(1 AS decimal(38,0)) c",
    )


@query()
def decimal_rounding_to_even(sql: Sql) -> None:
    """Halves of decimals go to the even neighbour, and stay decimals."""
    _show_types(sql, "SELECT bround(2.5) a, bround(3.5) b, bround(2.345, 2) c")


@query()
def decimal_rounding(sql: Sql) -> None:
    """Rounding goes away from zero."""
    _show_types(
        sql,
        "SELECT round(2.5) a, round(-2.5) b, round(2.345, 2) c, round(1234.5, -2) g, ceil(1.2) h,"
        " floor(-1.2) i, ceil(1.234, 2) j",
    )


@query()
def decimal_casting(sql: Sql) -> None:
    """Casting rounds half up; what doesn't fit is null or an error."""
    _show_types(
        sql,
        "SELECT CAST('12.345' AS decimal(6,2)) a, CAST(2.5 AS int) b,"
        " try_cast(12345 AS decimal(4,1)) c, CAST(1.5D AS decimal(3,1)) d,"
        " CAST(0.1 AS double) e, CAST(12.30 AS string) f,"
        " CAST(1e-7 AS decimal(20,10)) g",
    )


@query()
def decimal_from_exponents(sql: Sql) -> None:
    """A text with an exponent is a decimal too."""
    _show(sql, "SELECT CAST('1e3' AS decimal(10,2)) a, CAST('12E-1' AS decimal(4,1)) b")


@query()
def decimal_aggregates(sql: Sql) -> Any:
    """Sums and means of decimals get wider types."""
    rows = [(Decimal("1.10"),), (Decimal("2.25"),), (None,), (Decimal("-0.05"),)]
    frame = sql.spark.createDataFrame(rows, "price decimal(10,2)")
    with _view(frame, "golden_prices"):
        result = sql.spark.sql(
            "SELECT sum(price), avg(price), max(price), count(price) FROM golden_prices"
        )
        result.show()
        result.printSchema()
        return result.collect()


@query()
def number_rounding(sql: Sql) -> None:
    """Halves of doubles and of integers, by columns."""
    _show(
        sql,
        "SELECT x, round(x) a, bround(x) b, ceil(x) d, floor(x) e,"
        " round(x, 1) f, bround(x, 1) g, CAST(x AS int) h"
        " FROM VALUES (0.5D), (1.5D), (2.5D), (-1.5D), (2.25D), (2.35D) AS v(x)",
    )


@query()
def number_rounding_to_even(sql: Sql) -> None:
    """Halves go to the even neighbour; rounding makes no negative zero."""
    _show(
        sql,
        "SELECT x, rint(x) a, round(x) b, bround(x) c"
        " FROM VALUES (0.5D), (1.5D), (2.5D), (-0.5D), (-2.5D) AS v(x)",
    )


@query()
def number_rounding_of_integers(sql: Sql) -> None:
    """Negative digits round integers."""
    _show_types(
        sql,
        "SELECT n, round(n, -1) a, bround(n, -1) b, round(n) c, bround(n) d"
        " FROM VALUES (15), (25), (35), (-25), (NULL) AS v(n)",
    )


@query()
def number_division(sql: Sql) -> None:
    """A slash makes doubles, div integers; % has the sign of the first."""
    _show_types(
        sql,
        "SELECT a, b, a / b, a div b AS whole, a % b, mod(a, b), pmod(a, b)"
        " FROM VALUES (7, 2), (-7, 2), (7, -2), (0, 5) AS v(a, b)",
    )


@query()
def number_try_functions(sql: Sql) -> None:
    """What would be an error is null."""
    _show(
        sql,
        "SELECT try_divide(1, 0) a, try_add(2147483647, 1) b, try_subtract(1, NULL) c,"
        " try_multiply(9223372036854775807L, 2L) d, try_cast('x' AS int) e,"
        " try_element_at(array(1), 5) f, try_divide(1, 4) g, try_mod(1, 0) h,"
        " try_to_number('x', '9') i, try_sum(n) j FROM VALUES (1), (2) AS v(n)",
    )


@query()
def number_types(sql: Sql) -> None:
    """Literals have types, and mixed ones meet at the wider."""
    _show_types(
        sql,
        "SELECT 1Y + 1S a, 1 + 1L b, 1L + 1.5D e, 127Y f,"
        " 3000000000 g, 1e3 h, 1.5BD i, coalesce(1, 2.5) k, array(1, 2L) l",
    )


@query()
def number_types_of_literals(sql: Sql) -> None:
    """An integer literal beside a decimal is as short as it's written."""
    _show_types(sql, "SELECT 1 + 1.5 a, 1 + 1.5F b, CAST(1 AS int) + 1.5 c")


@query()
def number_of_texts(sql: Sql) -> None:
    """Texts beside numbers are read as numbers."""
    _show_types(sql, "SELECT '1' + 1 a, -'4' b, '7' / 2 c, '2.5' * 2.0D d")


@query()
def number_functions(sql: Sql) -> None:
    """Roots, powers, logarithms and signs."""
    _show(
        sql,
        "SELECT sqrt(2) a, cbrt(27) b, pow(2, 10) c, exp(0) d, ln(1) e, log10(1000) f,"
        " log(2, 8) g, sign(-3) h, abs(-3) i, hypot(3, 4) j, factorial(5) k,"
        " degrees(pi()) l, greatest(1, 3, NULL) m, least(2, 1) n",
    )
    _show(
        sql,
        "SELECT sqrt(-1) a, ln(0) b, 5 & 3 c, 5 | 3 d, 5 ^ 3 e, ~5 f, shiftleft(1, 4) g,"
        " shiftright(-8, 1) h, bit_count(7) i, width_bucket(5.3, 0.2, 10.6, 5) j,"
        " isnan(CAST('NaN' AS double)) k, nanvl(CAST('NaN' AS double), 1.0D) l",
    )


@query()
def number_special_values(sql: Sql) -> None:
    """NaN equals itself and is the greatest."""
    _show(
        sql,
        "SELECT x, x = x a, x > 1 b, x + 1 d FROM VALUES (double('NaN')),"
        " (double('Infinity')), (double('-Infinity')), (-0.0D), (NULL) AS v(x)"
        " ORDER BY x DESC",
    )


@query()
def number_or_not(sql: Sql) -> None:
    """A null is not NaN."""
    _show(sql, "SELECT isnan(x) FROM VALUES (double('NaN')), (1.0D), (NULL) AS v(x)")


# Conditions


@query()
def case_expressions(sql: Sql) -> None:
    """Both forms of CASE, and functions that stand for one."""
    _show(
        sql,
        "SELECT n, CASE WHEN n < 0 THEN 'low' WHEN n = 0 THEN 'zero' END a,"
        " CASE n WHEN 1 THEN 'one' ELSE 'other' END b, if(n > 0, n, -n) c, nvl(n, 9) d,"
        " nvl2(n, 'y', 'n') e, nullif(n, 1) f, coalesce(NULL, n, 7) g, zeroifnull(n) h"
        " FROM VALUES (-1), (0), (1), (NULL) AS v(n)",
    )


@query()
def case_by_decode(sql: Sql) -> None:
    """The old form, in which nulls are equal."""
    _show(
        sql,
        "SELECT decode(n, 1, 'one', NULL, 'none', 'else') a FROM VALUES (1), (2), (NULL)"
        " AS v(n)",
    )


@query()
def when_and_otherwise(sql: Sql) -> None:
    """Conditions in Python; without otherwise it's null."""
    F = sql.F
    sacks = F.col("sacks")
    size = F.when(sacks > 35, "large").when(sacks > 15, "middle")
    _harvest(sql).select(
        "sacks", size.alias("a"), size.otherwise("small").alias("b"), sacks.isNull()
    ).show()


@query()
def null_logic(sql: Sql) -> None:
    """Three-valued AND, OR, IN and comparisons."""
    _show(
        sql,
        "SELECT a, b, a AND b, a OR b, NOT a, a = b, a <=> b, a IN (b, true) AS c, a IS TRUE AS d,"
        " a IS NOT FALSE AS e FROM VALUES (true, true), (true, false), (true, NULL),"
        " (false, NULL), (NULL, NULL) AS v(a, b)",
    )


# Windows


@query()
def window_ranks(sql: Sql) -> None:
    """Numbers and ranks within a partition."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT miller, month, sacks, row_number() OVER w AS n, rank() OVER r AS rank,"
            " dense_rank() OVER r AS dense, ntile(2) OVER w AS half,"
            " percent_rank() OVER r AS percent, cume_dist() OVER r AS cume"
            " FROM golden_harvest WINDOW w AS (PARTITION BY miller ORDER BY month, grain),"
            " r AS (ORDER BY sacks) ORDER BY miller, n",
        )


@query()
def window_neighbours(sql: Sql) -> None:
    """The row before, the row after, the first and the last."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT miller, month, sacks, lag(sacks) OVER w AS before,"
            " lead(sacks, 1, -1) OVER w AS after, first_value(sacks) OVER w AS first,"
            " last_value(sacks) OVER w AS last, nth_value(sacks, 2) OVER w AS second"
            " FROM golden_harvest WINDOW w AS (PARTITION BY miller ORDER BY month, sacks)"
            " ORDER BY miller, month, sacks",
        )


@query()
def window_frames(sql: Sql) -> None:
    """Running sums by rows and by range."""
    _show(
        sql,
        "SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY n) AS range,"
        " sum(n) OVER (PARTITION BY k ORDER BY n ROWS UNBOUNDED PRECEDING) AS rows,"
        " avg(n) OVER (PARTITION BY k ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
        " AS around, count(*) OVER (ORDER BY n RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)"
        " AS near, max(n) OVER () AS top"
        " FROM VALUES ('a', 1), ('a', 2), ('a', 2), ('b', 5), ('b', 9) AS v(k, n)"
        " ORDER BY k, n, rows",
    )


@query()
def window_of_the_api(sql: Sql) -> None:
    """Windows said in Python."""
    F, Window = sql.F, sql.Window
    by_miller = Window.partitionBy("miller").orderBy(F.col("month"), F.col("sacks"))
    running = by_miller.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    near = Window.orderBy("month").rangeBetween(-1, 0)
    frame = _harvest(sql).select(
        "miller",
        "month",
        "sacks",
        F.row_number().over(by_miller).alias("n"),
        F.sum("sacks").over(running).alias("so_far"),
        F.count("*").over(near).alias("near"),
        F.lag("sacks", 1, 0).over(by_miller).alias("before"),
    )
    frame.orderBy("miller", "n").show()
    frame.printSchema()


@query()
def window_ignoring_nulls(sql: Sql) -> None:
    """The last value that isn't null."""
    _show(
        sql,
        "SELECT i, x, last_value(x) IGNORE NULLS OVER (ORDER BY i) AS known,"
        " first_value(x) IGNORE NULLS OVER (ORDER BY i DESC) AS next,"
        " lag(x) IGNORE NULLS OVER (ORDER BY i) AS before"
        " FROM VALUES (1, 'a'), (2, NULL), (3, NULL), (4, 'd') AS v(i, x) ORDER BY i",
    )


# Joins


@query(is_ordered=False)
def join_inner(sql: Sql) -> None:
    """By a shared name, which then is there once."""
    _harvest(sql).join(_millers(sql), "miller").show()


@query(is_ordered=False)
def join_left_and_right(sql: Sql) -> None:
    """Rows of one side stay."""
    _harvest(sql).join(_millers(sql), ["miller"], "left").show()
    _harvest(sql).join(_millers(sql), ["miller"], "right").show()


@query(is_ordered=False)
def join_full(sql: Sql) -> None:
    """Rows of both sides stay; null equals nothing."""
    _harvest(sql).join(_millers(sql), "miller", "outer").show()


@query(is_ordered=False)
def join_semi_and_anti(sql: Sql) -> None:
    """Rows with a partner, and rows without."""
    _harvest(sql).join(_millers(sql), "miller", "left_semi").show()
    _millers(sql).join(_harvest(sql), "miller", "left_anti").show()


@query(is_ordered=False)
def join_cross(sql: Sql) -> None:
    """Each with each."""
    frame = sql.spark.range(2)
    frame.crossJoin(frame.withColumnRenamed("id", "other")).show()


@query(is_ordered=False)
def join_on_a_condition(sql: Sql) -> None:
    """Both columns stay, under one name."""
    left, right = _harvest(sql).alias("h"), _millers(sql).alias("m")
    joined = left.join(right, sql.F.col("h.miller") == sql.F.col("m.miller"))
    print(joined.columns)
    joined.select("h.miller", "m.bank", "sacks").show()
    joined.drop("grain", "month").show()


@query()
def join_in_sql(sql: Sql) -> None:
    """USING, NATURAL and ON with a null-safe equality."""
    millers, harvest = _millers(sql), _harvest(sql)
    with _view(millers, "golden_millers"), _view(harvest, "golden_harvest"):
        _show(
            sql,
            "SELECT * FROM golden_millers FULL JOIN golden_harvest USING (miller)"
            " ORDER BY miller, bank, month, grain",
        )
        _show(
            sql,
            "SELECT bank, sum(sacks) FROM golden_millers NATURAL JOIN golden_harvest"
            " GROUP BY bank ORDER BY bank",
        )
        _show(
            sql,
            "SELECT a.miller, b.bank FROM golden_millers a JOIN golden_millers b"
            " ON a.miller <=> b.miller AND a.bank <= b.bank ORDER BY 1, 2",
        )


@query()
def join_self(sql: Sql) -> None:
    """A table beside itself."""
    frame = sql.spark.range(4)
    left, right = frame.alias("l"), frame.alias("r")
    joined = left.join(right, sql.F.expr("l.id + 1 = r.id"))
    joined.selectExpr("l.id AS this", "r.id AS next").orderBy("this").show()


@query()
def join_lateral(sql: Sql) -> None:
    """A subquery that sees the row beside it."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT m, best.sacks FROM VALUES ('Anna'), ('Bela') AS v(m),"
            " LATERAL (SELECT sacks FROM golden_harvest WHERE miller = m"
            " ORDER BY sacks DESC LIMIT 1) AS best ORDER BY m",
        )


# Groups


@query(is_ordered=False)
def group_and_count(sql: Sql) -> None:
    """Groups, null among them."""
    _harvest(sql).groupBy("grain").count().show()


@query(is_ordered=False)
def group_by_several(sql: Sql) -> None:
    """Aggregates by a dict and by columns, with their own names."""
    F = sql.F
    frame = _harvest(sql)
    frame.groupBy("miller").agg({"sacks": "max"}).show()
    frame.groupBy("miller", frame.month % 2).agg(F.sum("sacks"), F.avg("sacks")).show()


@query()
def group_without_keys(sql: Sql) -> Any:
    """One row, of an empty table too."""
    F = sql.F
    frame = _harvest(sql)
    frame.agg(F.sum("sacks"), F.count("sacks"), F.countDistinct("grain")).show()
    return frame.filter("month > 9").agg(F.sum("sacks"), F.count("*")).collect()


@query()
def pivot_found_values(sql: Sql) -> None:
    """A column for each value there is."""
    frame = _harvest(sql).groupBy("miller").pivot("grain").sum("sacks")
    frame.orderBy("miller").show()


@query()
def pivot_given_values(sql: Sql) -> None:
    """Columns for the values named, two aggregates in each."""
    F = sql.F
    grouped = _harvest(sql).groupBy("miller").pivot("month", [1, 2])
    frame = grouped.agg(F.sum("sacks").alias("sum"), F.count("sacks").alias("n"))
    frame.orderBy("miller").show()
    frame.printSchema()


@query()
def pivot_in_sql(sql: Sql) -> None:
    """PIVOT, with names for the columns."""
    with _view(_harvest(sql).drop("month"), "golden_harvest"):
        _show(
            sql,
            "SELECT * FROM golden_harvest PIVOT (sum(sacks) FOR grain IN ('rye' AS rye,"
            " 'oats' AS oats)) ORDER BY miller",
        )


@query()
def unpivot_in_sql(sql: Sql) -> None:
    """UNPIVOT leaves nulls out, unless told."""
    _show(
        sql,
        "SELECT * FROM VALUES (1, 10, 20), (2, NULL, 40) AS v(id, a, b)"
        " UNPIVOT INCLUDE NULLS (value FOR name IN (a, b)) ORDER BY id, name",
    )


@query()
def unpivot_of_the_api(sql: Sql) -> None:
    """Columns become rows."""
    frame = sql.spark.createDataFrame([(1, 10, 20), (2, 30, None)], ["id", "a", "b"])
    frame.unpivot("id", ["a", "b"], "name", "value").orderBy("id", "name").show()


@query()
def rollup_and_cube(sql: Sql) -> None:
    """Totals of fewer and fewer keys, and of all combinations."""
    F = sql.F
    frame = _harvest(sql).filter("sacks IS NOT NULL")
    rolled = frame.rollup("miller", "grain").agg(F.sum("sacks").alias("sum"))
    rolled.orderBy("miller", "grain").show()
    cubed = frame.cube("grain", "month").agg(
        F.grouping_id().alias("level"), F.sum("sacks").alias("sum")
    )
    cubed.orderBy("level", "grain", "month").show(50)


@query()
def grouping_sets(sql: Sql) -> None:
    """Chosen combinations, and which keys each row leaves out."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT miller, month, sum(sacks), grouping(miller) AS g, grouping_id() AS id"
            " FROM golden_harvest GROUP BY GROUPING SETS ((miller), (month), ())"
            " ORDER BY id, miller, month",
        )


@query()
def group_having(sql: Sql) -> None:
    """HAVING, FILTER and aliases in GROUP BY."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT lower(miller) AS who, count(*) FILTER (WHERE grain = 'rye') AS rye,"
            " sum(sacks) AS sum FROM golden_harvest GROUP BY who HAVING sum > 20"
            " ORDER BY sum DESC",
        )


@query()
def group_by_all(sql: Sql) -> None:
    """All columns that aren't aggregates."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(sql, "SELECT month, count(*) FROM golden_harvest GROUP BY ALL ORDER BY 1")


# Aggregates


@query()
def aggregate_collections(sql: Sql) -> None:
    """Lists keep repeats, sets don't, nulls are left out."""
    with _view(_harvest(sql), "golden_harvest"):
        _show_types(
            sql,
            "SELECT miller, sort_array(collect_list(grain)) a,"
            " sort_array(collect_set(grain)) b, array_sort(array_agg(sacks)) c,"
            " max_by(grain, sacks) d, min_by(month, sacks) e"
            " FROM golden_harvest GROUP BY miller ORDER BY miller",
        )


@query()
def aggregate_distinct(sql: Sql) -> None:
    """Counting what differs, exactly and nearly."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT count(*), count(grain), count(DISTINCT grain), count(DISTINCT miller,"
            " grain), sum(DISTINCT sacks), approx_count_distinct(grain)"
            " FROM golden_harvest",
        )


@query()
def aggregate_statistics(sql: Sql) -> None:
    """Variance, deviation, skewness and correlation."""
    with _view(
        sql.spark.sql(
            "SELECT * FROM VALUES (1, 2.0D), (2, 4.0D), (3, 5.0D), (4, 9.0D) AS v(x, y)"
        ),
        "golden_points",
    ):
        _show(
            sql,
            "SELECT stddev(x), stddev_pop(x), variance(x), var_pop(x),"
            " round(corr(x, y), 9) AS corr, covar_samp(x, y), covar_pop(x, y)"
            " FROM golden_points",
        )
        _show(
            sql,
            "SELECT round(skewness(y), 9) AS a, round(kurtosis(y), 9) AS b, regr_slope(y, x),"
            " round(regr_r2(y, x), 9) AS c, stddev(x) FILTER (WHERE x = 1) AS of_one"
            " FROM golden_points",
        )


@query()
def aggregate_last_digits(sql: Sql) -> None:
    """The last digits depend on the order of additions."""
    _show(
        sql,
        "SELECT corr(x, y) a, skewness(y) b, kurtosis(y) c, regr_r2(y, x) d"
        " FROM VALUES (1, 2.0D), (2, 4.0D), (3, 5.0D), (4, 9.0D) AS v(x, y)",
    )


@query()
def aggregate_percentiles(sql: Sql) -> None:
    """Exact percentiles lie between values, approximate ones are values."""
    _show(
        sql,
        "SELECT percentile(n, 0.5) AS a, percentile(n, array(0.25, 0.75)) AS b, median(n),"
        " percentile_cont(0.5) WITHIN GROUP (ORDER BY n) AS cont,"
        " percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS disc"
        " FROM VALUES (1), (2), (10), (20) AS v(n)",
    )


@query()
def aggregate_approximate_percentiles(sql: Sql) -> None:
    """One of the values, in their type."""
    _show_types(
        sql,
        "SELECT percentile_approx(n, 0.5) a, approx_percentile(x, 0.5, 100) b"
        " FROM VALUES (1, 1.5D), (2, 2.5D), (10, 3.5D), (20, 4.5D) AS v(n, x)",
    )


@query()
def aggregate_several_approximate_percentiles(sql: Sql) -> None:
    """A list of percentiles gives a list of values."""
    _show_types(
        sql,
        "SELECT percentile_approx(n, array(0.25, 0.9)) a"
        " FROM VALUES (1), (2), (10), (20) AS v(n)",
    )


@query()
def aggregate_percentiles_of_the_api(sql: Sql) -> Any:
    """The same in Python, by two names."""
    frame = sql.spark.createDataFrame([(1,), (2,), (10,), (20,)], "n int")
    frame.agg(sql.F.percentile_approx("n", 0.5).alias("p")).show()
    return frame.approxQuantile("n", [0.5], 0.0)


@query()
def aggregate_flags(sql: Sql) -> None:
    """All, any and how many."""
    _show(
        sql,
        "SELECT bool_and(f), bool_or(f), every(f), some(f), count_if(f), any_value(1),"
        " bit_and(n), bit_or(n), bit_xor(n)"
        " FROM VALUES (true, 1), (false, 3), (NULL, 7) AS v(f, n)",
    )


@query()
def aggregate_nothing(sql: Sql) -> None:
    """Aggregates of no rows."""
    _show_types(
        sql,
        "SELECT count(*) a, sum(id) b, avg(id) c, collect_list(id) d, max(id) e,"
        " stddev(id) f FROM range(5) WHERE id > 9",
    )


@query()
def aggregate_modes(sql: Sql) -> None:
    """The most frequent value, and lists as text."""
    _show(
        sql,
        "SELECT mode(w) a, listagg(w, '+') WITHIN GROUP (ORDER BY w) b"
        " FROM VALUES ('b'), ('a'), (NULL), ('b') AS v(w)",
    )


@query()
def aggregate_first_and_last(sql: Sql) -> None:
    """The first and the last value, of a table in one part."""
    _show(
        sql,
        "SELECT first(w) a, first(w, true) b, last(w) c, last(w) IGNORE NULLS d"
        " FROM VALUES (NULL), ('b'), ('a'), (NULL) AS v(w)",
    )


# Rows out of arrays


@query()
def explode_in_sql(sql: Sql) -> None:
    """LATERAL VIEW, with positions, and OUTER for empty arrays."""
    rows = [(1, ["a", "b"]), (2, []), (3, None)]
    with _view(
        sql.spark.createDataFrame(rows, "id int, l array<string>"), "golden_lists"
    ):
        text = "SELECT id, {} FROM golden_lists LATERAL VIEW {} ORDER BY 1, 2"
        _show(sql, text.format("x", "explode(l) t AS x"))
        _show(sql, text.format("p, x", "posexplode(l) t AS p, x"))
        _show(sql, text.format("x", "OUTER explode(l) t AS x"))


@query()
def explode_of_the_api(sql: Sql) -> None:
    """The same in Python, maps too."""
    F = sql.F
    rows = [(1, [3, 4], {"k": 1.5}), (2, None, None)]
    frame = sql.spark.createDataFrame(
        rows, "id int, l array<int>, m map<string, double>"
    )
    frame.select("id", F.explode("l")).show()
    frame.select("id", F.explode_outer("l").alias("x")).orderBy("id", "x").show()
    frame.select("id", F.posexplode("l")).show()
    frame.select("id", F.explode("m")).show()
    print(frame.select("id", F.explode("m").alias("key_of", "value_of")).dtypes)


@query()
def explode_structs(sql: Sql) -> None:
    """A column for each field."""
    _show(
        sql, "SELECT inline(array(struct(1 AS a, 'x' AS b), struct(2 AS a, 'y' AS b)))"
    )


@query()
def array_of_empty_arrays(sql: Sql) -> None:
    """An empty array fits beside others, inside structs too."""
    _show(
        sql,
        "SELECT array(array(), array(1)) a, array(struct(array(1)), struct(array())) b",
    )


@query()
def explode_stacks(sql: Sql) -> None:
    """Rows out of arguments, and tables out of functions."""
    _show(sql, "SELECT stack(2, 1, 'a', 2, 'b') AS (n, t)")
    _show(sql, "SELECT * FROM explode(array(10, 20)) ORDER BY 1")


# JSON


@query()
def json_to_structs(sql: Sql) -> None:
    """Fields by a schema; what is missing or malformed is null."""
    rows = [
        ('{"name": "mill", "size": {"h": 1.5}, "tags": ["a", "b"]}',),
        ('{"name": null, "tags": []}',),
        ('{"name": 5, "more": true}',),
        ("not json",),
        (None,),
    ]
    schema = "name string, size struct<h: double>, tags array<string>"
    frame = sql.spark.createDataFrame(rows, "text string")
    parsed = frame.select(sql.F.from_json("text", schema).alias("j"))
    parsed.show(truncate=False)
    parsed.select("j.name", "j.size.h", sql.F.get("j.tags", 0).alias("tag")).show()
    parsed.printSchema()


@query()
def json_from_structs(sql: Sql) -> None:
    """Null fields are left out."""
    _show(
        sql,
        "SELECT to_json(named_struct('a', 1, 'b', NULL, 'c', array(1.5, 2), 'd', 'q\"'))"
        " a, to_json(map('k', 1, 'l', 2)) b, to_json(array(named_struct('x', true))) c,"
        " to_json(named_struct('d', DATE'2024-02-29', 'f', 'é')) d",
    )


@query()
def json_of_moments(sql: Sql) -> None:
    """Moments have milliseconds and a zone."""
    _show(sql, "SELECT to_json(named_struct('t', TIMESTAMP'2024-02-29 10:00:00')) a")


@query()
def json_of_decimals(sql: Sql) -> None:
    """Decimals keep their zeros."""
    _show(
        sql, "SELECT to_json(named_struct('x', 1.50, 'y', CAST(2 AS decimal(5,2)))) a"
    )


@query()
def json_paths(sql: Sql) -> None:
    """Parts of a text by path."""
    document = '{"a": {"b": [1, {"c": "x"}]}, "t": "text", "n": 1.50, "z": null}'
    _show(
        sql,
        f"SELECT get_json_object(t, '$.a.b[1].c') a,"
        f" get_json_object(t, '$.t') c, get_json_object(t, '$.none') d,"
        f" get_json_object(t, '$.z') e, get_json_object(t, '$.a.b[0]') f"
        f" FROM VALUES ('{document}') AS v(t)",
    )


@query()
def json_parts_of_documents(sql: Sql) -> None:
    """Objects and numbers are written anew."""
    document = '{"a": {"b": [1, 2]}, "n": 1.50}'
    _show(
        sql,
        f"SELECT get_json_object(t, '$.a') a, get_json_object(t, '$.n') b"
        f" FROM VALUES ('{document}') AS v(t)",
    )


@query()
def json_tuples(sql: Sql) -> None:
    """Several fields at once, the schema of a text, and the length of an array."""
    _show(sql, """SELECT json_tuple('{"a": 1, "b": "x"}', 'a', 'b', 'c')""")
    _show(
        sql,
        """SELECT schema_of_json('{"a": 1, "b": [{"c": "x"}]}') a,
                  json_array_length('[1, 2, 3]') b, json_object_keys('{"p": 1, "q": 2}') c,
                  from_json('{"k": 1}', 'map<string, int>') d,
                  from_json('[1, 2]', 'array<int>') e""",
    )


@query()
def csv_texts(sql: Sql) -> None:
    """Lines of CSV to structs and back."""
    _show(
        sql,
        "SELECT from_csv('1,x,2.5', 'a int, b string, c double') a,"
        " to_csv(named_struct('a', 1, 'b', 'x y')) b",
    )


# Tables beside tables


@query(is_ordered=False)
def union_of_tables(sql: Sql) -> None:
    """Columns by position, or by name, missing ones filled."""
    left = sql.spark.createDataFrame([(1, "a")], ["id", "x"])
    right = sql.spark.createDataFrame([("b", 2)], ["x", "id"])
    left.unionByName(right).show()
    left.union(left).show()
    other = sql.spark.createDataFrame([(3, True)], ["id", "y"])
    left.unionByName(other, allowMissingColumns=True).show()


@query()
def union_of_types(sql: Sql) -> None:
    """The wider type wins."""
    _show_types(
        sql, "SELECT 1 AS x UNION ALL SELECT 2.5 UNION ALL SELECT 3L ORDER BY x"
    )


@query()
def union_collected(sql: Sql) -> Any:
    """Rows of a union have the wider type, too."""
    return sql.spark.sql("SELECT 1 AS x UNION ALL SELECT 2.5 ORDER BY x").collect()


@query(is_ordered=False)
def intersect_and_except(sql: Sql) -> None:
    """What both tables have, and what only one has; nulls are equal here."""
    left = sql.spark.createDataFrame([(1,), (1,), (1,), (2,), (None,)], "x int")
    right = sql.spark.createDataFrame([(1,), (1,), (3,), (None,)], "x int")
    left.intersect(right).show()
    left.subtract(right).show()


@query(is_ordered=False)
def intersect_all(sql: Sql) -> None:
    """What both have, as often as both have it."""
    left = sql.spark.createDataFrame([(1,), (1,), (1,), (2,), (None,)], "x int")
    right = sql.spark.createDataFrame([(1,), (1,), (3,), (None,)], "x int")
    left.intersectAll(right).show()


@query(is_ordered=False)
def except_all(sql: Sql) -> None:
    """Repeated rows are taken away one by one."""
    left = sql.spark.createDataFrame([(1,), (1,), (1,), (2,), (None,)], "x int")
    right = sql.spark.createDataFrame([(1,), (1,), (3,), (None,)], "x int")
    left.exceptAll(right).show()


@query()
def sort_with_nulls(sql: Sql) -> None:
    """Nulls come first when ascending, last when descending, unless told."""
    F = sql.F
    frame = sql.spark.createDataFrame([(2,), (None,), (1,)], "x int")
    frame.orderBy("x").show()
    frame.orderBy(F.desc("x")).show()
    frame.orderBy(F.col("x").asc_nulls_last()).show()
    frame.sort(F.col("x").desc_nulls_first()).show()
    with _view(frame, "golden_numbers"):
        _show(sql, "SELECT x FROM golden_numbers ORDER BY x DESC NULLS FIRST LIMIT 2")


@query()
def sort_by_several(sql: Sql) -> None:
    """Directions by column, limits and offsets."""
    frame = _harvest(sql).orderBy(["miller", "sacks"], ascending=[False, True])
    frame.show()
    frame.limit(2).show()
    frame.offset(5).show()


@query()
def sort_texts(sql: Sql) -> None:
    """Capitals before small letters, accents last."""
    rows = [("b",), ("B",), ("é",), ("a",), ("Z",), ("",), ("水",), ("10",), ("9",)]
    sql.spark.createDataFrame(rows, ["t"]).sort("t").show()


@query(is_ordered=False)
def distinct_rows(sql: Sql) -> None:
    """Rows once, by all columns or by some."""
    frame = sql.spark.createDataFrame(
        [(1, "a"), (1, "a"), (1, None), (1, None), (2, "b")], "n int, t string"
    )
    frame.distinct().show()
    frame.dropDuplicates(["n"]).select("n").show()


@query()
def fill_and_drop_nulls(sql: Sql) -> None:
    """Nulls filled by type, by column; rows dropped by count."""
    rows = [(1, None, "a"), (None, None, "b"), (3, 2.5, None)]
    frame = sql.spark.createDataFrame(rows, "n int, x double, t string")
    frame.fillna(0).show()
    frame.fillna("?").show()
    frame.fillna({"x": -1.0, "t": "none"}).show()
    frame.dropna().show()
    frame.dropna("all", subset=["n", "x"]).show()
    frame.na.drop(thresh=2).show()


@query()
def replace_values(sql: Sql) -> None:
    """One value, several, or to null."""
    rows = [(1, "a"), (2, "b"), (None, "a")]
    frame = sql.spark.createDataFrame(rows, "n int, t string")
    frame.replace("a", "z").show()
    frame.replace([1, 2], [10, 20]).show()
    frame.replace({"a": None}, subset=["t"]).show()


# Columns


@query()
def columns_added(sql: Sql) -> Any:
    """Columns added, renamed and dropped."""
    F = sql.F
    frame = sql.spark.range(2).withColumn("twice", F.col("id") * 2)
    frame = frame.withColumn("id", F.col("id") + 10).withColumnRenamed("twice", "x")
    frame = frame.withColumns({"a": F.lit("é"), "b": F.lit(None)}).drop("none")
    frame.show()
    frame.printSchema()
    return frame.toDF("p", "q", "r", "s").columns


@query()
def columns_selected(sql: Sql) -> None:
    """Columns by name, by attribute, by star and by expression."""
    F = sql.F
    frame = _harvest(sql).filter("month = 2").orderBy("miller")
    frame.select(frame.miller, frame["sacks"], (frame.sacks / 7).alias("share")).show()
    frame.select("*", F.lit(1)).show()
    frame.selectExpr("upper(miller) AS m", "sacks > 20", "sacks AS `s t`").show()


@query()
def columns_cast(sql: Sql) -> None:
    """Casts by name and by type."""
    F, T = sql.F, sql.T
    frame = sql.spark.createDataFrame([("12", 3.99, True)], ["t", "x", "f"])
    cast = frame.select(
        F.col("t").cast("int"),
        F.col("x").cast(T.IntegerType()).alias("whole"),
        F.col("f").cast("int").alias("flag"),
        F.col("x").cast("string").alias("text"),
        F.col("t").cast("decimal(5,1)").alias("d"),
        F.col("t").cast("double").alias("y"),
    )
    cast.show()
    cast.printSchema()


@query()
def columns_of_structs(sql: Sql) -> None:
    """Fields made, read, changed and dropped."""
    F = sql.F
    frame = sql.spark.range(1).select(
        F.struct(F.lit(1).alias("a"), F.lit("x").alias("b")).alias("s")
    )
    frame.select("s.*", F.col("s").getField("b"), F.col("s")["a"]).show()
    changed = frame.withColumn("s", F.col("s").withField("c", F.lit(True)))
    changed.withColumn("s", F.col("s").dropFields("b")).show()


@query()
def cast_to_texts(sql: Sql) -> None:
    """How values of each type are written."""
    _show(
        sql,
        "SELECT CAST(true AS string) a, CAST(1.0D AS string) b,"
        " CAST(1.50 AS string) d, CAST(array(1, 2) AS string) e,"
        " CAST(map('a', 1) AS string) f, CAST(named_struct('x', 1, 'y', 'z') AS string) g,"
        " CAST(X'6D69' AS string) h, CAST(INTERVAL 1 DAY AS string) i,"
        " CAST(1.0F AS string) j",
    )


@query()
def cast_doubles_to_texts(sql: Sql) -> None:
    """Doubles are written as Java writes them, also where texts are joined."""
    _show(
        sql,
        "SELECT CAST(1e20D AS string) a, CAST(1e-5D AS string) b, concat(1e7D, '') c,"
        " CAST(double('NaN') AS string) d, CAST(double('-Infinity') AS string) e",
    )


@query()
def cast_nulls_to_texts(sql: Sql) -> None:
    """A null inside an array is written small, unlike in a table that is shown."""
    _show(
        sql,
        "SELECT CAST(array(1, NULL) AS string) a, CAST(named_struct('x', NULL) AS string)"
        " b, CAST(map('k', NULL) AS string) c",
    )


@query()
def cast_from_texts(sql: Sql) -> None:
    """What texts may be read as."""
    _show(
        sql,
        "SELECT CAST(' 12 ' AS int) a, CAST('yes' AS boolean) b, CAST('f' AS boolean) c,"
        " CAST('1e2' AS double) d, CAST('Infinity' AS double) e, try_cast('1.5' AS int) f,"
        " try_cast('abc' AS boolean) g, try_cast('128' AS tinyint) h,"
        " CAST('2024' AS date) i, CAST('+5' AS bigint) j",
    )


# Functions in Python


@query()
def udf_of_texts(sql: Sql) -> None:
    """A function per row, which sees nulls."""
    F, T = sql.F, sql.T
    shout = F.udf(lambda text: None if text is None else text.upper() + "!")
    length = F.udf(lambda text: len(text or ""), T.IntegerType())
    frame = sql.spark.createDataFrame([("mill",), (None,), ("水車",)], "t string")
    result = frame.select(shout("t").alias("a"), length("t").alias("b"))
    result.show()
    result.printSchema()


@query()
def udf_of_several_columns(sql: Sql) -> None:
    """Lists and structs go in and out."""
    F = sql.F

    def combine(number: int, words: list[str]) -> tuple[int, list[str]]:
        return number + len(words), sorted(words)

    combined = F.udf(combine, "struct<sum: bigint, words: array<string>>")

    frame = sql.spark.createDataFrame(
        [(1, ["b", "a"]), (5, [])], "n int, w array<string>"
    )
    frame.select(combined("n", "w").alias("c")).select("c", "c.sum").show(
        truncate=False
    )


@query()
def udf_in_sql(sql: Sql) -> None:
    """A function registered under a name."""
    sql.spark.udf.register("golden_twice", lambda number: number * 2, "int")
    _show(sql, "SELECT golden_twice(21) AS x, golden_twice(3) FROM range(1)")


@query()
def udf_names(sql: Sql) -> Any:
    """The names of columns that functions in Python make."""
    F = sql.F
    twice = F.udf(lambda number: number * 2, "bigint")
    sql.spark.udf.register("golden_twice", lambda number: number * 2, "int")
    print(sql.spark.range(1).select(twice("id"), twice(F.col("id") + 1)).columns)
    return sql.spark.sql("SELECT golden_twice(CAST(id AS int)) FROM range(1)").columns


# Errors


@query()
def error_of_a_missing_table(sql: Sql) -> None:
    """From SQL and from table()."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT * FROM golden_nowhere").collect())
    _show_error(lambda: spark.table("golden_nowhere").collect())


@query()
def error_of_a_missing_column(sql: Sql) -> None:
    """From SQL, from a frame, and by attribute."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT nothing FROM range(1)").collect())
    _show_error(lambda: spark.range(1).select("nothing").collect())
    _show_error(lambda: spark.range(1).filter("nothing > 1").collect())
    _show_error(lambda: spark.sql("SELECT nothing").collect())


@query()
def error_of_syntax(sql: Sql) -> None:
    """Statements and expressions that don't parse."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELEC 1").collect())
    _show_error(lambda: spark.sql("SELECT (1").collect())
    _show_error(lambda: spark.range(1).selectExpr("id +").collect())
    _show_error(lambda: spark.sql("SELECT 'open").collect())


@query()
def error_of_a_cast(sql: Sql) -> None:
    """What a text can't become, and what is too large."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT CAST('x' AS int)").collect())
    _show_error(lambda: spark.sql("SELECT CAST('x' AS date)").collect())
    _show_error(lambda: spark.sql("SELECT CAST(300 AS tinyint)").collect())
    _show_error(lambda: spark.sql("SELECT CAST(12345 AS decimal(4,1))").collect())


@query()
def error_of_arithmetic(sql: Sql) -> None:
    """Division by zero."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT 1 / 0").collect())
    _show_error(lambda: spark.sql("SELECT id % 0 FROM range(1)").collect())
    _show_error(lambda: spark.sql("SELECT 1.5 / id FROM range(1)").collect())
    _show_error(lambda: spark.sql("SELECT 1 div 0").collect())


@query()
def error_of_overflow(sql: Sql) -> None:
    """Integers that don't fit."""
    for text in (
        "SELECT 2147483647 + 1",
        "SELECT 9223372036854775807L + id FROM range(1, 2)",
        "SELECT 2147483647 * CAST(id AS int) FROM range(2, 3)",
        "SELECT sum(9223372036854775807L) FROM range(2)",
    ):
        _show_error(lambda: sql.spark.sql(text).collect())


@query()
def error_of_absolute_values(sql: Sql) -> None:
    """The least integer has no absolute value, and no opposite."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT abs(CAST(-128 AS tinyint))").collect())
    _show_error(lambda: spark.sql("SELECT -(CAST(-128 AS tinyint))").collect())


@query()
def error_of_an_index(sql: Sql) -> None:
    """Elements that aren't there."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT array(1)[5]").collect())
    _show_error(lambda: spark.sql("SELECT element_at(array(1), 5)").collect())
    _show_error(lambda: spark.sql("SELECT element_at(array(1), 0)").collect())
    _show(sql, "SELECT element_at(map('a', 1), 'b') AS x")


@query()
def error_of_meaning(sql: Sql) -> None:
    """Ambiguous names, unknown functions, wrong types and missing groups."""
    spark = sql.spark
    _show_error(lambda: spark.sql("SELECT id FROM range(1) a, range(1) b").collect())
    _show_error(lambda: spark.sql("SELECT golden_no_function(1)").collect())
    _show_error(lambda: spark.sql("SELECT true + 1").collect())
    _show_error(lambda: spark.sql("SELECT id, count(*) FROM range(1)").collect())
    _show_error(lambda: spark.sql("SELECT 1 UNION ALL SELECT 1, 2").collect())
    _show_error(lambda: spark.sql("SELECT upper()").collect())


@query()
def error_of_python(sql: Sql) -> None:
    """Arguments of a wrong type."""
    frame = sql.spark.range(1)
    _show_error(lambda: frame.show("x"))
    _show_error(lambda: frame.fillna(object()))
    _show_error(lambda: frame.withColumn("x", 1))


@query()
def error_of_an_attribute(sql: Sql) -> None:
    """A column that a frame hasn't, as its attribute."""
    _show_error(lambda: sql.spark.range(1).nothing)


# Views and the catalog


@query()
def view_replaced(sql: Sql) -> None:
    """A frame keeps the view that it was made of."""
    spark = sql.spark
    spark.range(2).createOrReplaceTempView("golden_view")
    before = spark.sql("SELECT count(*) AS n FROM golden_view")
    spark.range(5).createOrReplaceTempView("golden_view")
    after = spark.sql("SELECT count(*) AS n FROM golden_view")
    before.show()
    after.show()
    spark.table("golden_view").show()
    print(spark.catalog.dropTempView("golden_view"))


@query()
def view_dropped(sql: Sql) -> Any:
    """A dropped view is gone; dropping it again says so."""
    spark = sql.spark
    spark.range(1).createOrReplaceTempView("golden_view")
    print(spark.catalog.tableExists("golden_view"))
    print(spark.catalog.dropTempView("golden_view"))
    print(spark.catalog.dropTempView("golden_view"))
    _show_error(lambda: spark.table("golden_view").collect())
    return spark.catalog.tableExists("golden_view")


@query()
def view_exists_already(sql: Sql) -> None:
    """A view made by createTempView doesn't replace another."""
    frame = sql.spark.range(1)
    with _view(frame, "golden_view"):
        _show_error(lambda: frame.createTempView("golden_view"))


@query()
def view_in_sql(sql: Sql) -> None:
    """Views made, used by others, and dropped, in SQL."""
    spark = sql.spark
    spark.sql("CREATE OR REPLACE TEMP VIEW golden_small AS SELECT id FROM range(3)")
    spark.sql(
        "CREATE TEMPORARY VIEW golden_large AS SELECT id * 10 AS x FROM golden_small"
    )
    _show(sql, "SELECT * FROM golden_large ORDER BY x")
    spark.sql("DROP VIEW golden_large")
    spark.sql("DROP VIEW IF EXISTS golden_large")
    spark.sql("DROP VIEW golden_small")
    print(spark.catalog.tableExists("golden_small"))


@query()
def view_names(sql: Sql) -> Any:
    """Names don't mind case, and may be quoted."""
    with _view(sql.spark.range(2), "Golden_Mixed"):
        _show(sql, "SELECT ID FROM golden_MIXED WHERE Id = 1")
        return sql.spark.sql(
            "SELECT g.`id` FROM `golden_mixed` AS g ORDER BY 1"
        ).collect()


@query()
def view_of_nothing_else(sql: Sql) -> None:
    """A text and a comment that name a view don't read it."""
    with _view(sql.spark.range(1), "golden_view"):
        _show(sql, "SELECT 'golden_view' AS t /* golden_view */ -- golden_view\n")
        _show(sql, "WITH golden_view AS (SELECT 7 AS x) SELECT x FROM golden_view")


@query()
def catalog_tables(sql: Sql) -> Any:
    """Views are listed as temporary."""
    with _view(sql.spark.range(1), "golden_a"), _view(sql.spark.range(1), "golden_b"):
        for table in sorted(sql.spark.catalog.listTables(), key=lambda each: each.name):
            print(table)
        columns = sql.spark.catalog.listColumns("golden_a")
        print([(each.name, each.dataType, each.nullable) for each in columns])
    return sql.spark.catalog.currentDatabase()


@query()
def catalog_tables_in_sql(sql: Sql) -> None:
    """SHOW TABLES lists views."""
    with _view(sql.spark.range(1), "golden_a"):
        _show(sql, "SHOW TABLES LIKE 'golden_a'")


@query()
def catalog_description_of_a_query(sql: Sql) -> None:
    """DESCRIBE of a query."""
    _show(sql, "DESCRIBE QUERY SELECT id, 'x' AS t FROM range(1)")


@query()
def catalog_description(sql: Sql) -> None:
    """DESCRIBE of a view."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(sql, "DESCRIBE golden_harvest")


@query()
def settings(sql: Sql) -> Any:
    """Settings are texts."""
    conf = sql.spark.conf
    conf.set("golden.setting", "on")
    print(conf.get("golden.setting"), conf.get("golden.other", "default"))
    conf.unset("golden.setting")
    return (
        conf.get("spark.sql.session.timeZone"),
        conf.get("golden.setting", None),
    )


@query()
def settings_in_sql(sql: Sql) -> None:
    """SET sets, and shows."""
    _show(sql, "SET golden.setting = off")
    _show(sql, "SET golden.setting")
    sql.spark.conf.unset("golden.setting")


# Rows back in Python


@query()
def range_forms(sql: Sql) -> Any:
    """Ends, starts and steps."""
    spark = sql.spark
    print([row.id for row in spark.range(3).collect()])
    print([row.id for row in spark.range(2, 11, 4).collect()])
    return (
        spark.range(3, 0, -1).collect(),
        spark.range(5).count(),
        spark.range(0).isEmpty(),
    )


@query()
def collect_rows(sql: Sql) -> Any:
    """Rows of every simple type."""
    frame = sql.spark.sql(
        "SELECT 1Y AS a, 2L AS b, 1.50 AS c, 0.1D AS d, 0.1F AS e, 'x' AS f, true AS g,"
        " X'6D' AS h, DATE'2024-02-29' AS i, TIMESTAMP_NTZ'2024-02-29 10:11:12.000013' AS j,"
        " CAST(NULL AS int) AS k, INTERVAL '1 02:03:04' DAY TO SECOND AS l"
    )
    return frame.collect()


@query()
def collect_nested_rows(sql: Sql) -> Any:
    """Lists, dicts and rows inside rows."""
    row = sql.spark.sql(
        "SELECT array(1, NULL) AS a, map('k', array(1.5)) AS m,"
        " named_struct('x', 1, 'y', named_struct('z', 'q')) AS s, array() AS e"
    ).first()
    print(row.s.y.z, row["a"], row.asDict(recursive=True))
    return row


@query()
def collect_some(sql: Sql) -> Any:
    """first, head, take, tail and counts."""
    frame = sql.spark.range(4)
    print(frame.first(), frame.head(), frame.head(2), frame.take(3))
    print(frame.tail(1), frame.count(), frame.filter("id > 9").first())
    print(list(frame.toLocalIterator()))
    return frame.filter("id > 9").take(2)


@query()
def collect_duplicate_names(sql: Sql) -> Any:
    """Rows with a name twice."""
    row = sql.spark.sql("SELECT 1 AS x, 2 AS x").first()
    print(row[0], row[1], row.x, row.asDict())
    return row


@query()
def pandas_types(sql: Sql) -> Any:
    """What columns become in pandas."""
    data = sql.spark.sql(
        "SELECT 1 AS i, 2L AS l, 1.5D AS d, 1.5F AS f, 'x' AS s, true AS b,"
        " DATE'2024-02-29' AS day, TIMESTAMP_NTZ'2024-02-29 10:00:00' AS at, 1.50 AS p,"
        " array(1, 2) AS a, CAST(NULL AS string) AS n, 3S AS h"
    ).toPandas()
    for name in data.columns:
        print(name, data[name].dtype, type(data[name][0]).__name__)
    return data.shape


@query()
def pandas_nulls(sql: Sql) -> None:
    """Integers and flags with nulls."""
    rows = [(1, True, 0.5), (None, None, None)]
    data = sql.spark.createDataFrame(rows, "i int, b boolean, x double").toPandas()
    print(data)
    print(data.dtypes)


# Statements


@query()
def sql_with_arguments(sql: Sql) -> Any:
    """Values by name and by place."""
    spark, F = sql.spark, sql.F
    named = "SELECT :word AS w, :n + 1 AS n, :day AS d, :none AS z"
    arguments = {
        "word": "it's; --",
        "n": 41,
        "day": datetime.date(2024, 2, 29),
        "none": None,
    }
    spark.sql(named, args=arguments).show()
    spark.sql("SELECT ? AS a, ? * 2 AS b", args=["x", 1.5]).show()
    list_of = {"list": F.array(F.lit(1), F.lit(3))}
    spark.sql("SELECT id FROM range(5) WHERE array_contains(:list, id)", list_of).show()
    return spark.sql(
        "SELECT * FROM {t} WHERE id > {n}", t=spark.range(4), n=1
    ).collect()


@query()
def sql_common_tables(sql: Sql) -> None:
    """WITH, one table used by the next."""
    _show(
        sql,
        "WITH small AS (SELECT id FROM range(5)), even (x) AS (SELECT id FROM small"
        " WHERE id % 2 = 0) SELECT x, (SELECT count(*) FROM small) AS n FROM even"
        " ORDER BY x DESC",
    )


@query()
def sql_recursion(sql: Sql) -> None:
    """A table that reads itself."""
    _show(
        sql,
        "WITH RECURSIVE powers(n, p) AS (SELECT 0, 1 UNION ALL SELECT n + 1, p * 2"
        " FROM powers WHERE n < 5) SELECT * FROM powers ORDER BY n",
    )


@query()
def sql_subqueries(sql: Sql) -> None:
    """Scalar and correlated subqueries, EXISTS and IN."""
    millers, harvest = _millers(sql), _harvest(sql)
    with _view(millers, "golden_millers"), _view(harvest, "golden_harvest"):
        _show(
            sql,
            "SELECT miller, (SELECT max(sacks) FROM golden_harvest h"
            " WHERE h.miller = m.miller) AS most FROM golden_millers m ORDER BY miller",
        )
        _show(
            sql,
            "SELECT bank FROM golden_millers m WHERE EXISTS (SELECT 1 FROM golden_harvest h"
            " WHERE h.miller = m.miller AND h.sacks > 50) ORDER BY bank",
        )
        _show(
            sql,
            "SELECT bank FROM golden_millers WHERE miller NOT IN (SELECT miller"
            " FROM golden_harvest) ORDER BY bank",
        )
        _show(
            sql,
            "SELECT DISTINCT grain FROM golden_harvest WHERE sacks = (SELECT max(sacks)"
            " FROM golden_harvest) OR miller IN ('Cleo') ORDER BY grain",
        )


@query()
def sql_values(sql: Sql) -> None:
    """Tables of literals, with and without names."""
    _show(sql, "VALUES (1, 'a'), (2, NULL) ORDER BY 1")
    _show_types(sql, "SELECT * FROM VALUES (1, 'a'), (2.5, 'b') AS t(x, y) ORDER BY x")


@query()
def sql_star_forms(sql: Sql) -> None:
    """EXCEPT after a star."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT * EXCEPT (month, grain) FROM golden_harvest"
            " WHERE miller = 'Anna' ORDER BY sacks",
        )


@query()
def sql_aliases_beside_each_other(sql: Sql) -> None:
    """A name is known to the expressions that follow it."""
    with _view(_harvest(sql), "golden_harvest"):
        _show(
            sql,
            "SELECT sacks * 2 AS twice, twice + 1 AS more FROM golden_harvest"
            " ORDER BY more NULLS LAST LIMIT 3",
        )


@query()
def sql_doubled_quotes(sql: Sql) -> None:
    """A quote twice is a quote."""
    _show(sql, "SELECT 'it''s' AS a, 'a' 'b' AS b")


@query()
def sql_doubled_double_quotes(sql: Sql) -> None:
    """So are two double quotes."""
    _show(sql, """SELECT "say ""mill" AS a""")


@query()
def sql_literals(sql: Sql) -> None:
    """Quotes, escapes, and identifiers of other alphabets."""
    _show(
        sql,
        r"""SELECT "double" a, 'back\\slash' c, r'raw\n' d, 'tab\tend' e,
            'uni\u00e9' f, `g h`, 'a' 'b' i FROM (SELECT 1 AS `g h`)""",
    )


@query()
def sql_pipes(sql: Sql) -> None:
    """Statements written as a pipe."""
    _show(
        sql,
        "FROM range(6) |> WHERE id > 1 |> SELECT id % 2 AS k, id"
        " |> AGGREGATE sum(id) AS s GROUP BY k |> ORDER BY k",
    )


# Arrays and maps


@query()
def array_higher_functions(sql: Sql) -> None:
    """Functions of functions."""
    _show(
        sql,
        "SELECT transform(a, x -> x * 10) a, transform(a, (x, i) -> x + i) b,"
        " filter(a, x -> x > 1) c, aggregate(a, 0, (s, x) -> s + coalesce(x, 0)) d,"
        " exists(a, x -> x = 3) e, forall(a, x -> x > 0) f"
        " FROM VALUES (array(1, 2, 3)), (array(1, NULL)), (array()) AS v(a)",
    )


@query()
def array_zipped(sql: Sql) -> None:
    """Two arrays by a function of both."""
    _show(sql, "SELECT zip_with(array(1, 2), array(10, 20, 30), (x, y) -> x + y) a")


@query()
def array_reduced(sql: Sql) -> None:
    """A fold with a last step."""
    _show(sql, "SELECT reduce(array(1, 2), 0, (s, x) -> s + x, s -> s * 10) a")


@query()
def array_sorted_by_a_function(sql: Sql) -> None:
    """An order of one's own."""
    order = "CASE WHEN x > y THEN -1 WHEN x < y THEN 1 ELSE 0 END"
    _show(sql, f"SELECT array_sort(array(3, 1, 2), (x, y) -> {order}) a")


@query()
def array_ordering(sql: Sql) -> None:
    """Where nulls go, and sorting by a function."""
    _show(
        sql,
        "SELECT sort_array(a) a, sort_array(a, false) b, array_sort(a) c,"
        " array_max(a) e, array_min(a) f, reverse(a) g"
        " FROM VALUES (array(3, 1, 2)), (array(5, 5, 4)) AS v(a)",
    )
    _show(
        sql,
        "SELECT sort_array(a) a, sort_array(a, false) b, array_sort(a) c"
        " FROM VALUES (array('b', NULL, 'a')) AS v(a)",
    )


@query()
def array_elements(sql: Sql) -> None:
    """Elements by number, parts and sizes."""
    _show(
        sql,
        "SELECT a[0] a, element_at(a, -1) b, slice(a, 2, 2) c, slice(a, -2, 1) d,"
        " get(a, 9) e, size(a) f, cardinality(a) g, array_contains(a, 2) h,"
        " array_position(a, 3) i, try_element_at(a, 9) k"
        " FROM VALUES (array(1, 2, 3)) AS v(a)",
    )


@query()
def array_sizes_of_nulls(sql: Sql) -> None:
    """The size of a null is null."""
    _show(sql, "SELECT size(CAST(NULL AS array<int>)) a")
    _show(sql, "SELECT size(NULL) a")


@query()
def array_building(sql: Sql) -> None:
    """Arrays made of arrays."""
    _show(
        sql,
        "SELECT flatten(array(array(1), array(2, 3))) a, arrays_zip(array(1, 2), array('x'))"
        " b, array_repeat('x', 2) c, array_append(array(1), 2) d, array_prepend(array(1), 0)"
        " e, array_insert(array(1, 3), 2, 2) f, array_remove(array(1, 2, 1), 1) g,"
        " array_compact(array(1, NULL)) h, concat(array(1), array(2)) i,"
        " array_join(array('a', NULL, 'b'), '-', '?') j",
    )


@query()
def array_sets(sql: Sql) -> None:
    """Arrays as sets."""
    _show(
        sql,
        "SELECT array_distinct(array(1, 2, 1, NULL, NULL)) a,"
        " array_union(array(1, 2), array(2, 3)) b,"
        " array_intersect(array(1, 2), array(2, 3)) c, array_except(array(1, 2), array(2)) d,"
        " arrays_overlap(array(1, 2), array(2)) e, arrays_overlap(array(1), array(NULL)) f",
    )


@query()
def map_functions(sql: Sql) -> None:
    """Keys, values, and maps made of other things."""
    _show(
        sql,
        "SELECT map_keys(m) a, map_values(m) b, m['x'] c, element_at(m, 'y') d, m['none'] e,"
        " map_contains_key(m, 'x') f, size(m) g, map_entries(m) h,"
        " map_concat(m, map('z', 3)) i FROM VALUES (map('x', 1, 'y', 2)) AS v(m)",
    )
    _show(
        sql,
        "SELECT map_from_arrays(array('a', 'b'), array(1, 2)) a, str_to_map('a:1,b:2') b,"
        " map_from_entries(array(struct('k', 1))) c",
    )


@query()
def map_higher_functions(sql: Sql) -> None:
    """Functions of keys and values."""
    _show(sql, "SELECT map_filter(map('a', 1, 'b', 2), (k, v) -> v > 1) a")
    _show(
        sql,
        "SELECT transform_values(map('a', 1), (k, v) -> v + 1) a,"
        " transform_keys(map('a', 1), (k, v) -> upper(k)) b,"
        " map_zip_with(map('a', 1), map('a', 2), (k, x, y) -> x + y) c",
    )


@query()
def array_functions_of_the_api(sql: Sql) -> None:
    """The same in Python, with lambdas."""
    F = sql.F
    frame = sql.spark.createDataFrame(
        [([1, 2, 3], {"a": 1}), ([], {})], "l array<int>, m map<string, int>"
    )
    frame.select(
        F.transform("l", lambda x: x * 2).alias("a"),
        F.filter("l", lambda x: x % 2 == 1).alias("b"),
        F.aggregate("l", F.lit(0), lambda total, x: total + x).alias("c"),
        F.size("l").alias("d"),
        F.map_keys("m").alias("e"),
        F.col("m")["a"].alias("f"),
        F.array_contains("l", 2).alias("g"),
    ).show(truncate=False)


@query()
def cross_tables(sql: Sql) -> None:
    """How often pairs occur."""
    frame = _harvest(sql).filter("sacks IS NOT NULL")
    frame.crosstab("miller", "grain").orderBy("miller_grain").show()


@query()
def correlation_of_columns(sql: Sql) -> None:
    """Figures of two columns."""
    frame = _harvest(sql).filter("sacks IS NOT NULL")
    print(round(frame.corr("month", "sacks"), 6), round(frame.cov("month", "sacks"), 6))


# Programs


def _count_words(sql: Sql, lines: list[str]) -> None:
    """Print how often each word occurs in a batch, as a streaming program would."""
    words = [word for line in lines for word in line.split(" ")]
    frame = sql.spark.createDataFrame([sql.Row(word=word) for word in words])
    frame.createOrReplaceTempView("golden_words")
    sql.spark.sql(
        "SELECT word, count(*) AS total FROM golden_words GROUP BY word"
    ).show()


@query(is_ordered=False)
def program_word_counts(sql: Sql) -> None:
    """Two batches, the view of the second in the place of the first's."""
    _count_words(sql, ["the mill by the stream", "the wheel"])
    _count_words(
        sql, ["a word that is too long to be shown: millstreamwheelwright", "水 水"]
    )
    sql.spark.catalog.dropTempView("golden_words")


@query()
def program_top_words(sql: Sql) -> None:
    """Words split, counted and ranked with frames only."""
    F = sql.F
    lines = ["Water turns the wheel", "the wheel turns the stone", ""]
    frame = sql.spark.createDataFrame([(line,) for line in lines], ["line"])
    words = frame.select(F.explode(F.split(F.lower("line"), r"\s+")).alias("word"))
    counts = words.filter("word != ''").groupBy("word").agg(F.count("*").alias("n"))
    counts.orderBy(F.desc("n"), "word").show(3)


@query()
def program_enriched_batch(sql: Sql) -> None:
    """A batch of JSON beside a static table, summed by window."""
    F = sql.F
    lines = [
        '{"who": "Anna", "at": "2024-01-01 10:00:05", "sacks": 3}',
        '{"who": "Bela", "at": "2024-01-01 10:00:31", "sacks": 5}',
        '{"who": "Anna", "at": "2024-01-01 10:00:59", "sacks": 4}',
        '{"who": "Nobody", "at": "2024-01-01 10:01:00", "sacks": 1}',
        "broken",
    ]
    batch = sql.spark.createDataFrame([(line,) for line in lines], ["line"])
    schema = "who string, at timestamp, sacks int"
    events = batch.select(F.from_json("line", schema).alias("e")).select("e.*")
    joined = events.join(_millers(sql), events.who == F.col("miller"), "left")
    totals = joined.groupBy(
        F.window("at", "1 minute").start.alias("minute"), "bank"
    ).agg(F.sum("sacks").alias("sacks"), F.countDistinct("who").alias("people"))
    totals.orderBy("minute", "bank").show(truncate=False)
    totals.printSchema()
