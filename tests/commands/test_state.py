"""Tests of `millstream state`: what it prints, and how it says what is wrong."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from millstream.cli import main
from millstream.testing import StreamHarness


def state(*arguments: str) -> Result:
    """Run `millstream state`."""
    return CliRunner().invoke(main, ["state", *arguments])


@pytest.fixture
def written(tmp_path: Path) -> str:
    """Return a checkpoint directory with a count of words."""
    (tmp_path / "in").mkdir()

    def setup(h: StreamHarness) -> None:
        words = h.ssc.textFileStream(str(tmp_path / "in")).map(lambda word: (word, 1))
        counts = words.updateStateByKey(lambda new, old: sum(new) + (old or 0))
        h.collect(counts.named("counts"))

    directory = str(tmp_path / "checkpoint")
    with StreamHarness(checkpoint=directory, setup=setup) as h:
        (tmp_path / "in" / "f").write_text("a\nb\na\n")
        os.utime(tmp_path / "in" / "f", (0.5, 0.5))
        h.run()
    return directory


def test_a_query_is_answered_as_a_table_as_csv_and_as_json(written: str) -> None:
    """Whichever is asked for."""
    sql = "select key, value from counts order by key"

    assert state("query", written, sql).output.splitlines()[3:] == [
        "│ a   ┆ 2     │",
        "│ b   ┆ 1     │",
        "└─────┴───────┘",
    ]
    assert state("query", "--format", "csv", written, sql).output == (
        "key,value\na,2\nb,1\n"
    )
    assert state("query", "--format", "json", written, sql).output == (
        '{"key": "a", "value": 2}\n{"key": "b", "value": 1}\n'
    )


def test_show_says_what_there_is_to_ask(written: str) -> None:
    """Names, numbers of keys, types, batches; for people and as JSON."""
    assert state("show", written).output == (
        "counts  (updateStateByKey)\n"
        "  keys      2\n"
        "  types     key String, value Int64\n"
        "  as of     1000\n"
    )
    (told,) = json.loads(state("show", "--json", written).output)
    assert told["name"] == "counts"
    assert told["batches_ms"] == [1000]


def test_what_is_wrong_is_told_without_a_traceback(
    written: str, tmp_path: Path
) -> None:
    """The query, the batch, the directory."""
    for arguments, text in (
        (["query", written, "select x from counts"], "can't be answered"),
        (
            ["query", "--batch", "5", written, "select 1 from counts"],
            "it is as of: 1000",
        ),
        (["query", str(tmp_path / "no"), "select 1"], "there is no directory"),
        (["show", str(tmp_path / "no")], "there is no directory"),
    ):
        result = state(*arguments)
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert text in result.output
