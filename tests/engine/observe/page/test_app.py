"""The page answers at each of its addresses, shows what is true, and gives nothing away."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from tests.engine.observe.observed import FACTS, FakeApplication, FakeControl, batch

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.extras import needed
from millstream.engine.columnar.reports import StageReport, StepFate
from millstream.engine.jobs.book import JobRecord, StageOperator, StageRecord
from millstream.engine.jobs.task_log import TaskLog, TaskStatus, Traffic
from millstream.engine.observe import prometheus
from millstream.engine.observe.application import StoredRdd
from millstream.engine.observe.control import Action
from millstream.engine.observe.page.app import make_app
from millstream.engine.observe.page.openapi import document
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchStarted,
    BatchSubmitted,
    OutputOperationInfo,
    ReceiverError,
    ReceiverInfo,
    StreamingStarted,
)
from millstream.running import RunningApplication

API = "/api/v1/applications/local-1"
ADDRESSES = [
    "/streaming/",
    "/streaming/batch/?id=2000",
    "/jobs/",
    "/jobs/job/?id=1",
    "/stages/",
    "/stages/stage/?id=1",
    "/storage/",
    "/environment/",
]


@dataclass
class Busy(FakeApplication):
    """An application with jobs, stages and kept RDDs."""

    known_stages: list[StageRecord] = field(default_factory=list)
    kept: list[StoredRdd] = field(default_factory=list)

    def stages(self) -> list[StageRecord]:
        return self.known_stages

    def stored(self) -> list[StoredRdd]:
        return self.kept


def ask(application: Any, address: str, **options: Any) -> httpx.Response:
    """Return the page's answer."""
    app = make_app(application, clock=ManualClock(10_000), control=FakeControl())

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost:4040"
        ) as client:
            return await client.request(
                options.pop("method", "GET"), address, **options
            )

    return asyncio.run(get())


def text(answer: httpx.Response) -> str:
    """Return what a reader sees of a page, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def busy() -> Busy:
    """Return an application with a stream: a batch good, one failed, one running."""
    progress = StreamProgress(1000)
    progress.on_event(StreamingStarted(1000))
    failure = (
        "An exception was raised by Python:\nTraceback (most recent call last):\n"
        '  File "app.py", line 3, in tell\nValueError: <no>\n'
        "(in output operation print at app.py:3, batch 2000 ms)"
    )
    progress.on_event(BatchCompleted(batch(1000)))
    progress.on_event(BatchCompleted(batch(2000, failure=failure)))
    progress.on_event(BatchStarted(replace(batch(3000), processing_end_ms=None)))
    progress.on_event(
        BatchSubmitted(
            replace(batch(4000), processing_start_ms=None, processing_end_ms=None)
        )
    )
    progress.on_event(
        ReceiverError(
            ReceiverInfo(
                0,
                "Lines-0",
                active=True,
                location="host",
                executor_id="driver",
                last_error_message="dropped",
                last_error="x" * 200,
                last_error_time_ms=1,
            )
        )
    )
    job = JobRecord(
        1, "collect at app.py:9", None, frozenset(), "the first", "2000", "0"
    )
    job.status, job.ended_ms, job.stage_ids = "SUCCEEDED", 40, [1, 2]
    tasks = TaskLog()
    tasks.end(0, 0, TaskStatus.FAILED, 0.1, error="ValueError: <no>")
    tasks.end(0, 1, TaskStatus.SUCCESS, 0.25, Traffic(10, 20, 3, 4))
    fate = StepFate("map", rows=1, reasons=Counter({"a <lambda>": 1}))
    shuffle = StageOperator(8, "Shuffled", "app.py:8", (7,))
    stages = [
        StageRecord(
            2, 1, "collect", 1, completed_count=1, ended_ms=40, operators=(shuffle,)
        ),
        StageRecord(
            1,
            1,
            "shuffle",
            2,
            completed_count=2,
            ended_ms=30,
            operators=(StageOperator(7, "map", "app.py:7", ()), shuffle),
            report=StageReport({(7, "map"): fate}),
            task_s=0.3,
            longest_task_s=0.25,
            tasks=tasks,
        ),
    ]
    return Busy(
        progress=progress,
        known_jobs=[job],
        known_stages=stages,
        done=[Action("pause <batches>", "192.0.2.7", 5000)],
        kept=[StoredRdd(3, "doubled", "Memory", 4, 2, 2048, 0, "map at app.py:5")],
        values={
            "millstream.receiver.0.rateLimit": 250,
            "millstream.heldBackBatches": 2,
        },
    )


@pytest.mark.parametrize("address", ["/streaming/", "/jobs/"])
def test_what_was_done_is_listed_where_one_looks_for_it(address: str) -> None:
    """With or without a stream; nothing is shown where nothing was done."""
    quiet = busy()
    quiet.done = []
    shown = ask(busy(), address)
    hidden = re.search(r'<section id="actions"[^>]*>', ask(quiet, address).text)

    assert "What was done from the page (1)" in text(shown)
    assert "pause &lt;batches&gt; 192.0.2.7" in text(shown)
    assert hidden is not None
    assert hidden.group().endswith(" hidden>")


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_is_strict_about_what_it_loads(address: str) -> None:
    """No script or style in the document, nothing from another host, no form, no frame."""
    answer = ask(busy(), address)
    policy = answer.headers["content-security-policy"]

    assert answer.status_code == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(
        r"<script(?![^>]*src=\"/static/)|<style|style=|\son\w+=", answer.text
    )
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)


@pytest.mark.parametrize("address", [*ADDRESSES, f"{API}/jobs", "/streaming/news"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(address: str, method: str) -> None:
    """Without a token, and the answer says why."""
    answer = ask(busy(), address, method=method)

    assert answer.status_code == 403
    assert "read-only" in answer.json()["error"]


def test_a_name_that_points_here_from_elsewhere_is_refused() -> None:
    """So a site that somebody visits can't read the page through it."""
    answer = ask(busy(), "/jobs/", headers={"host": "evil.example:4040"})

    assert answer.status_code == 400
    assert "no such name: 'evil.example:4040'" in answer.json()["error"]
    assert "spark.millstream.ui.host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:1", "[::1]:4040", "[::1]"])
