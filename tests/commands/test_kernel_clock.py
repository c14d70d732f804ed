"""What the kernel says of its clock."""

import ctypes
import errno
import sys

import pytest

from millstream.commands import kernel_clock
from millstream.commands.kernel_clock import (
    KernelClock,
    UnknownClockError,
    ask_kernel,
    read_answer,
)


def answer(status: int, esterror: int = 0, maxerror: int = 0) -> "kernel_clock._Timex":
    """Return an answer with errors in microseconds."""
    return kernel_clock._Timex(status=status, esterror=esterror, maxerror=maxerror)


def test_a_clock_that_is_set_says_how_far_off_it_is() -> None:
    """In ms; other bits of the status, and a leap second to come, don't matter."""
    told = KernelClock(is_synchronised=True, error_ms=1.5, error_ms_max=250)

    assert read_answer(0, answer(0x1, 1_500, 250_000)) == told
    assert read_answer(1, answer(0x2011, 1_500, 250_000)) == told


def test_a_clock_that_nobody_sets_is_not_synchronised() -> None:
    """The state says it, or a bit of the status, or both."""
    assert not read_answer(5, answer(0)).is_synchronised
    assert not read_answer(0, answer(0x40)).is_synchronised


def test_a_kernel_that_refuses_is_unknown() -> None:
    """With the reason."""
    ctypes.set_errno(errno.EPERM)
    with pytest.raises(UnknownClockError, match="EPERM"):
        read_answer(-1, answer(0))


def test_another_system_is_unknown() -> None:
    """It is named."""
    with pytest.raises(UnknownClockError, match="on win32"):
        ask_kernel("win32")


@pytest.mark.skipif(sys.platform != "linux", reason="its file is Linux'")
def test_this_kernel_answers_or_says_why_not() -> None:
    """It stops counting at 16 s, so that anything above would be another field."""
    try:
        told = ask_kernel()
    except UnknownClockError as error:
        assert "the kernel doesn't say" in str(error)
    else:
        assert 0 <= told.error_ms <= 16_000
        assert 0 <= told.error_ms_max <= 16_000
