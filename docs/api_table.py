"""Writes the page that says of PySpark's every API whether it is here: `docs/api.md`.

What there is in PySpark comes from the tests: the tables of `tests/parity/test_surface.py`,
and for the rest the one below. Whether it is here, and with which parameters, comes from
the code. Only the words are written by hand.
"""

import inspect
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import millstream
from millstream import resultiterable, status
from millstream.streaming import StreamingContext, flume, kafka, kinesis, mqtt

ROOT = Path(__file__).parent.parent

_ENTRY = re.compile(r"(\w+)(?:\(([^)]*)\))?")

# What the parity test has no table of: attributes are without brackets.
_MORE: list[tuple[Any, str]] = [
    (
        millstream.SparkContext,
        """getOrCreate(conf) setSystemProperty(key,value) version applicationId uiWebUrl startTime
        defaultParallelism defaultMinPartitions resources listFiles listArchives hadoopFile
        hadoopRDD newAPIHadoopFile newAPIHadoopRDD""",
    ),
    (
        millstream.RDD,
        """groupWith(other) context partitioner is_cached is_checkpointed saveAsSequenceFile
        saveAsHadoopFile saveAsHadoopDataset saveAsNewAPIHadoopFile
        saveAsNewAPIHadoopDataset""",
    ),
    (StreamingContext, "sparkContext"),
    (
        kafka.KafkaUtils,
        """createStream(ssc,zkQuorum,groupId,topics,kafkaParams,storageLevel,keyDecoder,valueDecoder)
        createDirectStream(ssc,topics,kafkaParams,fromOffsets,keyDecoder,valueDecoder,messageHandler)
        createRDD(sc,kafkaParams,offsetRanges,leaders,keyDecoder,valueDecoder,messageHandler)""",
    ),
    (kafka.OffsetRange, "topic partition fromOffset untilOffset"),
    (kafka.TopicAndPartition, "topic partition"),
    (kafka.KafkaMessageAndMetadata, "topic partition offset key message"),
    (
        flume.FlumeUtils,
        """createStream(ssc,hostname,port,storageLevel,enableDecompression,bodyDecoder)
        createPollingStream(ssc,addresses,storageLevel,maxBatchSize,parallelism,bodyDecoder)""",
    ),
    (
        kinesis.KinesisUtils,
        """createStream(ssc,kinesisAppName,streamName,endpointUrl,regionName,initialPositionInStream,checkpointInterval,metricsLevel,storageLevel,awsAccessKeyId,awsSecretKey,decoder,stsAssumeRoleArn,stsSessionName,stsExternalId)""",
    ),
    (mqtt.MQTTUtils, "createStream(ssc,brokerUrl,topic,storageLevel)"),
    (
        millstream.Broadcast,
        "value unpersist(blocking) destroy(blocking) dump(value,f) load(file) load_from_path(path)",
    ),
    (millstream.Accumulator, "value add(term)"),
    (millstream.AccumulatorParam, "zero(value) addInPlace(value1,value2)"),
    (
        millstream.TaskContext,
        """get() attemptNumber() partitionId() stageId() taskAttemptId() getLocalProperty(key)
        resources() cpus()""",
    ),
    (millstream.BarrierTaskContext, "barrier() allGather(message) getTaskInfos()"),
    (
        millstream.RDDBarrier,
        "mapPartitions(f,preservesPartitioning) mapPartitionsWithIndex(f,preservesPartitioning)",
    ),
    (
        status.StatusTracker,
        """getActiveJobsIds() getActiveStageIds() getJobIdsForGroup(jobGroup) getJobInfo(jobId)
        getStageInfo(stageId)""",
    ),
    (millstream.SparkFiles, "get(filename) getRootDirectory()"),
    (
        millstream.StorageLevel,
        """DISK_ONLY DISK_ONLY_2 DISK_ONLY_3 MEMORY_ONLY MEMORY_ONLY_2 MEMORY_AND_DISK
        MEMORY_AND_DISK_2 MEMORY_AND_DISK_DESER OFF_HEAP NONE""",
    ),
    (millstream.Profiler, "profile(func) stats() show(id) dump(id,path)"),
    (resultiterable.ResultIterable, "__iter__() __len__()"),
]
# The others follow, in the order of the tables.
_FIRST = (
    "SparkContext",
    "SparkConf",
    "RDD",
    "StreamingContext",
    "DStream",
    "StreamingListener",
)

_NEWER = {"reason", "args", "kwargs"}
"""Parameters that are PySpark's own in some version."""

