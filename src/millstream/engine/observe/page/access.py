"""Access: who may do what on the page: all is decided here, from a request's headers.

Without a token the page is read-only. With one, whoever has it may act: as a bearer's token,
or by a cookie that the sign-in form gives for it. A browser that somebody else's site sends
here, under whatever name, is refused before the token is looked at.
"""

import hmac
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.seldom import Seldom

AUTO = "auto"
SIGN_IN = "/login/"
KEY = "spark.millstream.ui.token"
VARIABLE = "MILLSTREAM_UI_TOKEN"

LOOPBACKS = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_READING = ("GET", "HEAD")
# What machines ask for that aren't to act, and what a page to sign in on needs.
_OPEN = re.compile(r"/(metrics|healthz|readyz|login/|static/[^/]+)")
_TOKEN = re.compile(r"[!-~]{16,}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)

_log = logging.getLogger(__name__)


def make_token(given: str | None) -> str | None:
    """Return the token that a setting asks for: a random one for `auto`.

    Raises:
        IllegalArgumentError: It could be guessed, or can't be in a header.
    """
    if not given:
        return None
    if given == AUTO:
        return secrets.token_urlsafe(24)
    if not _TOKEN.fullmatch(given):
        msg = (
            f"the page's token ({KEY}, --ui-token or {VARIABLE}) should be at least 16 "
            "letters, digits or signs without blanks"
        )
        hint = (
            "such as `openssl rand -hex 16` gives; `auto` makes one, and prints the "
            "page's address with it"
        )
        raise IllegalArgumentError(msg, hint=hint)
    return given


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request isn't answered."""

    message: str
    can_sign_in: bool = False
    """Whether it would be answered with a token."""


class Access:
    """What a page's visitors may do."""

    def __init__(
        self, token: str | None = None, *, host: str = "127.0.0.1", name: str = "page"
    ) -> None:
        """Let who has `token` act; None: nobody.

        `host` is where the page listens; `name` tells its cookie from those of other pages
        on the same machine, for cookies are shared by all ports.
        """
        self._token = token
        self._host = host
        self.cookie_name = "millstream-" + re.sub(r"[^\w-]", "-", name)
        # Not the token: a cookie goes to every server on this host, whatever its port.
        self._session = secrets.token_urlsafe(32)
        self._seldom = Seldom(_log)

    @property
    def is_writable(self) -> bool:
        """Whether anybody may act."""
        return self._token is not None

    @property
    def is_open_to_others(self) -> bool:
        """Whether who reaches this machine from another one can read the page."""
        return self._token is None and self._host not in LOOPBACKS

    @property
    def _reads_freely(self) -> bool:
        return self._token is None or self._host in LOOPBACKS

    def refusal(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> Refusal | None:
        """Return why a request isn't answered; None if it is. Header names are lower case."""
        if method in _READING:
            if self._reads_freely or _OPEN.fullmatch(path) or self.knows(headers):
                return None
            return Refusal("this page is shown to who has its token", can_sign_in=True)
        if self._token is None:
            return Refusal(
                f"this page is read-only: its program was started without {KEY}"
            )
        foreign = self._foreign(headers)
        if foreign is not None:
            return foreign
        if path == SIGN_IN or self.knows(headers):
            return None
        self._tell_of_wrong_token(headers)
        return Refusal(
            "a request that changes something needs the page's token: "
            "`Authorization: Bearer TOKEN`",
            can_sign_in=True,
        )

    def _foreign(self, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is none of this page's own; None if it may be."""
        host = headers.get("host", "")
        if not self._is_own_name(host):
            return Refusal(
                f"requests to '{host}' don't change anything: ask this machine by its "
                "address, or by the name in spark.millstream.ui.host"
            )
        origin = headers.get("origin")
        # Whatever its scheme: a proxy may speak TLS for the page.
        own = {f"http://{host.lower()}", f"https://{host.lower()}"}
        if origin is not None and origin.lower() not in own:
            return Refusal(f"requests from the site '{origin}' are refused")
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return Refusal("requests from other sites are refused")
        return None

    def _is_own_name(self, host: str) -> bool:
        name = name_of(host)
        if name is None:
            return False
        if name in LOOPBACKS or name == self._host.lower():
            return True
        if self._host not in _EVERYWHERE:
            return False
        # An address can't be made to point elsewhere, as a name can.
        return name == socket.gethostname().lower() or _is_address(name)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Say whether a request carries the token, or the cookie that was given for it."""
        if self._token is None:
            return False
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(value.strip())
        return _are_same(_cookie(headers, self.cookie_name), self._session)

    def is_token(self, text: str) -> bool:
        """Say whether `text` is the token, in a time that tells nothing of it."""
        return self._token is not None and _are_same(text, self._token)

    def cookie(self) -> str:
        """Return the header that signs a browser in until it is closed."""
        return f"{self.cookie_name}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def no_cookie(self) -> str:
        """Return the header that signs it out."""
        return f"{self.cookie_name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"

    def note_wrong_token(self) -> None:
        """Tell the log that somebody has tried a wrong token."""
        self._seldom.warning("somebody has tried a wrong token on the page")

    def _tell_of_wrong_token(self, headers: Mapping[str, str]) -> None:
        if "authorization" in headers:
            self.note_wrong_token()

    def address_to_sign_in(self, url: str) -> str:
        """Return where a browser is signed in at once: it has the token in it."""
        assert self._token is not None, "nobody can sign in"
        return f"{url}{SIGN_IN}?token={quote(self._token, safe='')}"


def _cookie(headers: Mapping[str, str], name: str) -> str:
    from starlette.requests import cookie_parser  # noqa: PLC0415  Heavy.

    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _are_same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


def name_of(host: str) -> str | None:
    """Return the name or address in a Host header; None if it has none.

    >>> name_of("LOCALHOST:4040"), name_of("[::1]:4040"), name_of("localhost:x")
    ('localhost', '::1', None)
    """
    found = _HOST.fullmatch(host.lower())
    return None if found is None else found[1].strip("[]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class KnownNames:
    """Refuses requests for other names than the page's own, before all else."""

    def __init__(self, app: Any, names: Collection[str]) -> None:
        """Let those through to `app` that ask for one of `names`; `*` is all there are."""
        self._app = app
        self._names = names

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or have it answered."""
        from starlette.datastructures import Headers  # noqa: PLC0415  Heavy.
        from starlette.responses import JSONResponse  # noqa: PLC0415

        if scope["type"] != "http" or "*" in self._names:
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if name_of(host) in self._names:
            await self._app(scope, receive, send)
            return
        error = (
            f"this page has no such name: '{host:.100}'. Ask for "
            f"{' or '.join(self._names)}; for other names, set spark.millstream.ui.host"
        )
        await JSONResponse({"error": error}, 400)(scope, receive, send)


class Guard:
    """Refuses requests before anything else sees them."""

    def __init__(self, app: Any, access: Access) -> None:
        """Let those through to `app` that `access` allows."""
        self._app = app
        self._access = access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.datastructures import Headers  # noqa: PLC0415  Heavy.
        from starlette.responses import JSONResponse, RedirectResponse  # noqa: PLC0415

        headers, path = Headers(scope=scope), scope["path"]
        refusal = self._access.refusal(scope["method"], path, headers)
        if refusal is None:
            await self._app(scope, receive, send)
        elif (
            refusal.can_sign_in
            and scope["method"] in _READING
            and "text/html" in headers.get("accept", "")
        ):
            where = path + ("?" + scope["query_string"].decode("latin-1")).rstrip("?")
            to = f"{SIGN_IN}?next={quote(where, safe='')}"
            await RedirectResponse(to, 303)(scope, receive, send)
        else:
            answer = JSONResponse({"error": refusal.message}, 403)
            await answer(scope, receive, send)
