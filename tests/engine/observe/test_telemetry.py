"""What is sent by OpenTelemetry."""

import gzip
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.engine.observe.observed import FakeApplication, batch, life_of

from millstream import SparkContext
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.columnar.reports import StageReport
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe import telemetry
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.observe.telemetry import Telemetry
from millstream.engine.streams.events import BatchCompleted
from millstream.testing import StreamHarness

ENDPOINT = "spark.millstream.otel.endpoint"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out OpenTelemetry's variables of whoever runs the tests."""
    import os

    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)


class Kept:
    """Telemetry, and what it has handed on."""

    def __init__(self, application: FakeApplication) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        spans = SimpleSpanProcessor(self.exporter)
        self.telemetry = Telemetry(application, spans, self.reader)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def values(self) -> dict[str, list[Any]]:
        """Return the points of each metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@contextmanager
def kept(application: FakeApplication | None = None) -> Iterator[Kept]:
    """Return telemetry that is kept in memory."""
    made = Kept(application or FakeApplication())
    yield made
    made.telemetry.stop()


def job(number: int, batch_ms: int | None, **more: Any) -> JobRecord:
    """Return a job that has ended."""
    time = None if batch_ms is None else str(batch_ms)
    output = None if batch_ms is None else "0"
    made = JobRecord(
        number, "collect at app.py:3", None, frozenset(), None, time, output
    )
    made.status, made.submitted_ms, made.ended_ms = "SUCCEEDED", 1005, 1025
    for key, value in more.items():
        setattr(made, key, value)
    return made


def stage(number: int) -> StageRecord:
    """Return a stage that has ended, of which one step went by rows."""
    report = StageReport()
    report.note(1, "map", "columns", "")
    report.note(2, "filter", "rows", "`x.foo()` isn't known")
    made = StageRecord(number, 0, "result of map", 2, report=report)
    made.completed_count, made.submitted_ms, made.ended_ms = 2, 1006, 1020
    return made


def test_a_batch_is_a_trace() -> None:
    """Its output is below it, the job below that, and the stage below the job."""
    with kept() as it:
        it.telemetry.on_job(job(0, 1000), [stage(0)])
        it.telemetry.on_event(BatchCompleted(batch(1000, waited=2, took=30)))
        spans = {each.name: each for each in it.spans}
    names = [
        "batch",
        "output print",
        "job collect at app.py:3",
        "stage result of map",
    ]
    chain = [spans[name] for name in names]

    assert len(it.spans) == 4
    assert chain[0].parent is None
    for above, below in itertools.pairwise(chain):
        assert below.parent is not None
        assert above.context is not None
        assert below.parent.span_id == above.context.span_id
        assert below.parent.trace_id == above.context.trace_id


def test_spans_have_the_times_that_things_had() -> None:
    """In nanoseconds since 1970; not the time at which the span was made."""
    with kept() as it:
        it.telemetry.on_job(job(0, 1000), [stage(0)])
        it.telemetry.on_event(BatchCompleted(batch(1000, waited=2, took=30)))
    times = {
        each.name.split()[0]: (each.start_time, each.end_time) for each in it.spans
    }

    assert times == {
        "batch": (1000 * 10**6, 1032 * 10**6),
        "output": (1002 * 10**6, 1032 * 10**6),
        "job": (1005 * 10**6, 1025 * 10**6),
        "stage": (1006 * 10**6, 1020 * 10**6),
    }


def test_spans_say_what_was_done() -> None:
    """Records by input, and which way each step went and why."""
    with kept() as it:
        it.telemetry.on_job(job(0, 1000), [stage(0)])
        it.telemetry.on_event(BatchCompleted(batch(1000, records=7)))
    known = {each.name.split()[0]: dict(each.attributes or {}) for each in it.spans}

    assert known["batch"]["millstream.batch.records"] == 7
    assert known["batch"]["millstream.batch.inputs"] == ("lines [0]: 7 records",)
    assert known["stage"]["millstream.stage.way"] == "rows"
    assert known["stage"]["millstream.stage.tasks"] == 2
    assert known["stage"]["millstream.stage.steps"] == (
        "map: columns",
        "filter: rows: `x.foo()` isn't known",
    )


def test_a_failure_is_an_error_with_its_traceback() -> None:
    """Of the output and of the batch; the status has its first line."""
    reason = "ValueError: odd\n  at app.py:4"
    with kept() as it:
        it.telemetry.on_event(BatchCompleted(batch(1000, failure=reason)))

    assert [each.name for each in it.spans] == ["output print", "batch"]
    for span in it.spans:
        assert not span.status.is_ok
        assert span.status.description == "ValueError: odd"
        assert span.events[0].name == "exception"
        assert dict(span.events[0].attributes or {}) == {"exception.message": reason}


def test_a_job_of_no_batch_is_a_trace_of_its_own() -> None:
    """A plain program's."""
    with kept() as it:
        it.telemetry.on_job(job(0, None, error="ValueError", status="FAILED"), [])

    assert [each.name for each in it.spans] == ["job collect at app.py:3"]
    assert it.spans[0].parent is None
    assert not it.spans[0].status.is_ok


