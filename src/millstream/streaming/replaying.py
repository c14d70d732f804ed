"""Replaying: one recorded batch of a stream made again, with its true inputs and state.

The batch is made by the program as it is now, from what a checkpoint directory has of it:
files, ranges, logged blocks, the state as of the batch before. The directory is only read:
state is copied into a scratch directory first. No source is started, no sink commits, no
dead letter is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import MillstreamError, UsageError
from millstream.engine.base.progress import counted
from millstream.engine.base.storage import open_storage
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_store import StateStore
from millstream.engine.jobs.driver import ALL_MARKED
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams import placement
from millstream.engine.streams.bad_records import LetteredOutput
from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.inputs import (
    FileInput,
    InputOperator,
    QueueInput,
    ReceiverInput,
)
from millstream.engine.streams.manifest import Manifest, absolute
from millstream.engine.streams.operators import OutputOperator
from millstream.engine.streams.received_logs import open_logs
from millstream.engine.streams.scheduler import BATCH_TIME, OUTPUT_ID
from millstream.engine.streams.sink_output import SinkOutput
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.engine.streams.tracker import ReceiverTracker
from millstream.engine.streams.upgrade import UpgradePlan, plan_upgrade, take_over

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext

_TOLD_MAX = 10


@dataclass(slots=True)
class ReplayedOutput:
    """An output operation of the replayed batch."""

    number: int
    title: str
    commits: bool
    """Whether it would write somewhere: then it is only shown."""
    rdd: Any
    """What it is given."""
    run: Callable[[], None]
    """Call it, as the batch does.

    Raises whatever the program's function raises.
    """


@dataclass(slots=True)
class Replay:
    """A batch that is made again, on a context that hasn't started."""

    ssc: "StreamingContext"
    time_ms: int
    scratch: Path
    notes: list[str] = field(default_factory=list)
    """What isn't as it was."""
    _tracker: ReceiverTracker | None = None

    def prepare(self) -> Manifest:
        """Put the streams where they were before the batch; return the checkpoint used.

        Raises:
            UsageError: The program keeps no checkpoints, or they lack the batch.
            DurabilityError, OSError: A file that is needed is damaged or missing.
        """
        directory = self.ssc._checkpoint_dir
        if directory is None:
            msg = "the program keeps no checkpoints: nothing is known of its batches"
            raise UsageError(msg, hint="call ssc.checkpoint(DIR), or use getOrCreate")
        facts = choose(directory, self.time_ms)
        plan = self._plan(facts)
        adopted = take_over(facts, plan)
        self.ssc._adopt(adopted, directory)
        driver = self.ssc.sparkContext._driver
        driver.set_checkpoint_dir(_made(self.scratch / "rdds"))
        self._open_receivers(directory)
        graph = self.ssc._graph
        graph.zero_ms, graph.known_ms = facts.zero_ms, None
        for output in graph.outputs:
            output.initialize(facts.zero_ms)
            output.remember(graph.remember_ms)
            output.validate()
        self._find_checkpointed(facts, directory)
        self._open_states(adopted, directory)
        for source in graph.inputs:
            _guard(source, self._tracker)
        return facts

    def _plan(self, facts: Manifest) -> UpgradePlan:
        """Match the program's streams with the checkpoint's, by name.

        Raises:
            UsageError: The program isn't the one that wrote it.
        """
        plan = plan_upgrade(
            facts,
            self.ssc._graph,
            leftovers={},
            changed_code=None,
            conf=dict(self.ssc.sparkContext.getConf().getAll()),
        )
        wrong = [*plan.obstacles]
        wrong += [f"'{name}' {why}" for name, why in plan.incompatible.items()]
        wrong += [f"source '{name}' is new" for name in plan.sources.new]
        if wrong:
            msg = "the program doesn't go with the checkpoint"
            raise UsageError(msg, hint="; ".join(wrong))
        self.notes += [
            f"state '{name}' isn't in the checkpoint: it begins empty"
            for name in plan.states.new
        ]
        if plan.ambiguous:
            names = ", ".join(f"'{each}'" for each in plan.ambiguous)
            self.notes.append(
                f"only their order tells {names} apart: is it that of the program that "
                "wrote the checkpoint?"
            )
        dropped = (*plan.sources.dropped, *plan.states.dropped)
        self.notes += [
            f"'{name}' of the checkpoint isn't in the program" for name in dropped
        ]
        return plan

    def _open_receivers(self, directory: str) -> None:
        inputs = [e for e in self.ssc._graph.inputs if isinstance(e, ReceiverInput)]
        if not inputs:
            return
        driver = self.ssc.sparkContext._driver
        self._tracker = ReceiverTracker(
            [(each.id, each.receiver) for each in inputs],
            settings=driver.settings,
            clock=self.ssc._clock,
            blocks=driver.blocks,
            post=lambda _: None,
            logs=open_logs(driver.settings, directory, has_receivers=True),
        )
        self._tracker.recover(first_ms=self.time_ms)
        for each in inputs:
            each.tracker = self._tracker

    def _find_checkpointed(self, facts: Manifest, directory: str) -> None:
        kinds = {each.name: each for each in facts.operators}
        for operator, name in self.ssc._graph.names().items():
            record = kinds.get(name)
            if record is not None and record.kind == operator.kind:
                operator.checkpoint_files = {
                    int(time): absolute(directory, uri)
                    for time, uri in record.files.items()
                    if int(time) < self.time_ms
                }

    def _open_states(self, facts: Manifest, directory: str) -> None:
        graph, driver = self.ssc._graph, self.ssc.sparkContext._driver
        names = graph.names()
        memory = StateMemory(
            driver.settings.get_bytes("spark.millstream.state.memory"),
            self.scratch / "spilled",
        )
        for number, operator in enumerate(graph.keyed_states()):
            name = names[operator]
            uri = _made(self.scratch / f"state-{number}")
            record = facts.states.get(name)
            if record is None:
                files, begin = StateFiles(uri), self.time_ms - operator.slide_ms
            else:
                begin = record["begin"]
                files = self._copied(name, record, directory, uri)
                placement.put_in_place(files, record["placement"], operator)
                self._note_age(name, operator, files)
            operator.store = StateStore(
                name,
                operator.place.count,
                files,
                begin,
                memory=memory,
                keeps_stamps=operator.looks_for_idle,
            )
            if record is None:
                operator.keep_initial()

    def _copied(
        self,
        name: str,
        record: Mapping[str, Any],
        directory: str,
        target: str,
    ) -> StateFiles:
        """Return the state as of before the batch, in files of our own."""
        uri = absolute(directory, record["directory"])
        known = StateFiles.restore(uri, record)
        known.rewind(self.time_ms)
        source, source_path = open_storage(uri)
        own, own_path = open_storage(target)
        with known.reading() as reading:
            for file in counted(f"copying state '{name}'", reading.names):
                with source.open_input(f"{source_path}/{file}") as content:
                    own.write_atomic(f"{own_path}/{file}", content.read(), sync=False)
            kept = {*reading.names, None}
            facts = known.record()
            facts["versions"] = [
                each
                for each in facts["versions"]
                if each[1] in kept and each[0] <= (reading.version or 0)
            ]
            facts["snapshots"] = [e for e in facts["snapshots"] if e[1] in kept]
        return StateFiles.restore(target, facts)

    def _note_age(
        self, name: str, operator: KeyedStateOperator, files: StateFiles
    ) -> None:
        before_ms = self.time_ms - operator.slide_ms
        if files.latest is not None and files.latest < before_ms:
            self.notes.append(
                f"state '{name}' is kept as of {files.latest} ms: the batches from then "
                f"to {before_ms} ms are computed first"
            )

    # The batch.

    def outputs(self) -> list[ReplayedOutput]:
        """Return what the batch's output operations have to do; some have nothing.

        Raises whatever a function of the program does that makes an RDD.
        """
        with self._as_batch(0):
            rdds = [
                (number, output, output.parents[0].get_or_compute(self.time_ms))
                for number, output in enumerate(self.ssc._graph.outputs)
            ]
        return [
            self._output(number, output, rdd)
            for number, output, rdd in rdds
            if rdd is not None
        ]

    def _output(self, number: int, output: OutputOperator, rdd: Any) -> ReplayedOutput:
        commits = isinstance(output, SinkOutput) or output.name.startswith("saveAs")
        function: Callable[[int, Any], None] = output.function
        if isinstance(function, LetteredOutput):
            function = function.function

        def run() -> None:
            with self._as_batch(number):
                function(self.time_ms, rdd)

        title = f"{output.name} at {output.call_site.rsplit(' at ', 1)[-1]}"
        return ReplayedOutput(number, title, commits, rdd, run)

    def _as_batch(self, number: int) -> AbstractContextManager[None]:
        """Have jobs of this thread be those of the batch."""
        properties = self.ssc.sparkContext._driver.properties
        return properties.installed(
            {
                **properties.snapshot(),
                BATCH_TIME: str(self.time_ms),
                OUTPUT_ID: str(number),
                ALL_MARKED: "true",
            }
        )


