"""WebClient: what sources and sinks that use HTTP or WebSocket share.

Addresses that may be shown, headers with secrets in them, trust in certificates, and how
long a server asks to be left alone.
"""

import logging
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import (
    Secret,
    is_secret_key,
    secret_of,
    without_password,
)

_SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization"}
_TOO_LONG_S = 86_400.0


def checked_url(url: str, schemes: tuple[str, ...], what: str) -> str:
    """Return a URL that has one of the schemes, a host, and no password.

    Raises:
        IllegalArgumentError: It hasn't.
    """
    if not isinstance(url, str):
        msg = f"{what} needs a URL as text, not {type(url).__name__}"
        raise IllegalArgumentError(msg)
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        msg = (
            f"{what} needs a URL that begins with {' or '.join(schemes)} and names a "
            f"host, not '{without_password(url)}'"
        )
        raise IllegalArgumentError(msg)
    if "@" in parts.netloc:
        msg = f"the URL of {what} has a user or password in it: {parts.hostname}"
        raise IllegalArgumentError(
            msg, hint="URLs are kept in checkpoints; pass token=, or a header"
        )
    return url


def secret_headers(
    headers: Mapping[str, str | Secret] | None, token: str | Secret | None, name: str
) -> dict[str, str | Secret]:
    """Return headers with what is secret among them as a `Secret`.

    `token` becomes `Authorization: Bearer <token>`; secrets are named after `name`.

    Raises:
        IllegalArgumentError: A header isn't text, or breaks the line.
    """
    kept: dict[str, str | Secret] = {}
    for key, value in (headers or {}).items():
        shown: Any = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(shown, str) or "\r" in key + shown or "\n" in key + shown:
            msg = f"header '{key!r}' must have one line of text"
            raise IllegalArgumentError(msg)
        is_secret = key.lower() in _SECRET_HEADERS or is_secret_key(key)
        kept[key] = Secret(shown, f"{name}.{key}") if is_secret else value
    if token is not None:
        secret = secret_of(token, f"{name}.token")
        assert secret is not None, "text or a secret"
        kept["Authorization"] = secret
    return kept


def plain_headers(
    headers: Mapping[str, str | Secret], *, has_token: bool
) -> dict[str, str]:
    """Return headers as they are sent; `has_token`: Authorization is a bare token.

    Never keep or show them.
    """
    plain = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in headers.items()
    }
    if has_token:
        plain["Authorization"] = f"Bearer {plain['Authorization']}"
    return plain


def tls_context(ca_file: str | None) -> ssl.SSLContext | None:
    """Return what trusts the certificates of a file, or None for the usual ones.

    Raises:
        IllegalArgumentError: The file can't be read, or has no certificate.
    """
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        msg = f"the certificates in '{ca_file}' can't be read: {error}"
        raise IllegalArgumentError(msg) from error


def tls_problem(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error that an error, or what caused it, is."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Return for how long a `Retry-After` header asks to wait (RFC 9110, 10.2.3).

    It has seconds or a date; None when there is neither.

    >>> retry_after_s("120", 0), retry_after_s("Thu, 01 Jan 1970 00:00:07 GMT", 2000)
    (120.0, 5.0)
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), _TOO_LONG_S)
    try:
        until_ms = parsedate_to_datetime(value).timestamp() * 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, (until_ms - now_ms) / 1000), _TOO_LONG_S)


class _HidesUrls(logging.Filter):
    """Leaves of each URL in a log line what isn't secret: its scheme and host."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_shown(each) for each in record.args)
        return True


def _shown(value: Any) -> Any:
    is_url = type(value).__module__.startswith("httpx") and hasattr(value, "scheme")
    return f"{value.scheme}://{value.host}" if is_url else value


_hides_urls = _HidesUrls()


def hide_urls_in_logs() -> None:
    """Let the HTTP library log no path and no query: some have a token in them."""
    logging.getLogger("httpx").addFilter(_hides_urls)
