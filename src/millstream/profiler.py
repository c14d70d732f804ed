"""Profilers: what `spark.python.profile` collects, shown or written."""

import cProfile
import pstats
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from millstream.engine.base.errors import PySparkTypeError

__all__ = ["BasicProfiler", "Profiler", "ProfilerCollector"]


class Profiler:
    """Subclass it to profile, show or write in another way."""

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
        self.add(pstats.Stats(profile))
        return result

    def add(self, stats: pstats.Stats) -> None:
        """Note what a task cost that was profiled elsewhere."""
        if self._stats is None:
            self._stats = stats
        else:
            self._stats.add(stats)

    def stats(self) -> pstats.Stats | None:
        """Return the sum of all calls."""
        return self._stats


class ProfilerCollector:
    """The profiles of a context, one an RDD, shown and written by a class of profiler.

    Tasks are profiled with cProfile; the class decides what becomes of it: a subclass of
    BasicProfiler may show or dump it in its own way.
    """

    def __init__(
        self,
        profiler_cls: type[BasicProfiler],
        profiles: Mapping[int, pstats.Stats],
        ctx: Any = None,
    ) -> None:
        """Read `profiles`, the sum of each RDD's tasks by its id, as it is when asked.

        Raises:
            PySparkTypeError: The class can't take over what cProfile measured.
        """
        if not issubclass(profiler_cls, BasicProfiler):
            msg = f"class '{profiler_cls.__name__}' is no subclass of BasicProfiler"
            raise PySparkTypeError(msg, hint="override show, dump or stats of that one")
        self.profiler_cls = profiler_cls
        self._profiles = profiles
        self._ctx = ctx

    def new_profiler(self, ctx: Any = None) -> BasicProfiler:
        """Return a profiler with nothing noted."""
        return self.profiler_cls(ctx or self._ctx)

    @property
    def profilers(self) -> list[tuple[int, BasicProfiler]]:
        """A profiler for each RDD, by its id."""
        found = []
        for rdd_id, stats in sorted(self._profiles.items()):
            profiler = self.new_profiler()
            profiler.add(stats)
            found.append((rdd_id, profiler))
        return found

    def show_profiles(self) -> None:
        """Print the profile of each RDD."""
        for rdd_id, profiler in self.profilers:
            profiler.show(rdd_id)

    def dump_profiles(self, path: str) -> None:
        """Write each RDD's profile into a directory."""
        for rdd_id, profiler in self.profilers:
            profiler.dump(rdd_id, path)
