"""The tree keeps its own rules: the ones of CONTRIBUTING.md that a program can check."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from millstream.engine.base.config import CATALOGUE

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "millstream"
ENGINE = SOURCE / "engine"
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yml", ".sh", ""}
FOLDERS = [
    "src",
    "tests",
    "docs",
    "bench",
    "examples",
    "requirements",
    "changelog.d",
    ".ci",
    ".githooks",
]

# Modules whose own test file would only repeat another's.
TESTED_ELSEWHERE: dict[str, str] = {
    "observe/page/batches.py": "engine/observe/page/test_app.py",
    "observe/page/jobs.py": "engine/observe/page/test_app.py",
    "observe/page/openapi.py": "engine/observe/page/test_app.py",
    "observe/application.py": "engine/observe/page/test_app.py",
    "base/call_site.py": "test_rdd.py",
    "columnar/blocks.py": "engine/columnar/test_execution.py",
    "columnar/builtin_calls.py": "engine/columnar/test_lowering.py",
    "columnar/comparisons.py": "engine/columnar/test_lowering.py",
    "columnar/constants.py": "engine/columnar/test_lowering.py",
    "columnar/containers.py": "engine/columnar/test_lowering.py",
    "columnar/merging.py": "engine/columnar/test_lowering.py",
    "columnar/methods.py": "engine/columnar/test_lowering.py",
    "columnar/numbers.py": "engine/columnar/test_lowering.py",
    "columnar/partitionwise.py": "properties/columnar/test_columns_equal_rows.py",
    "columnar/pipeline.py": "engine/columnar/test_execution.py",
    "columnar/runs.py": "engine/columnar/test_execution.py",
    "columnar/speculating.py": "engine/columnar/test_mapping_states.py",
    "columnar/state_runs.py": "engine/columnar/test_mapping_states.py",
    "columnar/syntax.py": "engine/columnar/test_lowering.py",
    "columnar/values.py": "engine/columnar/test_lowering.py",
    "plan/counting.py": "streaming/test_dstream.py",
    "ingest/direct_source.py": "stories/test_direct_streams.py",
    "streams/direct.py": "stories/test_direct_streams.py",
    "streams/sink_output.py": "stories/test_direct_streams.py",
    "sources/redis/group.py": "integration/test_redis.py",
    "sources/jetstream/durable.py": "integration/test_nats.py",
    "sinks/jetstream/marks.py": "engine/sinks/jetstream/test_sink.py",
    "sinks/jetstream/publishing.py": "integration/test_nats.py",
    "sinks/kafka/marks.py": "integration/test_kafka_sink.py",
    "sinks/kafka/producers.py": "integration/test_kafka_sink.py",
    "sinks/files/formats.py": "engine/sinks/files/test_sinks.py",
    "sinks/files/parts.py": "engine/sinks/files/test_sinks.py",
    "sinks/files/reading.py": "engine/sinks/files/test_sinks.py",
    "sinks/files/schema.py": "engine/sinks/files/test_sinks.py",
    "streams/bad_records.py": "stories/test_bad_records.py",
    "jobs/found_records.py": "engine/jobs/test_bad_records.py",
    "sinks/dead_letters.py": "stories/test_bad_records.py",
    "sources/dead_letters.py": "stories/test_bad_records.py",
    "sinks/delta.py": "integration/test_delta_sink.py",
    "sinks/duckdb.py": "integration/test_duckdb_sink.py",
    "sinks/iceberg.py": "integration/test_iceberg_sink.py",
    "sinks/postgres/connections.py": "integration/test_postgres_sink.py",
    "sinks/postgres/copying.py": "integration/test_postgres_sink.py",
    "sinks/tables/errors.py": "integration/test_postgres_sink.py",
    "sources/web/sse.py": "integration/test_web.py",
    "sources/twitter/receiver.py": "integration/test_twitter.py",
    "sources/twitter/client.py": "integration/test_twitter.py",
    "sources/web/websocket.py": "integration/test_web.py",
    "sinks/contract.py": "engine/sinks/test_writing.py",
    "ingest/block_maker.py": "engine/ingest/test_receiver.py",
    "ingest/supervisor.py": "engine/ingest/test_receiver.py",
    "jobs/actions.py": "test_rdd.py",
    "jobs/barrier.py": "test_rdd.py",
    "jobs/checkpoints.py": "test_rdd.py",
    "jobs/driver.py": "test_rdd.py",
    "jobs/failures.py": "test_rdd.py",
    "jobs/pending.py": "test_rdd.py",
    "base/notebooks.py": "stories/test_notebook.py",
    "base/driver_link.py": "engine/workers/test_processes.py",
    "jobs/runner.py": "test_rdd.py",
    "workers/pool.py": "stories/test_processes.py",
    "workers/protocol.py": "engine/workers/test_processes.py",
    "workers/ray_actors.py": "stories/test_ray.py",
    "ingest/host.py": "engine/ingest/test_hosted.py",
    "workers/receiver_actor.py": "stories/test_ray_receivers.py",
    "workers/driver_channel.py": "engine/workers/test_processes.py",
    "workers/receiver_host_main.py": "engine/workers/test_receiver_process.py",
    "workers/receiver_hosting.py": "engine/workers/test_receiver_process.py",
    "workers/worker_main.py": "engine/workers/test_processes.py",
    "jobs/shuffles.py": "test_rdd.py",
    "jobs/tasks.py": "test_rdd.py",
    "plan/approximate.py": "properties/test_rdd_models.py",
    "plan/histogram.py": "properties/test_rdd_models.py",
    "plan/lineage_text.py": "test_rdd.py",
    "plan/piping.py": "test_rdd.py",
    "plan/ranges.py": "properties/test_rdd_models.py",
    "plan/sampling.py": "test_rdd.py",
    "plan/steps.py": "engine/plan/test_fusion.py",
    "sources/raw_socket.py": "engine/sources/test_socket.py",
    "durable/state_memory.py": "engine/durable/test_state_store.py",
    "durable/state_spill.py": "engine/durable/test_state_map.py",
    "durable/state_table.py": "engine/durable/test_state_map.py",
    "durable/state_values.py": "engine/durable/test_state_files.py",
    "streams/rate_control.py": "stories/test_pressure.py",
    "streams/opening.py": "engine/streams/test_checkpointer.py",
    "streams/received_logs.py": "stories/test_receivers.py",
    "streams/state_spec.py": "stories/test_state.py",
    "streams/leftover.py": "stories/test_upgrade.py",
    "streams/upgrade.py": "stories/test_upgrade.py",
    "streams/collector.py": "streaming/test_context.py",
    "streams/events.py": "engine/streams/test_jobset.py",
    "streams/graph.py": "streaming/test_context.py",
    "streams/inputs.py": "streaming/test_context.py",
    "streams/listener_bus.py": "streaming/test_context.py",
    "streams/operators.py": "streaming/test_context.py",
    "streams/rdds.py": "streaming/test_dstream.py",
    "streams/scheduler.py": "streaming/test_context.py",
    "streams/stateful.py": "streaming/test_dstream.py",
    "streams/tracker.py": "engine/ingest/test_receiver.py",
    "streams/windows.py": "streaming/test_dstream.py",
}


def text_files() -> Iterator[Path]:
    """Yield every file of the project that people read."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            # `v1` is a checkpoint: tests/formats.
            is_ours = not {"__pycache__", "results", "v1"} & set(file.parts)
            if file.is_file() and is_ours and file.suffix in TEXT_SUFFIXES:
                yield file
    for file in sorted(ROOT.iterdir()):
        is_ours = file.name in {"Makefile", "check"} or file.suffix in {".md", ".toml"}
        if file.is_file() and is_ours:
            yield file


