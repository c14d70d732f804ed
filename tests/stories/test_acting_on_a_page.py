"""Stories of somebody who acts on a running program from its page, in a real browser."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from millstream.streaming.receiver import Receiver
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

TOKEN = "a-token-for-tests"
LIMIT_S = 20.0


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


@contextmanager
def looking(browser: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """Open a page, and list what it complains of."""
    complaints: list[str] = []
    context = browser.new_context(**options)
    page = context.new_page()
    page.on("console", lambda told: complaints.append(told.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page, complaints
    finally:
        context.close()


class Quiet(Receiver[str]):
    """Receives nothing."""

    def onStart(self) -> None:
        """Begin."""

    def onStop(self) -> None:
        """End."""


@contextmanager
def running(*, has_receiver: bool = False) -> Iterator[tuple[StreamHarness, str]]:
    """Run a stream whose page takes actions; time passes by itself."""
    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
        "spark.millstream.ui.token": TOKEN,
    }
    ended = threading.Event()
    with StreamHarness(conf=conf) as h:
        h.collect(h.stream([["a"], ["b"]]))
        if has_receiver:
            h.collect(h.ssc.receiverStream(Quiet()))
        h.run(2)

        def tick() -> None:
            while not ended.wait(0.01):
                h.clock.advance_ms(100)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            assert h.sc.uiWebUrl is not None
            yield h, h.sc.uiWebUrl
        finally:
            ended.set()
            thread.join(LIMIT_S)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_stream_is_stopped_by_clicks(browser: Any, scripts: bool) -> None:
    """Button, token, question, and it ends; without scripts, too."""
    with (
        running() as (h, url),
        looking(browser, java_script_enabled=scripts) as (page, complaints),
    ):
        page.goto(f"{url}/streaming/")
        page.click("text=Stop the stream…")
        page.fill("input[name=token]", TOKEN)
        page.click("button:has-text('Sign in')")
        assert page.inner_text("h1") == "Stop the stream?"
        assert h.ssc.getState().value == "ACTIVE"
        page.click("button:has-text('Stop the stream')")
        page.wait_for_selector("#stat-table")

        assert h.ssc.awaitTerminationOrTimeout(LIMIT_S)
        assert page.url == f"{url}/streaming/"
        assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_limit_is_set_and_removed_by_clicks_and_both_are_listed(
    browser: Any, scripts: bool
) -> None:
    """The button to remove it is there as long as it is."""
    with (
        running(has_receiver=True) as (h, url),
        looking(browser, java_script_enabled=scripts) as (page, complaints),
    ):
        page.goto(f"{url}/login/?token={TOKEN}")
        page.goto(f"{url}/streaming/")
        assert not page.is_visible("#actions")
        assert page.query_selector("text=Remove the limit") is None
        page.click("text=Limit Pluggable stream [1]…")
        page.fill("input[name=rate]", "50")
        page.click("button:has-text('Limit')")
        page.wait_for_selector("#actions:has-text('limit input 1 to 50 records/s')")
        assert h.ssc.metrics()["millstream.receiver.1.rateLimit"] == 50
        page.click("text=Remove the limit of Pluggable stream [1]…")
        assert page.inner_text("h1") == "Remove the limit of input 1?"
        page.click("button:has-text('Remove the limit')")
        page.wait_for_selector("#actions:has-text('remove the limit of input 1')")

        assert h.ssc.metrics()["millstream.receiver.1.rateLimit"] == -1
        assert page.query_selector("text=Remove the limit of Pluggable") is None
        rows = page.query_selector_all("#actions tbody tr")
        assert [
            each.query_selector("td:nth-child(2)").inner_text() for each in rows
        ] == [
            "remove the limit of input 1",
            "limit input 1 to 50 records/s",
        ]
        assert complaints == []


def test_what_somebody_else_does_comes_while_one_looks(browser: Any) -> None:
    """On the page of the stream, and on that of the jobs."""
    with running() as (h, url):
        for where in ("streaming", "jobs"):
            with looking(browser) as (page, complaints):
                page.goto(f"{url}/{where}/")
                page.wait_for_selector("#connection:has-text('live')")
                by = f"192.0.2.{len(where)}"
                h.sc._observers._control.pause_batches(by=by)
                page.wait_for_selector(f"#actions:has-text('{by}')")
                h.sc._observers._control.resume_batches(by=by)
                page.wait_for_selector("#actions:has-text('resume batches')")

                assert page.inner_text("#actions tr:nth-child(1) td:last-child") == by
                assert complaints == []


def test_batches_are_paused_with_the_keyboard_alone(browser: Any) -> None:
    """From the printed address on; each step has the focus where it is needed."""
    with running() as (h, url), looking(browser) as (page, complaints):
        page.goto(f"{url}/login/?token={TOKEN}")
        assert "token" not in page.url
        page.goto(f"{url}/streaming/")
        page.focus("text=Pause batches…")
        page.keyboard.press("Enter")
        page.wait_for_selector("button:has-text('Pause')")
        page.focus("main")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Pause"
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Batches are paused.")

        assert h.sc._observers._control.is_paused
        assert complaints == []


def test_another_sites_form_does_nothing_though_one_has_signed_in(
    browser: Any,
) -> None:
    """Another port of this machine is another site, though cookies are shared with it."""
    with (
        running() as (h, url),
        running_elsewhere(f"{url}/actions/stop-stream/") as evil,
        looking(browser) as (page, _),
    ):
        page.goto(f"{url}/login/?token={TOKEN}")
        page.goto(evil)
        with page.expect_response("**/actions/stop-stream/") as answer:
            page.click("button")

        assert answer.value.status == 403
        assert "requests from the site" in answer.value.text()
        assert h.ssc.getState().value == "ACTIVE"


@contextmanager
def running_elsewhere(target: str) -> Iterator[str]:
    """Serve a page with a form that goes to `target`, on another port."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(
                f'<form method="post" action="{target}"><button>Win!</button></form>'.encode()
            )

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Evil)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT_S)