def _made(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    return str(directory)


# Which checkpoint.


def choose(directory: str, time_ms: int) -> Manifest:
    """Return the newest checkpoint that has what a batch read, and state from before it.

    Raises:
        UsageError: None has; says which batches they have.
    """
    files = CheckpointFiles(directory)
    reasons: list[str] = []
    known: set[int] = set()
    for file in reversed(files.files()):
        name = file.path.rsplit("/", 1)[-1]
        try:
            facts = manifests.decode(files.read(file)[0])
        except (MillstreamError, OSError) as error:
            reasons.append(f"{name}: {error}")
            continue
        lacks = list(lacking(facts, time_ms))
        if not lacks:
            return facts
        reasons.append(f"{name}: {'; '.join(lacks)}")
        known |= {each for each in batches(facts) if not any(lacking(facts, each))}
    if not reasons:
        msg = f"there is no checkpoint in '{directory}'"
        raise UsageError(msg, hint="is it the directory of this program?")
    msg = f"no checkpoint in '{directory}' has all of batch {time_ms} ms"
    there = ", ".join(map(str, sorted(known)[-_TOLD_MAX:])) or "none"
    more = "\n".join(reasons[:3])
    raise UsageError(msg, hint=f"batches that can be replayed: {there}\n{more}")


def batches(facts: Manifest) -> Iterator[int]:
    """Yield the batches up to a checkpoint's that it may know, newest first."""
    oldest = min(
        (*facts.pending_ms, facts.time_ms - _TOLD_MAX * facts.batch_ms, facts.time_ms)
    )
    yield from range(facts.time_ms, max(oldest, facts.zero_ms), -facts.batch_ms)


def lacking(facts: Manifest, time_ms: int) -> Iterator[str]:
    """Yield what a checkpoint lacks of a batch."""
    since = time_ms - facts.zero_ms
    if since <= 0 or since % facts.batch_ms:
        yield (
            f"there is no such batch: they are every {facts.batch_ms} ms from "
            f"{facts.zero_ms + facts.batch_ms} on"
        )
        return
    if time_ms > facts.time_ms:
        yield f"it was written at batch {facts.time_ms}, before"
        return
    for source in facts.sources:
        position = source.position
        times = position.get("ranges", position.get("files"))
        if times is not None and str(time_ms) not in times:
            yield f"what '{source.name}' gave to the batch is forgotten"
        closed_ms = position.get("closed_ms")
        if closed_ms is not None and closed_ms < time_ms:
            yield f"the blocks of '{source.name}' for the batch aren't known"
    slides = {each.name: each.slide_ms for each in facts.operators}
    for name, state in facts.states.items():
        versions = [each[0] for each in state["versions"]]
        begins = state["begin"] >= time_ms - slides[name]
        if not begins and not any(each < time_ms for each in versions):
            yield f"the state of '{name}' from before the batch isn't kept"


# What isn't known isn't made up.


def _guard(source: InputOperator, tracker: ReceiverTracker | None) -> None:
    """Have a source refuse batches of which it isn't known what they read."""
    compute = source.compute

    def guarded(time_ms: int) -> Any:
        why = _unknown(source, tracker, time_ms)
        if why is not None:
            msg = f"what '{source.name}' gave to batch {time_ms} ms isn't known: {why}"
            raise UsageError(msg)
        return compute(time_ms)

    vars(source)["compute"] = guarded


def _unknown(
    source: InputOperator, tracker: ReceiverTracker | None, time_ms: int
) -> str | None:
    match source:
        case QueueInput():
            return "a queue is in memory only"
        case DirectInput():
            is_known = str(time_ms) in source.position()["ranges"]
            return None if is_known else "the checkpoint has forgotten its ranges"
        case FileInput():
            is_known = time_ms in source.monitor.files_of_batches()
            return None if is_known else "the checkpoint has forgotten its files"
        case ReceiverInput():
            assert tracker is not None, "there is one where there are receivers"
            return _unknown_blocks(source, tracker, time_ms)
        case _:
            return None


def _unknown_blocks(
    source: ReceiverInput, tracker: ReceiverTracker, time_ms: int
) -> str | None:
    closed_ms = tracker.last_closed_ms
    if closed_ms is None or closed_ms < time_ms:
        return "no block was given to it"
    forgotten_ms = tracker.forgotten_ms
    if forgotten_ms is not None and forgotten_ms >= time_ms:
        return "the log has forgotten its blocks"
    blocks = tracker.blocks_of(time_ms, source.id)
    lost = [each for each in blocks if not tracker.has_block(each)]
    if lost:
        return (
            f"{len(lost)} of its blocks were in memory only; with "
            "spark.streaming.receiver.writeAheadLog.enable=true they are logged"
        )
    return None


def row_by_row(given: Mapping[str, str], slots: int) -> dict[str, str]:
    """Return a program's settings so that all of it runs here, a record at a time.

    `slots` is how many tasks its own master runs at a time: that many partitions there
    are still where it names no number.
    """
    parallelism = given.get("spark.default.parallelism", str(slots))
    return {
        **given,
        "spark.master": "local[1]",
        "spark.default.parallelism": parallelism,
        "spark.millstream.columnar": "off",
        "spark.millstream.processes": "off",
        "spark.millstream.receivers": "here",
    }
