"""NatsPulling: what a message's reply subject and a pattern of subjects say."""

import pytest

from millstream.engine.clients.nats_pulling import Place, is_of


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.orders.reader.1.5000.4998.1795744785582810488.7",
        "$JS.ACK.hub.account.orders.reader.1.5000.4998.1795744785582810488.7",
        "$JS.ACK._.account.orders.reader.1.5000.4998.1795744785582810488.7.token",
    ],
)
def test_a_place_is_read_off_either_form_of_reply(reply: str) -> None:
    """With a domain and an account in it, or without."""
    assert Place.of_reply(reply) == Place(5000, 4998, 7, 1795744785582810488)


@pytest.mark.parametrize(
    ("subject", "pattern", "is_one"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.*", True),
        ("a.b", "*.*", True),
        ("a.b", "a", False),
        ("a.b", "a.*.*", False),
        ("a.b", ">", True),
        ("a.b.c", "a.>", True),
        ("a", "a.>", False),
        ("a.bc", "a.b", False),
    ],
)
def test_a_pattern_says_which_subjects_it_has(
    subject: str, pattern: str, is_one: bool
) -> None:
    """`*` is one token, `>` at the end is one or more."""
    assert is_of(subject, pattern) is is_one
