"""What there isn't is told in words that say what to do instead."""

from collections.abc import Callable
from typing import Any

import pytest

from millstream.errors import PySparkNotImplementedError
from millstream.sql import SparkSession

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda spark: spark.readStream, "dstream.toDF()"),
        (lambda spark: spark.range(1).writeStream, "dstream.toDF()"),
        (lambda spark: spark.range(1).withWatermark("id", "1 minute"), "dstream.sql()"),
        (lambda spark: spark.range(1).dropDuplicatesWithinWatermark(), "dstream.sql()"),
        (lambda spark: spark.range(1).pandas_api(), "toPandas()"),
        (lambda spark: spark.addArtifact("app.py", pyfile=True), "sc.addPyFile()"),
        (lambda spark: spark.addArtifacts("a", "b"), "sc.addFile()"),
        (lambda spark: spark.copyFromLocalToFs("a", "b"), "the driver's own"),
    ],
    ids=[
        "readStream",
        "writeStream",
        "withWatermark",
        "dropDuplicatesWithinWatermark",
        "pandas_api",
        "addArtifact",
        "addArtifacts",
        "copyFromLocalToFs",
    ],
)
def test_it_is_refused_at_once_with_what_there_is_instead(
    spark: SparkSession, call: Callable[[Any], Any], instead: str
) -> None:
    """Before the engine is asked, which would do half of it."""
    with pytest.raises(PySparkNotImplementedError, match="isn't here") as raised:
        call(spark)

    assert instead in raised.value.__notes__[0]
