"""Records PySpark's public names, with their parameters, from a real PySpark.

Run by hand, no Java needed, once under the Python of each environment that is compared
with; it replaces what surface.json has of that version and leaves the others:

    python tests/parity/record.py             # pyspark 3.5.9, pandas 2, pyarrow
    python tests/parity/record.py             # pyspark 4.3.0, pandas, pyarrow, grpcio
    python tests/parity/record.py --read DIR  # the unpacked archive of pyspark 2.4.8

What Python 3.11 can't import any more is read with `ast`. MQTT was in no PySpark that the
package index has: what there is of it comes from the project's reference.

Only names, kinds and signatures are kept, a name a line: "kind(parameters)".
"""

import argparse
import ast
import inspect
import json
import pkgutil
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Final

SURFACE: Final = Path(__file__).parent / "surface.json"

# The first module that has a class tells of its methods; the later ones only that it is
# the same, so that the ways to import it are known, too.
MODULES: Final = (
    "pyspark",
    "pyspark.accumulators",
    "pyspark.broadcast",
    "pyspark.conf",
    "pyspark.context",
    "pyspark.files",
    "pyspark.rdd",
    "pyspark.resultiterable",
    "pyspark.serializers",
    "pyspark.statcounter",
    "pyspark.status",
    "pyspark.storagelevel",
    "pyspark.taskcontext",
    "pyspark.errors",
    "pyspark.resource",
    "pyspark.streaming",
    "pyspark.streaming.context",
    "pyspark.streaming.dstream",
    "pyspark.streaming.kinesis",
    "pyspark.streaming.listener",
    "pyspark.sql",
    "pyspark.sql.avro.functions",
    "pyspark.sql.catalog",
    "pyspark.sql.column",
    "pyspark.sql.conf",
    "pyspark.sql.context",
    "pyspark.sql.dataframe",
    "pyspark.sql.datasource",
    "pyspark.sql.functions",
    "pyspark.sql.group",
    "pyspark.sql.merge",
    "pyspark.sql.observation",
    "pyspark.sql.protobuf.functions",
    "pyspark.sql.readwriter",
    "pyspark.sql.session",
    "pyspark.sql.tvf",
    "pyspark.sql.types",
    "pyspark.sql.udf",
    "pyspark.sql.udtf",
    "pyspark.sql.window",
)
# Public, though the module's `__all__` leaves them out.
_MORE: Final = {
    "pyspark.resultiterable": ["ResultIterable"],
    "pyspark.streaming.dstream": ["DStream", "TransformedDStream"],
    "pyspark.sql.udf": ["UDFRegistration", "UserDefinedFunction"],
    "pyspark.sql.udtf": ["UDTFRegistration", "UserDefinedTableFunction"],
}
_PACKAGES: Final = ("pyspark", "pyspark.sql", "pyspark.streaming")
_READ: Final = ("pyspark.streaming.flume", "pyspark.streaming.kafka")
_OF_REFERENCE: Final = {
    "1.6 (from the reference)": {
        "pyspark.streaming.mqtt": {
            "MQTTUtils": "class()",
            "MQTTUtils.createStream": (
                "static method(ssc, brokerUrl, topic, storageLevel=...)"
            ),
        }
    }
}
# By these an operator or a statement calls; others are how a class is made.
_OPERATORS: Final = frozenset(
    f"__{name}__"
    for names in (
        "add and floordiv mod mul or pow sub truediv iadd invert neg",
        "radd rand rdiv rmod rmul ror rpow rsub rtruediv",
        "eq ge gt le lt ne call contains enter exit getattr getitem iter len next",
    )
    for name in names.split()
)


def imported() -> dict[str, dict[str, str]]:
    """Return the names of each module, from the PySpark that is installed."""
    modules = {}
    for path in MODULES:
        # Not every version has each.
        with suppress(ModuleNotFoundError):
            modules[path] = import_module(path)
    public = {
        path: {name: getattr(module, name) for name in _public(path, module)}
        for path, module in modules.items()
    }
    known: dict[int, str] = {}
    for path, names in public.items():
        for name, value in names.items():
            if callable(value):
                known.setdefault(id(value), f"{path}.{name}")
    found = {path: dict(_of_module(path, public[path], known)) for path in public}
    for package in _PACKAGES:
        found[package] |= dict.fromkeys(_others(modules[package]), "module")
    return found


def _others(package: Any) -> Iterator[str]:
    """Yield the modules of a package whose names aren't recorded one by one."""
    for each in pkgutil.iter_modules(package.__path__):
        path = f"{package.__name__}.{each.name}"
        is_recorded = any(f"{module}.".startswith(f"{path}.") for module in MODULES)
        if not is_recorded and not each.name.startswith("_"):
            yield each.name


def _of_module(
    path: str, names: dict[str, Any], known: dict[int, str]
) -> Iterator[tuple[str, str]]:
    for name, value in names.items():
        if not callable(value):
            yield name, "constant"
        elif known[id(value)] != f"{path}.{name}":
            yield name, f"same as {known[id(value)]}"
        elif inspect.isclass(value):
            yield from _of_class(name, value, set(known))
        else:
            yield name, f"function{signature(value)}"


def _public(path: str, module: Any) -> list[str]:
    names = list(getattr(module, "__all__", ())) + _MORE.get(path, [])
    if not names:
        names = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == path
            and (inspect.isclass(value) or inspect.isfunction(value))
        ]
    return sorted({name for name in names if not name.startswith("_")})


