"""Web streams: firehoses on loopback that follow their documents, and break."""

import contextlib
import json
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import _started, run_with_kills
from tests.integration.receiving import Errors, until
from tests.integration.servers.firehoses import (
    EventStreams,
    Jetstream,
    Log,
    Mastodon,
    edit,
    post,
)
from tests.integration.servers.http import Hook, self_signed, served
from tests.integration.test_programs import lines_until

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError
from millstream.streaming.web import WebUtils
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "programs" / "web_program.py"
LOGGED = {"spark.streaming.receiver.writeAheadLog.enable": "true"}
KINDS = ["jetstream", "wikimedia"]
_KILL_EVENTS = 200


class Firehose:
    """A firehose of either kind, so that one test says what holds for both."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.log: Log = Jetstream() if kind == "jetstream" else EventStreams()
        self.url = ""

    @contextmanager
    def serve(self, tls: Any = None) -> Iterator["Firehose"]:
        """Serve it."""
        with served(self.log.app(), tls) as port:  # type: ignore[attr-defined]
            is_socket = self.kind == "jetstream"
            scheme = ("ws" if is_socket else "http") + ("s" if tls else "")
            path = "/subscribe" if is_socket else "/v2/stream"
            self.url = f"{scheme}://127.0.0.1:{port}{path}"
            yield self

    def publish(self, *numbers: int) -> None:
        """Let numbered events happen."""
        make = post if self.kind == "jetstream" else edit
        self.log.publish(*map(make, numbers))

    def stream(self, ssc: Any, **options: Any) -> Any:
        """Return a stream of the numbers."""
        options = {"url": self.url, "reconnectDelay": 0.05, **options}
        if self.kind == "jetstream":
            events = WebUtils.blueskyJetstream(ssc, **options)
            return events.map(lambda e: int(e["commit"]["rkey"][1:]))
        events = WebUtils.wikimediaEventStreams(ssc, **options)
        return events.map(lambda e: int(e["meta"]["id"][3:]))


@pytest.fixture(params=KINDS)
def firehose(request: pytest.FixtureRequest) -> Iterator[Firehose]:
    """Serve a firehose."""
    with Firehose(request.param).serve() as made:
        yield made


def numbers(out: Any) -> list[int]:
    """Return what was collected."""
    return [record for batch in out.records for record in batch]


def test_it_goes_on_after_broken_connections(firehose: Firehose) -> None:
    """Each event is there once, in order, however often the connection broke."""
    firehose.log.break_after = [5, 3, 4]
    with StreamHarness() as h:
        out = h.collect(firehose.stream(h.ssc))
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(*range(30))
        until(lambda: len(numbers(out)) >= 30, h.run)

    assert numbers(out) == list(range(30))
    assert len(firehose.log.requests) == 4


def test_it_goes_on_after_the_receiver_restarts(firehose: Firehose) -> None:
    """`restart` goes on where the last connection was."""
    with StreamHarness(conf={"spark.streaming.receiverRestartDelay": "10ms"}) as h:
        out = h.collect(firehose.stream(h.ssc))
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(*range(10))
        until(lambda: len(numbers(out)) >= 10, h.run)
        scheduler = h.ssc._scheduler
        assert scheduler is not None
        supervisor = scheduler.tracker._supervisors[0]
        supervisor.restart("a test says so", None, None)  # type: ignore[union-attr]
        until(lambda: not firehose.log.open_count)
        firehose.publish(*range(10, 20))
        until(lambda: len(numbers(out)) >= 20, h.run)

    assert numbers(out) == list(range(20))


def test_it_goes_on_after_the_driver_restarts(
    firehose: Firehose, tmp_path: Path
) -> None:
    """With a cursor file nothing is missing that was sent while the driver was away."""

    def setup(h: StreamHarness) -> None:
        cursor_file = str(tmp_path / "checkpoint" / "cursor")
        h.collect(firehose.stream(h.ssc, cursorFile=cursor_file), "out")

    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), conf=LOGGED, setup=setup
    ) as h:
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(*range(10))
        until(lambda: len(numbers(h.output("out"))) >= 10, h.run)
        h.crash()
        until(lambda: not firehose.log.open_count)
        firehose.publish(*range(10, 20))
        h.restart()
        until(lambda: set(numbers(h.output("out"))) == set(range(20)), h.run)


def test_the_rate_limit_holds_and_the_connection_lives(firehose: Firehose) -> None:
    """Of many events that wait, as many come in as may; the rest isn't lost."""
    with StreamHarness(conf={"spark.streaming.receiver.maxRate": "10"}) as h:
        out = h.collect(firehose.stream(h.ssc))
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(*range(200))
        until(lambda: len(numbers(out)) >= 200, lambda: h.run(2))
        batches = [len(each) for each in out.records if each]

    assert numbers(out) == list(range(200))
    assert len(batches) > 1
    assert len(firehose.log.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_token_is_told_once_and_never_shown(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """401: a clear error, a long wait; no log of any level, no checkpoint has it."""
    caplog.set_level(logging.DEBUG)
    errors = Errors()
    made = Firehose(kind)
    made.log.token = "right"
    with made.serve(), StreamHarness(checkpoint=str(tmp_path)) as h:
        h.collect(made.stream(h.ssc, token="wrong-and-private"))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)
        h.run(2)

    (asked,) = made.log.requests
    assert asked["headers"]["Authorization"] == "Bearer wrong-and-private"
    assert "answered 401" in errors.messages[0]
    assert "check the token" in errors.messages[0]
    assert "next try in 300 s" in errors.messages[0]
    assert "wrong-and-private" not in caplog.text
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    assert not any(b"wrong-and-private" in each.read_bytes() for each in files)


def test_a_right_token_lets_it_in(firehose: Firehose) -> None:
    """It is sent as a bearer token."""
    firehose.log.token = "right"
    with StreamHarness() as h:
        out = h.collect(firehose.stream(h.ssc, token="right"))
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(1)
        until(lambda: numbers(out), h.run)


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    firehose: Firehose,
) -> None:
    """503 with Retry-After; then it works."""
    errors = Errors()
    firehose.log.answers = [(503, {"Retry-After": "1"}), (500, {})]
    with StreamHarness() as h:
        out = h.collect(firehose.stream(h.ssc))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(1)
        until(lambda: numbers(out), h.run)

    waits = [each.rpartition(" in ")[2] for each in errors.messages]
    assert waits == ["1 s", "0.1 s"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_that_nobody_trusts_is_told(kind: str, tmp_path: Path) -> None:
    """TLS fails: said so, with what to do; doing it works."""
    tls, certificate = self_signed(tmp_path)
    errors = Errors()
    with Firehose(kind).serve(tls) as made:
        with StreamHarness() as h:
            h.collect(made.stream(h.ssc))
            h.ssc.addStreamingListener(errors)
            h._start()
            until(lambda: errors.messages)
        with StreamHarness() as h:
            out = h.collect(made.stream(h.ssc, caFile=str(certificate)))
            h._start()
            until(lambda: made.log.open_count)
            made.publish(1)
            until(lambda: numbers(out), h.run)

    assert "no secure connection" in errors.messages[0]
    assert "caFile" in errors.messages[0]


def test_a_server_that_isnt_there_is_told_and_found_again() -> None:
    """Waits double; the address is named."""
    with Firehose("jetstream").serve() as made:
        pass
    errors = Errors()
    with StreamHarness() as h:
        h.collect(made.stream(h.ssc))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: len(errors.messages) >= 3)

    waits = [each.rpartition(" in ")[2] for each in errors.messages[:3]]
    assert waits == ["0.05 s", "0.1 s", "0.2 s"]
    assert f"can't connect to WebSocket {made.url}" in errors.messages[0]


