"""Stalling: servers that stand still, as a machine does that swaps or lost its network."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_LIMIT_S = 10.0


def stall(*processes: int) -> None:
    """Have processes stand still; they do when this returns.

    The signal alone isn't enough: on a busy machine a server may answer once more.
    """
    for each in processes:
        os.kill(each, signal.SIGSTOP)
    until_s = time.monotonic() + _LIMIT_S
    for each in processes:
        while psutil.Process(each).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < until_s, f"process {each} doesn't stop"
            time.sleep(0.001)


def go_on(*processes: int) -> None:
    """Let them go on."""
    for each in processes:
        os.kill(each, signal.SIGCONT)


@contextmanager
def stalled(*processes: int) -> Iterator[None]:
    """Have processes stand still meanwhile."""
    stall(*processes)
    try:
        yield
    finally:
        go_on(*processes)
