"""A shuffle of columns, 8 x 8 and 10 MB: ours, Ray's own, Dask's own, PySpark's."""

import importlib.util

from measuring import Benchmark
from repeats import Contest, Rounds, least, ours, peer, wall

_WARM, _REPEATS = 5, 20
_THREADS = "millstream, local[2], threads"
_PROCESSES = "millstream, local[2], processes"
_RAY = "millstream, ray"
_THEIRS = ("ray's own", "dask's own, futures", "dask's own, a graph")
_HAS_RAY = importlib.util.find_spec("ray") is not None


def _contest() -> Contest:
    def job(master: str, processes: str) -> Contest:
        args = ("shuffle", master, _WARM, _REPEATS)
        return {"": ours("jobs.py", *args, processes=processes)}

    on_ray = {_RAY: job("ray", "always")[""]} if _HAS_RAY else {}
    return {
        _THREADS: job("local[2]", "off")[""],
        _PROCESSES: job("local[2]", "always")[""],
        **on_ray,
        "ray's own": peer("ray_shuffle.py", _WARM, _REPEATS),
        "dask's own, futures": peer("dask_shuffle.py", "futures", _WARM, _REPEATS),
        "dask's own, a graph": peer("dask_shuffle.py", "graph", _WARM, _REPEATS),
        # By rows, so that a time takes seconds.
        "pyspark, local[2]": peer("jobs.py", "shuffle", "local[2]", 2, 3),
    }


rounds = Rounds("shuffle", _contest)


def _benchmark(name: str, where: str, mine: str) -> Benchmark:
    def ratio() -> float:
        taken = rounds.next(benchmark)
        return wall(taken[mine]) / least(taken, _THEIRS, wall)

    benchmark = Benchmark(
        name,
        f"8x8 shuffle of 10 MB of columns {where}: time / the best of Ray's and Dask's",
        "x",
        1.0,
        ratio,
        runs=3,
    )
    return benchmark


BENCHMARKS = [
    _benchmark("processes.shuffle.threads", "on two threads", _THREADS),
    _benchmark("processes.shuffle", "in two worker processes", _PROCESSES),
    *([_benchmark("ray.shuffle", "on two Ray actors", _RAY)] if _HAS_RAY else []),
]
