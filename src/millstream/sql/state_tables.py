"""State tables: the state of a running stream as a table, `state.NAME`.

A table is the state as of the newest batch whose state was committed when the query is
made, whole, whatever batch comes meanwhile.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from millstream.engine.durable import state_frames
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.errors.sql import AnalysisException
from millstream.sql import client
from millstream.sql.conversion import arrow_schema
from millstream.sql.staging import Staged

if TYPE_CHECKING:
    from millstream.sql.connected import ConnectedSession

NAMESPACE: Final = "state"


def provide(session: "ConnectedSession") -> None:
    """Have `state.NAME` stand for the state of a stream in a session's queries."""
    tables = _StateTables(session)
    session.views.provide(NAMESPACE, tables.find, tables.names)


class _StateTables:
    """The states of the live StreamingContext."""

    def __init__(self, session: "ConnectedSession") -> None:
        self._session = session

    def names(self) -> Sequence[str]:
        """Return the names of the streams that keep state."""
        return sorted(_states())

    def find(self, name: str) -> Any:
        """Return the plan of a stream's state, whatever the name's case; None: no such.

        Raises:
            AnalysisException: The state is no table.
        """
        states = _states()
        known = {each.lower(): each for each in states}
        stream = known.get(name)
        return None if stream is None else self._plan(states[stream], stream)

    def _plan(self, operator: KeyedStateOperator, name: str) -> Any:
        store = operator.store
        frame = None if store is None else store.frame()
        if frame is None or not frame.height:
            schema = _no_schema()
            return Staged(arrow_schema(schema).empty_table(), schema.json())
        columns = [_plain(frame, "key"), _plain(frame, "state")]
        if None not in columns:
            return self._session.frame_of_table(
                pa.table(dict(zip(("key", "value"), columns, strict=True)))
            )._plan
        keys, values = state_frames.keys_of(frame), state_frames.values_of(frame)
        try:
            made = self._session.createDataFrame(
                list(zip(keys, values, strict=True)), ["key", "value"]
            )
        except (TypeError, ValueError) as error:
            msg = (
                f"the state of '{name}' is no table: its keys or values have types "
                f"that don't go together, or that SQL doesn't have: {error}"
            )
            raise AnalysisException(
                msg,
                hint="keep tuples, dicts, dataclasses or plain values; "
                f"ssc.state({name!r}) reads any",
            ) from error
        return made._plan


def _states() -> dict[str, KeyedStateOperator]:
    from millstream.streaming.context import (  # noqa: PLC0415  Beside this package.
        StreamingContext,
    )

    active = StreamingContext.getActive()
    if active is None:
        return {}
    return {
        name: operator
        for operator, name in active._graph.names().items()
        if isinstance(operator, KeyedStateOperator)
    }


def _plain(frame: Any, name: str) -> Any:
    """Return a column that has one plain type, without an object a value; else None."""
    return frame[name].to_arrow() if name in frame.columns else None


def _no_schema() -> Any:
    """Return the columns of a state without any key: nobody knows their types."""
    types = client.module("sql.types")
    none = types.NullType()
    return types.StructType().add("key", none).add("value", none)
