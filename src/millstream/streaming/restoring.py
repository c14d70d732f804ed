"""Restoring: a StreamingContext from its checkpoint, with the old program or a new one."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from millstream.engine.base import frames
from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    PySparkValueError,
    SparkError,
)
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.upgrade import UpgradePlan, plan_upgrade
from millstream.streaming import program_text

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext

_log = logging.getLogger(__name__)

Upgrade = Literal["refuse", "plan", "apply"]


@dataclass(frozen=True, slots=True)
class Restored:
    """A checkpoint that was read."""

    manifest: Manifest
    functions: bytes


def read_checkpoint(directory: str) -> Restored | None:
    """Return the newest valid checkpoint of a directory, or None if it has none.

    Raises:
        SparkError: It has some, and none can be read.
    """
    return CheckpointFiles(directory).newest(_decode)


def _decode(parts: list[bytes]) -> Restored:
    if len(parts) != 2:
        msg = f"a checkpoint has two parts, and this one {len(parts)}"
        raise DurabilityError(msg)
    return Restored(manifests.decode(parts[0]), parts[1])


def get_or_create(
    cls: "type[StreamingContext]",
    directory: str,
    setup: "Callable[[], StreamingContext]",
    *,
    upgrade: Upgrade | None,
    allow_drop: Collection[str],
    create_on_error: bool,
) -> "StreamingContext":
    """See StreamingContext.getOrCreate."""
    if upgrade not in (None, "refuse", "plan", "apply"):
        msg = f"upgrade must be None, 'refuse', 'plan' or 'apply', not {upgrade!r}"
        raise PySparkValueError(msg)
    try:
        found = CheckpointFiles(directory).newest(
            lambda parts: _open(cls, _decode(parts), directory, upgrade is None)
        )
    except SparkError:
        if not create_on_error:
            raise
        _log.exception("the checkpoint can't be read; starting from nothing")
        found = None
    digests = program_text.digests(setup)
    if found is None:
        made = setup()
        made.checkpoint(directory)
        made._program_digests = digests
        return made
    checkpoint, ssc = found
    if ssc is not None:
        changed = program_text.differences(checkpoint.manifest.program, digests)
        if changed:
            _log.warning(
                "the program differs from the one in the checkpoint, which runs on: %s. "
                "To see what an upgrade would keep: millstream checkpoint plan %s %s",
                "; ".join(changed),
                directory,
                program_text.file_of(setup),
            )
        ssc._program_digests = dict(checkpoint.manifest.program)
        return ssc
    return _upgraded(checkpoint, directory, setup, digests, upgrade, allow_drop)


def _open(
    cls: "type[StreamingContext]",
    checkpoint: Restored,
    directory: str,
    restores: bool,
) -> "tuple[Restored, StreamingContext | None]":
    """Return the checkpoint and, where its functions are to run, its context."""
    if not restores:
        return checkpoint, None
    return checkpoint, restore(cls, checkpoint, directory)


def restore(
    cls: "type[StreamingContext]", checkpoint: Restored, directory: str
) -> "StreamingContext":
    """Return a context that goes on with the checkpoint's own functions.

    Raises:
        DurabilityError: The functions can't be loaded; says why.
    """
    facts = checkpoint.manifest
    sc, is_new = _spark_context(facts)
    try:
        ssc = cls._restored(sc, facts, directory)
        try:
            inputs, outputs = frames.loads_function(
                checkpoint.functions, ssc._live_objects()
            )
        except MillstreamError:
            raise
        except Exception as error:
            msg = f"the functions in the checkpoint can't be loaded: {error!r}"
            hint = (
                f"they were pickled by Python {facts.python}; a module that they need may "
                "have moved. getOrCreate(..., upgrade='apply') goes on with the program's "
                "present functions, the checkpoint's state and positions"
            )
            raise DurabilityError(msg, hint=hint) from error
        ssc._take_over(inputs, outputs)
    except BaseException:
        if is_new:
            sc.stop()
        raise
    return ssc


def _spark_context(facts: Manifest) -> tuple[Any, bool]:
    """Return the active SparkContext, or one made from the checkpoint's conf."""
    from millstream.conf import SparkConf  # noqa: PLC0415
    from millstream.context import SparkContext  # noqa: PLC0415

    active = SparkContext._active_spark_context
    if active is not None:
        return active, False
    conf = SparkConf(loadDefaults=False)
    present = dict(SparkConf().getAll())
    for key, value in facts.conf.items():
        if key not in _NOT_RESTORED:
            conf.set(key, value)
    for key in _RELOADED:
        if key in present:
            conf.set(key, present[key])
    conf.set("spark.app.name", facts.app_name)
    if conf.get("spark.master") is None:
        conf.set("spark.master", facts.master)
    return SparkContext(conf=conf), True


# What belongs to the place where a program runs, not to the program (semantics CP-20).
_NOT_RESTORED = frozenset(
    {
        "spark.app.id",
        "spark.driver.host",
        "spark.driver.bindAddress",
        "spark.driver.port",
        "spark.ui.port",
        "spark.blockManager.port",
    }
)
_RELOADED = (
    "spark.master",
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.driver.port",
    "spark.ui.port",
    "spark.blockManager.port",
    "spark.local.dir",
)


def _upgraded(
    checkpoint: Restored,
    directory: str,
    setup: "Callable[[], StreamingContext]",
    digests: Mapping[str, str],
    upgrade: Upgrade | None,
    allow_drop: Collection[str],
) -> "StreamingContext":
    made = setup()
    plan = plan_upgrade(checkpoint.manifest, made._graph)
    changed = program_text.differences(checkpoint.manifest.program, digests)
    if upgrade == "plan":
        print(plan.text(changed))  # noqa: T201  What was asked for.
        made.stop(stopSparkContext=True)
        raise SystemExit(0)
    if upgrade == "refuse" and (changed or plan.has_differences):
        made.stop(stopSparkContext=True)
        msg = f"the program differs from the checkpoint in {directory}"
        raise SparkError(
            msg, hint=f"{plan.text(changed)}\nuse upgrade='apply' to go on with it"
        )
    try:
        _check(plan, allow_drop)
    except MillstreamError:
        made.stop(stopSparkContext=True)
        raise
    made._adopt(checkpoint.manifest, directory, plan)
    made._program_digests = dict(digests)
    _log.warning(
        "upgraded from a checkpoint directory=%s\n%s", directory, plan.text(changed)
    )
    return made


def _check(plan: UpgradePlan, allow_drop: Collection[str]) -> None:
    if plan.incompatible:
        msg = "the program can't take over the checkpoint's state"
        raise SparkError(msg, hint="\n".join(plan.incompatible))
    lost = [name for name in plan.dropped_states if name not in allow_drop]
    if lost:
        names = ", ".join(f"'{each}'" for each in lost)
        msg = f"the upgrade would drop the state of {names}"
        raise SparkError(
            msg,
            hint="give the stream that continues it that name with .named(...), or pass "
            f"allow_drop={lost!r}",
        )
