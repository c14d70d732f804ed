"""Views: temporary views by name, and which of them a query sees.

Views are ours, not the engine's: a query carries the plans of those that it names, bound
when it is made. What the functions of a batch register is that batch's alone until all of
the batch has succeeded; others see the newest batch that has.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class _View:
    plan: Any
    batch_ms: int | None
    """The batch that it is of; None if it is of none."""


@dataclass(slots=True)
class _Batch:
    views: dict[str, _View | None] = field(default_factory=dict)
    """What it has registered; None: dropped."""


class ViewRegistry:
    """Temporary views by name, whatever its case. Thread-safe."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._shared: dict[str, _View] = {}
        self._batches: dict[int, _Batch] = {}
        self._providers: dict[str, Callable[[str], Any]] = {}
        self._newest_ms: int | None = None

    def register(self, name: str, plan: Any, batch_ms: int | None = None) -> None:
        """Have a name stand for a plan, for a batch alone until that has succeeded."""
        view = _View(plan, batch_ms)
        with self._lock:
            if batch_ms is None:
                self._shared[_key(name)] = view
            else:
                self._batches.setdefault(batch_ms, _Batch()).views[_key(name)] = view

    def find(self, name: str, batch_ms: int | None = None) -> Any:
        """Return the plan of a view as a batch sees it, or others do; None if none is."""
        key = _key(name)
        with self._lock:
            view = self._seen(batch_ms).get(key)
            provider = self._providers.get(key.partition(".")[0])
        if view is not None:
            return view.plan
        if provider is not None and "." in key:
            return provider(name.strip("`").partition(".")[2].strip("`"))
        return None

    def drop(self, name: str, batch_ms: int | None = None) -> bool:
        """Forget a view; say whether there was one."""
        key = _key(name)
        with self._lock:
            if key not in self._seen(batch_ms):
                return False
            if batch_ms is None:
                del self._shared[key]
            else:
                self._batches.setdefault(batch_ms, _Batch()).views[key] = None
            return True

    def names(self, batch_ms: int | None = None) -> list[str]:
        """Return the names that a batch sees, or that others do."""
        with self._lock:
            return sorted(self._seen(batch_ms))

    def provide(self, namespace: str, find: Callable[[str], Any]) -> None:
        """Have `find(name)` give the plans of `namespace.name`; None where there is none."""
        with self._lock:
            self._providers[_key(namespace)] = find

    @property
    def namespaces(self) -> list[str]:
        """The names before a dot that something is provided for."""
        with self._lock:
            return sorted(self._providers)

    def end_batch(
        self, batch_ms: int, *, has_succeeded: bool, remember_ms: int
    ) -> None:
        """Let others see what a batch has registered, if it succeeded and is the newest.

        Views of batches that ended longer ago than `remember_ms` go, but for those of the
        newest one.
        """
        with self._lock:
            batch = self._batches.pop(batch_ms, None)
            if batch is not None and has_succeeded:
                self._publish(batch_ms, batch)
            newest_ms = self._newest_ms
            if newest_ms is None:
                return
            for key, view in list(self._shared.items()):
                of = view.batch_ms
                is_old = of is not None and of < max(batch_ms, newest_ms) - remember_ms
                if is_old and of != newest_ms:
                    del self._shared[key]

    def _publish(self, batch_ms: int, batch: _Batch) -> None:
        self._newest_ms = max(batch_ms, self._newest_ms or batch_ms)
        for key, view in batch.views.items():
            known = self._shared.get(key)
            if known is not None and (known.batch_ms or 0) > batch_ms:
                continue
            if view is None:
                self._shared.pop(key, None)
            else:
                self._shared[key] = view

    def _seen(self, batch_ms: int | None) -> dict[str, _View]:
        batch = self._batches.get(batch_ms) if batch_ms is not None else None
        if batch is None:
            return self._shared
        both: dict[str, _View | None] = {**self._shared, **batch.views}
        return {key: view for key, view in both.items() if view is not None}


def _key(name: str) -> str:
    return ".".join(part.strip("`") for part in name.lower().split("."))