def test_this_machines_names_are_known(host: str) -> None:
    """In either version of the protocol, with and without a port."""
    assert ask(busy(), "/jobs/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "::1", "[::1", "localhost:x", "a@localhost"])
def test_what_is_no_name_is_refused(host: str) -> None:
    """Whatever is in it."""
    assert ask(busy(), "/jobs/", headers={"host": host}).status_code == 400


def test_the_address_alone_leads_to_what_there_is() -> None:
    """The stream, or the jobs of a program without one, which has no tab of streams."""
    with_stream, without = ask(busy(), "/"), ask(Busy(), "/")

    assert with_stream.headers["location"] == "/streaming/"
    assert without.headers["location"] == "/jobs/"
    assert 'href="/streaming/"' not in ask(Busy(), "/jobs/").text
    assert "No stream has started" in ask(Busy(), "/streaming/").text


def test_the_overview_has_sparks_words_and_ids() -> None:
    """Who knows Spark's tab finds everything."""
    answer = ask(busy(), "/streaming/")
    seen = text(answer)

    assert "<title>Streaming Statistics" in answer.text
    assert "Running batches of 1 second for 9 seconds since" in seen
    assert "( 2 completed batches , 20 records )" in seen
    assert "Timelines (Last 4 batches, 2 active, 2 completed)" in seen
    for chart in (
        "all-stream-records",
        "scheduling-delay",
        "processing-time",
        "total-delay",
    ):
        assert f'id="{chart}-timeline"' in answer.text
        assert f'id="{chart}-histogram"' in answer.text
    assert 'id="stat-table"' in answer.text
    order = ["Failed Batches (1)", "Running Batches (1)", "Waiting Batches (1)"]
    order.append("Completed Batches (last 2 out of 2)")
    places = [answer.text.index(f"<h2>{each}</h2>") for each in order]
    assert places == sorted(places)


def test_the_overview_tells_how_far_behind_the_stream_is() -> None:
    """The oldest unfinished batch was submitted at 3000, two more are held back."""
    seen = text(ask(busy(), "/streaming/"))

    assert "How far behind now 9.0 s" in seen
    assert (
        "Held-back batches 2 as many wait as spark.millstream.waitingBatches.max"
        in seen
    )
    assert "Input limit 250 records/s" in seen


def test_a_receivers_error_is_cut_and_told() -> None:
    """At 100 characters, as in Spark."""
    seen = text(ask(busy(), "/streaming/"))

    assert "Lines-0" in seen
    assert "ACTIVE" in seen
    assert "driver / host" in seen
    assert "dropped - " + "x" * 87 + "..." in seen


def test_a_batch_shows_inputs_jobs_operators_failure_and_how_to_run_it_again() -> None:
    """All that is known of it."""
    answer = ask(busy(), "/streaming/batch/?id=2000")
    seen = text(answer)

    assert "Failed due to error: ValueError: &lt;no&gt;" in seen
    assert "File &#34;app.py&#34;, line 3, in tell" in seen
    assert "Lines-0 10 records some lines" in seen
    assert "millstream replay --batch 2000 app.py" in seen
    assert 'href="/jobs/job/?id=1"' in answer.text
    assert "Stage 1 2/2 tasks" in seen
    assert "rows: a &lt;lambda&gt;" in seen
    assert answer.text.count('class="line shuffle"') == 1
    assert "Completed Stages (2)" in seen
    assert "2/2 150 ms 250 ms 0 of 1 by columns" in seen


def test_a_batch_that_isnt_done_is_shown_as_far_as_it_is() -> None:
    """What isn't known yet is a dash; the page looks again by itself."""
    application = busy()
    assert application.progress is not None
    outputs = {
        0: OutputOperationInfo(5000, 0, "first", "first", 1),
        1: OutputOperationInfo(5000, 1, "second", "second"),
    }
    info = replace(batch(5000), processing_end_ms=None, outputs=outputs, inputs={})
    application.progress.on_event(BatchStarted(info))
    answer = ask(application, "/streaming/batch/?id=5000")
    seen = text(answer)

    assert "Status processing" in seen
    assert "Total delay -" in seen
    assert "first first - running" in seen
    assert "second second - queued" in seen
    assert "Input Metadata" not in seen
    assert 'data-page="listed"' in answer.text
    assert "Status queued" in text(ask(application, "/streaming/batch/?id=4000"))


def test_the_name_of_the_program_is_in_the_command() -> None:
    """Quoted where a shell needs it."""
    application = busy()
    application.facts = replace(FACTS, environment={"Python": {"program": "my app.py"}})

    seen = ask(application, "/streaming/batch/?id=1000").text

    assert "--batch 1000 &#39;my app.py&#39;" in seen


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("/streaming/batch/", 400, "Missing id parameter"),
        ("/streaming/batch/?id=7", 404, "Batch 7 does not exist"),
        ("/streaming/batch/?id=<b>", 404, "Batch &lt;b&gt; does not exist"),
        ("/jobs/job/", 400, "Missing id parameter"),
        ("/jobs/job/?id=x", 404, "Job x does not exist"),
        ("/nowhere", 404, "There is nothing at /nowhere"),
    ],
)
def test_what_isnt_there_is_told(address: str, status: int, message: str) -> None:
    """In the page's own words, and safely."""
    answer = ask(busy(), address)

    assert answer.status_code == status
    assert message in answer.text


