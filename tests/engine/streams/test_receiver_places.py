"""Tests of engine/streams/receiver_places.py: which receivers live apart."""

import pytest

from millstream.engine.base.clock import ManualClock, SystemClock
from millstream.engine.base.config import Settings
from millstream.engine.streams.receiver_places import host_starter
from millstream.engine.workers import receiver_actor, receiver_process


@pytest.mark.parametrize(
    ("master", "wish", "expected"),
    [
        ("local", "auto", None),
        ("local[2]", "auto", None),
        ("local[*]", "auto", None),
        ("local-cluster[2,1,1024]", "auto", receiver_process.start),
        ("ray", "auto", receiver_actor.start),
        ("ray://somewhere:10001", "auto", receiver_actor.start),
        ("local", "apart", receiver_process.start),
        ("ray", "apart", receiver_actor.start),
        ("ray", "here", None),
        ("local-cluster[2,1,1024]", "here", None),
    ],
)
def test_the_master_and_the_setting_decide(
    master: str, wish: str, expected: object
) -> None:
    """Apart on clusters, here else, unless somebody wishes otherwise."""
    settings = Settings({"spark.millstream.receivers": wish})

    assert host_starter(settings, master, SystemClock()) is expected


def test_under_a_clock_of_a_tests_own_all_are_here() -> None:
    """Another process would have another clock."""
    settings = Settings({"spark.millstream.receivers": "apart"})

    assert host_starter(settings, "ray", ManualClock()) is None
