"""StreamHarness: a streaming program under test, with the clock in the test's hand."""

import itertools
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.engine.streams.inputs import InputOperator
from millstream.streaming import program_text
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream
from millstream.streaming.restoring import Upgrade

_BATCH_LIMIT_S = 60.0

Batch = Iterable[Any] | None


class _Outliving:
    """What a test holds on to while its stream crashes and restarts.

    A checkpoint only names it: the restored stream finds the very same object.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[int, Any] = (
            weakref.WeakValueDictionary()
        )
        self._numbers = itertools.count()

    def keep(self, value: Any) -> int:
        number = next(self._numbers)
        self._known[number] = value
        return number

    def find(self, number: int) -> Any:
        return self._known[number]


_outliving = _Outliving()


def _find_outliving(number: int) -> Any:
    return _outliving.find(number)


class Collected:
    """What an output operation saw, batch by batch; grows while the stream runs.

    Attributes:
        records: A list of the records of each batch that had an RDD.
        times_ms: The time of each of those batches.
        partitions: The records of each of those batches, a list a partition.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.records: list[list[Any]] = []
        self.times_ms: list[int] = []
        self.partitions: list[list[list[Any]]] = []
        self._number = _outliving.keep(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_outliving, (self._number,)

    def _add(self, time_ms: int, parts: list[list[Any]]) -> None:
        self.times_ms.append(time_ms)
        self.partitions.append(parts)
        self.records.append([record for part in parts for record in part])

    def __repr__(self) -> str:
        return f"Collected({self.records!r})"


class StreamHarness:
    """A SparkContext, a StreamingContext and a clock that starts at 0.

    >>> with StreamHarness(batch=1.0) as h:
    ...     words = h.stream([["a b"], ["b"]]).flatMap(str.split)
    ...     counts = h.collect(words.countByValue())
    ...     h.run(batches=2)
    ...     [sorted(batch) for batch in counts.records]
    [[('a', 1), ('b', 1)], [('b', 1)]]

    With `setup`, a function of the harness, streams are built by it: at construction, and
    again by `restart` when there is nothing to recover.
    """

    def __init__(
        self,
        batch: Any = 1.0,
        master: str = "local[2]",
        checkpoint: str | None = None,
        conf: SparkConf | dict[str, Any] | None = None,
        setup: "Callable[[StreamHarness], Any] | None" = None,
    ) -> None:
        """Make both contexts; `batch` is in seconds, or a Duration."""
        self._batch = batch
        self._master = master
        self._checkpoint = None if checkpoint is None else str(checkpoint)
        self._conf = conf
        self._setup = setup
        self._outputs: dict[str, Collected] = {}
        self._is_crashed = False
        self.clock = ManualClock()
        self._build()

    def _build(
        self,
        *,
        is_restart: bool = False,
        upgrade: Upgrade | None = None,
        allow_drop: Collection[str] = (),
    ) -> None:
        conf = SparkConf(loadDefaults=False).setMaster(self._master)
        conf.setAppName("StreamHarness").set("spark.ui.enabled", "false")
        given = self._conf
        if given is not None:
            conf.setAll(
                given.getAll() if isinstance(given, SparkConf) else given.items()
            )
        self.sc = SparkContext(conf=conf, clock=self.clock)
        try:
            if not is_restart:
                self.ssc = self._set_up()
                if self._setup is not None:
                    self.ssc._program_digests = program_text.digests(self._setup)
                if self._checkpoint is not None:
                    self.ssc.checkpoint(self._checkpoint)
            else:
                assert self._checkpoint is not None, "restart has checked it"
                self.ssc = StreamingContext.getOrCreate(
                    self._checkpoint,
                    _Program(self._set_up, self._setup or self._set_up),
                    upgrade,
                    allow_drop=allow_drop,
                )
        except BaseException:
            self.sc.stop()
            raise
        self._batch_ms = self.ssc._graph.batch_ms

    def _set_up(self) -> StreamingContext:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.ssc = StreamingContext(self.sc, self._batch, clock=self.clock)
        if self._setup is not None:
            self._setup(self)
        return self.ssc

    # Input and output.

    def stream(
        self, batches: Sequence[Batch] = (), partitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream whose batch i is the i-th of `batches`.

        None means no RDD in that batch; past the end batches are empty.
        """
        operator = _ScriptedInput(self.ssc, list(batches), partitions)
        return DStream(operator, self.ssc)

    def feed(self, stream: "DStream[Any]", batch: Batch) -> None:
        """Append one batch to the script of a stream made by `stream`."""
        operator = stream._operator
        if not isinstance(operator, _ScriptedInput):
            msg = "feed needs a stream made by StreamHarness.stream"
            raise SparkError(msg)
        operator.script.append(None if batch is None else list(batch))

    def collect(self, stream: "DStream[Any]", name: str | None = None) -> Collected:
        """Register an output operation that keeps what it sees, and return it.

        Collecting under a name again, after a restart, goes on where it was.
        """
        key = name if name is not None else f"output-{len(self._outputs)}"
        collected = self._outputs.setdefault(key, Collected())

        stream._output(_Keep(collected), "collect")
        return collected

    def output(self, name: str) -> Collected:
        """Return what was collected under `name`, over the harness's whole life."""
        try:
            return self._outputs[name]
        except KeyError:
            msg = f"nothing is collected under the name '{name}'"
            raise KeyError(msg) from None

    # Running.

    def run(self, batches: int = 1) -> None:
        """Start if needed, and run so many batches, each to its end.

        Raises:
            OutputOperationError: A batch failed; or what generating it raised.
            SparkError: A batch didn't end within 60 real seconds.
        """
        if self._is_crashed:
            msg = "the harness has crashed"
            raise IllegalStateError(msg, hint="call restart() first")
        self._start()
        scheduler = self.ssc._scheduler
        assert scheduler is not None, "a started context has a scheduler"
        for _ in range(batches):
            now_ms = self.clock.now_ms()
            time_ms = (now_ms // self._batch_ms + 1) * self._batch_ms
            self.clock.advance_ms(time_ms - now_ms)
            if not scheduler.wait_until_processed(time_ms, _BATCH_LIMIT_S):
                msg = (
                    f"batch {time_ms} ms didn't end in {_BATCH_LIMIT_S:g} s; still "
                    f"running: batches {scheduler.pending_ms}"
                )
                raise SparkError(msg)
            error = scheduler.error_of(time_ms)
            if error is not None:
                raise error

    def _start(self) -> None:
        if self.ssc.getState().value == "INITIALIZED":
            self.ssc.start()

    def crash(self) -> None:
        """Lose all memory, as `kill -9` would; files stay as they are."""
        self._stop()
        self._is_crashed = True

    def restart(
        self,
        setup: "Callable[[StreamHarness], Any] | None" = None,
        *,
        upgrade: Upgrade | None = None,
        allow_drop: Collection[str] = (),
    ) -> None:
        """Start anew from the checkpoint directory, as a new process would.

        The clock goes on. `setup` takes the place of the harness's own: with `upgrade`
        it is a changed program (see StreamingContext.getOrCreate). What `stream` and
        `collect` returned before is still what the restored stream reads and fills.

        Raises:
            IllegalStateError: The harness has no checkpoint directory.
            SparkError: The checkpoint can't be read, or the upgrade isn't possible.
        """
        if self._checkpoint is None:
            msg = "the harness has no checkpoint directory to restart from"
            raise IllegalStateError(
                msg, hint="pass checkpoint=<directory> to StreamHarness"
            )
        self._stop()
        self._setup = setup or self._setup
        self._build(is_restart=True, upgrade=upgrade, allow_drop=allow_drop)
        self._is_crashed = False

    def _stop(self) -> None:
        self.ssc.stop(stopSparkContext=True, stopGraceFully=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()


class _Program:
    """The harness's way to build a stream, whose text is that of the test's function."""

    def __init__(
        self, build: Callable[[], StreamingContext], text: Callable[..., Any]
    ) -> None:
        self._build = build
        self.__wrapped__ = text

    def __call__(self) -> StreamingContext:
        return self._build()


class _Keep:
    """An output operation that keeps what it sees."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def __call__(self, time_ms: int, rdd: Any) -> None:
        self._collected._add(time_ms, rdd.glom().collect())


class _Script:
    """Batches written down by a test."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = [None if batch is None else list(batch) for batch in batches]
        self.asked = 0
        self._number = _outliving.keep(self)

    def append(self, batch: list[Any] | None) -> None:
        # Batches past the end have been empty: what is fed now is the next one's.
        self.batches += [[]] * (self.asked - len(self.batches))
        self.batches.append(batch)

    def batch(self, index: int) -> list[Any] | None:
        self.asked = max(self.asked, index + 1)
        return self.batches[index] if index < len(self.batches) else []

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_outliving, (self._number,)


class _ScriptedInput(InputOperator):
    """A stream of the batches of a script, each where its time says."""

    kind = "ScriptedInputDStream"

    def __init__(
        self,
        ssc: StreamingContext,
        script: list[Batch],
        partitions: int | None,
    ) -> None:
        super().__init__(ssc._graph)
        self._sc = ssc.sparkContext
        self.script = _Script(script)
        self._partitions = partitions

    def compute(self, time_ms: int) -> Any:
        assert self.zero_ms is not None, "an initialized stream has a zero time"
        batch = self.script.batch((time_ms - self.zero_ms) // self.slide_ms - 1)
        if batch is None:
            return None
        self.report(time_ms, len(batch))
        return self._sc.parallelize(batch, self._partitions)
