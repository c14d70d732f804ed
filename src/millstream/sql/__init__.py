"""SQL: DataFrames and queries on RDDs and batches; needs the extra `sql`.

Sessions and rows are ours; the rest of PySpark's names are those of Spark Connect's client,
loaded when one is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.sql.row import Row
from millstream.sql.session import HiveContext, SparkSession, SQLContext

if TYPE_CHECKING:
    from pyspark.sql import (
        Column,
        DataFrame,
        DataFrameNaFunctions,
        DataFrameReader,
        DataFrameStatFunctions,
        DataFrameWriter,
        DataFrameWriterV2,
        GroupedData,
        Observation,
        UDFRegistration,
        UDTFRegistration,
        Window,
        WindowSpec,
    )

_HOMES = {
    "Column": "column",
    "DataFrame": "dataframe",
    "DataFrameNaFunctions": "dataframe",
    "DataFrameStatFunctions": "dataframe",
    "DataFrameReader": "readwriter",
    "DataFrameWriter": "readwriter",
    "DataFrameWriterV2": "readwriter",
    "MergeIntoWriter": "merge",
    "GroupedData": "group",
    "Observation": "observation",
    "UDFRegistration": "udf",
    "UDTFRegistration": "udtf",
    "Window": "window",
    "WindowSpec": "window",
}

__all__ = [
    "Column",
    "DataFrame",
    "DataFrameNaFunctions",
    "DataFrameReader",
    "DataFrameStatFunctions",
    "DataFrameWriter",
    "DataFrameWriterV2",
    "GroupedData",
    "HiveContext",
    "Observation",
    "Row",
    "SQLContext",
    "SparkSession",
    "UDFRegistration",
    "UDTFRegistration",
    "Window",
    "WindowSpec",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'millstream.sql' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(f"millstream.sql.{home}"), name)
