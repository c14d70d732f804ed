"""The columnar path in streams: a socket, state, windows, small batches, memory."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from contests import PROGRAMS, of_watched, ours, ours_env
from data import input_of
from measuring import Benchmark
from trees import Mark, each_mark, running

_HERE = Path(__file__).parent
_PACE = 0.65
"""The rate of the sender, of the directory's rate: a little over the limit."""
_SOCKET_SECONDS = 30
_SOCKET_INTERVAL_S = 1.0
_GROWTH_MAX_MS = 250
_LATENCY_SECONDS = 10
_BATCHES_A_MARK = 50
"""How many small batches stateful.py runs for a mark."""
_MEMORY_MB = 256


@contextmanager
def _sender(program: str, *args: str) -> "Iterator[tuple[int, subprocess.Popen[str]]]":
    command = [sys.executable, str(_HERE / program), *args]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as child:
        try:
            assert child.stdout is not None, "its output is a pipe"
            yield int(child.stdout.readline()), child
        finally:
            child.kill()


def socket_ratio() -> float:
    """Return the sustained rate of a socket / the rate from a directory."""
    data = input_of("text")
    directory = of_watched(
        lambda *args: ours("dstreams.py", "words", *args), lambda _: ours_env(), 0.05
    )(data)
    rate = directory.lines / directory.wall_s
    bytes_a_line = data.size / sum(data.lines)
    pace = str(rate * bytes_a_line * _PACE)
    file = str(data.files[0])
    with _sender("file_sender.py", file, pace, str(_SOCKET_SECONDS)) as (port, sender):
        sustained, delays = _follow(port, sender)
    quarter = max(1, len(delays) // 4)
    growth = median(delays[-quarter:]) - median(delays[quarter : 2 * quarter])
    socket.notes.update(
        {
            "from the directory": f"{rate / 1e6:.2f} M lines/s",
            "from the socket": f"{sustained / 1e6:.2f} M lines/s",
            "delay ms, by batch": " ".join(f"{each:.0f}" for each in delays),
            "growth of the delay": f"{growth:.0f} ms, second quarter to last",
        }
    )
    # In half of these seconds, 2 % too much already makes the delay this much longer.
    return sustained / rate if growth < _GROWTH_MAX_MS else 0.0


def _follow(port: int, sender: "subprocess.Popen[str]") -> tuple[float, list[float]]:
    """Return lines a second, until the last is counted, and each batch's delay in ms."""
    command = ours("socket_words.py", str(port), str(_SOCKET_INTERVAL_S))
    batches: list[Mark] = []
    assert sender.stdout is not None, "its output is a pipe"
    sent_lines = None
    with running(command, ours_env(), limit_s=_SOCKET_SECONDS * 8) as program:
        for mark in program.marks():
            if mark.name == "started":
                begun_s = mark.wall_s
                continue
            batches.append(mark)
            if sent_lines is None and mark.wall_s - begun_s > _SOCKET_SECONDS:
                sent_lines = int(sender.stdout.readline().split()[0])
            if sent_lines and sum(each.value[0] for each in batches) >= 10 * sent_lines:
                break
        program.end()
    assert sent_lines, "the program ended before the sender"
    # The last line waits for its batch's time whatever the engine does.
    taken_s = batches[-1].wall_s - begun_s - _SOCKET_INTERVAL_S
    return sent_lines / max(taken_s, _SOCKET_SECONDS), [m.value[1] for m in batches]


def _stateful(case: str, columnar: str, *files: str) -> tuple[float, float, list[int]]:
    """Return CPU and wall seconds a batch, and what the batches computed."""
    program = str(PROGRAMS / "stateful.py")
    command = [sys.executable, program, case, columnar, *files]
    return _a_batch(each_mark(command, ours_env()))


def _a_batch(marks: list[Mark]) -> tuple[float, float, list[int]]:
    begin, *batches = marks
    last = batches[-1]
    count = len(batches)
    cpu, wall = last.cpu_s - begin.cpu_s, last.wall_s - begin.wall_s
    return cpu / count, wall / count, [each.value for each in batches]


def _told(name: str, cpu_s: float, wall_s: float) -> dict[str, str]:
    return {name: f"{cpu_s * 1000:.1f} ms CPU, {wall_s * 1000:.1f} ms, a batch"}


def update_ratio() -> float:
    on, on_wall, seen = _stateful("update", "on")
    off, off_wall, expected = _stateful("update", "off")
    assert seen == expected, "both have the same keys"
    update.notes.update(_told("columns", on, on_wall) | _told("rows", off, off_wall))
    return off / on


def update_join_ratio() -> float:
    on, on_wall, _ = _stateful("update", "on")
    program = [sys.executable, str(PROGRAMS / "full_join.py")]
    join, join_wall, _ = _a_batch(each_mark(program, ours_env()))
    update_join.notes.update(
        _told("columns", on, on_wall) | _told("Polars' full join", join, join_wall)
    )
    return on / join


def _window_files() -> list[str]:
    """Return files of 5 MB: a window of ten is to fit easily."""
    return [str(file) for file in input_of("text", 50, 5).files]


def window_ratio() -> float:
    on, on_wall, seen = _stateful("window", "on", *_window_files())
    off, off_wall, expected = _stateful("window", "off", *_window_files())
    assert seen == expected, "both count the same"
    window.notes.update(_told("columns", on, on_wall) | _told("rows", off, off_wall))
    return off / on


def window_anew_ratio() -> float:
    anew, anew_wall, seen = _stateful("window_anew", "on", *_window_files())
    on, on_wall, expected = _stateful("window", "on", *_window_files())
    assert seen == expected, "both count the same"
    window_anew.notes.update(
        _told("without inverse", anew, anew_wall) | _told("with", on, on_wall)
    )
    return anew / on


def mapped_ratio(case: str, benchmark: Benchmark) -> float:
    on, on_wall, seen = _stateful(case, "on", *_window_files())
    off, off_wall, expected = _stateful(case, "off", *_window_files())
    assert seen == expected, "both count the same"
    benchmark.notes.update(_told("columns", on, on_wall) | _told("rows", off, off_wall))
    return off / on


def small_ratio() -> float:
    """Return on / off, taken as on, off, off, on: what drifts hits both alike."""
    taken: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for columnar in ("on", "off", "off", "on"):
        cpu, wall, _ = _stateful("small", columnar)
        taken[columnar].append((cpu / _BATCHES_A_MARK, wall / _BATCHES_A_MARK))
    for columnar, each in taken.items():
        cpus = " and ".join(f"{cpu * 1000:.2f}" for cpu, _ in each)
        walls = " and ".join(f"{wall * 1000:.2f}" for _, wall in each)
        small.notes[f"columns {columnar}"] = f"{cpus} ms CPU, {walls} ms, a batch"
    on, off = (sum(cpu for cpu, _ in taken[way]) for way in ("on", "off"))
    return on / off


def latency_ms() -> float:
    """Return the 99th percentile of the time from a line's sending to its output."""
    seconds = _LATENCY_SECONDS
    with _sender("stamp_sender.py", str(seconds * 3)) as (port, _):
        command = ours("stamped.py", str(port), str(seconds))
        marks = each_mark(command, ours_env())
    taken = marks[-1].value
    warm = taken[len(taken) // 5 :]
    assert len(warm) > 100, "too few lines came through"
    latency.notes.update(
        {
            "median": f"{median(warm):.1f} ms",
            "the slowest": f"{max(warm):.1f} ms",
            "sends measured": str(len(warm)),
            "load of the machine": f"{os.getloadavg()[0]:.1f}",
        }
    )
    return quantiles(warm, n=100)[98]


def memory_ratio() -> float:
    """Return the peak of a program that counts one batch / the batch's bytes."""
    data = input_of("text", _MEMORY_MB, _MEMORY_MB)
    run = of_watched(
        lambda *args: ours("dstreams.py", "words", *args), lambda _: ours_env(), 0.05
    )
    peak = run(data).peak_mib * 2**20
    memory.notes["peak"] = f"{peak / 2**20:.0f} MiB for {data.size:,} bytes"
    return peak / data.size


def _benchmark(
    name: str,
    what: str,
    unit: str,
    limit: float | None,
    measure: Callable[[], float],
    *,
    is_least: bool = False,
) -> Benchmark:
    return Benchmark(f"columns.{name}", what, unit, limit, measure, is_least=is_least)


socket = _benchmark(
    "socket",
    "word count of one TCP connection, delay not growing / of a directory, lines/s",
    "x",
    0.6,
    socket_ratio,
    is_least=True,
)
update = _benchmark(
    "update",
    "updateStateByKey(sum), 1M keys, 10,000 touched: the row path's CPU / ours",
    "x",
    10,
    update_ratio,
    is_least=True,
)
update_join = _benchmark(
    "update_join",
    "updateStateByKey(sum), 1M keys, 10,000 touched: CPU / a full join in Polars",
    "x",
    2,
    update_join_ratio,
)
window = _benchmark(
    "window",
    "window of 10 batches, slide 1, with inverse: the row path's CPU / ours",
    "x",
    5,
    window_ratio,
    is_least=True,
)
window_anew = _benchmark(
    "window_anew",
    "window of 10 batches, slide 1: CPU without inverse / with",
    "x",
    2,
    window_anew_ratio,
)
mapped = _benchmark(
    "mapped",
    "mapWithState count of words, unreduced pairs: the row path's CPU / ours",
    "x",
    None,
    lambda: mapped_ratio("mapped", mapped),
    is_least=True,
)
mapped_reduced = _benchmark(
    "mapped_reduced",
    "mapWithState count of words, reduced first: the row path's CPU / ours",
    "x",
    None,
    lambda: mapped_ratio("mapped_reduced", mapped_reduced),
    is_least=True,
)
small = _benchmark(
    "small",
    "batches of 1,000 lines: CPU with columns on / off",
    "x",
    1,
    small_ratio,
)
latency = _benchmark(
    "latency",
    "1,000 lines every 10 ms, batches of 10 ms: sending to output, 99th percentile",
    "ms",
    15,
    latency_ms,
)
memory = _benchmark(
    "memory",
    "peak memory with one batch of 256 MB / its bytes",
    "x",
    4,
    memory_ratio,
)

BENCHMARKS = [
    socket,
    update,
    update_join,
    window,
    window_anew,
    mapped,
    mapped_reduced,
    small,
    latency,
    memory,
]
