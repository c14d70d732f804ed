"""Text in columns: the methods and operators of str, exactly as Python means them.

What Polars does just as Python, it does; all else are Python's own methods, in kernels.
The methods of bytes are of the second kind.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar import formatting
from millstream.engine.columnar.kernels import (
    checked,
    computed,
    corrected_unchecked,
    with_values,
)
from millstream.engine.columnar.shapes import TEXT, Kind, Plain, dtype_of
from millstream.engine.columnar.values import (
    Constant,
    List,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
    as_scalar,
    name_of,
)

# What Python takes for white space; to Polars the separators \x1c to \x1f are none.
WHITE_SPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_OTHER_SPACE = r"[^\S ]|[\x1c-\x1f]"
_EXPANSION_MAX = 16

# The kind of what a method returns, or of the items of the list that it returns.
_LISTS = frozenset({"split", "rsplit", "splitlines"})
_TRIPLES = frozenset({"partition", "rpartition"})
_OWN_KIND = frozenset(
    [
        "capitalize",
        "casefold",
        "center",
        "expandtabs",
        "ljust",
        "lower",
        "lstrip",
        "removeprefix",
        "removesuffix",
        "replace",
        "rjust",
        "rstrip",
        "strip",
        "swapcase",
        "title",
        "translate",
        "upper",
        "zfill",
    ]
)
_INTS = frozenset({"count", "find", "index", "rfind", "rindex"})
_BOOLS = frozenset(
    [
        "endswith",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isidentifier",
        "islower",
        "isnumeric",
        "isprintable",
        "isspace",
        "istitle",
        "isupper",
        "startswith",
    ]
)

# Which texts of ASCII characters only have a property, as regular expressions.
_PROPERTIES = {
    "isalnum": r"^[0-9A-Za-z]+$",
    "isalpha": r"^[A-Za-z]+$",
    "isascii": r"",
    "isdecimal": r"^[0-9]+$",
    "isdigit": r"^[0-9]+$",
    "isidentifier": r"^[A-Za-z_][0-9A-Za-z_]*$",
    "islower": r"^[^A-Z]*[a-z][^A-Z]*$",
    "isnumeric": r"^[0-9]+$",
    "isprintable": r"^[ -~]*$",
    "isspace": r"^[\t-\r\x1c-\x1f ]+$",
    "isupper": r"^[^a-z]*[A-Z][^a-z]*$",
}


def call_method(
    t: Translation,
    text: Value,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return what the method `name` of a str, or of bytes, returns.

    Raises:
        Refusal: It isn't known in columns, or not with these arguments.
    """
    if name == "format" and isinstance(text, Constant):
        return formatting.format_text(t, text.value, args, keywords)
    receiver = as_scalar(text, f"what .{name}() is called of")
    expr = t.required(receiver, f".{name}()")
    native = _METHODS.get(name)
    if receiver.kind is Kind.STR and native is not None and not keywords:
        made = native(t, expr, *args) if len(args) <= 2 else None
        if made is not None:
            return made
    return _by_python(t, Scalar(receiver.kind, expr), name, args, keywords)


