"""Golden outputs: our SQL prints what Spark prints, to the byte but for undefined orders."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.sql.golden.differences import DIFFERENCES
from tests.sql.golden.queries import QUERIES, Query, Sql
from tests.sql.golden.record import OUTPUTS, namespace

from millstream.sql import SparkSession

pytest.importorskip("pysail", reason="needs the extra `sql`")

pytestmark = pytest.mark.slow

_RECORDED: Final[dict[str, Any]] = json.loads(OUTPUTS.read_text("utf-8"))["queries"]


@pytest.fixture(autouse=True)
def _no_strays() -> None:
    """Leave the session alone that these tests share."""


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session of ours."""
    session = SparkSession.builder.master("local[2]").getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def sql(spark: Any) -> Sql:
    """PySpark's names, from our package."""
    found: Sql = namespace("millstream.sql", spark)
    return found


def _answer(query: Query, sql: Sql) -> str:
    """Return what a query prints, or the class of what it raises."""
    try:
        return query.output(sql)
    except Exception as error:
        return f"raises {type(error).__name__}\n"


def _comparable(output: str, query: Query) -> str:
    """Return `output`, its lines sorted if Spark defines no order."""
    lines = output.split("\n")
    return "\n".join(lines if query.is_ordered else sorted(lines))


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.filterwarnings("ignore")
def test_a_query_prints_what_spark_prints(query: Query, sql: Sql) -> None:
    """What Spark printed, or what is known to differ: not both, and nothing else."""
    recorded = _comparable("\n".join(_RECORDED[query.name]["output"]), query)
    difference = DIFFERENCES.get(query.name)

    if difference is None:
        assert _comparable(query.output(sql), query) == recorded
    elif difference.output is None:
        assert _answer(query, sql).startswith("raises ") is difference.is_refused
    else:
        printed = _comparable(_answer(query, sql), query)
        assert printed != recorded, "it's repaired: take it off the differences"
        assert printed == _comparable(difference.output, query)


def test_recorded_and_known_queries_are_the_same() -> None:
    """Each query has its output, and each output and difference its query."""
    assert set(_RECORDED) == set(QUERIES)
    assert set(DIFFERENCES) <= set(QUERIES)
    assert all(
        _RECORDED[name]["is_ordered"] == query.is_ordered
        for name, query in QUERIES.items()
    )
