"""SparkContext: where a program begins."""

import contextlib
import itertools
import logging
import re
import shutil
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from millstream import files as spark_files
from millstream import planning
from millstream.accumulators import (
    COMPLEX_ACCUMULATOR_PARAM,
    FLOAT_ACCUMULATOR_PARAM,
    INT_ACCUMULATOR_PARAM,
    Accumulator,
    AccumulatorParam,
    next_accumulator_id,
)
from millstream.broadcast import Broadcast, forget_all
from millstream.conf import SparkConf, system_properties
from millstream.engine.base import machine, task_scope
from millstream.engine.base.call_site import user_call_site
from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings, tell_remarks
from millstream.engine.base.errors import (
    IllegalArgumentError,
    PySparkPicklingError,
    PySparkRuntimeError,
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)
from millstream.engine.base.storage import open_storage
from millstream.engine.jobs.actions import Apply
from millstream.engine.jobs.driver import Driver
from millstream.engine.plan.nodes import (
    RddNode,
    Source,
    SourcePartition,
    StoredBlocks,
)
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.plan.partitions import freeze
from millstream.observers import Observers
from millstream.profiler import BasicProfiler, ProfilerCollector
from millstream.rdd import RDD, union_nodes
from millstream.rdd_output import java_only
from millstream.status import StatusTracker

if TYPE_CHECKING:
    from millstream.engine.sources.files import InputFile

