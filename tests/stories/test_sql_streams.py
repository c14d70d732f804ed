"""Stories of programs that ask SQL of every batch of a socket's lines."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.integration.receiving import until

pytest.importorskip("pysail", reason="needs the extra `sql`")
pytestmark = pytest.mark.slow

_START = """
import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.sql import Row, SparkSession

context = SparkContext(appName="WordsBySql")
streaming = StreamingContext(context, 0.3)
lines = streaming.socketTextStream("127.0.0.1", int(sys.argv[1]))
words = lines.flatMap(lambda line: line.split())
"""
_END = """
streaming.start()
streaming.awaitTermination()
"""

SESSIONS = f"""{_START}
def report(time, rdd):
    try:
        spark = SparkSession.builder.config(conf=rdd.context.getConf()).getOrCreate()
        rows = rdd.map(lambda word: Row(word=word))
        spark.createDataFrame(rows).createOrReplaceTempView("words")
        spark.sql("select word, count(*) as total from words group by word").show()
    except ValueError as error:
        if "RDD is empty" not in str(error):
            raise

words.foreachRDD(report)
{_END}"""

CONTEXTS = f"""{_START}
import warnings
from pyspark.sql import SQLContext

warnings.simplefilter("ignore", FutureWarning)

def report(rdd):
    if rdd.isEmpty():
        return
    tables = SQLContext.getOrCreate(rdd.context)
    frame = tables.createDataFrame(rdd.map(lambda word: Row(word=word)))
    frame.registerTempTable("words")
    tables.sql("select word, count(*) as total from words group by word").show()

words.foreachRDD(report)
{_END}"""

STREAMS = f"""{_START}
import os

driver = os.getpid()
query = '''
    select word, count(*) total, max(pid <> {{driver}}) apart from stream group by word
'''.format(driver=driver)

def report(rdd):
    for row in rdd.collect():
        print("|", row.word, "|", row.total, "|", "apart" if row.apart else "here")
    sys.stdout.flush()

placed = words.map(lambda word: (word, os.getpid()))
placed.sql(query, schema=["word", "pid"]).foreachRDD(report)
{_END}"""

SENT = [b"to be or not to be\n", b"to do\n"]
EXPECTED = Counter({"to": 3, "be": 2, "or": 1, "not": 1, "do": 1})
_ROW = re.compile(r"\|\s*(\w+)\s*\|\s*(\d+)\s*\|", re.ASCII)


@contextmanager
def running(path: Path, text: str, *options: str) -> Iterator[list[str]]:
    """Run a program on the lines of a socket; what it prints grows meanwhile."""
    (path / "program.py").write_text(text, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-m", "millstream", "run", *options]
        with subprocess.Popen(
            [*command, str(path / "program.py"), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
        ) as process:
            printed: list[str] = []
            assert process.stdout is not None
            reader = threading.Thread(target=printed.extend, args=(process.stdout,))
            reader.start()
            try:
                with accepted(server, process) as connection:
                    for each in SENT:
                        connection.sendall(each)
                    yield printed
                process.send_signal(signal.SIGTERM)
                assert process.wait(25) in (0, 143), "it ends as it was told"
            except AssertionError as error:
                error.add_note("".join(printed)[-3000:])
                raise
            finally:
                process.kill()
                reader.join()


def accepted(server: socket.socket, process: "subprocess.Popen[str]") -> socket.socket:
    """Return the program's connection."""
    found: list[socket.socket] = []
    server.settimeout(0.1)

    def accept() -> None:
        assert process.poll() is None, "the program has ended"
        with suppress(TimeoutError):
            found.append(server.accept()[0])

    until(lambda: found, accept)
    return found[0]


def counted(printed: list[str]) -> Counter[str]:
    """Return how often each word was reported, over all batches."""
    found: Counter[str] = Counter()
    for word, count in _ROW.findall("".join(printed)):
        found[word] += int(count)
    return found


THREADS = ("--master", "local[2]")
PROCESSES = (*THREADS, "-c", "spark.millstream.processes=always")


@pytest.mark.parametrize(
    ("text", "options"),
    [(SESSIONS, THREADS), (CONTEXTS, THREADS), (SESSIONS, PROCESSES)],
    ids=["session", "context", "session-processes"],
)
def test_a_program_counts_words_by_sql(
    tmp_path: Path, text: str, options: tuple[str, ...]
) -> None:
    """In the newer form and the older one; wherever its tasks run."""
    with running(tmp_path, text, *options) as printed:
        until(lambda: counted(printed) == EXPECTED)

    said = "".join(printed)
    assert "|word|total|" in said
    assert "Traceback" not in said


def test_a_stream_is_asked_where_its_session_is(tmp_path: Path) -> None:
    """Its steps, and the making of tables, run in processes; the query here."""
    with running(tmp_path, STREAMS, *PROCESSES) as printed:
        until(lambda: counted(printed) == EXPECTED)

    said = "".join(printed)
    assert "| apart" in said
    assert "| here" not in said
    assert "Traceback" not in said
