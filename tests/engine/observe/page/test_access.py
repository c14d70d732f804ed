"""Who may act is known by the token, and nobody else's site can lend a visitor's hands."""

import logging
import socket
from collections.abc import Mapping

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.observe.page.access import KEY, Access, make_token

TOKEN = "a-token-for-tests"
HERE = {"host": "127.0.0.1:4040"}
BEARER = {**HERE, "authorization": f"Bearer {TOKEN}"}


def is_let_in(
    access: Access, headers: Mapping[str, str], method: str = "POST", path: str = "/x/"
) -> bool:
    """Say whether a request would be answered."""
    return access.refusal(method, path, headers) is None


def cookie_of(access: Access) -> str:
    """Return what a browser sends that has signed in."""
    return access.cookie().split(";")[0]


def test_without_a_token_the_page_is_read_only() -> None:
    """Whatever a request carries; and the refusal says which setting it is."""
    access = Access()
    refusal = access.refusal("POST", "/x/", BEARER)

    assert not access.is_writable
    assert refusal is not None
    assert "spark.millstream.ui.token" in refusal.message
    assert not refusal.can_sign_in
    assert is_let_in(access, HERE, "GET")
    assert not is_let_in(access, HERE, "POST", "/login/")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_writes_needs_the_token(method: str) -> None:
    """As a bearer's, or by the cookie that stands for it."""
    access = Access(TOKEN)
    wrong = {**HERE, "authorization": f"Bearer {TOKEN}x"}

    assert is_let_in(access, BEARER, method)
    assert is_let_in(access, {**HERE, "cookie": cookie_of(access)}, method)
    assert not is_let_in(access, HERE, method)
    assert not is_let_in(access, wrong, method)
    assert not is_let_in(access, {**HERE, "authorization": f"Basic {TOKEN}"}, method)
    assert not is_let_in(access, {**HERE, "authorization": "Bearer"}, method)
    assert not is_let_in(access, {**HERE, "authorization": "Bearer é"}, method)


def test_a_cookie_is_kept_from_scripts_and_other_sites_and_is_not_the_token() -> None:
    """Servers on other ports get it too: they mustn't learn the token."""
    access = Access(TOKEN, name="local-1")
    cookie = access.cookie()

    assert cookie.startswith("millstream-local-1=")
    assert "; HttpOnly" in cookie
    assert "; SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert "Max-Age=0" in access.no_cookie()


def test_a_cookie_of_another_program_opens_nothing() -> None:
    """Nor one that is empty or made up."""
    access = Access(TOKEN, name="a")
    for cookie in (
        cookie_of(Access(TOKEN, name="a")),
        "millstream-a=",
        f"millstream-a={TOKEN}",
        "millstream-a",
        '"=;;=',
    ):
        assert not is_let_in(access, {**HERE, "cookie": cookie}), cookie


def test_a_wrong_cookie_does_not_hide_the_one_that_is_right() -> None:
    """Other servers' cookies come along."""
    access = Access(TOKEN, name="a")
    cookies = f"other=1; bad[=x; {cookie_of(access)}; last"

    assert is_let_in(access, {**HERE, "cookie": cookies})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_forms_of_other_sites_are_refused(headers: Mapping[str, str]) -> None:
    """Those of other ports, too, to which a browser would send the cookie."""
    access = Access(TOKEN)
    signed_in = {**HERE, "cookie": cookie_of(access)}
    refusal = access.refusal("POST", "/x/", {**signed_in, **headers})

    assert is_let_in(access, {**signed_in, "origin": "http://127.0.0.1:4040"})
    assert refusal is not None
    assert "site" in refusal.message
    assert not is_let_in(access, {**HERE, **headers}, "POST", "/login/")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4040", "", "127.0.0.1.evil.example", "[::1"]
)
def test_a_name_that_was_made_to_point_here_changes_nothing(host: str) -> None:
    """Even with the token, and on every interface."""
    headers = {**BEARER, "host": host, "origin": f"http://{host}"}

    assert not is_let_in(Access(TOKEN), headers)
    assert not is_let_in(Access(TOKEN, host="0.0.0.0"), headers)


