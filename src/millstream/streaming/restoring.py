"""Restoring: a StreamingContext from its checkpoint, with the old program or a new one."""

import logging
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from millstream import planning
from millstream.engine.base import frames
from millstream.engine.base.errors import (
    DurabilityError,
    IllegalStateError,
    MillstreamError,
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)
from millstream.engine.base.secrets import (
    MissingSecretError,
    all_known,
    is_secret_key,
)
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.leftover import find_leftovers
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.opening import check_files
from millstream.engine.streams.upgrade import (
    UpgradePlan,
    left_behind,
    plan_upgrade,
    take_over,
    unknown_names,
)
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


def read_checkpoint(directory: str, *, checks_files: bool = False) -> Restored | None:
    """Return the newest valid checkpoint of a directory, or None if it has none.

    With `checks_files` one is valid only if all files of states and RDDs are that a
    restart from it reads: each is read to its end, once.

    Raises:
        SparkError: It has some, and none can be read.
    """

    def read(parts: list[bytes]) -> Restored:
        found = _decode(parts)
        if checks_files:
            check_files(found.manifest, directory)
        return found

    return CheckpointFiles(directory).newest(read)


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
    _check_arguments(setup, upgrade, allow_drop)
    request = planning.request()
    if request is not None:
        _answer(request, directory, setup, allow_drop)
    if planning.is_looking():
        looked_at = _made(setup)
        looked_at.checkpoint(directory)
        return looked_at
    if upgrade == "plan":
        answer = _plan(directory, setup, allow_drop)
        print(answer.text)  # noqa: T201  What was asked for.
        raise planning.PlanMade(0 if answer.can_apply else 1)
    try:
        checkpoint = read_checkpoint(directory, checks_files=True)
        if checkpoint is not None and upgrade is None:
            return _restored(cls, checkpoint, directory, setup)
    except SparkError:
        if not create_on_error:
            raise
        _log.exception("the checkpoint can't be read; starting from nothing")
        checkpoint = None
    if checkpoint is not None:
        return _upgraded(checkpoint, directory, setup, upgrade, allow_drop)
    made = _made(setup)
    made.checkpoint(directory)
    made._program_digests = program_text.digests(setup)
    made._begins_anew = not create_on_error
    # Or the very same program couldn't be restarted: nothing would have these names.
    made._dropped = tuple(allow_drop)
    return made


def _check_arguments(
    setup: "Callable[[], StreamingContext]",
    upgrade: Upgrade | None,
    allow_drop: Collection[str],
) -> None:
    if not callable(setup):
        msg = f"setupFunc must be a function, not {type(setup).__name__}"
        raise PySparkTypeError(msg)
    if upgrade not in (None, "refuse", "plan", "apply"):
        msg = f"upgrade must be None, 'refuse', 'plan' or 'apply', not {upgrade!r}"
        raise PySparkValueError(msg)
    if isinstance(allow_drop, str):
        msg = f"allow_drop must be a list of names, not the text {allow_drop!r}"
        raise PySparkTypeError(msg, hint=f"allow_drop=[{allow_drop!r}]")
    if allow_drop and upgrade is None and planning.request() is None:
        msg = "allow_drop means nothing without upgrade"
        raise PySparkValueError(msg, hint="pass upgrade='apply' as well")


def _made(setup: "Callable[[], StreamingContext]") -> "StreamingContext":
    from millstream.streaming.context import StreamingContext  # noqa: PLC0415

    made: object = setup()
    if not isinstance(made, StreamingContext):
        msg = f"setupFunc must return a StreamingContext, not {type(made).__name__}"
        raise PySparkTypeError(msg, hint="does the function end with `return ssc`?")
    return made


def _restored(
    cls: "type[StreamingContext]",
    checkpoint: Restored,
    directory: str,
    setup: "Callable[[], StreamingContext]",
) -> "StreamingContext":
    """Return a context with the checkpoint's functions; warn when the program changed."""
    ssc = restore(cls, checkpoint, directory)
    before = checkpoint.manifest.program
    changed = program_text.differences(before, program_text.digests(setup))
    if changed:
        _log.warning(
            "the program differs from the one in the checkpoint, which runs on: %s. "
            "To see what an upgrade would keep: millstream checkpoint plan %s",
            _shortened(changed),
            shlex.join([directory, program_text.program_of(setup)]),
        )
    ssc._program_digests = dict(before)
    return ssc


_TOLD_MAX = 10


def _shortened(changed: list[str]) -> str:
    more = len(changed) - _TOLD_MAX
    return "; ".join(changed[:_TOLD_MAX]) + (f"; and {more} more" if more > 0 else "")


