"""The server takes a port of this machine, answers, tells news, and lets go."""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engine.observe.observed import FakeApplication, FakeControl, batch

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import SparkError
from millstream.engine.observe.page import app
from millstream.engine.observe.page.server import PageServer
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import BatchCompleted
from millstream.testing import StreamHarness


@contextmanager
def serving(application: Any, **options: Any) -> Iterator[PageServer]:
    """Serve an application's page meanwhile."""
    server = PageServer(application, **{"port": 0, **options})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def taken(count: int) -> Iterator[int]:
    """Return the first of so many neighbouring ports, which are taken meanwhile."""
    for first in range(20_000, 30_000, count + 1):
        listeners = []
        try:
            for port in range(first, first + count):
                listener = socket.socket()
                listeners.append(listener)
                listener.bind(("127.0.0.1", port))
                listener.listen(1)
            with closing(socket.socket()) as next_one:
                next_one.bind(("127.0.0.1", first + count))
        except OSError:
            continue
        else:
            yield first
            return
        finally:
            for each in listeners:
                each.close()


def _has_loopback_6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6)) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def get(url: str | None, path: str = "/jobs/") -> httpx.Response:
    """Return what the page answers."""
    assert url is not None
    return httpx.get(f"{url}{path}", timeout=20)


@pytest.mark.slow
def test_the_page_answers_on_loopback() -> None:
    """And on no other address."""
    with serving(FakeApplication()) as server:
        answer = get(server.url)

        assert server.url is not None
        assert server.url.startswith("http://127.0.0.1:")
        assert answer.status_code == 200
        assert "server" not in answer.headers


def test_the_next_free_port_is_taken() -> None:
    """From `port` upward."""
    with taken(2) as first, serving(FakeApplication(), port=first) as server:
        assert server.url == f"http://127.0.0.1:{first + 2}"


def test_when_no_port_is_free_the_error_says_what_to_set() -> None:
    """After as many tries as allowed."""
    with taken(2) as first:
        server = PageServer(FakeApplication(), port=first, retries_max=1)
        with pytest.raises(
            SparkError, match=rf"no free port from {first} to {first + 1}"
        ) as raised:
            server.start()
        server.stop()

    assert "spark.ui.port" in str(raised.value.hint)
    assert server.url is None


def test_a_number_that_is_no_port_is_told() -> None:
    """Ports end at 65535; what would be tried after it isn't."""
    server = PageServer(FakeApplication(), port=65_536)
    with pytest.raises(SparkError, match="65536 is no port"):
        server.start()
    server.stop()


def test_an_address_that_isnt_this_machines_is_told() -> None:
    """Another port wouldn't help."""
    server = PageServer(FakeApplication(), host="192.0.2.1", port=0)
    with pytest.raises(SparkError, match=r"can't listen on 192\.0\.2\.1"):
        server.start()
    server.stop()


@pytest.mark.parametrize(
    "host", ["", " ", "[::1]", "127.0.0.1:80", "::zz", "a..b", "é..b", "\0", "a" * 300]
)
def test_a_host_that_is_none_is_told(host: str) -> None:
    """An empty one would be every address; the setting is named, and what goes there."""
    server = PageServer(FakeApplication(), host=host, port=0)
    with pytest.raises(SparkError, match="can't listen on the host '") as raised:
        server.start()
    server.stop()

    assert "by spark.millstream.ui.host" in str(raised.value.hint)
    assert server.url is None


@pytest.mark.slow
@pytest.mark.skipif(not _has_loopback_6(), reason="this machine has no ::1")
def test_the_page_answers_on_loopback_of_the_newer_protocol() -> None:
    """Reading, and acting from its own origin."""
    control, token = FakeControl(), "a-token-for-tests"
    with serving(FakeApplication(), host="::1", control=control, token=token) as page:
        read = get(page.url)
        assert page.url is not None
        done = httpx.delete(
            f"{page.url}/api/v1/applications/local-1/streaming/receivers/0/limit",
            headers={"authorization": f"Bearer {token}", "origin": page.url},
        )

    assert page.url is None
    assert read.status_code == 200
    assert done.status_code == 202
    assert control.done == ["unlimit 0 by ::1"]


