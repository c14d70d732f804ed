"""Tests of engine/workers/receiver_process.py: a process that answers polls."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from millstream.engine.base import frames
from millstream.engine.workers.receiver_hosting import HostLost, HostOrder, Serve
from millstream.engine.workers.receiver_process import ReceiverProcess

POLLS_MAX = 3


def commanded(_leave: Callable[[], None]) -> Serve:
    """Do what polls say."""

    def serve(data: bytes) -> bytes:
        match data.split(b" "):
            case [b"print", word]:
                print(word.decode())
                print("and", word.decode(), file=sys.stderr)
            case [b"exit", code]:
                print("so long", file=sys.stderr, flush=True)
                os._exit(int(code))
            case [b"raise"]:
                msg = "no way"
                raise RuntimeError(msg)
            case _:
                pass
        return f"{os.getpid()}".encode()

    return serve


@pytest.fixture
def hosts() -> Iterator[Callable[..., ReceiverProcess]]:
    """Return a function that starts a process; all end with the test."""
    started: list[ReceiverProcess] = []

    def start(program: object = commanded) -> ReceiverProcess:
        pickled = frames.dumps_function(program)
        started.append(ReceiverProcess(HostOrder("receiver 5", pickled, POLLS_MAX)))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_polls_are_answered_in_another_process(
    hosts: Callable[..., ReceiverProcess],
) -> None:
    """As many at a time as were asked for: none waits for the others."""

    def meeting(_leave: Callable[[], None]) -> Serve:
        import threading

        barrier = threading.Barrier(POLLS_MAX)

        def serve(_data: bytes) -> bytes:
            barrier.wait(30)
            return f"{os.getpid()}".encode()

        return serve

    host = hosts(meeting)
    answers = [host.poll(b"") for _ in range(POLLS_MAX)]

    assert {each.result(30) for each in answers} == {f"{host.pid}".encode()}
    assert host.pid != os.getpid()


@pytest.mark.slow
def test_what_is_printed_comes_out_here(
    hosts: Callable[..., ReceiverProcess], capfd: pytest.CaptureFixture[str]
) -> None:
    """With the receiver's number; errors with the errors."""
    host = hosts()
    host.poll(b"print hello").result(30)
    with pytest.raises(HostLost):
        host.poll(b"exit 0").result(30)
    out, _ = capfd.readouterr()

    assert "[receiver 5] hello\n" in out


@pytest.mark.parametrize(
    ("poll", "told"),
    [
        (b"exit 7", "ended with exit code 7\n"),
        (b"raise", "RuntimeError: no way"),
    ],
)
@pytest.mark.slow
def test_an_end_is_told_to_all_who_wait(
    hosts: Callable[..., ReceiverProcess], poll: bytes, told: str
) -> None:
    """By how it came, and to who asks later."""
    host = hosts()
    waiting = host.poll(poll)

    with pytest.raises(HostLost, match=told):
        waiting.result(30)
    with pytest.raises(HostLost, match=told):
        host.poll(b"").result(30)


@pytest.mark.parametrize(
    ("number", "told"), [("SIGKILL", "was killed"), ("SIGSEGV", "crashed")]
)
@pytest.mark.slow
def test_a_signal_is_told_by_its_name(
    hosts: Callable[..., ReceiverProcess], number: str, told: str
) -> None:
    """Whether somebody killed it, or it crashed."""
    host = hosts()
    host.poll(b"").result(30)
    os.kill(host.pid, signal.Signals[number])

    with pytest.raises(HostLost, match=rf"{told} \({number}\)"):
        host.poll(b"").result(30)


def test_a_program_that_cannot_be_loaded_is_told(
    hosts: Callable[..., ReceiverProcess],
) -> None:
    """With the traceback."""

    def broken(_leave: Callable[[], None]) -> Serve:
        msg = "not on this machine"
        raise ImportError(msg)

    with pytest.raises(HostLost, match="ImportError: not on this machine"):
        hosts(broken).poll(b"").result(30)
