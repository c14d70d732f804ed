"""Tables sort and page, and say where their links lead."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from millstream.engine.observe.page.tables import Cell, Choice, Column, Shown, Table

TABLE: Table[int] = Table(
    "numbers",
    (
        Column("Number", lambda n: Cell(str(n), f"/?id={n}"), lambda n: n, "number"),
        Column("Tens", lambda n: Cell(str(n // 10)), lambda n: n // 10 or None),
        Column("Odd", lambda n: Cell(str(n % 2 == 1), details="why")),
    ),
    lambda n: n == 13,
)
NUMBERS = list(range(120, 0, -1))


def numbers(shown: Shown) -> list[int]:
    """Return what the rows show."""
    return [int(row[0].text) for row in shown.rows]


def follow(link: str | None) -> dict[str, str]:
    """Return the query that a link asks with."""
    assert link is not None
    return dict(parse_qsl(urlsplit(link).query))


def test_the_first_page_is_in_the_order_that_was_given() -> None:
    """New rows come in there."""
    shown = TABLE.show("Numbers", NUMBERS)

    assert numbers(shown) == NUMBERS[:50]
    assert (shown.page, shown.page_count, shown.row_count) == (1, 3, 120)
    assert shown.is_live
    assert shown.links["previous"] is None


def test_links_lead_through_all_pages() -> None:
    """Each row is on one of them."""
    shown = TABLE.show("Numbers", NUMBERS)
    seen = numbers(shown)
    while shown.links["next"] is not None:
        shown = TABLE.show("Numbers", NUMBERS, follow(shown.links["next"]))
        seen += numbers(shown)
        assert not shown.is_live

    assert seen == NUMBERS
    assert shown.links["last"] is None
    first = TABLE.show("Numbers", NUMBERS, follow(shown.links["first"]))
    assert numbers(first) == NUMBERS[:50]


def test_a_heading_sorts_the_largest_first_then_the_smallest() -> None:
    """A second click turns the order around; paging keeps it."""
    link = TABLE.show("Numbers", NUMBERS).headings[0].link
    largest = TABLE.show("Numbers", NUMBERS[::-1], follow(link))
    smallest = TABLE.show("Numbers", NUMBERS, follow(largest.headings[0].link))
    second = TABLE.show("Numbers", NUMBERS, follow(smallest.links["next"]))

    assert largest.headings[0].order == "descending"
    assert numbers(largest)[:2] == [120, 119]
    assert smallest.headings[0].order == "ascending"
    assert numbers(smallest)[:2] == [1, 2]
    assert numbers(second)[0] == 51
    assert not smallest.is_live


@pytest.mark.parametrize("is_descending", ["true", "false"])
def test_rows_without_a_value_come_last(is_descending: str) -> None:
    """Whichever way the others are sorted."""
    query = {"numbers.sort": "Tens", "numbers.desc": is_descending}
    shown = TABLE.show("Numbers", [5, 30, 10], query)

    assert numbers(shown)[-1] == 5


def test_a_column_without_an_order_has_no_link() -> None:
    """Asking for it by hand changes nothing."""
    shown = TABLE.show("Numbers", NUMBERS, {"numbers.sort": "Odd"})

    assert shown.headings[2].link is None
    assert numbers(shown) == NUMBERS[:50]


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "99999999999999999999", ""])
def test_a_page_that_makes_no_sense_is_the_nearest_there_is(page: str) -> None:
    """An address somebody typed is no error."""
    shown = TABLE.show("Numbers", NUMBERS, {"numbers.page": page})

    assert shown.page in {1, shown.page_count}
    assert shown.rows


def test_more_rows_than_allowed_are_not_shown_at_once() -> None:
    """A page has 1,000 rows at most."""
    assert Choice.of_query("n", {"n.pageSize": "5000"}).page_rows == 1000


def test_queries_of_other_tables_are_kept() -> None:
    """Two tables on one page don't undo each other's choices."""
    shown = TABLE.show("Numbers", NUMBERS, {"others.page": "3"})

    assert follow(shown.links["next"])["others.page"] == "3"


def test_an_empty_table_has_one_page() -> None:
    """Without rows."""
    shown = TABLE.show("Numbers", [])

    assert (shown.page, shown.page_count, shown.rows) == (1, 1, ())


def test_whether_something_failed_is_told_of_the_rows_shown() -> None:
    """The column of errors is shown for these."""
    assert TABLE.show("Numbers", [13]).has_failed
    assert not TABLE.show("Numbers", [12]).has_failed


def test_a_cell_as_data_leaves_out_what_is_empty() -> None:
    """Less goes over the wire."""
    assert Cell("a").as_data() == {"text": "a"}
    assert Cell("a", "/b", "number", "c").as_data() == {
        "text": "a",
        "link": "/b",
        "kind": "number",
        "details": "c",
    }
