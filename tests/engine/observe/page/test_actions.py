"""What is done from the page asks first, works without scripts, and is refused in words."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.engine.observe.observed import FakeApplication, FakeControl, batch

from millstream.engine.jobs.book import JobRecord
from millstream.engine.observe.control import NotNowError, UnknownTargetError
from millstream.engine.observe.page.access import Access
from millstream.engine.observe.page.actions import REST
from millstream.engine.observe.page.app import make_app
from millstream.engine.observe.page.openapi import document
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import BatchCompleted

TOKEN = "a-token-for-tests"
API = "/api/v1/applications/local-1"
BY = "192.0.2.7"


class Visitor:
    """Somebody who looks at a page, with what a browser keeps."""

    def __init__(
        self,
        token: str | None = TOKEN,
        *,
        host: str = "127.0.0.1",
        is_log: bool = False,
    ) -> None:
        progress = StreamProgress(1000)
        progress.on_event(BatchCompleted(batch(1000)))
        running = JobRecord(3, "count at app.py:9", None, frozenset(), None)
        self.application = FakeApplication(progress=progress, known_jobs=[running])
        self.control = FakeControl()
        self._app = make_app(
            self.application,
            control=None if is_log else self.control,
            access=Access(token, host=host, name="local-1"),
            allowed_hosts=("*",) if host == "0.0.0.0" else ("127.0.0.1",),
        )
        self._cookies = httpx.Cookies()

    def ask(self, method: str, address: str, **options: Any) -> httpx.Response:
        """Send a request, and keep the cookies of its answer."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(BY, 50_000))
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://127.0.0.1:4040",
                cookies=self._cookies,
            ) as client:
                answer = await client.request(method, address, **options)
                self._cookies = client.cookies
                return answer

        return asyncio.run(send())

    def get(self, address: str, **options: Any) -> httpx.Response:
        """Look."""
        return self.ask("GET", address, **options)

    def post(self, address: str, **options: Any) -> httpx.Response:
        """Do."""
        return self.ask("POST", address, **options)

    def command(
        self, address: str, method: str = "POST", **options: Any
    ) -> httpx.Response:
        """Do, as a program does."""
        bearer = {"authorization": f"Bearer {TOKEN}"}
        return self.ask(method, f"{API}{address}", headers=bearer, **options)

    def sign_in(self, token: str = TOKEN, to: str = "/") -> httpx.Response:
        """Send the form."""
        return self.post("/login/", data={"token": token, "next": to})


def links(answer: httpx.Response) -> list[str]:
    """Return where a page's buttons lead."""
    return re.findall(r'class="button" href="([^"]+)"', answer.text)


# By REST.


@pytest.mark.parametrize(
    ("address", "done"),
    [
        ("/streaming/stop", "stop gracefully"),
        ("/streaming/stop?graceful=false", "stop at once"),
        ("/streaming/pause", "pause"),
        ("/streaming/resume", "resume"),
        ("/streaming/receivers/2/limit?rate=500", "limit 2 to 500"),
        ("DELETE /streaming/receivers/2/limit", "unlimit 2"),
        ("/jobs/3/kill", "kill job 3"),
        ("/stages/4/kill", "kill stage 4"),
    ],
)
def test_each_path_does_what_it_says_for_who_has_the_token(
    address: str, done: str
) -> None:
    """And nothing for who hasn't."""
    visitor = Visitor()
    method, address = address.split() if " " in address else ("POST", address)
    wrong_token = {"authorization": "Bearer no"}
    refused = visitor.ask(method, f"{API}{address}")
    wrong = visitor.ask(method, f"{API}{address}", headers=wrong_token)
    got = visitor.command(address, method=method)

    assert (refused.status_code, wrong.status_code) == (403, 403)
    assert "Authorization: Bearer" in refused.json()["error"]
    assert got.status_code == 202
    assert got.json() == {"done": done}
    assert visitor.control.done == [f"{done} by {BY}"]


