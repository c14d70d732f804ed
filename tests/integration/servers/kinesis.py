"""Kinesis on loopback: moto's, which is a wheel, and kinesalite, which splits shards."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.ports import free_port
from tests.integration.servers.stalling import stalled

REGION = "us-east-1"
_NPM = shutil.which("npm")
_KINESALITE = "kinesalite@3.3.3"
_START_S = 20.0

needs_npm = pytest.mark.skipif(_NPM is None, reason="no npm, which has kinesalite")


class Kinesis:
    """A server, and streams of it."""

    def __init__(self, process: "subprocess.Popen[Any]", address: str) -> None:
        """Talk to the server at `address`."""
        import boto3  # type: ignore[import-untyped]

        self.url = f"http://{address}"
        self._process = process
        self.client = boto3.client(
            "kinesis",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )

    def create(self, stream: str, shards: int = 1) -> None:
        """Make a stream, and wait until it is there."""
        self.client.create_stream(StreamName=stream, ShardCount=shards)
        self.wait(stream)

    def wait(self, stream: str) -> None:
        """Wait until no change of a stream is under way."""
        until_s = time.monotonic() + _START_S
        while (
            self.client.describe_stream_summary(StreamName=stream)[
                "StreamDescriptionSummary"
            ]["StreamStatus"]
            != "ACTIVE"
        ):
            assert time.monotonic() < until_s, f"stream {stream} isn't active"
            time.sleep(0.01)

    def put(self, stream: str, records: Iterable[tuple[str, bytes]]) -> None:
        """Put records: of each its key and data."""
        rows = [{"PartitionKey": key, "Data": data} for key, data in records]
        for begin in range(0, len(rows), 500):
            some = rows[begin : begin + 500]
            said = self.client.put_records(StreamName=stream, Records=some)
            assert said["FailedRecordCount"] == 0

    def shards(self, stream: str) -> list[Any]:
        """Return the shards, as ListShards does."""
        found: list[Any] = self.client.list_shards(StreamName=stream)["Shards"]
        return found

    def split(self, stream: str, shard: str, middle: int) -> None:
        """Split a shard at a hash key, and wait until it is done."""
        self.client.split_shard(
            StreamName=stream, ShardToSplit=shard, NewStartingHashKey=str(middle)
        )
        self.wait(stream)

    def merge(self, stream: str, shard: str, beside: str) -> None:
        """Merge two shards, and wait until it is done."""
        self.client.merge_shards(
            StreamName=stream, ShardToMerge=shard, AdjacentShardToMerge=beside
        )
        self.wait(stream)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server do nothing meanwhile."""
        with stalled(self._process.pid):
            yield


@contextmanager
def moto(**environment: str) -> Iterator[Kinesis]:
    """Return moto's server, which runs meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None, "it is a pipe"
    try:
        said = (re.search(r"http://([0-9.]+:[0-9]+)", each) for each in process.stderr)
        address = next(found[1] for found in said if found is not None)
        # Nobody reads what it says of each request, and a full pipe would stop it.
        drain = subprocess.Popen(
            ["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL
        )
        made = Kinesis(process, address)
        yield made
        made.client.close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    drain.wait()


@contextmanager
def kinesalite() -> Iterator[Kinesis]:
    """Return kinesalite, which runs meanwhile."""
    port = free_port()
    fast = [f"--{each}StreamMs=10" for each in ("create", "update", "delete")]
    process = subprocess.Popen(
        ["node", _installed(), f"--port={port}", "--shardLimit=100", *fast],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_s = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert process.poll() is None, "kinesalite has ended"
                assert time.monotonic() < until_s, "kinesalite didn't start"
                time.sleep(0.02)
            else:
                break
        made = Kinesis(process, f"127.0.0.1:{port}")
        yield made
        made.client.close()
    finally:
        process.kill()
        process.wait()


def _installed() -> str:
    """Return the program; installed once, in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "millstream-tests" / _KINESALITE.replace("@", "-")
    program = home / "node_modules" / "kinesalite" / "cli.js"
    if not program.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        # Beside it first: another test run may install it, too, or be killed.
        with tempfile.TemporaryDirectory(dir=home.parent) as beside:
            subprocess.run(
                [_NPM or "npm", "install", "--no-audit", "--no-fund", _KINESALITE],
                cwd=beside,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=120,
            )
            made = Path(beside) / "whole"
            made.mkdir()
            (Path(beside) / "node_modules").rename(made / "node_modules")
            if not home.exists():
                made.rename(home)
    return str(program)
