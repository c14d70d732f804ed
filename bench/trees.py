"""Trees of processes: programs that say where they are, and what they used until then.

A contender runs in a process of its own, with the children it starts (Spark's JVM, its
Python workers). When it says a mark it waits for the answer, so that time, CPU and memory
of the whole tree are taken at that very place, whatever language the work is done in.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36
MARK = "\x02mark "


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that a program has come to.

    Attributes:
        name: What the program calls it.
        value: What the program has to show.
        wall_s: Seconds since the program was started.
        cpu_s: CPU seconds of the tree since then, those of processes that ended included.
        peak_mib: The peaks of the tree's live processes, added up.
    """

    name: str
    value: Any
    wall_s: float
    cpu_s: float
    peak_mib: float


class Program:
    """A running program; `marks` gives its marks, and each is answered by the next step."""

    def __init__(self, child: "subprocess.Popen[str]", begun: float) -> None:
        self._child = child
        self._begun = begun
        self._cpu_before = _reaped_cpu_s()
        self.is_ended = False

    def marks(self) -> Iterator[Mark]:
        """Give marks until the program ends; it waits while the caller looks at one."""
        assert self._child.stdout is not None, "its output is a pipe"
        for line in self._child.stdout:
            if line.startswith(MARK):
                told = json.loads(line.removeprefix(MARK))
                yield self._mark(told["name"], told["value"])
                self.tell("on")

    def tell(self, word: str) -> None:
        assert self._child.stdin is not None, "its input is a pipe"
        with suppress(OSError, ValueError):
            self._child.stdin.write(word + "\n")
            self._child.stdin.flush()

    def end(self) -> None:
        """End a program that doesn't end by itself; that is no failure."""
        self.is_ended = True
        _kill(self._child.pid)

    def _mark(self, name: str, value: Any) -> Mark:
        wall_s = time.perf_counter() - self._begun
        tree = list(_descendants(os.getpid()))
        cpu_s = _reaped_cpu_s() - self._cpu_before + sum(map(_cpu_s, tree))
        return Mark(name, value, wall_s, cpu_s, sum(map(_peak_mib, tree)))


@contextmanager
def running(
    command: Sequence[str], env: dict[str, str], limit_s: float = 900
) -> Iterator[Program]:
    """Start a program and see to it that nothing of its tree is left.

    Raises:
        RuntimeError: It didn't end well; the last lines of its errors are in the message.
    """
    # Orphans (a JVM that outlives its Python) become ours: their CPU counts, too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begun = time.perf_counter()
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
        start_new_session=True,
    )
    said: list[str] = []
    listener = threading.Thread(target=_listen, args=(child, said), daemon=True)
    listener.start()
    timer = threading.Timer(limit_s, _kill, args=(child.pid,))
    timer.start()
    try:
        program = Program(child, begun)
        yield program
        assert child.stdin is not None, "its input is a pipe"
        with suppress(OSError):
            child.stdin.close()
        child.wait()
    finally:
        timer.cancel()
        _kill(child.pid)
        child.wait()
        listener.join(timeout=5)
        _reap()
    if child.returncode and not program.is_ended:
        last = "".join(said[-15:]).strip()
        message = f"{command[1:4]} ended with {child.returncode}: {last}"
        raise RuntimeError(message)


def _listen(child: "subprocess.Popen[str]", said: list[str]) -> None:
    assert child.stderr is not None, "its errors are a pipe"
    for line in child.stderr:
        said.append(line)
        del said[:-200]


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _reap() -> None:
    """Wait for the orphans that came to us."""
    for pid in _descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _reaped_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int(_stat(int(entry.name))[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = children.get(root, [])
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def _stat(pid: int) -> list[str]:
    """Return /proc's numbers for a process, from its state on."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    return text.rsplit(")", 1)[1].split()


def _cpu_s(pid: int) -> float:
    """Return the CPU of a process and of its children that ended."""
    with suppress(OSError, IndexError):
        return sum(map(int, _stat(pid)[11:15])) / _TICKS
    return 0.0


def _peak_mib(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def each_mark(
    command: Sequence[str],
    env: dict[str, str],
    see: Callable[[Mark, Program], None] | None = None,
) -> list[Mark]:
    """Run a program to its end; return its marks, each shown to `see` when it comes."""
    marks = []
    with running(command, env) as program:
        for mark in program.marks():
            marks.append(mark)
            if see is not None:
                see(mark, program)
    return marks
