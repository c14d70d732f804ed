"""Tests of watching.py: what is asked of a page, and what is told when none answers."""

import socket

import pytest
from tests.commands.pages import APPLICATION, answers, progress, serving

from millstream.commands.watching import Watcher
from millstream.engine.base.errors import UsageError


def test_a_look_has_all_that_the_page_says() -> None:
    """By Spark's own paths."""
    with serving(answers(progress())) as url:
        sight = Watcher(url).look()

    assert sight.application == APPLICATION
    assert sight.statistics is not None
    assert sight.statistics["numTotalCompletedBatches"] == 2
    assert [each["batchId"] for each in sight.batches] == [3000, 2000, 1000]
    assert [each["streamName"] for each in sight.inputs] == ["socket"]


def test_a_program_without_a_stream_is_seen() -> None:
    """It may start one yet."""
    with serving({"/api/v1/applications": [APPLICATION]}) as url:
        sight = Watcher(url).look()

    assert sight.statistics is None


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/streaming/?x=1"])
def test_an_address_is_taken_however_it_is_written(form: str) -> None:
    """With a path, and without `http://`."""
    with serving(answers(progress())) as url:
        assert Watcher(form.format(url)).look().application == APPLICATION
        bare = url.removeprefix("http://")
        assert Watcher(form.format(bare)).url == url


def test_where_nothing_answers_it_says_where_pages_are() -> None:
    """The port may be another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UsageError, match="no page answers at http:") as told:
        Watcher(f"127.0.0.1:{port}").look()
    assert "spark.ui.port" in str(told.value.hint)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("<html>", "it answers no JSON"),
        (500, "it answers 500"),
        ([], "it knows no application"),
        ([1], "it describes no application"),
    ],
)
def test_what_is_no_page_is_told_from_one(answer: object, why: str) -> None:
    """Something else may listen there."""
    with (
        serving({"/api/v1/applications": answer}) as url,
        pytest.raises(UsageError, match=why),
    ):
        Watcher(url).look()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "file:///etc"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Nothing but the web is asked."""
    with pytest.raises(UsageError, match="is no address of a page"):
        Watcher(url)
