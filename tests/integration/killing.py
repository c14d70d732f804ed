"""Killing: a program is killed at random moments, and started again, until it is done."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

_LOOK_S = 0.05


def run_with_kills(
    script: Path,
    args: Sequence[str],
    is_done: Callable[[], bool],
    *,
    kills: int = 3,
    seed: int = 0,
    life_s: tuple[float, float] = (1.0, 2.5),
    limit_s: float = 60.0,
    between: Callable[[int], None] = lambda _life: None,
) -> None:
    """Run a Python script; SIGKILL it `kills` times; let its last life go on to the end.

    Its first argument is a directory, where what it prints is logged. A life lasts some seconds out of `life_s`. `between(number)` is called after each kill.
    The last life is ended with SIGTERM when `is_done()` says so, and must end well.

    Raises:
        AssertionError: It ended by itself, or wasn't done in time; has what it printed.
    """
    draw = random.Random(seed)
    log = Path(args[0]) / "program.log"
    with log.open("ab") as out:
        for life in range(kills):
            process = _started(script, args, out)
            try:
                code = process.wait(draw.uniform(*life_s))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            else:
                msg = f"it ended by itself, with {code}:\n{_tail(log)}"
                raise AssertionError(msg)
            between(life)
        process = _started(script, args, out)
        try:
            until_s = time.monotonic() + limit_s
            while not is_done():
                assert process.poll() is None, f"it ended by itself:\n{_tail(log)}"
                assert time.monotonic() < until_s, f"it isn't done:\n{_tail(log)}"
                time.sleep(_LOOK_S)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in {0, 143, -signal.SIGTERM}, _tail(log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _started(
    script: Path, args: Sequence[str], out: IO[bytes]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), *args],
        stdout=out,
        stderr=subprocess.STDOUT,
    )


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-6000:]
