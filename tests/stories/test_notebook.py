"""Stories of a notebook: cells run on worker processes, fail, are interrupted, restart."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stories.notebooks import Notebook

pytest.importorskip("ipykernel")
pytestmark = pytest.mark.slow

CONTEXT = """
import os
from millstream import SparkConf, SparkContext

conf = SparkConf().setMaster("local[2]").setAppName("notebook")
sc = SparkContext(conf=conf.set("spark.millstream.processes", "always"))
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    """Return a notebook with a context whose stages run in worker processes."""
    made = Notebook(tmp_path)
    assert made.run(CONTEXT) == ""
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    """Say whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_functions_of_cells_run_in_worker_processes(notebook: Notebook) -> None:
    """Of other cells, and as they were last defined; with classes and shared values."""
    notebook.run("class Point:\n    def __init__(self, x):\n        self.x = x")
    notebook.run("FACTOR = 3\nseen = sc.accumulator(0)\noffset = sc.broadcast(1)")
    notebook.run(
        "def point(number):\n"
        "    seen.add(1)\n"
        "    return Point(number * FACTOR + offset.value)"
    )
    cell = "sorted(sc.parallelize(range(4), 2).map(point).map(lambda p: p.x).collect())"
    pids = "set(sc.parallelize(range(4), 2).map(lambda _: os.getpid()).collect())"

    assert notebook.run(cell) == "[1, 4, 7, 10]"
    assert notebook.run("seen.value") == "4"
    assert notebook.run(f"os.getpid() in {pids}") == "False"
    notebook.run("FACTOR = 10")
    assert notebook.run(cell) == "[1, 11, 21, 31]"


def test_what_a_task_prints_comes_out_below_the_cell(notebook: Notebook) -> None:
    """With the worker's number."""
    shown = notebook.run("sc.parallelize([7], 1).foreach(print)")
    shown += notebook.run(
        "sc.parallelize([8], 1).map(lambda n: print('saw', n)).count()"
    )

    assert "7\n" in shown
    assert "] saw 8\n" in shown


def test_an_error_names_the_cell_and_its_line(notebook: Notebook) -> None:
    """Of the function that raised it, and of the step that ran it; with the source."""
    notebook.run(
        "# Halves.\ndef divide(number):\n    half = number / 2\n    return 1 / half"
    )
    number = notebook.run("len(In) - 2")
    error = notebook.run("sc.parallelize([1, 0], 2) \\\n    .map(divide).collect()")
    step = int(notebook.run("len(In) - 2"))

    assert "JobFailedError" in error
    assert f"  Cell In[{number}], line 4, in divide\n    return 1 / half\n" in error
    assert f"in step map (map at In[{step}]:" in error
    assert "partition 1, record 0" in error
    assert "ipykernel" not in error


def test_an_error_on_a_thread_of_the_kernel_names_the_cell_too(tmp_path: Path) -> None:
    """With the source once."""
    notebook = Notebook(tmp_path)
    notebook.run(CONTEXT.replace("always", "off"))
    notebook.run("def divide(number):\n    return 1 / number")
    error = notebook.run("sc.parallelize([1, 0], 2).map(divide).collect()")
    notebook.close()

    assert "  Cell In[2], line 2, in divide\n    return 1 / number\n" in error
    assert error.count("return 1 / number") == 1


def test_a_cell_that_is_interrupted_ends_its_job(
    notebook: Notebook, tmp_path: Path
) -> None:
    """The context stays usable, and the worker that ran the task is no more."""
    mark = tmp_path / "mark"
    notebook.run(
        "def endless(number):\n"
        f"    open({str(mark)!r}, 'w').write(str(os.getpid()))\n"
        "    while True:\n"
        "        pass"
    )
    shown = notebook.interrupt(
        "sc.parallelize([1], 1).map(endless).count()",
        lambda: mark.exists() and mark.read_text() != "",
    )
    running = notebook.run("len(sc.statusTracker().getActiveJobsIds())")

    assert "KeyboardInterrupt" in shown
    assert running == "0"
    assert notebook.run("sc.parallelize([1, 2], 2).map(lambda n: n + 1).sum()") == "5"
    assert not is_alive(int(mark.read_text()))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
@pytest.mark.parametrize("is_killed", [False, True], ids=["restarted", "killed"])
def test_a_restarted_kernel_leaves_nothing_behind(
    is_killed: bool, notebook: Notebook, tmp_path: Path
) -> None:
    """No workers; and no files, or what a killed one left goes with the next context."""
    told = notebook.run(
        "sc.parallelize(range(2), 2).map(lambda n: bytes(1_000_000 + n)).map(len).sum()\n"
        "print(*sc._driver.elsewhere().pids)"
    )
    workers = [int(word) for word in told.split()]
    notebook.restart(now=is_killed)
    until_s = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < until_s:
        time.sleep(0.01)
    left = list(tmp_path.glob("millstream-*"))
    assert notebook.run(CONTEXT) == ""
    directory = Path(notebook.run("print(sc._driver.local_dir)").strip())

    assert len(workers) == 2
    assert not any(map(is_alive, workers))
    assert bool(left) == is_killed
    assert list(tmp_path.glob("millstream-*")) == [directory]
    notebook.run("sc.stop()")
    assert not list(tmp_path.glob("millstream-*"))


def test_the_example_queries_a_running_stream(tmp_path: Path) -> None:
    """examples/sql_on_streams.ipynb, cell by cell: tables, pandas, a join, the end."""
    file = Path(__file__).parents[2] / "examples" / "sql_on_streams.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    notebook = Notebook(tmp_path)
    try:
        shown = [
            notebook.run("".join(each["source"]))
            for each in cells
            if each["cell_type"] == "code"
        ]
    finally:
        notebook.close()

    together = "\n".join(shown)
    assert "Error" not in together
    assert "|city|orders|amount|mean|" in together
    assert "sum(amount)" in together
    assert "|country|count|" in together
