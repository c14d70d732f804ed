"""Marks: how a contender tells the benchmark where it is."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def mark(name: str, value: Any = None) -> None:
    """Say a mark and wait until it has been seen; `value` is what was computed."""
    print(f"\x02mark {json.dumps({'name': name, 'value': value})}", flush=True)
    sys.stdin.readline()


def repeat(
    job: Callable[[], Any], warm: int, repeats: int, pace_s: float = 0.0
) -> None:
    """Run a job many times, at most once each `pace_s`; mark `warm` and `done`.

    The first `warm` times don't count. What `done` says is the result, which must always
    be the same, and the seconds of each time.
    """
    results = {json.dumps(job()) for _ in range(warm)}
    mark("warm")
    seconds = []
    begin_s = time.perf_counter()
    for number in range(repeats):
        time.sleep(max(0.0, begin_s + number * pace_s - time.perf_counter()))
        job_begin_s = time.perf_counter()
        results.add(json.dumps(job()))
        seconds.append(time.perf_counter() - job_begin_s)
    time.sleep(max(0.0, begin_s + repeats * pace_s - time.perf_counter()))
    assert len(results) == 1, f"a job's results differ: {results}"
    mark("done", {"result": json.loads(results.pop()), "seconds": seconds})
