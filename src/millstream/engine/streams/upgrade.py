"""UpgradePlan: what of a checkpoint a changed program takes over. A core: pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from millstream.engine.streams.graph import DStreamGraph
from millstream.engine.streams.inputs import InputOperator
from millstream.engine.streams.manifest import Manifest


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """Streams by name: those of the checkpoint against those of the program."""

    kept_sources: tuple[str, ...]
    new_sources: tuple[str, ...]
    dropped_sources: tuple[str, ...]
    kept_states: tuple[str, ...]
    new_states: tuple[str, ...]
    dropped_states: tuple[str, ...]
    new_steps: tuple[str, ...]
    dropped_steps: tuple[str, ...]
    incompatible: tuple[str, ...]

    @property
    def has_differences(self) -> bool:
        """Whether the program isn't the same, stream for stream."""
        return any(
            (
                self.new_sources,
                self.dropped_sources,
                self.new_states,
                self.dropped_states,
                self.new_steps,
                self.dropped_steps,
                self.incompatible,
            )
        )

    def text(self, changed_code: Iterable[str] = ()) -> str:
        """Return the plan for people to read."""
        sections = (
            ("sources kept, with their positions", self.kept_sources),
            ("sources new", self.new_sources),
            ("sources dropped", self.dropped_sources),
            ("states kept", self.kept_states),
            ("states new, empty", self.new_states),
            ("states DROPPED", self.dropped_states),
            ("steps and outputs new", self.new_steps),
            ("steps and outputs gone", self.dropped_steps),
            ("INCOMPATIBLE", self.incompatible),
            ("code", tuple(changed_code)),
        )
        lines: list[str] = []
        for title, names in sections:
            if names:
                lines.append(f"{title}:")
                lines += [f"  {name}" for name in names]
        return "\n".join(lines) or "nothing differs"


def plan_upgrade(manifest: Manifest, graph: DStreamGraph) -> UpgradePlan:
    """Match the streams of a checkpoint with those of a program, by their names."""
    names = graph.names()
    sources = {n: op for op, n in names.items() if isinstance(op, InputOperator)}
    states = {n: op for op, n in names.items() if op.keeps_state}
    steps = {n: op for op, n in names.items() if n not in sources and n not in states}
    old_sources = {each.name: each for each in manifest.sources}
    old_states = {each.name: each for each in manifest.operators if each.state}
    old_steps = {e.name for e in manifest.operators if e.name not in old_states}
    incompatible = [
        f"'{name}' was a {old_states[name].kind}, and is a {states[name].kind} now"
        for name in states
        if name in old_states and states[name].kind != old_states[name].kind
    ]
    incompatible += [
        f"source '{name}' was a {old_sources[name].kind}, and is a {sources[name].kind} now"
        for name in sources
        if name in old_sources and sources[name].kind != old_sources[name].kind
    ]
    if graph.batch_ms != manifest.batch_ms:
        incompatible.append(
            f"batches were {manifest.batch_ms} ms, and are {graph.batch_ms} ms now: the "
            "grid of a checkpoint can't change"
        )
    return UpgradePlan(
        kept_sources=tuple(n for n in sources if n in old_sources),
        new_sources=tuple(n for n in sources if n not in old_sources),
        dropped_sources=tuple(n for n in old_sources if n not in sources),
        kept_states=tuple(n for n in states if n in old_states),
        new_states=tuple(n for n in states if n not in old_states),
        dropped_states=tuple(n for n in old_states if n not in states),
        new_steps=tuple(n for n in steps if n not in old_steps),
        dropped_steps=tuple(sorted(old_steps - set(steps))),
        incompatible=tuple(incompatible),
    )
