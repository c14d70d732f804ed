"""An S3-compatible server on loopback, with one bucket."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "bucket"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Return the environment in which `s3://bucket/...` is on a server that runs meanwhile."""
    from pyarrow.fs import S3FileSystem

    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None, "it is a pipe"
    try:
        said = (re.search(r"http://([0-9.]+:[0-9]+)", each) for each in server.stderr)
        address = next(found[1] for found in said if found is not None)
        # Nobody reads what it says of each request, and a full pipe would stop it.
        drain = subprocess.Popen(
            ["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL
        )
        store = S3FileSystem(
            endpoint_override=address,
            scheme="http",
            region="us-east-1",
            access_key="tests",
            secret_key="tests",
            allow_bucket_creation=True,
        )
        store.create_dir(BUCKET)
        yield {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
    drain.wait()
