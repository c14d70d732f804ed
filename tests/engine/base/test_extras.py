"""Extras: what isn't installed is told with the command that installs it."""

import pytest

from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.base.extras import is_installed, needed


def test_a_module_that_is_there_is_returned() -> None:
    """As `import` would."""
    assert needed("json", "kafka", "KafkaUtils").loads("[1]") == [1]


def test_a_missing_module_is_told_with_its_extra() -> None:
    """And with what needed it."""
    with pytest.raises(MissingDependencyError) as caught:
        needed("no_such_module", "kafka", "KafkaUtils")

    assert "KafkaUtils needs the package 'no_such_module'" in str(caught.value)
    assert caught.value.hint == "pip install 'millstream[kafka]'"


def test_whether_a_module_is_installed_is_known_without_importing_it() -> None:
    """It may be slow to import."""
    assert is_installed("json")
    assert not is_installed("no_such_module")
