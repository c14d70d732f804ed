"""What a notebook shows: RDDs, streams, contexts; safe, and without a job."""

import operator
from html.parser import HTMLParser

import pytest
from tests.engine.observe.observed import batch

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import (
    IllegalStateError,
    OutputOperationError,
    PySparkValueError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.columnar.blocks import Columns
from millstream.engine.durable.frozen_bytes import Shared
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchSubmitted,
    ReceiverError,
    ReceiverInfo,
)
from millstream.notebook import context_text
from millstream.rdd import RDD
from millstream.streaming import DStream, StreamingContext
from millstream.testing import StreamHarness

EVIL = "<script>alert('1')</script>"
SAFE = "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;"


class Reader(HTMLParser):
    """Reads tags, and the text that is beside each title."""

    def __init__(self, html: str) -> None:
        """Read all of it."""
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.add(tag)
        self.open.append(tag)
        if tag in {"th", "td"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        """See that what was opened last is closed first."""
        while (last := self.open.pop()) != tag:
            assert last in {"line", "rect", "circle", "polyline"}

    def handle_data(self, data: str) -> None:
        """Take a cell's text."""
        if {"th", "td"} & set(self.open) and "title" not in self.open:
            self.cells[-1] += data

    def beside(self, title: str) -> str:
        """Return the text of the cell after a title."""
        return self.cells[self.cells.index(title) + 1]


def read(shown: "RDD[object] | DStream[object] | StreamingContext") -> Reader:
    """Return what is shown, read."""
    reader = Reader(shown._repr_html_())
    assert reader.open == []
    assert not {"script", "iframe", "object", "link", "img", "style"} & reader.tags
    return reader


class Rude:
    """A record that can't be shown."""

    def __repr__(self) -> str:
        raise ValueError


def job_count(sc: SparkContext) -> int:
    """Return how many jobs there have been."""
    return len(sc.statusTracker().getJobIdsForGroup())


def progress_after(h: StreamHarness, *, batches: int) -> StreamProgress:
    """Return what is known of a stream, once so many batches are known to have ended."""
    progress = h.sc._observers.application.progress
    assert progress is not None
    while progress.picture().completed_count < batches:
        assert progress.wait_for_news(progress.version, 5)
    return progress


# RDDs.


def test_an_rdd_is_a_table(sc: SparkContext) -> None:
    """Its name and id, partitions, level, place, lineage."""
    rdd = sc.parallelize([3, 4], 2).map(str).setName("texts")
    table = read(rdd)

    assert table.beside("RDD") == f"texts [{rdd.id()}]"
    assert table.beside("Name") == "texts"
    assert table.beside("Partitions") == "2"
    assert table.beside("Storage level") == "not kept"
    assert table.beside("Made at").startswith("map at test_notebook.py:")
    assert table.beside("Lineage") == rdd.toDebugString().decode()


def test_what_comes_from_a_program_is_escaped(sc: SparkContext) -> None:
    """Names and records."""
    html = sc.parallelize([EVIL], 1).setName(EVIL)._repr_html_()

    assert html.count(SAFE) == 4  # As title, name, in the lineage, and as a record.
    assert "<script" not in html


def test_no_job_is_run_to_show_records(sc: SparkContext) -> None:
    """Those of a step aren't there, also where it is to be kept; and that is said."""
    seen = sc.accumulator(0)
    rdd = sc.parallelize([1, 2], 1).map(seen.add).cache()
    table = read(rdd)

    assert "no job is run" in table.beside("First records")
    assert "0 of 1 partition kept" in table.beside("Storage level")
    assert (job_count(sc), seen.value) == (0, 0)


@pytest.mark.parametrize(
    ("size", "processes"),
    [
        (100, "off"),
        (100_000, "off"),
        pytest.param(100, "always", marks=pytest.mark.slow),
        pytest.param(100_000, "always", marks=pytest.mark.slow),
    ],
)
def test_records_at_hand_are_shown(size: int, processes: str) -> None:
    """The first few of what a job has kept: rows or columns, here or held by workers."""
    conf = SparkConf().setMaster("local[2]").setAppName("test")
    with SparkContext(conf=conf.set("spark.millstream.processes", processes)) as sc:
        rdd = sc.parallelize(range(size), 4).map(lambda n: n * 2).cache()
        rdd.count()
        jobs = job_count(sc)
        table = read(rdd)

        assert table.beside("First records") == "0\n2\n4\n6\n8"
        assert "4 of 4 partitions kept" in table.beside("Storage level")
        assert job_count(sc) == jobs


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["off", "always"])
def test_records_of_kept_columns_are_shown(processes: str) -> None:
    """Only the first few are made into objects."""
    conf = SparkConf().setMaster("local[2]").setAppName("test")
    with SparkContext(conf=conf.set("spark.millstream.processes", processes)) as sc:
        texts = sc.parallelize([str(n) for n in range(100_000)], 2)
        pairs = texts.map(lambda text: (text, 1)).reduceByKey(operator.add).cache()
        pairs.count()
        kept = sc._driver.blocks.peek(f"rdd-{pairs.id()}-0")
        shown = read(pairs).beside("First records")

        is_columns = isinstance(kept, Columns)
        assert is_columns or (isinstance(kept, Shared) and kept.about.shape is not None)
        assert shown == "\n".join(map(repr, pairs.take(5)))


