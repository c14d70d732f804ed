"""Receiving: what tests of receivers on real servers share."""

import threading
from collections.abc import Callable
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.streaming import StreamingListener

WAIT_S = 25.0
_LOOK_S = 0.01


class Errors(StreamingListener):
    """Notes what receivers report."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def onReceiverError(self, receiverError: Any) -> None:
        """Note it."""
        self.messages.append(receiverError.receiverInfo().lastErrorMessage())


def until(true: Callable[[], object], do: Callable[[], object] = lambda: None) -> None:
    """Do something over and over until something is true; fail after some seconds."""
    until_s = monotonic_s() + WAIT_S
    while not true():
        assert monotonic_s() < until_s, "it didn't happen"
        do()
        threading.Event().wait(_LOOK_S)