def test_a_form_may_send_what_else_is_asked_for() -> None:
    """Instead of the address."""
    visitor = Visitor()
    visitor.command("/streaming/receivers/2/limit", data={"rate": "7"})
    visitor.command("/streaming/stop", data={"graceful": "false"})

    assert visitor.control.done == [f"limit 2 to 7 by {BY}", f"stop at once by {BY}"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/streaming/stop?graceful=maybe", "graceful is true or false, not 'maybe'"),
        ("/streaming/stop?graceful=", "graceful is true or false, not ''"),
        (
            "/streaming/stop?gracefull=false",
            "no parameter 'gracefull' here; .* graceful",
        ),
        ("/streaming/pause?graceful=false", "no parameter 'graceful' here; .* none"),
        (
            "/streaming/receivers/0/limit",
            "rate is missing: it is a whole number from 1",
        ),
        ("/streaming/receivers/0/limit?rate=", "a whole number from 1 on, not ''"),
        ("/streaming/receivers/0/limit?rate=5&id=1", "there is no parameter 'id' here"),
        ("/streaming/receivers/0/limit?rate=0", "not '0'"),
        ("/streaming/receivers/0/limit?rate=1e9", "not '1e9'"),
        (f"/streaming/receivers/0/limit?rate={'9' * 5000}", "rate has 15 digits"),
        ("/jobs/x/kill", "id is a whole number from 0 on, not 'x'"),
    ],
)
def test_what_makes_no_sense_is_told(address: str, words: str) -> None:
    """400, and nothing is done."""
    visitor = Visitor()
    answer = visitor.command(address)

    assert answer.status_code == 400
    assert re.search(words, answer.json()["error"])
    assert visitor.control.done == []


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_is_no_form_is_refused(method: str) -> None:
    """JSON that says how to stop mustn't be passed over, and the stream be stopped."""
    visitor = Visitor()
    address = "/streaming/receivers/0/limit"
    typed = visitor.command(address, method, json={"rate": 5})
    broken = visitor.command(address, method, content=b"\xff\xfe\x00%zz")

    assert typed.status_code == broken.status_code == 400
    assert "x-www-form-urlencoded, not 'application/json'" in typed.json()["error"]
    assert "there is no parameter" in broken.json()["error"]
    assert visitor.control.done == []


