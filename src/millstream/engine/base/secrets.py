"""Secrets: passwords and tokens, which no log, error, page or checkpoint ever shows.

A secret travels to tasks as it is, and into checkpoints by its name only: who goes on from
there finds it in the environment again.
"""

import os  # noqa: TID251  The environment.
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from millstream.engine.base.errors import UsageError

_HIDDEN = "*****"
_SECRET = re.compile(
    r"secret|passw(or)?d|pwd|token|credential|(access|api|account)[._-]?key|sasl\.jaas"
    r"|(^|[._-])sas([._-]|$)",
    re.IGNORECASE,
)
_local = threading.local()


class MissingSecretError(UsageError):
    """A secret that isn't in checkpoints isn't in the environment either."""


class Secret:
    """A text that is never shown.

    >>> Secret("hunter2", "db.password")
    Secret(db.password=*****)
    """

    __slots__ = ("_value", "_variable", "name")

    def __init__(self, value: str, name: str) -> None:
        """Keep `value`; `name` is what errors call it, such as "kafka.sasl.password"."""
        self._value: str | None = value
        self.name = name
        self._variable = "MILLSTREAM_SECRET_" + re.sub(r"\W+", "_", name).upper()

    @classmethod
    def env(cls, variable: str) -> "Secret":
        """Return the secret in an environment variable, read when it is needed."""
        made = cls("", variable)
        made._value, made._variable = None, variable
        return made

    def reveal(self) -> str:
        """Return the text.

        Raises:
            MissingSecretError: It was left out of a checkpoint, and isn't in the
                environment.
        """
        if self._value is not None:
            return self._value
        found = os.environ.get(self._variable)
        if found is None:
            msg = (
                f"the secret '{self.name}' isn't known: checkpoints never have secrets"
            )
            raise MissingSecretError(
                msg, hint=f"set the environment variable {self._variable}"
            )
        return found

    def __repr__(self) -> str:
        return f"Secret({self.name}={_HIDDEN})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.name, self._value) == (
            other.name,
            other._value,
        )

    def __hash__(self) -> int:
        return hash((self.name, self._value))

    def __reduce__(self) -> tuple[Any, ...]:
        is_left_out = getattr(_local, "leaves_out", False)
        value = None if is_left_out else self._value
        return _restored, (self.name, value, self._variable)


def _restored(name: str, value: str | None, variable: str) -> Secret:
    made = Secret("", name)
    made._value, made._variable = value, variable
    noted: list[Secret] | None = getattr(_local, "noted", None)
    if value is None and noted is not None:
        noted.append(made)
    return made


@contextmanager
def all_known() -> Iterator[None]:
    """Refuse what is unpickled meanwhile, in the end, if it has secrets nobody knows.

    Raises:
        MissingSecretError: Some were left out of a checkpoint, and aren't in the
            environment; names all of them.
    """
    _local.noted = []
    try:
        yield
        missing = {
            each.name: each._variable
            for each in _local.noted
            if each._variable not in os.environ
        }
    finally:
        del _local.noted
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        msg = f"secrets that the checkpoint's streams need aren't known: {names}"
        raise MissingSecretError(
            msg,
            hint=f"checkpoints never have secrets; set {', '.join(missing.values())} in "
            "the environment, or use Secret.env(NAME) in the program",
        )


@contextmanager
def left_out() -> Iterator[None]:
    """Pickle no secret on this thread meanwhile, only their names."""
    before = getattr(_local, "leaves_out", False)
    _local.leaves_out = True
    try:
        yield
    finally:
        _local.leaves_out = before


def secret_of(value: "str | Secret | None", name: str) -> Secret | None:
    """Return a secret of what a program has passed: text, or a secret."""
    return Secret(value, name) if isinstance(value, str) else value


def is_secret_key(key: str) -> bool:
    """Say whether a setting of this name has a value that isn't to be shown.

    >>> is_secret_key("ssl.key.password"), is_secret_key("bootstrap.servers")
    (True, False)
    """
    return _SECRET.search(key) is not None


def kept_apart(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return settings with every secret among them as a `Secret`, named after `prefix`."""
    return {
        key: secret_of(value, f"{prefix}.{key}")
        if is_secret_key(key) and isinstance(value, str)
        else value
        for key, value in settings.items()
    }


def revealed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with every secret's text, for a client; never keep or show it."""
    return {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in settings.items()
    }


def without_password(url: str) -> str:
    """Return a URL without what is secret in it: user information, and its query.

    >>> without_password("postgresql://me:secret@db:5432/shop?sslpassword=x")
    'postgresql://db:5432/shop'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
