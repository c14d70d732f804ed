"""JetStreamSink: what it refuses before it is connected; the rest is tested with a server."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sinks.jetstream.marks import run_key
from millstream.engine.sinks.jetstream.sink import JetStreamSink

URL = "nats://127.0.0.1:1"


def test_a_stream_and_a_subject_are_needed() -> None:
    """And a bucket whose name NATS allows."""
    with pytest.raises(IllegalArgumentError, match="needs a stream, and a subject"):
        JetStreamSink(URL, "words", "")
    with pytest.raises(IllegalArgumentError, match=r"not 'a\.b'"):
        JetStreamSink(URL, "words", "words.x", marks="a.b")


def test_any_name_of_an_output_has_a_key_of_its_own() -> None:
    """Keys have few characters; no two names share one."""
    names = ["app.out", "app=2Eout", "app out", "\u00e9", "e"]
    keys = [run_key(name) for name in names]

    assert keys[0] == "app=2Eout.run"
    assert len(set(keys)) == len(names)
    assert all(key.isascii() and " " not in key for key in keys)
