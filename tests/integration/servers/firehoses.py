"""Firehoses: servers that push as Jetstream, EventStreams and Mastodon document it.

A test says what has happened so far (`publish`) and when connections break (`breaks`).
"""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

_LOOK_S = 0.01


@dataclass
class Log:
    """Events in order, and what those who read them do."""

    events: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)
    """After how many events each connection breaks, the first one first."""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What to answer in place of the stream, the first request first."""
    token: str | None = None
    is_silent: threading.Event = field(default_factory=threading.Event)
    """While set: connections stay, and nothing is sent."""
    open_count: int = 0

    def publish(self, *events: Any) -> None:
        """Let events happen; from any thread."""
        self.events += events

    def refusal(self, request: web.Request) -> web.Response | None:
        """Note a request; return an answer in place of the stream, if there is one."""
        self.requests.append(
            {"query": dict(request.query), "headers": dict(request.headers)}
        )
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text="no")
        said = request.headers.get("Authorization")
        if self.token is not None and said != f"Bearer {self.token}":
            return web.Response(status=401, text="who are you?")
        return None

    async def follow(
        self, begin: int, send: Callable[[int, Any], Any], is_gone: Callable[[], bool]
    ) -> None:
        """Send events from a place on, until the connection is to break."""
        left = self.break_after.pop(0) if self.break_after else -1
        place = begin
        self.open_count += 1
        try:
            while left != 0 and not is_gone():
                if place < len(self.events) and not self.is_silent.is_set():
                    await send(place, self.events[place])
                    place += 1
                    left -= 1
                else:
                    await asyncio.sleep(_LOOK_S)
        finally:
            self.open_count -= 1


@dataclass
class Jetstream(Log):
    """`/subscribe`: replays by `cursor`, else live; filters by collection and did."""

    answers_pings: bool = True

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        reading = asyncio.create_task(_read(socket))
        wanted = request.query.getall("wantedCollections", [])
        dids = request.query.getall("wantedDids", [])
        cursor = request.query.get("cursor")
        begin = len(self.events)
        if cursor is not None:
            newer = (i for i, e in enumerate(self.events) if e["time_us"] > int(cursor))
            begin = next(newer, begin)

        async def send(_place: int, event: Any) -> None:
            collection = event.get("commit", {}).get("collection")
            if (not wanted or collection is None or collection in wanted) and (
                not dids or event["did"] in dids
            ):
                await socket.send_str(json.dumps(event))

        try:
            await self.follow(begin, send, lambda: reading.done())
        finally:
            reading.cancel()
            transport = request.transport
            if transport is not None:
                transport.abort()  # As a broken connection: no closing handshake.
        return socket

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/subscribe", self.subscribe)
        return app


async def _read(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.ERROR:
            return


def post(number: int, text: str = "hello sky") -> dict[str, Any]:
    """Return an event of Jetstream: a post is created."""
    return {
        "did": f"did:plc:{number % 3}",
        "time_us": 1_700_000_000_000_000 + number * 100_000,
        "kind": "commit",
        "commit": {
            "rev": f"r{number}",
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": f"k{number}",
            "record": {"$type": "app.bsky.feed.post", "text": text},
            "cid": f"c{number}",
        },
    }


@dataclass
class EventStreams(Log):
    """`/v2/stream/{streams}`: goes on after `Last-Event-ID`, else live; sends comments."""

    retry_ms: int | None = None
    is_eventless: bool = False

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        names = request.match_info["streams"].split(",")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b":ok\n\n")
        if self.retry_ms is not None:
            await answer.write(f"retry: {self.retry_ms}\n\n".encode())
        begin = len(self.events)
        last = request.headers.get("Last-Event-ID")
        if last:
            begin = json.loads(last)[0]["offset"] + 1

        async def send(place: int, event: Any) -> None:
            if event["stream"] not in names:
                return
            position = [
                {"topic": f"eqiad.{event['stream']}", "partition": 0, "offset": place}
            ]
            text = json.dumps(event, ensure_ascii=False)
            told = f"event: message\nid: {json.dumps(position)}\ndata: {text}\n\n"
            data = told.encode()
            # In two pieces: an event's end isn't a piece's end, nor a character's.
            half = len(data) - 3
            await answer.write(data[:half])
            await answer.write(data[half:])
            await answer.write(b": a comment\n\n")

        await self.follow(begin, send, lambda: request.transport is None)
        if request.transport is not None:
            request.transport.abort()
        return answer

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/v2/stream/{streams}", self.stream)
        return app


def edit(number: int, stream: str = "recentchange", **more: Any) -> dict[str, Any]:
    """Return an event of EventStreams."""
    meta = {"id": f"id-{number}", "domain": "de.wikipedia.org"}
    return {"stream": stream, "meta": meta, "title": f"Größe {number}", **more}


@dataclass
class Mastodon(Log):
    """`/api/v1/streaming/...`: live only; wants a token; `:thump` now and then."""

    paths: list[str] = field(default_factory=list)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        self.paths.append(request.path_qs)
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b":)\n\n")

        async def send(_place: int, event: Any) -> None:
            name, payload = event
            await answer.write(f"event: {name}\ndata: {payload}\n\n:thump\n\n".encode())

        await self.follow(len(self.events), send, lambda: request.transport is None)
        return answer

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/api/v1/streaming/{name:.*}", self.stream)
        return app