@pytest.mark.slow
def test_who_hangs_up_or_speaks_no_http_troubles_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Half a form does nothing; the program's log has no word of any of it."""
    control, token = FakeControl(), "a-token-for-tests"
    head = (
        "POST /api/v1/applications/local-1/streaming/stop HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 50\r\n\r\ngraceful=f"
    )
    with serving(FakeApplication(), control=control, token=token) as page:
        assert page.url is not None
        address = ("127.0.0.1", int(page.url.rpartition(":")[2]))
        for sent in (head.encode(), b"\x00\x01\r\n\r\n", b"GET\r\n\r\n"):
            with closing(socket.create_connection(address, 20)) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
        assert get(page.url).status_code == 200

    assert control.done == []
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
    assert "Invalid HTTP" not in caplog.text


def test_stopping_frees_the_port_and_ends_the_thread() -> None:
    """Also when nobody has come; twice is once."""
    server = PageServer(FakeApplication(), port=0)
    server.start()
    server.stop()
    server.stop()

    assert server.url is None
    assert not [t for t in threading.enumerate() if t.name == "millstream-page"]


@pytest.mark.slow
def test_news_come_as_they_happen_and_end_with_the_server() -> None:
    """Server-sent events: everything first, then what is new."""
    progress = StreamProgress(1000)
    application = FakeApplication(progress=progress)
    progress.on_event(BatchCompleted(batch(1000)))
    with (
        serving(application) as server,
        httpx.stream("GET", f"{server.url}/streaming/news", timeout=20) as news,
    ):
        messages = (
            json.loads(line.removeprefix("data: "))
            for line in news.iter_lines()
            if line.startswith("data: ")
        )
        first = next(messages)
        progress.on_event(BatchCompleted(batch(2000)))
        application.version += 1
        second = next(messages)
        server.stop()
        rest = list(messages)

    assert news.headers["content-type"].startswith("text/event-stream")
    assert [each[0] for each in first["series"]["points"]] == [1000]
    assert [each[0] for each in second["points"]] == [2000]
    assert rest == []


@pytest.mark.slow
def test_the_list_of_jobs_hears_that_there_are_new_ones() -> None:
    """Not what: it asks then."""
    application = FakeApplication()
    with (
        serving(application) as server,
        httpx.stream("GET", f"{server.url}/news?since=0", timeout=20) as news,
    ):
        lines = news.iter_lines()
        quiet = next(lines)
        application.version = 3
        told = next(line for line in lines if line.startswith("data"))
        server.stop()

    assert quiet.startswith(":")
    assert told == "data: 3"


@pytest.mark.slow
def test_on_an_address_that_others_reach_any_name_will_do() -> None:
    """Behind a load balancer, say."""
    with serving(FakeApplication(), host="0.0.0.0") as server:
        assert server.url is not None
        port = server.url.rsplit(":", 1)[1]
        answer = httpx.get(
            f"http://127.0.0.1:{port}/jobs/", headers={"host": "words.example"}
        )

    assert answer.status_code == 200


@pytest.mark.slow
def test_a_context_serves_its_page_until_it_stops() -> None:
    """`uiWebUrl` says where; the environment's settings can turn it off."""
    conf = SparkConf().setMaster("local[2]").setAppName("paged")
    conf.set("spark.ui.enabled", "true").set("spark.ui.port", "0")
    with SparkContext(conf=conf) as sc:
        sc.parallelize(range(3), 1).count()
        url = sc.uiWebUrl
        answer = get(url)

    assert "paged" in answer.text
    assert "Completed Jobs (1)" in answer.text
    assert sc.uiWebUrl is None
    with pytest.raises(httpx.ConnectError):
        get(url)


