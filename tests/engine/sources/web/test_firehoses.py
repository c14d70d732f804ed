"""Firehoses: addresses, cursors, keys and records, without a server."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sources.web.firehoses import (
    JetstreamResume,
    is_wikimedia_id,
    jetstream_cursor,
    jetstream_key,
    jetstream_url,
    mastodon_record,
    mastodon_url,
    wikimedia_key,
    wikimedia_record,
    wikimedia_url,
)
from millstream.engine.sources.web.sse import SseEvent


def test_a_jetstream_goes_on_a_little_before_its_cursor() -> None:
    """What is wanted stays; a cursor of before is replaced; it isn't before 1970."""
    url = jetstream_url("wss://host/subscribe", ["a.b", "c.*"], ["did:plc:x"])
    again = JetstreamResume(5.0)(url, 10_000_000)

    assert url.endswith(
        "?wantedCollections=a.b&wantedCollections=c.%2A&wantedDids=did%3Aplc%3Ax"
    )
    assert again == f"{url}&cursor=5000000"
    assert JetstreamResume(5.0)(again, 1_000_000) == f"{url}&cursor=0"


def test_a_jetstream_event_is_known_again() -> None:
    """By its commit; accounts' events by their time."""
    commit = {"rev": "r", "operation": "create", "collection": "c", "rkey": "k"}
    event = {"did": "d", "time_us": 5, "kind": "commit", "commit": commit}
    deleted = {**event, "commit": {**commit, "operation": "delete"}}
    account = {"did": "d", "time_us": 5, "kind": "account", "account": {}}

    assert jetstream_key(event) == jetstream_key({**event, "time_us": 6})
    assert len({jetstream_key(e) for e in (event, deleted, account)}) == 3
    assert jetstream_cursor(event) == 5
    assert jetstream_cursor({"did": "d"}) is None


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('[{"topic": "t", "partition": 0, "offset": 5}]', True),
        ('[{"topic": "t", "partition": 0, "timestamp": 5}]', True),
        ('[{"topic": "t", "partition": 0}]', False),
        ('{"topic": "t", "partition": 0, "offset": 5}', False),
        ("[]", False),
        ("17", False),
        ("[", False),
    ],
)
def test_a_wikimedia_id_is_a_list_of_positions(text: str, is_one: bool) -> None:
    """Others can't be gone on after."""
    assert is_wikimedia_id(text) is is_one


def test_wikimedia_addresses() -> None:
    """Several streams are one address; a time is where to begin."""
    url = wikimedia_url(
        "https://host/v2/stream/", ["recentchange", "page-create"], None
    )

    assert url == "https://host/v2/stream/recentchange,page-create"
    assert wikimedia_url("https://host", ["a"], "2026-01-31T12:00:00Z") == (
        "https://host/a?since=2026-01-31T12%3A00%3A00Z"
    )
    with pytest.raises(IllegalArgumentError, match="list of names"):
        wikimedia_url("https://host", "recentchange", None)


def test_a_wikimedia_record_is_no_canary() -> None:
    """Nor an error's event; what isn't JSON is told by a ValueError."""
    data = '{"meta": {"id": "i", "domain": "de.wikipedia.org"}}'

    record = wikimedia_record(SseEvent("message", data, ""))
    assert wikimedia_key(record) == "i"
    assert wikimedia_key({}) is None
    assert wikimedia_record(SseEvent("error", data, "")) is None
    canary = data.replace("de.wikipedia.org", "canary")
    assert wikimedia_record(SseEvent("message", canary, "")) is None
    with pytest.raises(ValueError, match="Expecting"):
        wikimedia_record(SseEvent("message", "{", ""))
    with pytest.raises(ValueError, match="isn't a JSON object"):
        wikimedia_record(SseEvent("message", "[]", ""))


def test_mastodon_addresses() -> None:
    """As its documentation has them."""
    assert mastodon_url("m.social", "public:local", None, None) == (
        "https://m.social/api/v1/streaming/public/local"
    )
    assert mastodon_url("http://localhost:3000/", "hashtag", "#a b", None) == (
        "http://localhost:3000/api/v1/streaming/hashtag?tag=a+b"
    )
    assert mastodon_url("m.social", "list", None, "7").endswith("/list?list=7")


@pytest.mark.parametrize(
    ("stream", "tag", "of"),
    [("everything", None, None), ("hashtag", None, None), ("public", "a", None),
     ("list", None, None), ("user", None, "7")],
)  # fmt: skip
def test_mastodon_streams_that_are_none(
    stream: str, tag: str | None, of: str | None
) -> None:
    """A wrong name, or what is missing."""
    with pytest.raises(IllegalArgumentError):
        mastodon_url("m.social", stream, tag, of)


def test_a_mastodon_payload_is_json_or_an_id() -> None:
    """Deletions have the id only."""
    assert mastodon_record(SseEvent("delete", "17", "")) == {
        "event": "delete",
        "payload": "17",
    }
    assert mastodon_record(SseEvent("update", '{"id": "1"}', ""))["payload"] == {
        "id": "1"
    }
