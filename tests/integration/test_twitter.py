"""Twitter: posts over a server that follows X's documents, and what becomes of trouble."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.integration.receiving import WAIT_S, Errors, until
from tests.integration.servers.http import self_signed, served
from tests.integration.servers.twitter import TOKEN, Account
from tests.integration.test_programs import EXAMPLES, lines_until

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sources.twitter import delays as twitter_delays
from millstream.streaming.twitter import TwitterUtils
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow


@pytest.fixture
def account() -> Account:
    """Return an account."""
    return Account()


@pytest.fixture
def url(account: Account) -> Iterator[str]:
    """Serve the account."""
    with served(account.app()) as port:
        yield f"http://127.0.0.1:{port}"


def stream(h: StreamHarness, url: str, *filters: str, **options: Any) -> Any:
    """Return what is collected of a stream."""
    options = {"auth": TOKEN, "keepAliveTimeout": 2.0, **options}
    return h.collect(
        TwitterUtils.createStream(h.ssc, filters=filters, baseUrl=url, **options)
    )


def texts(out: Any) -> list[str]:
    """Return the texts of what was collected."""
    return [record["text"] for batch in out.records for record in batch]


def test_posts_that_match_a_filter_are_records(account: Account, url: str) -> None:
    """A record is the post's JSON; text that was cut inside a character is whole."""
    with StreamHarness() as h:
        out = stream(h, url, "#größe", parameters={"tweet.fields": "lang"})
        h._start()
        until(lambda: account.open_count)
        account.publish("eins #größe", "nothing", "zwei #größe 🐟")
        until(lambda: len(texts(out)) >= 2, h.run)

        assert texts(out) == ["eins #größe", "zwei #größe 🐟"]
        first = out.records[-1][0] if out.records[-1] else out.records[-2][0]
        assert first["id"].isdecimal()
        assert first["matching_rules"][0]["tag"] == "millstream"
        assert account.queries == [{"tweet.fields": "lang"}]


def test_without_filters_it_is_the_sample(account: Account, url: str) -> None:
    """The sample stream is read, and no rule is asked for."""
    with StreamHarness() as h:
        out = stream(h, url)
        h._start()
        until(lambda: account.open_count)
        account.publish("one", "two")
        until(lambda: len(texts(out)) >= 2, h.run)

    assert texts(out) == ["one", "two"]
    assert {path for _, path in account.requests} == {"/2/tweets/sample/stream"}


def test_only_our_rules_come_and_go(account: Account, url: str) -> None:
    """Rules of others stay, and posts that only they match aren't ours.

    What an earlier run left behind is deleted; ours are when the stream ends.
    """
    others = account.add_rule("dogs", "theirs")
    shared = account.add_rule("fish", None)
    account.add_rule("old", "millstream")
    with StreamHarness() as h:
        out = stream(h, url, "cats", "fish", "cats")
        h._start()
        until(lambda: account.open_count)
        values = {each["value"]: each.get("tag") for each in account.rules.values()}
        account.publish("dogs", "cats", "fish", "cats and dogs")
        until(lambda: len(texts(out)) >= 3, h.run)

    assert values == {"dogs": "theirs", "fish": None, "cats": "millstream"}
    assert texts(out) == ["cats", "fish", "cats and dogs"]
    assert set(account.rules) == {others, shared}


def test_a_filter_that_is_no_rule_is_told(account: Account, url: str) -> None:
    """The rule is named; none of the others stays; the server isn't asked again soon."""
    errors = Errors()
    with StreamHarness() as h:
        stream(h, url, "cats", 'an "open quote')
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)

    assert 'an "open quote' in errors.messages[0]
    assert "next try in 320 s" in errors.messages[0]
    assert account.rules == {}
    assert account.connect_count == 0


@pytest.mark.parametrize("kind", ["OperationalDisconnect", None])
def test_after_a_disconnect_it_connects_at_once(
    account: Account, url: str, kind: str | None
) -> None:
    """Whether the server says why or just drops the connection."""
    errors = Errors()
    with StreamHarness() as h:
        out = stream(h, url)
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: account.open_count)
        account.publish("one")
        until(lambda: len(texts(out)) == 1, h.run)
        if kind is None:
            account.drop()
        else:
            account.disconnect(kind)
        until(lambda: account.connect_count == 2 and account.open_count == 1)
        account.publish("two")
        until(lambda: len(texts(out)) == 2, h.run)
        until(lambda: errors.messages)

    assert "next try in 0 s" in errors.messages[0]
    assert (kind or "broke") in errors.messages[0]


