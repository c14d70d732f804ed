"""Prometheus: an application's measures in Prometheus' text format, for `/metrics`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from millstream.engine.observe.application import Application
from millstream.engine.observe.histograms import BOUNDS_MS, Histogram
from millstream.engine.observe.measures import Kind, Measure, Sample, samples

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
"""Of what `exposition` returns."""

_LABELS = ("app_id", "app_name")
_INPUT_LABELS = ("stream", "stream_name")


def exposition(application: Application) -> bytes:
    """Return all that can be measured of an application now, in Prometheus' text format.

    Each has the application's id and name as labels `app_id` and `app_name`; what there is
    of each input has the input's as `stream` and `stream_name`, too.

    """
    import prometheus_client as client  # noqa: PLC0415  Only for who asks.

    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(application))
    text: bytes = client.generate_latest(registry)
    return text


class _Collector:
    """What the library asks for the values, once a scrape."""

    def __init__(self, application: Application) -> None:
        self._application = application
        facts = application.facts
        self._labels = (facts.id, facts.name)

    def describe(self) -> "list[Metric]":
        return []

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client import core  # noqa: PLC0415  Only for who asks.

        families: dict[str, Metric] = {}
        names = self._application.input_names()
        for sample in samples(self._application):
            measure, value = sample.measure, sample.value
            labels = (*self._labels, *_input_labels(sample, names))
            family = families.get(measure.name)
            known = family or _new_family(core, sample)
            families[measure.name] = known
            if isinstance(known, core.HistogramMetricFamily):
                assert isinstance(value, Histogram), "a histogram's value is one"
                known.add_metric(labels, _buckets(value), value.sum_ms)
            elif isinstance(known, core.GaugeMetricFamily | core.CounterMetricFamily):
                assert not isinstance(value, Histogram), "a number's value is one"
                known.add_metric(labels, value)
        yield from families.values()


def _input_labels(sample: Sample, names: Mapping[int, str]) -> tuple[str, ...]:
    if sample.stream_id is None:
        return ()
    stream_id = sample.stream_id
    return str(stream_id), names.get(stream_id, f"Stream-{stream_id}")


def _new_family(core: Any, sample: Sample) -> "Metric":
    measure = sample.measure
    kinds = {
        Kind.GAUGE: core.GaugeMetricFamily,
        Kind.COUNTER: core.CounterMetricFamily,
        Kind.HISTOGRAM: core.HistogramMetricFamily,
    }
    labels = _LABELS if sample.stream_id is None else (*_LABELS, *_INPUT_LABELS)
    text = f"{measure.meaning} ({measure.unit})" if measure.unit else measure.meaning
    made: Metric = kinds[measure.kind](measure.name, text, labels=labels)
    return made


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, map(float, BOUNDS_MS)), "+Inf"]
    return [
        (bound, float(count))
        for bound, count in zip(bounds, histogram.cumulative(), strict=True)
    ]


def exposed_names(measure: Measure) -> list[str]:
    """Return the names that a measure has in queries."""
    match measure.kind:
        case Kind.GAUGE:
            return [measure.name]
        case Kind.COUNTER:
            return [f"{measure.name}_total"]
        case Kind.HISTOGRAM:
            return [f"{measure.name}_{part}" for part in ("bucket", "sum", "count")]
