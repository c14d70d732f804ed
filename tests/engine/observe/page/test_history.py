"""What was done from a page is listed on it, newest first."""

from millstream.engine.observe.control import Action
from millstream.engine.observe.page.history import action_table


def actions(count: int) -> list[Action]:
    """Return so many, newest first."""
    return [
        Action(f"kill job {number}", "192.0.2.7", number * 1000)
        for number in range(count, 0, -1)
    ]


def test_the_table_tells_when_what_and_by_whom() -> None:
    """In the order in which it was done, the newest first."""
    shown = action_table(actions(2))

    assert shown.title == "What was done from the page (2)"
    assert [each.title for each in shown.headings] == ["When", "What", "By"]
    assert [row[1].text for row in shown.rows] == ["kill job 2", "kill job 1"]
    assert shown.rows[0][2].text == "192.0.2.7"
    assert shown.rows[0][0].text.endswith(":02")


def test_many_are_shown_a_page_at_a_time_and_sorted() -> None:
    """As all tables are."""
    shown = action_table(actions(60), {"actions.sort": "When", "actions.page": "2"})

    assert shown.page_count == 2
    assert [row[1].text for row in shown.rows][-1] == "kill job 60"
