"""SparkConf: the settings of an application, as text."""

import json
import os  # noqa: TID251  Environment variables only.
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from millstream.engine.base.errors import IllegalArgumentError, PySparkRuntimeError
from millstream.engine.base.secrets import is_secret_key

__all__ = ["SparkConf"]

# What SparkContext.setSystemProperty sets: defaults for every later SparkConf.
system_properties: dict[str, str] = {}


class SparkConf:
    """Key and value pairs; every setter returns the conf itself.

    >>> SparkConf(False).setAppName("counts").get("spark.app.name")
    'counts'
    """

    def __init__(
        self, loadDefaults: bool = True, _jvm: object = None, _jconf: object = None
    ) -> None:
        """Start empty, or from the defaults.

        Defaults come, later ones winning, from spark-defaults.conf in SPARK_CONF_DIR,
        system properties, and what `millstream run --conf` was given.
        """
        del _jvm, _jconf
        self._values: dict[str, str] = _defaults() if loadDefaults else {}

    def set(self, key: str, value: object) -> Self:
        """Set a key; the value is kept as text."""
        self._values[key] = str(value)
        return self

    def setIfMissing(self, key: str, value: object) -> Self:
        """Set a key that isn't set."""
        self._values.setdefault(key, str(value))
        return self

    def setMaster(self, value: str) -> Self:
        """Set where tasks run, such as local[2]."""
        return self.set("spark.master", value)

    def setAppName(self, value: str) -> Self:
        """Set the application's name."""
        return self.set("spark.app.name", value)

    def setSparkHome(self, value: str) -> Self:
        """Set spark.home."""
        return self.set("spark.home", value)

    def setExecutorEnv(
        self,
        key: str | None = None,
        value: str | None = None,
        pairs: Iterable[tuple[str, str]] | None = None,
    ) -> Self:
        """Set environment variables of executors, one or several.

        Raises:
            PySparkRuntimeError: Neither or both forms were used.
        """
        if (key is None) == (pairs is None):
            msg = "Key-value pair or a list of pairs is required."
            raise PySparkRuntimeError(msg, condition="KEY_VALUE_PAIR_REQUIRED")
        for name, text in [(key, value)] if pairs is None else pairs:
            self.set(f"spark.executorEnv.{name}", text)
        return self

    def setAll(self, pairs: Iterable[tuple[str, object]]) -> Self:
        """Set several keys."""
        for key, value in pairs:
            self.set(key, value)
        return self

    def get(self, key: str, defaultValue: str | None = None) -> str | None:
        """Return the text of a key, or the default."""
        return self._values.get(key, defaultValue)

    def getAll(self) -> list[tuple[str, str]]:
        """Return all pairs."""
        return list(self._values.items())

    def contains(self, key: str) -> bool:
        """Say whether a key is set."""
        return key in self._values

    def toDebugString(self) -> str:
        """Return `key=value` lines in order of keys, without the values of secrets."""
        return "\n".join(
            f"{k}={'*****' if is_secret_key(k) else v}"
            for k, v in sorted(self._values.items())
        )

    def _copy(self) -> "SparkConf":
        return SparkConf(loadDefaults=False).setAll(self._values.items())


def _defaults() -> dict[str, str]:
    values: dict[str, str] = {}
    directory = os.environ.get("SPARK_CONF_DIR")
    if directory and (file := Path(directory) / "spark-defaults.conf").is_file():
        values.update(_read_properties(file))
    values.update(
        (k, v) for k, v in system_properties.items() if k.startswith("spark.")
    )
    values.update(_given_on_the_command_line())
    return values


def _given_on_the_command_line() -> dict[str, str]:
    text = os.environ.get("MILLSTREAM_CONF", "{}")
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        msg = f"the environment variable 'MILLSTREAM_CONF' is no JSON object: '{text}'"
        hint = "leave it to `millstream run --conf`, which sets it"
        raise IllegalArgumentError(msg, hint=hint)
    return {key: str(value) for key, value in given.items()}


def _read_properties(file: Path) -> Iterable[tuple[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("spark."):
            # Key and value are apart by blanks, or by the first `=` or `:`.
            key, *value = re.split(r"\s*[=:]\s*|\s+", text, maxsplit=1)
            yield key, "".join(value)