__all__ = ["SparkContext"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
_app_numbers = itertools.count()


class SparkContext:
    """The entry point; one live instance a process.

    >>> with SparkContext("local[2]", "example") as sc:
    ...     sc.parallelize(range(4), 2).glom().collect()
    [[0, 1], [2, 3]]
    """

    _active_spark_context: ClassVar["SparkContext | None"] = None
    _callsite: str
    _lock: ClassVar[threading.RLock] = threading.RLock()
    PACKAGE_EXTENSIONS: ClassVar[tuple[str, ...]] = (".zip", ".egg", ".jar")

    def __init__(
        self,
        master: str | None = None,
        appName: str | None = None,
        sparkHome: str | None = None,
        pyFiles: list[str] | None = None,
        environment: dict[str, Any] | None = None,
        batchSize: int = 0,
        serializer: Any = None,
        conf: SparkConf | None = None,
        gateway: Any = None,
        jsc: Any = None,
        profiler_cls: type[BasicProfiler] | None = None,
        udf_profiler_cls: Any = None,
        memory_profiler_cls: Any = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Start; arguments win over `conf`.

        Raises:
            ValueError: A context is live already.
            IllegalArgumentError: The master or a setting can't be understood.
        """
        del batchSize, gateway, jsc, udf_profiler_cls, memory_profiler_cls
        self._conf = (conf or SparkConf())._copy()
        self._fill_conf(master, appName, sparkHome, environment)
        settings = Settings(dict(self._conf.getAll()))
        self._refuse_in_a_task(settings)
        settings.check()
        self._driver = self._new_driver(settings, clock)
        self.environment = dict(environment or {})
        if serializer is None:
            from millstream.serializers import CPickleSerializer  # noqa: PLC0415

            serializer = CPickleSerializer()
        self.serializer = serializer
        self.pythonVer = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.pythonExec = sys.executable
        self.profiler_collector: ProfilerCollector | None = None
        if self._driver.is_profiling:
            self.profiler_collector = ProfilerCollector(
                profiler_cls or BasicProfiler, self._driver.profiles, self
            )
        self._broadcasts: weakref.WeakSet[Broadcast[Any]] = weakref.WeakSet()
        self._python_includes: list[str] = []
        self._before_stop: Callable[[], None] = lambda: None
        self._at_stop: list[Callable[[], None]] = []
        self._at_cancel: list[Callable[[str | None], object]] = []
        """Each is told a group of jobs that is cancelled, or None: all are."""
        self._observers = Observers(self)
        self._added: dict[str, list[str]] = {"files": [], "archives": []}
        self._prepare(settings, pyFiles or [])
        tell_remarks(key for key, _ in self._conf.getAll())
        try:
            self._observers.start()
        except BaseException:
            self.stop()
            raise

    def _new_driver(self, settings: Settings, clock: Clock | None) -> Driver:
        parsed = parse_master(self.master, settings)
        with SparkContext._lock:
            self._claim()
            try:
                return Driver(
                    settings,
                    slots=parsed.slots,
                    task_failures_max=parsed.failures_max,
                    ray_address=parsed.ray_address,
                    is_cluster=parsed.is_cluster,
                    clock=clock,
                )
            except BaseException:
                SparkContext._active_spark_context = None
                raise

    def _fill_conf(
        self,
        master: str | None,
        app_name: str | None,
        home: str | None,
        environment: dict[str, Any] | None,
    ) -> None:
        if master is not None:
            self._conf.setMaster(master)
        if app_name is not None:
            self._conf.setAppName(app_name)
        if home is not None:
            self._conf.setSparkHome(home)
        for key, value in (environment or {}).items():
            self._conf.setExecutorEnv(key, value)
        self._conf.setIfMissing("spark.master", "local[*]")
        self._conf.setIfMissing("spark.app.name", "pyspark-shell")
        if planning.is_looking():
            self._conf.setAll(planning.settings_for(dict(self._conf.getAll())).items())
        self.master = self._conf.get("spark.master") or ""
        self.appName = self._conf.get("spark.app.name") or ""
        self.sparkHome = self._conf.get("spark.home")

    def _claim(self) -> None:
        live = SparkContext._active_spark_context
        if live is not None:
            msg = (
                "Cannot run multiple SparkContexts at once; existing SparkContext"
                f"(app={live.appName}, master={live.master}) created by "
                f"{live._callsite}"
            )
            raise PySparkValueError(
                msg, hint="stop() the other one, or use SparkContext.getOrCreate()"
            )
        self._callsite = user_call_site()
        SparkContext._active_spark_context = self

    @staticmethod
    def _refuse_in_a_task(settings: Settings) -> None:
        if task_scope.current() is not None and not settings.get_bool(
            "spark.executor.allowSparkContext"
        ):
            msg = "SparkContext should only be created and accessed on the driver."
            raise PySparkRuntimeError(msg, condition="CONTEXT_ONLY_VALID_ON_DRIVER")

    def _prepare(self, settings: Settings, py_files: list[str]) -> None:
        self._temp_dir = str(self._driver.local_dir)
        spark_files.root_directory = str(self._driver.local_dir / "files")
        Path(spark_files.root_directory).mkdir()
        number = next(_app_numbers)
        self._conf.setIfMissing(
            "spark.app.id", f"local-{self._driver.start_time_ms + number}"
        )
        level = settings.find_str("spark.log.level")
        if level is not None:
            self.setLogLevel(level)
        listed = settings.find_str("spark.submit.pyFiles") or ""
        for path in [*py_files, *filter(None, listed.split(","))]:
            self.addPyFile(path)
        for path in filter(None, (settings.find_str("spark.files") or "").split(",")):
            self.addFile(path)

    # Life.

    @classmethod
    def getOrCreate(cls, conf: SparkConf | None = None) -> "SparkContext":
        """Return the live context, or a new one made with `conf`."""
        with SparkContext._lock:
            if SparkContext._active_spark_context is None:
                SparkContext(conf=conf or SparkConf())
            live = SparkContext._active_spark_context
            assert live is not None, "a context was made just now"
            return live

    def stop(self) -> None:
        """Cancel jobs, drop everything that was kept. Idempotent."""
        self._before_stop()
        for each in self._at_stop:
            each()
        self._at_stop.clear()
        self._at_cancel.clear()
        with SparkContext._lock:
            if self._driver.is_profiling:
                self._dump_profiles_at_stop()
            self._driver.stop()
            forget_all(self._broadcasts)
            for path in self._python_includes:
                with contextlib.suppress(ValueError):
                    sys.path.remove(path)
            self._python_includes.clear()
            if SparkContext._active_spark_context is self:
                SparkContext._active_spark_context = None
                spark_files.root_directory = None
        self._observers.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __getnewargs__(self) -> NoReturn:
        raise _referenced_in_a_task()

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise _referenced_in_a_task()

    def __repr__(self) -> str:
        return f"<SparkContext master={self.master} appName={self.appName}>"

    # Facts.

    @property
    def version(self) -> str:
        """The version of Spark whose API this is."""
        from millstream.version import __version__  # noqa: PLC0415

        return __version__

    @property
    def applicationId(self) -> str:
        """A name for this run."""
        return self._conf.get("spark.app.id") or ""

    @property
    def uiWebUrl(self) -> str | None:
        """Where the page is: `http://127.0.0.1:4040`; None if there is none."""
        return self._observers.page_url

    @property
    def startTime(self) -> int:
        """When the context started, in ms since the epoch."""
        return self._driver.start_time_ms

    @property
    def defaultParallelism(self) -> int:
        """Partitions when a program names none."""
        return (
            self._driver.settings.find_int("spark.default.parallelism")
            or self._driver.parallelism
        )

    @property
    def defaultMinPartitions(self) -> int:
        """Least partitions of a file when a program names none."""
        return min(self.defaultParallelism, 2)

    @property
    def resources(self) -> dict[str, Any]:
        """Resources of the driver: none."""
        return {}

    def getConf(self) -> SparkConf:
        """Return a copy of the configuration."""
        return self._conf._copy()

    def sparkUser(self) -> str:
        """Return the user who runs this."""
        import getpass  # noqa: PLC0415  Rarely asked.

        return getpass.getuser()

    def statusTracker(self) -> StatusTracker:
        """Return a view of jobs and stages."""
        return StatusTracker(self._driver)

    def setLogLevel(self, logLevel: str) -> None:
        """Set the level of Millstream's log: ALL, DEBUG, INFO, WARN, ERROR, FATAL, OFF.

        Raises:
            IllegalArgumentError: There is no such level.
        """
        levels = {
            "ALL": 1,
            "TRACE": 5,
            "DEBUG": 10,
            "INFO": 20,
            "WARN": 30,
            "ERROR": 40,
            "FATAL": 50,
            "OFF": 100,
        }
        level = levels.get(logLevel.upper())
        if level is None:
            msg = (
                f"requirement failed: Supplied level {logLevel} did not match one of: "
                f"{','.join(levels)}"
            )
            raise IllegalArgumentError(msg)
        logging.getLogger("millstream").setLevel(level)

    @classmethod
    def setSystemProperty(cls, key: str, value: str) -> None:
        """Set a default for every SparkConf made later."""
        system_properties[key] = str(value)

    @classmethod
    def getSystemProperty(cls, key: str) -> str | None:
        """Return a value set by `setSystemProperty`."""
        return system_properties.get(key)

    # Making RDDs.

    def _rdd(
        self, op: Any, count: int, partitioner: Partitioner | None = None
    ) -> "RDD[Any]":
        self._driver.check_usable()
        return RDD(RddNode(op, count, partitioner, user_call_site()), self)

    def parallelize(self, c: Iterable[T], numSlices: int | None = None) -> "RDD[T]":
        """Return an RDD of `c`, in slices whose sizes differ by at most one.

        Raises:
            PySparkValueError: `numSlices` isn't positive.
        """
        count = self.defaultParallelism if numSlices is None else int(numSlices)
        if count < 1:
            msg = f"Positive number of partitions required, but numSlices is {count}"
            raise PySparkValueError(msg)
        rows: Sequence[T] = c if isinstance(c, range) else list(c)  # type: ignore[assignment]
        size = len(rows)
        cuts = [size * index // count for index in range(count + 1)]
        parts = tuple(
            freeze(rows[start:end]) for start, end in itertools.pairwise(cuts)
        )
        return self._rdd(Source(parts), count)

    def range(
        self,
        start: int,
        end: int | None = None,
        step: int = 1,
        numSlices: int | None = None,
    ) -> "RDD[int]":
        """Return the numbers of a builtin `range`, never all in memory."""
        numbers = range(start) if end is None else range(start, end, step)
        return self.parallelize(numbers, numSlices)

    def emptyRDD(self) -> "RDD[Any]":
        """Return an RDD without partitions."""
        return self._rdd(Source(()), 0)

    def _empty_parts(self, count: int) -> "RDD[Any]":
        return self._rdd(Source(tuple(freeze([]) for _ in range(count))), count)

    def _from_blocks(
        self, block_ids: Sequence[str], logged: "Sequence[SourcePartition | None]"
    ) -> "RDD[Any]":
        """Return an RDD of received blocks, one partition each."""
        why = "received data has been dropped or was evicted from memory"
        op = StoredBlocks(tuple(block_ids), why, tuple(logged))
        return self._rdd(op, len(block_ids))

    def _from_files(
        self, uris: Sequence[str], plan: "Callable[[InputFile], Sequence[Any]]"
    ) -> "RDD[Any]":
        """Return an RDD of exactly these files, whose names are no patterns."""
        from millstream.engine.sources.files import InputFile  # noqa: PLC0415

        parts: list[Any] = []
        for uri in uris:
            storage, path = open_storage(uri)
            parts.extend(plan(InputFile(uri, storage.stat(path).size_bytes)))
        return self._rdd(Source(tuple(parts)), len(parts))

    def _from_node(self, node: RddNode) -> "RDD[Any]":
        return RDD(node, self)

    def union(self, rdds: "Sequence[RDD[Any]]") -> "RDD[Any]":
        """Return all records of all RDDs; duplicates stay."""
        if not rdds:
            return self.emptyRDD()
        for rdd in rdds:
            if not isinstance(rdd, RDD):
                msg = f"union needs RDDs, not {type(rdd).__name__}"
                raise PySparkTypeError(msg)
        self._driver.check_usable()
        nodes = [rdd._node for rdd in rdds]
        return RDD(union_nodes(nodes, user_call_site()), self)

    def textFile(
        self, name: str, minPartitions: int | None = None, use_unicode: bool = True
    ) -> "RDD[str]":
        """Return the lines of files: a path, directory, pattern, list or URI.

        Raises:
            InputPathError: It doesn't exist.
        """
        from millstream.engine.sources.files import (  # noqa: PLC0415
            list_input,
            plan_text_splits,
        )

        least = minPartitions or self.defaultMinPartitions
        splits = plan_text_splits(list_input(name), least, is_text=use_unicode)
        return self._rdd(Source(splits), len(splits))

    def wholeTextFiles(
        self, path: str, minPartitions: int | None = None, use_unicode: bool = True
    ) -> "RDD[tuple[str, str]]":
        """Return (path, content) of each file."""
        return self._whole_files(path, minPartitions, use_unicode, is_text=True)

    def binaryFiles(
        self, path: str, minPartitions: int | None = None
    ) -> "RDD[tuple[str, bytes]]":
        """Return (path, bytes) of each file."""
        return self._whole_files(path, minPartitions, False, is_text=False)

    def _whole_files(
        self, path: str, minPartitions: int | None, use_unicode: bool, *, is_text: bool
    ) -> "RDD[Any]":
        from millstream.engine.sources.files import (  # noqa: PLC0415
            list_input,
            plan_whole_files,
        )

        parts = plan_whole_files(
            list_input(path),
            minPartitions or self.defaultMinPartitions,
            is_text=is_text,
            use_unicode=use_unicode,
        )
        return self._rdd(Source(parts), len(parts))

    def binaryRecords(self, path: str, recordLength: int) -> "RDD[bytes]":
        """Return the fixed-length records of files."""
        from millstream.engine.sources.files import (  # noqa: PLC0415
            list_input,
            plan_fixed_records,
        )

        splits = plan_fixed_records(
            list_input(path), recordLength, self.defaultMinPartitions
        )
        return self._rdd(Source(splits), len(splits))

    def pickleFile(self, name: str, minPartitions: int | None = None) -> "RDD[Any]":
        """Return the records of `saveAsPickleFile`."""
        del minPartitions  # One partition a file: frames can't be cut.
        from millstream.engine.sources.files import (  # noqa: PLC0415
            ObjectFile,
            list_input,
        )

        parts = tuple(ObjectFile(file.uri) for file in list_input(name))
        return self._rdd(Source(parts), len(parts))

    def sequenceFile(
        self,
        path: str,
        keyClass: str | None = None,
        valueClass: str | None = None,
        keyConverter: str | None = None,
        valueConverter: str | None = None,
        minSplits: int | None = None,
        batchSize: int = 0,
    ) -> "RDD[tuple[Any, Any]]":
        """Return the pairs of `saveAsSequenceFile`; Hadoop's own format isn't read."""
        del keyClass, valueClass, keyConverter, valueConverter, batchSize
        return self.pickleFile(path, minSplits)

    def newAPIHadoopFile(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's input formats are Java classes."""
        raise java_only("newAPIHadoopFile", "textFile, binaryFiles or pickleFile")

    def newAPIHadoopRDD(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's input formats are Java classes."""
        raise java_only("newAPIHadoopRDD", "textFile, binaryFiles or pickleFile")

    def hadoopFile(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's input formats are Java classes."""
        raise java_only("hadoopFile", "textFile, binaryFiles or pickleFile")

    def hadoopRDD(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's input formats are Java classes."""
        raise java_only("hadoopRDD", "textFile, binaryFiles or pickleFile")

    # Shared variables.

    def broadcast(self, value: T) -> Broadcast[T]:
        """Return a handle by which tasks read `value`.

        Raises:
            PySparkPicklingError: It can't be pickled, or it is a context or an RDD.
        """
        self._driver.check_usable()
        number = self._driver.next_broadcast_id()
        try:
            made = Broadcast(self, value, number)
        except PySparkRuntimeError as error:
            msg = f"Could not serialize broadcast: {type(error).__name__}: {error}"
            raise PySparkPicklingError(msg) from error
        except PySparkPicklingError as error:
            msg = f"Could not serialize broadcast: {error}"
            raise PySparkPicklingError(msg, hint=error.hint) from error
        self._broadcasts.add(made)
        return made

    def accumulator(
        self, value: T, accum_param: AccumulatorParam[T] | None = None
    ) -> Accumulator[T]:
        """Return a value that tasks add to.

        Raises:
            PySparkTypeError: The type has no default param and none was given.
        """
        param: Any = accum_param
        if param is None:
            if isinstance(value, int):
                param = INT_ACCUMULATOR_PARAM
            elif isinstance(value, float):
                param = FLOAT_ACCUMULATOR_PARAM
            elif isinstance(value, complex):
                param = COMPLEX_ACCUMULATOR_PARAM
            else:
                msg = f"No default accumulator param for type {type(value)}"
                raise PySparkTypeError(msg, hint="pass an AccumulatorParam")
        return Accumulator(next_accumulator_id(), value, param)

    # Files for tasks.

    @property
    def listFiles(self) -> list[str]:
        """URIs of the files added."""
        return list(self._added["files"])

    @property
    def listArchives(self) -> list[str]:
        """URIs of the archives added."""
        return list(self._added["archives"])

    def addFile(self, path: str, recursive: bool = False) -> None:
        """Make a file, or with `recursive` a directory, found by `SparkFiles.get`.

        Raises:
            SparkError: It is a directory, and `recursive` is false.
            FileNotFoundError: There is no such file.
        """
        storage, source = open_storage(path)
        info = storage.stat(source)
        if info.is_dir and not recursive:
            msg = f"Added file {storage.uri(source)} is a directory and recursive is not turned on."
            raise SparkError(msg, hint="pass recursive=True")
        target = Path(spark_files.SparkFiles.get(info.name))
        if info.is_dir:
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            with storage.open_input(source) as reader, target.open("wb") as writer:
                shutil.copyfileobj(reader, writer)
        self._added["files"].append(storage.uri(source))

    def addPyFile(self, path: str) -> None:
        """Make a module (.py) or package (.zip, .egg) importable in tasks."""
        self.addFile(path)
        name = path.rstrip("/").rsplit("/", 1)[-1]
        root = spark_files.SparkFiles.getRootDirectory()
        entry = (
            str(Path(root) / name) if name.endswith(self.PACKAGE_EXTENSIONS) else root
        )
        if entry not in sys.path:
            sys.path.insert(1, entry)
            self._python_includes.append(entry)
        import importlib  # noqa: PLC0415  Rarely used.

        importlib.invalidate_caches()

    def addArchive(self, path: str) -> None:
        """Unpack an archive (.zip, .tar, .tar.gz, .tgz, .jar); `path#name` names it."""
        import tarfile  # noqa: PLC0415  Rarely used.
        import zipfile  # noqa: PLC0415  Rarely used.

        path, _, alias = path.partition("#")
        storage, source = open_storage(path)
        name = alias or Path(source).name
        target = Path(spark_files.SparkFiles.get(name))
        with storage.open_input(source) as reader:
            if source.endswith((".zip", ".jar")):
                with zipfile.ZipFile(reader) as archive:
                    archive.extractall(target)  # noqa: S202  The user's own archive.
            else:
                with tarfile.open(fileobj=reader) as archive:
                    archive.extractall(target, filter="data")
        self._added["archives"].append(storage.uri(source))

    # Checkpoints.

    def setCheckpointDir(self, dirName: str) -> None:
        """Write RDD checkpoints to a new directory below `dirName`."""
        import uuid  # noqa: PLC0415  Only here.

        if planning.is_planning():
            # Gone with the context.
            dirName = spark_files.SparkFiles.getRootDirectory()  # noqa: N806
        storage, path = open_storage(dirName)
        made = f"{path.rstrip('/')}/{uuid.uuid4()}"  # noqa: TID251  A name nobody has.
        storage.make_dirs(made)
        self._driver.set_checkpoint_dir(storage.uri(made))

    def getCheckpointDir(self) -> str | None:
        """Return the URI of the directory, or None."""
        return self._driver.checkpoint_dir

    # Jobs.

    def runJob(
        self,
        rdd: "RDD[T]",
        partitionFunc: Callable[[Iterator[T]], Iterable[Any]],
        partitions: Sequence[int] | None = None,
        allowLocal: bool = False,
    ) -> list[Any]:
        """Return all items `partitionFunc` returns for the chosen partitions, in order."""
        del allowLocal
        action = Apply(_ListOf(partitionFunc), "runJob")
        parts = self._driver.run_job(rdd._node, action, partitions)
        return [item for part in parts for item in part]

    def setLocalProperty(self, key: str, value: str | None) -> None:
        """Set a property of this thread's jobs; None removes it."""
        self._driver.properties.set(key, value)

    def getLocalProperty(self, key: str) -> str | None:
        """Return a property of this thread."""
        return self._driver.properties.get(key)

    def setJobDescription(self, value: str | None) -> None:
        """Describe this thread's jobs."""
        self.setLocalProperty("spark.job.description", value)

    def setJobGroup(
        self, groupId: str, description: str, interruptOnCancel: bool = False
    ) -> None:
        """Put this thread's jobs into a group, in place of the one before."""
        self.setLocalProperty("spark.jobGroup.id", groupId)
        self.setLocalProperty("spark.job.description", description)
        self.setInterruptOnCancel(interruptOnCancel)

    def setInterruptOnCancel(self, interruptOnCancel: bool) -> None:
        """Note Spark's flag; cancelled tasks are interrupted here in any case."""
        flag = str(interruptOnCancel).lower()
        self.setLocalProperty("spark.job.interruptOnCancel", flag)

    def addJobTag(self, tag: str) -> None:
        """Tag this thread's jobs.

        Raises:
            IllegalArgumentError: The tag is empty or has a comma.
        """
        self._set_tags(self.getJobTags() | {_checked_tag(tag)})

    def removeJobTag(self, tag: str) -> None:
        """Take a tag off this thread's later jobs."""
        self._set_tags(self.getJobTags() - {_checked_tag(tag)})

    def getJobTags(self) -> set[str]:
        """Return this thread's tags."""
        tags = self.getLocalProperty("spark.job.tags") or ""
        return {tag for tag in tags.split(",") if tag}

    def clearJobTags(self) -> None:
        """Take all tags off this thread's later jobs."""
        self._set_tags(set())

    def _set_tags(self, tags: set[str]) -> None:
        self.setLocalProperty("spark.job.tags", ",".join(sorted(tags)) or None)

    def cancelJobGroup(self, groupId: str, reason: str | None = None) -> None:
        """Cancel the running jobs of a group; they raise in their threads."""
        del reason
        self._driver.cancel_group(groupId)
        for each in self._at_cancel:
            each(groupId)

    def cancelJobsWithTag(self, tag: str, reason: str | None = None) -> None:
        """Cancel the running jobs with a tag."""
        del reason
        self._driver.cancel_tag(_checked_tag(tag))

    def cancelAllJobs(self) -> None:
        """Cancel every running job."""
        self._driver.cancel_all()
        for each in self._at_cancel:
            each(None)

    @property
    def _output_may_exist(self) -> bool:
        # A batch that runs again after a failure writes the same directory again.
        batch = self._driver.properties.get("spark.streaming.internal.batchTime")
        return batch is not None

    # Profiles.

    def show_profiles(self) -> None:
        """Print the profile of each RDD's tasks.

        Raises:
            PySparkRuntimeError: `spark.python.profile` isn't true.
        """
        self._checked_profiles().show_profiles()

    def dump_profiles(self, path: str) -> None:
        """Write each RDD's profile to `path`/rdd_<id>.pstats."""
        self._checked_profiles().dump_profiles(path)

    def _dump_profiles_at_stop(self) -> None:
        directory = self._driver.settings.find_str("spark.python.profile.dump")
        if directory is not None:
            self.dump_profiles(directory)

    def _checked_profiles(self) -> ProfilerCollector:
        if self.profiler_collector is None:
            msg = "'spark.python.profile' configuration must be set to 'true'."
            raise PySparkRuntimeError(msg, condition="INCORRECT_CONF_FOR_PROFILE")
        return self.profiler_collector


@dataclass(frozen=True, slots=True)
class Master:
    """What a master URL says."""

    slots: int
    """How many tasks run at a time; with Ray 0 stands for what the cluster has."""
    failures_max: int
    """How often a task is tried."""
    ray_address: str | None = None
    """Where the Ray cluster is; empty: the environment says, or one is started here."""
    is_cluster: bool = False
    """Whether workers stand for a cluster's, though they are on this machine."""


def parse_master(master: str, settings: Settings) -> Master:
    """Return what a master URL says.

    Raises:
        IllegalArgumentError: It needs another cluster, or can't be understood.
    """
    cores = machine.cores().amount
    if master == "local":
        return Master(1, 1)
    if found := re.fullmatch(r"local\[(\*|[0-9]+)(?:\s*,\s*([0-9]+))?\]", master):
        slots = cores if found[1] == "*" else int(found[1])
        if slots > 0:
            return Master(slots, int(found[2] or 1))
    if found := re.fullmatch(r"local-cluster\[(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\]", master):
        _log.info("local-cluster is one driver with workers master=%s", master)
        failures_max = settings.get_int("spark.task.maxFailures")
        slots = max(1, int(found[1]) * int(found[2]))
        return Master(slots, failures_max, is_cluster=True)
    if found := re.fullmatch(r"ray(?:://(?P<address>.+))?", master):
        return Master(
            settings.get_int("spark.executor.instances"),
            settings.get_int("spark.task.maxFailures"),
            f"ray://{found['address']}" if found["address"] else "",
        )
    if re.match(r"(spark|yarn|mesos|k8s)(://|$)", master):
        msg = f"master '{master}' needs a cluster that Millstream can't use"
        raise IllegalArgumentError(msg, hint="use local, local[N], local[*] or ray")
    msg = f"Could not parse Master URL: '{master}'"
    hint = "use local, local[N], local[*], local[N,F], ray or ray://HOST:PORT"
    raise IllegalArgumentError(msg, hint=hint)


class _ListOf:
    def __init__(self, function: Callable[[Iterator[Any]], Iterable[Any]]) -> None:
        self.function = function

    def __call__(self, _index: int, rows: Iterator[Any]) -> list[Any]:
        return list(self.function(rows))


def _checked_tag(tag: str) -> str:
    if not tag or "," in tag:
        what = "empty" if not tag else "with a comma"
        msg = f"Spark job tag cannot be {what}: '{tag}'"
        raise IllegalArgumentError(msg)
    return tag


def _referenced_in_a_task() -> PySparkRuntimeError:
    msg = (
        "It appears that you are attempting to reference SparkContext from a broadcast "
        "variable, action, or transformation. SparkContext can only be used on the "
        "driver, not in code that it run on workers. For more information, see "
        "SPARK-5063."
    )
    return PySparkRuntimeError(
        msg,
        condition="CONTEXT_ONLY_VALID_ON_DRIVER",
        hint="move the call out of the function",
    )
