"""Profilers: what `spark.python.profile` collects, shown or written."""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["BasicProfiler", "Profiler"]


class Profiler:
    """Subclass it to profile in another way."""

    def __init__(self, ctx: Any = None) -> None:
        """Belong to a SparkContext."""
        self.ctx = ctx

    def profile(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` and note what it costs."""
        raise NotImplementedError

    def stats(self) -> pstats.Stats | None:
        """Return what was noted, or None."""
        raise NotImplementedError

    def show(self, id: int) -> None:
        """Print what was noted for an RDD."""
        stats = self.stats()
        if stats is not None:
            print("=" * 60)  # noqa: T201  It is what the method is for.
            print(f"Profile of RDD<id={id}>")  # noqa: T201
            print("=" * 60)  # noqa: T201
            stats.sort_stats("time", "cumulative").print_stats()

    def dump(self, id: int, path: str) -> None:
        """Write what was noted to `path`/rdd_<id>.pstats."""
        stats = self.stats()
        if stats is not None:
            Path(path).mkdir(parents=True, exist_ok=True)
            stats.dump_stats(str(Path(path) / f"rdd_{id}.pstats"))


class BasicProfiler(Profiler):
    """Profiles with cProfile."""

    def __init__(self, ctx: Any = None) -> None:
        """Start with nothing noted."""
        super().__init__(ctx)
        self._stats: pstats.Stats | None = None

    def profile(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` under cProfile."""
        profile = cProfile.Profile()
        result = profile.runcall(func, *args, **kwargs)
        if self._stats is None:
            self._stats = pstats.Stats(profile)
        else:
            self._stats.add(profile)
        return result

    def stats(self) -> pstats.Stats | None:
        """Return the sum of all calls."""
        return self._stats
