"""Webhook and console: what they promise, on a real server and a real terminal's output."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.http import Hook, self_signed, served

from millstream.engine.base.errors import OutputOperationError, SparkError
from millstream.engine.base.secrets import Secret
from millstream.engine.sinks import webhook
from millstream.engine.sinks.console import ConsoleSink
from millstream.engine.sinks.contract import SinkBatch, StaleRunError
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.webhook import WebhookSink
from millstream.testing import StreamHarness
from millstream.testing.certify import Certificate, certify_sink

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
BATCH = SinkBatch("app.out", 1000, 2, 7)


@pytest.fixture
def hook() -> Hook:
    """Return a webhook's receiver."""
    return Hook()


@pytest.fixture
def url(hook: Hook) -> Iterator[str]:
    """Serve it."""
    with served(hook.app()) as port:
        yield f"http://127.0.0.1:{port}/hook"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the connections that a test leaves to the next batch."""
    yield
    while webhook._clients:
        webhook._clients.popitem()[1].close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Wait for nothing between tries; return how long the waits were."""
    waits: list[float] = []
    monkeypatch.setattr(webhook, "_sleep", waits.append)
    return waits


def number_of(record: Any) -> int:
    """Return a record's number."""
    found: int = record["number"]
    return found


def certified(hook: Hook, url: str) -> Certificate:
    """Return what the sink promises to this server."""
    import httpx

    def make_sink() -> WebhookSink:
        assert httpx is not None, "imported with this function, once for all writers"
        return WebhookSink(url, records_max=4)

    return certify_sink(make_sink, lambda: [number_of(each) for each in hook.records])


def test_a_server_that_honours_keys_and_runs_has_each_record_once(
    hook: Hook, url: str
) -> None:
    """Whatever crashes, and whoever was thought dead."""
    report = certified(hook, url)

    assert report.guarantee == "exactly once", str(report)


def test_a_server_that_only_honours_keys_is_harmed_by_stale_runs_only(
    hook: Hook, url: str
) -> None:
    """Crashes and repetitions double nothing; a run that was replaced adds records."""
    hook.honours_runs = False
    report = certified(hook, url)

    assert report.guarantee == "at least once", str(report)
    assert [each.scenario for each in report.findings if not each.is_good] == [
        "a writer that was replaced wakes up",
        "a writer is replaced between its steps",
    ]


def test_a_server_that_honours_nothing_has_what_comes_again_twice(
    hook: Hook, url: str
) -> None:
    """Nothing is lost: whoever writes a batch again doesn't know what was taken."""
    hook.honours_keys = hook.honours_runs = False
    for _ in range(2):
        sink = WebhookSink(url)
        assert not sink.begin(BATCH)
        sink.write(BATCH, 0, Records([[1, 2]]))

    assert hook.records == [1, 2, 1, 2]


def test_a_stream_is_posted(hook: Hook, url: str) -> None:
    """Batches in order, several requests a partition, each with its own key."""
    with StreamHarness() as h:
        numbers = h.stream([range(10), range(10, 15), []], partitions=2)
        records = numbers.map(lambda n: {"number": n, "text": "ä"})
        records.writeTo(WebhookSink(url, records_max=3, body="ndjson"), name="out")
        h.run(3)

    assert sorted(map(number_of, hook.records)) == list(range(15))
    assert set(hook.keys.values()) == {1}
    shown = hook.headers[0]
    assert shown["Idempotency-Key"].startswith("StreamHarness.out-1000-")
    assert shown["Content-Type"] == "application/x-ndjson"
    assert shown["Millstream-Batch"] == "1000"
    batches = [each["Millstream-Batch"] for each in hook.headers]
    assert batches == sorted(batches, key=int)


def test_busy_servers_are_asked_again(hook: Hook, url: str, soon: list[float]) -> None:
    """429 and 5xx: as long as Retry-After says, else longer each time."""
    hook.answers = [(429, {"Retry-After": "7"}), (503, {}), (500, {})]
    WebhookSink(url).write(BATCH, 0, Records([[1, 2]]))

    assert hook.records == [1, 2]
    assert soon == [7.0, 1.0, 2.0]


def test_a_request_that_was_taken_and_not_answered_counts_once(
    hook: Hook, url: str, soon: list[float]
) -> None:
    """The repetition has the same key."""
    hook.accepts_then_fails = 2
    WebhookSink(url).write(BATCH, 0, Records([[1, 2]]))

    assert hook.records == [1, 2]
    assert list(hook.keys.values()) == [3]


def test_it_gives_up_after_a_while(hook: Hook, url: str, soon: list[float]) -> None:
    """The error names the server, the output, the batch and the last answer."""
    hook.answers = [(503, {})] * 100
    with pytest.raises(SparkError) as told:
        WebhookSink(url, retry_s=5.0).write(BATCH, 1, Records([[1]]))

    host = url.removesuffix("/hook")
    assert f"webhook {host} didn't take output 'app.out'" in str(told.value)
    assert "batch 1000 ms, partition 1, part 0: it answered 503" in str(told.value)
    assert sum(soon) <= 5.0


def test_a_batch_that_failed_is_posted_with_the_next_one(
    hook: Hook, url: str, soon: list[float]
) -> None:
    """Nothing is lost, and the order stays."""
    hook.answers = [(503, {})] * 40
    with StreamHarness(conf={"spark.task.maxFailures": "1"}) as h:
        numbers = h.stream([[1], [2]], partitions=1)
        numbers.writeTo(WebhookSink(url, retry_s=1.0), name="out")
        with pytest.raises(OutputOperationError):
            h.run()
        hook.answers.clear()
        h.run()

    assert hook.records == [1, 2]


