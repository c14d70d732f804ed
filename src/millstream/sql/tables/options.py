"""Options: which the engine goes by, and which are refused, for it would pass them over."""

from collections.abc import Mapping
from typing import Final

from millstream.engine.base.errors import PySparkNotImplementedError

_LACKING: Final = {
    "orc": "read it as Parquet, or with pyarrow.orc and createDataFrame",
    "xml": "read it with xml.etree in an RDD of whole files, and createDataFrame",
}
FILES: Final = frozenset({"parquet", "csv", "json", "text", "avro", "binaryfile"})
DEFAULT_SOURCE: Final = "spark.sql.sources.default"


_LEFT_OUT: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("read", "parquet"): {
        "modifiedbefore": "",
        "modifiedafter": "",
        "datetimerebasemode": "exception|corrected",
        "int96rebasemode": "exception|corrected",
        "mergeschema": "true|false",
        "basepath": "",
    },
    ("read", "csv"): {
        "encoding": "utf-8|utf8",
        "charset": "utf-8|utf8",
        "nanvalue": "nan",
        "positiveinf": "inf",
        "negativeinf": "-inf",
        "columnnameofcorruptrecord": "",
        "chartoescapequoteescaping": "",
        "samplingratio": "1|1.0",
        "enforceschema": "true",
        "emptyvalue": "",
        "locale": "en-us",
        "unescapedquotehandling": "stop_at_delimiter",
        "modifiedbefore": "",
        "modifiedafter": "",
        "timestampntzformat": "",
    },
    ("read", "json"): {
        "mode": "failfast",
        "primitivesasstring": "false",
        "prefersdecimal": "false",
        "allowcomments": "false",
        "allowunquotedfieldnames": "false",
        "allownumericleadingzero": "false",
        "allownumericleadingzeros": "false",
        "allowbackslashescapinganycharacter": "false",
        "columnnameofcorruptrecord": "",
        "dateformat": "yyyy-mm-dd",
        "timestampformat": "",
        "timestampntzformat": "",
        "multiline": "false",
        "allowunquotedcontrolchars": "false",
        "encoding": "utf-8|utf8",
        "linesep": "\n",
        "samplingratio": "1|1.0",
        "dropfieldifallnull": "false",
        "locale": "en-us",
        "modifiedbefore": "",
        "modifiedafter": "",
        "timezone": "",
    },
    ("read", "text"): {"modifiedbefore": "", "modifiedafter": ""},
    ("write", "csv"): {
        "quoteall": "false",
        "dateformat": "yyyy-mm-dd",
        "timestampformat": "",
        "timestampntzformat": "",
        "ignoreleadingwhitespace": "false",
        "ignoretrailingwhitespace": "false",
        "chartoescapequoteescaping": "",
        "encoding": "utf-8|utf8",
        "emptyvalue": "",
        "linesep": "\n",
    },
    ("write", "json"): {
        "dateformat": "yyyy-mm-dd",
        "timestampformat": "",
        "timestampntzformat": "",
        "linesep": "\n",
        "encoding": "utf-8|utf8",
        "ignorenullfields": "true",
    },
    ("write", "parquet"): {},
    ("write", "text"): {},
}
"""Options of Spark that the engine passes over, and the values that change nothing."""
_HINTS: Final = {
    "mode": "a line that isn't JSON fails the query: read.text, then from_json, gives "
    "NULL for one",
    "multiline": "read.text with wholetext=True, then from_json",
    "encoding": "convert the files to UTF-8",
}


def check_options(what: str, source: str, options: Mapping[str, str]) -> None:
    """Refuse an option that the engine would pass over; `what` is "read" or "write".

    Raises:
        PySparkNotImplementedError: There is one; it is named.
    """
    left_out = _LEFT_OUT.get((what, source), {})
    for name, value in options.items():
        fitting = left_out.get(name.lower())
        if fitting is None or (value or "").lower() in fitting.split("|"):
            continue
        msg = f"option {name}={value!r} isn't known when {source} is {_PAST[what]}"
        raise PySparkNotImplementedError(
            msg, hint=_HINTS.get(name.lower(), "leave it out, or convert in a query")
        )


_PAST: Final = {"read": "read", "write": "written"}


def check_source(source: str) -> None:
    """Refuse a format that the engine lacks.

    Raises:
        PySparkNotImplementedError: It does; says what to do instead.
    """
    hint = _LACKING.get(source)
    if hint is not None:
        msg = f"format {source!r} can neither be read nor written"
        raise PySparkNotImplementedError(msg, hint=hint)


def taken(options: dict[str, str], name: str) -> str | None:
    """Take an option out, whatever the case of its name, and return its value."""
    for key in list(options):
        if key.lower() == name:
            return options.pop(key)
    return None