@pytest.mark.slow
def test_ten_thousand_batches_are_shown_a_page_at_a_time() -> None:
    """Sorted by what is asked for."""
    application = busy()
    application.done = []
    application.progress = progress = StreamProgress(100, retained_max=10_000)
    for number in range(10_000):
        progress.on_event(BatchCompleted(batch(number * 100, took=number % 977)))
    query = "completedBatches.sort=Processing+Time&completedBatches.desc=true"
    answer = ask(application, f"/streaming/?{query}")
    rows = re.findall(r"<tr>.*?</tr>", answer.text.split('id="completedBatches"')[1])

    assert len(rows) == 50
    assert "976 ms" in rows[0]
    assert "Page 1 of 200" in answer.text
    assert 'data-live="false"' in answer.text.split('id="completedBatches"')[1][:200]


def test_a_stage_shows_its_tasks() -> None:
    """A summary, a time line that is read aloud, and a row for each attempt."""
    answer = ask(busy(), "/stages/stage/?id=1")
    seen = text(answer)

    assert "Records In 10 10 10 10 10" in seen
    assert 'aria-label="driver: 1 failed, 1 succeeded; longest 250 ms"' in answer.text
    assert "<title>partition 0, attempt 1: succeeded, 250 ms</title>" in answer.text
    assert "0 0 driver failed, tried again" in seen
    assert "ValueError: &lt;no&gt;" in seen
    assert "250 ms 10 20 B 3 4 B" in seen
    assert 'href="/stages/stage/?id=1"' in ask(busy(), "/stages/").text


def test_jobs_stages_and_kept_rdds_have_pages() -> None:
    """For programs without a stream."""
    application = busy()

    assert "the first" in text(ask(application, "/jobs/"))
    assert "Job 1" in text(ask(application, "/jobs/job/?id=1"))
    assert "0 of 1 by columns" in text(ask(application, "/stages/"))
    assert "doubled map at app.py:5 Memory 2/4 2.0 KiB 0 B" in text(
        ask(application, "/storage/")
    )
    assert "No RDD is kept" in text(ask(Busy(), "/storage/"))
    assert "spark.app.name" in text(ask(application, "/environment/"))


