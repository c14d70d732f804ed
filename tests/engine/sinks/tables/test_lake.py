"""Types and settings of Delta Lake and Iceberg."""

import polars as pl
import pytest

from millstream.engine.base.secrets import Secret, revealed
from millstream.engine.sinks.tables.lake import lake_type, options_apart


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (pl.UInt8(), pl.Int16()),
        (pl.UInt64(), pl.Decimal(20, 0)),
        (pl.Datetime("ns"), pl.Datetime("us")),
        (pl.Datetime("ms", "Europe/Berlin"), pl.Datetime("us", "UTC")),
        (pl.Categorical(), pl.String()),
        (pl.Duration(), pl.Int64()),
        (pl.List(pl.UInt8()), pl.List(pl.Int16())),
        (pl.Array(pl.UInt8(), 2), pl.List(pl.Int16())),
        (pl.Struct({"a": pl.UInt8()}), pl.Struct({"a": pl.Int16()})),
        (pl.String(), pl.String()),
        (pl.Object(), None),
        (pl.List(pl.Object()), None),
        (pl.Struct({"a": pl.Object()}), None),
    ],
)
def test_a_type_becomes_one_that_lakes_have(
    dtype: pl.DataType, expected: pl.DataType | None
) -> None:
    """Whole numbers have a sign; lists and structs are of such."""
    assert lake_type(dtype) == expected


def test_what_is_secret_among_settings_is_kept_so() -> None:
    """Keys of any name, and URLs with a password."""
    options = {
        "s3.secret-access-key": "sesame",
        "azure_storage_account_key": "sesame",
        "sas_token": "sesame",
        "uri": "postgresql://me:sesame@db/catalog",
        "warehouse": "s3://bucket",
    }
    kept = options_apart(options, "lake")

    assert "sesame" not in repr(kept)
    assert kept["warehouse"] == "s3://bucket"
    assert isinstance(kept["uri"], Secret)
    assert revealed(kept) == options