def test_when_keep_alives_fail_to_come_it_connects_again(
    account: Account, url: str
) -> None:
    """A server that stalls is left after the time-out; when it is back, posts come."""
    errors = Errors()
    with StreamHarness() as h:
        out = stream(h, url, keepAliveTimeout=0.4)
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: account.open_count)
        threading.Event().wait(0.6)
        assert account.connect_count == 1, "keep-alives keep it"
        account.is_silent = True
        until(lambda: errors.messages)
        account.is_silent = False
        until(lambda: account.open_count == 1 and account.connect_count >= 2)
        account.publish("back")
        until(lambda: texts(out), h.run)

    assert "was silent for too long" in errors.messages[0]


def test_a_second_connection_is_told_of_the_first(account: Account, url: str) -> None:
    """429 with TooManyConnections: a minute's wait, and the likely reason."""
    errors = Errors()
    account.open_count = 1
    with StreamHarness() as h:
        stream(h, url)
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)

    assert "TooManyConnections" in errors.messages[0]
    assert "next try in 60 s" in errors.messages[0]
    assert "another program" in errors.messages[0]


def test_errors_of_the_server_pass(
    account: Account, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 503 it waits 5 s, doubled; then posts come."""
    monkeypatch.setattr(twitter_delays, "_HTTP_FIRST_S", 0.05)
    account.answers = [(503, {}), (503, {})]
    errors = Errors()
    with StreamHarness() as h:
        out = stream(h, url)
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: account.open_count)
        account.publish("at last")
        until(lambda: texts(out), h.run)

    assert [each.rpartition(" in ")[2] for each in errors.messages] == [
        "0.05 s",
        "0.1 s",
    ]


def test_a_wrong_token_is_told_and_not_shown(
    account: Account,
    url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One request, a clear error; no log of any level and no checkpoint has the token."""
    caplog.set_level(logging.DEBUG)
    errors = Errors()
    with StreamHarness(checkpoint=str(tmp_path)) as h:
        stream(h, url, "cats", auth="wrong-and-private")
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)
        h.run(2)

    assert account.requests == [("GET", "/2/tweets/search/stream/rules")]
    assert account.authorizations == ["Bearer wrong-and-private"]
    assert "answered 401: Unauthorized" in errors.messages[0]
    assert "check the bearer token" in errors.messages[0]
    assert "wrong-and-private" not in caplog.text
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    assert not any(b"wrong-and-private" in each.read_bytes() for each in files)


