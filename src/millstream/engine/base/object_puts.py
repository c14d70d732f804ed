"""Object puts: an object that is written on the condition that there is none of its name.

That condition is what makes one of several writers win, where nothing can be renamed. The
libraries that list and read stores can't put it, so others do: botocore for S3 (`If-None-Match:
*`), gcsfs and adlfs for Google's and Microsoft's.
"""

import errno
import os  # noqa: TID251  Environment: where stores' clients look for what they need.
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from millstream.engine.base.errors import (
    DurabilityError,
    UnsupportedOperationError,
    UsageError,
)
from millstream.engine.base.extras import needed

PutNew = Callable[[str, bytes], None]
"""Writes an object; raises FileExistsError when there is one."""

_CONNECT_S = 5
_READ_S = 10
_TRIES = 2
# "There is one", and "another one is being written".
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNABLE = frozenset({"NotImplemented", "501"})
_FSSPEC = {"gs": "gcsfs", "abfs": "adlfs"}


def conditional_put(scheme: str, filesystem: Any = None) -> PutNew | None:
    """Return what puts an object of `scheme` if there is none; None if nothing can.

    `filesystem` is fsspec's own for the scheme, where that is in use already.
    """
    if scheme == "s3":
        return _put_s3
    if scheme in _FSSPEC:
        return _FsspecPut(scheme)
    if scheme == "memory":
        return lambda path, data: filesystem.pipe_file(path, data, mode="create")
    return None


def s3_endpoint() -> str | None:
    """Return the address of the S3 server, if it isn't Amazon's own.

    Raises:
        UsageError: The environment names one that is no address.
    """
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        url = os.environ.get(name)
        if not url:
            continue
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            msg = f"{name} is '{url}', which is no address of an S3 server"
            raise UsageError(msg, hint="such as https://minio.example:9000")
        return url
    return None


def _put_s3(path: str, data: bytes) -> None:
    bucket, _, key = path.lstrip("/").partition("/")
    exceptions = needed("botocore.exceptions", "s3", _WHAT)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    client = _s3_client(s3_endpoint(), region, os.environ.get("AWS_ACCESS_KEY_ID"))
    try:
        client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in _TAKEN:
            raise FileExistsError(errno.EEXIST, "It exists", f"s3://{path}") from error
        if code in _UNABLE:
            where = s3_endpoint() or "Amazon S3"
            msg = f"{where} can't write 's3://{path}' only if it isn't there: {error}"
            raise UnsupportedOperationError(
                msg, hint="a server that knows If-None-Match is needed"
            ) from error
        raise _named(path, error, code) from error
    except exceptions.BotoCoreError as error:
        raise _named(path, error, "") from error


_WHAT = "writing to S3 on the condition that an object isn't there"


@lru_cache(maxsize=8)
def _s3_client(endpoint: str | None, region: str | None, _key_id: str | None) -> Any:
    """Return a client, which is thread-safe."""
    # Half of what `import boto3` takes, and all that is needed of it.
    botocore = needed("botocore.session", "s3", _WHAT)
    config = needed("botocore.config", "s3", _WHAT)
    settings: Mapping[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "retries": {"total_max_attempts": _TRIES, "mode": "standard"},
        # Servers of one's own seldom have a name for each bucket.
        **({"s3": {"addressing_style": "path"}} if endpoint else {}),
    }
    return botocore.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=config.Config(**settings),
    )


def _named(path: str, error: Exception, code: str) -> Exception:
    where = s3_endpoint() or "Amazon S3"
    msg = f"can't write 's3://{path}' at {where}: {error}"
    if code in {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return PermissionError(msg)
    return DurabilityError(
        msg, hint="is the server there? its address is in AWS_ENDPOINT_URL"
    )


class _FsspecPut:
    """Puts by the fsspec package of a store, which is made when it is needed."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def __call__(self, path: str, data: bytes) -> None:
        package = _FSSPEC[self._scheme]
        needed(package, "files", f"writing to '{self._scheme}:' only if it isn't there")
        fsspec = needed("fsspec", "files", f"'{self._scheme}:' paths")
        filesystem = fsspec.filesystem(self._scheme)
        filesystem.pipe_file(path.lstrip("/"), data, mode="create")
