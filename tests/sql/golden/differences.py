"""Differences: where our engine is known to answer otherwise than Spark."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """How a difference shows."""

    VALUE = "another value"
    REFUSED = "an error where Spark answers"
    LOOKS = "another name, type, order or width, and the same values"


@dataclass(frozen=True, slots=True)
class Difference:
    """Why a query's output differs, and what it is, unless that changes by the run."""

    kind: Kind
    reason: str
    output: str | None

    @property
    def is_refused(self) -> bool:
        """Whether the query ends with an error."""
        return self.kind is Kind.REFUSED


DIFFERENCES: Final[dict[str, Difference]] = {
    "schema_of_functions": Difference(
        Kind.LOOKS,
        "The engine knows less, or otherwise, about which results are never null.",
        (
            "root\n"
            " |-- a: date (nullable = true)\n"
            " |-- b: date (nullable = true)\n"
            " |-- c: decimal(3,2) (nullable = true)\n"
            " |-- d: decimal(4,2) (nullable = false)\n"
            " |-- e: array (nullable = false)\n"
            " |    |-- element: long (containsNull = true)\n"
            " |-- f: interval year to month (nullable = true)\n"
            " |-- g: array (nullable = true)\n"
            " |    |-- element: long (containsNull = true)\n"
            " |-- h: long (nullable = false)\n"
            "\n"
            "root\n"
            " |-- key: string (nullable = true)\n"
            " |-- value: double (nullable = true)\n"
            "\n"
            "root\n"
            " |-- window: struct (nullable = true)\n"
            " |    |-- start: timestamp (nullable = true)\n"
            " |    |-- end: timestamp (nullable = true)\n"
            " |-- count: long (nullable = false)\n"
            "\n"
        ),
    ),
    "names_of_predicates": Difference(
        Kind.LOOKS,
        "The engine names columns of predicates after its own functions.",
        "['in_list', 'is_null', 'is_not_null', 'between', 'is_true', 'like(a, b)', 'RLIKE(a, b)']\n",
    ),
    "names_of_functions": Difference(
        Kind.LOOKS,
        "The engine writes these functions in its own way in the names of columns.",
        "['if((id > 0), 1, 2)', 'div(id, 2)', 'percentile(id, 0.5)', 'mean(id)', 'nvl(1, 2)', 'count(1)', 'row_number()']\n",
    ),
    "column_repr_of_texts": Difference(
        Kind.LOOKS,
        "Spark 4.3 quotes literal texts; the client of 4.2 doesn't.",
        "Column<'x'>\n",
    ),
    "text_initial_letters": Difference(
        Kind.VALUE,
        "A hyphen, a quote and an underscore part words, and a last sigma isn't known.",
        (
            "+----------------------+-----+\n"
            "|a                     |b    |\n"
            "+----------------------+-----+\n"
            '|Mill-Wheel O"Clock X_Y|\u03a3\u03bf\u03c6\u03bf\u03c3|\n'
            "+----------------------+-----+\n"
            "\n"
        ),
    ),
    "text_like_any": Difference(
        Kind.REFUSED,
        "LIKE ANY and LIKE ALL are unknown.",
        "raises AnalysisException\n",
    ),
    "text_splitting_into_letters": Difference(
        Kind.VALUE,
        "An empty pattern also matches before the first and after the last letter.",
        (
            "+-------------+------------+\n"
            "|a            |b           |\n"
            "+-------------+------------+\n"
            "|[, a, b, c, ]|[, 水, 車, ]|\n"
            "+-------------+------------+\n"
            "\n"
        ),
    ),
    "date_differences": Difference(
        Kind.VALUE,
        "A date less a date is a number of days, not an interval.",
        ("+---+\n|a  |\n+---+\n|2  |\n+---+\n\na: bigint\n"),
    ),
    "date_truncating_to_nonsense": Difference(
        Kind.REFUSED,
        "An unknown unit is an error, not null.",
        "raises AnalysisException\n",
    ),
    "date_year_of_week": Difference(
        Kind.REFUSED,
        "The year of a week isn't a known part.",
        "raises AnalysisException\n",
    ),
    "date_of_fractional_seconds": Difference(
        Kind.VALUE,
        "timestamp_seconds() leaves out the fraction.",
        (
            "+-------------------+---------------------+---+\n"
            "|a                  |b                    |c  |\n"
            "+-------------------+---------------------+---+\n"
            "|1970-01-01 00:00:01|1970-01-01 00:00:01.5|1.5|\n"
            "+-------------------+---------------------+---+\n"
            "\n"
        ),
    ),
    "date_intervals_of_one_unit": Difference(
        Kind.LOOKS,
        "Intervals of hours, minutes or years print as days to seconds, or years to months.",
        (
            "+-----------------------------------+-----------------------------------+----------------------------+\n"
            "|a                                  |b                                  |c                           |\n"
            "+-----------------------------------+-----------------------------------+----------------------------+\n"
            "|INTERVAL '0 01:30:00' DAY TO SECOND|INTERVAL '0 05:00:00' DAY TO SECOND|INTERVAL '2-0' YEAR TO MONTH|\n"
            "+-----------------------------------+-----------------------------------+----------------------------+\n"
            "\n"
            "a: interval minute\n"
            "b: interval hour\n"
            "c: interval year\n"
        ),
    ),
    "date_and_hours": Difference(
        Kind.VALUE,
        "Of a date and hours only whole days are added, and the result stays a date.",
        (
            "+----------+\n"
            "|a         |\n"
            "+----------+\n"
            "|2024-03-01|\n"
            "+----------+\n"
            "\n"
            "a: date\n"
        ),
    ),
    "date_parts_of_intervals": Difference(
        Kind.VALUE,
        "The hours of an interval include those of its days.",
        (
            "+---+---+---+\n"
            "|a  |b  |c  |\n"
            "+---+---+---+\n"
            "|76 |3  |2  |\n"
            "+---+---+---+\n"
            "\n"
        ),
    ),
    "decimal_limits": Difference(
        Kind.VALUE,
        "Where 38 digits aren't enough, more of the scale is kept: larger products are an error.",
        (
            "+----------------+--------------------------------------+--------------------+\n"
            "|a               |b                                     |c                   |\n"
            "+----------------+--------------------------------------+--------------------+\n"
            "|0.33333333333333|1.000000000000000000000000000000000000|2.000000000000000000|\n"
            "+----------------+--------------------------------------+--------------------+\n"
            "\n"
            "a: decimal(38,14)\n"
            "b: decimal(38,36)\n"
            "c: decimal(38,18)\n"
        ),
    ),
    "decimal_from_exponents": Difference(
        Kind.REFUSED,
        "A text with an exponent isn't read as a decimal.",
        "raises NumberFormatException\n",
    ),
    "number_types_of_literals": Difference(
        Kind.LOOKS,
        "A literal integer counts ten digits beside a decimal, and none makes a double of a float.",
        (
            "+---+---+---+\n"
            "|a  |b  |c  |\n"
            "+---+---+---+\n"
            "|2.5|2.5|2.5|\n"
            "+---+---+---+\n"
            "\n"
            "a: decimal(12,1)\n"
            "b: float\n"
            "c: decimal(12,1)\n"
        ),
    ),
    "number_of_texts": Difference(
        Kind.REFUSED,
        "Texts aren't read as numbers beside numbers.",
        "raises AnalysisException\n",
    ),
    "number_or_not": Difference(
        Kind.VALUE,
        "isnan() of a null is null, not false.",
        (
            "+--------+\n"
            "|isnan(x)|\n"
            "+--------+\n"
            "|true    |\n"
            "|false   |\n"
            "|NULL    |\n"
            "+--------+\n"
            "\n"
        ),
    ),
    "case_by_decode": Difference(
        Kind.REFUSED,
        "decode() knows character sets only.",
        "raises AnalysisException\n",
    ),
    "join_lateral": Difference(
        Kind.REFUSED,
        "A lateral subquery doesn't see the columns of VALUES.",
        "raises UnsupportedOperationException\n",
    ),
    "pivot_in_sql": Difference(
        Kind.REFUSED,
        "PIVOT isn't parsed: the method pivot() works.",
        "raises ParseException\n",
    ),
    "unpivot_in_sql": Difference(
        Kind.REFUSED,
        "UNPIVOT isn't parsed: the method unpivot() works.",
        "raises ParseException\n",
    ),
    "group_by_all": Difference(
        Kind.REFUSED,
        "GROUP BY ALL is unknown.",
        "raises AnalysisException\n",
    ),
    "aggregate_last_digits": Difference(
        Kind.VALUE,
        "The last digit differs, for sums are made in another order.",
        (
            "+-----------------+------------------+-------------------+------------------+\n"
            "|a                |b                 |c                  |d                 |\n"
            "+-----------------+------------------+-------------------+------------------+\n"
            "|0.964763821237732|0.5430908357672792|-0.9999999999999991|0.9307692307692307|\n"
            "+-----------------+------------------+-------------------+------------------+\n"
            "\n"
        ),
    ),
    "array_of_empty_arrays": Difference(
        Kind.REFUSED,
        "An array without a type can't be cast inside a struct.",
        "raises AnalysisException\n",
    ),
    "json_of_moments": Difference(
        Kind.VALUE,
        "Moments in JSON have microseconds, not milliseconds.",
        (
            "+-----------------------------------+\n"
            "|a                                  |\n"
            "+-----------------------------------+\n"
            '|{"t":"2024-02-29T10:00:00.000000Z"}|\n'
            "+-----------------------------------+\n"
            "\n"
        ),
    ),
    "json_of_decimals": Difference(
        Kind.VALUE,
        "Decimals in JSON lose their last zeros.",
        (
            "+-----------------+\n"
            "|a                |\n"
            "+-----------------+\n"
            '|{"x":1.5,"y":2.0}|\n'
            "+-----------------+\n"
            "\n"
        ),
    ),
    "json_parts_of_documents": Difference(
        Kind.VALUE,
        "Parts of a JSON text are as they were written, not written anew.",
        (
            "+-------------+----+\n"
            "|a            |b   |\n"
            "+-------------+----+\n"
            '|{"b": [1, 2]}|1.50|\n'
            "+-------------+----+\n"
            "\n"
        ),
    ),
    "union_of_types": Difference(
        Kind.LOOKS,
        "The schema of a union names the type of its first part; the values have the wider one.",
        ("+---+\n|x  |\n+---+\n|1.0|\n|2.5|\n|3.0|\n+---+\n\nx: int\n"),
    ),
    "cast_doubles_to_texts": Difference(
        Kind.VALUE,
        "Doubles as texts are written in another way, infinities too; show() isn't concerned.",
        (
            "+----+-------+----------+---+----+\n"
            "|a   |b      |c         |d  |e   |\n"
            "+----+-------+----------+---+----+\n"
            "|1e20|0.00001|10000000.0|NaN|-inf|\n"
            "+----+-------+----------+---+----+\n"
            "\n"
        ),
    ),
    "cast_nulls_to_texts": Difference(
        Kind.VALUE,
        "A null inside a nested value that becomes a text is NULL, not null.",
        (
            "+---------+------+-----------+\n"
            "|a        |b     |c          |\n"
            "+---------+------+-----------+\n"
            "|[1, NULL]|{NULL}|{k -> NULL}|\n"
            "+---------+------+-----------+\n"
            "\n"
        ),
    ),
    "udf_names": Difference(
        Kind.LOOKS,
        "A cast is left out of the name of a column.",
        ("['<lambda>(id)', '<lambda>((id + 1))']\n['golden_twice(id)']\n"),
    ),
    "error_of_overflow": Difference(
        Kind.VALUE,
        "Integers that don't fit wrap around, or get a wider type, instead of an error.",
        ("no error\nno error\nno error\nno error\n"),
    ),
    "error_of_an_attribute": Difference(
        Kind.LOOKS,
        "An attribute that isn't a column is found out with the query, not at once.",
        "no error\n",
    ),
    "sql_recursion": Difference(
        Kind.REFUSED,
        "WITH RECURSIVE is unknown.",
        "raises AnalysisException\n",
    ),
    "sql_star_forms": Difference(
        Kind.REFUSED,
        "A star with EXCEPT isn't parsed.",
        "raises ParseException\n",
    ),
    "sql_aliases_beside_each_other": Difference(
        Kind.REFUSED,
        "An alias isn't known to the expressions beside it.",
        "raises AnalysisException\n",
    ),
    "sql_pipes": Difference(
        Kind.REFUSED,
        "The pipe syntax isn't parsed.",
        "raises ParseException\n",
    ),
    "array_zipped": Difference(
        Kind.REFUSED,
        "zip_with() is unknown.",
        "raises UnsupportedOperationException\n",
    ),
    "array_sizes_of_nulls": Difference(
        Kind.REFUSED,
        "The size of a null without a type is refused.",
        "raises IllegalArgumentException\n",
    ),
    "map_higher_functions": Difference(
        Kind.REFUSED,
        "transform_keys(), transform_values() and map_zip_with() are unknown.",
        "raises UnsupportedOperationException\n",
    ),
    "decimal_rounding_to_even": Difference(
        Kind.REFUSED,
        "bround() and rint() are refused: the engine rounds halves away from zero.",
        "raises UnsupportedOperationError\n",
    ),
    "number_rounding_to_even": Difference(
        Kind.REFUSED,
        "bround() and rint() are refused: the engine rounds halves away from zero.",
        "raises UnsupportedOperationError\n",
    ),
    "number_rounding": Difference(
        Kind.REFUSED,
        "bround() is refused, for numbers that it would round rightly, too.",
        "raises UnsupportedOperationError\n",
    ),
    "number_rounding_of_integers": Difference(
        Kind.REFUSED,
        "bround() is refused, for numbers that it would round rightly, too.",
        "raises UnsupportedOperationError\n",
    ),
}
