"""Writes the page that says of PySpark's every API whether it is here: `docs/api.md`.

What there is in PySpark was recorded from PySpark (`tests/parity/surface.json`). What isn't
here or is otherwise, and why, is in `tests/parity/differences.py`, to which the tests hold
the code. Only what is better is said here.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
_parity = import_module("tests.parity.surface")
_said = import_module("tests.parity.differences")

# These come first, in this order; the others follow by name.
_FIRST = (
    "SparkContext",
    "SparkConf",
    "RDD",
    "StreamingContext",
    "DStream",
    "StreamingListener",
)
_EXTENDED = ("SparkContext", "RDD", "StreamingContext", "DStream")
# Told class by class, with what isn't as in PySpark by name.
_FOLDED = ("pyspark.sql", "pyspark.errors", "pyspark.resource")

_COLUMNS = "goes by [columns](columns.md), in native code, where functions and records are known there"
_BUCKETS = "buckets and remote file systems too, without Hadoop"

_BETTER: Mapping[str, str] = {
    **dict.fromkeys(
        [
            f"{owner}.{name}"
            for owner in ("RDD", "DStream")
            for name in [
                "map",
                "filter",
                "flatMap",
                "mapValues",
                "reduce",
                "reduceByKey",
                "combineByKey",
                "count",
                "countByValue",
                "join",
                "leftOuterJoin",
                "rightOuterJoin",
                "fullOuterJoin",
                "cogroup",
            ]
        ]
        + [
            f"RDD.{name}"
            for name in [
                "aggregateByKey",
                "foldByKey",
                "distinct",
                "sum",
                "sortBy",
                "sortByKey",
            ]
        ]
        + ["DStream.reduceByWindow", "DStream.reduceByKeyAndWindow"],
        _COLUMNS,
    ),
    "SparkContext.textFile": _BUCKETS,
    "SparkContext.wholeTextFiles": _BUCKETS,
    "SparkContext.binaryFiles": _BUCKETS,
    "SparkContext.binaryRecords": _BUCKETS,
    "RDD.saveAsTextFile": _BUCKETS,
    "SparkContext.uiWebUrl": "[the live page](page.md), with metrics, REST and the way of each step",
    "SparkConf.set": "a key that nobody knows is warned about, with the nearest one that is known",
    "SparkConf.setAll": "as `set`",
    "StreamingContext.start": "writes a first checkpoint before anything is received",
    "StreamingContext.stop": "a graceful stop is [bounded](receivers.md#stopping), and what is left runs after a restart",
    "StreamingContext.awaitTermination": "raises a batch's error with your traceback; SIGTERM is a graceful stop",
    "StreamingContext.checkpoint": f"{_BUCKETS}; damage is noticed, and the newest valid checkpoint wins",
    "StreamingContext.getOrCreate": "changed code [takes over state and positions](upgrading.md)",
    "StreamingContext.getActiveOrCreate": "as `getOrCreate`",
    "StreamingContext.textFileStream": f"a batch that runs again reads the files it had; {_BUCKETS}",
    "StreamingContext.binaryRecordsStream": "as `textFileStream`",
    "StreamingContext.socketTextStream": "takes no task slot, so that `local` works",
    "DStream.updateStateByKey": "writes what changed, batch by batch; can be [read from outside](state.md#reading-it-from-outside), and by columns",
    "DStream.saveAsTextFiles": _BUCKETS,
    "KafkaUtils.createStream": "needs no ZooKeeper; offsets are committed when their records are stored and logged",
    "KinesisUtils.createStream": "is read by ranges that are planned: a batch that runs again reads the same",
    "FlumeUtils.createStream": "events are acknowledged when they are stored",
}

_HEAD = """# Every API of PySpark

Made from what was recorded of PySpark, and the code, by `make docs`; don't edit.

{counts}

**Same**: the same name, the same parameters in the same order. **Better**: that, and what the note says. **Differs**: it is there, and the note says what is other. **Absent**: it isn't there, or raises an error that says so; the note says why, or what to use. A test fails when one of these isn't so.

