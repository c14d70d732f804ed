"""The examples of sources and sinks of one's own, as the guide has them."""

import ast
import inspect
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.test_programs import lines_until

from millstream.engine.base.clock import monotonic_s
from millstream.testing import StreamHarness, certify_sink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT_S = 30.0


def example(name: str) -> ModuleType:
    """Return an example as a module that others can't import: it travels by value."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None, "the example is there"
    assert spec.loader is not None, "it can be loaded"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_events(path: Path, *texts: str) -> None:
    """Add events to the table, as somebody else does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "create table if not exists events (id integer primary key, text text)"
        )
        connection.executemany(
            "insert into events (text) values (?)", [(each,) for each in texts]
        )


@contextmanager
def feed(texts: list[str]) -> Iterator[str]:
    """Serve events over HTTP; return the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            parts = urlsplit(self.path)
            asked = {key: int(each[0]) for key, each in parse_qs(parts.query).items()}
            found: Any = len(texts)
            if parts.path == "/events":
                found = texts[asked["after"] : asked["until"]]
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def goes_on(make: Callable[[], Any], more: Callable[[], None], where: str) -> list[str]:
    """Return what a source gives over a crash; `more` is there after it."""

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.directStream(make()), "out")

    with StreamHarness(checkpoint=where, setup=setup) as h:
        h.run(2)
        h.crash()
        more()
        h.restart()
        h.run(2)
        out = h.output("out")
        # A batch that ran again had the same records.
        batches = dict(zip(out.times_ms, out.records, strict=True))
    return [record for batch in batches.values() for record in batch]


def test_a_table_is_read_once_over_a_crash(tmp_path: Path) -> None:
    """In ranges of a thousand rows."""
    path = tmp_path / "events.db"
    source = example("own_direct_source").TableSource
    first, second = [f"a{n}" for n in range(2500)], [f"b{n}" for n in range(10)]
    add_events(path, *first)
    records = goes_on(
        lambda: source(str(path)),
        lambda: add_events(path, *second),
        str(tmp_path / "c"),
    )

    assert records == first + second


def test_a_feed_is_read_once_over_a_crash(tmp_path: Path) -> None:
    """Asynchronously, page by page, in order."""
    source = example("own_direct_source").FeedSource
    texts = [f"a{number}" for number in range(12_500)]
    with feed(texts) as address:
        records = goes_on(
            lambda: source(address), lambda: texts.append("last"), str(tmp_path)
        )

    assert records == texts


def test_the_sources_are_as_short_as_the_guide_says() -> None:
    """Each class has fewer than thirty lines of code, without blank ones and docstrings."""
    tree = ast.parse((EXAMPLES / "own_direct_source.py").read_text())
    for each in tree.body:
        if isinstance(each, ast.ClassDef):
            words = [
                node.value
                for inner in ast.walk(each)
                if isinstance(
                    inner, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
                )
                and isinstance(node := inner.body[0], ast.Expr)
            ]
            prose = {
                line
                for node in words
                for line in range(node.lineno, (node.end_lineno or 0) + 1)
            }
            text = (EXAMPLES / "own_direct_source.py").read_text().split("\n")
            code = [
                number
                for number in range(each.lineno, (each.end_lineno or 0) + 1)
                if number not in prose and text[number - 1].strip()
            ]
            assert len(code) < 30, each.name


def test_the_sources_program(tmp_path: Path) -> None:
    """It counts words of events."""
    events = tmp_path / "events.db"
    add_events(events, "hello stream", "hello")
    arguments = [str(events), str(tmp_path / "checkpoint")]

    lines_until(["('hello', 2)"], "own_direct_source.py", *arguments)


def committed(path: Path) -> list[Any]:
    """Return what the sink's table has."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("select data from records").fetchall()
        except sqlite3.OperationalError:  # There is no table yet.
            return []
    return [json.loads(data) for (data,) in rows]


def test_the_sink_commits_exactly_once(tmp_path: Path) -> None:
    """The certification kit says so, and why."""
    sink, path = example("own_sink").RecordsSink, tmp_path / "out.db"
    found = certify_sink(
        lambda: sink(str(path)), lambda: [each["number"] for each in committed(path)]
    )

    assert found.guarantee == "exactly once", str(found)


def test_the_sinks_program(tmp_path: Path) -> None:
    """It commits counts of words of files that appear."""
    incoming, path = tmp_path / "in", tmp_path / "out.db"
    incoming.mkdir()
    program = subprocess.Popen(
        [
            *[sys.executable, "-m", "millstream", "run", str(EXAMPLES / "own_sink.py")],
            *[str(incoming), str(path), str(tmp_path / "checkpoint")],
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
    )
    try:
        until_s = monotonic_s() + LIMIT_S
        number = 0
        while not path.exists() or not committed(path):
            assert monotonic_s() < until_s, "nothing was committed"
            assert program.poll() is None, "the program ended by itself"
            (tmp_path / "words").write_text("to be or not to be\n")
            (tmp_path / "words").rename(incoming / f"words-{number}")
            number += 1
            threading.Event().wait(0.2)
    finally:
        program.terminate()
        program.wait()

    assert {word for word, _ in committed(path)} == {"to", "be", "or", "not"}


def test_examples_say_how_they_are_called() -> None:
    """Their text begins with it."""
    for name in ("own_direct_source", "own_sink"):
        text = inspect.getdoc(example(name)) or ""
        assert f"millstream run examples/{name}.py" in text
