"""Twitter: a server that follows what X documents of its streams, version 2.

Posts go to whoever is connected when they are published, as lines of JSON that end with
CRLF, cut anywhere, inside a character too; an empty line keeps the connection alive. An
account has one connection and one set of rules. X itself was never asked: that this server
is faithful is tested by two clients that others wrote.
"""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "bearer-of-good-tidings"

_LOOK_S = 0.005


@dataclass
class Account:
    """What an account has, and what is done to it."""

    keep_alive_s: float = 0.1
    rules: dict[str, dict[str, str]] = field(default_factory=dict)
    lines: list[bytes | None] = field(default_factory=list)
    """What streams send, in order; None breaks the connection."""
    open_count: int = 0
    connect_count: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What streams answer in place of posts, the first request first."""
    is_silent: bool = False
    """While true: not even keep-alives come."""
    _ids: Any = field(default_factory=lambda: itertools.count(100))

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/2/tweets/search/stream/rules", self.get_rules)
        app.router.add_post("/2/tweets/search/stream/rules", self.change_rules)
        app.router.add_get("/2/tweets/search/stream", self.search)
        app.router.add_get("/2/tweets/sample/stream", self.sample)
        return app

    # What a test does.

    def publish(self, *texts: str) -> None:
        """Let posts be written; from any thread."""
        for text in texts:
            number = str(next(self._ids))
            post = {"id": number, "text": text, "edit_history_tweet_ids": [number]}
            self.lines.append(json.dumps({"data": post}, ensure_ascii=False).encode())

    def disconnect(self, kind: str = "OperationalDisconnect") -> None:
        """Let the server end its connection, telling why."""
        problem = {
            "title": "operational-disconnect",
            "disconnect_type": kind,
            "detail": "This stream has been disconnected for operational reasons.",
            "type": "https://api.twitter.com/2/problems/operational-disconnect",
        }
        self.lines += [json.dumps({"errors": [problem]}).encode(), None]

    def drop(self) -> None:
        """Let the connection break without a word."""
        self.lines.append(None)

    def add_rule(self, value: str, tag: str | None) -> str:
        """Add a rule, as some other program does; return its id."""
        rule_id = str(next(self._ids))
        self.rules[rule_id] = {
            "id": rule_id, "value": value, **({} if tag is None else {"tag": tag}),
        }  # fmt: skip
        return rule_id

    # What the server does.

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.method, request.path))
        said = request.headers.get("Authorization", "")
        self.authorizations.append(said)
        if said == f"Bearer {TOKEN}":
            return None
        problem = {"title": "Unauthorized", "type": "about:blank", "status": 401}
        return web.json_response({**problem, "detail": "Unauthorized"}, status=401)

    async def get_rules(self, request: web.Request) -> web.Response:
        """Return the rules."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        meta = {"sent": "2026-01-01T00:00:00.000Z", "result_count": len(self.rules)}
        found = {"data": list(self.rules.values())} if self.rules else {}
        return web.json_response({**found, "meta": meta})

    async def change_rules(self, request: web.Request) -> web.Response:
        """Add or delete rules."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        body = await request.json()
        meta = {"sent": "2026-01-01T00:00:00.000Z"}
        if "delete" in body:
            gone = [self.rules.pop(each, None) for each in body["delete"]["ids"]]
            deleted = sum(each is not None for each in gone)
            summary = {"deleted": deleted, "not_deleted": len(gone) - deleted}
            return web.json_response({"meta": {**meta, "summary": summary}})
        added, errors = [], []
        for each in body["add"]:
            same = [r for r in self.rules.values() if r["value"] == each["value"]]
            if same:
                title = {"title": "DuplicateRule", "id": same[0]["id"]}
                errors.append({**title, "value": each["value"]})
            elif each["value"].count('"') % 2:
                title = {"title": "Invalid Rule", "value": each["value"]}
                errors.append({**title, "details": ["unmatched quote"]})
            else:
                added.append(self.rules[self.add_rule(each["value"], each.get("tag"))])
        summary = {
            "created": len(added), "not_created": len(errors),
            "valid": len(added), "invalid": len(errors),
        }  # fmt: skip
        answer: dict[str, Any] = {"meta": {**meta, "summary": summary}}
        if added:
            answer["data"] = added
        if errors:
            answer["errors"] = errors
        return web.json_response(answer, status=201 if added else 200)

    async def search(self, request: web.Request) -> web.StreamResponse:
        """Stream posts that match a rule."""
        return await self._stream(request, has_rules=True)

    async def sample(self, request: web.Request) -> web.StreamResponse:
        """Stream any posts."""
        return await self._stream(request, has_rules=False)

    async def _stream(
        self, request: web.Request, *, has_rules: bool
    ) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        self.queries.append(dict(request.query))
        if self.answers:
            status, headers = self.answers.pop(0)
            problem = {"title": "Try again", "status": status}
            return web.json_response(problem, status=status, headers=headers)
        if self.open_count:
            problem = {
                "title": "ConnectionException",
                "detail": "This stream is currently at the maximum allowed connections.",
                "connection_issue": "TooManyConnections",
                "type": "https://api.twitter.com/2/problems/streaming-connection",
            }
            return web.json_response(problem, status=429)
        place = len(self.lines)  # First: who sees the count publishes.
        self.open_count += 1
        self.connect_count += 1
        try:
            return await self._follow(request, place, has_rules=has_rules)
        finally:
            self.open_count -= 1

    async def _follow(
        self, request: web.Request, place: int, *, has_rules: bool
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        silent_s = 0.0
        while request.transport is not None:
            if self.is_silent or place == len(self.lines):
                await asyncio.sleep(_LOOK_S)
                silent_s += _LOOK_S
                if silent_s >= self.keep_alive_s and not self.is_silent:
                    await answer.write(b"\r\n")
                    silent_s = 0.0
                continue
            line = self.lines[place]
            place += 1
            if line is None:
                request.transport.abort()
                return answer
            told = self._matched(line) if has_rules else line
            if told is not None:
                await _write_cut(answer, told + b"\r\n")
        return answer

    def _matched(self, line: bytes) -> bytes | None:
        """Return a post with the rules that it matches: those whose text is in it."""
        payload = json.loads(line)
        if "data" not in payload:
            return line
        text = payload["data"]["text"]
        matching = [
            {"id": each["id"], **({"tag": each["tag"]} if "tag" in each else {})}
            for each in self.rules.values()
            if each["value"] in text
        ]
        if not matching:
            return None
        told = {**payload, "matching_rules": matching}
        return json.dumps(told, ensure_ascii=False).encode()


async def _write_cut(answer: web.StreamResponse, data: bytes) -> None:
    """Write in pieces: cut inside the JSON, inside a character if there is a long one."""
    long_one = next((i for i, byte in enumerate(data) if byte >= 0xC0), len(data) // 2)
    for piece in (data[: long_one + 1], data[long_one + 1 : -1], data[-1:]):
        await answer.write(piece)
        await asyncio.sleep(0)
