"""The programs in `examples/`: each is run by a test, and says how it is run."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(
    file.name
    for file in (ROOT / "examples").iterdir()
    if file.suffix in {".py", ".ipynb"}
)
PROGRAMS = [each for each in EXAMPLES if each.endswith(".py")]

RUN_BY = {
    "actor_feeder.py": "integration/test_actor.py::test_the_examples",
    "actor_wordcount.py": "integration/test_actor.py::test_the_examples",
    "async_receiver.py": "integration/test_programs.py::test_async_receiver",
    "bad_records.py": "integration/test_bad_records.py::test_the_example_adds_up_what_is_a_number",
    "bluesky_words.py": "integration/test_web.py::test_examples",
    "delta_sink.py": "integration/test_table_sink_examples.py::test_each_example_writes_its_table",
    "directory_wordcount.py": "integration/test_programs.py::test_directory_wordcount",
    "duckdb_sink.py": "integration/test_table_sink_examples.py::test_each_example_writes_its_table",
    "flume_polling.py": "integration/test_flume.py::test_the_polling_example",
    "flume_wordcount.py": "integration/test_flume.py::test_the_push_example",
    "iceberg_sink.py": "integration/test_table_sink_examples.py::test_each_example_writes_its_table",
    "kafka_commits.py": "integration/test_kafka.py::test_what_is_put_out_is_committed",
    "kafka_sink.py": "integration/test_kafka_sink.py::test_the_example_sends_counts",
    "kafka_to_postgres.py": "integration/test_kafka_to_postgres.py::test_killed_in_the_middle_it_has_counted_each_order_once",
    "kafka_wordcount.py": "integration/test_kafka.py::test_the_word_count_goes_on_over_restarts",
    "kinesis_wordcount.py": "integration/test_kinesis.py::test_the_example",
    "line_server.py": "integration/test_programs.py::test_network_wordcount_of_a_served_file",
    "mqtt_wordcount.py": "integration/test_mqtt.py::test_the_example",
    "nats_sink.py": "integration/test_nats.py::test_the_example_publishes_counts",
    "nats_wordcount.py": "integration/test_nats.py::test_the_example_counts_words",
    "network_wordcount.py": "integration/test_programs.py::test_network_wordcount",
    "own_direct_source.py": "integration/test_own.py::test_the_sources_program",
    "own_sink.py": "integration/test_own.py::test_the_sinks_program",
    "parquet_sink.py": "integration/test_file_sinks.py::test_the_example_writes_parquet",
    "postgres_sink.py": "integration/test_table_sink_examples.py::test_each_example_writes_its_table",
    "queue_stream.py": "integration/test_programs.py::test_queue_stream",
    "recoverable_wordcount.py": "integration/test_upgraded_program.py::test_totals_go_on_in_a_changed_program",
    "redis_sink.py": "integration/test_redis.py::test_the_example_adds_counts_up",
    "redis_wordcount.py": "integration/test_redis.py::test_the_example_counts_words",
    "reliable_receiver.py": "integration/test_programs.py::test_reliable_receiver",
    "s3_wordcount.py": "integration/test_object_stores.py::test_the_example_counts_words_of_objects",
    "sql_on_streams.ipynb": "stories/test_notebook.py::test_the_example_queries_a_running_stream",
    "sql_words.py": "integration/test_programs.py::test_sql_words",
    "sqlite_sink.py": "integration/test_table_sink_examples.py::test_each_example_writes_its_table",
    "stateful_wordcount.py": "integration/test_programs.py::test_stateful_wordcount",
    "twitter_hashtags.py": "integration/test_twitter.py::test_the_example_counts_hashtags_also_after_it_was_killed",
    "webhook_sink.py": "integration/test_webhook.py::test_the_example_posts_counts",
    "wikimedia_edits.py": "integration/test_web.py::test_examples",
    "windowed_wordcount.py": "integration/test_programs.py::test_windowed_wordcount",
}
"""Which test runs which example: a new one goes here."""

_PLAIN = {"CHECKPOINT_DIRECTORY", "SERVERS", "TOPIC"}
"""Arguments that the examples needn't explain."""


@cache
def parsed(file: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(file.read_text("utf-8"))


def texts_of(node: ast.AST) -> set[str]:
    """Return the strings in a piece of code: a docstring that has a name in it is another."""
    return {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def test_every_example_is_run_by_a_test() -> None:
    """None is left out of the list, and the list has none that is gone."""
    assert sorted(RUN_BY) == EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_test_that_runs_it_is_there(example: str) -> None:
    """It has the example's name in its code, or a constant that has it."""
    file, _, name = RUN_BY[example].partition("::")
    module = parsed(ROOT / "tests" / file)
    tests = {
        each.name: each for each in module.body if isinstance(each, ast.FunctionDef)
    }
    assert name in tests, f"{file} has no {name}"
    names = {each.id for each in ast.walk(tests[name]) if isinstance(each, ast.Name)}
    constants = [
        each.value
        for each in module.body
        if isinstance(each, ast.Assign)
        and names & {to.id for to in each.targets if isinstance(to, ast.Name)}
    ]

    assert any(example in texts_of(each) for each in (tests[name], *constants))


@pytest.mark.parametrize("example", PROGRAMS)
def test_it_says_how_it_is_run_and_on_what(example: str) -> None:
    """A line of its docstring is a command; the text explains what the command takes."""
    said = docstring_of(example)
    program = rf"(?:millstream run|python) examples/{re.escape(example)}"
    found = re.search(rf"^(?:\w+=\S+ )?{program}(.*)$", said, re.MULTILINE)
    assert found is not None, "no line is `millstream run examples/...`"
    around = said.replace(found[0], "")
    unexplained = [
        word
        for word in re.findall(r"\b[A-Z][A-Z_]+\b", found[1])
        if word not in around and word not in _PLAIN
    ]

    assert not unexplained


@pytest.mark.parametrize("example", PROGRAMS)
def test_the_command_has_the_arguments_that_are_needed(example: str) -> None:
    """As many as the program asks for when it is called wrongly."""
    asked = [
        needed(each.removeprefix("usage: ").split())
        for each in texts_of(parsed(ROOT / "examples" / example))
        if each.startswith("usage: ")
    ]
    commands = [
        needed(line.removesuffix(" &").partition("examples/")[2].split())
        for line in docstring_of(example).splitlines()
        if f"examples/{example}" in line
    ]

    assert all(each in commands for each in asked)


def docstring_of(example: str) -> str:
    """Return what the program says of itself."""
    return ast.get_docstring(parsed(ROOT / "examples" / example)) or ""


def needed(words: list[str]) -> int:
    """Return how many words of a command can't be left out."""
    return sum(not each.startswith(("[", "...")) for each in words)
