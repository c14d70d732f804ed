"""The dashboard for Grafana, held against Grafana's own types and a real Prometheus.

The Prometheus is Debian's package `prometheus`; where it isn't, its tests are skipped, as
is the one of types where the package `grafana-foundation-sdk` isn't.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest
import yaml
from tests.engine.observe.observed import Numbers, Quiet
from tests.integration.servers.ports import free_port

from millstream.engine.observe.prometheus import exposition
from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "millstream.json").read_text("utf-8"))
MONITORING = ROOT / "docs" / "monitoring.md"

_PROMETHEUS = shutil.which("prometheus")
_PROMTOOL = shutil.which("promtool")
_LIMIT_S = 30.0
_NO_PACKAGE = "needs Debian's package `prometheus`"
needs_prometheus = pytest.mark.skipif(_PROMETHEUS is None, reason=_NO_PACKAGE)
needs_promtool = pytest.mark.skipif(_PROMTOOL is None, reason=_NO_PACKAGE)


# Types.


def test_grafana_knows_every_key_of_the_dashboard() -> None:
    """Read into Grafana's own types and written again, nothing of it is missing."""
    reason = "needs the package `grafana-foundation-sdk`"
    dashboard = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason=reason
    )
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins.register_default_plugins()

    def again(board: dict[str, Any]) -> Any:
        read = dashboard.Dashboard.from_json(board)
        return json.loads(encoder.JSONEncoder().encode(read))

    wrong = json.loads(json.dumps(BOARD))
    wrong["panels"][1]["fieldConfig"]["defaults"]["units"] = "ms"
    assert missing(wrong, again(wrong)) == ["/panels/1/fieldConfig/defaults/units"]
    assert missing(BOARD, again(BOARD)) == []


def missing(wanted: Any, found: Any, at: str = "") -> list[str]:
    """Return the paths of what isn't found, or is another value."""
    match wanted, found:
        case dict(), dict():
            return [
                path
                for key, each in wanted.items()
                for path in missing(each, found.get(key), f"{at}/{key}")
            ]
        case list(), list() if len(wanted) == len(found):
            return [
                path
                for number, pair in enumerate(zip(wanted, found, strict=True))
                for path in missing(*pair, f"{at}/{number}")
            ]
        case _:
            return [] if wanted == found else [at]


# A running stream, scraped by a real Prometheus.


