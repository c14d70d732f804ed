"""Migration: what a PySpark streaming program will meet here, read from its text.

Nothing of the program runs. What there is comes from Millstream's own classes: a method
that they don't have, or that only raises, won't run. What is better or different about
one that runs stands in `_BETTER` and `_DIFFERS`.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

from millstream import compat
from millstream.engine.base.config import remarks

Verdict = Literal["runs", "better", "differs", "breaks"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of PySpark's API, and what becomes of it."""

    file: str
    line: int
    column: int
    verdict: Verdict
    what: str
    text: str = ""


_NOT_SPARKS = (
    "a checkpoint that Spark wrote can't be read: the first start begins from nothing"
)
_BETTER: Mapping[str, str] = {
    "StreamingContext.socketTextStream": (
        "a receiver takes no core: `local` is enough. With "
        "spark.streaming.receiver.writeAheadLog.enable nothing is lost in a crash"
    ),
    "StreamingContext.textFileStream": (
        "which files a batch has is on disk before it runs: it reads the same ones again "
        "after a crash"
    ),
    "DStream.updateStateByKey": (
        "each batch writes what changed, not all state every ten batches. Give it a name, "
        ".named('counts'): `millstream state query` reads it, and upgrades find it"
    ),
    "DStream.foreachRDD": (
        "the same; where it writes to files, a database or Kafka, writeTo(sink, name=...) "
        "commits each batch exactly once"
    ),
    "DStream.saveAsTextFiles": (
        "the same; writeTo with a sink for files commits each batch exactly once"
    ),
    "KafkaUtils.createDirectStream": (
        "the API for Kafka 0.8 reads from today's brokers; the offsets of a batch are in "
        "the checkpoint before it reads them"
    ),
    "KinesisUtils.createStream": (
        "needs the extra `kinesis`; where there is a checkpoint no DynamoDB table is needed"
    ),
}
_DIFFERS: Mapping[str, str] = {
    "StreamingContext.getOrCreate": (
        f"{_NOT_SPARKS}. Later, getOrCreate(..., upgrade='apply') goes on with changed code"
    ),
    "StreamingContext.getActiveOrCreate": _NOT_SPARKS,
    "SparkContext.sequenceFile": (
        "the format is one of our own: Hadoop's sequence files can't be read"
    ),
    "RDD.saveAsSequenceFile": "the format is one of our own: Hadoop doesn't read it",
    "KafkaUtils.createStream": (
        "ZooKeeper isn't asked: give bootstrap.servers in kafkaParams. "
        "createDirectStream reads each record exactly once"
    ),
}

_JVM = frozenset(
    {
        "_gateway",
        "_jconf",
        "_jdf",
        "_jdstream",
        "_jrdd",
        "_jsc",
        "_jsparkSession",
        "_jssc",
        "_jvm",
    }
)
_NO_JVM = "there is no JVM here, so nothing can be called in one"
_STRUCTURED = "Structured Streaming isn't here: a DStream and foreachRDD, or SQL on streams, do it"
_ANYWHERE: Mapping[str, str] = {
    **dict.fromkeys(_JVM, _NO_JVM),
    "readStream": _STRUCTURED,
    "writeStream": _STRUCTURED,
}
"""Attributes that won't do, whatever they are of."""
_MODULES: Mapping[str, str] = {
    "py4j": f"{_NO_JVM}; only py4j.protocol's errors are answered",
    "pyspark.ml": "Spark's MLlib isn't here",
    "pyspark.mllib": "Spark's MLlib isn't here",
    "pyspark.pandas": "the pandas API isn't here: Polars or pandas itself in foreachRDD",
    "pyspark.sql.streaming": _STRUCTURED,
    "pyspark.java_gateway": _NO_JVM,
    "graphframes": _NO_JVM,
}
_ELSEWHERE: Mapping[str, str] = {"SparkSession.streams": _STRUCTURED}
_OPEN = frozenset({"SparkSession"})
"""Classes of which the extra `sql` has more than can be seen in them."""
_OF_SUBCLASSES = frozenset({"RDD.offsetRanges", "DStream.commitAsync"})
_MASTERS = re.compile(r"(spark|yarn|mesos|k8s)(://|$|-)")
_BY_NAME = {
    "sc": "SparkContext",
    "ssc": "StreamingContext",
    "spark": "SparkSession",
    "rdd": "RDD",
}
"""What a variable is taken for that nothing tells the type of."""
_GIVES_RDDS = frozenset({"foreachRDD", "transform"})


def check(file: Path) -> list[Finding]:
    """Return what is found in a program, in the order of its lines.

    Raises:
        SyntaxError: It is no Python 3.
        OSError: It can't be read.
    """
    tree = ast.parse(file.read_text("utf-8"), str(file))
    reader = _Reader(str(file))
    reader.read(tree)
    unique = {(e.line, e.column, e.verdict, e.what): e for e in reader.found}
    return sorted(unique.values(), key=lambda each: (each.line, each.column))


