"""Plain pickle: data comes in, code doesn't."""

import os
import pickle
from typing import Any

import pytest

from millstream.engine.base import plain_pickle
from millstream.engine.base.errors import SparkError


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch bomb",)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_in(protocol: int) -> None:
    """As it was, from the protocol of Python 3 on."""
    value = [1, 2.5, "é", b"x", None, True, (1, [2]), {"a": {"b": [1 << 80]}}]

    assert plain_pickle.loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("value", [Bomb(), [1, Bomb()], pytest.raises, range(3)])
def test_what_names_a_class_is_refused_before_it_is_looked_up(
    value: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SparkError, match="only plain data is taken"):
        plain_pickle.loads(pickle.dumps(value))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"hello", pickle.dumps([1])[:-1], b"Pid\n."])
def test_garbage_is_an_error_of_ours(data: bytes) -> None:
    """Cut short, or no pickle at all."""
    with pytest.raises(SparkError):
        plain_pickle.loads(data)
