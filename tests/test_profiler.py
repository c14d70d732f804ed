"""Tests of profiler.py."""

import pstats
from pathlib import Path

import pytest

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import PySparkTypeError
from millstream.profiler import BasicProfiler, Profiler, ProfilerCollector


def _work(n: int) -> int:
    return sum(range(n))


def _calls(stats: pstats.Stats | None) -> int:
    assert stats is not None
    counts = stats.stats  # type: ignore[attr-defined]
    return sum(entry[0] for (_, _, name), entry in counts.items() if name == "_work")


def test_calls_add_up() -> None:
    """Each call's result comes back; the profile knows all of them."""
    profiler = BasicProfiler()
    assert profiler.stats() is None

    assert [profiler.profile(_work, 3), profiler.profile(_work, 4)] == [3, 6]
    assert _calls(profiler.stats()) == 2


def test_a_profile_is_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the RDD's id; without calls there is nothing to show."""
    profiler = BasicProfiler()
    profiler.show(1)
    profiler.dump(1, str(tmp_path))
    assert capsys.readouterr().out == ""
    profiler.profile(_work, 3)
    profiler.show(7)
    profiler.dump(7, str(tmp_path / "new"))

    out = capsys.readouterr().out
    assert "Profile of RDD<id=7>" in out
    assert "_work" in out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rdd_7.pstats"]


def test_a_context_profiles_each_rdd_with_the_class_it_was_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A program's own class shows and dumps in its own way."""

    class Mine(BasicProfiler):
        def show(self, id: int) -> None:  # noqa: A002  PySpark's name.
            print(f"calls: {_calls(self.stats())}, mine: {self.ctx is sc}")

    conf = SparkConf().set("spark.python.profile", "true")
    conf.set("spark.python.profile.dump", str(tmp_path))
    with SparkContext("local", "profile", conf=conf, profiler_cls=Mine) as sc:
        sc.parallelize(range(5), 2).map(_work).count()
        sc.parallelize(range(3), 2).map(_work).count()
        sc.show_profiles()

    assert capsys.readouterr().out == "calls: 5, mine: True\ncalls: 3, mine: True\n"
    assert len(list(tmp_path.glob("rdd_*.pstats"))) == 2


def test_without_profiling_there_is_no_collector(sc: SparkContext) -> None:
    """Programs ask for it."""
    assert sc.profiler_collector is None


def test_a_class_that_measures_by_itself_is_refused() -> None:
    """Tasks are measured with cProfile; only a BasicProfiler can take that over."""
    with pytest.raises(PySparkTypeError, match="'Profiler' is no subclass") as caught:
        ProfilerCollector(Profiler, {})  # type: ignore[arg-type]
    assert caught.value.hint
    with pytest.raises(NotImplementedError):
        Profiler().profile(_work, 1)
    with pytest.raises(NotImplementedError):
        Profiler().stats()
