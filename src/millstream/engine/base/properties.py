"""LocalProperties: a thread's properties, which its jobs and its child threads carry."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class LocalProperties:
    """String properties of each thread: job group, description, scheduler pool, ..."""

    def __init__(self) -> None:
        """Start with no properties in any thread."""
        self._local = threading.local()

    def get(self, key: str) -> str | None:
        """Return this thread's value, or None."""
        return self._map().get(key)

    def set(self, key: str, value: str | None) -> None:
        """Set this thread's value; None removes it."""
        if value is None:
            self._map().pop(key, None)
        else:
            self._map()[key] = value

    def snapshot(self) -> dict[str, str]:
        """Return a copy of this thread's properties."""
        return dict(self._map())

    def install(self, properties: Mapping[str, str]) -> None:
        """Replace this thread's properties by a copy of `properties`."""
        self._local.properties = dict(properties)

    @contextmanager
    def installed(self, properties: Mapping[str, str]) -> Iterator[None]:
        """Replace this thread's properties for a while."""
        before = self.snapshot()
        self.install(properties)
        try:
            yield
        finally:
            self.install(before)

    def _map(self) -> dict[str, str]:
        try:
            properties: dict[str, str] = self._local.properties
        except AttributeError:
            properties = self._local.properties = {}
        return properties
