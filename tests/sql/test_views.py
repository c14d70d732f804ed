"""Tests of sql/views.py."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millstream.sql.views import ViewRegistry

FOREVER_MS = 10**9


def ended(views: ViewRegistry, batch_ms: int, remember_ms: int = FOREVER_MS) -> None:
    """End a batch that has succeeded."""
    views.end_batch(batch_ms, has_succeeded=True, remember_ms=remember_ms)


def test_names_have_no_case() -> None:
    """As in Spark; nor do backticks matter."""
    views = ViewRegistry()
    views.register("Words", "plan")

    assert views.find("wORDS") == views.find("`words`") == "plan"
    assert views.names() == ["words"]
    assert views.drop("WORDS")
    assert not views.drop("words")
    assert views.find("words") is None


def test_a_view_of_a_batch_is_seen_when_all_of_it_succeeded() -> None:
    """By its own functions at once, by others after its end, by none if it failed."""
    views = ViewRegistry()
    views.register("words", "of 1", 1)
    views.register("words", "of 2", 2)

    assert [views.find("words", batch) for batch in (None, 1, 2, 3)] == [
        None,
        "of 1",
        "of 2",
        None,
    ]
    views.end_batch(1, has_succeeded=False, remember_ms=FOREVER_MS)
    assert views.find("words") is None
    ended(views, 2)
    assert views.find("words") == views.find("words", 3) == "of 2"


def test_an_older_batch_that_ends_late_changes_nothing() -> None:
    """Neither what a newer one registered, nor what it dropped."""
    views = ViewRegistry()
    views.register("words", "of none")
    views.register("gone", "of none")
    for batch in (1, 2):
        views.register("words", f"of {batch}", batch)
    views.register("gone", "of 1", 1)
    assert views.drop("gone", 2)
    for batch in (2, 1):
        views.end_batch(
            batch, has_succeeded=True, remember_ms=FOREVER_MS, pending_ms=(1,)
        )

    assert views.find("words") == "of 2"
    assert views.find("gone") is None
    assert views.names() == ["words"]


def test_a_drop_is_a_batchs_own_until_it_ends() -> None:
    """Others go on with what was there."""
    views = ViewRegistry()
    views.register("words", "plan")

    assert views.drop("words", 1)
    assert not views.drop("words", 1)
    assert (views.find("words"), views.find("words", 1)) == ("plan", None)
    assert (views.names(), views.names(1)) == (["words"], [])
    ended(views, 1)
    assert views.names() == []


def test_old_batches_views_are_remembered_for_so_long() -> None:
    """Those of the newest that succeeded stay whatever failed since, and lasting ones."""
    views = ViewRegistry()
    views.register("static", "lasting", 1000, is_lasting=True)
    views.register("mine", "of no batch")
    for batch in (1000, 2000, 3000):
        views.register(f"words_{batch}", batch, batch)
        ended(views, batch, remember_ms=1000)

    assert views.names() == ["mine", "static", "words_2000", "words_3000"]
    for batch in (4000, 5000):
        views.end_batch(batch, has_succeeded=False, remember_ms=1000)
    assert views.names() == ["mine", "static", "words_3000"]


def test_what_a_batch_registered_that_never_ran_goes() -> None:
    """With the end of a later one; not while it may still run."""
    views = ViewRegistry()
    views.register("words", "of 1", 1)
    views.register("words", "of 2", 2)
    views.end_batch(3, has_succeeded=True, remember_ms=FOREVER_MS, pending_ms=(2,))

    assert views.find("words", 1) is None
    assert views.find("words", 2) == "of 2"


def test_a_namespace_can_be_provided_for() -> None:
    """What is registered under its names comes first."""
    views = ViewRegistry()
    views.provide("State", {"counts": "plan"}.get, lambda: ["Counts", "a"])
    views.register("state.mine", "registered")

    assert views.find("STATE.Counts") == views.find("state.`counts`") == "plan"
    assert views.find("state.mine") == "registered"
    assert views.find("state.other") is None
    assert views.find("state") is None
    assert views.namespaces == ["state"]
    assert views.provided("state") == ["Counts", "a"]
    assert views.provided("other") == []


NAMES = st.sampled_from(["a", "b"])
BATCHES = st.integers(1, 4)


class Registry(RuleBasedStateMachine):
    """Batches in any order, beside a model: what each did, and which have succeeded."""

    def __init__(self) -> None:
        super().__init__()
        self.views = ViewRegistry()
        self.count = 0
        self.base = 0
        self.running: dict[int, dict[str, Any]] = {}
        self.seen: dict[str, tuple[int, Any]] = {}

    def _plan(self) -> str:
        self.count += 1
        return f"plan {self.count}"

    @rule(name=NAMES, batch=BATCHES)
    def register(self, name: str, batch: int) -> None:
        """A function of a batch makes a view."""
        plan = self._plan()
        self.running.setdefault(self.base + batch, {})[name] = plan
        self.views.register(name, plan, self.base + batch)

    @rule(name=NAMES)
    def register_shared(self, name: str) -> None:
        """Another thread makes one."""
        plan = self._plan()
        self.seen[name] = (0, plan)
        self.views.register(name, plan)

    @rule(name=NAMES, batch=BATCHES)
    def drop(self, name: str, batch: int) -> None:
        """A function of a batch drops one."""
        batch += self.base
        if self.views.drop(name, batch):
            self.running.setdefault(batch, {})[name] = None

    @rule(batch=BATCHES, has_succeeded=st.booleans())
    def end(self, batch: int, has_succeeded: bool) -> None:
        """A batch ends, which never runs again."""
        batch += self.base
        made = self.running.pop(batch, {})
        self.views.end_batch(
            batch,
            has_succeeded=has_succeeded,
            remember_ms=FOREVER_MS,
            pending_ms=list(self.running),
        )
        for name, plan in made.items() if has_succeeded else ():
            if self.seen.get(name, (0, None))[0] <= batch:
                self.seen[name] = (batch, plan)
        if not self.running:
            self.base += 4

    @invariant()
    def each_sees_its_own_and_others_the_newest(self) -> None:
        """Of every batch, and of a thread that works for none."""
        shared = {name: plan for name, (_, plan) in self.seen.items()}
        for batch in (None, *self.running):
            expected = {**shared, **self.running.get(batch or 0, {})}
            found = {name: self.views.find(name, batch) for name in ("a", "b")}
            assert found == {name: expected.get(name) for name in found}
            assert self.views.names(batch) == sorted(
                name for name, plan in expected.items() if plan is not None
            )


TestRegistry = pytest.mark.slow(Registry.TestCase)
