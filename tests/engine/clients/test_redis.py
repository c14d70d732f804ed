"""RedisServer: what a URL says, without what is secret in it."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.redis import RedisServer


def test_user_and_password_of_a_url_are_kept_apart() -> None:
    """Neither the URL nor any text of the server has the password."""
    server = RedisServer.of("rediss://me:p%40ss@db:6380/2")

    assert server.url == "rediss://db:6380/2"
    assert server.username == "me"
    assert server.password is not None
    assert server.password.reveal() == "p@ss"
    assert "p@ss" not in repr(server)
    assert "p%40ss" not in repr(server)


def test_a_password_beside_the_url_counts() -> None:
    """Also as a secret; and options that are secret are kept apart."""
    server = RedisServer.of(
        "redis://db/0",
        password=Secret("sesame", "mine"),
        options={"ssl_password": "hidden-1", "ssl_ca_certs": "ca.pem"},
    )

    assert server.password == Secret("sesame", "mine")
    assert "hidden-1" not in repr(server)
    assert dict(server.options)["ssl_ca_certs"] == "ca.pem"


@pytest.mark.parametrize("url", ["localhost:6379", "http://db", "nats://db:4222"])
def test_other_urls_are_refused(url: str) -> None:
    """The error shows what one looks like."""
    with pytest.raises(IllegalArgumentError, match="is no URL of a Redis server"):
        RedisServer.of(url)


def test_a_refused_url_is_shown_without_its_password() -> None:
    """A typo in the scheme doesn't put a password into a log."""
    with pytest.raises(IllegalArgumentError) as caught:
        RedisServer.of("reddis://me:sesame@db:6379")

    assert "sesame" not in str(caught.value)


def test_a_timeout_is_positive() -> None:
    """Else every command would fail."""
    with pytest.raises(IllegalArgumentError, match="positive number of seconds"):
        RedisServer.of("redis://db", timeout_s=0)