def _of_class(name: str, owner: type, known: set[int]) -> Iterator[tuple[str, str]]:
    yield name, f"class{signature(owner)}"
    members = _members(owner, known)
    for member, home in sorted(members.items()):
        value = vars(home)[member]
        if inspect.isclass(value):
            yield from _of_class(f"{name}.{member}", value, known)
        else:
            yield f"{name}.{member}", _kind(value)
    if "." not in name:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        for member in sorted(attributes(tree)):
            if member not in members and not hasattr(owner, member):
                yield f"{name}.{member}", "attribute"


def _members(owner: type, known: set[int]) -> dict[str, type]:
    """Return the public names of a class and where each is from: itself, or hidden bases."""
    found: dict[str, type] = {}
    for base in owner.__mro__:
        # A public base has lines of its own.
        is_other = base is not owner and id(base) in known
        if is_other or not base.__module__.startswith("pyspark"):
            continue
        for name, value in vars(base).items():
            is_public = not name.startswith("_") or name in _OPERATORS
            # None is an operator that Python takes away.
            if is_public and value is not None and not _is_of_tuple(base, name):
                found.setdefault(name, base)
    return found


def attributes(tree: ast.AST) -> set[str]:
    """Return what methods put on `self` for everyone."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and not node.attr.startswith("_")
    }


def _is_of_tuple(base: type, name: str) -> bool:
    return name in {"count", "index"} and issubclass(base, tuple)


def _kind(value: Any) -> str:
    if isinstance(value, staticmethod):
        return f"static method{signature(value.__func__)}"
    if isinstance(value, classmethod):
        return f"class method{_without_first(signature(value.__func__))}"
    if isinstance(value, (property, cached_property)) or type(value).__name__ in {
        "classproperty",
        "_tuplegetter",
    }:
        return "property"
    if callable(value):
        return f"method{_without_first(signature(value))}"
    return "constant"


def signature(function: Any) -> str:
    """Return the parameters as Python writes them, without annotations."""
    try:
        found = inspect.signature(function)
    except ValueError:
        return "(*args)"
    return _written(
        [
            each.replace(annotation=inspect.Parameter.empty)
            for each in found.parameters.values()
        ]
    )


def _written(parameters: list[inspect.Parameter]) -> str:
    return str(
        inspect.Signature(
            [
                each
                if each.default is inspect.Parameter.empty
                else each.replace(default=_Default(each.default))
                for each in parameters
            ]
        )
    )


def _without_first(text: str) -> str:
    """Return a signature's text without `self`."""
    first, _, rest = text[1:-1].partition(", ")
    rest = rest.removeprefix("/, ").removeprefix("/")
    return text if first.startswith("*") else f"({rest})"


class _Default:
    """A default by its `repr` where that is a literal, else by three dots."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        text = self._value if isinstance(self._value, _Source) else repr(self._value)
        try:
            ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return "..."
        return str(text)


class _Source(str):
    """A default as the file has it."""

    __slots__ = ()


def read(root: Path) -> dict[str, dict[str, str]]:
    """Return the names of modules that can't be imported, from their files."""
    found = {}
    for path in _READ:
        file = root.joinpath(*path.split(".")).with_suffix(".py")
        tree = ast.parse(file.read_text("utf-8"))
        names: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                names |= dict(_of_class_read(node))
            elif isinstance(node, ast.FunctionDef):
                names[node.name] = f"function{_signature_read(node.args)}"
        found[path] = {
            name: kind for name, kind in names.items() if not name.startswith("_")
        }
    return found


def _of_class_read(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    made = next((each for each in methods if each.name == "__init__"), None)
    yield (
        node.name,
        "class()"
        if made is None
        else f"class{_without_first(_signature_read(made.args))}",
    )
    for attribute in attributes(node):
        yield f"{node.name}.{attribute}", "attribute"
    for method in methods:
        if method.name.startswith("_") and method.name not in _OPERATORS:
            continue
        marks = {ast.unparse(each) for each in method.decorator_list}
        text = _signature_read(method.args)
        kind = f"method{_without_first(text)}"
        if "property" in marks:
            kind = "property"
        elif "staticmethod" in marks:
            kind = f"static method{text}"
        yield f"{node.name}.{method.name}", kind


def _signature_read(arguments: ast.arguments) -> str:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    of_all = [None] * without + arguments.defaults
    parameters = [
        inspect.Parameter(
            each.arg,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty
            if default is None
            else _Source(ast.unparse(default)),
        )
        for each, default in zip(positional, of_all, strict=True)
    ]
    return _written(parameters)


def main() -> None:
    """Record the PySpark that is installed, or the one in a directory."""
    parser = argparse.ArgumentParser(description="Records PySpark's public names.")
    parser.add_argument("--read", type=Path, metavar="DIR")
    root = parser.parse_args().read
    if root is None:
        version, found = import_module("pyspark").__version__, imported()
    else:
        text = (root / "pyspark" / "version.py").read_text("utf-8")
        version = text.rpartition("=")[2].strip().strip("\"'")
        found = read(root)
    before = json.loads(SURFACE.read_text("utf-8")) if SURFACE.exists() else {}
    recorded = {**before, **_OF_REFERENCE, version: found}
    SURFACE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
