"""Globs: path lists, and the patterns of Hadoop's paths, found in a storage."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from millstream.engine.base.storage import FileInfo, Storage


def glob(storage: Storage, pattern: str) -> list[FileInfo]:
    """Return what matches a Hadoop pattern, each once, in order of paths.

    `*` and `?` stay inside a name; `[a-c]`, `[^a-c]` and `{a,b*}` choose. Nothing is
    hidden: `*` matches `.x` too. A path without such characters matches itself.
    """
    found: dict[str, FileInfo] = {}
    for expanded in _expand_braces(pattern):
        for info in _below(storage, "", expanded.split("/")):
            found[info.path] = info
    return sorted(found.values(), key=lambda info: info.path)


def is_pattern(path: str) -> bool:
    """Say whether a path has characters that stand for others."""
    return any(mark in path for mark in "*?[{")


def split_path_list(text: str) -> list[str]:
    """Return the paths of a comma-separated list; commas inside {} don't count."""
    parts, depth = [""], 0
    for character in text:
        if character == "," and depth == 0:
            parts.append("")
            continue
        depth = max(0, depth + (character == "{") - (character == "}"))
        parts[-1] += character
    return [part for part in parts if part]


def _below(storage: Storage, base: str, parts: Sequence[str]) -> Iterator[FileInfo]:
    # `base` is a path that was found: characters in it mean nothing but themselves.
    count = next((i for i, part in enumerate(parts) if is_pattern(part)), len(parts))
    here = base + "/".join(parts[:count])
    if count == len(parts):
        if storage.exists(here):
            yield storage.stat(here)
        return
    matches = _compiled(parts[count]).fullmatch
    rest = parts[count + 1 :]
    for info in _entries(storage, here or ("/" if count else ".")):
        if not matches(info.name):
            continue
        if not rest:
            yield info
        elif info.is_dir:
            yield from _below(storage, f"{info.path}/", rest)


def _entries(storage: Storage, path: str) -> list[FileInfo]:
    try:
        return storage.list(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


@lru_cache(maxsize=64)
def _compiled(part: str) -> re.Pattern[str]:
    tokens = re.findall(r"\[[\^!]?[^\]]+\]|.", part, re.DOTALL)
    return re.compile("".join(map(_as_regex, tokens)), re.DOTALL)


def _as_regex(token: str) -> str:
    if token == "*":  # noqa: S105  Not a password.
        return ".*"
    if token == "?":  # noqa: S105  Not a password.
        return "."
    if len(token) == 1:
        return re.escape(token)
    inside = re.sub(r"([\\\[&~|])", r"\\\1", token[1:-1])
    return f"[^{inside[1:]}]" if inside[0] in "^!" else f"[{inside}]"


def _expand_braces(pattern: str) -> Iterator[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    for choice in found[1].split(","):
        yield from _expand_braces(
            pattern[: found.start()] + choice + pattern[found.end() :]
        )
