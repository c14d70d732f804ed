"""Millstream: PySpark's streaming programs in plain Python."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.version import __version__

if TYPE_CHECKING:
    from millstream.accumulators import Accumulator, AccumulatorParam
    from millstream.broadcast import Broadcast
    from millstream.conf import SparkConf
    from millstream.context import SparkContext
    from millstream.files import SparkFiles
    from millstream.profiler import BasicProfiler, Profiler
    from millstream.rdd import RDD, RDDBarrier
    from millstream.serializers import CPickleSerializer, MarshalSerializer
    from millstream.sql import HiveContext as HiveContext
    from millstream.sql import Row as Row
    from millstream.sql import SQLContext as SQLContext
    from millstream.status import (
        SparkExecutorInfo,
        SparkJobInfo,
        SparkStageInfo,
        StatusTracker,
    )
    from millstream.storagelevel import StorageLevel
    from millstream.taskcontext import (
        BarrierTaskContext,
        BarrierTaskInfo,
        TaskContext,
    )
    from millstream.util import InheritableThread, inheritable_thread_target
    from millstream.util import keyword_only as keyword_only
    from millstream.util import since as since

__all__ = [
    "RDD",
    "Accumulator",
    "AccumulatorParam",
    "BarrierTaskContext",
    "BarrierTaskInfo",
    "BasicProfiler",
    "Broadcast",
    "CPickleSerializer",
    "InheritableThread",
    "MarshalSerializer",
    "Profiler",
    "RDDBarrier",
    "SparkConf",
    "SparkContext",
    "SparkExecutorInfo",
    "SparkFiles",
    "SparkJobInfo",
    "SparkStageInfo",
    "StatusTracker",
    "StorageLevel",
    "TaskContext",
    "__version__",
    "inheritable_thread_target",
]

# Imported when first used: a program pays for what it touches.
_HOMES = {
    "Accumulator": "accumulators",
    "AccumulatorParam": "accumulators",
    "BarrierTaskContext": "taskcontext",
    "BarrierTaskInfo": "taskcontext",
    "BasicProfiler": "profiler",
    "Broadcast": "broadcast",
    "CPickleSerializer": "serializers",
    "HiveContext": "sql",
    "InheritableThread": "util",
    "MarshalSerializer": "serializers",
    "Profiler": "profiler",
    "RDD": "rdd",
    "RDDBarrier": "rdd",
    "Row": "sql",
    "SQLContext": "sql",
    "SparkConf": "conf",
    "SparkContext": "context",
    "SparkExecutorInfo": "status",
    "SparkFiles": "files",
    "SparkJobInfo": "status",
    "SparkStageInfo": "status",
    "StatusTracker": "status",
    "StorageLevel": "storagelevel",
    "TaskContext": "taskcontext",
    "inheritable_thread_target": "util",
    "keyword_only": "util",
    "since": "util",
}


# What `import pyspark` alone makes reachable, as `pyspark.conf.SparkConf`.
_MODULES = frozenset(
    {*_HOMES.values(), "errors", "resultiterable", "statcounter", "streaming"}
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"millstream.{name}")
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'millstream' has no attribute '{name}'"
        raise AttributeError(msg)
    value = getattr(import_module(f"millstream.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


class _ClientOfSql:
    """Finds `spark_client`, by whose names functions travel that speak of SQL's types."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] != "spark_client":
            return None
        client = import_module("millstream.sql.client")
        # From now on it finds them first.
        client.install()
        return client.find_spec(fullname, path, target)


sys.meta_path.append(_ClientOfSql)