_COLUMNS = "goes by [columns](columns.md), in native code, where functions and records are known there"
_JVM = "raises: it takes Java classes; use "
_OWN_FORMAT = "in a format of our own, which Hadoop can't read"
_BUCKETS = "buckets and remote file systems too, without Hadoop"
_ONE_COPY = "one copy under a local master; on Ray one more, on another node"

_BETTER: Mapping[str, str] = {
    **dict.fromkeys(
        [
            f"{owner}.{name}"
            for owner in ("RDD", "DStream")
            for name in [
                "map",
                "filter",
                "flatMap",
                "mapValues",
                "reduce",
                "reduceByKey",
                "combineByKey",
                "count",
                "countByValue",
                "join",
                "leftOuterJoin",
                "rightOuterJoin",
                "fullOuterJoin",
                "cogroup",
            ]
        ]
        + [
            f"RDD.{name}"
            for name in [
                "aggregateByKey",
                "foldByKey",
                "distinct",
                "sum",
                "sortBy",
                "sortByKey",
            ]
        ]
        + ["DStream.reduceByWindow", "DStream.reduceByKeyAndWindow"],
        _COLUMNS,
    ),
    "SparkContext.textFile": _BUCKETS,
    "SparkContext.wholeTextFiles": _BUCKETS,
    "SparkContext.binaryFiles": _BUCKETS,
    "SparkContext.binaryRecords": _BUCKETS,
    "RDD.saveAsTextFile": _BUCKETS,
    "SparkContext.uiWebUrl": "[the live page](page.md), with metrics, REST and the way of each step",
    "SparkConf.set": "a key that nobody knows is warned about, with the nearest one that is known",
    "SparkConf.setAll": "as `set`",
    "StreamingContext.start": "writes a first checkpoint before anything is received",
    "StreamingContext.stop": "a graceful stop is [bounded](receivers.md#stopping), and what is left runs after a restart",
    "StreamingContext.awaitTermination": "raises a batch's error with your traceback; SIGTERM is a graceful stop",
    "StreamingContext.checkpoint": f"{_BUCKETS}; damage is noticed, and the newest valid checkpoint wins",
    "StreamingContext.getOrCreate": "changed code [takes over state and positions](upgrading.md)",
    "StreamingContext.getActiveOrCreate": "as `getOrCreate`",
    "StreamingContext.textFileStream": f"a batch that runs again reads the files it had; {_BUCKETS}",
    "StreamingContext.binaryRecordsStream": "as `textFileStream`",
    "StreamingContext.socketTextStream": "takes no task slot, so that `local` works",
    "DStream.updateStateByKey": "writes what changed, batch by batch; can be [read from outside](state.md#reading-it-from-outside), and by columns",
    "DStream.saveAsTextFiles": _BUCKETS,
    "KafkaUtils.createStream": "needs no ZooKeeper; offsets are committed when their records are stored and logged",
    "KinesisUtils.createStream": "is read by ranges that are planned: a batch that runs again reads the same",
    "FlumeUtils.createStream": "events are acknowledged when they are stored",
}
_DIFFERS: Mapping[str, str] = {
    "SparkContext.sequenceFile": _OWN_FORMAT,
    "SparkContext.pickleFile": _OWN_FORMAT,
    "RDD.saveAsSequenceFile": _OWN_FORMAT,
    "RDD.saveAsPickleFile": _OWN_FORMAT,
    "StorageLevel.DISK_ONLY_2": _ONE_COPY,
    "StorageLevel.DISK_ONLY_3": _ONE_COPY,
    "StorageLevel.MEMORY_ONLY_2": _ONE_COPY,
    "StorageLevel.MEMORY_AND_DISK_2": _ONE_COPY,
    "StorageLevel.OFF_HEAP": "there is no heap to be off: kept in memory, and on disk when that is full",
    "SparkConf.setExecutorEnv": "accepted, and without effect: executors have the environment that they were started in",
}
_READ = "`textFile`, `binaryFiles` or `pickleFile`"
_WRITE = "`saveAsTextFile`, or a [sink](sinks/index.md)"
_ABSENT: Mapping[str, str] = {
    **{
        f"SparkContext.{name}": _JVM + _READ
        for name in ("hadoopFile", "hadoopRDD", "newAPIHadoopFile", "newAPIHadoopRDD")
    },
    **{
        f"RDD.{name}": _JVM + _WRITE
        for name in (
            "saveAsHadoopFile",
            "saveAsHadoopDataset",
            "saveAsNewAPIHadoopFile",
            "saveAsNewAPIHadoopDataset",
        )
    },
    "RDD.withResources": "raises: there are no executors with resources of their own",
}

