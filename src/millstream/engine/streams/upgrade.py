"""UpgradePlan: what of a checkpoint a changed program takes over. A core: pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.inputs import InputOperator, ReceiverInput
from millstream.engine.streams.leftover import Leftover
from millstream.engine.streams.manifest import (
    Manifest,
    OperatorRecord,
    SourceRecord,
    absolute,
)
from millstream.engine.streams.naming import in_order
from millstream.engine.streams.operators import Operator
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.engine.streams.windows import ReducedWindowOperator, WindowedOperator


@dataclass(frozen=True, slots=True)
class Matched:
    """Names of one sort of streams: those of the checkpoint against the program's."""

    kept: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """What `upgrade="apply"` does with each stream, by name, and what stands against it."""

    sources: Matched
    states: Matched
    steps: Matched
    windows: tuple[str, ...]
    """Windows: made anew from what their sources remember."""
    incompatible: Mapping[str, str]
    """Streams that can't take over what the checkpoint has under their name, and why."""
    obstacles: tuple[str, ...]
    """What nobody can allow: the checkpoint and the program don't go together."""
    ambiguous: tuple[str, ...]
    """Sources and states without names of their own that only their order tells apart."""
    leftovers: Mapping[str, Leftover]
    """Received data that no batch has had, of sources that are dropped."""
    changed_code: tuple[str, ...] | None = ()
    """What of the code has changed; None when that isn't known."""
    changed_conf: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_differences(self) -> bool:
        """Whether anything isn't as in the program that wrote the checkpoint."""
        return any(
            (
                *(m.new or m.dropped for m in (self.sources, self.states, self.steps)),
                self.incompatible,
                self.obstacles,
                self.changed_code,
                self.changed_conf,
            )
        )

    def unallowed(self, allow_drop: Collection[str] = ()) -> tuple[str, ...]:
        """Return the names of what would be lost without being in `allow_drop`."""
        lost = (*self.states.dropped, *self.incompatible, *self.leftovers)
        return tuple(name for name in dict.fromkeys(lost) if name not in allow_drop)

    def can_apply(self, allow_drop: Collection[str] = ()) -> bool:
        """Say whether "apply" goes through."""
        return not (self.obstacles or self.ambiguous or self.unallowed(allow_drop))

    def text(self, allow_drop: Collection[str] = ()) -> str:
        """Return the plan for people to read."""
        lines: list[str] = []
        for title, entries in self._sections():
            if entries:
                lines.append(f"{title}:")
                lines += [f"  {entry}" for entry in entries]
        return "\n".join([*lines, self._verdict(allow_drop)])

    def _sections(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "sources kept, with their positions", self.sources.kept
        yield "sources new", self.sources.new
        yield "sources dropped", self.sources.dropped
        yield "states kept", self.states.kept
        yield "states new, empty", self.states.new
        yield "states DROPPED", self.states.dropped
        yield "windows made anew, from what their sources remember", self.windows
        yield "steps and outputs new", self.steps.new
        yield "steps and outputs gone", self.steps.dropped
        told = (f"'{name}' {why}" for name, why in self.incompatible.items())
        yield "INCOMPATIBLE", (*told, *self.obstacles)
        yield (
            "AMBIGUOUS: only their order tells these apart; name them",
            [
                f"'{name}': if this is the one, .named({name!r})"
                for name in self.ambiguous
            ],
        )
        yield (
            "received data that would be LOST: no batch has had it",
            [
                f"source '{name}': {left.blocks} blocks, {left.records} records"
                for name, left in self.leftovers.items()
            ],
        )
        yield "code", self.changed_code or ()
        yield "conf", self.changed_conf
        yield "take note", self.notes

    def _verdict(self, allow_drop: Collection[str]) -> str:
        if self.obstacles:
            return "=> 'apply' isn't possible"
        if self.ambiguous:
            return "=> 'apply' needs names for what is ambiguous"
        lost = self.unallowed(allow_drop)
        if lost:
            return f"=> 'apply' needs allow_drop={list(lost)!r}"
        if self.unallowed():
            return "=> 'apply' goes on, and drops what allow_drop names"
        if not self.has_differences:
            unknown = "; whether the code does isn't known"
            return f"=> nothing differs{unknown if self.changed_code is None else ''}"
        return "=> 'apply' goes on with everything that is kept"


def plan_upgrade(
    manifest: Manifest,
    graph: DStreamGraph,
    *,
    leftovers: Mapping[str, Leftover],
    changed_code: Iterable[str] | None = (),
    conf: Mapping[str, str] | None = None,
) -> UpgradePlan:
    """Match the streams of a checkpoint with those of a program, by their names.

    `leftovers` are those of all sources; `changed_code` is None when nobody knows what of
    it has changed; `conf` is the program's, None when it is the checkpoint's.
    """
    names = {name: operator for operator, name in graph.names().items()}
    sources = {n: op for n, op in names.items() if isinstance(op, InputOperator)}
    states = {n: op for n, op in names.items() if isinstance(op, KeyedStateOperator)}
    old_sources = {each.name: each for each in manifest.sources}
    old_states = {each.name: each for each in manifest.operators if each.state}
    old_steps = {e.name: e for e in manifest.operators if e.name not in old_states}
    steps = {n: op for n, op in names.items() if n not in sources and n not in states}
    changed = None if changed_code is None else tuple(changed_code)
    incompatible = dict(_incompatible(old_sources, old_states, sources, states))
    matched_sources = _match(old_sources, sources, incompatible)
    matched_states = _match(old_states, states, incompatible)
    ambiguous: tuple[str, ...] = ()
    if changed != ():  # Also when nobody knows whether the order is the same.
        ambiguous = _ambiguous(old_sources, sources) + _ambiguous(old_states, states)
    gone = {*matched_sources.dropped, *(set(incompatible) & set(old_sources))}
    return UpgradePlan(
        matched_sources,
        matched_states,
        _match(old_steps, steps, ()),
        tuple(n for n, op in steps.items() if _looks_back(op)),
        incompatible,
        tuple(_obstacles(manifest, graph)),
        ambiguous,
        {name: left for name, left in leftovers.items() if name in gone},
        changed,
        tuple(_changed_conf(manifest.conf, conf or manifest.conf)),
        (
            *_notes(old_states, states, matched_states),
            *_window_notes(manifest, graph.names(), matched_sources.kept),
        ),
    )


def take_over(manifest: Manifest, plan: UpgradePlan) -> Manifest:
    """Return the manifest with what the program goes on with, and nothing else."""
    kept = {*plan.sources.kept, *plan.states.kept}
    lost = (*plan.sources.dropped, *plan.states.dropped, *plan.incompatible)
    return replace(
        manifest,
        sources=tuple(each for each in manifest.sources if each.name in kept),
        operators=tuple(each for each in manifest.operators if each.name in kept),
        dropped=tuple(dict.fromkeys((*manifest.dropped, *lost))),
    )


def left_behind(manifest: Manifest, plan: UpgradePlan, directory: str) -> list[str]:
    """Return the directories that the program doesn't go on with: dropped states, RDDs."""
    kept = set(plan.states.kept)
    names = [uri for each in manifest.operators for uri in each.files.values()]
    names += [s["directory"] for name, s in manifest.states.items() if name not in kept]
    return [absolute(directory, name) for name in names]


def unknown_names(
    manifest: Manifest, graph: DStreamGraph, allow_drop: Collection[str]
) -> list[str]:
    """Return what neither the checkpoint nor the program has, and nobody dropped before."""
    known = {each.name for each in manifest.sources}
    known |= {each.name for each in manifest.operators}
    known |= {*manifest.dropped, *graph.names().values()}
    return [name for name in allow_drop if name not in known]


def _match(
    old: Collection[str], now: Collection[str], incompatible: Collection[str]
) -> Matched:
    return Matched(
        tuple(n for n in now if n in old and n not in incompatible),
        tuple(n for n in now if n not in old),
        tuple(n for n in old if n not in now and n not in incompatible),
    )


def _incompatible(
    old_sources: Mapping[str, SourceRecord],
    old_states: Mapping[str, OperatorRecord],
    sources: Mapping[str, InputOperator],
    states: Mapping[str, KeyedStateOperator],
) -> Iterator[tuple[str, str]]:
    for name, state in states.items():
        before = old_states.get(name)
        if before is not None and before.kind != state.kind:
            yield name, f"was a {before.kind}, and is a {state.kind} now"
        elif before is not None and before.slide_ms != state.slide_ms:
            slides = f"{before.slide_ms} ms, and is every {state.slide_ms} ms now"
            yield name, f"was made every {slides}"
    for name, source in sources.items():
        was = old_sources.get(name)
        if was is not None and was.kind != source.kind:
            yield name, f"was a {was.kind}, and is a {source.kind} now"


def _obstacles(manifest: Manifest, graph: DStreamGraph) -> Iterator[str]:
    if graph.batch_ms != manifest.batch_ms:
        yield (
            f"batches were {manifest.batch_ms} ms, and are {graph.batch_ms} ms now: the "
            "grid of a checkpoint can't change"
        )


_NUMBERED = re.compile(r"(.*)#[0-9]+", re.DOTALL)


def _stem(name: str) -> str:
    """Return a derived name without the number that tells it from its equals."""
    numbered = _NUMBERED.fullmatch(name)
    return name if numbered is None else numbered[1]


def _ambiguous(before: Collection[str], now: Mapping[str, Operator]) -> tuple[str, ...]:
    """Return the derived names that may stand for another stream than they did.

    Where there are, or were, several of one stem, changed code may have changed their
    order, and with it their numbers.
    """
    derived = [name for name, op in now.items() if op.given_name is None]
    stems_now = list(map(_stem, derived))
    stems_before = list(map(_stem, before))
    return tuple(
        name
        for name in derived
        if name in before
        and (stems_now.count(_stem(name)) > 1 or stems_before.count(_stem(name)) > 1)
    )


def _looks_back(operator: Operator) -> bool:
    return isinstance(operator, WindowedOperator | ReducedWindowOperator)


def _changed_conf(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new or key in PLACE_KEYS:
            continue
        yield f"{key} was {_set_to(old)}, and is {_set_to(new)} now"


def _set_to(value: str | None) -> str:
    return "not set" if value is None else repr(value)


# What belongs to the place where a program runs, or to one run: no part of the program.
PLACE_KEYS = frozenset(
    {
        "spark.app.id",
        "spark.app.name",
        "spark.app.startTime",
        "spark.app.submitTime",
        "spark.blockManager.port",
        "spark.driver.bindAddress",
        "spark.driver.host",
        "spark.driver.port",
        "spark.executor.id",
        "spark.local.dir",
        "spark.master",
        "spark.streaming.checkpoint.directory",
        "spark.ui.port",
    }
)


def _notes(
    old: Mapping[str, OperatorRecord],
    now: Mapping[str, KeyedStateOperator],
    matched: Matched,
) -> Iterator[str]:
    for name in matched.kept:
        operator, record = now[name], old[name]
        if operator.has_initial:
            yield f"'{name}' goes on with what is kept; its initial state isn't used"
        before = (record.state or {}).get("placement", {}).get("partitions")
        if before != operator.place.count:
            yield (
                f"'{name}' had {before} partitions, and has {operator.place.count} now: "
                "its keys are moved"
            )
    for name in matched.dropped:
        for heir in matched.new:
            if old[name].kind == now[heir].kind:
                yield f"if '{heir}' goes on with '{name}', call it .named({name!r})"


def _window_notes(
    manifest: Manifest, names: Mapping[Operator, str], kept: Collection[str]
) -> Iterator[str]:
    if manifest.conf.get(_LOG_KEY, "false") == "true":
        return
    for operator, name in names.items():
        if not _looks_back(operator):
            continue
        for source in _sources_of(operator):
            if isinstance(source, ReceiverInput) and names[source] in kept:
                yield (
                    f"'{name}' begins without what '{names[source]}' has received: it "
                    f"isn't logged ({_LOG_KEY})"
                )


_LOG_KEY = "spark.streaming.receiver.writeAheadLog.enable"


def _sources_of(operator: Operator) -> list[Operator]:
    return [each for each in in_order((), [operator]) if not each.parents]
