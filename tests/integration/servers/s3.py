"""An S3-compatible server on loopback that a test can stop and let go on."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server, with one bucket."""

    address: str
    process: "subprocess.Popen[str]"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which `s3://bucket/...` is there."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server; it ends with the block."""
    from pyarrow.fs import S3FileSystem

    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None, "it is a pipe"
    drain: subprocess.Popen[bytes] | None = None
    try:
        said = (re.search(r"http://([0-9.]+:[0-9]+)", each) for each in process.stderr)
        address = next(found[1] for found in said if found is not None)
        # Nobody reads what it says of each request, and a full pipe would stop it.
        drain = subprocess.Popen(
            ["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL
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
        yield S3Server(address, process)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        if drain is not None:
            drain.wait()
