"""Stories of somebody who acts on a running program from its page, in a real browser."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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


@contextmanager
def running() -> Iterator[tuple[StreamHarness, str]]:
    """Run a stream whose page takes actions; time passes by itself."""
    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
        "spark.millstream.ui.token": TOKEN,
    }
    ended = threading.Event()
    with StreamHarness(conf=conf) as h:
        h.collect(h.stream([["a"], ["b"]]))
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
