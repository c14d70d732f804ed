"""Firehoses: how open streams that people use are asked for, and what comes of them. Pure.

- Bluesky's Jetstream (github.com/bluesky-social/jetstream): JSON over WebSocket; cursors
  are times in microseconds, and a reconnecting client goes back a few seconds.
- Wikimedia's EventStreams (wikitech.wikimedia.org, "EventStreams"): server-sent events; an
  id is a JSON list of positions in Kafka's topics.
- Mastodon's streaming API (docs.joinmastodon.org, "Streaming"): server-sent events without
  ids; what is missed is missed.
"""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sources.web.sse import SseEvent

BLUESKY = "wss://jetstream2.us-east.bsky.network/subscribe"
WIKIMEDIA = "https://stream.wikimedia.org/v2/stream"


def with_parameters(url: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Return a URL with parameters in its query; those of the same name go.

    >>> with_parameters("ws://host/a?cursor=1&b=2", [("cursor", "5")])
    'ws://host/a?b=2&cursor=5'
    """
    names = {name for name, _ in parameters}
    parts = urlsplit(url)
    kept = [(n, v) for n, v in parse_qsl(parts.query) if n not in names]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters])))


# Bluesky.


def jetstream_url(url: str, collections: Sequence[str], dids: Sequence[str]) -> str:
    """Return the address of a Jetstream with what is wanted of it."""
    wanted = [("wantedCollections", each) for each in collections]
    return with_parameters(url, [*wanted, *(("wantedDids", each) for each in dids)])


def jetstream_cursor(event: Any) -> int | None:
    """Return an event's time in microseconds."""
    time_us = event.get("time_us")
    return time_us if isinstance(time_us, int) else None


def jetstream_key(event: Any) -> Hashable:
    """Return what makes it the same event when it is sent again."""
    commit = event.get("commit")
    if not isinstance(commit, dict):
        return event.get("did"), event.get("kind"), event.get("time_us")
    names = ("rev", "operation", "collection", "rkey")
    return event.get("did"), *(commit.get(each) for each in names)


@dataclass(frozen=True, slots=True)
class JetstreamResume:
    """Goes on a little before a cursor: instances differ in their order of events."""

    rewind_s: float

    def __call__(self, url: str, cursor: int) -> str:
        """Return the address that goes on."""
        begin_us = max(0, cursor - round(self.rewind_s * 1_000_000))
        return with_parameters(url, [("cursor", str(begin_us))])


def json_object(data: str | bytes) -> Any:
    """Return a JSON object.

    Raises:
        ValueError: It isn't one.
    """
    found = json.loads(data)
    if not isinstance(found, dict):
        msg = "it isn't a JSON object"
        raise ValueError(msg)  # noqa: TRY004  As `json.loads` does: it is a bad value.
    return found


# Wikimedia.


def wikimedia_url(url: str, streams: Sequence[str], since: str | None) -> str:
    """Return the address of event streams, several of them as one.

    Raises:
        IllegalArgumentError: No stream is named.
    """
    if isinstance(streams, str) or not streams:
        msg = f"streams must be a list of names such as 'recentchange', not {streams!r}"
        raise IllegalArgumentError(msg)
    names = ",".join(quote(each, safe=".-_") for each in streams)
    address = f"{url.rstrip('/')}/{names}"
    return address if since is None else with_parameters(address, [("since", since)])


def is_wikimedia_id(event_id: str) -> bool:
    """Say whether an event's id is a list of positions in topics.

    >>> is_wikimedia_id('[{"topic": "a", "partition": 0, "offset": 7}]')
    True
    """
    try:
        found = json.loads(event_id)
    except ValueError:
        return False
    return bool(found) and isinstance(found, list) and all(map(_is_position, found))


def _is_position(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("topic"), str)
        and isinstance(value.get("partition"), int)
        and (
            isinstance(value.get("offset"), int)
            or isinstance(value.get("timestamp"), int)
        )
    )


def wikimedia_record(event: SseEvent) -> Any:
    """Return an event's JSON; None for what only tests whether the stream is alive."""
    if event.event != "message":
        return None
    record = json_object(event.data)
    meta = record.get("meta")
    is_canary = isinstance(meta, dict) and meta.get("domain") == "canary"
    return None if is_canary else record


def wikimedia_key(record: Any) -> Hashable:
    """Return an event's own id, or None."""
    meta = record.get("meta")
    found = meta.get("id") if isinstance(meta, dict) else None
    return found if isinstance(found, str) else None


# Mastodon.

_TAGGED = {"hashtag", "hashtag:local"}
_MASTODON = {
    "public", "public:media", "public:local", "public:local:media", "public:remote",
    "public:remote:media", *_TAGGED, "user", "user:notification", "direct", "list",
}  # fmt: skip


def mastodon_url(instance: str, stream: str, tag: str | None, of: str | None) -> str:
    """Return the address of a stream of a server.

    `stream` is as in Mastodon's documentation, "public:local" say; `tag` is a hashtag's,
    `of` the id of a list.

    Raises:
        IllegalArgumentError: There is no such stream, or it needs a tag or a list.
    """
    if stream not in _MASTODON:
        msg = f"Mastodon has no stream '{stream}': {', '.join(sorted(_MASTODON))}"
        raise IllegalArgumentError(msg)
    if (stream in _TAGGED) != (tag is not None):
        msg = f"a tag goes with a hashtag's stream; this is '{stream}', tag {tag!r}"
        raise IllegalArgumentError(msg)
    if (stream == "list") != (of is not None):
        msg = f"a list's id goes with the stream 'list'; this is '{stream}', {of!r}"
        raise IllegalArgumentError(msg)
    host = instance if "://" in instance else f"https://{instance}"
    address = f"{host.rstrip('/')}/api/v1/streaming/{stream.replace(':', '/')}"
    if tag is not None:
        return with_parameters(address, [("tag", tag.removeprefix("#"))])
    return address if of is None else with_parameters(address, [("list", of)])


def mastodon_record(event: SseEvent) -> Any:
    """Return a dict of `event`, such as "update" or "delete", and its `payload`."""
    payload: Any = event.data
    if event.data[:1] in {"{", "["}:
        payload = json.loads(event.data)
    return {"event": event.event, "payload": payload}


def of_stream(names: Sequence[str], what: str) -> Sequence[str]:
    """Return names; text alone isn't a list of them.

    Raises:
        IllegalArgumentError: They aren't a list of text.
    """
    is_list = not isinstance(names, (str, bytes))
    if not is_list or not all(isinstance(each, str) for each in names):
        msg = f"{what} must be a list of text, not {names!r}"
        raise IllegalArgumentError(msg)
    return tuple(names)