def test_records_of_a_collection_are_shown(sc: SparkContext) -> None:
    """No job has run, nor does one."""
    shown = read(sc.parallelize([[n] for n in range(9)], 1)).beside("First records")

    assert shown == "[0]\n[1]\n[2]\n[3]\n[4]"
    assert job_count(sc) == 0


def test_the_first_partition_may_be_empty(sc: SparkContext) -> None:
    """Then a later one has the first records; one that has none shows none."""
    assert read(sc.parallelize([7], 3)).beside("First records") == "7"
    assert "not at hand" in read(sc.emptyRDD()).beside("First records")


def test_what_is_on_a_disk_is_not_read(sc: SparkContext) -> None:
    """It is kept, but not at hand."""
    rdd = sc.parallelize([1], 1).map(str).persist(StorageLevel.DISK_ONLY)
    rdd.count()
    table = read(rdd)

    assert "1 of 1 partition kept" in table.beside("Storage level")
    assert "not at hand" in table.beside("First records")


def test_a_large_partition_of_pickled_records_is_not_unpickled(
    sc: SparkContext,
) -> None:
    """Text and atoms are shared, or cut."""
    large = read(sc.parallelize([["x" * 2_000_000]], 1)).beside("First records")
    text = read(sc.parallelize(["x" * 2_000_000], 1)).beside("First records")

    assert "not at hand" in large
    assert text.startswith("'xxx")
    assert len(text) <= 100


def test_a_record_that_cannot_be_shown_is_named(sc: SparkContext) -> None:
    """What its class raises doesn't hide the rest."""
    shown = read(sc.parallelize([Rude(), 1], 1)).beside("First records")

    assert "Rude instance at" in shown
    assert shown.endswith("\n1")


def test_an_rdd_of_a_stopped_context_is_still_a_table() -> None:
    """What was kept is gone."""
    with SparkContext("local[2]", "test") as sc:
        rdd = sc.parallelize([1], 1).map(str).cache()
        rdd.count()

    assert "not at hand" in read(rdd).beside("First records")


# Streams.


def test_a_stream_is_a_table() -> None:
    """What it does, how often, over what; its name, parents and newest RDD."""
    with StreamHarness(batch=1.0) as h:
        words = h.stream([["a b"]]).flatMap(str.split).named(EVIL)
        window = words.window(4, 2)
        h.collect(window)
        table, before = read(window), read(words).beside("Newest batch")
        h.run(2)

        assert table.beside("Stream") == "window"
        assert table.beside("A batch every") == "2.0 s"
        assert table.beside("Window") == "4.0 s"
        assert table.beside("Parents").startswith(
            f"flatMap '{EVIL}' at flatMap at test_notebook.py:"
        )
        assert read(words).beside("Name") == EVIL
        assert read(words).beside("Window") == "-"
        assert before == "none yet"
        assert "RDD[" in read(words).beside("Newest batch")