def test_events_without_comments_for_too_long_are_asked_for_anew() -> None:
    """An SSE server that stalls is left; what it sends when it is back is there."""
    errors = Errors()
    with Firehose("wikimedia").serve() as made, StreamHarness() as h:
        out = h.collect(made.stream(h.ssc, silenceTimeout=0.3))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: made.log.open_count)
        made.publish(0)
        until(lambda: numbers(out), h.run)
        made.log.is_silent.set()
        until(lambda: errors.messages)
        made.publish(1, 2)
        made.log.is_silent.clear()
        until(lambda: len(numbers(out)) == 3, h.run)

    assert numbers(out) == [0, 1, 2]
    assert "silent for 0.3 s" in errors.messages[0]


def test_a_websocket_that_answers_no_ping_is_left() -> None:
    """A bounded wait, then another connection; what it sends then is there."""
    errors = Errors()
    made = Firehose("jetstream")
    assert isinstance(made.log, Jetstream)
    made.log.answers_pings = False
    with made.serve(), StreamHarness() as h:
        out = h.collect(made.stream(h.ssc, pingTimeout=0.3))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: made.log.open_count)
        made.publish(0)
        until(lambda: numbers(out), h.run)
        until(lambda: errors.messages)
        made.log.answers_pings = True
        made.publish(1)
        until(lambda: len(numbers(out)) == 2, h.run)

    assert numbers(out) == [0, 1]
    assert "keepalive ping timeout" in errors.messages[0]


