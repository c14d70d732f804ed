"""Stories of worker processes: the same program, the same results, in other processes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from tests.stories.programs import PROGRAMS

from millstream import RDD, SparkConf, SparkContext
from millstream.engine.base.errors import JobFailedError
from millstream.streaming import StreamingContext


@pytest.fixture
def sc() -> Iterator[SparkContext]:
    """Return a context whose stages run in worker processes wherever they can."""
    conf = SparkConf().setMaster("local[2]").setAppName("processes")
    with SparkContext(conf=conf.set("spark.millstream.processes", "always")) as context:
        yield context


@pytest.mark.slow
def test_functions_run_in_other_processes(sc: SparkContext) -> None:
    """With what they close over, by broadcast too; and accumulators add up here."""
    names = sc.broadcast({0: "even", 1: "odd"})
    seen = sc.accumulator(0)
    factor = 3

    def describe(number: int) -> tuple[str, int, int]:
        seen.add(1)
        return names.value[number % 2], number * factor, os.getpid()

    found = sc.parallelize(range(100), 4).map(describe).collect()

    assert [(name, value) for name, value, _ in found] == [
        (("even", "odd")[n % 2], n * 3) for n in range(100)
    ]
    assert os.getpid() not in {pid for _, _, pid in found}
    assert seen.value == 100


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
@pytest.mark.slow
def test_a_program_gives_the_same_wherever_it_runs(
    program: Callable[[SparkContext], object],
) -> None:
    """To the order."""
    found: list[object] = []
    for mode in ("off", "always"):
        conf = SparkConf().setMaster("local[2]").setAppName("same")
        with SparkContext(conf=conf.set("spark.millstream.processes", mode)) as sc:
            found.append(program(sc))

    assert found[0] == found[1]
    assert repr(found[0]) == repr(found[1])


def test_the_next_context_has_the_same_processes() -> None:
    """They needn't be started again, and know nothing of the one before."""
    pids: list[set[int]] = []
    for number in range(2):
        conf = SparkConf().setMaster("local[2]").setAppName("next")
        conf.set("spark.millstream.processes", "always")
        with SparkContext(conf=conf) as sc:
            value = sc.broadcast(number)
            found = sc.parallelize(range(40), 40).map(
                lambda _: (value.value, os.getpid())
            )
            pids.append({pid for shared, pid in found.collect() if shared == number})
            pids[-1] |= set(sc._driver.elsewhere().pids)  # type: ignore[attr-defined]

    assert pids[0] == pids[1]
    assert len(pids[0]) == 2


