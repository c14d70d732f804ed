"""KernelClock: whether the kernel's clock is kept right by somebody, as the kernel says.

Daemons that ask time servers (chrony, systemd-timesyncd, ntpd, macOS' timed) tell the
kernel how well it goes; Linux, macOS and FreeBSD tell whoever asks, without any right. A
container has its host's clock, and its host's answer.
"""

import ctypes
import errno
import os  # noqa: TID251  What an error number means.
import sys
from dataclasses import dataclass

_NO_ANSWER = -1
_TIME_ERROR = 5
_STA_UNSYNC = 0x40
_CALLS = {"linux": "adjtimex", "darwin": "ntp_adjtime"}


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel knows of its clock."""

    is_synchronised: bool
    """Whether somebody has set it right lately."""
    error_ms: float
    """How far off it is, as whoever sets it estimates; 0 where that one doesn't say."""
    error_ms_max: float
    """How far off it may be; it grows until it is set again."""


class UnknownClockError(Exception):
    """The kernel doesn't say."""


class _Timex(ctypes.Structure):
    """How the kernel's answer begins: `struct timex` of Linux, macOS and FreeBSD."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: nothing is to be changed.
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # In microseconds, as the next one.
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),  # More than any of them has.
    )


def ask_kernel(platform: str = sys.platform) -> KernelClock:
    """Return what the kernel says of its clock. Changes nothing.

    Raises:
        UnknownClockError: It can't be asked, and why.
    """
    name = _CALLS.get(platform, "ntp_adjtime" if "bsd" in platform else None)
    if name is None:
        msg = f"the kernel can't be asked on {platform}"
        raise UnknownClockError(msg)
    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError) as error:
        msg = f"this system's C library has no {name}"
        raise UnknownClockError(msg) from error
    call.restype = ctypes.c_int
    call.argtypes = (ctypes.POINTER(_Timex),)
    told = _Timex()
    return read_answer(call(ctypes.byref(told)), told)


def read_answer(state: int, told: _Timex) -> KernelClock:
    """Return what an answer means.

    Raises:
        UnknownClockError: It is that there is none.
    """
    if state == _NO_ANSWER:
        number = ctypes.get_errno()
        why = errno.errorcode.get(number, str(number))
        msg = f"the kernel doesn't say: {why}, {os.strerror(number)}"
        raise UnknownClockError(msg)
    is_off = state == _TIME_ERROR or bool(told.status & _STA_UNSYNC)
    return KernelClock(not is_off, told.esterror / 1000, told.maxerror / 1000)