def test_another_method_is_told_which_there_are() -> None:
    """405, in JSON for programs and as a page for people; Allow has all of them."""
    visitor = Visitor()
    visitor.sign_in()
    limit = visitor.command("/streaming/receivers/0/limit", "PUT")
    form = visitor.ask("DELETE", "/actions/limit-input/")
    read = visitor.command("/actions", "POST")

    assert limit.status_code == form.status_code == read.status_code == 405
    assert set(limit.headers["allow"].split(", ")) == {"POST", "DELETE"}
    assert set(form.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert "limit isn't there for PUT, but for " in limit.json()["error"]
    assert "Not possible" in form.text
    assert "but for " in read.json()["error"]


def test_where_nothing_is_programs_are_told_so_in_json() -> None:
    """With a word of where to look."""
    answer = Visitor().get(f"{API}//jobs")

    assert answer.status_code == 404
    assert "There is nothing at" in answer.json()["error"]
    assert "/api/v1/openapi.json" in answer.json()["error"]


@pytest.mark.parametrize("query", ["", "?id=", "?id=x", "?id=%3Cb%3E", "?id=-1"])
def test_nothing_is_asked_about_what_cannot_be(query: str) -> None:
    """Rather than a form that can't do anything."""
    visitor = Visitor()
    visitor.sign_in()
    answer = visitor.get(f"/actions/remove-limit/{query}")

    assert answer.status_code == 400
    assert "<form" not in answer.text.partition("<main")[2]
    assert "id is " in answer.text


def test_what_is_not_there_or_not_possible_now_is_told() -> None:
    """404 and 409, with the words of who would have done it."""
    visitor = Visitor()
    visitor.control.refusal = UnknownTargetError("unknown job: 9")
    missing = visitor.command("/jobs/9/kill")
    visitor.control.refusal = NotNowError("job 3 doesn't run: it has succeeded")
    ended = visitor.command("/jobs/3/kill")
    other = visitor.post(
        "/api/v1/applications/other/streaming/stop",
        headers={"authorization": f"Bearer {TOKEN}"},
    )

    assert (missing.status_code, missing.json()["error"]) == (404, "unknown job: 9")
    assert ended.status_code == 409
    assert "succeeded" in ended.json()["error"]
    assert (other.status_code, other.json()["error"]) == (404, "unknown app: other")


def test_a_form_that_is_too_large_is_refused() -> None:
    """Nobody fills the memory."""
    answer = Visitor().command("/streaming/stop", content=b"x" * 20_000)

    assert answer.status_code == 400
    assert "10000 bytes" in answer.json()["error"]


def test_what_can_be_done_is_described() -> None:
    """Each path that does something, and no other."""
    paths = document()["paths"]
    described = {
        (method.upper(), f"/api/v1{path}")
        for path, told in paths.items()
        for method in set(told) - {"get", "servers"}
    }

    assert described == set(REST)
    for method, path in REST:
        told = paths[path.removeprefix("/api/v1")][method.lower()]
        assert told["security"] == [{"token": []}]
        assert {"202", "403", "404", "409"} <= set(told["responses"])


# By forms.


def test_the_stream_is_stopped_by_a_form_that_asks_first() -> None:
    """Button, signing in, the question, and then it is done."""
    visitor = Visitor()
    assert "/actions/stop-stream/" in links(visitor.get("/streaming/"))
    stopped = visitor.get("/actions/stop-stream/")
    assert stopped.headers["location"] == "/login/?next=%2Factions%2Fstop-stream%2F"
    entered = visitor.sign_in(to="/actions/stop-stream/")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/actions/stop-stream/"
    asked = visitor.get("/actions/stop-stream/")
    assert "Stop the stream?" in asked.text
    assert visitor.control.done == []
    done = visitor.post("/actions/stop-stream/", data={"graceful": "false"})

    assert (done.status_code, done.headers["location"]) == (303, "/streaming/")
    assert visitor.control.done == [f"stop at once by {BY}"]


def test_each_button_leads_to_a_question() -> None:
    """On the pages where it belongs."""
    visitor = Visitor()
    visitor.sign_in()
    found = [
        link
        for page in ("/streaming/", "/jobs/", "/jobs/job/?id=3")
        for link in links(visitor.get(page))
    ]

    assert found == [
        "/actions/stop-stream/",
        "/actions/pause-batches/",
        "/actions/limit-input/?id=0",
        "/actions/kill-job/?id=3",
        "/actions/kill-job/?id=3",
    ]
    for link in found:
        answer = visitor.get(link)
        assert answer.status_code == 200
        assert '<form class="asking" method="post"' in answer.text
        assert 'type="submit"' in answer.text


def test_a_job_is_killed_and_its_page_is_shown_again() -> None:
    """The id goes along with the form."""
    visitor = Visitor()
    visitor.sign_in()
    asked = visitor.get("/actions/kill-job/?id=3")
    done = visitor.post("/actions/kill-job/", data={"id": "3"})

    assert '<input type="hidden" name="id" value="3">' in asked.text
    assert done.headers["location"] == "/jobs/job/?id=3"
    assert visitor.control.done == [f"kill job 3 by {BY}"]


def test_what_is_paused_can_be_resumed() -> None:
    """The button turns round, and the page says so."""
    visitor = Visitor()
    visitor.sign_in()
    visitor.post("/actions/pause-batches/")
    paused = visitor.get("/streaming/")
    visitor.post("/actions/resume-batches/")

    assert "/actions/resume-batches/" in links(paused)
    assert "Batches are paused." in paused.text
    assert "Batches are paused." not in visitor.get("/streaming/").text


def test_a_limit_is_removed_by_a_form_where_one_is_set() -> None:
    """The button is there for that input alone, and goes with the limit."""
    visitor = Visitor()
    visitor.application.names = {0: "lines [0]", 1: "more [1]"}
    visitor.sign_in()
    visitor.post("/actions/limit-input/", data={"id": "1", "rate": "7"})
    limited = links(visitor.get("/streaming/"))
    asked = visitor.get("/actions/remove-limit/?id=1")
    done = visitor.post("/actions/remove-limit/", data={"id": "1"})

    assert limited[2:] == [
        "/actions/limit-input/?id=0",
        "/actions/limit-input/?id=1",
        "/actions/remove-limit/?id=1",
    ]
    assert "Remove the limit of input 1?" in asked.text
    assert done.headers["location"] == "/streaming/"
    assert visitor.control.done[-1] == f"unlimit 1 by {BY}"
    assert "/actions/remove-limit/?id=1" not in links(visitor.get("/streaming/"))


def test_while_the_stream_is_being_stopped_it_can_be_stopped_at_once_alone() -> None:
    """The page says so, and asks first."""
    visitor = Visitor()
    visitor.sign_in()
    visitor.control.is_stopping = True
    shown = visitor.get("/streaming/")
    asked = visitor.get("/actions/stop-at-once/")
    visitor.post("/actions/stop-at-once/")

    assert "The stream is being stopped." in shown.text
    assert links(shown) == ["/actions/stop-at-once/"]
    assert "Stop the stream at once?" in asked.text
    assert visitor.control.done == [f"stop at once by {BY}"]


def test_what_was_not_done_is_shown_in_words() -> None:
    """As a page: it was a form."""
    visitor = Visitor()
    visitor.sign_in()
    visitor.control.refusal = NotNowError("the stream has stopped already")
    answer = visitor.post("/actions/stop-stream/")
    strange = visitor.post("/actions/kill-job/", data={"id": "<b>"})

    assert answer.status_code == 409
    assert "the stream has stopped already" in answer.text
    assert strange.status_code == 400
    assert "<b>" not in strange.text


def test_a_form_of_another_site_does_nothing() -> None:
    """Though the browser has signed in."""
    visitor = Visitor()
    visitor.sign_in()
    answer = visitor.post(
        "/actions/stop-stream/", headers={"origin": "http://127.0.0.1:8000"}
    )

    assert answer.status_code == 403
    assert visitor.control.done == []


def test_without_a_token_there_are_no_buttons_and_nowhere_to_sign_in() -> None:
    """The page is as it was."""
    visitor = Visitor(token=None)

    assert links(visitor.get("/streaming/")) == []
    assert "Sign in" not in visitor.get("/streaming/").text
    assert visitor.get("/login/").status_code == 404
    assert visitor.get("/actions/stop-stream/").status_code == 404
    assert visitor.post("/actions/stop-stream/").status_code == 403
    policy = visitor.get("/jobs/").headers["content-security-policy"]
    assert "form-action 'none'" in policy


def test_with_a_token_forms_go_to_this_page_alone() -> None:
    """And the browser is let say whose they are."""
    headers = Visitor().get("/jobs/").headers

    assert "form-action 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"


def test_nothing_is_done_to_a_program_that_is_over() -> None:
    """Nor to one of which there is the event log alone."""
    over, log = Visitor(), Visitor(is_log=True)
    over.application.ended_ms = 5
    for visitor in (over, log):
        visitor.sign_in()
        assert links(visitor.get("/streaming/")) == []
        assert visitor.get("/actions/stop-stream/").status_code == 404

    answer = log.command("/streaming/stop")
    assert answer.status_code == 409
    assert "event log" in answer.json()["error"]


def test_a_job_that_has_ended_has_no_button() -> None:
    """There is nothing to kill."""
    visitor = Visitor()
    ended = replace(visitor.application.known_jobs[0], status="SUCCEEDED", ended_ms=9)
    visitor.application.known_jobs = [ended]

    assert links(visitor.get("/jobs/")) == []
    assert links(visitor.get("/jobs/job/?id=3")) == []


# Signing in.


def test_a_wrong_token_signs_nobody_in() -> None:
    """The form comes again, without what was typed, and says so."""
    visitor = Visitor()
    answer = visitor.sign_in("guessed-wrongly-again")

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "t the token of this page" in answer.text
    assert "guessed" not in answer.text
    assert visitor.post("/actions/stop-stream/").status_code == 403


def test_the_printed_address_signs_in_and_drops_the_token() -> None:
    """It leads on to an address without it."""
    visitor = Visitor()
    answer = visitor.get(f"/login/?token={TOKEN}")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert visitor.get("/actions/stop-stream/").status_code == 200


def test_who_signs_out_is_out() -> None:
    """Until the next time."""
    visitor = Visitor()
    visitor.sign_in()
    assert "Signed in" in visitor.get("/login/").text
    visitor.post("/logout/")

    assert visitor.get("/actions/stop-stream/").status_code == 303
    assert 'type="password"' in visitor.get("/login/").text


@pytest.mark.parametrize(
    "to",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/\t/evil", ""],
)
def test_signing_in_leads_nowhere_else(to: str) -> None:
    """Whoever made the address."""
    assert Visitor().sign_in(to=to).headers["location"] == "/"


def test_where_others_reach_it_a_page_with_a_token_asks_for_it() -> None:
    """People are led to the form, programs are told."""
    visitor = Visitor(host="0.0.0.0")
    person = visitor.get("/jobs/?a=b", headers={"accept": "text/html,*/*"})
    program = visitor.get(f"{API}/jobs")
    probe = visitor.get("/healthz")
    visitor.sign_in()

    assert person.status_code == 303
    assert person.headers["location"] == "/login/?next=%2Fjobs%2F%3Fa%3Db"
    assert program.status_code == 403
    assert "who has its token" in program.json()["error"]
    assert probe.status_code == 200
    assert visitor.get("/jobs/").status_code == 200


# Threads.


def test_threads_are_answered_by_sparks_path_and_shown_on_a_page() -> None:
    """Without a token: it is reading. The innermost call is first, as in Spark."""
    visitor = Visitor(token=None)
    answer = visitor.get(f"{API}/executors/driver/threads")
    shown = visitor.get("/executors/threadDump/?executorId=driver")

    assert answer.json() == [
        {
            "threadId": 7,
            "threadName": "MainThread",
            "stackTrace": {"elems": ["wait (app.py:9)", "main (app.py:3)"]},
            "isDaemon": False,
        }
    ]
    assert "MainThread" in shown.text
    assert "main (app.py:3)\nwait (app.py:9)" in shown.text
    assert "/executors/threadDump/" in visitor.get("/environment/").text


def test_threads_of_what_is_over_or_elsewhere_are_404() -> None:
    """There are none."""
    log = Visitor(is_log=True)

    assert log.get(f"{API}/executors/driver/threads").status_code == 404
    assert log.get("/executors/threadDump/").status_code == 404
    assert "threadDump" not in log.get("/environment/").text
    assert Visitor().get(f"{API}/executors/1/threads").status_code == 404
    assert Visitor().get("/executors/threadDump/?executorId=1").status_code == 404
