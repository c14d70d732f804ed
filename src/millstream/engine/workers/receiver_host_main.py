"""Receiver host main: the process of one receiver, which answers the driver's polls.

The process ends at once when the driver closes its end, or dies.
"""

import os  # noqa: TID251  The working directory.
import sys
import traceback
from functools import partial

from millstream.engine.base import frames
from millstream.engine.base.threads import ThreadPool
from millstream.engine.workers.driver_channel import DriverChannel, open_channel
from millstream.engine.workers.receiver_hosting import Program, Serve


def main() -> None:
    """Run what the driver sends, until it closes its end."""
    channel = open_channel()
    try:
        _serve(channel)
    finally:
        # Receivers have threads of their own; whatever they do they do for nobody.
        os._exit(0)


def _serve(channel: DriverChannel) -> None:
    messages = channel.messages()
    _, paths, working_directory, polls_max, pickled = next(messages)
    sys.path[:] = paths
    os.chdir(working_directory)
    try:
        program: Program = frames.loads_function(pickled)
        serve = program(lambda: os._exit(0))
    except BaseException:
        channel.send("broken", traceback.format_exc())
        return
    pool = ThreadPool(polls_max, "millstream-polls")
    for _, number, data in messages:
        pool.submit(partial(_answer, channel, serve, number, data))


def _answer(channel: DriverChannel, serve: Serve, number: int, data: bytes) -> None:
    try:
        answer = serve(data)
    except Exception:
        channel.send("broken", traceback.format_exc())
    else:
        channel.send("answer", number, answer)
