"""What becomes of records that make a step raise: `DStream.onError` and DeadLetters."""

import os  # noqa: TID251  Only its PathLike.
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import PySparkTypeError, PySparkValueError
from millstream.engine.durable.letter_files import LetterBox, check_name
from millstream.engine.plan.marks import RecordMark
from millstream.engine.plan.nodes import RddNode, Union
from millstream.engine.sinks.contract import Sink
from millstream.engine.sinks.dead_letters import LetterFiles, LetterWriter
from millstream.engine.sources.dead_letters import ReplayedLetters
from millstream.engine.streams.bad_records import OnError, OnErrorOperator
from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.operators import Operator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph
    from millstream.streaming.context import StreamingContext

__all__ = ["DeadLetters"]

_POLICIES = ("fail", "skip")


class DeadLetters:
    """Where bad records go: a directory, or any sink.

    Only from a directory can they be taken in again: see `millstream replay-dead-letters`.
    """

    def __init__(
        self, where: "str | os.PathLike[str] | Sink[Any]", *, max_records: int = 10_000
    ) -> None:
        """Keep letters in `where`; a partition with more than `max_records` fails.

        Raises:
            PySparkTypeError: It is neither a directory nor a Sink.
            PySparkValueError: `max_records` isn't positive.
        """
        if not isinstance(where, str | os.PathLike | Sink):
            msg = f"DeadLetters needs a directory or a Sink, not {type(where).__name__}"
            raise PySparkTypeError(msg)
        if max_records < 1:
            msg = f"max_records must be positive, not {max_records}"
            raise PySparkValueError(msg)
        self.where = where if isinstance(where, Sink) else os.fspath(where)
        self.max_records = max_records


def operator_of(
    parent: Operator,
    ssc: "StreamingContext",
    policy: "str | DeadLetters",
    name: str | None,
    max_share: float,
) -> OnErrorOperator:
    """Return the operator of `DStream.onError`; see there."""
    graph = parent.graph
    _check(policy, max_share)
    name = _free_name(graph.given_names) if name is None else name
    if type(name) is not str:
        msg = f"a stream's name must be text, not {name!r}"
        raise PySparkTypeError(msg)
    check_name(name)
    _take_name(graph, name)
    letters: DirectInput | None = None
    if isinstance(policy, DeadLetters):
        output = f"{ssc.sparkContext.appName}.{name}"
        box = None
        if isinstance(policy.where, str):
            box = LetterBox(policy.where, name)
            source = ReplayedLetters(box)
            letters = DirectInput(
                graph, source, graph.rdds.from_ranges, "DeadLettersInputDStream"
            )
            sink: Sink[Any] = LetterFiles(box)
        else:
            assert isinstance(policy.where, Sink), "checked when it was made"
            sink = policy.where
        writer = LetterWriter(sink, output)
        asked = OnError(
            name, True, max_share, policy.max_records, writer=writer, box=box
        )
    else:
        asked = OnError(name, policy == "skip", max_share)
    return OnErrorOperator(parent, letters, asked, marked)


def _check(policy: Any, max_share: float) -> None:
    if not isinstance(policy, DeadLetters) and policy not in _POLICIES:
        msg = f"onError needs 'fail', 'skip' or DeadLetters(...), not {policy!r:.100}"
        raise PySparkValueError(msg)
    if not 0 < max_share <= 1:
        msg = f"max_share must be above 0 and no more than 1, not {max_share}"
        raise PySparkValueError(msg)


def _free_name(taken: set[str]) -> str:
    name, number = "on-error", 1
    while f"onError {name}" in taken:
        number += 1
        name = f"on-error-{number}"
    return name


def _take_name(graph: "DStreamGraph", name: str) -> None:
    # The stream itself stays without a name: what keeps state below it is named by the
    # nearest named stream, and must not lose its state to an onError above.
    if f"onError {name}" in graph.given_names:
        msg = f"two streams have onError with the name '{name}'"
        raise PySparkValueError(msg, hint="give each a name of its own")
    graph.given_names.add(f"onError {name}")


def marked(rdd: Any, mark: RecordMark) -> Any:
    """Return the records of an RDD from a point on where bad ones are taken out."""
    node = rdd._node
    made = rdd.ctx._rdd(Union((node,)), node.partition_count, node.partitioner)
    own: RddNode = made._node
    own.mark = mark
    return made
