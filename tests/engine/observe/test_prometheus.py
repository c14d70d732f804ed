"""What Prometheus is told."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from tests.engine.observe.observed import (
    FakeApplication,
    batch,
    life_of,
)

from millstream.engine.observe.measures import MEASURES, Kind
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.observe.prometheus import (
    CONTENT_TYPE,
    exposed_names,
    exposition,
)

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "millstream.json"


def values(text: bytes) -> dict[tuple[str, str], float]:
    """Return the values by name and what of labels isn't the application's."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("app_id") == "local-1"
            assert labels.pop("app_name") == "words"
            found[sample.name, ",".join(labels.values())] = sample.value
    return found


def after(*infos: Any) -> FakeApplication:
    """Return an application whose stream has had some batches."""
    progress = StreamProgress(1000)
    for info in infos:
        for event in life_of(info):
            progress.on_event(event)
    return FakeApplication(progress=progress)


def test_gauges_have_sparks_names() -> None:
    """Counters end in `_total`, times in `_ms`; numbers are exact."""
    application = after()
    application.values = {
        "streaming.totalCompletedBatches": 7,
        "streaming.lastCompletedBatch_processingEndTime": 1_795_759_879_122,
        "streaming.waitingBatches": 2,
    }
    found = values(exposition(application))

    assert found["spark_streaming_totalCompletedBatches_total", ""] == 7
    end = found["spark_streaming_lastCompletedBatch_processingEndTime_ms", ""]
    assert end == 1_795_759_879_122
    assert found["spark_streaming_waitingBatches", ""] == 2


def test_what_is_of_an_input_has_its_id_and_name() -> None:
    """One without a name is called after its id."""
    application = after(batch(1000, records=10), batch(2000, records=5))
    application.values = {
        "millstream.receiver.0.rateLimit": 50,
        "millstream.receiver.1.rateLimit": -1,
    }
    found = values(exposition(application))

    assert found["millstream_input_records_total", "0,lines [0]"] == 15
    assert found["millstream_receiver_rate_limit", "0,lines [0]"] == 50
    assert found["millstream_receiver_rate_limit", "1,Stream-1"] == -1


def test_delays_are_histograms() -> None:
    """A bucket has what took at most its bound; nothing that was counted goes again."""
    application = after(*(batch(t * 1000, waited=0, took=t * 100) for t in range(1, 5)))
    found = values(exposition(application))
    name = "millstream_batch_processing_time_ms"

    assert found[f"{name}_bucket", "50.0"] == 0
    assert found[f"{name}_bucket", "100.0"] == 1
    assert found[f"{name}_bucket", "250.0"] == 2
    assert found[f"{name}_bucket", "500.0"] == 4
    assert found[f"{name}_bucket", "+Inf"] == found[f"{name}_count", ""] == 4
    assert found[f"{name}_sum", ""] == 1000


def test_histograms_outlive_what_is_remembered() -> None:
    """They are of all batches, not of those that the page still lists."""
    progress = StreamProgress(1000, retained_max=2)
    for time in range(5):
        for event in life_of(batch(time * 1000)):
            progress.on_event(event)
    found = values(exposition(FakeApplication(progress=progress)))

    assert found["spark_streaming_retainedCompletedBatches", ""] == 2
    assert found["millstream_batch_total_delay_ms_count", ""] == 5
    assert found["millstream_input_records_total", "0,lines [0]"] == 50


def test_the_newest_batch_is_told_of() -> None:
    """Of all that are known, whether it has begun or not."""
    assert (
        values(exposition(after()))["spark_streaming_lastReceivedBatch_records", ""]
        == 0
    )
    found = values(exposition(after(batch(2000, records=3), batch(1000, records=9))))

    assert found["spark_streaming_lastReceivedBatch_records", ""] == 3
    assert found["spark_streaming_lastReceivedBatch_submissionTime_ms", ""] == 2000


def test_failed_batches_are_counted() -> None:
    """An alert can be made of it."""
    found = values(exposition(after(batch(1000), batch(2000, failure="ValueError"))))

    assert found["millstream_failed_batches_total", ""] == 1


def test_a_gauge_that_nobody_knows_comes_too() -> None:
    """Without words, but not left out."""
    application = FakeApplication(values={"millstream.new.thingCount": 4})

    assert values(exposition(application)) == {("millstream_new_thing_count", ""): 4}


def test_nothing_is_in_the_librarys_global_registry() -> None:
    """A program's own metrics, and where it shows them, are its own."""
    before = {each.name for each in REGISTRY.collect()}
    exposition(after(batch(1000)))

    assert {each.name for each in REGISTRY.collect()} == before


def test_the_content_type_is_the_librarys() -> None:
    """Of the text format that it writes."""
    assert CONTENT_TYPE == CONTENT_TYPE_LATEST


def queries() -> list[str]:
    """Return the queries of the dashboard's panels and variables."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    found = [
        target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    return found + [str(each["query"]) for each in board["templating"]["list"]]


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Each name of a metric in its queries is one that `exposition` has."""
    known = {name for each in MEASURES for name in exposed_names(each)}
    asked = {
        name
        for query in queries()
        for name in re.findall(r"\b(?:spark_streaming|millstream)_\w+", query)
    }

    assert len(asked) >= 15, "it shows more than a handful"
    assert asked <= known


def test_the_dashboard_has_a_panel_in_each_place() -> None:
    """Panels have titles and units, ids of their own, and don't lie on each other."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    places = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert len({each["id"] for each in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_page_describes_every_metric() -> None:
    """The table in docs/monitoring.md is what the code says."""
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    kinds = {Kind.GAUGE: "gauge", Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram"}

    for each in MEASURES:
        name = f"{each.name}_total" if each.kind is Kind.COUNTER else each.name
        gauge = "" if each.kind is Kind.HISTOGRAM else f"`{each.gauge}`"
        row = f"| `{name}` | {gauge} | {kinds[each.kind]} | {each.unit} | {each.meaning} |"
        assert row in rows
