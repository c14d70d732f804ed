"""NatsServer: what URLs say, without what is secret in them."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.clients.nats import NatsServer


def test_user_and_password_of_a_url_are_kept_apart() -> None:
    """Of any of the URLs, which are one cluster's."""
    server = NatsServer.of(["nats://me:p%40ss@a:4222", "nats://b:4222"])

    assert server.urls == ("nats://a:4222", "nats://b:4222")
    assert server.where == "nats://a:4222,nats://b:4222"
    assert server.user == "me"
    assert server.password is not None
    assert server.password.reveal() == "p@ss"
    assert "p@ss" not in repr(server)


def test_a_url_with_one_word_before_the_host_has_a_token() -> None:
    """As NATS's own tools take it."""
    server = NatsServer.of("nats://sesame@a:4222")

    assert server.urls == ("nats://a:4222",)
    assert server.token is not None
    assert server.token.reveal() == "sesame"
    assert server.user is None


@pytest.mark.parametrize("url", ["a:4222", "redis://a:6379", "nats://"])
def test_other_urls_are_refused(url: str) -> None:
    """The error shows what one looks like."""
    with pytest.raises(IllegalArgumentError, match="is no URL of a NATS server"):
        NatsServer.of(url)


def test_a_server_is_needed_and_a_positive_timeout() -> None:
    """Both are refused at once, not when something is asked."""
    with pytest.raises(IllegalArgumentError, match="no server"):
        NatsServer.of([])
    with pytest.raises(IllegalArgumentError, match="positive number of seconds"):
        NatsServer.of("nats://a", timeout_s=-1)
