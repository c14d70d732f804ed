"""Repairs: what queries say is changed where the engine would answer otherwise than Spark.

Functions that it has wrong are written in terms of others where that gives Spark's answer,
and refused else: no answer is better than a wrong one. The texts of queries are changed
token by token; the rest of each is left as it is.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from millstream.errors import UnsupportedOperationException

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

_DIALECT = "spark"
_REFUSED: Final = {
    "bround": "it rounds halves up here; round() is right, and a udf can do the rest",
    "rint": "it rounds halves away from zero here; use round(), or a udf",
}
"""Functions whose answer would be wrong, and what to do instead."""
_SHARE = "millstream__share"
PERCENTILES: Final = frozenset({"percentile_approx", "approx_percentile"})


def repaired(text: str) -> str:
    """Return a query that says the same to the engine as `text` to Spark.

    Raises:
        UnsupportedOperationException: It calls a function that would answer wrongly.
    """
    return _with_functions(_with_quotes(text))


def check_function(name: str) -> None:
    """Raise if a function would answer wrongly.

    Raises:
        UnsupportedOperationException: It would.
    """
    reason = _REFUSED.get(name.lower())
    if reason is not None:
        msg = f"{name}() doesn't give Spark's answer on this engine: {reason}"
        raise UnsupportedOperationException(msg, hint="see docs/sql/differences.md")


# Quotes.


def _with_quotes(text: str) -> str:
    """Return a query whose doubled quotes, which stand for one, are escaped instead."""
    if "''" not in text and '""' not in text:
        return text
    made: list[str] = []
    place = 0
    while place < len(text):
        end = _end_of_comment(text, place)
        if end is None and text[place] in "'\"":
            is_raw = text[max(0, place - 1) : place].lower() == "r"
            part, end = _literal(text, place, is_raw=is_raw)
            made.append(part)
        else:
            end = end or (
                _end_of_name(text, place) if text[place] == "`" else place + 1
            )
            made.append(text[place:end])
        place = end
    return "".join(made)


def _end_of_comment(text: str, start: int) -> int | None:
    if text.startswith("--", start):
        end = text.find("\n", start)
    elif text.startswith("/*", start):
        end = text.find("*/", start)
        end = end if end < 0 else end + 2
    else:
        return None
    return len(text) if end < 0 else end


def _end_of_name(text: str, start: int) -> int:
    end = text.find("`", start + 1)
    return len(text) if end < 0 else end + 1


def _literal(text: str, start: int, *, is_raw: bool) -> tuple[str, int]:
    """Return a literal as the engine has it, and where it ends."""
    quote = text[start]
    made = [quote]
    place = start + 1
    while place < len(text):
        letter = text[place]
        if letter == "\\" and not is_raw:
            made.append(text[place : place + 2])
            place += 2
        elif letter != quote:
            made.append(letter)
            place += 1
        elif text[place + 1 : place + 2] == quote and not is_raw:
            made.append(f"\\{quote}")
            place += 2
        else:
            return "".join((*made, quote)), place + 1
    return "".join(made), place


# Functions.


def _with_functions(text: str) -> str:
    lowered = text.lower()
    if not any(name in lowered for name in (*_REFUSED, *PERCENTILES, "weekday")):
        return text
    import sqlglot  # noqa: PLC0415  Of the extra, and only for such queries.
    from sqlglot.tokenizer_core import TokenType  # noqa: PLC0415  As above.

    try:
        tokens = sqlglot.tokenize(text, read=_DIALECT)
    except sqlglot.errors.TokenError:
        return text  # The engine says what is wrong with it.
    for place, token in enumerate(tokens[:-1]):
        if tokens[place + 1].token_type != TokenType.L_PAREN:
            continue
        name = token.text.lower()
        check_function(name)
        rewrite = _REWRITTEN.get(name)
        if rewrite is None:
            continue
        arguments, last = _arguments(text, tokens, place + 1)
        if last is None:
            return text
        made = rewrite([_with_functions(each) for each in arguments])
        rest = _with_functions(text[last.end + 1 :])
        return f"{text[: token.start]}{made}{rest}"
    return text


def _arguments(
    text: str, tokens: "Sequence[Token]", opening: int
) -> "tuple[list[str], Token | None]":
    """Return the texts of a call's arguments, and its closing token."""
    from sqlglot.tokenizer_core import TokenType  # noqa: PLC0415  As above.

    made: list[str] = []
    start = tokens[opening].end + 1
    depth = 0
    for token in tokens[opening:]:
        if token.token_type in (TokenType.L_PAREN, TokenType.L_BRACKET):
            depth += 1
        elif token.token_type in (TokenType.R_PAREN, TokenType.R_BRACKET):
            depth -= 1
            if not depth:
                return [*made, text[start : token.start].strip()], token
        elif token.token_type == TokenType.COMMA and depth == 1:
            made.append(text[start : token.start].strip())
            start = token.end + 1
    return made, None


def _percentile(arguments: Sequence[str]) -> str:
    """Return the smallest value that so great a share of the values doesn't exceed."""
    if len(arguments) < 2:
        msg = "percentile_approx needs a column, and a share from 0 to 1"
        raise UnsupportedOperationException(msg)
    values, share = arguments[:2]
    # Not percentile_disc, whose outcome is a double whatever the column is.
    if share.lower().startswith("array"):
        return f"transform({share}, {_SHARE} -> {_at_share(values, _SHARE)})"
    return _at_share(values, f"({share})")


def _at_share(values: str, share: str) -> str:
    ordered = f"sort_array(collect_list({values}))"
    place = f"greatest(1, cast(ceil({share} * size({ordered})) as int))"
    return f"try_element_at({ordered}, {place})"


def _weekday(arguments: Sequence[str]) -> str:
    return f"((dayofweek({', '.join(arguments)}) + 5) % 7)"


_REWRITTEN: Final[dict[str, Callable[[Sequence[str]], str]]] = {
    **dict.fromkeys(PERCENTILES, _percentile),
    "weekday": _weekday,
}


# The same for what isn't text.


def install_in_expressions(expressions: Any) -> None:
    """Have the client's expressions say what Spark's would; `expressions` is its module."""
    make = expressions.UnresolvedFunction.__init__
    take = expressions.SQLExpression.__init__

    def checked(self: Any, name: str, *args: Any, **more: Any) -> None:
        check_function(name)
        make(self, name, *args, **more)

    def changed(self: Any, expr: str) -> None:
        take(self, repaired(expr))

    expressions.UnresolvedFunction.__init__ = checked
    expressions.SQLExpression.__init__ = changed


def install_in_functions(functions: Any) -> None:
    """Have the client's functions say what Spark's would; `functions` is its module."""

    def percentile_approx(col: Any, percentage: Any, accuracy: Any = 10000) -> Any:
        del accuracy  # It is exact.
        column = functions.col(col) if isinstance(col, str) else col
        if isinstance(percentage, (list, tuple)):
            each = [percentile(column, share, functions) for share in percentage]
            return functions.array(*each)
        return percentile(column, percentage, functions)

    def weekday(col: Any) -> Any:
        return (functions.dayofweek(col) + 5) % 7

    functions.percentile_approx = functions.approx_percentile = percentile_approx
    functions.weekday = weekday


def percentile(column: Any, share: Any, functions: Any) -> Any:
    """Return the smallest value that so great a share of a column doesn't exceed."""
    ordered = functions.sort_array(functions.collect_list(column))
    rank = functions.ceil(functions.lit(share) * functions.size(ordered))
    place = functions.greatest(functions.lit(1), rank.cast("int"))
    return functions.try_element_at(ordered, place)