def _by_python(
    t: Translation,
    receiver: Scalar,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return what Python's own method says of each record's values."""
    kind = receiver.kind
    method = getattr(kind.value, name, None)
    if kind not in {Kind.STR, Kind.BYTES} or method is None:
        msg = f"{name_of(receiver)}.{name}() isn't known"
        raise Refusal(msg)
    names = tuple(keywords)

    def call(*values: Any) -> Any:
        count = len(values) - len(names)
        return method(*values[:count], **dict(zip(names, values[count:], strict=True)))

    asked = with_values(call, [receiver, *args, *keywords.values()])
    if asked is None:
        msg = f"{name_of(receiver)}.{name}() isn't known with such arguments"
        raise Refusal(msg)
    columns, function = asked
    inputs = [t.required(column, f".{name}()") for column in columns]
    reason = f"an error of {name_of(receiver)}.{name}()"
    result = _result_of(name, kind)
    if name in _LISTS:
        made = computed(t, inputs, function, pl.List(dtype_of(result)), reason)
        return List(Plain(result), (made,))
    if name in _TRIPLES:
        listed = pl.List(dtype_of(result))
        made = computed(t, inputs, lambda *of: list(function(*of)), listed, reason)
        return Tuple(tuple(Scalar(result, made.list.get(n)) for n in range(3)))
    return Scalar(result, computed(t, inputs, function, dtype_of(result), reason))


def _result_of(name: str, kind: Kind) -> Kind:
    if name in _OWN_KIND or name in _LISTS or name in _TRIPLES:
        return kind
    if name in _INTS:
        return Kind.INT
    if name in _BOOLS:
        return Kind.BOOL
    if name == "encode":
        return Kind.BYTES
    if name in {"decode", "hex"}:
        return Kind.STR
    msg = f"{kind.value.__name__}.{name}() isn't known"
    raise Refusal(msg)


# The methods that Polars has too. Each returns None if it isn't for these arguments.


def is_not_ascii(text: pl.Expr) -> pl.Expr:
    """Return whether there is anything in a text that isn't ASCII."""
    return text.str.len_bytes() != text.str.len_chars()


def _constant_text(value: Value) -> str | None:
    is_text = isinstance(value, Constant) and type(value.value) is str
    return value.value if is_text and isinstance(value, Constant) else None


def _is_text(value: Value) -> bool:
    is_column = isinstance(value, Scalar) and value.kind is Kind.STR
    return is_column or _constant_text(value) is not None


def _text_expr(t: Translation, value: Value, operation: str) -> pl.Expr:
    return t.required(as_scalar(value, f"an argument of {operation}"), operation)


def _split(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    if not args or (args == (Constant(None),)):
        # One space for each, and then what is between spaces; nothing is no word.
        spaced = text.str.replace_all(_OTHER_SPACE, " ")
        words = spaced.str.split(" ").list.eval(
            pl.element().filter(pl.element().str.len_bytes() > 0)
        )
        return List(TEXT, (t.let(words),))
    separator = args[0]
    if not _is_text(separator):
        return None
    if _constant_text(separator) == "":
        msg = "a text is split by nothing"
        raise Refusal(msg)
    times = -1
    if len(args) == 2:
        if not isinstance(args[1], Constant) or type(args[1].value) is not int:
            return None
        times = args[1].value
    by = _text_expr(t, separator, ".split()")
    if isinstance(separator, Scalar):
        t.guard(by.str.len_bytes() == 0, "a text is split by nothing")
    if times < 0:
        return List(TEXT, (t.let(text.str.split(by)),))
    if not 0 < times <= _EXPANSION_MAX or isinstance(separator, Scalar):
        return None
    parts = t.let(text.str.splitn(by, times + 1))
    fields = [parts.struct.field(f"field_{n}") for n in range(times + 1)]
    return List(TEXT, (t.let(pl.concat_list(fields).list.drop_nulls()),))


def _rsplit(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    # From which end matters where a separator may overlap itself.
    by = _constant_text(args[0]) if args else ""
    if len(args) > 1 or (args and (by is None or len(by) != 1)):
        return None
    return _split(t, text, *args)


def _partition(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    by = _constant_text(args[0]) if len(args) == 1 else None
    if not by:
        return None
    parts = t.let(text.str.splitn(by, 2))
    tail = parts.struct.field("field_1")
    found = pl.when(tail.is_null()).then(pl.lit("")).otherwise(pl.lit(by))
    exprs = (parts.struct.field("field_0"), found, tail.fill_null(""))
    return Tuple(tuple(Scalar(Kind.STR, expr) for expr in exprs))


def _stripping(method: str) -> Callable[..., Value | None]:
    def strip(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        given = args[0] if args else Constant(None)
        if len(args) > 1 or not isinstance(given, Constant):
            return None
        characters = WHITE_SPACE if given.value is None else _constant_text(given)
        if characters is None:
            return None
        return Scalar(Kind.STR, getattr(text.str, method)(characters))

    return strip


def _casing(native: str, method: Callable[[str], str]) -> Callable[..., Value | None]:
    def change(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        if args:
            return None
        changed = getattr(text.str, native)()
        odd = is_not_ascii(text)
        return Scalar(Kind.STR, corrected_unchecked(changed, odd, [text], method))

    return change


def _capitalize(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    if args:
        return None
    first, rest = text.str.slice(0, 1), text.str.slice(1)
    changed = pl.concat_str(first.str.to_uppercase(), rest.str.to_lowercase())
    odd = is_not_ascii(text)
    made = corrected_unchecked(changed, odd, [text], str.capitalize)
    return Scalar(Kind.STR, made)


def _having(name: str) -> Callable[..., Value | None]:
    pattern = _PROPERTIES[name]

    def ask(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        if args:
            return None
        if name == "isascii":
            return Scalar(Kind.BOOL, ~is_not_ascii(text))
        answer = text.str.contains(pattern)
        odd = is_not_ascii(text)
        made = corrected_unchecked(answer, odd, [text], getattr(str, name))
        return Scalar(Kind.BOOL, made)

    return ask


def _at_an_end(method: str, name: str) -> Callable[..., Value | None]:
    def ask(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        if len(args) != 1:
            return None
        options: Sequence[Value] = args
        match args[0]:
            case Constant(tuple() as constants):
                options = [Constant(each) for each in constants]
            case Tuple(items):
                options = items
            case _:
                pass
        if not all(map(_is_text, options)):
            return None
        each = [_text_expr(t, option, f".{name}()") for option in options]
        answers = [getattr(text.str, method)(option) for option in each]
        return Scalar(Kind.BOOL, pl.any_horizontal(pl.lit(False), *answers))

    return ask


def _replace(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    if len(args) != 2 or _constant_text(args[0]) is None or not _is_text(args[1]):
        return None
    new = _text_expr(t, args[1], ".replace()")
    old = _constant_text(args[0]) or ""
    if isinstance(args[1], Scalar) and len(old) == 0:
        return None
    return Scalar(Kind.STR, text.str.replace_all(old, new, literal=True))


def _count(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    needle = _constant_text(args[0]) if len(args) == 1 else None
    if not needle:
        return None
    counted = text.str.count_matches(needle, literal=True)
    return Scalar(Kind.INT, counted.cast(pl.Int64))


def _position(t: Translation, text: pl.Expr, *args: Value) -> pl.Expr | None:
    """Return where a text is found, in characters, or null; None if not known how."""
    needle = _constant_text(args[0]) if len(args) == 1 else None
    if not needle:
        return None
    parts = t.let(text.str.splitn(needle, 2))
    before = parts.struct.field("field_0").str.len_chars().cast(pl.Int64)
    return pl.when(parts.struct.field("field_1").is_not_null()).then(before)


def _find(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    position = _position(t, text, *args)
    return None if position is None else Scalar(Kind.INT, position.fill_null(-1))


def _index(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    position = _position(t, text, *args)
    if position is None:
        return None
    return Scalar(Kind.INT, checked(t, position, "a text that isn't found"))


def _join(t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    match args:
        case (List(item, exprs),):
            if item != TEXT:
                msg = "what is joined isn't text"
                raise Refusal(msg)
            return Scalar(Kind.STR, exprs[0].list.join(text, ignore_nulls=False))
        case (Tuple(items),):
            if not items or not all(map(_is_text, items)):
                msg = "what is joined isn't text"
                raise Refusal(msg)
            each = [_text_expr(t, item, ".join()") for item in items]
            parts = [part for one in each for part in (text, one)][1:]
            return Scalar(Kind.STR, pl.concat_str(parts))
        case (Scalar(Kind.STR),):
            inputs = [text, _text_expr(t, args[0], ".join()")]
            made = computed(t, inputs, str.join, pl.String, "an error of str.join()")
            return Scalar(Kind.STR, made)
        case _:
            msg = "what is joined isn't known"
            raise Refusal(msg)


def _justifying(method: str) -> Callable[..., Value | None]:
    def pad(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        if not args or not isinstance(args[0], Constant):
            return None
        width = args[0].value
        fill = _constant_text(args[1]) if len(args) == 2 else " "
        if type(width) is not int or fill is None or len(fill) != 1:
            return None
        if not 0 <= width <= 2**16:
            return None
        return Scalar(Kind.STR, getattr(text.str, method)(width, fill))

    return pad


def _removing(method: str) -> Callable[..., Value | None]:
    def remove(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
        what = _constant_text(args[0]) if len(args) == 1 else None
        if what is None:
            return None
        return Scalar(Kind.STR, getattr(text.str, method)(what))

    return remove


def _encode(_t: Translation, text: pl.Expr, *args: Value) -> Value | None:
    # In a column no text has a lone surrogate, so UTF-8 always works.
    if args and args != (Constant("utf-8"),):
        return None
    return Scalar(Kind.BYTES, text.cast(pl.Binary))


_METHODS: dict[str, Callable[..., Value | None]] = {
    "split": _split,
    "rsplit": _rsplit,
    "partition": _partition,
    "strip": _stripping("strip_chars"),
    "lstrip": _stripping("strip_chars_start"),
    "rstrip": _stripping("strip_chars_end"),
    "lower": _casing("to_lowercase", str.lower),
    "upper": _casing("to_uppercase", str.upper),
    "casefold": _casing("to_lowercase", str.casefold),
    "capitalize": _capitalize,
    "startswith": _at_an_end("starts_with", "startswith"),
    "endswith": _at_an_end("ends_with", "endswith"),
    "replace": _replace,
    "count": _count,
    "find": _find,
    "index": _index,
    "join": _join,
    "rjust": _justifying("pad_start"),
    "ljust": _justifying("pad_end"),
    "removeprefix": _removing("strip_prefix"),
    "removesuffix": _removing("strip_suffix"),
    "encode": _encode,
    **{name: _having(name) for name in _PROPERTIES},
}


# Operators.


def length(t: Translation, text: Value) -> Value:
    """Return `len(text)`, of a str or bytes."""
    scalar = as_scalar(text, "what len() is asked of")
    expr = t.required(scalar, "len()")
    if scalar.kind is Kind.STR:
        return Scalar(Kind.INT, expr.str.len_chars().cast(pl.Int64))
    if scalar.kind is Kind.BYTES:
        return Scalar(Kind.INT, expr.bin.size().cast(pl.Int64))
    msg = f"len() of a {name_of(scalar)}"
    raise Refusal(msg)


def _pair(
    t: Translation, a: Value, b: Value, operation: str
) -> tuple[Kind, pl.Expr, pl.Expr]:
    """Return two values that are both str or both bytes."""
    left, right = as_scalar(a, operation), as_scalar(b, operation)
    if left.kind is not right.kind or left.kind not in {Kind.STR, Kind.BYTES}:
        msg = f"{operation} of a {name_of(left)} and a {name_of(right)}"
        raise Refusal(msg)
    return left.kind, t.required(left, operation), t.required(right, operation)


def concat(t: Translation, a: Value, b: Value) -> Value:
    """Return `a + b`, of two str or two bytes."""
    kind, left, right = _pair(t, a, b, "+")
    if kind is Kind.STR:
        return Scalar(kind, pl.concat_str([left, right]))
    made = computed(t, [left, right], bytes.__add__, pl.Binary, "an error of bytes")
    return Scalar(kind, made)


def repeat(t: Translation, text: Value, times: Value) -> Value:
    """Return `text * times`."""
    scalar = as_scalar(text, "what is repeated")
    expr = t.required(scalar, "*")
    if scalar.kind not in {Kind.STR, Kind.BYTES}:
        msg = f"a {name_of(scalar)} is repeated"
        raise Refusal(msg)
    count = times.value if isinstance(times, Constant) else None
    if scalar.kind is Kind.STR and type(count) is int and count <= _EXPANSION_MAX:
        copies = [expr] * max(count, 1)
        repeated = pl.concat_str(copies) if count > 0 else expr.str.head(0)
        return Scalar(Kind.STR, repeated)
    number = as_scalar(times, "how often")
    if number.kind is not Kind.INT:
        msg = f"a text is repeated {name_of(number)} times"
        raise Refusal(msg)
    inputs = [expr, t.required(number, "*")]
    made = computed(t, inputs, _repeated, dtype_of(scalar.kind), "a very long text")
    return Scalar(scalar.kind, made)


def _repeated(text: Any, times: int) -> Any:
    if len(text) * times > 2**24:
        raise MemoryError
    return text * times


def contains(t: Translation, needle: Value, text: Value) -> Value:
    """Return `needle in text`, of two str or two bytes."""
    kind, wanted, within = _pair(t, needle, text, "in")
    if kind is Kind.STR:
        return Scalar(Kind.BOOL, within.str.contains(wanted, literal=True))
    return Scalar(Kind.BOOL, within.bin.contains(wanted))


def item(t: Translation, text: Value, index: Value) -> Value:
    """Return `text[index]`; of bytes that is an int."""
    scalar = as_scalar(text, "what is indexed")
    expr = t.required(scalar, "[]")
    position = index.value if isinstance(index, Constant) else None
    if scalar.kind is Kind.STR and type(position) is int and abs(position) < 2**31:
        if position >= 0:
            character = expr.str.slice(position, 1)
            t.guard(character.str.len_bytes() == 0, "an index out of range")
        else:
            character = expr.str.tail(-position).str.head(1)
            t.guard(expr.str.len_chars() < -position, "an index out of range")
        return Scalar(Kind.STR, character)
    at = as_scalar(index, "an index")
    if at.kind not in {Kind.INT, Kind.BOOL}:
        msg = f"a {name_of(at)} as an index"
        raise Refusal(msg)
    kind = Kind.INT if scalar.kind is Kind.BYTES else scalar.kind
    if kind not in {Kind.INT, Kind.STR} or scalar.kind is Kind.INT:
        msg = f"an item of a {name_of(scalar)}"
        raise Refusal(msg)
    inputs = [expr, t.required(at, "[]")]
    reason = "an index out of range"
    made = computed(t, inputs, lambda of, n: of[n], dtype_of(kind), reason)
    return Scalar(kind, made)


def slice_of(
    t: Translation, text: Value, start: Value, stop: Value, step: Value
) -> Value:
    """Return `text[start:stop:step]`, of a str or bytes."""
    scalar = as_scalar(text, "what is sliced")
    if scalar.kind not in {Kind.STR, Kind.BYTES}:
        msg = f"a slice of a {name_of(scalar)}"
        raise Refusal(msg)
    expr = t.required(scalar, "[:]")
    if scalar.kind is Kind.STR:
        match start, stop, step:
            case Constant(first), Constant(last), Constant(None | 1):
                made = _plain_slice(expr, first, last)
                if made is not None:
                    return Scalar(Kind.STR, made)
            case _:
                pass
    bounds = [start, stop, step]
    for bound in bounds:
        allowed = (int, bool, type(None))
        is_constant = isinstance(bound, Constant) and isinstance(bound.value, allowed)
        is_column = isinstance(bound, Scalar) and bound.kind in {Kind.INT, Kind.BOOL}
        if not is_constant and not is_column:
            msg = f"a {name_of(bound)} as a bound of a slice"
            raise Refusal(msg)
    asked = with_values(lambda of, *by: of[slice(*by)], [scalar, *bounds])
    assert asked is not None, "constants and columns only"
    columns, function = asked
    inputs = [t.required(column, "[:]") for column in columns]
    dtype = dtype_of(scalar.kind)
    return Scalar(scalar.kind, computed(t, inputs, function, dtype, "a step of 0"))


def _plain_slice(text: pl.Expr, start: Any, stop: Any) -> pl.Expr | None:
    """Return a slice whose bounds are known; None if Polars hasn't its like."""
    first = 0 if start is None else start
    if type(first) is not int or type(stop) not in {int, type(None)}:
        return None
    if max(abs(first), abs(stop or 0)) >= 2**31:
        return None
    rest = text.str.tail(-first) if first < 0 else text.str.slice(first)
    if stop is None:
        return rest if first else text
    if first < 0 <= stop:
        return None  # Which of the two comes first depends on the length.
    if stop < 0:
        return rest.str.head(stop)
    return text.str.slice(first, max(stop - first, 0))


def compare(t: Translation, op: str, a: Value, b: Value) -> Value:
    """Return `a op b` of two str or two bytes; `op` is one of == != < <= > >=."""
    left, right = as_scalar(a, "what is compared"), as_scalar(b, "what is compared")
    if left.kind is not right.kind or left.kind not in {Kind.STR, Kind.BYTES}:
        msg = f"{op} of a {name_of(left)} and a {name_of(right)}"
        raise Refusal(msg)
    if op in {"==", "!="}:
        # None equals None, and nothing else.
        with_none = left.is_optional or right.is_optional
        same = left.expr.eq_missing if with_none else left.expr.eq
        differs = left.expr.ne_missing if with_none else left.expr.ne
        return Scalar(Kind.BOOL, (same if op == "==" else differs)(right.expr))
    first, second = t.required(left, op), t.required(right, op)
    # Bytes of UTF-8 are in the order of the characters they stand for.
    answers = {
        "<": first < second,
        "<=": first <= second,
        ">": first > second,
        ">=": first >= second,
    }
    return Scalar(Kind.BOOL, answers[op])
