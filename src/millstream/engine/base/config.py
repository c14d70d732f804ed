"""Settings: the values of a context, read by the types of the catalogue.

Durations and sizes are written as Spark's: `200ms`, `5s`, `2min`; `64k`, `512m`, `1g`.
"""

import logging
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from millstream.engine.base import machine
from millstream.engine.base.catalogue import CATALOGUE, Kind, Setting, find_setting
from millstream.engine.base.errors import IllegalArgumentError

__all__ = [
    "CATALOGUE",
    "Kind",
    "Setting",
    "Settings",
    "find_setting",
    "parse_duration_ms",
    "parse_size_bytes",
    "remarks",
    "tell_remarks",
]

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


_DURATION_MS = {
    "us": 0.001,
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}
_SIZE_BYTES = {
    unit + tail: 1 << 10 * power
    for power, unit in enumerate(["", "k", "m", "g", "t", "p"])
    for tail in ("", "b")
    if unit + tail
}


def parse_duration_ms(text: str, default_unit: str = "ms") -> int:
    """Return a duration in ms: '5s', '200ms', '2min'; a bare number has `default_unit`.

    >>> parse_duration_ms("2min"), parse_duration_ms("3", "s")
    (120000, 3000)

    Raises:
        ValueError: It is no duration.
    """
    return int(_amount(text, default_unit, _DURATION_MS))


def parse_size_bytes(text: str, default_unit: str = "b") -> int:
    """Return a size in bytes: '64k', '512m', '1g'; a bare number has `default_unit`.

    >>> parse_size_bytes("2k"), parse_size_bytes("1", "m")
    (2048, 1048576)

    Raises:
        ValueError: It is no size.
    """
    return int(_amount(text, default_unit, _SIZE_BYTES))


def _amount(text: str, default_unit: str, units: Mapping[str, float]) -> float:
    found = re.fullmatch(r"(-?[0-9]+)([a-z]*)", text.strip().lower())
    if found is None or (found[2] and found[2] not in units):
        msg = f"'{text}' needs a whole number and one of the units {', '.join(units)}"
        raise ValueError(msg)
    return int(found[1]) * units[found[2] or default_unit]


class Settings:
    """The values of one context, read by their catalogue type. Immutable."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Read `values`; keys that aren't set have the catalogue's default."""
        self._values = dict(values)

    def is_set(self, key: str) -> bool:
        """Say whether the program set `key`."""
        return key in self._values

    def find_str(self, key: str) -> str | None:
        """Return the text of `key`, its default, or None.

        Raises:
            IllegalArgumentError: It is none of the words that the key takes.
        """
        setting = CATALOGUE[key]
        text = self._values.get(key, setting.default)
        if setting.choices and text not in (None, *setting.choices):
            raise _bad(key, str(text))
        return text

    def get_str(self, key: str) -> str:
        """Return the text of `key`, which has a default."""
        return _known(self.find_str(key), key)

    def find_bool(self, key: str) -> bool | None:
        """Return true or false, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        if text.strip().lower() not in ("true", "false"):
            raise _bad(key, text)
        return text.strip().lower() == "true"

    def get_bool(self, key: str) -> bool:
        """Return true or false."""
        return _known(self.find_bool(key), key)

    def find_int(self, key: str) -> int | None:
        """Return a whole number, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        try:
            return int(_checked(key, text, int(text)))
        except ValueError:
            raise _bad(key, text) from None

    def get_int(self, key: str) -> int:
        """Return a whole number."""
        return _known(self.find_int(key), key)

    def find_float(self, key: str) -> float | None:
        """Return a number, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        try:
            number = float(text)
            if not math.isfinite(number):
                raise _bad(key, text)
            return _checked(key, text, number)
        except ValueError:
            raise _bad(key, text) from None

    def get_float(self, key: str) -> float:
        """Return a number."""
        return _known(self.find_float(key), key)

    def find_ms(self, key: str) -> int | None:
        """Return a duration in ms, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        unit = "s" if CATALOGUE[key].kind is Kind.DURATION_S else "ms"
        try:
            return int(_checked(key, text, parse_duration_ms(text, unit)))
        except ValueError:
            raise _bad(key, text) from None

    def get_ms(self, key: str) -> int:
        """Return a duration in ms."""
        return _known(self.find_ms(key), key)

    def find_bytes(self, key: str) -> int | None:
        """Return a size in bytes, or None."""
        text = self.find_str(key)
        if text is None:
            return None
        setting = CATALOGUE[key]
        unit = "m" if setting.kind is Kind.SIZE_MIB else "b"
        try:
            size = int(_checked(key, text, parse_size_bytes(text, unit)))
        except ValueError:
            raise _bad(key, text) from None
        part_of = setting.memory_part_of
        if part_of is None or self.is_set(key):
            return size
        memory = machine.memory()
        return size if memory is None else min(size, memory.amount // part_of)

    def get_bytes(self, key: str) -> int:
        """Return a size in bytes."""
        return _known(self.find_bytes(key), key)

    def check(self) -> None:
        """Read every known key once, so that a bad value is told at the start.

        Raises:
            IllegalArgumentError: A value can't be read; names key, value and type.
        """
        readers: dict[Kind, Callable[[str], object]] = {
            Kind.TEXT: self.find_str,
            Kind.BOOLEAN: self.find_bool,
            Kind.INTEGER: self.find_int,
            Kind.NUMBER: self.find_float,
            Kind.DURATION_MS: self.find_ms,
            Kind.DURATION_S: self.find_ms,
            Kind.SIZE_BYTES: self.find_bytes,
            Kind.SIZE_MIB: self.find_bytes,
        }
        for key in self._values:
            setting = CATALOGUE.get(key)
            if setting is not None:
                readers[setting.kind](key)


def _known(value: _Value | None, key: str) -> _Value:
    assert value is not None, f"{key} has no default"
    return value


def _checked(key: str, text: str, value: float) -> float:
    least = CATALOGUE[key].at_least
    if least is not None and value < least:
        raise _bad(key, text)
    return value


def _bad(key: str, text: str) -> IllegalArgumentError:
    setting = CATALOGUE[key]
    return IllegalArgumentError(
        f"{key} should be {setting.expected()}, but was '{text}'",
        hint=f"{key}: {setting.effect}",
    )


def remarks(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return (key, remark) for keys that have no effect or that nobody knows. Pure."""
    found = []
    for key in sorted(keys):
        setting = find_setting(key)
        if setting is None:
            if key.startswith("spark."):
                found.append((key, f"unknown configuration key '{key}'{_nearest(key)}"))
        elif setting.does_nothing is not None:
            found.append((key, f"'{key}' does nothing here: {setting.does_nothing}"))
    return found


def _nearest(key: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  Only for a warning.

    names = [name for name in CATALOGUE if not name.endswith("*")]
    close = get_close_matches(key, names, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


_told: set[str] = set()
_lock = threading.Lock()


def tell_remarks(keys: Iterable[str]) -> None:
    """Log each remark once in the life of this process."""
    for key, remark in remarks(keys):
        with _lock:
            if key in _told:
                continue
            _told.add(key)
        _log.warning("%s", remark)
