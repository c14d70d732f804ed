"""An S3-compatible server on loopback, with one bucket."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.servers.s3 import BUCKET, s3_server

__all__ = ["BUCKET", "object_store"]


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Return the environment in which `s3://bucket/...` is on a server that runs meanwhile."""
    with s3_server() as server:
        yield server.environment
