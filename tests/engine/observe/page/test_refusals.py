"""What isn't done is told with a status that says whose fault it is."""

import pytest

from millstream.engine.observe.control import NotNowError, UnknownTargetError
from millstream.engine.observe.page.refusals import (
    NotFoundError,
    NotUnderstoodError,
    in_words,
    whole,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no"), 404),
        (UnknownTargetError("no"), 404),
        (NotNowError("no"), 409),
        (NotUnderstoodError("no"), 400),
    ],
)
def test_each_refusal_has_its_status(error: Exception, status: int) -> None:
    """And its own words."""
    assert in_words(error) == (status, "no")


def test_a_whole_number_is_taken_or_what_stands_for_it() -> None:
    """Where it is left out, and something may."""
    assert whole({"n": "007"}, "n") == 7
    assert whole({}, "n", otherwise=20) == 20
    assert whole({"n": "9" * 15}, "n", least=1) == 10**15 - 1


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "1.0", "٣", " 1", "0"])
def test_what_is_no_such_number_is_refused(text: str) -> None:
    """Though something could stand for it."""
    with pytest.raises(NotUnderstoodError, match="n is a whole number from 1 on"):
        whole({"n": text}, "n", least=1, otherwise=20)


@pytest.mark.parametrize("digits", [16, 5000])
def test_a_number_of_too_many_digits_is_refused(digits: int) -> None:
    """Python itself would refuse to read thousands of them."""
    with pytest.raises(NotUnderstoodError, match="n has 15 digits at most") as raised:
        whole({"n": "9" * digits}, "n")

    assert len(str(raised.value)) < 200


def test_what_has_to_be_given_is_asked_for() -> None:
    """There is nothing that could stand for it."""
    with pytest.raises(NotUnderstoodError, match=r"n is missing: .* from 0 on"):
        whole({}, "n")
