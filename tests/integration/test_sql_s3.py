"""Files in an S3 bucket, read and written by queries."""

from collections.abc import Iterator

import pytest
from tests.integration.servers.s3 import BUCKET, s3_server

from millstream.errors import AnalysisException, PySparkException
from millstream.sql import Row, SparkSession

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """Return a session whose engine finds a bucket by its environment."""
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ALLOW_HTTP", "true")
        with SparkSession.builder.master("local[2]").getOrCreate() as session:
            yield session


def test_a_bucket_is_read_and_written(spark: SparkSession) -> None:
    """In all modes, and under both of its schemes."""
    path = f"s3://{BUCKET}/numbers"
    spark.range(5).write.parquet(path)

    assert spark.read.parquet(path.replace("s3:", "s3a:")).count() == 5
    with pytest.raises(AnalysisException, match="PATH_ALREADY_EXISTS"):
        spark.range(5).write.parquet(path)
    spark.range(2).write.mode("append").parquet(path)
    assert spark.read.parquet(path).count() == 7
    spark.range(1).write.mode("overwrite").parquet(path)
    assert spark.read.parquet(path).collect() == [Row(id=0)]


def test_what_is_not_there_is_named(spark: SparkSession) -> None:
    """A prefix without objects, and a bucket."""
    with pytest.raises(AnalysisException, match=f"s3://{BUCKET}/none"):
        spark.read.parquet(f"s3://{BUCKET}/none")
    with pytest.raises(PySparkException, match="NoSuchBucket"):
        spark.read.parquet("s3://nobody/none")