def test_the_token_is_in_no_log_of_a_stream_that_works(
    account: Account, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's own debug lines, which have headers, included."""
    caplog.set_level(logging.DEBUG)
    with StreamHarness() as h:
        out = stream(h, url, "cats")
        h._start()
        until(lambda: account.open_count)
        account.publish("cats")
        until(lambda: texts(out), h.run)

    assert caplog.records
    assert TOKEN not in caplog.text


def test_a_server_that_isnt_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused connections: 250 ms more each time."""
    with served(Account().app()) as port:
        pass  # Nobody listens there any more.
    errors = Errors()
    with StreamHarness() as h:
        stream(h, f"http://127.0.0.1:{port}", "cats")
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: len(errors.messages) >= 3)

    waits = [each.rpartition(" in ")[2] for each in errors.messages[:3]]
    assert waits == ["0.25 s", "0.5 s", "0.75 s"]
    assert f"http://127.0.0.1:{port}" in errors.messages[0]


def test_a_certificate_that_nobody_trusts_is_told(tmp_path: Path) -> None:
    """TLS fails: said so, with what to do."""
    tls, _ = self_signed(tmp_path)
    errors = Errors()
    with served(Account().app(), tls) as port, StreamHarness() as h:
        stream(h, f"https://127.0.0.1:{port}")
        h.ssc.addStreamingListener(errors)
        h._start()
        until(lambda: errors.messages)

    assert "no secure connection" in errors.messages[0]
    assert "REQUESTS_CA_BUNDLE" in errors.messages[0]
    assert "next try in 320 s" in errors.messages[0]


def test_it_stops_soon_while_nothing_comes(account: Account, url: str) -> None:
    """A reading thread is woken; it doesn't wait for the next keep-alive."""
    account.keep_alive_s = 60.0
    with StreamHarness() as h:
        stream(h, url, keepAliveTimeout=60.0)
        h._start()
        until(lambda: account.open_count)
        began_s = monotonic_s()

    assert monotonic_s() - began_s < 5.0


def test_tweepy_agrees_with_the_server(account: Account, url: str) -> None:
    """A client that others wrote gets rules, posts, keep-alives and disconnects."""
    tweepy: Any = import_module("tweepy")
    got: list[str] = []
    beats: list[int] = []
    problems: list[Any] = []

    class Client(tweepy.StreamingClient):  # type: ignore[misc]
        def request(self, method: str, route: str, **more: Any) -> Any:
            more.pop("user_auth", None)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            return self.session.request(method, url + route, headers=headers, **more)

        def _connect(self, method: str, endpoint: str, **more: Any) -> None:
            self.session.headers["Authorization"] = f"Bearer {TOKEN}"
            tweepy.streaming.BaseStream._connect(
                self, method, f"{url}/2/tweets/{endpoint}/stream", **more
            )

        def on_tweet(self, tweet: Any) -> None:
            got.append(tweet.text)
            if len(got) == 4:
                self.disconnect()

        def on_errors(self, errors: Any) -> None:
            problems.append(errors)

        def on_keep_alive(self) -> None:
            beats.append(1)

        def on_closed(self, response: Any) -> None:
            pass

    client = Client(TOKEN, daemon=True)
    added = client.add_rules([tweepy.StreamRule("fish", tag="t")])
    assert [each.value for each in client.get_rules().data] == ["fish"]
    thread = client.filter(threaded=True)
    try:
        until(lambda: account.open_count and beats)
        account.publish("fish 1 é", "cat", "fish 2 🐟")
        until(lambda: len(got) == 2)
        account.disconnect("UpstreamOperationalDisconnect")
        until(lambda: account.connect_count == 2 and account.open_count)
        account.publish("fish 3", "fish 4")
        until(lambda: len(got) == 4)
    finally:
        client.disconnect()
        thread.join(WAIT_S)
    client.delete_rules([each.id for each in added.data])

    assert got == ["fish 1 é", "fish 2 🐟", "fish 3", "fish 4"]
    assert problems[0][0]["disconnect_type"] == "UpstreamOperationalDisconnect"
    assert account.rules == {}


def test_xdk_agrees_with_the_server(account: Account, url: str) -> None:
    """X's own client reads posts, skips keep-alives, and connects again after a drop."""
    xdk, models = import_module("xdk"), import_module("xdk.stream.models")
    client = xdk.Client(base_url=url, bearer_token=TOKEN)
    try:
        client.stream.update_rules(
            models.UpdateRulesRequest.model_validate(
                {"add": [{"value": "fish", "tag": "t"}]}
            )
        )
        assert [each["value"] for each in account.rules.values()] == ["fish"]
        posts = client.stream.posts()
        got: list[str] = []

        def read() -> None:
            for each in posts:
                got.append(each.data.text)
                if len(got) == 3:
                    return

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        until(lambda: account.open_count)
        account.publish("fish 1 é", "cat", "fish 2 🐟")
        until(lambda: len(got) == 2)
        posts_open = account.connect_count
        account.publish("fish 3")
        thread.join(WAIT_S)
        posts.close()
    finally:
        client.session.close()

    assert got == ["fish 1 é", "fish 2 🐟", "fish 3"]
    assert posts_open == 1


def test_a_stream_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it says where it could be; the environment's is taken."""
    monkeypatch.delenv("TWITTER_BEARER_TOKEN", raising=False)
    with StreamHarness() as h:
        with pytest.raises(IllegalArgumentError, match="token is missing") as told:
            TwitterUtils.createStream(h.ssc)
        with pytest.raises(IllegalArgumentError, match="filters must be a list"):
            TwitterUtils.createStream(h.ssc, TOKEN, filters="cats")
        monkeypatch.setenv("TWITTER_BEARER_TOKEN", TOKEN)
        TwitterUtils.createStream(h.ssc)

    assert "TWITTER_BEARER_TOKEN" in str(told.value.hint)


def test_the_example_counts_hashtags_also_after_it_was_killed(
    account: Account, url: str
) -> None:
    """The program prints the hashtags of a batch; kill -9 leaves a rule, taken over."""
    ended = threading.Event()

    def post() -> None:
        while not ended.wait(0.1):
            if account.open_count:
                account.publish("a #fish and a #bird", "a #fish")

    thread = threading.Thread(target=post)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TWITTER_BEARER_TOKEN", TOKEN)
            example = [str(EXAMPLES / "twitter_hashtags.py"), "old", "--url", url]
            killed = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "millstream", "run", *example]
            )
            until(lambda: account.open_count)
            killed.kill()
            killed.wait()
            until(lambda: not account.open_count)
            assert [each["value"] for each in account.rules.values()] == ["old"]
            lines_until(["('#fish', "], "twitter_hashtags.py", "fish", "--url", url)
    finally:
        ended.set()
        thread.join()

    assert "old" not in {each["value"] for each in account.rules.values()}