@cache
def _classes() -> Mapping[str, type]:
    """Return the classes whose methods are known, by their names."""
    places = {
        "millstream": ("Accumulator", "Broadcast", "RDD", "SparkConf", "SparkContext"),
        "millstream.streaming": ("DStream", "StreamingContext"),
        "millstream.sql.session": ("SparkSession",),
    }
    return {
        name: getattr(import_module(module), name)
        for module, names in places.items()
        for name in names
    }


@dataclass(slots=True)
class _Scope:
    """The classes of which names are instances."""

    outer: "_Scope | None" = None
    types: dict[str, type] = field(default_factory=dict)

    def find(self, name: str) -> type | None:
        known = self.types.get(name)
        if known is not None or self.outer is None:
            return known
        return self.outer.find(name)


class _Reader(ast.NodeVisitor):
    """Walks a program once, and notes what it meets."""

    def __init__(self, file: str) -> None:
        self.found: list[Finding] = []
        self._file = file
        self._scope = _Scope()
        self._imported: dict[str, Any] = {}
        """What names of PySpark's stand for here."""
        self._takes_rdd: set[str] = set()

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            self._note_callbacks(node)
        self.visit(tree)

    def _note_callbacks(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_callback = node.func.attr in _GIVES_RDDS
            names = [each.id for each in node.args if isinstance(each, ast.Name)]
            self._takes_rdd.update(names if is_callback else ())

    def _tell(
        self,
        node: ast.expr | ast.stmt,
        verdict: Verdict,
        what: str,
        text: str = "",
    ) -> None:
        line, column = node.lineno, node.col_offset + 1
        if isinstance(node, ast.Attribute) and node.end_col_offset is not None:
            # Of a chain over several lines, where its own name is.
            line = node.end_lineno or line
            column = node.end_col_offset - len(node.attr) + 1
        self.found.append(Finding(self._file, line, column, verdict, what, text))

    # Imports.

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            module = self._module(node, each.name)
            if module is not None and each.asname is not None:
                self._imported[each.asname] = module
            elif each.name.partition(".")[0] == "pyspark":
                self._imported["pyspark"] = import_module("millstream")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        for each in node.names:
            # `from pyspark import sql` imports a module, too.
            path = f"{node.module}.{each.name}"
            if compat.target_of(path) is not None or _refused(path):
                module = self._module(node, path)
                if module is not None:
                    self._imported[each.asname or each.name] = module
                continue
            module = self._module(node, node.module)
            if module is None or each.name == "*":
                self._import_all(module if each.name == "*" else None)
            elif hasattr(module, each.name):
                self._imported[each.asname or each.name] = getattr(module, each.name)
                self._tell(node, "runs", path)
            elif node.module.startswith("pyspark"):
                text = f"{node.module} has no `{each.name}` here"
                self._tell(node, "breaks", path, text)

    def _import_all(self, module: ModuleType | None) -> None:
        for name in getattr(module, "__all__", ()):
            self._imported[name] = getattr(module, name)

    def _module(self, node: ast.stmt, name: str) -> ModuleType | None:
        """Return what stands for one of PySpark's modules, if there is any."""
        why = _refused(name)
        if why is not None:
            self._tell(node, "breaks", name, why)
            return None
        if name.partition(".")[0] not in {"pyspark", "py4j", "findspark"}:
            return None
        target = compat.target_of(name)
        if target is None:
            self._tell(node, "breaks", name, f"there is no module `{name}` here")
            return None
        self._tell(node, "runs", name)
        if target.startswith("spark_client."):
            return None  # The extra `sql` has it; nothing is known of its names.
        try:
            return import_module(target)
        except ImportError as error:
            self._tell(node, "differs", name, f"needs an extra: {error}")
            return None

    # Names.

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        kind = self._type(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and kind is not None:
                self._scope.types[target.id] = kind

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            kind = self._type(item.context_expr)
            if isinstance(item.optional_vars, ast.Name) and kind is not None:
                self._scope.types[item.optional_vars.id] = kind
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node, node.name in self._takes_rdd)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node, takes_rdd=False)

    def _visit_function(
        self, node: ast.FunctionDef | ast.Lambda, takes_rdd: bool
    ) -> None:
        self._scope = _Scope(self._scope)
        arguments = node.args.args
        for each in arguments:
            kind = _named_type(each.annotation)
            if kind is not None:
                self._scope.types[each.arg] = kind
        if takes_rdd and arguments:
            self._scope.types[arguments[-1].arg] = _classes()["RDD"]
        self.generic_visit(node)
        assert self._scope.outer is not None, "it was entered"
        self._scope = self._scope.outer

    def _type(self, node: ast.expr) -> type | None:
        """Return the class that an expression is an instance of, as far as one can see."""
        match node:
            case ast.Name(id=name):
                return self._scope.find(name) or self._by_name(name)
            case ast.Call(func=ast.Name(id=name)):
                found = self._imported.get(name)
                return found if isinstance(found, type) else None
            case ast.Call(func=ast.Attribute() as function):
                return self._result(function)
            case ast.Attribute(value=value, attr=attribute):
                owner = self._type(value)
                return None if owner is None else _returned(owner, attribute)
            case _:
                return None

    def _by_name(self, name: str) -> type | None:
        if name in self._imported or name not in _BY_NAME:
            return None
        return _classes()[_BY_NAME[name]]

    def _result(self, function: ast.Attribute) -> type | None:
        named = self._named(function)
        if isinstance(named, type):
            return named
        owner = self._type(function.value) or self._named(function.value)
        if isinstance(owner, type):
            found = _returned(owner, function.attr)
            if found is not None:
                return found
        is_session = ast.unparse(function).startswith("SparkSession.builder")
        if is_session and function.attr == "getOrCreate":
            return _classes()["SparkSession"]
        return None

    def _named(self, node: ast.expr) -> Any:
        """Return what a dotted name of PySpark's stands for, or None."""
        match node:
            case ast.Name(id=name):
                return self._imported.get(name)
            case ast.Attribute(value=value, attr=attribute):
                found = self._named(value)
                return None if found is None else getattr(found, attribute, None)
            case _:
                return None

    # Uses.

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        why = _ANYWHERE.get(node.attr)
        if why is not None:
            self._tell(node, "breaks", f".{node.attr}", why)
            return
        owner = self._type(node.value) or self._named(node.value)
        if isinstance(owner, type) and not node.attr.startswith("__"):
            self._tell_use(node, owner)

    def _tell_use(self, node: ast.Attribute, owner: type) -> None:
        what = f"{owner.__name__}.{node.attr}"
        if what in _ELSEWHERE:
            self._tell(node, "breaks", what, _ELSEWHERE[what])
            return
        if not _has(owner, node.attr):
            text = f"{owner.__name__} has no `{node.attr}` here"
            self._tell(node, "breaks", what, text)
            return
        method = getattr(owner, node.attr, None)
        if _hints(method).get("return") in {"NoReturn", NoReturn}:
            text = (method.__doc__ or "").strip().split("\n", 1)[0]
            self._tell(node, "breaks", what, text.removeprefix("Refuse: "))
            return
        for each in owner.__mro__:
            known = f"{each.__name__}.{node.attr}"
            if known in _BETTER:
                self._tell(node, "better", what, _BETTER[known])
                return
            if known in _DIFFERS:
                self._tell(node, "differs", what, _DIFFERS[known])
                return
        self._tell(node, "runs", what)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        texts = [
            each.value
            for each in (*node.args, *(keyword.value for keyword in node.keywords))
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else ""
        if (
            name in {"setMaster", "master"}
            or self._type(node) is _classes()["SparkContext"]
        ):
            for text in texts[:1]:
                self._check_master(node, text)
        if name in {"set", "config", "setIfMissing"} and texts:
            self._check_setting(node, texts[0], texts[1] if len(texts) > 1 else None)

    def _check_master(self, node: ast.expr, master: str) -> None:
        if _MASTERS.match(master):
            text = "Millstream runs on local, local[N], local[*] and ray"
            self._tell(node, "breaks", f"master {master}", text)

    def _check_setting(self, node: ast.expr, key: str, value: str | None) -> None:
        if not key.startswith("spark."):
            return
        if key == "spark.master" and value is not None:
            self._check_master(node, value)
            return
        remark = next((text for _, text in remarks([key])), None)
        verdict: Verdict = "runs" if remark is None else "differs"
        self._tell(node, verdict, key, remark or "")


def _refused(module: str) -> str | None:
    if f"{module}.".startswith("py4j.protocol."):
        return None
    for name, why in _MODULES.items():
        if module == name or module.startswith(f"{name}."):
            return why
    return None


def _named_type(annotation: ast.expr | None) -> type | None:
    return None if annotation is None else _type_in(ast.unparse(annotation))


def _returned(owner: type, attribute: str) -> type | None:
    """Return the class of what a method returns, or a property is."""
    found = getattr(owner, attribute, None)
    target = found.fget if isinstance(found, property) else found
    returned = _hints(target).get("return", "")
    if str(returned).endswith("Self"):
        return owner
    return returned if returned in _classes().values() else _type_in(str(returned))


def _type_in(text: str) -> type | None:
    """Return the first class that an annotation names, of those that are known."""
    words = re.findall(r"\w+", text)
    return next((_classes()[each] for each in words if each in _classes()), None)


def _hints(method: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(method, "__annotations__", {})
    return found


def _has(owner: type, name: str) -> bool:
    """Say whether instances of a class have something, as far as that can be known."""
    if hasattr(owner, name) or owner.__name__ in _OPEN:
        return True
    if f"{owner.__name__}.{name}" in _OF_SUBCLASSES:
        return True
    return any(name in getattr(each, "__annotations__", ()) for each in owner.__mro__)


def count(found: list[Finding]) -> dict[str, int]:
    """Return how many there are of each verdict."""
    verdicts: tuple[Verdict, ...] = ("runs", "better", "differs", "breaks")
    return {each: sum(one.verdict == each for one in found) for each in verdicts}


def told(found: list[Finding]) -> Iterator[Finding]:
    """Yield what is worth telling: all but what just runs."""
    yield from (each for each in found if each.verdict != "runs")
