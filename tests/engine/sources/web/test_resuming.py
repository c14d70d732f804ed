"""ResumingReceiver: repeated messages, and a cursor that outlives the program."""

from pathlib import Path

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.sources.web.resuming import (
    ConnectionBrokenError,
    ConnectionRefusedByServerError,
    CursorFile,
    Message,
    RecentKeys,
    error_of_status,
)


def test_what_comes_again_is_left_out() -> None:
    """Within one lot, too; a message without a key is always new."""
    recent = RecentKeys(10)
    first = recent.new_among([Message(1, key="a"), Message(2, key="a"), Message(3)])
    recent.add(first)
    second = recent.new_among([Message(4, key="a"), Message(5, key="b"), Message(6)])

    assert [each.record for each in first] == [1, 3]
    assert [each.record for each in second] == [5, 6]


def test_what_wasnt_added_is_new_again() -> None:
    """Asking remembers nothing: what couldn't be stored is sent again, and stored."""
    recent = RecentKeys(10)
    recent.new_among([Message(1, key="a")])

    assert recent.new_among([Message(2, key="a")]) == [Message(2, key="a")]


def test_a_bounded_number_of_keys_is_remembered() -> None:
    """The oldest are forgotten."""
    recent = RecentKeys(2)
    recent.add([Message(n, key=n) for n in range(3)])

    assert [
        each.key for each in recent.new_among([Message(0, key=k) for k in range(3)])
    ] == [0]


def test_a_cursor_is_read_as_it_was_written(tmp_path: Path) -> None:
    """In a directory that is made; without a file there is none."""
    uri = str(tmp_path / "deep" / "cursor")

    assert CursorFile(uri, "a stream").read() is None
    for cursor in (5, "id-7", [{"topic": "t", "offset": 3}]):
        CursorFile(uri, "a stream").write(cursor)
        assert CursorFile(uri, "a stream").read() == cursor


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"source": "a str'])
def test_a_file_without_a_cursor_is_told(tmp_path: Path, data: bytes) -> None:
    """It isn't taken for a beginning: events would be missing without a word."""
    file = tmp_path / "cursor"
    file.write_bytes(data)
    with pytest.raises(SparkError, match="has no cursor in it"):
        CursorFile(str(file), "a stream").read()


def test_the_cursor_of_another_stream_is_told(tmp_path: Path) -> None:
    """Two streams with one file would lose events of both."""
    uri = str(tmp_path / "cursor")
    CursorFile(uri, "a stream").write(5)
    with pytest.raises(SparkError, match="is of a stream, not of another"):
        CursorFile(uri, "another").read()


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (429, ConnectionBrokenError, ""),
        (503, ConnectionBrokenError, ""),
        (408, ConnectionBrokenError, ""),
        (401, ConnectionRefusedByServerError, "token"),
        (403, ConnectionRefusedByServerError, "token"),
        (404, ConnectionRefusedByServerError, "address"),
        (301, ConnectionRefusedByServerError, "redirects"),
    ],
)
def test_answers_that_pass_and_answers_that_stay(
    status: int, kind: type[SparkError], hint: str
) -> None:
    """What the server would answer again isn't asked again soon."""
    error = error_of_status(status, "Reason", "a stream", "3")

    assert isinstance(error, kind)
    assert f"a stream answered {status} Reason" in str(error)
    assert hint in (error.hint or "")
    if isinstance(error, ConnectionBrokenError):
        assert error.asked_s == 3.0
