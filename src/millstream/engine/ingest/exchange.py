"""Exchange: how a receiver's host and the driver talk, though only the driver can call.

The driver polls; the host answers when it has something to say, or after a while. What
either says is numbered, and rides on polls and on answers until the other has heard it:
each message arrives once and in order, though calls are lost, repeated or late. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

POLLS = 2
"""So many polls wait at a host: while one's answer is handled, another can be given."""
POLLS_MAX = 3
"""One more, if the driver has something to say."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """One thing that was said, and its place among all that its side says, from 1 on."""

    number: int
    message: Any


@dataclass(frozen=True, slots=True)
class Poll:
    """A call of the driver's."""

    epoch: int
    number: int
    heard: int
    """The driver has heard the host's messages up to this one."""
    waiting: frozenset[int]
    """The polls whose answers the driver waits for, this one too."""
    messages: tuple[Numbered, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a poll returns."""

    epoch: int
    poll: int
    heard: int
    """The host has heard the driver's messages up to this one."""
    messages: tuple[Numbered, ...] = ()


@dataclass(slots=True)
class _Saying:
    """What one side says, until the other has heard it."""

    unheard: dict[int, Any] = field(default_factory=dict)
    _count: int = 0
    _carriers: dict[int, int] = field(default_factory=dict)
    """Which call each message is under way with."""

    @property
    def has_unsaid(self) -> bool:
        """Whether something isn't under way."""
        return len(self._carriers) < len(self.unheard)

    def add(self, message: Any) -> None:
        self._count += 1
        self.unheard[self._count] = message

    def take(self, call: int) -> tuple[Numbered, ...]:
        """Return what isn't under way: now it is, with `call`."""
        taken = [each for each in self.unheard if each not in self._carriers]
        self._carriers.update(dict.fromkeys(taken, call))
        return tuple(Numbered(each, self.unheard[each]) for each in taken)

    def heard(self, number: int) -> None:
        """Forget messages up to a number."""
        for each in [each for each in self.unheard if each <= number]:
            del self.unheard[each]
            self._carriers.pop(each, None)

    def carry_again(self, calls: Iterable[int]) -> None:
        """Say again what these calls carried, if it wasn't heard."""
        over = frozenset(calls)
        for each in [each for each, call in self._carriers.items() if call in over]:
            del self._carriers[each]

    @property
    def carriers(self) -> set[int]:
        return set(self._carriers.values())


@dataclass(slots=True)
class _Hearing:
    """What one side has heard of the other."""

    number: int = 0
    """All messages up to this one have come."""
    _early: dict[int, Any] = field(default_factory=dict)

    def take(self, messages: Iterable[Numbered]) -> list[Any]:
        """Return what is new, in order; what came before its turn is kept."""
        for each in messages:
            if each.number > self.number:
                self._early[each.number] = each.message
        new = []
        while self.number + 1 in self._early:
            self.number += 1
            new.append(self._early.pop(self.number))
        return new


class DriverEnd:
    """The driver's end of one epoch. A core: pure; not thread-safe."""

    def __init__(self, epoch: int) -> None:
        """Begin an epoch."""
        self.epoch = epoch
        self._saying = _Saying()
        self._hearing = _Hearing()
        self._waiting: set[int] = set()
        self._polls = 0

    @property
    def waiting(self) -> frozenset[int]:
        """The polls whose answers are waited for."""
        return frozenset(self._waiting)

    def say(self, message: Any) -> None:
        """Let the host hear a message, with the next poll."""
        self._saying.add(message)

    def next_poll(self) -> Poll | None:
        """Return a poll to make, or None for now."""
        allowed = POLLS_MAX if self._saying.has_unsaid else POLLS
        if len(self._waiting) >= allowed:
            return None
        self._polls += 1
        self._waiting.add(self._polls)
        return Poll(
            self.epoch,
            self._polls,
            self._hearing.number,
            frozenset(self._waiting),
            self._saying.take(self._polls),
        )

    def on_answer(self, answer: Answer) -> list[Any]:
        """Return what the host says that wasn't heard before; nothing of another epoch."""
        if answer.epoch != self.epoch:
            return []
        self._waiting.discard(answer.poll)
        self._saying.heard(answer.heard)
        self._saying.carry_again([answer.poll])
        return self._hearing.take(answer.messages)

    def on_lost(self, poll: int) -> None:
        """Note that a poll, or its answer, is lost: what it carried goes again."""
        self._waiting.discard(poll)
        self._saying.carry_again([poll])


class HostEnd:
    """The host's end of one epoch. A core: pure; not thread-safe."""

    def __init__(self, epoch: int) -> None:
        """Begin an epoch."""
        self.epoch = epoch
        self.is_old = False
        """Whether the driver has begun a newer epoch: nobody listens any more."""
        self._saying = _Saying()
        self._hearing = _Hearing()
        self._waiting: frozenset[int] = frozenset()
        self._newest = 0
        self._held: set[int] = set()

    @property
    def unheard_count(self) -> int:
        """How many messages the driver hasn't heard."""
        return len(self._saying.unheard)

    def say(self, message: Any) -> None:
        """Let the driver hear a message, with the next answer."""
        self._saying.add(message)

    def on_poll(self, poll: Poll) -> list[Any]:
        """Hold a poll; return what the driver says that wasn't heard before."""
        if poll.epoch != self.epoch:
            self.is_old = self.is_old or poll.epoch > self.epoch
            return []
        self._held.add(poll.number)
        self._saying.heard(poll.heard)
        if poll.number > self._newest:  # Else it was overtaken, and knows less.
            self._newest, self._waiting = poll.number, poll.waiting
            gone = self._saying.carriers - self._waiting
            self._saying.carry_again(gone)
        return self._hearing.take(poll.messages)

    def must_answer(self, poll: int) -> bool:
        """Say whether a poll that is held is to be answered now."""
        if self.is_old or poll not in self._waiting & self._held:
            return True  # Nobody listens, or waits for it; or it came twice.
        if self._saying.has_unsaid:
            return poll == min(self._held & self._waiting)
        return len([each for each in self._held if each >= poll]) > POLLS

    def answer(self, poll: int) -> Answer:
        """Return the answer to a poll; it isn't held then."""
        self._held.discard(poll)
        is_awaited = poll in self._waiting and not self.is_old
        messages = self._saying.take(poll) if is_awaited else ()
        return Answer(self.epoch, poll, self._hearing.number, messages)