def test_a_program_of_rdds_is_shown_as_it_is_without_its_secrets() -> None:
    """A live context: jobs, operators, what is kept, settings."""
    conf = SparkConf().setMaster("local[2]").setAppName("plain")
    conf.set("spark.ui.enabled", "false").set("spark.my.password", "hunter2")
    with SparkContext(conf=conf) as sc:
        kept = sc.parallelize(range(100), 4).map(lambda n: (n % 3, n)).cache()
        kept.setName("pairs")
        kept.reduceByKey(lambda a, b: a + b).collect()
        application = RunningApplication(sc)
        storage, environment, job = (
            text(ask(application, each))
            for each in ("/storage/", "/environment/", "/jobs/job/?id=0")
        )
        (stored,) = application.stored()
        del kept

    assert (stored.stored_count, stored.partition_count) == (4, 4)
    assert stored.memory_bytes > 0
    assert "pairs" in storage
    assert "hunter2" not in environment
    assert "spark.my.password ********" in environment
    assert "Stage 0 4/4 tasks" in job
    assert "reduceByKey" in job or "Shuffled" in job


# REST.


def described(path: str) -> Mapping[str, Any]:
    """Return the schema of what a path answers."""
    schema: Mapping[str, Any] = document()["paths"][path]["get"]["responses"]["200"][
        "content"
    ]["application/json"]["schema"]
    return schema


def check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Check an answer against its schema: no field too few, none too many."""
    if "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    kinds: dict[str, Any] = {
        "integer": int,
        "number": (int, float),
        "string": str,
        "boolean": bool,
    }
    match schema["type"]:
        case "array":
            for each in value:
                check(each, schema["items"], where)
        case "object" if "properties" in schema:
            assert set(schema["required"]) <= set(value) <= set(schema["properties"]), (
                where
            )
            for key, each in value.items():
                check(each, schema["properties"][key], f"{where}.{key}")
        case "object":
            assert isinstance(value, dict), where
        case kind:
            assert isinstance(value, kinds[kind]), where


@pytest.mark.parametrize(
    "path", [path for path, told in document()["paths"].items() if "get" in told]
)
def test_every_path_answers_as_it_is_described(path: str) -> None:
    """The OpenAPI document is true."""
    filled = path
    for name, value in (
        ("app", "local-1"),
        ("job", "1"),
        ("stage", "1"),
        ("attempt", "0"),
        ("input", "0"),
        ("batch", "2000"),
        ("output", "0"),
        ("executor", "driver"),
    ):
        filled = filled.replace(f"{{{name}}}", value)
    (server,) = document()["paths"][path].get("servers", document()["servers"])
    answer = ask(busy(), f"{server['url'].rstrip('/')}{filled}")

    assert answer.status_code == 200
    assert answer.json()
    check(answer.json(), described(path), path)


def test_the_description_is_served() -> None:
    """Where programs look for it."""
    answer = ask(busy(), "/api/v1/openapi.json")

    assert answer.json() == json.loads(json.dumps(document()))


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/applications/other",
        "/api/v1/applications/other/streaming/statistics",
        f"{API}/jobs/9",
        f"{API}/jobs/x",
        f"{API}/stages/9",
        f"{API}/stages/9/0/taskList",
        f"{API}/stages/1/1/taskList",
        f"{API}/stages/2/0/taskSummary",
        "/api/v1/applications/other/stages/1/0/taskList",
        f"{API}/streaming/receivers/9",
        f"{API}/streaming/batches/9",
        f"{API}/streaming/batches/9/operations",
        f"{API}/streaming/batches/2000/operations/9",
    ],
)
def test_what_isnt_known_is_404(path: str) -> None:
    """And the answer says what."""
    answer = ask(busy(), path)

    assert answer.status_code == 404
    assert answer.json()["error"].startswith("unknown ")


def test_without_a_stream_its_paths_are_404() -> None:
    """The rest answers."""
    assert ask(Busy(), f"{API}/streaming/statistics").status_code == 404
    assert ask(Busy(), f"{API}/jobs").json() == []


@pytest.mark.parametrize("path", ["jobs", "stages", "streaming/batches"])
def test_a_status_that_there_isnt_is_400(path: str) -> None:
    """As in Spark; the answer says which there are."""
    answer = ask(busy(), f"{API}/{path}?status=odd")

    assert answer.status_code == 400
    assert re.fullmatch(
        r"status is one of \w+, .*, not '?ODD'?", answer.json()["error"]
    )


def test_answers_are_chosen_by_status() -> None:
    """Several may be asked for."""
    application = busy()
    batches = ask(
        application, f"{API}/streaming/batches?status=queued&status=processing"
    ).json()

    assert [each["batchId"] for each in batches] == [4000, 3000]
    assert ask(application, f"{API}/jobs?status=running").json() == []
    assert len(ask(application, f"{API}/stages?status=complete").json()) == 2


def test_what_was_done_is_answered_newest_first() -> None:
    """Without a token: it is reading."""
    application = busy()
    application.done.insert(0, Action("kill job 3", "192.0.2.8", 6000))
    (newest, oldest) = ask(application, f"{API}/actions").json()

    assert newest == {
        "time": "1970-01-01T00:00:06.000GMT",
        "what": "kill job 3",
        "by": "192.0.2.8",
    }
    assert oldest["what"] == "pause <batches>"


def test_an_operation_names_the_jobs_it_ran() -> None:
    """By the properties that they ran with."""
    (operation,) = ask(busy(), f"{API}/streaming/batches/2000/operations").json()

    assert operation["jobIds"] == [1]


# Probes.

FROM_ONE_ON = "is a whole number from 1 on"


@pytest.mark.parametrize(
    ("address", "status", "answer"),
    [
        ("/healthz", 200, {"live": True, "reasons": []}),
        ("/healthz?busy=60", 200, {"live": True, "reasons": []}),
        (
            "/healthz?busy=5",
            503,
            {
                "live": False,
                "reasons": [
                    "making batches hangs: at the same for 6 seconds, more than 5 seconds"
                ],
            },
        ),
        ("/readyz", 200, {"ready": True, "reasons": []}),
        (
            "/readyz?behind=8",
            503,
            {
                "ready": False,
                "reasons": [
                    (
                        "batches are 9 seconds behind, more than 8 intervals of 1 "
                        "second: 1 wait, 1 run, 2 are held back"
                    )
                ],
            },
        ),
        ("/readyz?behind=x", 400, {"error": f"behind {FROM_ONE_ON}, not 'x'"}),
        ("/readyz?behind=0", 400, {"error": f"behind {FROM_ONE_ON}, not '0'"}),
        ("/healthz?busy=-1", 400, {"error": f"busy {FROM_ONE_ON}, not '-1'"}),
        ("/healthz?busy=", 400, {"error": f"busy {FROM_ONE_ON}, not ''"}),
    ],
)
def test_probes_are_answered_by_status_and_reason(
    address: str, status: int, answer: Mapping[str, Any]
) -> None:
    """The limits are the asker's; nobody on the way may keep an answer."""
    application = busy()
    application.values["millstream.generator.busyMs"] = 6000
    got = ask(application, address)

    assert (got.status_code, got.json()) == (status, answer)
    assert got.headers["cache-control"] == "no-store"


