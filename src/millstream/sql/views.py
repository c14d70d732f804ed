"""Views: temporary views by name, and which of them a query sees.

Views are ours, not the engine's: a query carries the plans of those that it names, bound
when it is made. What the functions of a batch register is that batch's alone until all of
the batch has succeeded; others see the newest batch that has.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class _View:
    plan: Any
    """What the name stands for; None: dropped."""
    batch_ms: int | None
    """The batch that it is of; None if it is of none."""
    is_lasting: bool = False
    """Whether it stays when its batch is forgotten."""


@dataclass(slots=True)
class _Batch:
    views: dict[str, _View] = field(default_factory=dict)
    """What it has registered and dropped."""


@dataclass(frozen=True, slots=True)
class _Provider:
    find: Callable[[str], Any]
    names: Callable[[], Sequence[str]]


class ViewRegistry:
    """Temporary views by name, whatever its case. Thread-safe."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._shared: dict[str, _View] = {}
        self._batches: dict[int, _Batch] = {}
        self._providers: dict[str, _Provider] = {}
        self._newest_ms: int | None = None

    def register(
        self,
        name: str,
        plan: Any,
        batch_ms: int | None = None,
        *,
        is_lasting: bool = False,
    ) -> None:
        """Have a name stand for a plan, for a batch alone until that has succeeded.

        One that `is_lasting` has no data of the batch in it, and stays until it is
        dropped or replaced.
        """
        with self._lock:
            self._put(_key(name), _View(plan, batch_ms, is_lasting))

    def _put(self, key: str, view: _View) -> None:
        """Note what a name stands for; the lock is held."""
        if view.batch_ms is None:
            self._shared[key] = view
        else:
            self._batches.setdefault(view.batch_ms, _Batch()).views[key] = view

    def find(self, name: str, batch_ms: int | None = None) -> Any:
        """Return the plan of a view as a batch sees it, or others do; None if none is.

        Raises what a provider raises.
        """
        key = _key(name)
        namespace, _, rest = key.partition(".")
        with self._lock:
            view = self._seen(key, batch_ms)
            provider = self._providers.get(namespace)
        if view is not None:
            return view.plan
        if provider is not None and rest:
            return provider.find(rest)
        return None

    def drop(self, name: str, batch_ms: int | None = None) -> bool:
        """Forget a view; say whether there was one."""
        key = _key(name)
        with self._lock:
            if self._seen(key, batch_ms) is None:
                return False
            if batch_ms is None:
                del self._shared[key]
            else:
                self._put(key, _View(None, batch_ms))
            return True

    def names(self, batch_ms: int | None = None) -> list[str]:
        """Return the names that a batch sees, or that others do."""
        with self._lock:
            batch = self._batches.get(batch_ms) if batch_ms is not None else None
            keys = {*self._shared, *(batch.views if batch is not None else ())}
            return sorted(key for key in keys if self._seen(key, batch_ms) is not None)

    def provide(
        self,
        namespace: str,
        find: Callable[[str], Any],
        names: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Have `find(name)` give the plans of `namespace.name`; None where there is none.

        `find` is given names in lower case; `names` says which there are.
        """
        with self._lock:
            self._providers[_key(namespace)] = _Provider(find, names)

    @property
    def namespaces(self) -> list[str]:
        """The names before a dot that something is provided for."""
        with self._lock:
            return sorted(self._providers)

    def provided(self, namespace: str) -> list[str]:
        """Return the names that something is provided for in a namespace."""
        with self._lock:
            provider = self._providers.get(_key(namespace))
        return [] if provider is None else sorted(provider.names())

    def end_batch(
        self,
        batch_ms: int,
        *,
        has_succeeded: bool,
        remember_ms: int,
        pending_ms: Collection[int] = (),
    ) -> None:
        """Let others see what a batch has registered, if it succeeded and is the newest.

        Views of batches that are older than `remember_ms` before the newest one go, but
        for those of the newest that succeeded, and lasting ones. So do views of earlier
        batches that aren't among `pending_ms`: those were never run to an end.
        """
        with self._lock:
            batch = self._batches.pop(batch_ms, None)
            if batch is not None and has_succeeded:
                self._publish(batch_ms, batch)
            for lost in [t for t in self._batches if t < batch_ms]:
                if lost not in pending_ms:
                    del self._batches[lost]
            newest_ms = self._newest_ms
            if newest_ms is None:
                return
            oldest_ms = max(batch_ms, newest_ms) - remember_ms
            for key, view in list(self._shared.items()):
                of = view.batch_ms
                if of is None or of >= oldest_ms or of == newest_ms:
                    continue
                if not view.is_lasting:
                    del self._shared[key]

    def _publish(self, batch_ms: int, batch: _Batch) -> None:
        self._newest_ms = max(batch_ms, self._newest_ms or batch_ms)
        for key, view in batch.views.items():
            known = self._shared.get(key)
            # What an older batch has to say comes too late, of a dropped view, too.
            if known is None or (known.batch_ms or 0) <= batch_ms:
                self._shared[key] = view

    def _seen(self, key: str, batch_ms: int | None) -> _View | None:
        """Return what a name stands for; the lock is held."""
        batch = self._batches.get(batch_ms) if batch_ms is not None else None
        view = None if batch is None else batch.views.get(key)
        if view is None:
            view = self._shared.get(key)
        return None if view is None or view.plan is None else view


def _key(name: str) -> str:
    return ".".join(part.strip("`") for part in name.lower().split("."))
