"""Surface: what surface.json has of PySpark, beside what is here under the same names."""

import ast
import inspect
import json
import textwrap
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from tests.parity.record import SURFACE, attributes, signature

from millstream import compat
from millstream.sql import client

NEWEST_FIRST: Final = ("4.3.0", "3.5.9", "2.4.8", "1.6 (from the reference)")
_MISSING: Final = object()
# Whose objects are made by the library are of a class of ours, or of the client's, that
# isn't the one that a program imports.
_MADE: Final = {
    "pyspark.sql.Catalog": ["millstream.sql.connected:_Catalog"],
    "pyspark.sql.Column": ["spark_client.sql.connect.column:Column"],
    "pyspark.sql.DataFrame": ["spark_client.sql.connect.dataframe:DataFrame"],
    "pyspark.sql.DataFrameNaFunctions": [
        "spark_client.sql.connect.dataframe:DataFrameNaFunctions"
    ],
    "pyspark.sql.DataFrameStatFunctions": [
        "spark_client.sql.connect.dataframe:DataFrameStatFunctions"
    ],
    "pyspark.sql.DataFrameReader": ["millstream.sql.tables.readers:Reader"],
    "pyspark.sql.DataFrameWriter": ["millstream.sql.tables.writers:Writer"],
    "pyspark.sql.DataFrameWriterV2": [
        "spark_client.sql.connect.readwriter:DataFrameWriterV2"
    ],
    "pyspark.sql.GroupedData": ["spark_client.sql.connect.group:GroupedData"],
    "pyspark.sql.SQLContext": [
        "millstream.sql.session:SQLContext",
        "millstream.sql.session:SparkSession",
        "millstream.sql.connected:ConnectedSession",
    ],
    "pyspark.sql.SparkSession": [
        "millstream.sql.session:SparkSession",
        "millstream.sql.connected:ConnectedSession",
    ],
    "pyspark.sql.SparkSession.Builder": ["millstream.sql.session:_Builder"],
    "pyspark.sql.UDFRegistration": ["spark_client.sql.connect.udf:UDFRegistration"],
    "pyspark.sql.UDTFRegistration": ["spark_client.sql.connect.udtf:UDTFRegistration"],
    "pyspark.sql.WindowSpec": ["spark_client.sql.connect.window:WindowSpec"],
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A public name of PySpark's, as in the newest recorded version that has it."""

    module: str
    name: str
    kind: str
    parameters: str
    versions: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where a program finds it: "pyspark.RDD.map"."""
        return f"{self.module}.{self.name}"


@cache
def recorded() -> dict[str, Recorded]:
    """Return all that was recorded, by path."""
    versions = json.loads(SURFACE.read_text("utf-8"))
    found: dict[str, Recorded] = {}
    for version in NEWEST_FIRST:
        for module, names in versions[version].items():
            for name, text in names.items():
                kind, bracket, rest = text.partition("(")
                new = Recorded(module, name, kind, bracket + rest, (version,))
                old = found.setdefault(new.path, new)
                if old is not new:
                    found[new.path] = Recorded(
                        old.module,
                        old.name,
                        old.kind,
                        old.parameters,
                        (*old.versions, version),
                    )
    return found


def above(path: str, said: Container[str]) -> str | None:
    """Return the entry that a path has in a list, of its own or of what it is in."""
    while path not in said:
        path, dot, _ = path.rpartition(".")
        if not dot:
            return None
    return path


def is_here(path: str) -> bool:
    """Return whether a program gets anything by a path of PySpark's."""
    try:
        here(path)
    except AttributeError:
        return False
    return True


def here(path: str) -> Any:
    """Return what a program gets by a path of PySpark's.

    Of a class it is what the class has: a method that isn't bound, a property; None for
    what an object gets when it is made.

    Raises:
        AttributeError: Nothing.
    """
    each = recorded()[path]
    owner, _, member = path.rpartition(".")
    if each.kind == "module":
        client.install()
        target = compat.target_of(path)
        if target is None or find_spec(target) is None:
            msg = f"no module {path}"
            raise AttributeError(msg)
        return None
    if owner == each.module:
        return getattr(_module(owner), member)
    for candidate in _classes(owner):
        found = inspect.getattr_static(candidate, member, _MISSING)
        if found is not _MISSING:
            return found
        if member in _kept_by(candidate):
            return None
    msg = f"{owner} has no {member}"
    raise AttributeError(msg)


@cache
def _module(path: str) -> Any:
    target = compat.target_of(path)
    if target is None:
        msg = f"no module {path}"
        raise AttributeError(msg)
    client.install()
    return import_module(target)


@cache
def _classes(path: str) -> list[type]:
    """Return the classes that stand for one of PySpark's, the nearest first."""
    import_module("millstream.sql.frames").install()
    made = _MADE.get(path)
    if made is None:
        return [here(path)]
    homes = [each.partition(":") for each in made]
    return [getattr(import_module(module), name) for module, _, name in homes]


@cache
def _kept_by(owner: type) -> frozenset[str]:
    """Return the attributes that an object gets when it is made."""
    found: set[str] = set()
    for base in owner.__mro__:
        with suppress(OSError, TypeError):
            source = textwrap.dedent(inspect.getsource(base))
            found |= attributes(ast.parse(source))
    return frozenset(found)


def unlike(each: Recorded, found: Any) -> str | None:
    """Return how what is here is no stand-in for PySpark's, or None if it is one."""
    if each.kind.startswith("same as "):
        named = each.kind.removeprefix("same as ")
        return None if here(named) is found else f"another object than {named}"
    if each.kind in {"attribute", "constant", "module"}:
        return None
    is_plain = isinstance(found, (property, cached_property)) or not callable(
        _function(found)
    )
    if each.kind == "property":
        return None if is_plain else "a method, no property"
    if is_plain:
        return "a property, no method"
    if each.kind == "class" and not inspect.isclass(found):
        return f"no class: {found!r}"
    if each.name.endswith("__") and not each.name.endswith("__call__"):
        # Python calls it, by place.
        return None
    is_method = each.kind.endswith("method") and not isinstance(found, staticmethod)
    have = parameters(signature_of(found))
    return _unlike_parameters(parameters(each.parameters), have[is_method:])


def _function(found: Any) -> Any:
    return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found


def signature_of(found: Any) -> str:
    """Return a function's parameters as they are recorded, with `self`."""
    return signature(_function(found))


def parameters(text: str) -> list[inspect.Parameter]:
    """Return the parameters that a signature's text has."""
    made: dict[str, Any] = {}
    exec(f"def function{text}: ...", made)
    return list(inspect.signature(made["function"]).parameters.values())


def _unlike_parameters(
    wanted: list[inspect.Parameter], have: list[inspect.Parameter]
) -> str | None:
    """Compare: the same names in the same order, others only behind, with defaults."""
    kinds = inspect.Parameter
    names = [each.name for each in have]
    by_name = {each.name: each for each in have}
    places = [each.name for each in have if each.kind is kinds.POSITIONAL_OR_KEYWORD]
    rests = {each.kind for each in have}
    place = 0
    for each in wanted:
        if each.kind in {kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD}:
            if each.kind not in rests:
                return f"takes no {each}"
            continue
        if each.name.startswith("_"):
            continue
        mine = by_name.get(each.name)
        if mine is None:
            return f"takes no {each.name}: ({', '.join(names)})"
        if each.kind is kinds.POSITIONAL_OR_KEYWORD:
            if places[place : place + 1] != [each.name]:
                return f"{each.name} in another place: ({', '.join(names)})"
            place += 1
        if each.default is not kinds.empty and not _is_alike(each, mine):
            return f"{each} is here {mine}"
    known = {each.name for each in wanted}
    for mine in have:
        is_needed = mine.default is kinds.empty and mine.kind not in {
            kinds.VAR_POSITIONAL,
            kinds.VAR_KEYWORD,
        }
        if is_needed and mine.name not in known:
            return f"needs {mine.name}, too"
    return None


def _is_alike(wanted: inspect.Parameter, mine: inspect.Parameter) -> bool:
    """Return whether a default is PySpark's; one that is no literal need only be there."""
    if mine.default is inspect.Parameter.empty:
        return False
    return ... in (wanted.default, mine.default) or mine.default == wanted.default


def always_raises(found: Any) -> bool:
    """Return whether a method does nothing but raise an error."""
    if isinstance(found, property):
        found = found.fget
    function = inspect.unwrap(_function(found))
    if not inspect.isfunction(function) or function.__code__.co_filename == "<string>":
        # Not of a file: a dataclass's.
        return False
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    returns = any(
        isinstance(each, (ast.Return, ast.Yield, ast.YieldFrom))
        for each in ast.walk(node)
    )
    body = getattr(node, "body", None)
    return isinstance(body, list) and isinstance(body[-1], ast.Raise) and not returns