def modules(*folders: Path) -> Iterator[Path]:
    """Yield the Python files below `folders`."""
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def offenders(pattern: str) -> list[str]:
    """Return "file:line: text" for each line that matches, this file's left out."""
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in text_files()
        if file != Path(__file__)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


@pytest.mark.slow
def test_every_module_opens_with_a_sentence() -> None:
    """The first line of a module says its concept and ends with a full stop."""
    poor = []
    for file in modules(SOURCE, ROOT / "tests", ROOT / "bench", ROOT / "docs"):
        text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        first = text.split("\n", 1)[0]
        if not first.endswith(".") or len(first.split()) < 3:
            poor.append(f"{file.relative_to(ROOT)}: {first!r}")

    assert not poor


def test_every_engine_module_has_its_test_file() -> None:
    """`engine/x/y.py` is tested by `tests/engine/x/test_y.py`, or it says where."""
    lonely = []
    for file in modules(ENGINE):
        name = file.relative_to(ENGINE).as_posix()
        mirror = ROOT / "tests" / "engine" / file.relative_to(ENGINE)
        tested = mirror.with_name(f"test_{file.name}")
        if (
            file.stem != "__init__"
            and name not in TESTED_ELSEWHERE
            and not tested.exists()
        ):
            lonely.append(name)

    assert not lonely