The names are those of PySpark 3.5.9 and 4.3.0; those of Kafka and Flume, which PySpark 3 dropped, are of 2.4.8, and those of MQTT of 1.6.

What holds for all of it: an error in a function comes with your own traceback, the step, the partition and the record; nothing starts a JVM; floats are added in the rows' order, however a stage runs. What queries answer otherwise than Spark's has [a page of its own](sql/differences.md), and what is different as a whole is in [Coming from PySpark](from-pyspark.md).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An API of PySpark's, and what it is here."""

    api: Any
    verdict: str
    note: str

    @property
    def text(self) -> str:
        """The name and its parameters, without what they are when left out."""
        name = str(self.api.name.partition(".")[2] or self.api.name)
        if not self.api.parameters or self.api.kind == "class":
            return name
        names = [
            each.name
            for each in _parity.parameters(self.api.parameters)
            if not each.name.startswith("_")
        ]
        return f"{name}({', '.join(names)})"

    @property
    def versions(self) -> str:
        """The PySparks that have it: "3.5, 4.3"."""
        return ", ".join(
            ".".join(each.split(".")[:2]).partition(" ")[0]
            for each in reversed(self.api.versions)
        )


def row_of(api: Any) -> Row:
    """Return the row of one API."""
    key = _parity.above(api.path, _said.ABSENT)
    reason = _said.ABSENT.get(key) or _said.REFUSED.get(api.path)
    if api.module == "pyspark.sql.functions":
        reason = reason or _said.LACKING_FUNCTIONS.get(api.name)
    if reason is not None:
        return Row(api, "absent", reason)
    differs = _said.DIFFERS.get(api.path) or _said.OTHER_PARAMETERS.get(api.path)
    if differs is not None:
        return Row(api, "differs", differs)
    better = "; ".join(filter(None, (_BETTER.get(api.name), _added(api))))
    return Row(api, "better" if better else "same", better)


def _added(api: Any) -> str:
    """Return in words which parameters of a method are ours."""
    is_called_by_name = api.kind.endswith("method") and not api.name.endswith("__")
    if not is_called_by_name or _is_folded(api.module):
        return ""
    known = {each.name for each in _parity.parameters(api.parameters)} | {"self", "cls"}
    function = _parity.here(api.path)
    have = _parity.parameters(_parity.signature_of(function))
    more = [
        f"`{each.name}`"
        for each in have
        if each.name not in known
        and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    ]
    return f"takes {', '.join(more)} as well" if more else ""


def rows() -> list[Row]:
    """Return a row for every API; other ways to import one have none.

    Raises:
        ValueError: Something is said to be better that PySpark doesn't have.
    """
    apis = [
        each
        for each in _parity.recorded().values()
        if not each.kind.startswith("same as ")
    ]
    unknown = set(_BETTER) - {each.name for each in apis}
    if unknown:
        msg = f"better than what PySpark doesn't have: {sorted(unknown)}"
        raise ValueError(msg)
    return [row_of(each) for each in apis]


def _is_folded(module: str) -> bool:
    return f"{module}.".startswith(tuple(f"{each}." for each in _FOLDED))


def _owner(api: Any) -> str:
    """Return the class that an API is of; the module, for a function."""
    first, dot, _ = api.name.partition(".")
    return str(first if dot or api.kind == "class" else api.module)


