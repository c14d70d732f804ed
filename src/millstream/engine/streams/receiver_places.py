"""Receiver places: whether receivers live in this process, in ones of their own, on Ray."""

import re

from millstream.engine.base.clock import Clock, SystemClock
from millstream.engine.base.config import Settings
from millstream.engine.workers.receiver_hosting import StartHost

_APART = re.compile(r"ray(://.*)?|local-cluster\[.*\]")


def host_starter(settings: Settings, master: str, clock: Clock) -> StartHost | None:
    """Return what starts a receiver's host; None where receivers live in this process.

    Under a clock that a test moves they always do: another process would have its own.
    """
    wish = settings.get_str("spark.millstream.receivers")
    if wish == "auto":
        wish = "apart" if _APART.fullmatch(master) else "here"
    if wish == "here" or not isinstance(clock, SystemClock):
        return None
    if master.startswith("ray"):
        from millstream.engine.workers import receiver_actor  # noqa: PLC0415  An extra.

        return receiver_actor.start
    from millstream.engine.workers import receiver_process  # noqa: PLC0415  Few need it.

    return receiver_process.start