def test_tests_that_stand_in_are_there() -> None:
    """What is tested elsewhere is tested by a file that exists, and has none of its own."""
    for name, elsewhere in TESTED_ELSEWHERE.items():
        assert (ENGINE / name).exists(), f"{name} is gone"
        assert (ROOT / "tests" / elsewhere).exists(), f"{elsewhere} is gone"
        own = (ROOT / "tests" / "engine" / name).parent / f"test_{Path(name).name}"
        assert not own.exists(), f"{name} has a test file now: take it off the list"


def generator() -> ModuleType:
    """Return docs/generate.py as a module."""
    spec = spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None, "the script is there"
    assert spec.loader is not None, "it can be loaded"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_pages_made_from_the_code_are_up_to_date() -> None:
    """ARCHITECTURE's tree, the list of modules and the list of settings equal the code."""
    assert generator().stale() == [], "run `make docs`"


@pytest.mark.parametrize("key", CATALOGUE)
def test_every_setting_is_documented(key: str) -> None:
    """The page on configuration names it."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    assert f"`{key}`" in page


def test_what_is_left_to_do_has_an_issue() -> None:
    """A TODO names its issue, as in `TODO(#12)`; FIXME and XXX are not used."""
    assert not offenders(r"\b(TODO(?!\(#\d+\))|FIXME|XXX)\b")


def test_no_address_of_a_registry_and_no_path_of_a_machine_is_in_the_tree() -> None:
    """A clone works anywhere: nothing names a package host or somebody's directory."""
    hosts = r"pypi\.org|pythonhosted|registry\.npmjs|index-url|find-links"
    homes = r"(?<![\w.$}/])/(work|root|home|Users|opt)/"

    assert not offenders(f"{hosts}|{homes}")
    assert not [
        line
        for file in (ROOT / "requirements").iterdir()
        for line in file.read_text("utf-8").splitlines()
        if "://" in line
    ]


def test_every_requirement_has_hashes() -> None:
    """`pip --require-hashes` accepts the files: each pin is followed by a hash."""
    for file in (ROOT / "requirements").iterdir():
        pins = re.findall(r"^[a-z0-9].*$", file.read_text("utf-8"), re.MULTILINE)

        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)


def test_the_demo_and_the_tests_pin_the_same_versions() -> None:
    """What users run is what is tested."""
    run, dev = (
        dict(
            line.split(" ", 1)[0].split("==")
            for line in (ROOT / "requirements" / name).read_text("utf-8").splitlines()
            if re.match(r"[a-z0-9].*==", line)
        )
        for name in ("run.txt", "dev.txt")
    )

    assert run.items() <= dev.items()


def test_links_between_documents_lead_somewhere() -> None:
    """Each relative link in a Markdown file names a file that is there."""
    broken = []
    for file in text_files():
        if file.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", file.read_text("utf-8")):
            if "://" not in target and not (file.parent / target).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")

    assert not broken


def test_changelog_fragments_are_named_after_an_issue_and_a_kind() -> None:
    """`towncrier` finds each of them."""
    names = [file.name for file in (ROOT / "changelog.d").iterdir()]

    assert all(
        re.fullmatch(r"\d+\.(feature|change|bugfix)\.md", name) for name in names
    )


def test_examples_are_programs_that_compile() -> None:
    """Each opens with how to run it, and imports PySpark or nothing but Python's own."""
    for file in (ROOT / "examples").glob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        roots = {
            name.split(".")[0] for node in ast.walk(tree) for name in _imported(node)
        }

        assert file.name in (ast.get_docstring(tree) or "")
        assert roots <= {"pyspark", "millstream"} | sys.stdlib_module_names


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [each.name for each in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case _:
            return []
