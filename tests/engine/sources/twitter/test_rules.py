"""Twitter rules: whose they are, and what is a record."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.twitter.rules import (
    Rule,
    disconnect_of,
    plan_rules,
    problem_of,
    record_of,
    rules_of,
)

TEXTS = st.sampled_from(["cats", "dogs", "fish", "birds"])
TAGS = st.sampled_from(["us", "them", None])


@given(st.dictionaries(TEXTS, TAGS), st.lists(TEXTS))
def test_others_rules_are_never_touched(
    there: dict[str, str | None], filters: list[str]
) -> None:
    """After the plan each filter is a rule once, and what isn't ours is as before."""
    rules = [Rule(str(i), text, there[text]) for i, text in enumerate(there)]
    plan = plan_rules(rules, filters, "us")
    left = [each for each in rules if each.id not in plan.stale]
    values = [each.value for each in left] + list(plan.missing)

    assert len(set(values)) == len(values)
    assert set(filters) <= set(values)
    assert [each for each in rules if each.tag != "us"] == [
        each for each in left if each.tag != "us"
    ]
    assert all(each.value in filters for each in left if each.tag == "us")
    assert plan.own <= plan.wanted


def test_rules_are_read_of_an_answer() -> None:
    """With a tag or without; an answer without rules has none."""
    answer = {"data": [{"id": 1, "value": "a"}, {"id": "2", "value": "b", "tag": "t"}]}

    assert rules_of(answer) == [Rule("1", "a"), Rule("2", "b", "t")]
    assert rules_of({"meta": {}}) == []


def test_a_record_is_the_post_and_what_came_with_it() -> None:
    """Not what only others' rules match, and not what is no post."""
    post = {"id": "1", "text": "hi"}
    payload = {"data": post, "matching_rules": [{"id": 7}], "includes": {"users": []}}

    assert record_of(payload, {"7"}) == {
        **post,
        "matching_rules": [{"id": 7}],
        "includes": {"users": []},
    }
    assert record_of(payload, {"8"}) is None
    assert record_of({"data": post}, None) == post
    assert record_of({"errors": []}, None) is None
    assert record_of({}, None) is None


def test_a_disconnect_says_why() -> None:
    """Errors of a post's details are no disconnect."""
    told = {"disconnect_type": "OperationalDisconnect", "detail": "bye"}

    assert disconnect_of({"errors": [told]}) == "OperationalDisconnect: bye"
    assert disconnect_of({"errors": [{"connection_issue": "TooMany"}]}) == "TooMany"
    assert disconnect_of({"data": {}, "errors": [{"title": "Not Found"}]}) is None
    assert disconnect_of({"data": {}}) is None


def test_a_problem_is_told_in_words() -> None:
    """Whatever has come."""
    answer = {"title": "Invalid", "errors": [{"message": "no"}, {"value": "x"}]}

    assert problem_of(answer) == "Invalid: no: x"
    assert problem_of("text") == ""
    assert problem_of(None) == ""
