"""Refusals: why the page's REST interface and its forms don't do what they are asked for."""

from collections.abc import Mapping

from millstream.engine.observe.control import NotNowError, UnknownTargetError

_DIGITS_MAX = 15


class NotFoundError(LookupError):
    """What was asked for isn't there: 404."""


class NotUnderstoodError(ValueError):
    """What was asked makes no sense: 400."""


REFUSALS = (NotFoundError, NotUnderstoodError, UnknownTargetError, NotNowError)


def in_words(error: Exception) -> tuple[int, str]:
    """Return the status and the text of the answer that one of `REFUSALS` is told by."""
    match error:
        case NotFoundError() | UnknownTargetError():
            return 404, str(error)
        case NotNowError():
            return 409, str(error)
        case _:
            return 400, str(error)


def whole(
    given: Mapping[str, str], name: str, *, least: int = 0, otherwise: int | None = None
) -> int:
    """Return a whole number that was given, or `otherwise` if there is one.

    Raises:
        NotUnderstoodError: It is none, is less than `least`, or has more than 15 digits.
    """
    text = given.get(name)
    if text is None:
        if otherwise is not None:
            return otherwise
        msg = f"{name} is missing: it is a whole number from {least} on"
        raise NotUnderstoodError(msg)
    if len(text) > _DIGITS_MAX:
        msg = f"{name} has {_DIGITS_MAX} digits at most, not '{text[:40]}...'"
        raise NotUnderstoodError(msg)
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        msg = f"{name} is a whole number from {least} on, not '{text}'"
        raise NotUnderstoodError(msg)
    return int(text)
