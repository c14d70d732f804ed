"""CSV files: what the engine passes over when it reads them, done by a query on texts."""

from collections.abc import Mapping
from typing import Any, Final

from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.sql import client
from millstream.sql.tables.options import taken
from millstream.sql.tables.paths import Files, Paths, quoted

_frames: Any = client.module("sql.connect.dataframe")
_types = client.module("sql.types")


_OURS: Final = (
    "nullvalue",
    "mode",
    "dateformat",
    "timestampformat",
    "ignoreleadingwhitespace",
    "ignoretrailingwhitespace",
)
"""Options that the engine passes over, and that a query on texts does."""
_MODES: Final = ("permissive", "failfast")


def csv_frame(session: Any, places: Paths, options: dict[str, str], schema: Any) -> Any:
    """Return a frame of CSV files: texts are read, and become values in the query.

    So a value that isn't of its column's type is NULL, as Spark has it.
    """
    ours = {name: taken(options, name) for name in _OURS}
    ours["mode"] = (ours["mode"] or "PERMISSIVE").lower()
    if ours["mode"] not in _MODES:
        msg = f"option mode={ours['mode']!r} isn't known when csv is read"
        raise PySparkNotImplementedError(
            msg, hint="PERMISSIVE or FAILFAST, then filter"
        )
    for name in list(options):
        if name.lower() in ("sep", "delimiter"):
            options[name] = options[name].replace("\\t", "\t")
    is_inferred = any(
        name.lower() == "inferschema" and value.lower() == "true"
        for name, value in options.items()
    )
    as_given = Files(
        places,
        format="csv",
        schema=schema.json() if schema is not None else "",
        options=options,
    )
    frame = _frames.DataFrame(as_given, session)
    is_plain = not any(ours[name] for name in _OURS if name != "mode")
    if schema is None and is_plain:
        return frame
    if schema is None and is_inferred:
        msg = "inferSchema can't be used with nullValue, formats or trimming of values"
        raise PySparkNotImplementedError(msg, hint="pass a schema")
    wanted = frame.schema if schema is None else schema
    texts = _types.StructType(
        [_types.StructField(each.name, _types.StringType()) for each in wanted.fields]
    )
    read = Files(places, format="csv", schema=texts.json(), options=options)
    columns = [_value(each, ours) for each in wanted.fields]
    return _frames.DataFrame(read, session).select(*columns)


def _value(field: Any, options: Mapping[str, str | None]) -> Any:
    functions = client.module("sql.connect.functions.builtin")
    text = functions.col(quoted(field.name))
    if _is_true(options["ignoreleadingwhitespace"]):
        text = functions.ltrim(text)
    if _is_true(options["ignoretrailingwhitespace"]):
        text = functions.rtrim(text)
    if options["nullvalue"]:
        text = functions.nullif(text, functions.lit(options["nullvalue"]))
    kind, is_strict = field.dataType, options["mode"] == "failfast"
    if isinstance(kind, _types.StringType):
        return text.alias(field.name)
    form = None
    if isinstance(kind, _types.DateType):
        form = options["dateformat"]
    elif isinstance(kind, _types.TimestampType):
        form = options["timestampformat"]
    if form is None:
        made = text.cast(kind) if is_strict else text.try_cast(kind)
    else:
        parse = functions.to_timestamp if is_strict else functions.try_to_timestamp
        made = parse(text, functions.lit(form)).cast(kind)
    return made.alias(field.name)


def _is_true(value: str | None) -> bool:
    return (value or "").lower() == "true"
