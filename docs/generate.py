"""Writes the pages that are made from the code; `--check` only says whether they are new.

ARCHITECTURE.md's tree from the packages, docs/modules.md from the modules' first
sentences, docs/configuration.md from the catalogue of settings, docs/sql/differences.md
from what the golden queries' tests expect, docs/api.md from the parity test.
"""

import ast
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from millstream.engine.base.catalogue import CATALOGUE, Kind, Setting

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "millstream"

_UNITS = {
    Kind.TEXT: "text",
    Kind.BOOLEAN: "true, false",
    Kind.INTEGER: "whole number",
    Kind.NUMBER: "number",
    Kind.DURATION_MS: "duration (ms)",
    Kind.DURATION_S: "duration (s)",
    Kind.SIZE_BYTES: "size (bytes)",
    Kind.SIZE_MIB: "size (MiB)",
}
_HOW_TO_SET = (
    "Set with `SparkConf().set(key, value)`, or `millstream run --conf key=value`. "
    "Durations are written `200ms`, `5s`, `2min`, `1h`, `1d`; sizes `64k`, `512m`, `1g`. "
    "A bare number has the unit in brackets. A value that can't be read is an error when "
    "the context is made; a key that nobody knows is a warning that names the nearest one."
)
_HOW_IDLE = (
    "Accepted, so that programs run; setting one says once why it has no effect. A `*` "
    "stands for every key that begins so."
)
_TREE = re.compile(
    r"(<!-- made by docs/generate.py: tree -->\n).*?(<!-- end -->)", re.DOTALL
)
# From the top of the layers to the bottom; inside a package, in this order.
_ORDER = (
    "engine",
    "streams",
    "sources",
    "sinks",
    "observe",
    "ingest",
    "jobs",
    "workers",
    "columnar",
    "plan",
    "durable",
    "base",
)


def first_sentence(file: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.split("\n", 1)[0]


def packages() -> list[Path]:
    """Return every package's directory, in the order of a tree."""
    found = [file.parent for file in SOURCE.rglob("__init__.py")]
    return sorted(found, key=_place)


def _place(directory: Path) -> tuple[tuple[int, str], ...]:
    parts = directory.relative_to(SOURCE).parts
    return tuple((_ORDER.index(part) if part in _ORDER else -1, part) for part in parts)


def tree() -> str:
    """Return the packages as an indented tree, each with its sentence."""
    lines = []
    for directory in packages():
        parts = directory.relative_to(SOURCE).parts
        name = "  " * len(parts) + (parts[-1] if parts else "src/millstream") + "/"
        sentence = first_sentence(directory / "__init__.py")
        if not parts:
            sentence = "the faces: PySpark's names and paths; the only camelCase"
        lines.append(f"{name:<20} {sentence}".rstrip())
    return "```\n" + "\n".join(lines) + "\n```\n"


def modules_page() -> str:
    """Return the page with a line for every module."""
    lines = [
        "# Modules",
        "",
        "Made from the modules' first sentences by `make docs`; don't edit.",
    ]
    for directory in packages():
        path = directory.relative_to(SOURCE.parent).as_posix()
        lines += ["", f"## {path}", ""]
        lines += [first_sentence(directory / "__init__.py"), ""]
        files = [
            file for file in sorted(directory.glob("*.py")) if file.stem[:2] != "__"
        ]
        if files:
            lines += ["| module | |", "|---|---|"]
            lines += [
                f"| `{file.stem}` | {_cell(first_sentence(file))} |" for file in files
            ]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def configuration_page() -> str:
    """Return the page with every setting that works, and every one that doesn't."""
    working = [each for each in CATALOGUE.values() if each.does_nothing is None]
    idle = [each for each in CATALOGUE.values() if each.does_nothing is not None]
    lines = [
        "# Configuration",
        "",
        "Made from the catalogue of settings by `make docs`; don't edit.",
        "",
        _HOW_TO_SET,
        "",
        "## Settings that work",
        "",
        "| key | value | default | at least | effect |",
        "|---|---|---|---|---|",
        *map(_row, sorted(working, key=_key)),
        "",
        "## Settings that do nothing here",
        "",
        _HOW_IDLE,
        "",
        "| key | why |",
        "|---|---|",
        *(
            f"| `{each.key}` | {_cell(each.does_nothing or '')} |"
            for each in sorted(idle, key=_key)
        ),
    ]
    return "\n".join(lines) + "\n"


_DIFFERENCES = """# Differences from Spark

Made from the tests' list of known differences by `make docs`; don't edit.

{count} queries of our own were recorded from PySpark {version}; {same} print the same here, to the byte but for the order of rows that Spark doesn't define. The others are below, each with the name of its query in `tests/sql/golden/queries.py`. A test fails when one of them comes to be the same, or differs otherwise.

Rows without an order come in another one: add `orderBy` where it matters.

What the client and the engine don't have at all, such as Structured Streaming, `spark._jvm`, Hive and ML, raises an error that says so. Integers that overflow **wrap around silently**: use wider types where sums can be large, or `try_add` and its like.
"""


def differences_page() -> str:
    """Return the page with every query that is known to answer otherwise than on Spark."""
    golden = ROOT / "tests" / "sql" / "golden"
    recorded = json.loads((golden / "outputs.json").read_text("utf-8"))
    namespace = runpy.run_path(str(golden / "differences.py"))
    known = namespace["DIFFERENCES"]
    count = len(recorded["queries"])
    lines = [
        _DIFFERENCES.format(
            count=count,
            same=count - len(known),
            version=recorded["versions"]["spark"],
        ).rstrip()
    ]
    for kind in namespace["Kind"]:
        lines += ["", f"## {kind.value[0].upper()}{kind.value[1:]}", ""]
        lines += ["| query | what differs |", "|---|---|"]
        lines += [
            f"| `{name}` | {_cell(each.reason)} |"
            for name, each in known.items()
            if each.kind.name == kind.name
        ]
    return "\n".join(lines) + "\n"


def _key(setting: Setting) -> str:
    return setting.key.lower()


def _row(setting: Setting) -> str:
    value = ", ".join(setting.choices) or _UNITS[setting.kind]
    default = f"`{setting.default}`" if setting.default is not None else ""
    least = "" if setting.at_least is None else f"{setting.at_least:g}"
    return (
        f"| `{setting.key}` | {value} | {default} | {least} | {_cell(setting.effect)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every file that is made, and what it should say."""
    architecture = ROOT / "ARCHITECTURE.md"
    text = architecture.read_text("utf-8")
    yield architecture, _TREE.sub(lambda found: found[1] + tree() + found[2], text)
    yield ROOT / "docs" / "modules.md", modules_page()
    yield ROOT / "docs" / "configuration.md", configuration_page()
    yield ROOT / "docs" / "sql" / "differences.md", differences_page()
    namespace = runpy.run_path(str(ROOT / "docs" / "api_table.py"))
    yield ROOT / "docs" / "api.md", namespace["api_page"]()


def stale() -> list[str]:
    """Return the files that don't say what they should."""
    return [
        str(path.relative_to(ROOT))
        for path, text in pages()
        if not path.exists() or path.read_text("utf-8") != text
    ]


def main() -> int:
    """Write or check."""
    if "--check" in sys.argv:
        old = stale()
        if old:
            print(f"not up to date: {', '.join(old)}; run `make docs`")
        return 1 if old else 0
    for path, text in pages():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