def restore(
    cls: "type[StreamingContext]", checkpoint: Restored, directory: str
) -> "StreamingContext":
    """Return a context that goes on with the checkpoint's own functions.

    Raises:
        SparkError: The functions can't be loaded; says why. An older checkpoint isn't
            tried: this one isn't damaged, and its batches would be told twice.
    """
    facts = checkpoint.manifest
    if facts.python != manifests.this_python():
        msg = f"it was written by Python {facts.python}, and this is another"
        raise _unreadable(directory, facts, msg)
    sc, is_new = _spark_context(facts)
    try:
        ssc = cls._restored(sc, facts, directory)
        streams = _load(ssc, checkpoint, directory)
        newest = _claim(ssc, checkpoint, directory)
        if newest is not checkpoint:
            ssc._begin_at(newest.manifest, directory)
            streams = _load(ssc, newest, directory)
        ssc._take_over(*streams)
    except BaseException:
        if is_new:
            sc.stop()
        raise
    return ssc


def _load(
    ssc: "StreamingContext", checkpoint: Restored, directory: str
) -> tuple[Any, Any]:
    try:
        with all_known():
            inputs, outputs = frames.loads_function(
                checkpoint.functions, ssc._live_objects()
            )
    except MissingSecretError:
        raise
    except Exception as error:
        facts = checkpoint.manifest
        raise _unreadable(directory, facts, _in_words(error)) from error
    return inputs, outputs


def _claim(ssc: "StreamingContext", checkpoint: Restored, directory: str) -> Restored:
    """Take the directory over, and return its newest checkpoint: that one, as a rule.

    Only when everything else is found to work: a program that can't go on from the
    checkpoint must not end one that does. Another driver may have written until then.
    """
    ssc._claim_directory()
    if read_checkpoint(directory) == checkpoint:
        return checkpoint
    newest = read_checkpoint(directory, checks_files=True)
    if newest is None:
        msg = f"the checkpoints in {directory} were deleted while they were read"
        raise SparkError(msg, hint="another driver, or somebody, uses the directory")
    return newest


def _in_words(error: Exception) -> str:
    if isinstance(error, MillstreamError):
        return "\n".join(filter(None, (str(error), error.hint)))
    return f"the functions can't be loaded: {error!r}; a module may have moved"


def _unreadable(directory: str, facts: Manifest, why: str) -> SparkError:
    msg = f"Failed to read checkpoint from directory {directory}"
    hint = (
        f"of batch {facts.time_ms} ms, whose functions were pickled by Python "
        f"{facts.python}: {why}\ngetOrCreate(..., upgrade='apply') goes on with the "
        "program's present functions, and the checkpoint's state and positions"
    )
    return SparkError(msg, hint=hint)


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
    for key, value in present.items():
        # Secrets are in no checkpoint.
        if key in _RELOADED or is_secret_key(key):
            conf.set(key, value)
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


# Upgrades.


def _upgraded(
    checkpoint: Restored,
    directory: str,
    setup: "Callable[[], StreamingContext]",
    upgrade: Upgrade | None,
    allow_drop: Collection[str],
) -> "StreamingContext":
    with _fresh(setup) as made:

        def planned() -> tuple[UpgradePlan, str]:
            plan = _plan_of(checkpoint, directory, made, setup)
            text = plan.text(allow_drop)
            if upgrade == "refuse" and plan.has_differences:
                msg = f"the program differs from the checkpoint in {directory}"
                hint = f"{text}\nuse upgrade='apply' to go on with what is kept"
                raise SparkError(msg, hint=hint)
            _check(checkpoint, made, plan, allow_drop)
            return plan, text

        plan, text = planned()
        made.checkpoint(directory)
        newest = _claim(made, checkpoint, directory)
        if newest is not checkpoint:
            checkpoint = newest
            plan, text = planned()
        adopted = take_over(checkpoint.manifest, plan)
        made._adopt(adopted, directory)
        made._program_digests = program_text.digests(setup)
        made._dropped = adopted.dropped
        made._left_behind = tuple(left_behind(checkpoint.manifest, plan, directory))
    level = logging.WARNING if plan.has_differences else logging.INFO
    _log.log(level, "upgraded from a checkpoint directory=%s\n%s", directory, text)
    return made


@contextmanager
def _fresh(
    setup: "Callable[[], StreamingContext]",
) -> "Iterator[StreamingContext]":
    """Give the block what `setup` makes, and stop that when the block fails."""
    from millstream.context import SparkContext  # noqa: PLC0415

    before = SparkContext._active_spark_context
    made: StreamingContext | None = None
    try:
        made = _made(setup)
        _refuse_started(made)
        yield made
    except BaseException:
        if made is not None and made.getState().value == "INITIALIZED":
            made._shut(is_graceful=False)  # `stop` would warn that it hasn't started.
        elif made is not None:
            made.stop(stopSparkContext=False)
        active = SparkContext._active_spark_context
        if active is not None and active is not before:
            active.stop()
        raise


