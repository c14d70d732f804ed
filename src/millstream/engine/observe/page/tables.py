"""Tables: rows that are sorted and shown a page at a time. A core."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")

PAGE_ROWS = 50
PAGE_ROWS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Cell:
    """What is in a row under a column."""

    text: str
    link: str | None = None
    kind: str = ""
    """How it looks: number, failed, error, or nothing special."""
    details: str | None = None
    """A longer text that unfolds."""

    def as_data(self) -> dict[str, str]:
        """Return what isn't empty, for a browser."""
        named = {
            "text": self.text,
            "link": self.link,
            "kind": self.kind,
            "details": self.details,
        }
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column: its heading, what it shows of a row, and what rows are sorted by."""

    title: str
    cell: Callable[[T], Cell]
    key: Callable[[T], Any] | None = None
    """None: rows can't be sorted by it. Rows whose key is None come last."""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which page of a table somebody wants to see, and how it is sorted."""

    page: int = 1
    page_rows: int = PAGE_ROWS
    sort: str | None = None
    is_descending: bool = False

    @classmethod
    def of_query(cls, table_id: str, query: Mapping[str, str]) -> "Choice":
        """Return what an address asks for; what makes no sense is as if it weren't there."""

        def number(name: str, otherwise: int, most: int) -> int:
            text = query.get(f"{table_id}.{name}", "")
            is_number = text.isascii() and text.isdigit() and len(text) < 10
            return min(max(1, int(text)), most) if is_number else otherwise

        return cls(
            number("page", 1, 1_000_000_000),
            number("pageSize", PAGE_ROWS, PAGE_ROWS_MAX),
            query.get(f"{table_id}.sort"),
            query.get(f"{table_id}.desc") == "true",
        )


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's heading, and where a click on it leads."""

    title: str
    kind: str
    link: str | None
    order: str | None
    """ascending or descending, if rows are sorted by it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One page of a table."""

    id: str
    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    page: int
    page_count: int
    row_count: int
    """Of all pages."""
    is_live: bool
    """Whether it is the first page in its own order, where new rows come in."""
    links: Mapping[str, str | None] = field(default_factory=dict)
    """Where first, previous, next and last lead; None where there is no such page."""
    has_failed: bool = False
    """Whether a row has failed: only then the column of errors is shown."""


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A table's columns; rows are given when it is shown."""

    id: str
    columns: tuple[Column[T], ...]
    has_failed: Callable[[T], bool] = lambda _: False

    def row(self, item: T) -> tuple[Cell, ...]:
        """Return one row's cells."""
        return tuple(column.cell(item) for column in self.columns)

    def show(
        self, title: str, items: Sequence[T], query: Mapping[str, str] | None = None
    ) -> Shown:
        """Return the page that `query` asks for; items are in the table's own order."""
        query = query or {}
        choice = Choice.of_query(self.id, query)
        column = next(
            (e for e in self.columns if e.title == choice.sort and e.key), None
        )
        ordered = items if column is None else _sorted(items, column, choice)
        page_count = max(1, -(-len(items) // choice.page_rows))
        page = min(choice.page, page_count)
        first = (page - 1) * choice.page_rows
        shown = ordered[first : first + choice.page_rows]
        return Shown(
            self.id,
            title,
            tuple(self._heading(each, column, choice, query) for each in self.columns),
            tuple(map(self.row, shown)),
            page,
            page_count,
            len(items),
            page == 1 and column is None,
            self._links(page, page_count, query),
            any(map(self.has_failed, shown)),
        )

    def _heading(
        self,
        column: Column[T],
        sorted_by: Column[T] | None,
        choice: Choice,
        query: Mapping[str, str],
    ) -> Heading:
        if column.key is None:
            return Heading(column.title, column.kind, None, None)
        is_sorted = column is sorted_by
        # The largest first: what is slow or big is what people look for.
        descends_next = not (is_sorted and choice.is_descending)
        link = self._link(
            query, page="1", sort=column.title, desc=str(descends_next).lower()
        )
        order = "descending" if choice.is_descending else "ascending"
        return Heading(column.title, column.kind, link, order if is_sorted else None)

    def _links(
        self, page: int, page_count: int, query: Mapping[str, str]
    ) -> dict[str, str | None]:
        def to(number: int, *, is_there: bool) -> str | None:
            return self._link(query, page=str(number)) if is_there else None

        return {
            "first": to(1, is_there=page > 1),
            "previous": to(page - 1, is_there=page > 1),
            "next": to(page + 1, is_there=page < page_count),
            "last": to(page_count, is_there=page < page_count),
        }

    def _link(self, query: Mapping[str, str], **changed: str) -> str:
        asked = {f"{self.id}.{name}": value for name, value in changed.items()}
        return f"?{urlencode({**query, **asked})}#{self.id}"


def _sorted(items: Sequence[T], column: Column[T], choice: Choice) -> list[T]:
    key = column.key
    assert key is not None, "rows are sorted by what can be sorted by"
    keyed = [(key(item), item) for item in items]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=choice.is_descending)
    return [item for _, item in (*known, *(p for p in keyed if p[0] is None))]