def _grouped(found: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in found:
        owner = _owner(row.api)
        if owner != row.api.module and row.api.module.startswith("pyspark.sql."):
            # Some of its classes have names that others have, too: `Column`.
            owner = f"{row.api.module.removeprefix('pyspark.sql.')}.{owner}"
        groups.setdefault(owner, []).append(row)
    places = {name: place for place, name in enumerate(_FIRST)}
    ordered = sorted(groups, key=lambda name: (places.get(name, len(places)), name))
    return {name: groups[name] for name in ordered}


def _counted(found: Iterable[Row]) -> str:
    counts = Counter(row.verdict for row in found)
    told = [
        f"{counts[verdict]} {words}"
        for verdict, words in (
            ("same", "are the same"),
            ("better", "better"),
            ("differs", "differ"),
            ("absent", "are absent"),
        )
        if counts[verdict]
    ]
    return ", ".join(told)


def _full(name: str, found: list[Row]) -> list[str]:
    """Return the section of a class, with a line for each of its names."""
    lines = ["", f"## {name}", "", "| PySpark | of | here | |", "|---|---|---|---|"]
    for row in found:
        note = f" {row.note} " if row.note else " "
        lines.append(f"| `{row.text}` | {row.versions} | {row.verdict} |{note}|")
    return lines


def _folded(title: str, found: list[Row]) -> list[str]:
    """Return a section that counts each class's names, and tells those that aren't same."""
    lines = ["", f"## {title}", "", f"Of {len(found)} names {_counted(found)}.", ""]
    whole, partial = [], []
    notes: dict[tuple[str, str, str], list[str]] = {}
    for owner, group in _grouped(found).items():
        here = sum(row.verdict != "absent" for row in group)
        if here == len(group):
            whole.append(f"`{owner}` ({here})")
        else:
            partial.append(f"| `{owner}` | {len(group)} | {here} |")
        for row in group:
            if row.verdict in {"absent", "differs"}:
                member = row.api.name.partition(".")[2]
                is_function = row.api.kind == "function"
                name = row.api.name if is_function else f"{owner}.{member}".strip(".")
                key = (row.verdict, row.note, row.versions)
                notes.setdefault(key, []).append(f"`{name}`")
    lines += [
        f"All names are there of {', '.join(whole)}; of the others some aren't:",
        "",
    ]
    lines += ["| | names | here |", "|---|---|---|", *partial, ""]
    lines += ["What isn't as in PySpark:", "", "| PySpark | of | here | |"]
    lines += ["|---|---|---|---|"]
    for (verdict, note, versions), names in sorted(notes.items()):
        lines.append(f"| {', '.join(names)} | {versions} | {verdict} | {note} |")
    return lines


def _modules(found: list[Row]) -> list[str]:
    """Return the section of modules that are there or not as a whole."""
    lines = [
        "",
        "## Other modules",
        "",
        "| PySpark | of | here | |",
        "|---|---|---|---|",
    ]
    notes: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        notes.setdefault((row.verdict, row.note), []).append(row)
    for (verdict, note), group in sorted(notes.items()):
        names = ", ".join(f"`{row.api.path}`" for row in group)
        versions = ", ".join(sorted({row.versions for row in group}, key=len))
        told = note or "can be imported; what is in them wasn't recorded"
        shown = {"same": "there"}.get(verdict, verdict)
        lines.append(
            f"| {names} | {versions if len(group) == 1 else ''} | {shown} | {told} |"
        )
    return lines


def _beyond(found: Mapping[str, list[Row]]) -> Iterator[str]:
    """Yield a row for each public name of a class that PySpark doesn't have."""
    for name in _EXTENDED:
        known = {row.api.name.partition(".")[2] for row in found[name]}
        owner = _parity.here(found[name][0].api.module + f".{name}")
        for member in dir(owner):
            if member.startswith("_") or member.isupper() or member in known:
                continue
            words = (inspect.getdoc(getattr(owner, member)) or "").split("\n", 1)[0]
            yield f"| `{name}.{member}` | {words} |"


def api_page() -> str:
    """Return the page's text."""
    found = rows()
    names = [row for row in found if row.api.kind != "module"]
    full = _grouped(row for row in names if not _is_folded(row.api.module))
    told = (
        f"Of {len(names)} classes, functions, methods and attributes {_counted(names)}."
    )
    lines = [_HEAD.format(counts=told).rstrip()]
    for name, group in full.items():
        lines += _full(name, group)
    sql = [row for row in names if row.api.module.startswith("pyspark.sql")]
    others = [row for row in names if _is_folded(row.api.module) and row not in sql]
    lines += _folded("SQL", sql)
    lines += _folded("Errors and resources", others)
    lines += _modules([row for row in found if row.api.kind == "module"])
    lines += ["", "## What PySpark doesn't have", "", "| here | |", "|---|---|"]
    return "\n".join([*lines, *_beyond(full)]) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(api_page(), "utf-8")
