"""Telemetry: metrics and traces by OpenTelemetry; a batch is a trace, its parts are spans.

A batch has its output operations as spans, these have their jobs, and jobs their stages. A
job of no batch is a trace of its own. Spans are made when all of a batch has ended, with
the times that things had; sending is the SDK's, on threads of its own.
"""

import logging
import os  # noqa: TID251  OpenTelemetry's own settings are variables.
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.base.extras import needed
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Application
from millstream.engine.observe.histograms import BOUNDS_MS, Histogram
from millstream.engine.observe.measures import (
    MEASURES,
    Kind,
    Measure,
    Sample,
    samples,
)
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    OutputOperationInfo,
    StreamingEvent,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

_log = logging.getLogger(__name__)
_ENDPOINT = "spark.millstream.otel.endpoint"
_OTLP = "OTEL_EXPORTER_OTLP"
_VARIABLES = tuple(f"{_OTLP}{of}_ENDPOINT" for of in ("", "_TRACES", "_METRICS"))
_JOBS_MAX = 10_000
_FRESH_S = 0.5
_SEND_S = 3
_STOP_S = 6.0


def is_wanted(settings: Settings) -> bool:
    """Say whether the settings or OpenTelemetry's own variables ask for telemetry."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return settings.find_str(_ENDPOINT) is not None or any(
        map(os.environ.get, _VARIABLES)
    )


def start(settings: Settings, application: Application) -> "Telemetry | None":
    """Return telemetry that is sent to where the settings say; None if it can't be.

    That is when only OTEL_* variables, which may be meant for other programs, ask for it,
    and the extra isn't installed: a warning says so.

    Raises:
        MissingDependencyError: The settings ask for it, and the extra isn't installed.
    """
    endpoint = settings.find_str(_ENDPOINT)
    try:
        return Telemetry(application, _span_processor(endpoint), _reader(endpoint))
    except MissingDependencyError as error:
        if endpoint is not None:
            raise
        _log.warning(
            "OTEL_* variables are set, and telemetry isn't sent error=%s hint=%s",
            error,
            error.hint,
        )
        return None


def _span_processor(endpoint: str | None) -> "SpanProcessor | None":
    exporter = _exporter("trace_exporter", "OTLPSpanExporter", "traces", endpoint)
    if exporter is None:
        return None
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415  An extra.
        BatchSpanProcessor,
    )

    return BatchSpanProcessor(exporter)


def _reader(endpoint: str | None) -> "MetricReader | None":
    exporter = _exporter("metric_exporter", "OTLPMetricExporter", "metrics", endpoint)
    if exporter is None:
        return None
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415  An extra.
        PeriodicExportingMetricReader,
    )

    return PeriodicExportingMetricReader(exporter)


def _exporter(module: str, name: str, signal: str, endpoint: str | None) -> Any:
    """Return what sends one signal; None if nobody asks for that one."""
    if os.environ.get(f"OTEL_{signal.upper()}_EXPORTER") == "none":
        return None
    own = os.environ.get(f"{_OTLP}_{signal.upper()}_ENDPOINT")
    if endpoint is None and not (own or os.environ.get(f"{_OTLP}_ENDPOINT")):
        return None
    package = f"opentelemetry.exporter.otlp.proto.http.{module}"
    made = getattr(needed(package, "otel", "OpenTelemetry"), name)
    given: dict[str, Any] = {}
    if endpoint is not None:
        given["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    if f"{_OTLP}_TIMEOUT" not in os.environ:
        given["timeout"] = _SEND_S
    return made(**given)


class Telemetry:
    """Measures an application, and makes traces of what it is told. Thread-safe."""

    def __init__(
        self,
        application: Application,
        spans: "SpanProcessor | None",
        reader: "MetricReader | None",
    ) -> None:
        """Hand spans to `spans`, and metrics to `reader` when it asks."""
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  An extra.
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

        facts = application.facts
        named = {"service.instance.id": facts.id, "service.version": facts.version}
        if "OTEL_SERVICE_NAME" not in os.environ:
            named["service.name"] = facts.name
        resource = Resource.create(named)
        self._application = application
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if spans is not None:
            self._tracers.add_span_processor(spans)
        self._spans = _Spans(self._tracers.get_tracer("millstream"))
        self._metrics = (
            None if reader is None else _Metrics(application, reader, resource)
        )
        self._lock = threading.Lock()
        self._jobs: OrderedDict[int, tuple[JobRecord, Sequence[StageRecord]]] = (
            OrderedDict()
        )

    def on_stream(self) -> None:
        """Hear that the application has a stream now."""

    def on_job(self, job: JobRecord, stages: Sequence[StageRecord]) -> None:
        """Take a job that has begun or ended, with its stages."""
        if job.status == "RUNNING":
            return
        if job.batch_time is None:
            self._spans.of_job(job, stages, None)
            return
        with self._lock:
            self._jobs[job.id] = (job, stages)
            while len(self._jobs) > _JOBS_MAX:  # Of batches that nobody tells of.
                self._jobs.popitem(last=False)

    def on_event(self, event: StreamingEvent) -> None:
        """Take an event of the stream."""
        if not isinstance(event, BatchCompleted):
            return
        info = event.info
        if self._metrics is not None:
            self._metrics.on_batch(info)
        names = self._application.input_names()
        self._spans.of_batch(info, self._jobs_of(info.batch_ms), names)

    def _jobs_of(self, batch_ms: int) -> list[tuple[JobRecord, Sequence[StageRecord]]]:
        time = str(batch_ms)
        with self._lock:
            ids = [
                key for key, (job, _) in self._jobs.items() if job.batch_time == time
            ]
            return [self._jobs.pop(key) for key in ids]

    def stop(self) -> None:
        """Send what there is, and stop; waits some seconds at most."""
        metrics = () if self._metrics is None else (self._metrics.stop,)
        threads = [
            threading.Thread(target=each, name="millstream-telemetry-stop", daemon=True)
            for each in (self._tracers.shutdown, *metrics)
        ]
        for thread in threads:
            thread.start()
        end_s = monotonic_s() + _STOP_S
        for thread in threads:
            thread.join(max(0.0, end_s - monotonic_s()))
        if any(thread.is_alive() for thread in threads):
            _log.warning("the last telemetry wasn't sent in time limit_s=%g", _STOP_S)


class _Metrics:
    """The measures as instruments, which the SDK asks for their values."""

    def __init__(
        self, application: Application, reader: "MetricReader", resource: Any
    ) -> None:
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  An extra.

        self._application = application
        self._lock = threading.Lock()
        self._known: list[Sample] = []
        self._known_s: float | None = None
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("millstream")
        self._histograms: dict[str, Any] = {}
        for measure in MEASURES:
            given = {"unit": measure.unit, "description": measure.meaning}
            match measure.kind:
                case Kind.GAUGE:
                    ask = [self._asks(measure)]
                    meter.create_observable_gauge(measure.name, ask, **given)
                case Kind.COUNTER:
                    ask = [self._asks(measure)]
                    meter.create_observable_counter(measure.name, ask, **given)
                case Kind.HISTOGRAM:
                    self._histograms[measure.name] = meter.create_histogram(
                        measure.name,
                        explicit_bucket_boundaries_advisory=BOUNDS_MS,
                        **given,
                    )

    def on_batch(self, info: BatchInfo) -> None:
        """Count how long a batch took."""
        for name, ms in (
            ("scheduling_delay", info.scheduling_delay_ms),
            ("processing_time", info.processing_delay_ms),
            ("total_delay", info.total_delay_ms),
        ):
            if ms is not None:
                self._histograms[f"millstream_batch_{name}_ms"].record(ms)

    def _asks(
        self, measure: Measure
    ) -> "Callable[[CallbackOptions], Iterable[Observation]]":
        from opentelemetry.metrics import Observation  # noqa: PLC0415  An extra.

        def observe(_options: "CallbackOptions") -> "Iterable[Observation]":
            names = self._application.input_names()
            for sample in self._samples():
                if sample.measure == measure and not isinstance(
                    sample.value, Histogram
                ):
                    yield Observation(sample.value, _of_input(sample.stream_id, names))

        return observe

    def _samples(self) -> list[Sample]:
        # Each instrument asks for itself: they share one look at the application.
        with self._lock:
            now_s = monotonic_s()
            if self._known_s is None or now_s - self._known_s > _FRESH_S:
                self._known, self._known_s = list(samples(self._application)), now_s
            return self._known

    def stop(self) -> None:
        """Send the last values, and stop."""
        self._provider.shutdown()


def _of_input(stream_id: int | None, names: Any) -> dict[str, str]:
    if stream_id is None:
        return {}
    name = names.get(stream_id, f"Stream-{stream_id}")
    return {"stream": str(stream_id), "stream_name": name}


class _Spans:
    """Makes spans of what has ended."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def of_batch(
        self,
        info: BatchInfo,
        jobs: Sequence[tuple[JobRecord, Sequence[StageRecord]]],
        names: Any,
    ) -> None:
        """Make the trace of a batch."""
        batch = self._span(
            "batch",
            None,
            info.submission_ms,
            {
                "millstream.batch.time_ms": info.batch_ms,
                "millstream.batch.records": info.record_count,
                "millstream.batch.scheduling_delay_ms": info.scheduling_delay_ms,
                "millstream.batch.processing_time_ms": info.processing_delay_ms,
                "millstream.batch.inputs": [
                    f"{names.get(key, f'Stream-{key}')}: {each.record_count} records"
                    for key, each in info.inputs.items()
                ],
            },
        )
        for output in info.outputs.values():
            mine = [each for each in jobs if each[0].output_id == str(output.id)]
            self._of_output(output, mine, batch)
        failures = [each.failure_reason for each in info.outputs.values()]
        _end(batch, info.processing_end_ms, next(filter(None, failures), None))

    def _of_output(
        self,
        output: OutputOperationInfo,
        jobs: Sequence[tuple[JobRecord, Sequence[StageRecord]]],
        batch: "Span",
    ) -> None:
        made = self._span(
            f"output {output.name}",
            batch,
            output.start_ms,
            {"millstream.output.id": output.id},
        )
        for job, stages in jobs:
            self.of_job(job, stages, made)
        _end(made, output.end_ms, output.failure_reason)

    def of_job(
        self, job: JobRecord, stages: Sequence[StageRecord], parent: "Span | None"
    ) -> None:
        """Make the span of a job, below a parent or as a trace of its own."""
        made = self._span(
            f"job {job.name}",
            parent,
            job.submitted_ms,
            {
                "millstream.job.id": job.id,
                "millstream.job.group": job.group,
                "millstream.job.description": job.description,
            },
        )
        for stage in stages:
            self._of_stage(stage, made)
        _end(made, job.ended_ms, job.error)

    def _of_stage(self, stage: StageRecord, job: "Span") -> None:
        report = stage.report
        made = self._span(
            f"stage {stage.name}",
            job,
            stage.submitted_ms,
            {
                "millstream.stage.id": stage.id,
                "millstream.stage.tasks": stage.task_count,
                "millstream.stage.failed_tasks": stage.failed_count,
                "millstream.stage.way": "rows" if report.is_by_rows else "columns",
                "millstream.stage.steps": list(report.lines()),
            },
        )
        _end(made, stage.ended_ms, None)

    def _span(
        self,
        name: str,
        parent: "Span | None",
        start_ms: int | None,
        attributes: dict[str, Any],
    ) -> "Span":
        from opentelemetry.context import Context  # noqa: PLC0415  An extra.
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        # Never below what a program of its own traces on this thread.
        above = Context()
        if parent is not None:
            above = set_span_in_context(parent, above)
        known = {key: value for key, value in attributes.items() if value is not None}
        made: Span = self._tracer.start_span(
            name, above, attributes=known, start_time=_ns(start_ms)
        )
        return made


def _end(span: "Span", end_ms: int | None, failure: str | None) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  An extra.

    if failure is not None:
        lines = failure.strip().splitlines() or [""]
        span.set_status(Status(StatusCode.ERROR, lines[0]))
        span.add_event("exception", {"exception.message": failure}, _ns(end_ms))
    span.end(_ns(end_ms))


def _ns(time_ms: int | None) -> int | None:
    return None if time_ms is None else time_ms * 1_000_000
