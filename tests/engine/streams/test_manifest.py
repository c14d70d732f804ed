"""Tests of streams/manifest.py."""

import dataclasses
import json

import pytest

from millstream.engine.base.errors import DurabilityError
from millstream.engine.streams.manifest import (
    Manifest,
    OperatorRecord,
    SourceRecord,
    decode,
)

MANIFEST = Manifest(
    time_ms=5000,
    zero_ms=0,
    batch_ms=1000,
    remember_ms=None,
    pending_ms=(3000, 5000),
    app_name="app",
    master="local[2]",
    checkpoint_dir="file:/c",
    conf={"spark.app.name": "app"},
    sources=(SourceRecord("files /in", "FileInputDStream", 0, {"files": {}}),),
    operators=(
        OperatorRecord("counts", "updateStateByKey", ("files /in",), "a.py:1", 1000),
        OperatorRecord("s", "mapWithState", (), "a.py:2", 1000, {}, {"versions": []}),
    ),
    program={"f": "1"},
    python="3.11",
    millstream="0.1.0",
)


def test_a_manifest_comes_back_equal() -> None:
    """Through JSON that people can read; the states by name, the first batch again."""
    assert decode(MANIFEST.encode()) == MANIFEST
    assert json.loads(MANIFEST.encode())["sources"][0]["name"] == "files /in"
    assert MANIFEST.states == {"s": {"versions": []}}
    assert MANIFEST.first_rerun_ms == 3000


def test_a_later_format_is_refused_by_name() -> None:
    """The error says which version wrote it."""
    later = dataclasses.replace(MANIFEST, format=2, millstream="9.9")
    with pytest.raises(DurabilityError, match="has format 2") as caught:
        decode(later.encode())
    assert "9.9" in str(caught.value.__notes__)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"format": 1}', b"\xff"])
def test_what_is_no_manifest_is_an_error(text: bytes) -> None:
    """Never half a manifest."""
    with pytest.raises(DurabilityError, match="can't be read"):
        decode(text)
