"""StreamingContext: where a streaming program begins, starts and stops."""

import atexit
import logging
import math
import threading
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from millstream import planning
from millstream.engine.base import frames
from millstream.engine.base.call_site import user_call_site
from millstream.engine.base.clock import Clock, ManualClock, SystemClock, monotonic_s
from millstream.engine.base.errors import (
    IllegalStateError,
    NotSerializableError,
    PySparkPicklingError,
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import is_secret_key
from millstream.engine.base.storage import open_storage
from millstream.engine.base.time import Duration
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.ingest.direct_source import DirectSource
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.sources.file_stream import FileMonitor, FileSelection
from millstream.engine.sources.files import plan_fixed_records, plan_text_splits
from millstream.engine.streams.checkpointer import (
    Checkpointer,
    Program,
)
from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.events import StreamingStarted
from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.inputs import (
    ConstantInput,
    FileInput,
    InputOperator,
    QueueInput,
    ReceiverInput,
)
from millstream.engine.streams.listener_bus import ListenerBus
from millstream.engine.streams.manifest import Manifest, absolute
from millstream.engine.streams.opening import needs_of_parts, open_states
from millstream.engine.streams.operators import (
    OutputOperator,
    TransformedOperator,
    UnionOperator,
)
from millstream.engine.streams.rate_control import RateControl
from millstream.engine.streams.received_logs import open_logs
from millstream.engine.streams.receiver_places import host_starter
from millstream.engine.streams.scaling import Scaler
from millstream.engine.streams.scaling import rules_of as scaling_rules
from millstream.engine.streams.scheduler import JobScheduler, refuse_on
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.engine.streams.tracker import ReceiverTracker
from millstream.streaming import signals
from millstream.streaming.batch_rdds import BatchRdds
from millstream.streaming.dstream import DStream, TransformedDStream
from millstream.streaming.listener import StreamingListener, deliver
from millstream.streaming.state import StateReader, state_gauges
from millstream.streaming.util import argument_count, duration_ms

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.rdd import RDD
    from millstream.streaming.restoring import Upgrade

__all__ = ["StreamingContext", "StreamingContextState"]

_log = logging.getLogger(__name__)


class StreamingContextState(Enum):
    """Where a context is in its life."""

    INITIALIZED = "INITIALIZED"
    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"


class StreamingContext:
    """The entry point of streaming; one may be active in a process.

    Build streams and outputs, then `start()`; a batch runs every `batchDuration`
    (seconds, or a Duration).
    """

    _activeContext: ClassVar["StreamingContext | None"] = None
    _activation: ClassVar[threading.RLock] = threading.RLock()

    def __init__(
        self,
        sparkContext: "SparkContext",
        batchDuration: Any = None,
        jssc: Any = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Make a context on a SparkContext.

        Raises:
            AssertionError: There is no batch duration.
            PySparkTypeError: An argument is of the wrong type.
        """
        del jssc
        warnings.warn(
            "DStream is deprecated as of Spark 3.4.0. Migrate to Structured Streaming.",
            FutureWarning,
            stacklevel=2,
        )
        from millstream.context import SparkContext as Context  # noqa: PLC0415

        if not isinstance(sparkContext, Context):
            msg = (
                "StreamingContext needs a SparkContext, not "
                f"{type(sparkContext).__name__}"
            )
            raise PySparkTypeError(msg)
        assert batchDuration is not None, "StreamingContext needs a batch duration"
        self._sc = sparkContext
        self._driver = sparkContext._driver
        settings = self._driver.settings
        self._clock_is_of_conf = False
        self._clock = clock or self._clock_of_conf()
        self._checkpoint_dir: str | None = None
        self._graph = DStreamGraph(
            duration_ms(batchDuration, "batchDuration"),
            BatchRdds(sparkContext),
            unpersists=settings.get_bool("spark.streaming.unpersist"),
            has_checkpoint_dir=lambda: self._driver.checkpoint_dir is not None,
        )
        self._bus = ListenerBus()
        self._state = StreamingContextState.INITIALIZED
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._scheduler: JobScheduler | None = None
        self._scaler: Scaler | None = None
        self._started_at = ""
        self._restart_from: Manifest | None = None
        self._resumes_log = False
        self._state_memory: StateMemory | None = None
        self._program_digests: dict[str, str] = {}
        self._dropped: tuple[str, ...] = ()
        self._left_behind: tuple[str, ...] = ()
        self._claim: DriverClaim | None = None
        self._begins_anew = False
        self._conf_hooks()

    def _clock_of_conf(self) -> Clock:
        name = self._driver.settings.get_str("spark.streaming.clock")
        if not name.endswith("ManualClock"):
            return SystemClock()
        self._clock_is_of_conf = True
        return ManualClock()

    def _conf_hooks(self) -> None:
        settings = self._driver.settings
        directory = settings.find_str("spark.streaming.checkpoint.directory")
        if directory is not None:
            self.checkpoint(directory)
        names = settings.find_str("spark.streaming.extraListeners") or ""
        for name in filter(None, names.split(",")):
            from importlib import import_module  # noqa: PLC0415  Rarely used.

            module, _, cls = name.strip().rpartition(".")
            self.addStreamingListener(getattr(import_module(module), cls)())

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        msg = (
            "StreamingContext can't be pickled: a function refers to it. Functions of a "
            "stream run in tasks, where there is no StreamingContext"
        )
        raise NotSerializableError(msg, hint="move the call out of the function")

    # Making or finding one.

    @classmethod
    def getOrCreate(
        cls,
        checkpointPath: str,
        setupFunc: "Callable[[], StreamingContext]",
        upgrade: "Upgrade | None" = None,
        *,
        allow_drop: Collection[str] = (),
        createOnError: bool = False,
    ) -> "StreamingContext":
        """Return the context of the checkpoint in a directory, or one `setupFunc` makes.

        Without a checkpoint there, `setupFunc()` is called, and what it returns writes
        its checkpoints there. With one, by default, the checkpoint's own functions go on
        and `setupFunc` isn't called, as in PySpark; a warning says when the program has
        changed since. `upgrade` is for changed programs: with "apply" the streams that
        `setupFunc` makes take over the state and the positions of those that have the
        same names (see `DStream.named`); "plan" prints what would be kept, new, dropped
        and incompatible, and exits, with 0 when "apply" would do; "refuse" raises when
        anything differs. State, and received data that no batch has had, are only dropped
        when the name of the stream is in `allow_drop`.

        Raises:
            SparkError: There are checkpoints, and none can be read (unless
                `createOnError`); or the upgrade isn't possible.
            PySparkValueError: `upgrade` is none of these, or nothing in the checkpoint has
                a name in `allow_drop`.
        """
        # Reads programs' text: what a program without checkpoints needn't wait for.
        from millstream.streaming.restoring import get_or_create  # noqa: PLC0415

        return get_or_create(
            cls,
            checkpointPath,
            setupFunc,
            upgrade=upgrade,
            allow_drop=allow_drop,
            create_on_error=createOnError,
        )

    @classmethod
    def _restored(
        cls, sc: "SparkContext", facts: Manifest, directory: str
    ) -> "StreamingContext":
        """Return a context without streams on the grid of a checkpoint."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            made = cls(sc, Duration(facts.batch_ms), clock=_clock_of(sc))
        made._graph.remember_ms = facts.remember_ms
        made._begin_at(facts, directory)
        return made

    def _begin_at(self, facts: Manifest, directory: str) -> None:
        self._restart_from = facts
        self._resumes_log = True
        self.checkpoint(directory)
        if isinstance(self._clock, ManualClock) and self._clock_is_of_conf:
            jump = self._driver.settings.get_ms("spark.streaming.manualClock.jump")
            self._clock.set_ms(facts.time_ms + jump)

    def _live_objects(self) -> dict[str, Any]:
        """Return what functions of the driver may refer to, and checkpoints only name."""
        from millstream.sql.session import SparkSession  # noqa: PLC0415  Above this.

        return {
            "SparkSession": SparkSession.getActiveSession() or SparkSession(self._sc),
            "SparkContext": self._sc,
            "StreamingContext": self,
            "DStreamGraph": self._graph,
            "BatchRdds": self._graph.rdds,
        }

    def _dump(self) -> bytes:
        """Return the streams with their functions, pickled."""
        return frames.dumps_function(
            (self._graph.inputs, self._graph.outputs), self._live_objects()
        )

    def _take_over(
        self, inputs: list[InputOperator], outputs: list[OutputOperator]
    ) -> None:
        """Go on with streams from a checkpoint."""
        graph = self._graph
        graph.inputs.extend(inputs)
        graph.outputs.extend(outputs)
        graph.is_restored = True
        facts = self._restart_from
        assert facts is not None, "streams are taken over from a checkpoint"
        graph.skip_input_ids(facts.next_source_id - 1)
        self._dropped = facts.dropped
        names = graph.names()
        positions = {each.name: each.position for each in facts.sources}
        files = {each.name: each.files for each in facts.operators}
        for operator, name in names.items():
            if operator.given_name is not None:
                graph.given_names.add(operator.given_name)
            if isinstance(operator, InputOperator):
                operator.restore_position(positions.get(name, {}))
            operator.checkpoint_files = {
                int(time): absolute(self._checkpoint_dir or "", uri)
                for time, uri in files.get(name, {}).items()
            }

    def _adopt(self, facts: Manifest, directory: str) -> None:
        """Let this context's own streams go on where a checkpoint's streams were."""
        self._begin_at(facts, directory)
        graph = self._graph
        graph.skip_input_ids(facts.next_source_id - 1)
        known = {each.name: each for each in facts.sources}
        for operator, name in graph.names().items():
            if isinstance(operator, InputOperator):
                record = known.get(name)
                if record is None:
                    operator.id = graph.next_input_id()
                else:
                    operator.id = record.id
                    operator.restore_position(record.position)

    @property
    def _active_program(self) -> Program:
        return Program(
            self._sc.appName,
            self._sc.master,
            self._checkpoint_dir or "",
            {k: v for k, v in self._sc.getConf().getAll() if not is_secret_key(k)},
            self._program_digests,
            self._dropped,
            self._left_behind,
        )

    @classmethod
    def getActive(cls) -> "StreamingContext | None":
        """Return the context that has started and not stopped, or None."""
        with cls._activation:
            return StreamingContext._activeContext

    @classmethod
    def getActiveOrCreate(
        cls,
        checkpointPath: str | None,
        setupFunc: Callable[[], "StreamingContext"],
        upgrade: "Upgrade | None" = None,
        *,
        allow_drop: Collection[str] = (),
        createOnError: bool = False,
    ) -> "StreamingContext":
        """Return the active context, or what `getOrCreate` returns.

        Raises:
            TypeError: `setupFunc` can't be called.
        """
        if not callable(setupFunc):
            msg = "setupFunc should be callable."
            raise PySparkTypeError(msg)
        active = cls.getActive()
        if active is not None:
            return active
        if checkpointPath is None:
            return setupFunc()
        return cls.getOrCreate(
            checkpointPath,
            setupFunc,
            upgrade,
            allow_drop=allow_drop,
            createOnError=createOnError,
        )

    # Facts and settings.

    @property
    def sparkContext(self) -> "SparkContext":
        """The SparkContext."""
        return self._sc

    def getState(self) -> StreamingContextState:
        """Return where the context is in its life."""
        return self._state

    def remember(self, duration: Any) -> None:
        """Keep every stream's RDDs for `duration` at least; once only."""
        self._graph.remember(duration_ms(duration, "duration"))

    def checkpoint(self, directory: str | None) -> None:
        """Write checkpoints below `directory`, which is made; None turns them off."""
        if directory is None:
            self._checkpoint_dir = None
            self._driver.set_checkpoint_dir(None)
            return
        storage, path = open_storage(directory)
        self._checkpoint_dir = storage.uri(path)
        if not planning.is_planning():
            storage.make_dirs(path)
        self._sc.setCheckpointDir(self._checkpoint_dir)

    def addStreamingListener(self, streamingListener: StreamingListener) -> None:
        """Call `streamingListener` for everything that happens from now on."""
        self._bus.add(
            id(streamingListener), lambda event: deliver(streamingListener, event)
        )

    def removeStreamingListener(self, streamingListener: StreamingListener) -> None:
        """Call `streamingListener` no more."""
        self._bus.remove(id(streamingListener))

    def metrics(self) -> dict[str, float]:
        """Return the stream's gauges, by Spark's names: counts, times and delays in ms.

        Times of the last completed batch are -1 before there is one. `millstream.gc.*`
        says what Python's garbage collector has cost between batches, `millstream.state.*`
        how many keys have state, how much of it is in memory, and how many of its
        partitions are in files. What the names mean is on the page about monitoring.

        Once the stream has stopped they are those of its end, and
        `millstream.stream.active` is 0.

        Raises:
            IllegalStateError: The context hasn't started.
        """
        if self._scheduler is None:
            msg = "there are no metrics before start()"
            raise IllegalStateError(msg)
        from millstream.engine.observe.measures import of_picture  # noqa: PLC0415

        gauges = self._scheduler.metrics()
        is_active = self.getState() is StreamingContextState.ACTIVE
        gauges["millstream.stream.active"] = int(is_active)
        seen = self._sc._observers.application
        picture = seen.picture() if seen.stream is self else None
        if picture is not None:
            gauges.update(of_picture(picture))
        for each in self._graph.inputs:
            if isinstance(each, DirectInput):
                gauges.update(each.gauges())
        if self._state_memory is not None:
            states = self._graph.keyed_states()
            gauges.update(state_gauges(states, self._state_memory, self._driver))
        return gauges

    def live(self, seconds: float | None = None, *, wait: bool = False) -> None:
        """Show the running stream below a notebook's cell, and keep that up to date.

        A chart each of input rate, processing time and total delay, the batches that wait,
        inputs and outputs; updated twice a second until the stream stops or `seconds` are
        over. The cell ends at once, so that `stop()` can run in another one; with `wait`
        it ends when the view does, or is interrupted, which doesn't stop the stream.

        Raises:
            IllegalStateError: This is no notebook, or the context hasn't started.
            PySparkValueError: `seconds` isn't positive.
        """
        from millstream.notebook import follow  # noqa: PLC0415  Only notebooks ask.

        follow(self, seconds, wait=wait)

    def _repr_html_(self) -> str:
        from millstream.notebook import context_html  # noqa: PLC0415  Only notebooks ask.

        return context_html(self)

    def state(self, name: str) -> StateReader:
        """Return a reader of a stream's state, by the stream's name; while it runs, too.

        Raises:
            IllegalStateError: The context hasn't started.
            KeyError: No stream of that name keeps state.
        """
        if self._scheduler is None:
            msg = "there is no state before start()"
            raise IllegalStateError(msg)
        for operator, known in self._graph.names().items():
            if known == name and isinstance(operator, KeyedStateOperator):
                return StateReader(operator)
        known_names = [
            known for op, known in self._graph.names().items() if op.keeps_state
        ]
        msg = f"no stream named '{name}' keeps state; there are {known_names}"
        raise KeyError(msg)

    # Inputs.

    def _stream(self, operator: InputOperator) -> "DStream[Any]":
        return DStream(operator, self)

    def receiverStream(
        self, receiver: Receiver[Any], kind: str = "PluggableInputDStream"
    ) -> "DStream[Any]":
        """Return what a receiver of your own stores."""
        if not isinstance(receiver, Receiver):
            msg = f"receiverStream needs a Receiver, not {type(receiver).__name__}"
            raise PySparkTypeError(msg)
        self._graph.check_may_grow()
        return self._stream(ReceiverInput(self._graph, receiver, kind))

    def socketTextStream(
        self,
        hostname: str,
        port: int,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> "DStream[str]":
        """Return the lines a TCP server sends."""
        return self.socketStream(hostname, port, None, storageLevel)

    def socketStream(
        self,
        hostname: str,
        port: int,
        converter: Any = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> "DStream[Any]":
        """Return what `converter(byte stream)` yields from a TCP connection."""
        from millstream.engine.sources.socket import SocketReceiver  # noqa: PLC0415

        _check_port(port)
        receiver = SocketReceiver(hostname, port, converter, storageLevel)
        return self.receiverStream(receiver, "SocketInputDStream")

    def rawSocketStream(
        self,
        hostname: str,
        port: int,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> "DStream[Any]":
        """Return records from length-prefixed pickled blocks of plain data."""
        from millstream.engine.sources.raw_socket import (  # noqa: PLC0415
            RawSocketReceiver,
        )

        _check_port(port)
        receiver = RawSocketReceiver(hostname, port, storageLevel)
        return self.receiverStream(receiver, "RawInputDStream")

    def actorStream(
        self,
        actorClass: Any,
        *args: Any,
        name: str | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_SER_2,
        supervisorStrategy: Any = None,
        remote: Any = None,
    ) -> "DStream[Any]":
        """Return what an actor stores; see `ActorUtils.createStream`."""
        from millstream.streaming.actor import ActorUtils  # noqa: PLC0415  An extra.

        return ActorUtils.createStream(
            self,
            actorClass,
            *args,
            name=name,
            storageLevel=storageLevel,
            supervisorStrategy=supervisorStrategy,
            remote=remote,
        )

    def directStream(
        self, source: DirectSource[Any, Any], kind: str = "DirectInputDStream"
    ) -> "DStream[Any]":
        """Return the records of a source of your own that can read them again.

        Raises:
            PySparkTypeError: It is no DirectSource.
        """
        if not isinstance(source, DirectSource):
            msg = f"directStream needs a DirectSource, not {type(source).__name__}"
            raise PySparkTypeError(msg)
        self._graph.check_may_grow()
        return self._stream(
            DirectInput(self._graph, source, self._graph.rdds.from_ranges, kind)
        )

    def textFileStream(self, directory: Any) -> "DStream[str]":
        """Return the lines of files that appear in `directory`: text, or a path."""
        return self.fileStream(directory)

    def fileStream(
        self,
        directory: Any,
        filter: Callable[[str], bool] | None = None,
        newFilesOnly: bool = True,
        read: Callable[[Sequence[str]], "RDD[Any]"] | None = None,
    ) -> "DStream[Any]":
        """Return what is in files that appear in `directory`.

        `filter(path)` replaces the rule that leaves out names beginning with a dot;
        without `newFilesOnly` files count that were modified within the remember window
        before the start. `read(uris)` makes the RDD; lines by default.
        """
        self._graph.check_may_grow()
        selection = FileSelection(
            self._clock.now_ms() if newFilesOnly else 0, self._file_remember_ms()
        )
        monitor = FileMonitor(directory, selection, filter)
        return self._stream(
            FileInput(
                self._graph, monitor, read or self._text_of, reads_text=read is None
            )
        )

    def binaryRecordsStream(
        self, directory: Any, recordLength: int
    ) -> "DStream[bytes]":
        """Return the fixed-length records of files that appear in `directory`.

        Raises:
            PySparkValueError: The length isn't positive.
        """
        if recordLength <= 0:
            msg = f"recordLength must be positive, but was {recordLength}"
            raise PySparkValueError(msg)

        def read(uris: Sequence[str]) -> Any:
            return self._sc._from_files(
                uris, lambda file: plan_fixed_records([file], recordLength, 1)
            )

        return self.fileStream(directory, read=read)

    def _text_of(self, uris: Sequence[str]) -> Any:
        return self._sc._from_files(
            uris, lambda file: plan_text_splits([file], 1, is_text=True)
        )

    def _file_remember_ms(self) -> int:
        settings = self._driver.settings
        least = settings.find_ms("spark.streaming.fileStream.minRememberDuration")
        if least is None:
            least = settings.get_ms("spark.streaming.minRememberDuration")
        batch_ms = self._graph.batch_ms
        return batch_ms * max(1, math.ceil(least / batch_ms))

    def queueStream(
        self, rdds: Any, oneAtATime: bool = True, default: Any = None
    ) -> "DStream[Any]":
        """Return a stream of queued RDDs or lists, one a batch or all that wait.

        A list is copied: later changes aren't seen. A `collections.deque` is live: what
        is appended later comes in later batches.

        Raises:
            IndexError: The list is empty and there is no default.
        """
        self._graph.check_may_grow()
        is_live = isinstance(rdds, deque)
        queue = rdds if is_live else deque(map(self._as_rdd, rdds))
        if not is_live and not queue and default is None:
            msg = "queueStream needs at least one RDD or a default"
            raise IndexError(msg)
        if self._checkpoint_dir is not None:
            _log.warning("queueStream doesn't support checkpointing")
        default_rdd = None if default is None else self._as_rdd(default)
        return self._stream(
            QueueInput(
                self._graph,
                queue,
                self._as_rdd,
                one_at_a_time=oneAtATime,
                default=default_rdd,
                is_live=is_live,
            )
        )

    def constantStream(self, rdd: Any) -> "DStream[Any]":
        """Return a stream of the same RDD every batch."""
        self._graph.check_may_grow()
        return self._stream(ConstantInput(self._graph, self._as_rdd(rdd)))

    def _as_rdd(self, item: Any) -> Any:
        from millstream.rdd import RDD  # noqa: PLC0415  Only for the check.

        if isinstance(item, RDD):
            return item
        if isinstance(item, Iterable):
            rows = list(item)
            return self._sc.parallelize(rows, None if rows else 1)
        msg = f"queueStream needs RDDs or lists, not {type(item).__name__}"
        raise PySparkTypeError(msg)

    # Several streams.

    def transform(
        self, dstreams: "Sequence[DStream[Any]]", transformFunc: Callable[..., Any]
    ) -> "DStream[Any]":
        """Return a stream of `transformFunc(tuple of RDDs)`, called every batch.

        Raises:
            ValueError: There is no stream.
        """
        if not dstreams:
            msg = "should have at least one DStream to transform"
            raise PySparkValueError(msg)
        _check_slides(dstreams)
        takes_time = argument_count(transformFunc) == 2

        def function(time_ms: int, rdds: list[Any]) -> Any:
            from millstream.streaming.util import batch_datetime  # noqa: PLC0415

            if takes_time:
                return transformFunc(tuple(rdds), batch_datetime(time_ms))
            return transformFunc(tuple(rdds))

        op = TransformedOperator(
            self._graph,
            [stream._operator for stream in dstreams],
            function,
            skips_none=False,
        )
        return TransformedDStream(op, self)

    def union(self, *dstreams: "DStream[Any]") -> "DStream[Any]":
        """Return a stream of the records of all.

        Raises:
            ValueError: There is no stream, or slide durations differ.
        """
        if not dstreams:
            msg = "should have at least one DStream to union"
            raise PySparkValueError(msg)
        if len(dstreams) == 1:
            return dstreams[0]
        _check_slides(dstreams)
        parents = [stream._operator for stream in dstreams]
        return DStream(UnionOperator(self._graph, parents, parents[0].slide_ms), self)

    # Life.

    def start(self) -> None:
        """Start; from then on nothing can be added.

        Raises:
            IllegalStateError: It was stopped, or another context is active.
            IllegalArgumentError: There is no output, or a stream can't work as set up.
        """
        planning.refuse_start(self)
        with StreamingContext._activation, self._lock:
            if self._state is StreamingContextState.ACTIVE:
                _log.warning("StreamingContext has already been started")
                return
            if self._state is StreamingContextState.STOPPED:
                msg = "StreamingContext has already been stopped"
                raise IllegalStateError(msg, hint="make a new StreamingContext")
            self._refuse_a_second()
            try:
                self._start()
            except BaseException:
                self._shut(is_graceful=False)
                raise
            self._state = StreamingContextState.ACTIVE
            StreamingContext._activeContext = self
        _log.info(
            "stream started app=%s batch_ms=%d inputs=%d outputs=%d checkpoint=%s",
            self._sc.applicationId,
            self._graph.batch_ms,
            len(self._graph.inputs),
            len(self._graph.outputs),
            self._checkpoint_dir,
        )
        self._bus.post(StreamingStarted(SystemClock().now_ms()))
        signals.install(self._driver.settings)
        atexit.register(self._stop_at_exit)
        self._sc._before_stop = self._stop_if_asked

    def _refuse_a_second(self) -> None:
        active = StreamingContext._activeContext
        if active is not None:
            msg = (
                "Only one StreamingContext may be started in this JVM. Currently running "
                f"StreamingContext was started at {active._started_at}"
            )
            raise IllegalStateError(msg, hint="stop() the other one first")

    def _start(self) -> None:
        self._graph.validate()
        self._started_at = user_call_site()
        self._warn_of_one_slot()
        self._check_checkpointable()
        self._graph.closed_because = "starting"
        self._claim_directory()
        settings = self._driver.settings
        inputs = [
            each for each in self._graph.inputs if isinstance(each, ReceiverInput)
        ]
        self._scaler = self._make_scaler(len(inputs))
        tracker = ReceiverTracker(
            [(each.id, each.receiver) for each in inputs],
            settings=settings,
            clock=self._clock,
            blocks=self._driver.blocks,
            post=self._bus.post,
            logs=open_logs(
                settings,
                self._checkpoint_dir,
                has_receivers=bool(inputs),
                claim=self._claim,
            ),
            start_host=host_starter(settings, self._sc.master, self._clock),
            note_here=self._driver.note_receivers_here,
        )
        for each in inputs:
            each.tracker = tracker
        files = None
        if self._checkpoint_dir is not None:
            files = CheckpointFiles(self._checkpoint_dir, needs_of=needs_of_parts)
        scheduler = JobScheduler(
            self._graph,
            settings,
            self._clock,
            tracker,
            self._driver.properties,
            self._bus,
            lambda report: Checkpointer(
                self._graph,
                self._active_program,
                files,
                self._dump,
                report,
                claim=self._claim,
            ),
            self._rate_control(tracker),
            claim=self._claim,
            on_taken_over=self._stop_apart,
        )
        self._scheduler = scheduler
        self._sc._observers.attach(self)
        scheduler.start(self._open_states, self._restart_from)
        if self._scaler is not None:
            self._bus.add(self._scaler, self._scaler.on_event)
            self._scaler.start()

    def _claim_directory(self) -> None:
        """Take the checkpoint directory over from whichever driver has it. Idempotent.

        What a restart goes on from has to be read after that.

        Raises:
            TakenOverError: A newer driver has taken it over meanwhile.
            SparkError: Another driver has begun in a directory that was empty.
            DurabilityError, OSError: The storage refuses it.
        """
        directory = self._checkpoint_dir
        if directory is None:
            self._claim = None
            return
        if self._claim is not None and self._claim.uri == directory:
            self._claim.check()
            return
        self._claim = DriverClaim.take_over(directory, self._sc.appName)
        if self._begins_anew and CheckpointFiles(directory).files():
            msg = f"another driver has begun in '{directory}', where nothing was before"
            raise SparkError(
                msg, hint="start this program again: it goes on from that checkpoint"
            )

    def _stop_apart(self) -> None:
        """Stop at once, on a thread of its own: the caller is one that a stop waits for."""
        threading.Thread(
            target=self.stop,
            kwargs={"stopSparkContext": False},
            name="millstream-taken-over",
            daemon=True,
        ).start()

    def _watch_batches(self, on_end: Callable[[int, bool], None]) -> None:
        """Have `on_end(time_ms, has_succeeded)` called when a batch ends, first of all."""
        assert self._scheduler is not None, "a batch runs"
        if on_end not in self._scheduler.batch_watchers:
            self._scheduler.batch_watchers.append(on_end)

    def _rate_control(self, tracker: ReceiverTracker) -> RateControl:
        settings, inputs = self._driver.settings, self._graph.inputs
        direct = {each.id: each for each in inputs if isinstance(each, DirectInput)}
        if settings.get_bool("spark.streaming.backpressure.enabled"):
            initial = settings.find_int("spark.streaming.backpressure.initialRate")
            for each in direct.values():
                each.rate = initial

        def publish(stream_id: int, rate: float | None) -> None:
            if stream_id in direct:
                direct[stream_id].rate = rate
            else:
                tracker.update_rate(stream_id, rate)

        limited = [e.id for e in inputs if isinstance(e, DirectInput | ReceiverInput)]
        return RateControl(limited, settings, self._graph.batch_ms, publish)

    def _make_scaler(self, receiver_count: int) -> Scaler | None:
        rules = scaling_rules(self._driver.settings, receiver_count)
        if rules is None:
            return None
        if self._driver.can_scale:
            return Scaler(rules, self._graph.batch_ms, self._driver, self._clock)
        _log.warning(
            "spark.streaming.dynamicAllocation.enabled does nothing here, as in Spark's "
            "local mode: master=%s says how many tasks run at a time",
            self._sc.master,
        )
        return None

    def _open_states(self) -> None:
        restored = self._restart_from
        directory = self._checkpoint_dir or self._driver.checkpoint_dir
        if directory is None:
            return  # Nothing keeps state: validation has seen to that.
        chain_max = self._driver.settings.get_int(
            "spark.streaming.sessionByKey.deltaChainThreshold"
        )
        self._state_memory = StateMemory(
            self._driver.settings.get_bytes("spark.millstream.state.memory"),
            self._driver.local_dir / "state",
        )
        open_states(self._graph, directory, restored, chain_max, self._state_memory)

    def _check_checkpointable(self) -> None:
        if self._checkpoint_dir is None:
            return
        try:
            self._dump()
        except (PySparkPicklingError, NotSerializableError) as error:
            msg = (
                "DStream checkpointing has been enabled but the DStreams with their "
                f"functions are not serializable\n{error}"
            )
            where = self._unpicklable_stream()
            hint = "\n".join(filter(None, (error.hint, where)))
            raise NotSerializableError(msg, hint=hint) from error

    def _unpicklable_stream(self) -> str | None:
        """Return which stream holds what can't be pickled, for an error's hint."""
        live = self._live_objects()
        for operator in self._graph.operators():
            try:
                frames.dumps_function({**operator.__getstate__(), "parents": ()}, live)
            except (PySparkPicklingError, NotSerializableError):
                return f"it is in a function of {operator.kind}, {operator.call_site}"
        return None

    def _warn_of_one_slot(self) -> None:
        has_receiver = any(isinstance(e, ReceiverInput) for e in self._graph.inputs)
        if has_receiver and self._driver.slots == 1:
            _log.info(
                "a receiver and one slot: fine here, where receivers take no slots; "
                "on a Spark cluster master=%s would process nothing",
                self._sc.master,
            )

    def awaitTermination(self, timeout: float | None = None) -> None:
        """Wait until the context stops, or `timeout` seconds.

        Raises:
            OutputOperationError: A batch failed; told each time again.
            TakenOverError: A newer driver has the checkpoint directory, and this context
                has stopped for it.
        """
        self.awaitTerminationOrTimeout(timeout)

    def awaitTerminationOrTimeout(self, timeout: float | None) -> bool:
        """Wait as `awaitTermination`; say whether the context has stopped.

        Raises:
            OutputOperationError: A batch failed; told each time again.
        """
        scheduler = self._scheduler
        if scheduler is None:
            return self._wait_until_stopped_unstarted(timeout)
        try:
            return self._wait_until_stopped(scheduler, timeout)
        except signals.StopRequested:
            # Here, not on the way out: what outputs use is still open.
            _log.info("told to end: stopping gracefully; a second signal ends at once")
            self.stop(stopSparkContext=False, stopGraceFully=True)
            raise

    def _wait_until_stopped(
        self, scheduler: JobScheduler, timeout: float | None
    ) -> bool:
        limit_s = math.inf if timeout is None else timeout
        begin = monotonic_s()
        with scheduler.changed:
            while True:
                if (error := scheduler.error) is not None:
                    raise error
                if self._state is StreamingContextState.STOPPED:
                    return True
                left_s = limit_s - (monotonic_s() - begin)
                if left_s <= 0:
                    return False
                # Bounded, so that signals are seen on every platform.
                scheduler.changed.wait(min(left_s, 1.0))

    def _wait_until_stopped_unstarted(self, timeout: float | None) -> bool:
        if self._state is StreamingContextState.STOPPED:
            return True
        msg = "awaitTermination was called before start()"
        del timeout
        raise IllegalStateError(msg, hint="call start() first")

    def stop(
        self,
        stopSparkContext: bool | None = None,
        stopGraceFully: bool = False,
        *,
        stopGracefully: bool = False,
    ) -> None:
        """Stop; gracefully, what was received is processed first. Idempotent.

        Raises:
            SparkError: Called by a streaming listener.
        """
        refuse_on(self._bus.is_current)
        if stopSparkContext is None:
            stopSparkContext = self._driver.settings.get_bool(
                "spark.streaming.stopSparkContextByDefault"
            )
        with self._lock:
            if self._state is StreamingContextState.ACTIVE:
                is_graceful = stopGraceFully or stopGracefully
                self._shut(is_graceful=is_graceful or signals.is_stop_requested())
            elif self._state is StreamingContextState.INITIALIZED:
                _log.warning("StreamingContext has not been started yet")
                self._shut(is_graceful=False)
            else:
                _log.info("StreamingContext has already been stopped")
            if stopSparkContext:
                self._sc.stop()

    def _shut(self, *, is_graceful: bool) -> None:
        scheduler = self._scheduler
        if self._scaler is not None:
            self._scaler.stop()
        if scheduler is not None:
            is_graceful = scheduler.stop(is_graceful=is_graceful)
            if not is_graceful:
                self._driver.cancel_batches()
            _log.info(
                "stream stopped app=%s graceful=%s last_batch=%d",
                self._sc.applicationId,
                is_graceful,
                scheduler.last_processed_ms,
            )
        self._graph.closed_because = "stopping"
        self._state = StreamingContextState.STOPPED
        self._bus.stop()
        self._sc._observers.detach(self)
        with StreamingContext._activation:
            if StreamingContext._activeContext is self:
                StreamingContext._activeContext = None
                self._sc._before_stop = lambda: None
                signals.uninstall()
        atexit.unregister(self._stop_at_exit)
        if scheduler is not None:
            with scheduler.changed:
                scheduler.changed.notify_all()
        self._ended.set()

    def _stop_if_asked(self) -> None:
        """Stop gracefully before the SparkContext does, if a signal asked for that."""
        if signals.is_stop_requested():
            self.stop(stopSparkContext=False)

    def _stop_at_exit(self) -> None:
        graceful = self._driver.settings.find_bool(
            "spark.streaming.stopGracefullyOnShutdown"
        )
        signals.end_at_next_signal()
        self.stop(stopSparkContext=True, stopGraceFully=graceful is True)


def _clock_of(sc: "SparkContext") -> Clock | None:
    """Return the clock a test gave its SparkContext, which its streams share."""
    clock = sc._driver.clock
    return None if type(clock) is SystemClock else clock


def _check_port(port: Any) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 1 << 16:
        msg = f"port must be a number from 1 to 65535, not {port!r}"
        raise PySparkValueError(msg)


def _check_slides(dstreams: "Sequence[DStream[Any]]") -> None:
    slides = {stream._operator.slide_ms for stream in dstreams}
    if len(slides) > 1:
        msg = "All DStreams should have same slide duration"
        raise PySparkValueError(msg)