class Prometheus:
    """A server that runs."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Say whether it answers."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now; raise when it doesn't parse."""
        found = self._get("query", query=expression)
        assert found["resultType"] in {"vector", "scalar"}
        series: list[dict[str, Any]] = found["result"]
        return series

    def values_of(self, metric: str, label: str) -> set[str]:
        """Return what values a label of a metric has."""
        found = self._get("series", **{"match[]": metric})
        return {each[label] for each in found}

    def _get(self, what: str, **given: str) -> Any:
        address = f"{self._url}/api/v1/{what}?{urlencode(given)}"
        with urlopen(address, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a page often."""
    assert _PROMETHEUS is not None, "tests without it are skipped"
    port = free_port()
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [
            {"job_name": "millstream", "static_configs": [{"targets": [target]}]}
        ],
    }
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                _PROMETHEUS,
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(port)
    try:
        until_s = time.monotonic() + _LIMIT_S
        while not server.is_ready():
            assert process.poll() is None, (directory / "prometheus.log").read_text()
            assert time.monotonic() < until_s, "it doesn't become ready"
            threading.Event().wait(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _count(_: str, value: int | None, state: State) -> Any:
    state.update((state.getOption() or 0) + (value or 0))
    return state.get()


@contextmanager
def running(directory: Path) -> Iterator[StreamHarness]:
    """Run a stream, with its page, that has something for every panel."""

    def set_up(h: StreamHarness) -> None:
        pairs = h.stream([["a", "b"]]).map(lambda word: (word, 1))
        h.collect(pairs.mapWithState(StateSpec.function(_count)), "counts")
        direct: Any = h.ssc.directStream(Numbers())
        direct._operator.rate = 100.0
        h.collect(direct, "numbers")
        h.collect(h.ssc.receiverStream(Quiet()), "received")

    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
        "spark.streaming.receiver.maxRate": "50",
    }
    checkpoint = str(directory / "checkpoint")
    with StreamHarness(checkpoint=checkpoint, conf=conf, setup=set_up) as h:
        h.run()
        yield h


@dataclass(frozen=True)
class Asked:
    """One expression of a panel."""

    panel: str
    expression: str
    """With what Grafana puts in for variables."""
    labels: frozenset[str]
    """Of its legend."""


ASKED = [
    Asked(
        panel["title"],
        target["expr"].replace("$app", ".*").replace("$__rate_interval", "1m"),
        frozenset(re.findall(r"{{(\w+)}}", target["legendFormat"])),
    )
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
]


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_has_what_each_panel_asks_for(tmp_path: Path) -> None:
    """Of a stream that runs: every expression parses and has series, with its legend."""
    with running(tmp_path) as h:
        url = h.sc.uiWebUrl
        assert url is not None, "the page is on"
        with prometheus(tmp_path, urlsplit(url).netloc) as server:
            _run_until_scraped(h, server)
            found = {each: server.ask(each.expression) for each in ASKED}
            applications = server.values_of(*_variable())
            id_ = h.sc.applicationId
    empty = [each for each, series in found.items() if not series]
    nameless = [
        each
        for each, series in found.items()
        if any(not each.labels <= one["metric"].keys() for one in series)
    ]
    (rates,) = [s for each, s in found.items() if each.panel == "Input rate by source"]

    assert empty == []
    assert nameless == []
    assert applications == {id_}
    assert any(float(each["value"][1]) > 0 for each in rates)


def _variable() -> tuple[str, str]:
    """Return the metric and the label of which the dashboard's variable has the values."""
    query = next(e["query"] for e in BOARD["templating"]["list"] if e["name"] == "app")
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert found is not None, query
    return found[1], found[2]


def _run_until_scraped(h: StreamHarness, server: Prometheus) -> None:
    """Run batches until Prometheus has seen some of them come and go."""
    until_s = time.monotonic() + _LIMIT_S
    seen = "changes(spark_streaming_totalCompletedBatches_total[1m]) >= 2"
    while not server.ask(seen):
        assert time.monotonic() < until_s, "it hasn't scraped the page"
        h.run()
        threading.Event().wait(0.1)


# What the documents say.


@pytest.mark.slow
@needs_promtool
def test_promtool_complains_of_names_only(tmp_path: Path) -> None:
    """Spark's are written as Spark has them, and times are in ms, as Spark's are."""
    with running(tmp_path) as h:
        text = exposition(h.sc._observers.application)
    told = _promtool("check", "metrics", given=text)
    complaints = [line.split(" ", 1) for line in told.stderr.splitlines() if line]
    camel = "metric names should be written in 'snake_case' not 'camelCase'"
    units = "metric names should not contain abbreviated units"

    assert told.returncode in {0, 3}, told.stderr  # 3: nothing but complaints of style.
    assert {what for _, what in complaints} <= {camel, units}
    assert all(n.startswith("spark_streaming_") for n, w in complaints if w == camel)
    assert all(re.search("_ms(_total)?$", n) for n, w in complaints if w == units)


@needs_promtool
@pytest.mark.parametrize(
    ("key", "command"), [("groups", "rules"), ("scrape_configs", "config")]
)
def test_promtool_takes_what_the_page_says_to_write(
    tmp_path: Path, key: str, command: str
) -> None:
    """Alerts, and how to scrape."""
    blocks = re.findall(r"```yaml\n(.*?)```", MONITORING.read_text("utf-8"), re.DOTALL)
    (block,) = [each for each in blocks if each.startswith(f"{key}:")]
    file = tmp_path / "prometheus.yml"
    file.write_text(block)
    told = _promtool("check", command, str(file))

    assert told.returncode == 0, told.stdout + told.stderr
    assert "SUCCESS" in told.stdout


def _promtool(*args: str, given: bytes = b"") -> "subprocess.CompletedProcess[str]":
    assert _PROMTOOL is not None, "tests without it are skipped"
    return subprocess.run(
        [_PROMTOOL, *args],
        input=given.decode(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
