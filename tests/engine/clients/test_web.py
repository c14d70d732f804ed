"""WebClient: addresses, headers and waits, without a server."""

import logging

import httpx
import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.web import (
    checked_url,
    hide_urls_in_logs,
    plain_headers,
    retry_after_s,
    secret_headers,
    tls_context,
)


@pytest.mark.parametrize(
    "url", ["", "ftp://host/", "http://", "http:///path", "host:80", "ws://host/"]
)
def test_an_address_needs_a_scheme_and_a_host(url: str) -> None:
    """Others are refused, with what it is for."""
    with pytest.raises(IllegalArgumentError, match="a test needs a URL"):
        checked_url(url, ("http", "https"), "a test")


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    """It would be kept in checkpoints."""
    with pytest.raises(IllegalArgumentError) as told:
        checked_url("http://me:very-private@host/", ("http",), "a test")

    assert "very-private" not in repr(told.value)
    assert "host" in str(told.value)


def test_secret_headers_are_kept_apart() -> None:
    """A token and what is called like a secret aren't shown; the rest is as it was."""
    headers = secret_headers(
        {"Cookie": "c-private", "X-Api-Key": Secret("k-private", "k"), "From": "me"},
        "t-private",
        "test",
    )

    assert "private" not in repr(headers)
    assert plain_headers(headers, has_token=True) == {
        "Authorization": "Bearer t-private",
        "Cookie": "c-private",
        "X-Api-Key": "k-private",
        "From": "me",
    }


@pytest.mark.parametrize("value", ["a\r\nX: y", 5, None])
def test_a_header_is_one_line_of_text(value: object) -> None:
    """Anything else is refused, or it would be two headers."""
    with pytest.raises(IllegalArgumentError, match="one line of text"):
        secret_headers({"X-Test": value}, None, "test")  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 4.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("9" * 30, 86_400.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or a date, a day at most."""
    assert retry_after_s(value, 5_000) == seconds


def test_certificates_that_cant_be_read_are_told() -> None:
    """The file is named."""
    with pytest.raises(IllegalArgumentError, match="can't be read"):
        tls_context("nowhere.pem")


def test_logs_have_no_path_and_no_query(caplog: pytest.LogCaptureFixture) -> None:
    """The library's line for each request has the host only."""
    caplog.set_level(logging.INFO)
    hide_urls_in_logs()
    url = httpx.URL("https://host/private?key=private")
    logging.getLogger("httpx").info("HTTP Request: %s %s", "GET", url)

    assert "https://host" in caplog.text
    assert "private" not in caplog.text