def test_workers_see_what_the_program_sets_in_its_environment(
    sc: SparkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after they were started, as a notebook does with credentials."""

    def told() -> set[str | None]:
        rows = sc.parallelize(range(4), 4)
        return set(rows.map(lambda _: os.environ.get("MILLSTREAM_TEST_WORD")).collect())

    assert told() == {None}
    monkeypatch.setenv("MILLSTREAM_TEST_WORD", "open sesame")
    assert told() == {"open sesame"}
    monkeypatch.delenv("MILLSTREAM_TEST_WORD")
    assert told() == {None}


def test_what_is_cached_in_a_worker_is_computed_once(sc: SparkContext) -> None:
    """It is kept here, and goes back there with the tasks that read it."""
    calls = sc.accumulator(0)

    def counted(number: int) -> list[int]:
        calls.add(1)
        return [number]

    cached = sc.parallelize(range(10), 2).map(counted).cache()

    assert [cached.count(), cached.count()] == [10, 10]
    assert cached.map(lambda each: each[0]).sum() == 45
    assert calls.value == 10


def test_an_error_in_a_worker_is_told_as_one_here(sc: SparkContext) -> None:
    """With the user's line, the step, the partition and the record."""
    with pytest.raises(JobFailedError) as caught:
        sc.parallelize([4, 0], 2).map(lambda n: 1 // n).collect()

    text = str(caught.value)
    assert "ZeroDivisionError" in text
    assert "test_processes.py" in text
    assert "partition 1, record 0" in text
    assert isinstance(caught.value.user_error, ZeroDivisionError)


def test_an_error_that_cannot_travel_is_told_too(sc: SparkContext) -> None:
    """By its type and text."""

    def raising(_number: int) -> int:
        class OddError(Exception):
            def __reduce__(self) -> str:
                raise TypeError

        raise OddError("cannot travel")

    with pytest.raises(JobFailedError, match="OddError: cannot travel"):
        sc.parallelize([1, 2], 2).map(raising).collect()


def test_a_result_that_cannot_be_read_here_fails_its_job(sc: SparkContext) -> None:
    """Rather than to leave it waiting; the next job runs."""

    class Sour:
        def __reduce__(self) -> tuple[object, ...]:
            return int, ("no number",)

    with pytest.raises(JobFailedError, match="invalid literal"):
        sc.parallelize([1, 2], 2).map(lambda _: Sour()).collect()
    assert sc.parallelize([1, 2], 2).map(abs).sum() == 3


def test_tasks_that_wait_dont_run_for_a_job_that_failed(
    sc: SparkContext, tmp_path: Path
) -> None:
    """The next job has its workers at once."""

    def leave_a_mark(number: int) -> int:
        (tmp_path / str(number)).touch()
        time.sleep(0.05)  # For tasks to wait behind this one.
        return 1 // number

    with pytest.raises(JobFailedError):
        sc.parallelize(range(60), 60).map(leave_a_mark).collect()
    assert sc.parallelize([1], 1).map(abs).collect() == [1]

    assert len(list(tmp_path.iterdir())) < 30


def test_code_that_exits_fails_its_job_and_no_more(sc: SparkContext) -> None:
    """With the exit code and the partition; the next job runs."""
    with pytest.raises(JobFailedError, match=r"exit code 3.*\n.*partition 0"):
        sc.parallelize([1, 2], 2).map(lambda n: os._exit(3) if n == 1 else n).collect()

    assert sc.parallelize([1, 2], 2).map(lambda n: n + 1).collect() == [2, 3]


def test_a_worker_that_is_killed_costs_nothing_but_time(
    sc: SparkContext, tmp_path: Path
) -> None:
    """The task runs again elsewhere, and what was done isn't done twice."""
    mark = tmp_path / "killed"
    seen = sc.accumulator(0)

    def kill_once(number: int) -> int:
        seen.add(1)
        if number == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    found = sc.parallelize(range(10), 2).map(kill_once).collect()

    assert found == list(range(10))
    assert mark.exists()
    assert seen.value == 10


@pytest.mark.slow
def test_a_task_that_kills_every_worker_fails_in_the_end(sc: SparkContext) -> None:
    """Rather than to be tried for ever."""

    def killing(number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(JobFailedError, match="SIGKILL"):
        sc.parallelize([1], 1).map(killing).collect()


def test_a_job_that_is_cancelled_ends_its_workers(sc: SparkContext) -> None:
    """One that would never end; the next job runs."""
    from threading import Thread

    def endless(_number: int) -> int:
        while True:
            pass

    ended: list[str] = []

    def run() -> None:
        try:
            sc.parallelize([1, 2], 2).map(endless).collect()
        except Exception as error:
            ended.append(type(error).__name__)

    thread = Thread(target=run)
    thread.start()
    while not sc.statusTracker().getActiveJobsIds():
        time.sleep(0.01)
    sc.cancelAllJobs()
    thread.join(30)

    assert ended == ["JobCancelledError"]
    assert sc.parallelize([1, 2], 2).map(lambda n: n).count() == 2


@pytest.mark.slow
def test_a_task_that_hangs_is_ended_after_its_time() -> None:
    """With its worker; the error names the setting, and the next job runs."""
    conf = SparkConf().setMaster("local[2]").setAppName("hanging")
    conf.set("spark.millstream.processes", "always").set("spark.task.timeout", "900ms")

    def hanging(number: int) -> int:
        while number:
            pass
        return number

    with SparkContext(conf=conf) as sc:
        with pytest.raises(
            JobFailedError, match=r"longer than 0.9 s \(spark.task.timeout"
        ):
            sc.parallelize([0, 1], 2).map(hanging).collect()
        assert sc.parallelize([0, 0], 2).map(hanging).collect() == [0, 0]


@pytest.mark.slow
def test_a_worker_that_leaks_is_replaced() -> None:
    """After its task; the one that takes its place starts small."""
    conf = SparkConf().setMaster("local[1]").setAppName("leaking")
    conf.set("spark.millstream.processes", "always")
    conf.set("spark.millstream.worker.memory", "300m")

    def leak(number: int) -> int:
        import builtins

        kept = vars(builtins).setdefault("kept", [])
        kept.append(bytearray(b"x" * (40 << 20)))
        return os.getpid() if number else 0

    with SparkContext(conf=conf) as sc:
        pids = sc.parallelize(range(1, 25), 24).map(leak).collect()

    assert len(set(pids)) == 3


@pytest.mark.slow
def test_a_stream_whose_workers_are_killed_loses_and_doubles_nothing() -> None:
    """Every batch comes out once, in its order, whoever dies meanwhile."""
    conf = SparkConf().setMaster("local[2]").setAppName("killed")
    conf.set("spark.millstream.processes", "always")
    out: list[list[tuple[str, int]]] = []
    done = Event()

    def take(rdd: RDD[tuple[str, int]]) -> None:
        found = sorted(rdd.collect())
        if not found:
            return
        out.append(found)
        if len(out) % 5 == 0:
            os.kill(sc._driver.elsewhere().pids[0], signal.SIGKILL)  # type: ignore[attr-defined]
        if len(out) == 20:
            done.set()

    with SparkContext(conf=conf) as sc:
        ssc = StreamingContext(sc, 0.05)
        batches = [sc.parallelize([f"b{n}", "all", f"b{n}"], 3) for n in range(20)]
        words = ssc.queueStream(batches).map(lambda word: (word, 1))
        words.reduceByKey(lambda a, b: a + b).foreachRDD(take)
        ssc.start()
        assert done.wait(60)
        ssc.stop(stopSparkContext=False)

    assert out == [[("all", 1), (f"b{n}", 2)] for n in range(20)]


NO_GUARD = """
from millstream import SparkConf, SparkContext

class Point:
    def __init__(self, x):
        self.x = x

def shifted(x):
    return Point(x + 1)

conf = SparkConf().setMaster("local[2]").setAppName("no guard")
conf.set("spark.millstream.processes", "always")
with SparkContext(conf=conf) as sc:
    print(sc.parallelize(range(4), 2).map(shifted).map(lambda point: point.x).collect())
"""


@pytest.mark.slow
def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    """It isn't run again in a worker, and its own functions and classes go there."""
    script = tmp_path / "script.py"
    script.write_text(NO_GUARD)

    made = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    )

    assert made.stdout == "[1, 2, 3, 4]\n"


NEVER_STOPPED = """
import os
from millstream import SparkConf, SparkContext

conf = SparkConf().setMaster("local[2]").setAppName("never stopped")
sc = SparkContext(conf=conf.set("spark.millstream.processes", "always"))
big = sc.parallelize(range(2), 2).map(lambda n: bytes(1_000_000 + n)).map(len)
print(os.getpid(), sum(big.collect()), *sc._driver.elsewhere().pids)
"""


@pytest.mark.slow
def test_nothing_is_left_behind_by_a_program_that_just_ends(tmp_path: Path) -> None:
    """Neither processes nor files, though its context was never stopped."""
    script = tmp_path / "script.py"
    script.write_text(NEVER_STOPPED)

    made = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    )

    driver, total, *workers = map(int, made.stdout.split())
    assert total == 2_000_001
    assert len(workers) == 2
    assert not any(map(_is_alive, workers))
    for root in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        assert not list(root.glob(f"millstream-blocks-{driver}-*"))


ENDLESS = """
import os, sys
from millstream import SparkConf, SparkContext

def endless(number):
    print(os.getpid(), flush=True)
    while True:
        pass

conf = SparkConf().setMaster("local[1]").setAppName("endless")
conf.set("spark.millstream.processes", "always")
SparkContext(conf=conf).parallelize([1], 1).map(endless).collect()
"""


@pytest.mark.slow
def test_workers_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    """In the middle of a task, too."""
    script = tmp_path / "script.py"
    script.write_text(ENDLESS)
    driver = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    with driver.stdout:
        pid = int(driver.stdout.readline().split("] ")[1])
        driver.kill()
        driver.wait()

    until_s = time.monotonic() + 10
    while _is_alive(pid) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("threads")
@pytest.mark.slow
def test_rows_that_take_long_go_to_processes_by_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And `explain` says so; columns don't."""
    lines = [f"{n} {n % 7}" for n in range(60_000)]
    with SparkContext("local[2]", "by itself") as sc:
        slow = sc.parallelize(lines, 2).map(lambda line: hash((line, os.getpid())))
        quick = sc.parallelize(lines, 2).map(lambda line: (line[-1], 1))
        reduced = quick.reduceByKey(lambda a, b: a + b)
        slow.count()
        reduced.count()

        slow.explain()
        told_slow = capsys.readouterr().out
        reduced.explain()
        told_quick = capsys.readouterr().out

    assert "in worker processes" in told_slow
    assert "in worker processes" not in told_quick


@pytest.mark.slow
def test_jobs_of_many_threads_get_their_own_results(sc: SparkContext) -> None:
    """Short tasks are handed over several at a time, by several threads."""
    wrong: list[tuple[int, list[int]]] = []

    def run(first: int) -> None:
        numbers = sc.parallelize(range(first, first + 12), 12)
        for step in range(40):
            found = numbers.map(partial(pow, step)).collect()
            if found != [step**n for n in range(first, first + 12)]:
                wrong.append((step, found))

    threads = [Thread(target=run, args=(20 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
