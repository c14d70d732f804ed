"""Catalogue: every configuration key, what its value is, and what it does here.

A key with `does_nothing` is accepted, and its reason told once when a program sets it. A
key that ends in `*` stands for a family of such keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a value is."""

    TEXT = "text"
    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    DURATION_MS = "a duration such as 200ms or 5s, in ms if no unit is given"
    DURATION_S = "a duration such as 200ms or 5s, in seconds if no unit is given"
    SIZE_BYTES = "a size such as 64k or 1g, in bytes if no unit is given"
    SIZE_MIB = "a size such as 64k or 1g, in MiB if no unit is given"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `does_nothing` says why a key Spark has is without effect here."""

    key: str
    kind: Kind
    default: str | None
    effect: str
    at_least: float | None = None
    """The least value: ms of a duration, bytes of a size."""
    does_nothing: str | None = None
    choices: tuple[str, ...] = ()
    memory_part_of: int | None = None
    """The default of a size is at most one of so many parts of the process's memory."""

    def expected(self) -> str:
        """Return in words what a value must be."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        unit = _UNITS.get(self.kind, "")
        least = "" if self.at_least is None else f", at least {self.at_least:g}{unit}"
        return f"{self.kind.value}{least}"


_UNITS = {
    Kind.DURATION_MS: " ms",
    Kind.DURATION_S: " ms",
    Kind.SIZE_BYTES: " bytes",
    Kind.SIZE_MIB: " bytes",
}
_T, _B, _I, _N = Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER
_MS, _S, _MIB = Kind.DURATION_MS, Kind.DURATION_S, Kind.SIZE_MIB

_JVM = "there is no JVM to configure"
_LOCAL = "everything runs in one process; there are no executors to place"
_NO_NETWORK = "there is no network between driver and tasks"
_MEMORY = "use spark.millstream.memory"
_PICKLED = "records are pickled with protocol 5"
_LATER = "arrives with a later part; see the README's list of what works today"
_GONE = "Spark itself has dropped it"
_CONNECTOR = "connectors written for the JVM don't run here"


def _works(
    key: str,
    kind: Kind,
    default: str | None,
    effect: str,
    at_least: float | None = None,
) -> Setting:
    return Setting(key, kind, default, effect, at_least)


def _nothing(key: str, why: str, kind: Kind = Kind.TEXT) -> Setting:
    return Setting(key, kind, None, "accepted; no effect", None, why)


_APPLICATION = (
    _works(
        "spark.master",
        _T,
        None,
        "where tasks run: local, local[N], local[*], local[N,F]; * is the cores that the "
        "process may use, in a container those of its limit",
    ),
    _works("spark.app.name", _T, None, "the name of the application"),
    _works("spark.app.id", _T, None, "the name of this run; made by the context"),
    _works("spark.home", _T, None, "reported by SparkContext.sparkHome"),
    _works(
        "spark.default.parallelism",
        _I,
        None,
        "partitions when a program names none; else the cores of the master",
        1,
    ),
    _works(
        "spark.task.maxFailures",
        _I,
        "4",
        "tries of a task; a local master uses 1 unless it is local[N,F]",
        1,
    ),
    _works(
        "spark.local.dir",
        _T,
        None,
        "where blocks spill to; else the system's temporary directory",
    ),
    _works("spark.log.level", _T, None, "the level of Millstream's log"),
    _works(
        "spark.rdd.compress",
        _B,
        "false",
        "compress kept partitions: less memory, more CPU",
    ),
    _works(
        "spark.cleaner.ttl",
        _S,
        None,
        "forget kept partitions, shuffles and batch metadata older than this",
        1,
    ),
    _works(
        "spark.python.profile",
        _B,
        "false",
        "profile tasks; see SparkContext.show_profiles",
    ),
    _works(
        "spark.python.profile.dump",
        _T,
        None,
        "directory for profiles when the context stops",
    ),
    _works(
        "spark.submit.pyFiles",
        _T,
        None,
        "modules to add to the import path, comma-separated",
    ),
    _works(
        "spark.files",
        _T,
        None,
        "files to add, as SparkContext.addFile does, comma-separated",
    ),
    _works(
        "spark.executor.allowSparkContext",
        _B,
        "false",
        "allow a SparkContext inside a task",
    ),
    _works(
        "spark.hadoop.validateOutputSpecs",
        _B,
        "true",
        "refuse to save into an existing directory",
    ),
    Setting(
        "spark.millstream.memory",
        _MIB,
        "1024",
        "memory for kept partitions, shuffles and received blocks, before they spill or are "
        "dropped; unless set, no more than an eighth of what the process may use",
        1,
        memory_part_of=8,
    ),
    Setting(
        "spark.millstream.state.memory",
        _MIB,
        "2048",
        "memory for the state that mapWithState keeps at hand; what is over it goes to a "
        "file in spark.local.dir; unless set, no more than a quarter of what the process "
        "may use",
        1,
        memory_part_of=4,
    ),
    _works(
        "spark.executor.instances",
        _I,
        "0",
        "how many actors run tasks on a Ray cluster, one at a time each; 0: as many as "
        "the cluster has CPUs",
        0,
    ),
    Setting(
        "spark.millstream.processes",
        _T,
        "auto",
        "whether stages that go row by row run in worker processes: auto where what they "
        "cost makes it worth while, always wherever they can, off never",
        choices=("auto", "off", "always"),
    ),
    Setting(
        "spark.millstream.receivers",
        _T,
        "auto",
        "where receivers run: here on threads of this process, apart in a process of "
        "their own each, on Ray in an actor; auto is apart where the master is ray or "
        "local-cluster",
        choices=("auto", "here", "apart"),
    ),
    Setting(
        "spark.millstream.worker.memory",
        _MIB,
        "2048",
        "a worker process that has grown larger is replaced after its task; unless set, no "
        "more than half of what the process may use",
        1,
        memory_part_of=2,
    ),
    _works(
        "spark.task.timeout",
        _S,
        None,
        "a task in a worker process that takes longer is ended, and its job told so",
        1,
    ),
    _works(
        "spark.speculation",
        _B,
        "false",
        "try a slow task a second time, elsewhere, and take what is done first; only of "
        "tasks in worker processes or on a cluster",
    ),
    _works(
        "spark.speculation.interval",
        _MS,
        "100",
        "how often tasks are looked at",
        1,
    ),
    _works(
        "spark.speculation.quantile",
        _N,
        "0.75",
        "share of a stage's tasks, from 0 to 1, that must be done before one can be slow",
        0,
    ),
    _works(
        "spark.speculation.multiplier",
        _N,
        "1.5",
        "a slow task takes more than this many times as long as the median of those done",
        1,
    ),
    _works(
        "spark.speculation.minTaskRuntime",
        _MS,
        "100",
        "a task that has run for less isn't slow",
        0,
    ),
    Setting(
        "spark.millstream.columnar",
        _T,
        "on",
        "whether functions that are known in columns run there; verify runs both ways and "
        "fails on any difference",
        choices=("on", "off", "verify"),
    ),
    _works(
        "spark.millstream.columnar.rows.min",
        _I,
        "2000",
        "blocks of fewer records go row by row, which starts sooner",
        0,
    ),
    _works(
        "spark.millstream.sql.memoryGrowth",
        Kind.SIZE_BYTES,
        "200m",
        "the process that runs queries is replaced when it has grown by this much: it "
        "doesn't give back all the memory that queries take",
        1,
    ),
    _works(
        "spark.millstream.sql.timeout",
        _S,
        None,
        "a query that runs longer is cancelled",
        1,
    ),
    _works(
        "spark.ui.enabled",
        _B,
        "true",
        "serve a page that shows what the program does, to browsers on this machine; "
        "MILLSTREAM_UI=off in the environment turns it off where this isn't set",
    ),
    _works(
        "spark.ui.port",
        _I,
        "4040",
        "the page's port, or the first free one after it; 0: any free one",
        0,
    ),
    _works(
        "spark.port.maxRetries",
        _I,
        "16",
        "how many ports after spark.ui.port are tried",
        0,
    ),
    _works(
        "spark.millstream.ui.host",
        _T,
        "127.0.0.1",
        "the address the page listens on; on one that others reach, they can read it",
    ),
    _works(
        "spark.millstream.ui.token",
        _T,
        None,
        "who has it may stop, pause and kill from the page; auto makes one and prints the "
        "page's address with it. A secret, so better MILLSTREAM_UI_TOKEN in the environment; "
        "without either the page is read-only",
    ),
    _works(
        "spark.eventLog.enabled",
        _B,
        "false",
        "write what happens, as lines of JSON, to files that a page can be made from later",
    ),
    _works(
        "spark.eventLog.dir",
        _T,
        "/tmp/spark-events",  # noqa: S108  Spark's.
        "where event logs are, a directory for each run; on a local or mounted disk",
    ),
    _works(
        "spark.eventLog.rolling.maxFileSize",
        Kind.SIZE_BYTES,
        "128m",
        "a file of the event log that has grown so large is followed by a new one",
        1024,
    ),
    _works(
        "spark.millstream.eventLog.files.max",
        _I,
        "10",
        "so many files of a run's event log are kept, the newest ones",
        2,
    ),
    _works(
        "spark.millstream.otel.endpoint",
        _T,
        None,
        "where metrics and traces are sent, by OpenTelemetry's protocol over HTTP, such as "
        "http://localhost:4318 (extra `otel`); OTEL_* variables are heeded too",
    ),
    Setting(
        "spark.millstream.gc",
        _T,
        "between-batches",
        "when the collector runs while a stream is active",
        choices=("between-batches", "automatic"),
    ),
)

_STREAMING = (
    _works(
        "spark.streaming.blockInterval",
        _MS,
        "200",
        "received records are cut into blocks, hence partitions, this long",
        1,
    ),
    _works(
        "spark.streaming.receiver.maxRate",
        _I,
        None,
        "records a second and receiver; 0 or less: no limit",
    ),
    _works(
        "spark.streaming.receiverRestartDelay",
        _MS,
        "2000",
        "pause before a receiver restarts",
        0,
    ),
    _works(
        "spark.streaming.unpersist",
        _B,
        "true",
        "drop generated RDDs and received blocks that are no longer needed",
    ),
    _works(
        "spark.streaming.concurrentJobs",
        _I,
        "1",
        "output operations that run at the same time, over batches too",
        1,
    ),
    _works(
        "spark.streaming.gracefulStopTimeout",
        _MS,
        None,
        "limit of a graceful stop; else ten batches",
        0,
    ),
    _works(
        "spark.streaming.stopGracefullyOnShutdown",
        _B,
        None,
        "finish received data when the process ends: true: always; false: never, as in "
        "Spark; else on SIGTERM",
    ),
    _works(
        "spark.streaming.stopSparkContextByDefault",
        _B,
        "true",
        "default of StreamingContext.stop()",
    ),
    _works(
        "spark.streaming.checkpoint.directory",
        _T,
        None,
        "calls StreamingContext.checkpoint() at construction",
    ),
    _works(
        "spark.streaming.minRememberDuration",
        _S,
        "60",
        "older name of spark.streaming.fileStream.minRememberDuration",
        0,
    ),
    _works(
        "spark.streaming.fileStream.minRememberDuration",
        _S,
        None,
        "how old a file may be to be taken, and how long names are remembered",
        0,
    ),
    _works(
        "spark.streaming.clock",
        _T,
        "SystemClock",
        "a class name that ends in ManualClock makes time virtual",
    ),
    _works(
        "spark.streaming.extraListeners",
        _T,
        None,
        "classes to register as streaming listeners, comma-separated",
    ),
    _works(
        "spark.streaming.blockQueueSize",
        _I,
        "10",
        "finished blocks that wait to be stored; then no more are made",
        1,
    ),
    _works(
        "spark.streaming.receiver.blockStoreTimeout",
        _S,
        "30",
        "how long storing and logging one block may take, with the write-ahead log",
        1,
    ),
    _works(
        "spark.streaming.manualClock.jump",
        _MS,
        "0",
        "ms a manual clock jumps on recovery",
    ),
    _works(
        "spark.millstream.waitingBatches.max",
        _I,
        "2",
        "batches that may wait for those before them; then receivers wait. 0: any number",
        0,
    ),
    _works(
        "spark.streaming.ui.retainedBatches",
        _I,
        "1000",
        "batches that have ended and are remembered, for pages, REST and metrics",
        1,
    ),
)

_RATES = "spark.streaming.backpressure"
_BACKPRESSURE = (
    _works(f"{_RATES}.enabled", _B, "false", "adapt receiving to processing speed"),
    _works(
        f"{_RATES}.initialRate",
        _I,
        None,
        "records a second and receiver before the first estimate; else receiver.maxRate",
    ),
    Setting(
        f"{_RATES}.rateEstimator",
        _T,
        "pid",
        "how rates are estimated",
        choices=("pid",),
    ),
    _works(f"{_RATES}.pid.proportional", _N, "1.0", "weight of the error", 0),
    _works(f"{_RATES}.pid.integral", _N, "0.2", "weight of the past errors", 0),
    _works(f"{_RATES}.pid.derived", _N, "0.0", "weight of the error's change", 0),
    _works(f"{_RATES}.pid.minRate", _N, "100", "lowest rate, records a second", 0),
)

_LOG = "writeAheadLog"
_RECEIVED, _METADATA = (
    f"spark.streaming.receiver.{_LOG}",
    f"spark.streaming.driver.{_LOG}",
)
_WRITE_AHEAD_LOGS = (
    _works(
        f"{_RECEIVED}.enable",
        _B,
        "false",
        "log received data below the checkpoint directory before it counts as received",
    ),
    _works(f"{_METADATA}.allowBatching", _B, "true", "group records in one write"),
    _works(
        f"{_METADATA}.batchingTimeout", _MS, "5000", "longest wait for such a write", 1
    ),
    *(
        setting
        for log in (_RECEIVED, _METADATA)
        for setting in (
            _works(
                f"{log}.class",
                _T,
                None,
                "a write-ahead log class of your own: module.Class, made with (directory)",
            ),
            _works(f"{log}.rollingIntervalSecs", _I, "60", "a new file every n s", 1),
            _works(f"{log}.maxFailures", _I, "3", "tries of a write", 1),
            _works(
                f"{log}.closeFileAfterWrite",
                _B,
                "false",
                "one file a record: for object stores",
            ),
            _works(
                f"{log}.sync",
                _B,
                "true",
                "wait for the disk: without it records outlive the process, not the machine",
            ),
        )
    ),
)

_KAFKA = "spark.streaming.kafka"
_KAFKA_DIRECT = (
    _works(
        f"{_KAFKA}.maxRatePerPartition",
        _I,
        "0",
        "records a second that a direct stream reads of a partition; 0: no limit",
    ),
    _works(
        f"{_KAFKA}.minRatePerPartition",
        _I,
        "1",
        "records a batch has of a partition at least, where its rate is limited",
    ),
    _works(
        f"{_KAFKA}.consumer.cache.enabled",
        _B,
        "true",
        "whether a process keeps consumers for its next tasks",
    ),
    _works(
        f"{_KAFKA}.consumer.cache.maxCapacity", _I, "64", "consumers kept at most", 1
    ),
    _works(
        f"{_KAFKA}.consumer.poll.ms",
        _MS,
        "30000",
        "how long a task waits for its next record; unless set, default.api.timeout.ms "
        "of kafkaParams",
        1,
    ),
    _nothing(
        f"{_KAFKA}.consumer.cache.initialCapacity", "consumers are made when needed"
    ),
    _nothing(f"{_KAFKA}.consumer.cache.loadFactor", "consumers are made when needed"),
    _nothing(f"{_KAFKA}.allowNonConsecutiveOffsets", "gaps are never an error"),
    _nothing(f"{_KAFKA}.maxRetries", "the client asks again until its time-out"),
)

_SCALING = "spark.streaming.dynamicAllocation"
_FAMILIAR = (
    _works(
        "spark.streaming.sessionByKey.deltaChainThreshold",
        _I,
        "20",
        "state changes are kept a file a batch; more files than this are merged",
        1,
    ),
    _works(
        f"{_SCALING}.enabled",
        _B,
        "false",
        "on a Ray cluster: start and end executors as batches take long or short",
    ),
    _works(
        f"{_SCALING}.minExecutors",
        _I,
        None,
        "executors there are at least; else one a receiver, and one at least",
        1,
    ),
    _works(
        f"{_SCALING}.maxExecutors",
        _I,
        None,
        "executors there are at most; else any number",
        1,
    ),
    _works(f"{_SCALING}.scalingInterval", _S, "60", "how often that is decided", 1),
    _works(
        f"{_SCALING}.scalingUpRatio",
        _N,
        "0.9",
        "more executors where batches take this share of their duration, or more",
    ),
    _works(
        f"{_SCALING}.scalingDownRatio",
        _N,
        "0.3",
        "one executor less where batches take this share of their duration, or less",
    ),
    _nothing(f"{_SCALING}.testing", "for tests of Spark's own", _B),
    _nothing("spark.checkpoint.compress", "RDD checkpoints are not compressed", _B),
    _nothing("spark.cores.max", _LOCAL),
    _nothing("spark.driver.cores", _JVM),
    _nothing("spark.driver.extraJavaOptions", _JVM),
    _nothing("spark.driver.host", _NO_NETWORK),
    _nothing("spark.driver.maxResultSize", "results stay in this process"),
    _nothing("spark.driver.memory", _JVM),
    _nothing("spark.driver.port", _NO_NETWORK),
    _nothing("spark.dynamicAllocation.enabled", _LOCAL),
    _nothing("spark.executor.cores", _LOCAL),
    _nothing("spark.executor.extraJavaOptions", _JVM),
    _nothing("spark.executor.memory", _MEMORY),
    _nothing("spark.io.compression.codec", "files are compressed by their extension"),
    _nothing("spark.jars", _JVM),
    _nothing("spark.jars.packages", _JVM),
    _nothing("spark.kryo.registrator", _PICKLED),
    _nothing("spark.kryoserializer.buffer.max", _PICKLED),
    _nothing("spark.locality.wait", _LOCAL),
    _nothing("spark.logConf", "ask SparkConf.toDebugString()", _B),
    _nothing("spark.memory.fraction", _MEMORY),
    _nothing("spark.network.timeout", _NO_NETWORK),
    _nothing("spark.python.worker.memory", "use spark.millstream.worker.memory"),
    _nothing("spark.python.worker.reuse", "worker processes are always reused", _B),
    _nothing("spark.scheduler.mode", "jobs share the slots first come, first served"),
    _nothing("spark.serializer", _PICKLED),
    _nothing("spark.shuffle.service.enabled", _LOCAL),
    _nothing("spark.sql.shuffle.partitions", "the SQL engine uses all cores it finds"),
    _nothing("spark.storage.memoryFraction", _MEMORY),
    _nothing("spark.task.cpus", "a task takes one slot", _I),
)

_FAMILIES = (
    _nothing("spark.acls.*", _LATER),
    _nothing("spark.akka.*", _GONE),
    _nothing("spark.api.*", _JVM),
    _nothing("spark.app.*", "set by the context itself"),
    _nothing("spark.archives", "use SparkContext.addArchive"),
    _nothing("spark.authenticate*", _NO_NETWORK),
    _nothing("spark.barrier.*", "a barrier waits as long as its tasks run"),
    _nothing("spark.blacklist.*", _LOCAL),
    _nothing("spark.blockManager.*", "no ports are opened"),
    _nothing("spark.broadcast.*", "broadcasts are handed over inside the process"),
    _nothing("spark.buffer.*", "buffers have a size of their own"),
    _nothing("spark.cassandra.*", _CONNECTOR),
    _nothing("spark.cleaner.*", "what nothing refers to goes at once"),
    _nothing("spark.closure.*", "functions are pickled by value"),
    _nothing("spark.connect.*", "the SQL engine is started, and found, by the session"),
    _nothing("spark.decommission.*", _LOCAL),
    _nothing("spark.deploy.*", _LOCAL),
    _nothing("spark.driver.*", _JVM),
    _nothing("spark.dynamicAllocation.*", _LOCAL),
    _nothing("spark.es.*", _CONNECTOR),
    _nothing("spark.eventLog.*", "lines of JSON, in files that are always rolled"),
    _nothing("spark.eventqueue.*", _JVM),
    _nothing("spark.excludeOnFailure.*", _LOCAL),
    _nothing("spark.executor.*", _LOCAL),
    _nothing("spark.executorEnv.*", _LOCAL),
    _nothing("spark.extraListeners", _JVM),
    _nothing("spark.fileserver.*", _GONE),
    _nothing("spark.files.*", "files are read with buffers of 1 MiB"),
    _nothing(
        "spark.hadoop.*",
        "files are read by Python libraries, which have settings of their own; S3's "
        "address and credentials are environment variables: AWS_ENDPOINT_URL and so on",
    ),
    _nothing("spark.history.*", _LATER),
    _nothing("spark.io.*", "files are compressed by their extension"),
    _nothing("spark.jars*", _JVM),
    _nothing("spark.job.*", "set by the context itself"),
    _nothing("spark.jvm*", _JVM),
    _nothing(
        "spark.kafka.*", "Kafka's settings are given to the stream, as kafkaParams"
    ),
    _nothing("spark.kryo*", _PICKLED),
    _nothing("spark.kubernetes.*", _LOCAL),
    _nothing("spark.locality.*", _LOCAL),
    _nothing("spark.localExecution.*", _GONE),
    _nothing("spark.log.*", "use Python's logging"),
    _nothing("spark.logLineage", "ask rdd.toDebugString()"),
    _nothing("spark.memory.*", _MEMORY),
    _nothing("spark.mesos.*", _LOCAL),
    _nothing(
        "spark.metrics.*", "the page has /metrics; see spark.millstream.otel.endpoint"
    ),
    _nothing("spark.modify.*", _LATER),
    _nothing("spark.mongodb.*", _CONNECTOR),
    _nothing("spark.network.*", _NO_NETWORK),
    _nothing("spark.plugins*", _JVM),
    _nothing("spark.port.*", "the page's port is the only one that is opened"),
    _nothing("spark.pyspark.*", "tasks run in this process's Python"),
    _nothing("spark.python.*", "worker processes take no settings of Spark's"),
    _nothing("spark.rdd.*", "partitions are listed and kept in this process"),
    _nothing("spark.redaction.*", _LATER),
    _nothing("spark.redis.*", _CONNECTOR),
    _nothing("spark.reducer.*", "shuffles stay in this process"),
    _nothing("spark.remote", "the SQL engine is a process of this program's own"),
    _nothing("spark.repl.*", _JVM),
    _nothing("spark.resources.*", _LOCAL),
    _nothing("spark.rpc.*", _NO_NETWORK),
    _nothing("spark.scheduler.*", "jobs share the slots first come, first served"),
    _nothing("spark.security.*", _NO_NETWORK),
    _nothing("spark.serializer*", _PICKLED),
    _nothing(
        "spark.shuffle.*",
        "shuffles stay in this process; spark.millstream.memory bounds them",
    ),
    _nothing("spark.speculation.*", "a slow task is judged by its time alone"),
    _works(
        "spark.sql.*",
        _T,
        None,
        "handed to the engine that runs queries (extra `sql`), which goes by those that it "
        "knows",
    ),
    _nothing("spark.ssl.*", _NO_NETWORK),
    _nothing("spark.stage.*", "a stage is tried four times"),
    _nothing("spark.storage.*", _MEMORY),
    _nothing("spark.submit.*", "programs are started with `millstream run`"),
    _nothing("spark.tachyonStore.*", _GONE),
    _nothing("spark.task.resource.*", _LOCAL),
    _nothing("spark.ui.*", "the page has no such choice"),
    _nothing("spark.worker.*", _LOCAL),
    _nothing("spark.yarn.*", _LOCAL),
)

CATALOGUE: Final[Mapping[str, Setting]] = {
    each.key: each
    for each in (
        *_APPLICATION,
        *_STREAMING,
        *_BACKPRESSURE,
        *_WRITE_AHEAD_LOGS,
        *_KAFKA_DIRECT,
        *_FAMILIAR,
        *_FAMILIES,
    )
}
_PREFIXES = tuple(key[:-1] for key in CATALOGUE if key.endswith("*"))


def find_setting(key: str) -> Setting | None:
    """Return the entry of `key`: its own, else that of the closest family, or None.

    >>> find_setting("spark.executor.pyspark.memory").key
    'spark.executor.*'
    """
    own = CATALOGUE.get(key)
    if own is not None:
        return own
    matching = [prefix for prefix in _PREFIXES if key.startswith(prefix)]
    return CATALOGUE[max(matching, key=len) + "*"] if matching else None
