"""Webhook: posts a batch's records to an HTTP server, which tells repetitions by a key.

A request has some records of one partition, always the same ones under the same key, and
is repeated until the server takes it. Nothing is kept here: a server that takes each key
once, and refuses requests of an older run, has each record once.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any
from urllib.parse import urlsplit

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.web import (
    checked_url,
    hide_urls_in_logs,
    plain_headers,
    retry_after_s,
    secret_headers,
    tls_context,
    tls_problem,
)
from millstream.engine.sinks.contract import Sink, SinkBatch, stale_run
from millstream.engine.sinks.records import Records

_FIRST_WAIT_S, _WAIT_MAX_S = 0.5, 30.0
_SHOWN = 200
_PASSING = {408, 409, 425, 429}
_STALE = 412
_DIGITS = 12
_TYPES = {"json": "application/json", "ndjson": "application/x-ndjson"}


class WebhookSink(Sink[Any]):
    """Posts records as JSON; see the page on the webhook for what the server must do."""

    def __init__(
        self,
        url: str | Secret,
        *,
        token: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        body: str = "json",
        records_max: int = 500,
        bytes_max: int = 1 << 20,
        timeout_s: float = 10.0,
        retry_s: float = 60.0,
        ca_file: str | None = None,
    ) -> None:
        """Post to `url`, which may be a `Secret` itself: some have a token in them.

        `token` is sent as `Authorization: Bearer ...`. `body` is "json", an array, or
        "ndjson", a line a record. A request has at most `records_max` records and
        `bytes_max` bytes; one record alone may not have more. The server may take
        `timeout_s` for each step, and a request is repeated for `retry_s` at most.

        Raises:
            IllegalArgumentError: An argument is no good.
            MissingDependencyError: The extra `web` isn't installed.
        """
        needed("httpx", "web", "a webhook sink")
        self.url = url
        self._host = _host_of(url)
        self.headers = secret_headers(headers, token, "webhook")
        self.has_token = token is not None
        if body not in _TYPES:
            msg = f"a webhook's body is 'json' or 'ndjson', not {body!r}"
            raise IllegalArgumentError(msg)
        for name, value in (("records_max", records_max), ("bytes_max", bytes_max),
                            ("timeout_s", timeout_s)):  # fmt: skip
            if value <= 0:
                msg = f"{name} must be above 0, not {value!r}"
                raise IllegalArgumentError(msg)
        self.body = body
        self.records_max = records_max
        self.bytes_max = bytes_max
        self.timeout_s = timeout_s
        self.retry_s = retry_s
        self.ca_file = ca_file
        tls_context(ca_file)

    @property
    def identity(self) -> str:
        """The server; not the path, which may be secret."""
        return f"webhook {self._host}"

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> int:
        """Post a partition's records; return how many requests it took.

        Raises:
            StaleRunError: The server knows of a newer run.
            SparkError: A record can't be sent, or the server doesn't take a request.
        """
        count = 0
        for data in self._bodies(records):
            self._post(batch, partition, count, data)
            count += 1
        return count

    def check(self, records: Records[Any]) -> None:
        """Raise if a record isn't JSON, or too long."""
        for _ in self._bodies(records):
            pass

    def _bodies(self, records: Records[Any]) -> Iterator[bytes]:
        plain = plain_records(records)
        return bodies(plain, self.body, self.records_max, self.bytes_max)

    def close(self) -> None:
        """Close this process's connections; the next request makes new ones."""
        with _lock:
            client = _clients.pop((self.timeout_s, self.ca_file), None)
        if client is not None:
            client.close()

    def _post(self, batch: SinkBatch, partition: int, part: int, data: bytes) -> None:
        where = f"batch {batch.time_ms} ms, partition {partition}, part {part}"
        retries = Retries(self.retry_s)
        headers = self._headers(batch, partition, part, data)
        while True:
            problem, asked_s = self._try(batch, data, headers)
            if problem is None:
                return
            wait_s = retries.next_s(asked_s)
            if wait_s is None:
                msg = f"{self.identity} didn't take output '{batch.output}', {where}: {problem}"
                raise SparkError(
                    msg,
                    hint="the batch is tried again with the next one; if that isn't "
                    "enough, raise retry_s",
                )
            _sleep(wait_s)

    def _headers(
        self, batch: SinkBatch, partition: int, part: int, data: bytes
    ) -> dict[str, str]:
        digest = hashlib.sha256(data)
        key = f"{batch.output}-{batch.time_ms}-{partition}-{part}"
        return {
            **plain_headers(self.headers, has_token=self.has_token),
            "Content-Type": _TYPES[self.body],
            "Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            # With what is in it: other records under a key of before would be lost.
            "Idempotency-Key": f"{_ascii(key)}-{digest.hexdigest()[:_DIGITS]}",
            "Millstream-Output": _ascii(batch.output),
            "Millstream-Batch": str(batch.time_ms),
            "Millstream-Partition": f"{partition}/{batch.partitions}",
            "Millstream-Run": str(batch.run),
        }

    def _try(
        self, batch: SinkBatch, data: bytes, headers: dict[str, str]
    ) -> tuple[str | None, float | None]:
        """Post once; return what is wrong for now, and how long the server asks to wait."""
        import httpx  # noqa: PLC0415  An extra.

        url = self.url.reveal() if isinstance(self.url, Secret) else self.url
        client = _client(self.timeout_s, self.ca_file)
        try:
            answer = client.post(url, content=data, headers=headers)
        except httpx.RequestError as error:
            problem = tls_problem(error)
            if problem is not None:
                msg = f"no secure connection to {self.identity}: {problem}"
                raise SparkError(
                    msg,
                    hint="if its certificate is your own, name a file with what to "
                    "trust in ca_file",
                ) from None
            if isinstance(error, httpx.TimeoutException):
                return f"no answer within {self.timeout_s:g} s", None
            return f"{str(error) or type(error).__name__}", None
        status = answer.status_code
        if 200 <= status < 300:
            return None, None
        if status == _STALE:
            raise stale_run(batch, self.identity)
        asked = answer.headers.get("Retry-After")
        asked_s = retry_after_s(asked, SystemClock().now_ms())
        said = f"it answered {status} {answer.reason_phrase}".rstrip()
        if status in _PASSING or status >= 500:
            return said, asked_s
        raise self._refused(batch, said, answer)

    def _refused(self, batch: SinkBatch, said: str, answer: Any) -> SparkError:
        text = " ".join(answer.text[:_SHOWN].split())
        for each in [self.url, *self.headers.values()]:
            if isinstance(each, Secret):  # Some servers repeat what they were sent.
                text = text.replace(each.reveal(), "*****")
        if answer.status_code in {401, 403}:
            hint = "check the token and headers of the sink"
        elif answer.status_code == 413:
            hint = "lower bytes_max or records_max"
        elif answer.status_code == 422:
            hint = "the server has other records under the same key"
        elif 300 <= answer.status_code < 400:
            hint = "give the address that it redirects to"
        else:
            hint = "the server won't have these records, or the address is wrong"
        msg = f"{self.identity} refused batch {batch.time_ms} ms of output "
        return SparkError(f"{msg}'{batch.output}': {said}: {text}", hint=hint)