@pytest.mark.slow
def test_a_page_that_breaks_is_told_in_the_log_and_the_program_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The page is there to look at, no more."""

    def break_it(*_: Any, **__: Any) -> None:
        msg = "no templates"
        raise OSError(msg)

    monkeypatch.setattr(app, "make_app", break_it)
    with serving(FakeApplication()) as server, pytest.raises(httpx.TransportError):
        get(server.url)

    assert "the page is gone" in caplog.text
    assert "no templates" in caplog.text


def test_who_opens_a_page_to_all_without_a_token_is_warned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On loopback, or with a token, there is nothing to warn of."""
    with caplog.at_level(logging.WARNING):
        with serving(FakeApplication()):
            pass
        with serving(FakeApplication(), host="0.0.0.0", token="a-token-for-tests"):
            pass
        assert "without a token" not in caplog.text
        with serving(FakeApplication(), host="0.0.0.0"):
            pass

    assert "without a token" in caplog.text
    assert "host=0.0.0.0" in caplog.text


@pytest.mark.slow
def test_a_header_does_not_say_who_acts() -> None:
    """Anybody could write one."""
    control = FakeControl()
    headers = {
        "authorization": "Bearer a-token-for-tests",
        "x-forwarded-for": "192.0.2.9",
    }
    with serving(FakeApplication(), control=control, token="a-token-for-tests") as page:
        answer = httpx.post(
            f"{page.url}/api/v1/applications/local-1/jobs/3/kill", headers=headers
        )

    assert answer.status_code == 202
    assert control.done == ["kill job 3 by 127.0.0.1"]


def test_without_a_page_there_is_no_thread_and_no_address() -> None:
    """`spark.ui.enabled=false`; a harness has none unless a test asks for one."""
    conf = (
        SparkConf()
        .setMaster("local[2]")
        .setAppName("t")
        .set("spark.ui.enabled", "false")
    )
    with SparkContext(conf=conf) as sc:
        assert sc.uiWebUrl is None
    with StreamHarness() as h:
        assert h.sc.uiWebUrl is None
    with StreamHarness(conf={"spark.ui.enabled": "true", "spark.ui.port": "0"}) as h:
        assert h.sc.uiWebUrl is not None


def test_the_environment_turns_the_page_off_where_no_setting_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For machines that run many programs, such as those of a CI."""
    monkeypatch.setenv("MILLSTREAM_UI", "off")
    with SparkContext("local[2]", "t") as sc:
        assert sc.uiWebUrl is None


def test_a_program_runs_without_a_page_when_no_port_is_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says so, and what to set."""
    with taken(1) as port, caplog.at_level(logging.WARNING):
        conf = SparkConf().setMaster("local[2]").setAppName("t")
        conf.set("spark.ui.enabled", "true").set("spark.ui.port", port)
        conf.set("spark.port.maxRetries", "0")
        with SparkContext(conf=conf) as sc:
            assert sc.uiWebUrl is None
            assert sc.parallelize([1, 2], 1).count() == 2

    assert "there is no page" in caplog.text
    assert "spark.ui.port" in caplog.text


@pytest.mark.slow
def test_a_program_at_which_nobody_looks_imports_no_server(tmp_path: Path) -> None:
    """The page costs a socket and a sleeping thread, and no time at the start."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from millstream import SparkConf, SparkContext\n"
        "conf = SparkConf().setMaster('local[2]').setAppName('t')\n"
        "conf.set('spark.ui.enabled', 'true').set('spark.ui.port', '0')\n"
        "with SparkContext(conf=conf) as sc:\n"
        "    assert sc.uiWebUrl\n"
        "    sc.parallelize([1], 1).count()\n"
        "    heavy = {'asyncio', 'uvicorn', 'starlette', 'jinja2'} & set(sys.modules)\n"
        "print(sorted(heavy))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
