"""Explaining a stream: its newest batch, or what a batch would be like."""

from typing import TYPE_CHECKING, Any

from millstream.engine.base.call_site import on_behalf_of
from millstream.engine.jobs.explaining import explain
from millstream.engine.plan.nodes import Source
from millstream.engine.plan.partitions import FrozenText
from millstream.engine.sources.socket import SocketReceiver
from millstream.engine.streams.inputs import FileInput, ReceiverInput
from millstream.engine.streams.operators import (
    Operator,
    TransformedOperator,
    UnionOperator,
)
from millstream.engine.streams.stateful import StateOperator
from millstream.engine.streams.windows import ReducedWindowOperator, WindowedOperator

if TYPE_CHECKING:
    from millstream.context import SparkContext


def explain_stream(operator: Operator, sc: "SparkContext") -> str:
    """Return which steps go by columns: of the newest batch, if there was one."""
    made = dict(operator.generated)
    if made:
        return explain(made[max(made)]._node, sc._driver)
    imagined = _imagined(operator, sc)
    if imagined is None:
        return (
            f"{operator.label}: what its batches are like is unknown until one has run; "
            "ask again then"
        )
    return explain(imagined._node, sc._driver)


def _imagined(operator: Operator, sc: "SparkContext") -> Any:
    """Return an RDD like a batch's, of no records; None where that can't be told.

    What a program gives to `transform` isn't called: it may do something.
    """
    with on_behalf_of(operator.call_site):
        made = _imagined_here(operator, sc)
    if made is not None:
        made._node.call_site = operator.call_site
    return made


def _imagined_here(operator: Operator, sc: "SparkContext") -> Any:
    if isinstance(operator, FileInput | ReceiverInput):
        return _text(sc) if _is_text(operator) else None
    parents = [_imagined(each, sc) for each in operator.parents]
    if not parents or any(each is None for each in parents):
        return None
    match operator:
        case TransformedOperator() if operator.what != "transform":
            return operator.function(0, parents)
        case UnionOperator() | WindowedOperator():
            return sc.union(parents)
        case ReducedWindowOperator():
            return operator._keep(operator._reduce(parents))
        case StateOperator():
            return operator._update(0, None, parents[0], None)
        case _:
            return None


def _is_text(operator: FileInput | ReceiverInput) -> bool:
    if isinstance(operator, FileInput):
        return operator.reads_text
    receiver = operator.receiver
    return isinstance(receiver, SocketReceiver) and receiver.converter is None


def _text(sc: "SparkContext") -> Any:
    return sc._rdd(Source((FrozenText(b"", 0),)), 1)
