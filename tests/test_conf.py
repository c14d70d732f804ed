"""Tests of conf.py."""

from pathlib import Path

import pytest

from millstream.conf import SparkConf, system_properties
from millstream.engine.base.errors import IllegalArgumentError, PySparkRuntimeError


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see no settings of whoever runs them."""
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
    monkeypatch.delenv("MILLSTREAM_CONF", raising=False)


def test_values_are_kept_as_text() -> None:
    """As `str` makes them; the last one set wins, a missing one is only set once."""
    conf = SparkConf(False).set("a", True).set("b", 1).set("b", 2.5)
    conf.setIfMissing("b", 3).setIfMissing("c", None)

    assert conf.getAll() == [("a", "True"), ("b", "2.5"), ("c", "None")]


def test_setters_return_the_conf() -> None:
    """So that they can be chained, as programs do."""
    conf = SparkConf(loadDefaults=False)

    assert conf.setMaster("local").setAppName("n").setSparkHome("/h") is conf
    assert conf.setAll([("x", 1), ("y", "2")]) is conf
    assert conf.setExecutorEnv("K", "v") is conf
    assert dict(conf.getAll()) == {
        "spark.master": "local",
        "spark.app.name": "n",
        "spark.home": "/h",
        "x": "1",
        "y": "2",
        "spark.executorEnv.K": "v",
    }


def test_what_is_not_set_is_none_or_the_default() -> None:
    """`get` never raises; `contains` tells unset from set."""
    conf = SparkConf(False).set("there", "")

    assert conf.get("missing") is None
    assert conf.get("missing", "d") == "d"
    assert conf.get("there", "d") == ""
    assert conf.contains("there")
    assert not conf.contains("missing")


def test_executor_variables_come_one_or_several_at_a_time() -> None:
    """Exactly one of the two forms; an empty list is a form too."""
    conf = SparkConf(False).setExecutorEnv(pairs=[("a", "1"), ("b", "2")])
    conf.setExecutorEnv(pairs=[])

    assert dict(conf.getAll()) == {
        "spark.executorEnv.a": "1",
        "spark.executorEnv.b": "2",
    }
    for wrong in ({}, {"key": "k", "pairs": [("a", "1")]}):
        with pytest.raises(PySparkRuntimeError, match="KEY_VALUE_PAIR_REQUIRED"):
            conf.setExecutorEnv(**wrong)  # type: ignore[arg-type]


def test_the_debug_text_is_in_order_of_keys() -> None:
    """One `key=value` line each."""
    assert SparkConf(False).set("b", 2).set("a", 1).toDebugString() == "a=1\nb=2"


def test_secrets_are_not_in_the_text() -> None:
    """It is there to be printed; `get` has them."""
    conf = SparkConf(False).set("spark.millstream.ui.token", "hunter2")

    assert conf.toDebugString() == "spark.millstream.ui.token=*****"
    assert conf.get("spark.millstream.ui.token") == "hunter2"


def test_a_copy_goes_its_own_way() -> None:
    """Setting on one doesn't show on the other."""
    conf = SparkConf(False).set("a", 1)
    copy = conf._copy().set("a", 2)

    assert (conf.get("a"), copy.get("a")) == ("1", "2")


def test_defaults_are_read_only_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """System properties count from `spark.` on; the command line wins over them."""
    monkeypatch.setitem(system_properties, "spark.a", "system")
    monkeypatch.setitem(system_properties, "spark.b", "system")
    monkeypatch.setitem(system_properties, "java.io.tmpdir", "/tmp")
    monkeypatch.setenv("MILLSTREAM_CONF", '{"spark.b": "given", "spark.c": 3}')

    assert dict(SparkConf().getAll()) == {
        "spark.a": "system",
        "spark.b": "given",
        "spark.c": "3",
    }
    assert SparkConf(False).getAll() == []


def test_the_defaults_file_is_read_as_spark_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blanks, `=` or `:` between key and value; values keep their own `=`."""
    (tmp_path / "spark-defaults.conf").write_text(
        "# a comment\n"
        "\n"
        "spark.blanks   two words \n"
        "spark.tab\tvalue\n"
        "spark.equals=1\n"
        "spark.spaced = 2\n"
        "spark.colon: 3\n"
        "spark.driver.extraJavaOptions -Da=b -Dc=d\n"
        "spark.empty\n"
        "other.key 4\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))

    assert dict(SparkConf().getAll()) == {
        "spark.blanks": "two words",
        "spark.tab": "value",
        "spark.equals": "1",
        "spark.spaced": "2",
        "spark.colon": "3",
        "spark.driver.extraJavaOptions": "-Da=b -Dc=d",
        "spark.empty": "",
    }


@pytest.mark.parametrize("text", ["{", "[1]", "7"])
def test_a_damaged_command_line_is_told(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable and what is in it."""
    monkeypatch.setenv("MILLSTREAM_CONF", text)

    with pytest.raises(IllegalArgumentError, match="MILLSTREAM_CONF") as caught:
        SparkConf()
    assert repr(text) in str(caught.value)
