"""Twitter rules: which of a stream's rules are ours, and what a post matches. Pure.

An account has one set of rules, for whoever reads its stream. Ours have our tag; rules of
others stay as they are, and posts that match only those aren't ours.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the server has it."""

    id: str
    value: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What to do so that the rules are there that a program wants."""

    wanted: frozenset[str]
    """Ids of rules that are there, whosever they are."""
    own: frozenset[str]
    """Those of them that have our tag."""
    stale: tuple[str, ...]
    """Ids of rules with our tag that nobody wants any more, of an earlier run."""
    missing: tuple[str, ...]
    """Texts of rules that aren't there."""


def rules_of(answer: Mapping[str, Any]) -> list[Rule]:
    """Return the rules in a server's answer."""
    return [
        Rule(str(each["id"]), each["value"], each.get("tag"))
        for each in answer.get("data") or ()
    ]


def plan_rules(existing: Sequence[Rule], filters: Sequence[str], tag: str) -> RulePlan:
    """Return what to do.

    >>> plan_rules([Rule("1", "cats", "us"), Rule("2", "dogs")], ["dogs", "birds"], "us")
    ... # doctest: +NORMALIZE_WHITESPACE
    RulePlan(wanted=frozenset({'2'}), own=frozenset(), stale=('1',),
             missing=('birds',))
    """
    texts = dict.fromkeys(filters)
    wanted = [each for each in existing if each.value in texts]
    there = {each.value for each in wanted}
    return RulePlan(
        wanted=frozenset(each.id for each in wanted),
        own=frozenset(each.id for each in wanted if each.tag == tag),
        stale=tuple(e.id for e in existing if e.tag == tag and e.value not in texts),
        missing=tuple(each for each in texts if each not in there),
    )


def record_of(payload: Mapping[str, Any], wanted: Collection[str] | None) -> Any:
    """Return a post as a record: its fields, and `includes` and `matching_rules`.

    None when it is no post, or matches none of the rules `wanted`; None wants all.
    """
    post = payload.get("data")
    if not isinstance(post, dict):
        return None
    matching = payload.get("matching_rules") or ()
    if wanted is not None and not any(str(each["id"]) in wanted for each in matching):
        return None
    more = {
        key: payload[key] for key in ("includes", "matching_rules") if key in payload
    }
    return {**post, **more}


def disconnect_of(payload: Mapping[str, Any]) -> str | None:
    """Return why the server is about to end the connection, if it says so.

    >>> disconnect_of({"errors": [{"disconnect_type": "OperationalDisconnect"}]})
    'OperationalDisconnect'
    """
    for each in payload.get("errors") or ():
        kind = each.get("disconnect_type") or each.get("connection_issue")
        if kind is not None:
            detail = each.get("detail")
            return f"{kind}: {detail}" if detail else str(kind)
    return None


def problem_of(answer: Any) -> str:
    """Return what a server's answer says is wrong, in some words."""
    if not isinstance(answer, dict):
        return ""
    found = [answer, *(each for each in answer.get("errors") or () if each)]
    words = [
        str(each.get(key))
        for each in found
        if isinstance(each, dict)
        for key in ("title", "detail", "message", "value", "connection_issue")
        if each.get(key)
    ]
    return ": ".join(dict.fromkeys(words))[:300]