def test_a_stream_that_leads_to_no_output_has_no_name_yet() -> None:
    """Nor has an input parents."""
    with StreamHarness(batch=1.0) as h:
        lines = h.stream([])

        assert read(lines.map(str)).beside("Name") == "-"
        assert read(lines).beside("Parents") == "-"


# Contexts.


def test_a_context_that_has_not_started_has_no_charts() -> None:
    """Its state, interval, inputs and outputs."""
    with StreamHarness(batch=0.5) as h:
        h.collect(h.stream([]))
        shown = h.ssc._repr_html_()
        table = read(h.ssc)

        assert "INITIALIZED, a batch every 500 ms" in shown
        assert table.beside("Scripted stream [0]") == "-"
        assert table.beside("collect").startswith("collect at test_notebook.py:")
        assert "svg" not in table.tags
        assert context_text(h.ssc) == "StreamHarness: INITIALIZED"


def test_an_active_context_shows_its_batches() -> None:
    """A chart each of rate, processing time and delay; rates of inputs; counts."""
    with StreamHarness(batch=0.5) as h:
        h.collect(h.stream([[1, 2], [3]]))
        h.run(2)
        progress = progress_after(h, batches=2)
        shown, table = h.ssc._repr_html_(), read(h.ssc)

        assert "ACTIVE" in shown
        assert shown.count("<polyline") == 3
        assert "2 batches done (0 failed), 0 running, 0 waiting" in shown
        assert table.beside("Scripted stream [0]") == "2 records/s"
        assert "StreamHarness: ACTIVE; 2 batches done" in context_text(h.ssc)

        progress.on_event(BatchSubmitted(batch(1500)))
        progress.on_event(
            ReceiverError(
                ReceiverInfo(0, "lines", active=False, last_error_message=EVIL)
            )
        )

        assert "0 running, 1 waiting" in h.ssc._repr_html_()
        assert f"inactive; last error: {EVIL}" in read(h.ssc).cells


def test_a_failed_batch_shows_why() -> None:
    """In one line, escaped."""

    def fail(_rdd: "RDD[object]") -> None:
        raise ValueError(EVIL)

    with StreamHarness(batch=1.0) as h:
        h.stream([[1]]).foreachRDD(fail)
        with pytest.raises(OutputOperationError):
            h.run(1)
        progress_after(h, batches=1)
        shown = h.ssc._repr_html_()
        read(h.ssc)

        assert f"failed: ValueError: {SAFE}" in shown
        assert "1 batch done (1 failed)" in shown


def test_a_stopped_context_shows_what_was() -> None:
    """Until another stream takes its place: then its state alone."""
    with StreamHarness(batch=1.0) as h:
        h.collect(h.stream([[1]]))
        h.run(1)
        h.ssc.stop(stopSparkContext=False)
        shown = h.ssc._repr_html_()
        with pytest.warns(FutureWarning):
            other = StreamingContext(h.sc, 1.0, clock=h.clock)
        other.queueStream([[1]]).foreachRDD(lambda rdd: None)
        other.start()
        after = h.ssc._repr_html_()
        other.stop(stopSparkContext=False)

        assert "STOPPED" in shown
        assert "1 batch done" in shown
        assert "STOPPED" in after
        assert "<svg" not in after


# Live views; a kernel's are in tests/stories/test_notebook_views.py.


def test_a_live_view_is_for_notebooks_and_streams_that_have_started() -> None:
    """Elsewhere the error says where to look."""
    with StreamHarness(batch=1.0) as h:
        h.collect(h.stream([]))
        with pytest.raises(IllegalStateError, match="before start"):
            h.ssc.live()
        h.run(1)

        with pytest.raises(IllegalStateError, match="no notebook") as raised:
            h.ssc.live()
        assert "millstream top" in str(raised.value.hint)
        with pytest.raises(PySparkValueError, match="positive"):
            h.ssc.live(seconds=0)