def test_a_server_that_takes_a_connection_and_says_nothing_is_left() -> None:
    """Its process stands still: a bounded wait, then another try."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    errors = Errors()
    with listening, StreamHarness() as h:
        h.collect(
            WebUtils.createWebSocketStream(
                h.ssc,
                f"ws://127.0.0.1:{port}/",
                connectTimeout=0.3,
                reconnectDelay=0.05,
            )
        )
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)

    assert "didn't answer within 0.3 s" in errors.messages[0]


def test_the_server_says_how_long_to_wait() -> None:
    """`retry:` of an SSE server takes the place of reconnectDelay."""
    errors = Errors()
    made = Firehose("wikimedia")
    assert isinstance(made.log, EventStreams)
    made.log.retry_ms = 70
    made.log.break_after = [1]
    with made.serve(), StreamHarness() as h:
        out = h.collect(made.stream(h.ssc))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: made.log.open_count)
        made.publish(0, 1)
        until(lambda: len(numbers(out)) == 2, h.run)

    assert "next try in 0.07 s" in errors.messages[0]


def test_what_only_tests_the_stream_is_left_out() -> None:
    """Canary events and other streams' events aren't records."""
    with Firehose("wikimedia").serve() as made, StreamHarness() as h:
        out = h.collect(made.stream(h.ssc))
        h._start()
        until(lambda: made.log.open_count)
        canary = edit(0)
        canary["meta"] = {"id": "id-0", "domain": "canary"}
        made.log.publish(canary, edit(1, stream="page-create"), edit(2))
        until(lambda: numbers(out), h.run)

    assert numbers(out) == [2]


def test_only_wanted_collections_are_asked_for() -> None:
    """Collections and dids are in the address, also of a connection that goes on."""
    made = Firehose("jetstream")
    made.log.break_after = [2]
    with made.serve(), StreamHarness() as h:
        out = h.collect(
            WebUtils.blueskyJetstream(
                h.ssc,
                collections=["app.bsky.feed.post"],
                dids=["did:plc:1"],
                url=made.url,
                reconnectDelay=0.05,
            )
        )
        h._start()
        until(lambda: made.log.open_count)
        made.publish(*range(6))
        until(lambda: len(numbers(out)) == 2, h.run)

    first, *again = made.log.requests  # The first event that breaks it is wanted.
    assert {each["did"] for each in numbers(out)} == {"did:plc:1"}  # type: ignore[index]
    assert "cursor" not in first["query"]
    assert again[0]["query"]["wantedDids"] == "did:plc:1"
    assert again[0]["query"]["cursor"].isdecimal()


def test_mastodon_posts_are_records() -> None:
    """With a token, of a stream's own address; a payload is JSON or an id."""
    log = Mastodon(token="mine")
    with served(log.app()) as port, StreamHarness() as h:
        out = h.collect(
            WebUtils.mastodon(
                h.ssc, f"http://127.0.0.1:{port}", "hashtag", "mine", tag="#fish"
            )
        )
        h._start()
        until(lambda: log.open_count)
        log.publish(
            ("update", json.dumps({"id": "7", "content": "é"})), ("delete", "7")
        )
        until(lambda: len(numbers(out)) == 2, h.run)

    assert log.paths == ["/api/v1/streaming/hashtag?tag=fish"]
    assert numbers(out) == [
        {"event": "update", "payload": {"id": "7", "content": "é"}},
        {"event": "delete", "payload": "7"},
    ]


def test_what_cant_be_parsed_is_reported_and_left_out() -> None:
    """The stream goes on; the error has the beginning of what came."""
    errors = Errors()
    with Firehose("jetstream").serve() as made, StreamHarness() as h:
        out = h.collect(
            WebUtils.createWebSocketStream(h.ssc, made.url, parse=parsed_or_not)
        )
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: made.log.open_count)
        made.publish(3, 4)
        until(lambda: numbers(out), h.run)
        until(lambda: errors.messages)

    assert numbers(out) == [4]
    assert "can't be parsed" in errors.messages[0]
    assert "did:plc:0" in errors.messages[0]


def parsed_or_not(data: str | bytes) -> int:
    """Return an event's number, if it is even."""
    found = int(json.loads(data)["commit"]["rkey"][1:])
    if found % 2:
        msg = "odd"
        raise ValueError(msg)
    return found


