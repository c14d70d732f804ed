"""Tests of engine/base/object_puts.py; those with a server are in tests/integration."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import fsspec
import pytest

from millstream.engine.base import object_puts
from millstream.engine.base.errors import (
    MissingDependencyError,
    UnsupportedOperationError,
    UsageError,
)
from millstream.engine.base.object_puts import conditional_put, s3_endpoint
from millstream.engine.base.storage import open_storage


def test_the_endpoint_of_s3_is_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own variable goes before that of all services; an address that is none is named."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert s3_endpoint() is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all:1")
    assert s3_endpoint() == "http://all:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://own:2")
    assert s3_endpoint() == "https://own:2"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "own:2")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL_S3 is 'own:2'"):
        s3_endpoint()


def test_what_is_there_is_not_written_again() -> None:
    """In memory, as elsewhere."""
    storage, path = open_storage("memory://puts/a/b")
    storage.write_new(path, b"first")
    with pytest.raises(FileExistsError):
        storage.write_new(path, b"second")
    with storage.open_input(path) as source:
        assert source.read() == b"first"
    fsspec.filesystem("memory").rm("/puts", recursive=True)


def test_storage_without_the_condition_says_so() -> None:
    """Nothing is written there."""
    assert conditional_put("zip") is None
    storage, _ = open_storage("data:,x")
    with pytest.raises(UnsupportedOperationError, match="only if it isn't there"):
        storage.write_new("x", b"")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs them."""
    monkeypatch.setitem(object_puts._FSSPEC, "gs", "no_such_package")
    put_new = conditional_put("gs")
    assert put_new is not None, "it is known how"
    with pytest.raises(MissingDependencyError, match="no_such_package") as caught:
        put_new("bucket/x", b"")
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


class WithoutConditions(BaseHTTPRequestHandler):
    """An S3 server that doesn't know what If-None-Match asks for."""

    def do_PUT(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers["Content-Length"]))
        text = b"<Error><Code>NotImplemented</Code><Message>A header</Message></Error>"
        self.send_response(501)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_a_server_that_does_not_know_the_condition_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From one that fails: whoever can do without goes on."""
    pytest.importorskip("botocore")
    with HTTPServer(("127.0.0.1", 0), WithoutConditions) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        put = conditional_put("s3")
        assert put is not None
        try:
            with pytest.raises(
                UnsupportedOperationError, match="can't write 's3://bucket/x' only if"
            ):
                put("bucket/x", b"data")
        finally:
            server.shutdown()
            thread.join()