def test_what_a_failed_probe_answers_is_described() -> None:
    """Like a good one."""
    for path in ("/healthz", "/readyz"):
        responses = document()["paths"][path]["get"]["responses"]
        assert responses["503"]["content"] == responses["200"]["content"]


# Metrics.


def test_metrics_are_prometheus_own() -> None:
    """In its format."""
    answer = ask(busy(), "/metrics")

    assert answer.headers["content-type"] == prometheus.CONTENT_TYPE
    assert "# TYPE" in answer.text


def test_without_prometheus_client_metrics_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest of the page goes on."""

    def missing(_: Any) -> bytes:
        needed("there_is_no_such_module", "ui", "/metrics")
        return b""

    monkeypatch.setattr(prometheus, "exposition", missing)
    answer = ask(busy(), "/metrics")

    assert answer.status_code == 501
    assert "pip install 'millstream[ui]'" in answer.text


# What the pages are made of.


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("page.js", "text/javascript"),
        ("page.css", "text/css"),
        ("uplot.js", "text/javascript"),
        ("uplot.css", "text/css"),
        ("uplot.LICENSE", "text/plain"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_what_pages_load_is_served(file: str, kind: str) -> None:
    """With its type, which the browser is told to believe."""
    answer = ask(busy(), f"/static/{file}")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.content


@pytest.mark.parametrize("path", ["README.md", "../app.py", "%2e%2e/app.py", "nothing"])
def test_nothing_else_is_served(path: str) -> None:
    """Whatever is asked for."""
    assert ask(busy(), f"/static/{path}").status_code == 404
