"""What a stream has taken over of the process's signals is given back when it stops."""

import signal
import subprocess
import sys
import threading

import pytest

from millstream.testing import StreamHarness


def stop_elsewhere(h: StreamHarness) -> None:
    """Stop a stream on a thread that may set no signals, as the page does."""
    thread = threading.Thread(target=lambda: h.ssc.stop(stopSparkContext=False))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.usefixtures("usual_signals")
def test_a_stream_that_another_thread_stops_leaves_nothing_behind_the_next_one() -> (
    None
):
    """The main thread gives back what the other one couldn't."""
    before = signal.getsignal(signal.SIGTERM)
    hook = sys.excepthook
    taken = []
    for _ in range(2):
        with StreamHarness() as h:
            h.collect(h.stream([["a"]]))
            h.run(1)
            taken.append(signal.getsignal(signal.SIGTERM))
            if len(taken) == 1:
                stop_elsewhere(h)

    assert taken[0] is not before
    assert taken[1] is not taken[0]
    assert signal.getsignal(signal.SIGTERM) is before
    assert sys.excepthook is hook


PROGRAM = """
import sys, threading
from millstream.testing import StreamHarness

with StreamHarness() as h:
    h.collect(h.stream([["a"]]))
    h.run(1)
    stopping = threading.Thread(target=lambda: h.ssc.stop(stopSparkContext=False))
    stopping.start()
    stopping.join()
    print("stopped", flush=True)
    threading.Event().wait(60)
"""


@pytest.mark.slow
def test_after_that_sigterm_ends_the_program_as_if_there_had_been_no_stream() -> None:
    """There is nothing left that could be stopped in order."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "stopped\n"
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
