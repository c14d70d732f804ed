"""Tests of engine/sources/actor/feed.py: who may feed, and what becomes of who may not."""

import json
import logging
import pickle
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.engine.sources.fed import KEY, Fed, RawFeeder, connected, fed

from millstream.engine.base import frames
from millstream.engine.base.errors import UsageError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.actor.feed import JSON, PICKLE, RemotePort
from millstream.engine.sources.actor.frames import OVERHEAD_BYTES, message_of

pytestmark = pytest.mark.slow


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def json_message(*messages: Any, to: str = "") -> bytes:
    """Return the content of a frame."""
    return message_of(to, json.dumps(messages).encode())


def works(server: Fed) -> None:
    """Check that the server still takes messages."""
    with closing(RawFeeder(server.port.port)) as other:
        assert other.exchange(other.ours.seal(JSON, json_message("fine"))) == (
            b"D",
            b"",
        )
    assert server.stored[-1] == "fine"


def test_signed_messages_are_handled_before_they_are_acknowledged() -> None:
    """By the first worker, or the one they are for; frame after frame."""
    with fed() as server, closing(RawFeeder(server.port.port)) as feeder:
        for content in (json_message(1, [2, 3]), json_message({"a": 4}, to="second")):
            assert feeder.exchange(feeder.ours.seal(JSON, content)) == (b"D", b"")

        assert server.stored == [1, [2, 3], {"a": 4}]


def test_a_wrong_key_is_turned_away(caplog: pytest.LogCaptureFixture) -> None:
    """Before anything is answered; the log says so, without either key."""
    wrong = "another key, long enough too"
    with fed() as server:
        with closing(RawFeeder(server.port.port, wrong, shakes=False)) as feeder:
            assert feeder.is_closed_after(feeder.hello)
        works(server)
    assert "isn't signed with this connection's key" in caplog.text
    assert KEY not in caplog.text
    assert wrong not in caplog.text


def test_a_tampered_frame_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Its message isn't handled."""
    with fed() as server:
        with closing(RawFeeder(server.port.port)) as feeder:
            sealed = feeder.ours.seal(JSON, json_message("pay 1"))
            assert feeder.is_closed_after(sealed.replace(b"pay 1", b"pay 9"))
        works(server)
        assert server.stored == ["fine"]
    assert "isn't signed" in caplog.text


def test_a_replayed_frame_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """On the same connection, and on another one."""
    with fed() as server:
        with closing(RawFeeder(server.port.port)) as feeder:
            sealed = feeder.ours.seal(JSON, json_message("once"))
            assert feeder.exchange(sealed) == (b"D", b"")
            assert feeder.is_closed_after(sealed)
        assert "frame 1 came where frame 2 was due" in caplog.text
        with closing(RawFeeder(server.port.port)) as other:
            assert other.is_closed_after(sealed)
        with closing(RawFeeder(server.port.port, shakes=False)) as third:
            assert third.is_closed_after(feeder.hello)
        works(server)
        assert server.stored == ["once", "fine"]


