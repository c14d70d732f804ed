"""History: what the page says of what was done to the program from it, and by REST."""

from collections.abc import Mapping, Sequence

from millstream.engine.observe.control import Action
from millstream.engine.observe.page import words
from millstream.engine.observe.page.tables import Cell, Column, Shown, Table

TABLE: Table[Action] = Table(
    "actions",
    (
        Column(
            "When",
            lambda each: Cell(words.moment(each.time_ms)),
            lambda each: each.time_ms,
        ),
        Column(
            "What", lambda each: Cell(each.what), lambda each: each.what, "described"
        ),
        Column("By", lambda each: Cell(each.by), lambda each: each.by),
    ),
)


def title(actions: Sequence[Action]) -> str:
    """Return the table's title."""
    return f"What was done from the page ({len(actions)})"


def action_table(
    actions: Sequence[Action], query: Mapping[str, str] | None = None
) -> Shown:
    """Return the table of what was done, newest first; `query` pages and sorts it."""
    return TABLE.show(title(actions), actions, query)
