"""JetStreamMarks: what an output has published, in a key-value bucket.

Each value is written on condition of the revision that was read: of two writers one goes on.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

_WRONG_REVISION = (10071, 10164)
"""What the server says where a key has another revision by now."""


@dataclass(frozen=True, slots=True)
class Run:
    """Of an output: its newest run, and how many partitions may have marks."""

    run: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Of a partition: which batch was begun last, and whether that is done."""

    batch_ms: int
    partitions: int
    run: int
    after: int
    """The last sequence number of the stream when the batch was begun."""
    is_done: bool


class Book:
    """The marks of an output, in a bucket."""

    def __init__(self, bucket: Any, jetstream: Any, name: str, output: str) -> None:
        self._bucket = bucket
        self._jetstream = jetstream
        self._name = name
        self._output = output

    @classmethod
    async def of(cls, jetstream: Any, name: str, output: str) -> "Book":
        """Return the marks; their bucket is made if it isn't there."""
        from nats.js.errors import (  # noqa: PLC0415  Optional.
            BucketNotFoundError,
            NotFoundError,
        )

        try:
            bucket = await jetstream.key_value(name)
        except (BucketNotFoundError, NotFoundError):
            bucket = await jetstream.create_key_value(
                bucket=name, history=1, description="Marks of Millstream's outputs."
            )
        return cls(bucket, jetstream, name, output)

    def key(self, partition: int) -> str:
        """Return the key of a partition's mark."""
        return f"{_part(self._output)}.{partition}"

    async def run(self) -> tuple[Run, int]:
        """Return the output's newest run, and the revision that says so; 0: none."""
        found, revision = await self._get(run_key(self._output))
        return (Run(0, 0) if found is None else Run(**found)), revision

    async def mark(self, partition: int) -> tuple[Mark | None, int]:
        """Return a partition's mark and its revision."""
        found, revision = await self._get(self.key(partition))
        return (None if found is None else Mark(**found)), revision

    async def renewed(self, partition: int, run: int) -> Mark | None:
        """Give a mark a new revision, so that nobody who knows the old one can change it."""
        while True:
            mark, revision = await self.mark(partition)
            if mark is None:
                return None
            new = Mark(
                mark.batch_ms, mark.partitions, run, mark.after, is_done=mark.is_done
            )
            if await self.put(self.key(partition), new, revision) is not None:
                return new

    async def _get(self, key: str) -> tuple[dict[str, Any] | None, int]:
        from nats.js.errors import KeyNotFoundError  # noqa: PLC0415  Optional.

        try:
            entry = await self._bucket.get(key)
        except KeyNotFoundError:
            return None, 0
        return json.loads(entry.value), entry.revision

    async def put(self, key: str, value: Any, revision: int) -> int | None:
        """Return the new revision; None where the key has another one than `revision`."""
        from nats.js.errors import APIError  # noqa: PLC0415  Optional.

        data = json.dumps(asdict(value)).encode()
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        subject = f"$KV.{self._name}.{key}"
        try:
            made = await self._jetstream.publish(subject, data, headers=headers)
        except APIError as error:
            if error.err_code in _WRONG_REVISION:
                return None
            raise
        return int(made.seq)


def run_key(output: str) -> str:
    """Return the key of an output's newest run."""
    return f"{_part(output)}.run"


def _part(output: str) -> str:
    """Return an output's name as keys may have it: others' bytes as `=` and two digits."""
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"={byte:02X}"
        for byte in output.encode()
    )