_HEAD = """# Every API of PySpark

Made from the parity test and the code by `make docs`; don't edit.

{counts}

**Same**: the same name, parameters in the same order, the same results. **Better**: that, and what the note says. **Differs**: it is there, and the note says what is other. **Absent**: it raises an error that says what to use instead.

What holds for all of it: an error in a function comes with your own traceback, the step, the partition and the record; nothing starts a JVM; floats are added in the rows' order, however a stage runs. SQL has [a page of its own](sql/differences.md), and what is different as a whole is in [Coming from PySpark](from-pyspark.md).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An API of PySpark's, and what it is here."""

    text: str
    verdict: str
    note: str


def surface() -> dict[Any, list[tuple[str, str | None]]]:
    """Return PySpark's names by class: each with its parameters, None for an attribute."""
    tables = runpy.run_path(str(ROOT / "tests" / "parity" / "test_surface.py"))
    found: dict[Any, list[tuple[str, str | None]]] = {}
    for owner, table in [*tables["TABLES"], *_MORE]:
        names = found.setdefault(owner, [])
        for entry in _ENTRY.finditer(table):
            names.append((entry[1], entry[2]))
    places = {name: place for place, name in enumerate(_FIRST)}
    last = len(places)
    return dict(
        sorted(found.items(), key=lambda item: places.get(item[0].__name__, last))
    )


def row_of(owner: Any, name: str, parameters: str | None) -> Row:
    """Return the row of one API.

    Raises:
        ValueError: It is there with other parameters, which the tests wouldn't let pass.
    """
    key = f"{owner.__name__}.{name}"
    text = name if parameters is None else f"{name}({parameters.replace(',', ', ')})"
    if key in _ABSENT:
        return Row(text, "absent", _ABSENT[key])
    if not hasattr(owner, name):
        return Row(text, "absent", "")
    if key in _DIFFERS:
        return Row(text, "differs", _DIFFERS[key])
    added = _added(getattr(owner, name), key, parameters)
    notes = [each for each in (_BETTER.get(key, ""), added) if each]
    return Row(text, "better" if notes else "same", "; ".join(notes))


def _added(method: Callable[..., Any], key: str, parameters: str | None) -> str:
    """Return in words which parameters are ours."""
    if parameters is None:
        return ""
    have = [
        each
        for each in inspect.signature(method).parameters
        if each not in {"self", "cls"}
    ]
    wanted = [each for each in parameters.split(",") if each]
    if have[: len(wanted)] != wanted:
        msg = f"{key}({', '.join(have)}) should begin ({parameters})"
        raise ValueError(msg)
    more = [f"`{each}`" for each in have[len(wanted) :] if each not in _NEWER]
    return f"takes {', '.join(more)} as well" if more else ""


def _beyond(owner: Any, known: set[str]) -> Iterator[str]:
    """Yield a row for each public name of a class that PySpark doesn't have."""
    for name in dir(owner):
        if name.startswith("_") or name.isupper() or name in known:
            continue
        words = (inspect.getdoc(getattr(owner, name)) or "").split("\n", 1)[0]
        yield f"| `{owner.__name__}.{name}` | {words} |"


def api_page() -> str:
    """Return the page's text."""
    sections: list[str] = []
    verdicts: list[str] = []
    beyond: list[str] = []
    for owner, names in surface().items():
        rows = [row_of(owner, *each) for each in names]
        verdicts += [row.verdict for row in rows]
        sections += ["", f"## {owner.__name__}", "", "| PySpark | here | |"]
        sections += ["|---|---|---|"]
        sections += [
            f"| `{row.text}` | {row.verdict} | {row.note} |".replace("|  |", "| |")
            for row in rows
        ]
        if owner.__name__ in {"SparkContext", "RDD", "StreamingContext", "DStream"}:
            beyond += _beyond(owner, {name for name, _ in names})
    counts = ", ".join(
        f"{verdicts.count(verdict)} {words}"
        for verdict, words in (
            ("same", "are the same"),
            ("better", "better"),
            ("differs", "differ"),
            ("absent", "are absent"),
        )
    )
    told = f"Of {len(verdicts)} methods and attributes {counts}."
    lines = [_HEAD.format(counts=told).rstrip(), *sections]
    lines += [
        "",
        "## What PySpark doesn't have",
        "",
        "| here | |",
        "|---|---|",
        *beyond,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(api_page(), "utf-8")
