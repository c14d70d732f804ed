"""Extras: libraries that only some programs need, imported when one is used."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from millstream.engine.base.errors import MissingDependencyError


def needed(module: str, extra: str, what: str) -> Any:
    """Return a module of an extra.

    `what` is what the program uses, such as "KafkaUtils".

    Raises:
        MissingDependencyError: It isn't installed; says which command installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"{what} needs the package '{error.name or module}'"
        raise MissingDependencyError(
            msg, hint=f"pip install 'millstream[{extra}]'"
        ) from error


def is_installed(module: str) -> bool:
    """Say whether a top-level module is installed; doesn't import it."""
    return find_spec(module) is not None
