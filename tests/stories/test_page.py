"""Stories of somebody who looks at the page, in a real browser.

Screenshots are kept below MILLSTREAM_SCREENSHOTS, else with the test's temporary files.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.engine.observe.observed import FakeApplication, batch

from millstream.engine.base.errors import OutputOperationError
from millstream.engine.observe.page.server import PageServer
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import BatchCompleted, StreamingStarted
from millstream.testing import StreamHarness

pytest.importorskip("playwright", reason="playwright isn't installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH"),
]

CHARTS = ["all-stream-records", "scheduling-delay", "processing-time", "total-delay"]
PAINTED = """id => {
    const canvas = document.querySelector(`#${id} canvas`);
    if (!canvas || !canvas.width) return 0;
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return pixels.data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Look = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root can't have the sandbox.
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Look]:
    """Return what opens an address; afterwards no page may have complained of anything."""
    contexts: list[Any] = []
    complaints: list[str] = []
    hosts: set[str] = set()

    def open_page(url: str, *, width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda told: complaints.append(told.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(url)
        return page

    yield open_page
    for each in contexts:
        each.close()

    assert complaints == []
    assert len(hosts) <= 1, "something loads from another host"


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Any, str], None]:
    """Return what keeps a screenshot."""
    directory = Path(os.environ.get("MILLSTREAM_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)

    def shoot(page: Any, name: str) -> None:
        # Written here: playwright would leave a thread behind.
        (directory / f"{name}.png").write_bytes(page.screenshot(full_page=True))

    return shoot


def odd_one(_: Any) -> None:
    """Fail."""
    msg = "a batch nobody likes"
    raise ValueError(msg)


def until(page: Any, condition: str) -> None:
    """Wait until a condition holds in the page; the policy forbids that it asks itself."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never came true: {condition}")


@contextmanager
def running() -> Iterator[tuple[StreamHarness, str]]:
    """Run a stream that counts words, whose page is on; the fifth batch fails."""

    def tell(time_ms: int, rdd: Any) -> None:
        if time_ms == 5000:
            odd_one(rdd)
        rdd.collect()

    conf = {"spark.ui.enabled": "true", "spark.ui.port": "0"}
    # Few records go by rows, whatever the environment asks for.
    conf["spark.millstream.columnar.rows.min"] = "2001"
    with StreamHarness(conf=conf) as h:
        words = h.stream([["to be or not"] * (n % 7 + 1) for n in range(40)])
        counts = words.flatMap(str.split).map(lambda word: (word, 1))
        counts.reduceByKey(lambda a, b: a + b)._output(tell, "tell")
        h.run(4)
        with pytest.raises(OutputOperationError, match="a batch nobody likes"):
            h.run(1)
        h.run(5)
        assert h.sc.uiWebUrl is not None
        yield h, h.sc.uiWebUrl


@contextmanager
def remembered(count: int) -> Iterator[tuple[StreamProgress, FakeApplication, str]]:
    """Serve a stream that remembers so many batches, each slower than the one before."""
    progress = StreamProgress(1000, retained_max=count)
    progress.on_event(StreamingStarted(1000))
    for number in range(1, count + 1):
        failure = "Traceback:\nKeyError: 'x'" if number % 50 == 7 else None
        info = batch(number * 1000, records=number, took=number, failure=failure)
        progress.on_event(BatchCompleted(info))
    application = FakeApplication(progress=progress, version=1)
    server = PageServer(application, port=0)
    server.start()
    try:
        assert server.url is not None
        yield progress, application, server.url
    finally:
        server.stop()


def cells(page: Any, table: str, column: int) -> list[str]:
    """Return the texts of a table's column."""
    texts: list[str] = page.locator(
        f"#{table} tbody tr td:nth-child({column})"
    ).all_text_contents()
    return texts


def test_charts_draw_and_go_on_while_batches_come(
    look: Look, keep: Callable[[Any, str], None]
) -> None:
    """Numbers, lines and rows follow the stream, without loading the page again."""
    with running() as (h, url):
        page = look(f"{url}/streaming/")
        page.wait_for_selector("#total-delay-histogram canvas")
        for chart in CHARTS:
            for part in ("timeline", "histogram"):
                assert page.evaluate(PAINTED, f"{chart}-{part}") > 500, chart
        page.evaluate("window.isTheSame = true")
        h.run(3)
        until(
            page,
            "document.getElementById('completed-count').textContent === "
            "'13 completed batches'",
        )
        until(
            page,
            "document.querySelectorAll('#completedBatches tbody tr').length === 13",
        )
        first = page.locator("#completedBatches tbody a").first.get_attribute("href")
        keep(page, "streaming")

        assert first == "/streaming/batch/?id=13000"
        assert page.evaluate("series.points.length") == 13
        assert page.evaluate("window.isTheSame")
        assert page.inner_text("#connection") == "live"


def test_a_failure_is_found_and_its_cause_is_shown(
    look: Look, keep: Callable[[Any, str], None]
) -> None:
    """From the table of failed batches to the user's own line."""
    with running() as (_, url):
        page = look(f"{url}/streaming/")
        assert page.inner_text("#failedBatches h2") == "Failed Batches (1)"
        page.click("#failedBatches tbody summary")
        assert "odd_one" in page.inner_text("#failedBatches tbody pre")
        page.click("#failedBatches tbody a")
        page.wait_for_selector("pre.failure")
        keep(page, "failed-batch")

        assert "ValueError: a batch nobody likes" in page.inner_text("pre.failure")
        assert "test_page.py" in page.inner_text("pre.failure")
        assert "replay --batch 5000" in page.inner_text("#replay")


def test_a_batch_shows_its_operators(
    look: Look, keep: Callable[[Any, str], None]
) -> None:
    """Two stages, the shuffle between them, and how each step went."""
    with running() as (_, url):
        page = look(f"{url}/streaming/batch/?id=3000")
        keep(page, "batch")

        assert page.locator("#operator-graph .stage").count() == 2
        assert page.locator("#operator-graph .shuffle").count() == 1
        assert "rows" in page.inner_text("#steps")


def test_jobs_come_into_their_list_while_one_looks(look: Look) -> None:
    """The list loads itself again, and what is unfolded stays so."""
    with running() as (h, url):
        page = look(f"{url}/jobs/")
        before = page.inner_text("#completedJobs h2")
        h.run(1)
        until(
            page,
            f"document.querySelector('#completedJobs h2').textContent !== '{before}'",
        )


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")]
)
def test_a_stage_shows_where_and_when_its_tasks_ran(
    look: Look, keep: Callable[[Any, str], None], width: int, scheme: str
) -> None:
    """A bar a task, on the lane of its thread; a link leads there from each list."""
    with running() as (_, url):
        page = look(f"{url}/stages/", width=width, scheme=scheme)
        page.click("#completedStages tbody tr:last-child a >> nth=0")
        page.wait_for_selector("#task-time-line")
        bars = page.locator("#task-time-line .lane rect.success")
        sizes = [bars.nth(at).bounding_box() for at in range(bars.count())]
        tasks = len(cells(page, "tasks", 1))
        labels = page.locator("#task-time-line [role=img]").all()
        spoken = [each.get_attribute("aria-label") for each in labels]
        keep(page, f"stage-{width}-{scheme}")

        assert page.inner_text("h1") == "Stage 0"
        assert bars.count() == tasks > 0
        assert all(each and each["width"] > 0.5 for each in sizes)
        assert all(each and "succeeded; longest" in each for each in spoken)
        assert page.evaluate(OVERFLOW) <= 0


def test_tables_page_and_sort_with_the_keyboard(look: Look) -> None:
    """The focus stays on what was pressed."""
    with remembered(120) as (_, _application, url):
        page = look(f"{url}/streaming/")
        page.evaluate("window.isTheSame = true")
        newest = cells(page, "completedBatches", 1)
        page.focus("#completedBatches a[rel=next]")
        page.keyboard.press("Enter")
        until(
            page,
            "document.querySelector('#completedBatches .here').textContent "
            "=== 'Page 2 of 3'",
        )
        second = cells(page, "completedBatches", 1)
        assert page.evaluate("document.activeElement.textContent") == "Next"
        page.focus("#completedBatches th:nth-child(4) a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#completedBatches th[aria-sort=descending]")
        slowest = cells(page, "completedBatches", 4)
        page.keyboard.press("Enter")
        page.wait_for_selector("#completedBatches th[aria-sort=ascending]")
        fastest = cells(page, "completedBatches", 4)

        assert len(newest) == len(second) == 50
        assert not set(newest) & set(second)
        assert slowest[:2] == ["120 ms", "119 ms"]
        assert fastest[:2] == ["1 ms", "2 ms"]
        assert page.evaluate("window.isTheSame")


def test_a_sorted_table_keeps_its_rows_while_batches_come(look: Look) -> None:
    """Only its title says that there are more."""
    with remembered(60) as (progress, application, url):
        page = look(f"{url}/streaming/?completedBatches.sort=Records")
        page.wait_for_selector("canvas")
        before = cells(page, "completedBatches", 2)
        progress.on_event(BatchCompleted(batch(61_000)))
        application.version += 1
        until(
            page,
            "document.querySelector('#completedBatches h2').textContent.includes('of 61')",
        )

        assert cells(page, "completedBatches", 2) == before


def test_the_page_is_walked_by_tab(look: Look) -> None:
    """First past the header, then through it; where the focus is can be seen."""
    with remembered(5) as (_, _application, url):
        page = look(f"{url}/streaming/")
        page.keyboard.press("Tab")
        assert (
            page.evaluate("document.activeElement.textContent") == "Skip to the content"
        )
        walked = []
        for _step in range(4):
            page.keyboard.press("Tab")
            walked.append(page.evaluate("document.activeElement.textContent"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")

        assert walked == ["words", "Streaming", "Jobs", "Stages"]
        assert outline == "solid"


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_phone(
    look: Look, keep: Callable[[Any, str], None], width: int
) -> None:
    """Wide tables scroll by themselves."""
    with running() as (_, url):
        page = look(f"{url}/streaming/", width=width)
        page.wait_for_selector("#total-delay-histogram canvas")
        keep(page, f"streaming-{width}")
        for address in (
            "/streaming/",
            "/streaming/batch/?id=5000",
            "/jobs/",
            "/jobs/job/?id=1",
            "/stages/",
            "/stages/stage/?id=1",
            "/storage/",
            "/environment/",
        ):
            page.goto(f"{url}{address}")
            assert page.evaluate(OVERFLOW) <= 0, address


def test_at_night_the_page_is_dark(
    look: Look, keep: Callable[[Any, str], None]
) -> None:
    """And its charts follow when the evening comes."""
    drawn = "document.querySelector('#processing-time-timeline canvas').toDataURL()"
    ground = "getComputedStyle(document.body).backgroundColor"
    with remembered(60) as (_, _application, url):
        page = look(f"{url}/streaming/")
        page.wait_for_selector("#total-delay-histogram canvas")
        day, drawn_by_day = page.evaluate(ground), page.evaluate(drawn)
        page.emulate_media(color_scheme="dark")
        until(page, f"{drawn} !== '{drawn_by_day}'")
        night = page.evaluate(ground)
        keep(page, "streaming-dark")

        assert day == "rgb(255, 255, 255)"
        assert night == "rgb(18, 23, 30)"


def test_ten_thousand_batches_do_not_slow_the_page(look: Look) -> None:
    """A new batch is drawn within a quarter of a second, on a slow machine too."""
    with remembered(10_000) as (progress, application, url):
        page = look(f"{url}/streaming/")
        page.wait_for_selector("#total-delay-histogram canvas")
        assert page.evaluate("series.points.length") == 10_000
        progress.on_event(BatchCompleted(batch(10_001_000)))
        application.version += 1
        until(page, "series.points.at(-1)[0] === 10001000")
        took_ms = page.evaluate(
            "() => { const begin = performance.now(); drawCharts();"
            " return performance.now() - begin; }"
        )

        assert page.evaluate("series.points.length") == 10_000
        assert took_ms < 250


def test_a_tab_that_nobody_sees_is_told_nothing(look: Look) -> None:
    """And catches up when somebody looks again."""

    def turn(is_hidden: str) -> None:
        page.evaluate(
            "Object.defineProperty(document, 'hidden', "
            f"{{value: {is_hidden}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    with remembered(60) as (progress, application, url):
        page = look(f"{url}/streaming/")
        page.wait_for_selector("#connection.on")
        page.wait_for_selector("canvas")
        turn("true")
        assert page.inner_text("#connection") == "paused"
        progress.on_event(BatchCompleted(batch(61_000)))
        application.version += 1
        turn("false")
        page.wait_for_selector("#connection.on")
        until(page, "series.points.length === 60 && series.points[59][0] === 61000")

        keys = page.evaluate(
            "[...document.querySelectorAll('#completedBatches tbody tr')].map(keyOf)"
        )
        assert keys == list(range(61_000, 11_000, -1000))


def test_a_program_that_has_ended_is_shown_as_it_was(look: Look) -> None:
    """As `millstream ui` does, from an event log: the charts draw, nothing goes on."""
    with remembered(20) as (_, application, url):
        application.ended_ms = 30_000
        page = look(f"{url}/streaming/")
        page.wait_for_selector("#total-delay-histogram canvas")

        assert page.inner_text("#connection") == "ended"
        assert page.inner_text("#tile-behind") == "ended"


def test_when_the_program_ends_the_page_says_so(browser: Any) -> None:
    """What was shown last stays."""
    page = browser.new_page()
    with remembered(5) as (_, _application, url):
        page.goto(f"{url}/streaming/")
        page.wait_for_selector("#connection.on")
    page.wait_for_selector("#connection.off")

    assert page.inner_text("#connection").startswith("not connected")
    assert len(cells(page, "completedBatches", 1)) == 5
    page.close()
