"""Records the golden outputs from a real PySpark.

Run by hand, with a Java and the Python of an environment that has `pyspark` 4.3,
`pandas` 2 and `pyarrow`: `python tests/sql/golden/record.py`. It writes outputs.json,
each line that a query prints as one text, so that a change reads well in a diff.
"""

import json
import logging
import os
import platform
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
OUTPUTS: Final = Path(__file__).parent / "outputs.json"


def namespace(package: str, spark: Any) -> Any:
    """Return what the queries use, found in `package`, which is PySpark's `sql`."""
    queries = import_module("tests.sql.golden.queries")
    root = import_module(package)
    for name, value in queries.SETTINGS.items():
        spark.conf.set(name, value)
    return queries.Sql(
        spark=spark,
        F=import_module(f"{package}.functions"),
        T=import_module(f"{package}.types"),
        Window=root.Window,
        Row=root.Row,
    )


def record(spark: Any) -> dict[str, Any]:
    """Return what each query prints on `spark`."""
    sql = namespace("pyspark.sql", spark)
    queries = import_module("tests.sql.golden.queries").QUERIES
    return {
        name: {
            "is_ordered": query.is_ordered,
            "output": query.output(sql).split("\n"),
        }
        for name, query in queries.items()
    }


def main() -> None:
    """Record all queries."""
    # Python's own zone is where PySpark puts moments; its workers must be this Python.
    os.environ |= {"TZ": "UTC", "PYSPARK_PYTHON": sys.executable}
    time.tzset()
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)
    logging.disable()  # Spark's client logs each error that a query asks for.
    builder = import_module("pyspark.sql").SparkSession.builder
    spark = (
        builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", tempfile.gettempdir())
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    versions = {
        "pandas": import_module("pandas").__version__,
        "python": platform.python_version(),
        "spark": spark.version,
    }
    recorded = {"queries": record(spark), "versions": versions}
    spark.stop()
    text = json.dumps(recorded, ensure_ascii=False, indent=1, sort_keys=True)
    OUTPUTS.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
