"""Encoding: values as bytes."""

from typing import Any

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.encoding import encoded


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"\xff\x00", b"\xff\x00"),
        ("\u00e9", b"\xc3\xa9"),
        (7, b"7"),
        (2.5, b"2.5"),
        (True, b"true"),
        (None, b"null"),
        ([1, "a"], b'[1, "a"]'),
        ({"n": {"m": "\u00e9"}}, b'{"n": {"m": "\xc3\xa9"}}'),
    ],
)
def test_bytes_and_text_stay_as_they_are_and_others_are_json(
    value: Any, data: bytes
) -> None:
    """Text is UTF-8, inside JSON, too."""
    assert encoded(value) == data


def test_what_json_does_not_have_is_refused_with_the_value() -> None:
    """The error says what to do."""
    with pytest.raises(SparkError, match=r"\{1\} can't be written as JSON") as caught:
        encoded({1})

    assert caught.value.hint == "map it to text, bytes, or what JSON has"