def _host_of(url: str | Secret) -> str:
    """Return the part of a URL that may be shown.

    Raises:
        IllegalArgumentError: It is none.
    """
    what, schemes = "a webhook sink", ("http", "https")
    if isinstance(url, Secret):
        parts = urlsplit(url.reveal())
        if parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc:
            msg = f"{what} needs a URL that begins with http:// or https://"
            raise IllegalArgumentError(msg, hint=f"it is the secret '{url.name}'")
    else:
        parts = urlsplit(checked_url(url, schemes, what))
    return f"{parts.scheme}://{parts.netloc}"


class Retries:
    """How long to wait before a request is repeated, within some seconds. Pure.

    >>> retries = Retries(4.0)
    >>> [retries.next_s(None) for _ in range(4)]
    [0.5, 1.0, 2.0, None]
    >>> Retries(10.0).next_s(7.0)
    7.0
    """

    def __init__(self, budget_s: float) -> None:
        """Wait `budget_s` in sum, at most."""
        self._left_s = budget_s
        self._next_s = _FIRST_WAIT_S

    def next_s(self, asked_s: float | None) -> float | None:
        """Return for how long to wait, as long as the server asks; None: give up."""
        wait_s = max(self._next_s, asked_s or 0.0)
        self._next_s = min(2 * self._next_s, _WAIT_MAX_S)
        if wait_s > self._left_s:
            return None
        self._left_s -= wait_s
        return wait_s


def plain_records(records: Records[Any]) -> Iterator[Any]:
    """Yield records as JSON has them: rows, named tuples and dataclasses as objects.

    With names for columns, tuples are objects of those names.
    """
    names = records._names
    if names is not None:
        for table in records.tables():
            yield from table.iter_rows(named=True)
        return
    for record in records:
        fields = getattr(record, "__fields__", None) or getattr(record, "_fields", None)
        if fields is not None and isinstance(record, tuple):
            yield dict(zip(fields, record, strict=True))
        elif is_dataclass(record) and not isinstance(record, type):
            yield asdict(record)
        else:
            yield record


def bodies(
    records: Iterable[Any], body: str, records_max: int, bytes_max: int
) -> Iterator[bytes]:
    """Yield the bodies of requests: as many records in each as may be.

    Raises:
        SparkError: A record isn't JSON, or too long by itself.
    """
    between = 1  # A comma, or a line's end.
    around = 2 if body == "json" else 0
    lines: list[bytes] = []
    size = around
    for record in records:
        line = _line(record)
        if around + len(line) + between > bytes_max:
            msg = f"a record has {len(line)} bytes of JSON: {line[:_SHOWN]!r}"
            raise SparkError(msg, hint=f"bytes_max is {bytes_max}; raise it")
        if lines and (
            len(lines) == records_max or size + len(line) + between > bytes_max
        ):
            yield _body(lines, body)
            lines, size = [], around
        lines.append(line)
        size += len(line) + between
    if lines:
        yield _body(lines, body)


def _line(record: Any) -> bytes:
    try:
        text = json.dumps(
            record, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
        return text.encode()
    except (TypeError, ValueError) as error:
        msg = f"a record isn't JSON: {record!r:.100}: {error}"
        raise SparkError(
            msg, hint="map the records to dicts, lists, text and numbers first"
        ) from error


def _body(lines: list[bytes], body: str) -> bytes:
    if body == "json":
        return b"[" + b",".join(lines) + b"]"
    return b"".join(line + b"\n" for line in lines)


def _ascii(text: str) -> str:
    """Return text as a header can have it; what it can't is escaped, so names differ."""
    return text.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


_lock = threading.Lock()
_clients: dict[tuple[float, str | None], Any] = {}


def _client(timeout_s: float, ca_file: str | None) -> Any:
    """Return this process's client, whose connections all tasks share."""
    import httpx  # noqa: PLC0415  An extra.

    with _lock:
        client = _clients.get((timeout_s, ca_file))
        if client is None:
            hide_urls_in_logs()
            verify = tls_context(ca_file) or True
            client = httpx.Client(timeout=timeout_s, verify=verify)
            _clients[timeout_s, ca_file] = client
        return client