def test_a_server_that_stalls_is_waited_for_no_longer_than_said(
    hook: Hook, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded wait; when it is back, the same request is taken."""
    hook.stall = asyncio.Event()
    waits: list[float] = []

    def wake(seconds: float) -> None:
        waits.append(seconds)
        hook.stall = None

    monkeypatch.setattr(webhook, "_sleep", wake)
    WebhookSink(url, timeout_s=0.2).write(BATCH, 0, Records([[1]]))

    assert hook.records == [1]
    assert waits == [0.5]


def test_a_server_that_isnt_there_is_told(soon: list[float]) -> None:
    """Refused connections are tried again, then told."""
    with served(Hook().app()) as port:
        pass
    with pytest.raises(SparkError, match=f"127.0.0.1:{port} didn't take"):
        WebhookSink(f"http://127.0.0.1:{port}/", retry_s=1.0).write(
            BATCH, 0, Records([[1]])
        )

    assert soon


def test_a_wrong_token_is_told_and_never_shown(
    hook: Hook, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the server repeats it; it isn't tried again; no log has it."""
    caplog.set_level(logging.DEBUG)
    hook.token = "Bearer right"
    sink = WebhookSink(url, token="wrong-and-private", headers={"X-Api-Key": "also-me"})
    with StreamHarness(checkpoint=str(tmp_path)) as h:
        h.stream([[1]], partitions=1).writeTo(sink, name="out")
        with pytest.raises(OutputOperationError, match="it answered 401") as told:
            h.run()

    assert hook.headers[0]["Authorization"] == "Bearer wrong-and-private"
    assert hook.headers[0]["X-Api-Key"] == "also-me"
    shown = f"{told.value!r} {caplog.text} {sink.__dict__!r}"
    assert "*****" in shown
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    for secret in ("wrong-and-private", "also-me"):
        assert secret not in shown
        assert not any(secret.encode() in each.read_bytes() for each in files)
    assert files


def test_an_address_may_be_a_secret(
    hook: Hook, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Some have a token in their path or query: neither logs nor errors have it."""
    caplog.set_level(logging.DEBUG)
    hook.answers = [(400, {})]
    sink = WebhookSink(Secret(f"{url}?key=very-private", "hook.url"))
    with pytest.raises(SparkError) as told:
        sink.write(BATCH, 0, Records([[1]]))
    sink.write(BATCH, 0, Records([[1]]))

    assert hook.records == [1]
    assert "very-private" not in f"{told.value!r} {sink.identity} {caplog.text}"
    assert "127.0.0.1" in sink.identity


def test_a_stale_run_is_refused(hook: Hook, url: str) -> None:
    """412 means that a newer run has taken over."""
    hook.runs["app.out"] = 8
    with pytest.raises(StaleRunError):
        WebhookSink(url).write(BATCH, 0, Records([[1]]))

    assert hook.records == []


def test_a_certificate_that_nobody_trusts_is_told(hook: Hook, tmp_path: Path) -> None:
    """TLS fails: said so, with what to do; doing it works."""
    tls, certificate = self_signed(tmp_path)
    with served(hook.app(), tls) as port:
        address = f"https://127.0.0.1:{port}/hook"
        with pytest.raises(SparkError, match="no secure connection") as told:
            WebhookSink(address).write(BATCH, 0, Records([[1]]))
        trusting = WebhookSink(address, ca_file=str(certificate))
        trusting.write(BATCH, 0, Records([[1]]))
        trusting.close()

    assert hook.records == [1]
    assert "ca_file" in str(told.value.hint)


def test_the_console_prints_batches(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of rows, a line a record otherwise, and how many more there are."""
    with StreamHarness() as h:
        words = h.stream([["a", "b"], ["c"]], partitions=2)
        words.map(lambda word: (word, 1)).writeTo(ConsoleSink(rows=1), name="pairs")
        words.writeTo(ConsoleSink(), name="words", columns=["word"])
        h.run(2)
    shown = capsys.readouterr().out

    assert "StreamHarness.pairs  1970-01-01 00:00:01 UTC  2 records" in shown
    assert "| _1 | _2 |" in shown
    assert "... and 1 more" in shown
    assert "| word |" in shown


def test_the_console_promises_at_least_once(tmp_path: Path) -> None:
    """What was printed before a crash is printed again."""
    printed = tmp_path / "printed"

    def read_back() -> list[int]:
        return [
            int(line.split("|")[1])
            for line in printed.read_text("utf-8").splitlines()
            if line.startswith("| ") and line.split("|")[1].strip().isdecimal()
        ]

    printed.touch()
    report = certify_sink(lambda: _PrintingTo(str(printed)), read_back)

    assert report.guarantee == "at least once", str(report)


class _PrintingTo(ConsoleSink):
    """A console that is a file: what is printed is there when the process ends."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def commit(self, batch: SinkBatch, written: Any) -> None:
        import contextlib

        with (
            Path(self.path).open("a", encoding="utf-8") as out,
            contextlib.redirect_stdout(out),
        ):
            super().commit(batch, written)


def test_the_example_posts_counts(hook: Hook, url: str, tmp_path: Path) -> None:
    """The program reads files and posts the words' counts."""
    source = tmp_path / "in"
    source.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "millstream", "run", str(EXAMPLES / "webhook_sink.py"),
         str(source), url, str(tmp_path / "checkpoint")],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        number = 0
        while not hook.records:
            assert process.poll() is None
            assert number < 400
            scratch = tmp_path / "scratch"
            scratch.write_text("a b a\n")
            scratch.rename(source / f"{number}.txt")
            number += 1
            threading.Event().wait(0.1)
    finally:
        process.terminate()
        process.wait()

    counts = {each["word"]: each["count"] for each in hook.records}
    assert counts["a"] == 2 * counts["b"]
