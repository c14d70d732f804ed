"""Inputs: the streams that bring records in, each with an id of its own."""

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import NotSerializableError
from millstream.engine.streams.events import StreamInputInfo
from millstream.engine.streams.operators import Operator

if TYPE_CHECKING:
    from millstream.engine.ingest.receiver import Receiver
    from millstream.engine.sources.file_stream import FileMonitor
    from millstream.engine.streams.graph import DStreamGraph
    from millstream.engine.streams.tracker import ReceiverTracker

_log = logging.getLogger(__name__)


class InputOperator(Operator):
    """A stream without parents."""

    kind = "InputDStream"
    has_position = False
    """Whether what a batch reads is only known when it is generated: it is in a checkpoint
    before it is used, so that the batch reads the same when it runs again."""

    def __init__(self, graph: "DStreamGraph") -> None:
        """Join `graph` with the next input id."""
        super().__init__(graph, (), graph.batch_ms)
        self.id = graph.next_input_id()
        self._last_valid_ms: int | None = None
        self._has_warned = False
        self._infos: dict[int, StreamInputInfo] = {}
        graph.inputs.append(self)

    @property
    def identity(self) -> str:
        """What it reads, in words that stay the same when the program changes."""
        words = self.kind.removesuffix("InputDStream") or "Input"
        return words[0].lower() + words[1:]

    @property
    def newest_ms(self) -> int | None:
        """The newest batch of which it is known what it reads, if that has to be known."""
        return None

    def position(self) -> Mapping[str, Any]:
        """Return what must be known to read the remembered batches again; JSON-able."""
        return {}

    def restore_position(self, position: Mapping[str, Any]) -> None:
        """Go on where another one of the same name was."""
        del position

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_infos": {}}

    @property
    def name(self) -> str:
        """What pages call it: "Socket stream [0]"."""
        words = re.sub(
            r"(?<!^)([A-Z])", r" \1", self.kind.replace("InputDStream", "Stream")
        )
        return f"{words.lower().capitalize()} [{self.id}]"

    def start(self) -> None:
        """Begin; called once, before the first batch."""

    def stop(self) -> None:
        """End; called once, after the last batch."""

    def is_time_valid(self, time_ms: int) -> bool:
        """Say whether there is a batch at `time_ms`; warn when time goes back."""
        if not super().is_time_valid(time_ms):
            return False
        if self._last_valid_ms is not None and time_ms < self._last_valid_ms:
            # Windows ask again for batches that had no RDD; told once, not every batch.
            if not self._has_warned:
                _log.warning(
                    "batch asked for after a later one stream=%s time=%d last=%d",
                    self.name,
                    time_ms,
                    self._last_valid_ms,
                )
            self._has_warned = True
        self._last_valid_ms = time_ms
        return True

    def report(
        self, time_ms: int, count: int, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Note what this stream gave to a batch."""
        self._infos[time_ms] = StreamInputInfo(self.id, count, metadata or {})

    def info_of(self, time_ms: int) -> StreamInputInfo | None:
        """Return what was reported for a batch, if anything."""
        return self._infos.get(time_ms)

    def forget_infos(self, before_ms: int) -> None:
        """Forget reports of batches before `before_ms`."""
        for old in [t for t in self._infos if t < before_ms]:
            del self._infos[old]


class QueueInput(InputOperator):
    """RDDs from a queue: one a batch, or all that wait."""

    kind = "QueueInputDStream"

    def __init__(
        self,
        graph: "DStreamGraph",
        queue: "deque[Any]",
        to_rdd: Callable[[Any], Any],
        *,
        one_at_a_time: bool,
        default: Any,
        is_live: bool,
    ) -> None:
        """Take from `queue`; without anything give `default`, else an empty RDD."""
        super().__init__(graph)
        self.queue = queue
        self.one_at_a_time = one_at_a_time
        self.default = default
        self.is_live = is_live
        self._to_rdd = to_rdd
        self._lock = threading.Lock()

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        # A queue is in memory: writing a checkpoint goes on, reading it can't.
        return _refuse_queue, (self.call_site,)

    def push(self, item: Any) -> None:
        """Append an RDD or a list; for live queues."""
        with self._lock:
            self.queue.append(item)

    def compute(self, time_ms: int) -> Any:
        """Return the next RDD, the union of all, or what stands for none."""
        del time_ms
        taken: list[Any] = []
        with self._lock:
            while self.queue and not (self.one_at_a_time and taken):
                taken.append(self.queue.popleft())
        if not taken:
            return self.default if self.default is not None else self._to_rdd([])
        rdds = [self._to_rdd(item) for item in taken]
        return rdds[0] if self.one_at_a_time else self.graph.rdds.union(rdds)


def _refuse_queue(call_site: str) -> Any:
    msg = (
        "queueStream doesn't support checkpointing. Please don't use queueStream when "
        "checkpointing is enabled."
    )
    raise NotSerializableError(
        msg, hint=f"the stream is made by {call_site}; use files or a receiver instead"
    )


class ConstantInput(InputOperator):
    """The same RDD every batch."""

    kind = "ConstantInputDStream"

    def __init__(self, graph: "DStreamGraph", rdd: Any) -> None:
        """Give `rdd` to every batch."""
        super().__init__(graph)
        self.rdd = rdd

    def compute(self, time_ms: int) -> Any:
        """Return the RDD."""
        del time_ms
        return self.rdd


class FileInput(InputOperator):
    """New files of a directory."""

    kind = "FileInputDStream"
    has_position = True

    def __init__(
        self,
        graph: "DStreamGraph",
        monitor: "FileMonitor",
        to_rdd: Callable[[Sequence[str]], Any],
        *,
        reads_text: bool = False,
    ) -> None:
        """Read what `monitor` finds, with `to_rdd(uris)`; `reads_text` says it is lines."""
        super().__init__(graph)
        self.monitor = monitor
        self.reads_text = reads_text
        self._to_rdd = to_rdd
        self.remember_ms = monitor.remember_ms

    def compute(self, time_ms: int) -> Any:
        """Return an RDD of the files that are new in this batch."""
        files = self.monitor.find(time_ms)
        self.report(time_ms, 0, {"files": list(files), "Description": "\n".join(files)})
        return self._to_rdd(files)

    @property
    def newest_ms(self) -> int | None:
        """The newest batch whose files are known."""
        return max(self.monitor.files_of_batches(), default=None)

    @property
    def identity(self) -> str:
        """The directory."""
        return f"files {self.monitor.directory}"

    def position(self) -> Mapping[str, Any]:
        """Return the files of each remembered batch."""
        files = self.monitor.files_of_batches()
        return {
            "began_ms": self.monitor.began_ms,
            "files": {str(time): list(uris) for time, uris in files.items()},
        }

    def restore_position(self, position: Mapping[str, Any]) -> None:
        """Take over which files belong to which batch."""
        self.monitor.restore(
            position["began_ms"],
            {int(time): tuple(uris) for time, uris in position["files"].items()},
        )

    def clear_metadata(self, time_ms: int) -> None:
        """Forget RDDs, and the names of files that can't be seen again."""
        super().clear_metadata(time_ms)
        if self.remember_ms is not None:
            self.monitor.forget(time_ms - self.remember_ms)


class ReceiverInput(InputOperator):
    """Blocks that a receiver has stored."""

    def __init__(
        self, graph: "DStreamGraph", receiver: "Receiver[Any]", kind: str
    ) -> None:
        """Read what `receiver` stores."""
        self.kind = kind
        super().__init__(graph)
        self.receiver = receiver
        self.tracker: ReceiverTracker | None = None
        self._blocks: dict[int, tuple[str, ...]] = {}

    def compute(self, time_ms: int) -> Any:
        """Return an RDD of the batch's blocks, one partition each."""
        assert self.tracker is not None, "receivers start before the first batch"
        known = self.tracker.blocks_of(time_ms, self.id)
        self.report(time_ms, sum(block.record_count or 0 for block in known))
        blocks = [block for block in known if self.tracker.has_block(block)]
        if len(blocks) < len(known):
            _log.warning(
                "received blocks are gone: their records are missing from the batch "
                "batch=%d stream=%s blocks=%d records=%d; to keep them over a restart "
                "set spark.streaming.receiver.writeAheadLog.enable=true",
                time_ms,
                self.name,
                len(known) - len(blocks),
                sum(b.record_count or 0 for b in known)
                - sum(b.record_count or 0 for b in blocks),
            )
        rdd = self.graph.rdds.from_blocks(
            [block.block_id for block in blocks],
            [self.tracker.logged(self.id, block) for block in blocks],
        )
        self._blocks[rdd.id()] = tuple(block.block_id for block in blocks)
        return rdd

    def position(self) -> Mapping[str, Any]:
        """Return the newest batch that owns blocks; the log says which."""
        closed_ms = None if self.tracker is None else self.tracker.last_closed_ms
        return {} if closed_ms is None else {"closed_ms": closed_ms}

    @property
    def identity(self) -> str:
        """What the receiver says it reads, or its class."""
        named = getattr(self.receiver, "identity", None)
        return named if isinstance(named, str) else type(self.receiver).__name__

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "tracker": None, "_blocks": {}}

    def on_dropped(self, rdd: Any) -> None:
        """Delete the blocks of a batch that is forgotten."""
        block_ids = self._blocks.pop(rdd.id(), ())
        assert self.tracker is not None, "receivers start before the first batch"
        self.tracker.remove_blocks(block_ids)
