"""SQL: DataFrames and queries on RDDs and batches; needs the extra `sql`.

Sessions and rows are ours; the rest of PySpark's names are those of Spark Connect's client,
loaded when one is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.sql.row import Row
from millstream.sql.session import HiveContext, SparkSession, SQLContext, is_remote

if TYPE_CHECKING:
    from pyspark.sql import (
        Catalog,
        Column,
        DataFrame,
        DataFrameNaFunctions,
        DataFrameReader,
        DataFrameStatFunctions,
        DataFrameWriter,
        DataFrameWriterV2,
        Geography,
        Geometry,
        GroupedData,
        MergeIntoWriter,
        Observation,
        PandasCogroupedOps,
        UDFRegistration,
        UDTFRegistration,
        VariantVal,
        Window,
        WindowSpec,
    )

_HOMES = {
    "Catalog": "catalog",
    "Column": "column",
    "DataFrame": "dataframe",
    "DataFrameNaFunctions": "dataframe",
    "DataFrameStatFunctions": "dataframe",
    "DataFrameReader": "readwriter",
    "DataFrameWriter": "readwriter",
    "DataFrameWriterV2": "readwriter",
    "MergeIntoWriter": "merge",
    "Geography": "types",
    "Geometry": "types",
    "GroupedData": "group",
    "Observation": "observation",
    "UDFRegistration": "udf",
    "UDTFRegistration": "udtf",
    "VariantVal": "types",
    "Window": "window",
    "WindowSpec": "window",
}

__all__ = [
    "Catalog",
    "Column",
    "DataFrame",
    "DataFrameNaFunctions",
    "DataFrameReader",
    "DataFrameStatFunctions",
    "DataFrameWriter",
    "DataFrameWriterV2",
    "Geography",
    "Geometry",
    "GroupedData",
    "HiveContext",
    "MergeIntoWriter",
    "Observation",
    "PandasCogroupedOps",
    "Row",
    "SQLContext",
    "SparkSession",
    "UDFRegistration",
    "UDTFRegistration",
    "VariantVal",
    "Window",
    "WindowSpec",
    "is_remote",
]


def __getattr__(name: str) -> Any:
    if name == "PandasCogroupedOps":
        # The one that `cogroup` makes is in a module that isn't PySpark's public one.
        from millstream.sql import client  # noqa: PLC0415  An extra.

        return client.module("sql.connect.group").PandasCogroupedOps
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'millstream.sql' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(f"millstream.sql.{home}"), name)