def test_a_message_that_is_too_long_ends_the_connection(firehose: Firehose) -> None:
    """It isn't read to its end; the error says which limit it is."""
    errors = Errors()
    limit = {"maxMessageBytes" if firehose.kind == "jetstream" else "maxEventBytes": 99}
    with StreamHarness() as h:
        h.collect(firehose.stream(h.ssc, **limit))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: firehose.log.open_count)
        firehose.publish(1)
        until(lambda: errors.messages)

    assert "more than 99" in errors.messages[0]
    assert next(iter(limit)) in errors.messages[0]


def test_a_page_that_is_no_stream_is_told() -> None:
    """An address that answers with something else."""
    errors = Errors()
    hook = Hook()
    with served(hook.app()) as port, StreamHarness() as h:
        h.collect(WebUtils.createSseStream(h.ssc, f"http://127.0.0.1:{port}/nothing"))
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)

    assert "answered 404" in errors.messages[0]
    assert "check the address" in errors.messages[0]


def test_a_cursor_file_needs_the_log(tmp_path: Path) -> None:
    """Without it, what was stored before a crash would be lost."""
    with StreamHarness() as h, pytest.raises(IllegalArgumentError) as told:
        WebUtils.createSseStream(
            h.ssc, "http://127.0.0.1:1/", cursorFile=str(tmp_path / "c")
        )

    assert "writeAheadLog.enable=true" in str(told.value.hint)


def test_it_stops_soon_while_nothing_comes(firehose: Firehose) -> None:
    """The connection is closed; nothing waits for the next event."""
    with StreamHarness() as h:
        h.collect(firehose.stream(h.ssc))
        h._start()
        until(lambda: firehose.log.open_count)
        began_s = monotonic_s()

    assert monotonic_s() - began_s < 5.0
    until(lambda: not firehose.log.open_count)


def test_killed_drivers_lose_nothing(tmp_path: Path) -> None:
    """Kill -9 at random: each event of both firehoses arrives at the webhook.

    Some come twice, where a block was stored and its cursor not written down yet.
    """
    hooks = {kind: Hook() for kind in KINDS}
    firehoses = {kind: Firehose(kind) for kind in KINDS}
    ended = threading.Event()
    draw = random.Random(6)
    sent: list[int] = []

    def publish() -> None:
        while not all(each.log.open_count for each in firehoses.values()):
            if ended.wait(0.01):
                return
        while len(sent) < _KILL_EVENTS and not ended.wait(0.02):
            for each in firehoses.values():
                each.publish(len(sent))
            sent.append(len(sent))

    def is_done() -> bool:
        return all(len(set(hook.records)) == _KILL_EVENTS for hook in hooks.values())

    with contextlib.ExitStack() as stack:
        args = [str(tmp_path)]
        for kind in KINDS:
            stack.enter_context(firehoses[kind].serve())
            port = stack.enter_context(served(hooks[kind].app()))
            args += [kind, firehoses[kind].url, f"http://127.0.0.1:{port}/hook"]
        thread = threading.Thread(target=publish)
        thread.start()
        try:
            with Path(tmp_path, "lives.log").open("ab") as out:
                for _ in range(2):
                    life = _started(PROGRAM, args, out)
                    seen = len(hooks[KINDS[0]].records)
                    until(lambda: len(hooks[KINDS[0]].records) > seen + 10)
                    threading.Event().wait(draw.uniform(0.0, 0.4))
                    life.kill()
                    life.wait()
            run_with_kills(PROGRAM, args, is_done, kills=0, limit_s=30.0)
        finally:
            ended.set()
            thread.join()

    for kind in KINDS:
        assert set(hooks[kind].records) == set(range(_KILL_EVENTS))
        went_on = [
            each
            for each in firehoses[kind].log.requests
            if "cursor" in each["query"] or "Last-Event-ID" in each["headers"]
        ]
        assert went_on, "a new life goes on where the last one was"


@pytest.mark.parametrize(
    ("program", "kind", "word"),
    [
        ("bluesky_words.py", "jetstream", "('sky', "),
        ("wikimedia_edits.py", "wikimedia", "('de.wikipedia.org', "),
    ],
)
def test_examples(program: str, kind: str, word: str) -> None:
    """They print counts of each batch."""
    ended = threading.Event()

    def publish(made: Firehose) -> None:
        number = 0
        while not ended.wait(0.05):
            made.publish(number)
            number += 1

    with Firehose(kind).serve() as made:
        thread = threading.Thread(target=publish, args=(made,))
        thread.start()
        try:
            lines_until([word], program, "--url", made.url)
        finally:
            ended.set()
            thread.join()
