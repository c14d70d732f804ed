"""Statements: which names a query has, and which commands are about our own views."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

_DIALECT = "spark"
_DESCRIBE = re.compile(
    r"\s*DESC(RIBE)?\s+(QUERY\s+(?P<query>.+?)|(TABLE\s+)?(?P<name>[\w.`]+))\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
_SET = re.compile(
    r"\s*SET\s+(?P<key>[\w.]+)\s*(=\s*(?P<value>.*?)\s*)?;?\s*", re.IGNORECASE
)
_SHOW = re.compile(
    r"\s*SHOW\s+(?P<what>TABLES|VIEWS)(\s+(LIKE\s+)?'(?P<pattern>[^']*)')?\s*;?\s*",
    re.IGNORECASE,
)
_NO_NAMES = frozenset(
    {TokenType.STRING, TokenType.NUMBER, TokenType.DOT, TokenType.COMMA}
)
_BEFORE_TABLES = frozenset(
    {TokenType.FROM, TokenType.JOIN, TokenType.TABLE, TokenType.COMMA}
)
_CLAUSES = frozenset(
    {
        TokenType.FROM,
        TokenType.GROUP_BY,
        TokenType.HAVING,
        TokenType.JOIN,
        TokenType.ON,
        TokenType.ORDER_BY,
        TokenType.SELECT,
        TokenType.TABLE,
        TokenType.USING,
        TokenType.WHERE,
        TokenType.WINDOW,
    }
)


_ASKS = frozenset(
    {"SELECT", "FROM", "VALUES", "TABLE", "EXPLAIN", "DESCRIBE", "DESC", "SHOW", "("}
)


@dataclass(frozen=True, slots=True)
class CreateView:
    """A temporary view of a query."""

    name: str
    query: str
    is_replacing: bool


@dataclass(frozen=True, slots=True)
class DropView:
    """A view that is to go."""

    name: str
    is_sure: bool
    """Whether it is an error that there is none."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A view, or a query under a new name, whose outcome is to be kept."""

    name: str
    query: str | None
    is_kept: bool
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Describe:
    """The columns of a view or table, or of a query."""

    name: str
    query: str | None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, with the value that it is to have."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class ShowTables:
    """All tables and views, or those that a pattern fits; views alone."""

    pattern: str | None
    is_views: bool


Command = CreateView | DropView | Cache | Describe | Setting | ShowTables


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a query, dotted ones too, and where each is in its text."""

    text: str
    places: Mapping[str, list[tuple[int, int]]]
    tables: frozenset[str]
    """Those that stand where a table does, not a column, at least once."""

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def spellings(self, name: str) -> set[str]:
        """Return how the text writes a name: the engine tells upper case from lower."""
        found = {self.text[start:end] for start, end in self.places[name]}
        return {each.strip("`") for each in found}

    def replaced(self, names: Mapping[str, str]) -> str:
        """Return the text with other names for some."""
        spots = [
            (start, end, new)
            for old, new in names.items()
            for start, end in self.places.get(old, [])
        ]
        text = self.text
        for start, end, new in sorted(spots, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def names_of(text: str) -> Names:
    """Return what may be the name of a view in a query: no text, number or comment is."""
    places: dict[str, list[tuple[int, int]]] = {}
    tables: set[str] = set()
    tokens = _tokens(text)
    is_of_tables = False
    for place, token in enumerate(tokens):
        if token.token_type in _CLAUSES:
            is_of_tables = token.token_type in _BEFORE_TABLES
        if token.token_type in _NO_NAMES:
            continue
        is_table = is_of_tables and tokens[place - 1].token_type in _BEFORE_TABLES
        name = token.text.lower()
        places.setdefault(name, []).append((token.start, token.end + 1))
        tables |= {name} if is_table else set()
        rest = tokens[place + 1 : place + 3]
        is_after_dot = place and tokens[place - 1].token_type == TokenType.DOT
        if len(rest) == 2 and rest[0].token_type == TokenType.DOT and not is_after_dot:
            dotted = f"{name}.{rest[1].text.lower()}"
            places.setdefault(dotted, []).append((token.start, rest[1].end + 1))
            tables |= {dotted} if is_table else set()
    return Names(text, places, frozenset(tables))


def only_asks(text: str) -> bool:
    """Say whether the engine runs nothing when it is told of a text: it only asks."""
    words = [each.text.upper() for each in _tokens(text)]
    if words[:1] == ["WITH"]:
        return "INSERT" not in words
    return bool(words) and words[0] in _ASKS


def command_of(text: str) -> Command | None:
    """Return the command that a text is, if it is one about views; else None."""
    tokens = _tokens(text)
    words = [each.text.upper() for each in tokens]
    match words[:1]:
        case ["CREATE"]:
            return _created(text, tokens, words)
        case ["DROP"]:
            return _dropped(tokens, words)
        case ["CACHE"] | ["UNCACHE"]:
            return _cached(text, tokens, words)
        case ["DESCRIBE"] | ["DESC"]:
            told = _DESCRIBE.fullmatch(text)
            return None if told is None else Describe(told["name"], told["query"])
        case ["SET"]:
            told = _SET.fullmatch(text)
            return None if told is None else Setting(told["key"], told["value"])
        case ["SHOW"]:
            # Its rest is one token.
            shown = _SHOW.fullmatch(text)
            if shown is None:
                return None
            return ShowTables(shown["pattern"], shown["what"].upper() == "VIEWS")
        case _:
            return None


def _created(text: str, tokens: list[Token], words: list[str]) -> CreateView | None:
    rest = words[1:]
    is_replacing = rest[:2] == ["OR", "REPLACE"]
    rest = rest[2:] if is_replacing else rest
    is_global = rest[:1] == ["GLOBAL"]
    rest = rest[1:] if is_global else rest
    if rest[:1] not in (["TEMP"], ["TEMPORARY"]) or rest[1:2] != ["VIEW"]:
        return None
    place = len(words) - len(rest) + 2
    if "AS" not in words[place:]:
        return None
    start = place + words[place:].index("AS")
    name = _joined(tokens[place:start])
    query = text[tokens[start].end + 1 :].strip().rstrip(";")
    return CreateView(f"global_temp.{name}" if is_global else name, query, is_replacing)


def _dropped(tokens: list[Token], words: list[str]) -> DropView | None:
    if words[1:2] != ["VIEW"]:
        return None
    is_lenient = words[2:4] == ["IF", "EXISTS"]
    return DropView(_joined(tokens[4 if is_lenient else 2 :]), not is_lenient)


def _cached(text: str, tokens: list[Token], words: list[str]) -> Cache | None:
    is_kept = words[0] == "CACHE"
    rest = [each for each in words[1:3] if each in ("LAZY", "TABLE")]
    if "TABLE" not in rest:
        return None
    place = 1 + len(rest)
    is_lenient = words[place : place + 2] == ["IF", "EXISTS"]
    place += 2 if is_lenient else 0
    if "AS" in words[place:]:
        start = place + words[place:].index("AS")
        query = text[tokens[start].end + 1 :].strip().rstrip(";")
        return Cache(_joined(tokens[place:start]), query, is_kept)
    return Cache(_joined(tokens[place:]), None, is_kept, not is_lenient)


def _joined(tokens: Iterable[Token]) -> str:
    return "".join(
        each.text for each in tokens if each.token_type != TokenType.SEMICOLON
    )


def _tokens(text: str) -> list[Token]:
    try:
        return sqlglot.tokenize(text, read=_DIALECT)
    except sqlglot.errors.TokenError:
        return []  # The engine says what is wrong with it.