def _refuse_started(made: "StreamingContext") -> None:
    if made.getState().value != "INITIALIZED":
        msg = "setupFunc has started its context: it can't take over a checkpoint"
        raise IllegalStateError(msg, hint="call start() on what getOrCreate returns")


def _plan_of(
    checkpoint: Restored,
    directory: str,
    made: "StreamingContext",
    setup: "Callable[[], StreamingContext]",
) -> UpgradePlan:
    facts = checkpoint.manifest
    now = program_text.digests(setup)
    is_known = bool(facts.program and now)
    return plan_upgrade(
        facts,
        made._graph,
        leftovers=find_leftovers(facts, directory),
        changed_code=(
            program_text.differences(facts.program, now) if is_known else None
        ),
        conf=dict(made.sparkContext.getConf().getAll()),
    )


def _plan(
    directory: str,
    setup: "Callable[[], StreamingContext]",
    allow_drop: Collection[str],
) -> planning.Answer:
    """Return what "apply" would do; changes nothing below the directory."""
    checkpoint = read_checkpoint(directory)
    if checkpoint is None:
        text = f"there is no checkpoint in {directory}: the program starts from nothing"
        return planning.Answer(text, can_apply=True)
    answer: planning.Answer | None = None
    with planning.planning(), suppress(_Planned), _fresh(setup) as made:
        plan = _plan_of(checkpoint, directory, made, setup)
        text = plan.text(allow_drop)
        unknown = unknown_names(checkpoint.manifest, made._graph, allow_drop)
        if unknown:
            text += f"\n=> but nothing is called {', '.join(map(repr, unknown))}"
        answer = planning.Answer(text, plan.can_apply(allow_drop) and not unknown)
        raise _Planned
    assert answer is not None, "the block ends with an answer or another error"
    return answer


class _Planned(Exception):  # noqa: N818  Nothing went wrong.
    """Ends a context that was made for its plan alone."""


def _answer(
    request: planning.Request,
    directory: str,
    setup: "Callable[[], StreamingContext]",
    allow_drop: Collection[str],
) -> NoReturn:
    """Answer what the command line asks, and end the program."""
    if not request.is_about(directory):
        request.strayed.append(f"it calls getOrCreate with '{directory}'")
        raise planning.PlanMade(1)
    request.answer = _plan(directory, setup, (*allow_drop, *request.allow_drop))
    raise planning.PlanMade(0)


def _check(
    checkpoint: Restored,
    made: "StreamingContext",
    plan: UpgradePlan,
    allow_drop: Collection[str],
) -> None:
    unknown = unknown_names(checkpoint.manifest, made._graph, allow_drop)
    if unknown:
        names = ", ".join(f"'{each}'" for each in unknown)
        msg = f"allow_drop names {names}, which the checkpoint doesn't have"
        raise PySparkValueError(msg, hint=_known(checkpoint.manifest))
    if plan.obstacles:
        msg = "the program can't take over the checkpoint"
        raise SparkError(msg, hint="\n".join(plan.obstacles))
    if plan.ambiguous:
        names = ", ".join(f"'{each}'" for each in plan.ambiguous)
        msg = f"only their order tells {names} apart, and the code has changed"
        hint = f"name each with .named(...); this one is .named({plan.ambiguous[0]!r})?"
        raise SparkError(msg, hint=hint)
    lost = plan.unallowed(allow_drop)
    if lost:
        raise _would_drop(plan, lost)


def _known(facts: Manifest) -> str:
    names = [*(each.name for each in facts.sources), *facts.states]
    return f"it has {', '.join(map(repr, names))}"


def _would_drop(plan: UpgradePlan, lost: Sequence[str]) -> SparkError:
    names = ", ".join(f"'{each}'" for each in lost)
    reasons = [f"'{n}' {why}" for n, why in plan.incompatible.items() if n in lost]
    reasons += [
        f"source '{name}' is gone, and {left.blocks} blocks that it received "
        f"({left.records} records) have been in no batch"
        for name, left in plan.leftovers.items()
        if name in lost
    ]
    if plan.states.dropped:
        reasons.append(
            "give the stream that continues a state its name with .named(...)"
        )
    reasons.append(f"or pass allow_drop={list(lost)!r}")
    msg = f"the upgrade would drop {'the state of ' if plan.states.dropped else ''}{names}"
    return SparkError(msg, hint="\n".join(reasons))