def test_a_job_that_begins_is_no_span_yet() -> None:
    """Nor is one whose batch hasn't ended."""
    with kept() as it:
        it.telemetry.on_job(job(0, None, status="RUNNING"), [])
        it.telemetry.on_job(job(1, 1000), [])

    assert not it.spans


def test_spans_arent_below_the_programs_own() -> None:
    """A trace that a program has open on the thread isn't joined."""
    with kept() as it:
        span = it.telemetry._tracers.get_tracer("program").start_span("mine")
        with trace.use_span(span, end_on_exit=True):
            it.telemetry.on_job(job(0, None), [])

    assert {each.name: each.parent for each in it.spans} == {
        "job collect at app.py:3": None,
        "mine": None,
    }


def test_jobs_of_batches_that_nobody_tells_of_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When events were dropped, memory doesn't grow."""
    monkeypatch.setattr(telemetry, "_JOBS_MAX", 3)
    with kept() as it:
        for number in range(5):
            it.telemetry.on_job(job(number, number * 1000), [])

        assert list(it.telemetry._jobs) == [2, 3, 4]


def test_metrics_are_those_of_prometheus() -> None:
    """With the same values and buckets; the SDK writes all names in lower case."""
    application = FakeApplication(progress=StreamProgress(1000))
    application.values = {
        "streaming.totalCompletedBatches": 1,
        "millstream.receiver.0.rateLimit": 50,
        "millstream.blocks.memoryBytes": 8,
    }
    assert application.progress is not None
    with kept(application) as it:
        for event in life_of(batch(1000, took=30)):
            application.progress.on_event(event)
            it.telemetry.on_event(event)
        found = it.values()
    limit = found["millstream_receiver_rate_limit"][0]
    took = found["millstream_batch_processing_time_ms"][0]

    assert found["spark_streaming_totalcompletedbatches"][0].value == 1
    assert found["millstream_blocks_memory_bytes"][0].value == 8
    assert found["millstream_input_records"][0].value == 10
    assert limit.value == 50
    assert dict(limit.attributes) == {"stream": "0", "stream_name": "lines [0]"}
    assert (took.count, took.sum) == (1, 30)
    assert took.bucket_counts[:5] == (0, 0, 0, 1, 0)


def test_a_look_at_the_application_is_shared() -> None:
    """Some sixty instruments ask, and the application is asked once."""

    class Counting(FakeApplication):
        asked = 0

        def gauges(self) -> dict[str, float]:
            Counting.asked += 1
            return {"streaming.receivers": 1}

    with kept(Counting()) as it:
        it.values()

        assert Counting.asked == 1


def test_the_resource_is_the_application() -> None:
    """Its name is the service's, unless the variable has another."""
    with kept() as it:
        it.telemetry.on_job(job(0, None), [])
    resource = it.spans[0].resource.attributes

    assert resource["service.name"] == "words"
    assert resource["service.instance.id"] == "local-1"


