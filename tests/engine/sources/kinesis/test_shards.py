"""Shards: parents before children, each shard once, none left out."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.sources.fake_kinesis import shard

from millstream.engine.sources.kinesis.shards import (
    KinesisRange,
    Shard,
    open_shards,
    roots,
    shares,
    unread,
)


def at(name: str, *, is_end: bool = False) -> KinesisRange:
    """Return a range of a shard."""
    return KinesisRange(name, None, "5", 0, 0, is_end=is_end)


def listed(*shards: Shard) -> dict[str, Shard]:
    """Return shards by id."""
    return {each.id: each for each in shards}


SPLIT = listed(
    shard("a", closed=True),
    shard("b", "a", keys=(0, 49)),
    shard("c", "a", keys=(50, 99)),
)
MERGED = listed(
    shard("a", keys=(0, 49), closed=True),
    shard("b", keys=(50, 99), closed=True),
    shard("c", "a", "b"),
)


def test_children_wait_for_their_parent() -> None:
    """While it is read they aren't; in the batch after its end they begin."""
    assert unread(SPLIT, [at("a")]) == ([at("a")], [])
    assert unread(SPLIT, [at("a", is_end=True)]) == (
        [at("a", is_end=True)],
        ["b", "c"],
    )


def test_a_parent_is_kept_until_all_children_are_read() -> None:
    """Or one that is listed a little later would count as new, or as finished."""
    late = {name: each for name, each in SPLIT.items() if name != "c"}
    known = [at("a", is_end=True), at("b")]

    assert unread(late, known) == (known, [])
    assert unread(SPLIT, known) == (known, ["c"])
    assert unread(SPLIT, [*known, at("c")]) == ([at("b"), at("c")], [])


def test_a_merged_shard_waits_for_both() -> None:
    """Its keys are of both parents."""
    half = [at("a", is_end=True), at("b")]
    ends = [at("a", is_end=True), at("b", is_end=True)]

    assert unread(MERGED, half) == (half, [])
    assert unread(MERGED, ends) == (ends, ["c"])
    assert unread(MERGED, [*ends, at("c")]) == ([at("c")], [])


def test_what_is_above_is_finished() -> None:
    """Shards that were read in earlier lives aren't begun again, however far above."""
    deep = {
        **listed(shard("a", closed=True), shard("b", "a", closed=True)),
        **listed(shard("c", "b", closed=True), shard("d", "c")),
    }

    assert unread(deep, [at("d")]) == ([at("d")], [])
    assert unread(deep, [at("c")]) == ([at("c")], [])


def test_a_parent_that_has_expired_isn_t_waited_for() -> None:
    """Its children are read from their beginnings."""
    orphans = {name: each for name, each in SPLIT.items() if name != "a"}

    assert roots(orphans) == ["b", "c"]
    assert unread(orphans, [at("b")]) == ([at("b")], ["c"])
    assert unread(orphans, [at("a", is_end=True)]) == ([], ["b", "c"])


def test_where_a_stream_begins() -> None:
    """With the oldest shards, or with those that are open."""
    assert roots(SPLIT) == ["a"]
    assert open_shards(SPLIT) == ["b", "c"]


@settings(max_examples=20)
@given(st.data())
def test_every_shard_is_read_once_and_after_its_parents(data: st.DataObject) -> None:
    """Whatever is split and merged while a stream is read, and however late it is seen."""
    shards = listed(shard("0", keys=(0, 1023)))
    ranges: list[KinesisRange] = []
    begun: list[str] = []
    ended: list[str] = []
    seen: dict[str, Shard] = dict(shards)
    for batch in range(16):
        if batch < 6:
            _reshard(data, shards)
        if data.draw(st.booleans()) or batch >= 6:
            seen = dict(shards)
        going_on, beginning = unread(seen, ranges) if ranges else ([], roots(seen))
        for name in beginning:
            assert all(parent in ended for parent in shards[name].parents)
        begun += beginning
        ranges = [
            each
            if each.is_end
            else at(
                each.shard,
                is_end=shards[each.shard].is_closed
                and (batch >= 6 or data.draw(st.booleans())),
            )
            for each in [*going_on, *map(at, beginning)]
        ]
        ended += [each.shard for each in ranges if each.is_end]

    assert sorted(begun) == sorted(shards)
    assert {each.shard for each in ranges if not each.is_end} == set(
        open_shards(shards)
    )


def _reshard(data: st.DataObject, shards: dict[str, Shard]) -> None:
    """Split or merge something, or nothing."""
    there = sorted((shards[each] for each in open_shards(shards)), key=_first_key)
    one = data.draw(st.sampled_from(there))
    place = there.index(one)
    match data.draw(st.sampled_from(["nothing", "split", "merge"])):
        case "split" if one.first_key < one.last_key:
            middle = (one.first_key + one.last_key) // 2
            _close(shards, one)
            for keys in ((one.first_key, middle), (middle + 1, one.last_key)):
                made = shard(str(len(shards)), one.id, keys=keys)
                shards[made.id] = made
        case "merge" if place + 1 < len(there):
            other = there[place + 1]
            _close(shards, one)
            _close(shards, other)
            keys = (one.first_key, other.last_key)
            made = shard(str(len(shards)), one.id, other.id, keys=keys)
            shards[made.id] = made


def _first_key(of: Shard) -> int:
    return of.first_key


def _close(shards: dict[str, Shard], one: Shard) -> None:
    shards[one.id] = shard(
        one.id, *one.parents, keys=(one.first_key, one.last_key), closed=True
    )


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(1, 2000))
def test_shares_are_in_proportion(waiting: list[int], limit: int) -> None:
    """All together about the limit: one more a shard at most, and none is left out."""
    taken = shares(waiting, limit)

    assert all(0 <= took <= had for took, had in zip(taken, waiting, strict=True))
    assert sum(taken) <= max(limit, 1) + len(waiting)
    assert all(took for took, had in zip(taken, waiting, strict=True) if had)
    if sum(waiting) <= limit:
        assert taken == waiting