@pytest.mark.parametrize("host", ["127.0.0.1:4040", "localhost:4040", "[::1]:4040"])
def test_this_machines_names_are_known(host: str) -> None:
    """With any port: a tunnel may have another."""
    assert is_let_in(Access(TOKEN), {**BEARER, "host": host})


def test_on_every_interface_addresses_and_the_machines_name_are_known() -> None:
    """An address can't be made to point elsewhere."""
    access = Access(TOKEN, host="0.0.0.0")
    names = ("10.1.2.3:4040", "[fe80::1]:4040", socket.gethostname(), "LOCALHOST")

    assert all(is_let_in(access, {**BEARER, "host": name}) for name in names)
    assert not is_let_in(Access(TOKEN), {**BEARER, "host": "10.1.2.3:4040"})


def test_the_configured_name_is_known() -> None:
    """In any case of letters."""
    access = Access(TOKEN, host="Words.example")

    assert is_let_in(access, {**BEARER, "host": "words.EXAMPLE:4040"})
    assert not is_let_in(access, {**BEARER, "host": "10.1.2.3:4040"})


def test_on_loopback_reading_needs_no_token() -> None:
    """Whoever is on this machine sees the page."""
    assert is_let_in(Access(TOKEN), HERE, "GET", "/environment/")


def test_where_others_reach_a_page_with_a_token_it_is_shown_to_who_has_it() -> None:
    """All but what machines ask for, and what a form to sign in on needs."""
    access = Access(TOKEN, host="0.0.0.0")
    for path in ("/", "/streaming/", "/environment/", "/api/v1/applications", "/news"):
        refusal = access.refusal("GET", path, HERE)
        assert refusal is not None, path
        assert refusal.can_sign_in
        assert is_let_in(access, BEARER, "GET", path)
    for path in ("/metrics", "/healthz", "/readyz", "/login/", "/static/page.css"):
        assert is_let_in(access, HERE, "GET", path), path
    for path in ("/metrics/x", "/static/../environment/", "/login/x", "/x/metrics"):
        assert not is_let_in(access, HERE, "GET", path), path
    assert not access.is_open_to_others


def test_where_others_reach_a_page_without_a_token_they_read_it() -> None:
    """As ever; who starts it is told."""
    assert is_let_in(Access(host="0.0.0.0"), HERE, "GET", "/environment/")
    assert Access(host="0.0.0.0").is_open_to_others
    assert not Access().is_open_to_others


def test_a_wrong_token_is_told_in_the_log_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once a minute: who guesses mustn't fill it."""
    access = Access(TOKEN)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            access.refusal("POST", "/x/", {**HERE, "authorization": "Bearer guessed"})

    assert caplog.text.count("wrong token") == 1
    assert "guessed" not in caplog.text


def test_tokens_that_could_be_guessed_are_refused() -> None:
    """Or that no header can have; the error doesn't show it."""
    for given in ("short", "x" * 15, "with blanks in all of it", "é" * 20):
        with pytest.raises(IllegalArgumentError, match="at least 16") as raised:
            make_token(given)
        assert given not in str(raised.value)
        for name in (KEY, "--ui-token", "MILLSTREAM_UI_TOKEN"):
            assert name in str(raised.value)

    assert make_token(TOKEN) == TOKEN
    assert make_token(None) is None
    assert make_token("") is None


def test_auto_makes_another_token_each_time() -> None:
    """That would be accepted if it was given."""
    one, other = make_token("auto"), make_token("auto")

    assert one != other
    assert make_token(one) == one


def test_the_address_to_sign_in_has_the_token() -> None:
    """Whatever signs are in it."""
    address = Access("0123456789abcdef&/?").address_to_sign_in("http://localhost:1")

    assert address == "http://localhost:1/login/?token=0123456789abcdef%26%2F%3F"