def test_the_name_of_the_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry's own rules have it."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    with kept() as it:
        it.telemetry.on_job(job(0, None), [])

    assert it.spans[0].resource.attributes["service.name"] == "shop"


@pytest.mark.parametrize(
    ("settings", "variables", "is_wanted"),
    [
        ({}, {}, False),
        ({ENDPOINT: "http://localhost:1"}, {}, True),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}, True),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:1"}, True),
        ({ENDPOINT: "http://localhost:1"}, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_it_is_on_when_asked_for(
    settings: dict[str, str],
    variables: dict[str, str],
    is_wanted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the setting or by variables; the variable that disables it wins."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert telemetry.is_wanted(Settings(settings)) is is_wanted


def _missing(*_args: object) -> Any:
    raise MissingDependencyError("OpenTelemetry needs a package", hint="install it")


def test_without_the_extra_the_setting_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was meant for this program."""
    monkeypatch.setattr(telemetry, "needed", _missing)
    settings = Settings({ENDPOINT: "http://localhost:1"})

    with pytest.raises(MissingDependencyError):
        telemetry.start(settings, FakeApplication())


def test_without_the_extra_variables_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They may be meant for every program of a machine."""
    monkeypatch.setattr(telemetry, "needed", _missing)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")

    assert telemetry.start(Settings({}), FakeApplication()) is None
    assert "telemetry isn't sent" in caplog.text


class Receiver:
    """A collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                kept.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        else:
            assert path == "/v1/metrics"
            metrics = ExportMetricsServiceRequest.FromString(body)
            for of in metrics.resource_metrics:
                for scope_of in of.scope_metrics:
                    self.metrics += scope_of.metrics

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collector() -> Iterator[Receiver]:
    """Return a collector that listens."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def conf(endpoint: str) -> dict[str, str]:
    """Return settings by which telemetry is sent."""
    return {ENDPOINT: endpoint, "spark.ui.enabled": "false"}


@pytest.mark.slow
def test_a_streams_batches_arrive_at_a_collector() -> None:
    """By OTLP over HTTP, when the context has stopped at the latest."""
    with collector() as receiver:
        with StreamHarness(conf=conf(receiver.url)) as h:
            words = h.stream([["a"], ["b"]])
            h.collect(words.map(lambda word: (word, 1)).reduceByKey(max))
            h.run(2)
        batches = [each for each in receiver.spans if each.name == "batch"]
        stages = [each for each in receiver.spans if each.name.startswith("stage ")]
        totals = [
            point.as_double or point.as_int
            for each in receiver.metrics
            if each.name == "spark_streaming_totalcompletedbatches"
            for point in each.sum.data_points
        ]

    assert len(batches) == 2
    assert len({each.trace_id for each in batches}) == 2
    assert {each.trace_id for each in stages} == {each.trace_id for each in batches}
    assert totals[-1] == 2


@pytest.mark.slow
def test_a_plain_programs_jobs_arrive_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only traces, when metrics are turned off by OpenTelemetry's variable."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    with collector() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with SparkContext("local[2]", "plain") as sc:
            sc.parallelize([1, 2]).count()

    assert [e.name.split()[0] for e in receiver.spans] == ["stage", "job"]
    assert not receiver.metrics


@pytest.mark.slow
def test_a_collector_that_is_away_costs_no_batch() -> None:
    """Batches go on, and the context stops within seconds."""
    with collector() as receiver:
        url = receiver.url
    begin = time.monotonic()
    with StreamHarness(conf=conf(url)) as h:
        counts = h.collect(h.stream([["a"], ["b"]]))
        h.run(2)
        ran = time.monotonic()

    assert counts.records == [["a"], ["b"]]
    assert ran - begin < 2.5, "batches wait for nobody"
    assert time.monotonic() - ran < 2 * telemetry._STOP_S
