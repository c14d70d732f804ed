"""Stories of what a notebook shows of RDDs and streams, in a real kernel."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stories.notebooks import Message, Notebook

pytest.importorskip("ipykernel")
pytestmark = pytest.mark.slow

STREAM = """
from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.direct import DirectSource

conf = SparkConf().setMaster("local[2]").setAppName("<b>words</b>")
conf.set("spark.millstream.processes", "off")
conf.set("spark.ui.enabled", "true").set("spark.ui.port", "0")
sc = SparkContext(conf=conf)


class Lines(DirectSource):
    def plan(self, batch):
        return [["a b", "b"]]

    def read(self, lines):
        return lines

    def count(self, lines):
        return len(lines)


ssc = StreamingContext(sc, 0.1)
window = ssc.directStream(Lines()).flatMap(str.split).window(0.2)
window.foreachRDD(lambda rdd: rdd.count())
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    """Return a notebook in which a stream can be started."""
    made = Notebook(tmp_path)
    try:
        assert "Error" not in made.run(STREAM)
        yield made
    finally:
        made.close()


def displayed(kind: str, text: str, display_id: str | None = None) -> "Is":
    """Return what says whether a message shows HTML with such text in it."""

    def is_it(message: Message) -> bool:
        content = message["content"]
        return (
            message["msg_type"] == kind
            and text in content["data"].get("text/html", "")
            and display_id in {None, content.get("transient", {}).get("display_id")}
        )

    return is_it


def ended(cell: str) -> "Is":
    """Return what says whether a message tells that a cell is done."""
    return lambda message: (
        message["msg_type"] == "status"
        and message["content"]["execution_state"] == "idle"
        and message["parent_header"].get("msg_id") == cell
    )


def html_of(message: Message) -> str:
    """Return the HTML that a message shows."""
    return str(message["content"]["data"]["text/html"])


Is = Callable[[Message], bool]


def test_values_of_cells_are_tables(notebook: Notebook) -> None:
    """Of an RDD, a stream and a context that hasn't started; beside the plain text."""
    notebook.send("rdd = sc.parallelize(['<i>'], 1).setName('first'); rdd")
    rdd = notebook.next_message(displayed("execute_result", "first ["))
    notebook.send("window")
    stream = notebook.next_message(displayed("execute_result", "Window"))
    notebook.send("ssc")
    context = notebook.next_message(displayed("execute_result", "INITIALIZED"))

    assert "&lt;i&gt;" in html_of(rdd)
    assert "parallelize at In[2]:1" in html_of(rdd)
    assert rdd["content"]["data"]["text/plain"].startswith("first RDD[")
    assert "200 ms" in html_of(stream)
    assert "&lt;b&gt;words&lt;/b&gt;" in html_of(context)
    assert "<svg" not in html_of(context)
    assert "IllegalStateError" in notebook.run("ssc.live()")


def test_a_live_view_follows_a_stream_that_another_cell_stops(
    notebook: Notebook,
) -> None:
    """One output, updated after its cell has ended; the last one says STOPPED."""
    notebook.run("ssc.start()")
    cell = notebook.send("ssc.live()")
    first = notebook.next_message(displayed("display_data", "ACTIVE"))
    display_id = first["content"]["transient"]["display_id"]
    notebook.next_message(ended(cell))
    drawn = notebook.next_message(
        displayed("update_display_data", "<polyline", display_id)
    )
    address = notebook.run("print(sc.uiWebUrl)").strip()
    notebook.send("ssc.stop(stopSparkContext=False)")
    last = notebook.next_message(
        displayed("update_display_data", "STOPPED", display_id)
    )

    assert f'href="{address}"' in html_of(first)
    assert html_of(drawn).count("<svg") == 3
    assert "20 records/s" in html_of(drawn)
    assert "<script" not in html_of(drawn)
    assert "href=" not in html_of(last)
    assert "STOPPED; " in last["content"]["data"]["text/plain"]
    assert notebook.run("sc.parallelize([1, 2]).sum()") == "3"


def test_interrupting_a_cell_that_waits_stops_the_view_alone(
    notebook: Notebook,
) -> None:
    """So do its seconds; batches go on."""
    notebook.run("ssc.start()")
    cell = notebook.send("ssc.live(wait=True)")
    notebook.next_message(displayed("update_display_data", "<polyline"))
    notebook.interrupt_now()
    over = notebook.next_message(displayed("update_display_data", "As it was at"))
    notebook.next_message(
        lambda message: message["content"].get("ename") == "KeyboardInterrupt"
    )
    notebook.next_message(ended(cell))
    cell = notebook.send("ssc.live(seconds=0.2, wait=True)")
    again = notebook.next_message(displayed("update_display_data", "As it was at"))
    notebook.next_message(ended(cell))

    assert "ACTIVE" in html_of(over)
    assert "ACTIVE" in html_of(again)
    assert "more" in notebook.run(
        "def done():\n"
        "    return sc._observers.application.picture().completed_count\n"
        "before = done()\n"
        "while done() == before:\n"
        "    pass\n"
        "print('more')"
    )
    assert notebook.run("ssc.stop(); ssc.getState().value") == "'STOPPED'"