def test_an_oversize_frame_is_refused_at_its_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A stranger's is let be as long as a hello; a feeder's has its own limit."""
    with fed(frame_bytes_max=1000) as server:
        with closing(RawFeeder(server.port.port, shakes=False)) as stranger:
            assert stranger.is_closed_after((1000).to_bytes(4, "big"))
        assert "a frame of 1000 bytes came; from 41 to 73 may" in caplog.text
        with closing(RawFeeder(server.port.port)) as feeder:
            most = 1000 - len(json_message(""))
            sealed = feeder.ours.seal(JSON, json_message("x" * most))
            assert feeder.exchange(sealed) == (b"D", b"")
            sealed = feeder.ours.seal(JSON, json_message("x" * (most + 1)))
            assert feeder.is_closed_after(sealed[:4])
        assert f"a frame of {1001 + OVERHEAD_BYTES} bytes came" in caplog.text
        works(server)


@pytest.mark.parametrize("allows", [False, True])
def test_an_unsigned_pickle_is_never_loaded(tmp_path: Path, *, allows: bool) -> None:
    """Not from a stranger, and not behind a wrong signature, even where pickles may come."""
    bomb = pickle.dumps([Bomb(tmp_path / "went off")])
    with fed(allow_pickle=allows) as server:
        with closing(connected(server.port.port)) as stranger:
            stranger.sendall(len(bomb).to_bytes(4, "big") + bomb)
        with closing(RawFeeder(server.port.port)) as feeder:
            sealed = bytearray(feeder.ours.seal(PICKLE, message_of("", bomb)))
            sealed[-1] ^= 1
            assert feeder.is_closed_after(bytes(sealed))
        works(server)
    assert not list(tmp_path.iterdir())


def test_a_signed_pickle_is_loaded_only_where_that_is_allowed(tmp_path: Path) -> None:
    """By default it isn't: the key alone doesn't let anybody run code."""
    bomb = pickle.dumps([Bomb(tmp_path / "went off")])
    with fed() as server, closing(RawFeeder(server.port.port)) as feeder:
        kind, text = feeder.exchange(feeder.ours.seal(PICKLE, message_of("", bomb)))
        assert (kind, text) == (b"R", b"this receiver takes no pickles")
        assert not list(tmp_path.iterdir())
        works(server)
    with (
        fed(allow_pickle=True) as server,
        closing(RawFeeder(server.port.port)) as feeder,
    ):
        data = pickle.dumps([{1, 2}])
        sealed = feeder.ours.seal(PICKLE, message_of("", data))
        assert feeder.exchange(sealed) == (b"D", b"")
        assert server.stored == [{1, 2}]


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        (JSON, message_of("", b"{"), b"messages can't be read: JSONDecodeError"),
        (JSON, message_of("", b"[" * 100_000), b"messages can't be read"),
        (JSON, message_of("", b'{"a": 1}'), b"come as a list, not as dict"),
        (JSON, b"\x00\x09no", b"a message is cut short"),
        (JSON, json_message(1, to="nobody"), b"there is no worker 'nobody'"),
        (b"?", json_message(1), b"no such kind"),
        (PICKLE, message_of("", b"no pickle"), b"takes no pickles"),
        (JSON, json_message(1, "fail", 2), b"handling it raised RuntimeError"),
    ],
)
def test_what_cannot_be_handled_is_refused(
    kind: bytes, content: bytes, says: bytes
) -> None:
    """The feeder hears why; the connection goes on."""
    with fed() as server, closing(RawFeeder(server.port.port)) as feeder:
        answered, text = feeder.exchange(feeder.ours.seal(kind, content))

        assert answered == b"R"
        assert says in text
        assert b"secret of the actor" not in text
        assert feeder.exchange(feeder.ours.seal(JSON, json_message("fine")))[0] == b"D"
        assert server.stored in (["fine"], [1, "fine"])


def test_silence_is_bounded_where_something_is_due(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the handshake, and inside a frame; between frames a feeder may rest."""
    with fed(stall_s=0.15) as server:
        resting = RawFeeder(server.port.port)
        with closing(connected(server.port.port)) as stranger:
            while stranger.recv(100):
                pass
        with closing(RawFeeder(server.port.port)) as feeder:
            assert feeder.is_closed_after(b"\x00\x00")
        with closing(resting):
            sealed = resting.ours.seal(JSON, json_message("still here"))
            assert resting.exchange(sealed) == (b"D", b"")
    assert caplog.text.count("it was silent for 0.15 s") == 2


def test_feeders_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """One too many is turned away before the handshake."""
    with (
        fed(clients_max=1) as server,
        closing(RawFeeder(server.port.port)),
        closing(connected(server.port.port)) as other,
    ):
        assert other.recv(1) == b""
    assert "RemotePort.clients_max" in caplog.text


def test_a_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Not by repr, and not in what a checkpoint keeps; tasks get it."""
    caplog.set_level(logging.DEBUG)
    port = RemotePort(4000, KEY)

    assert KEY not in repr(port)
    assert KEY.encode() not in frames.dumps_function(port, live={})
    copy = frames.loads(frames.dumps(port))
    assert copy.reveal_key() == KEY
    assert RemotePort(4000, Secret(KEY, "my.key")).reveal_key() == KEY


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 0},
        {"port": 70000},
        {"host": ""},
        {"clients_max": 0},
        {"frame_bytes_max": 0},
        {"stall_s": 0},
        {"key": "too short"},
    ],
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    """And the error doesn't show the key."""
    with pytest.raises(UsageError) as raised:
        RemotePort(**{"port": 4000, "key": KEY, **settings})

    assert KEY not in str(raised.value)
    assert "too short" not in str(raised.value)
