"""Tests of engine/columnar/fields.py: what is read as fields is what `split` makes."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from millstream import SparkConf, SparkContext
from millstream.engine.columnar.fields import frame_of_fields, plan_fields
from millstream.engine.columnar.shapes import TEXT, to_rows
from millstream.engine.columnar.stages import GuardFailed, plan_stage, projected
from millstream.engine.columnar.text import frame_of_text
from millstream.engine.plan.steps import Filter, Map, Step
from millstream.engine.plan.text import split_lines


def _unpacks(line: str) -> tuple[str, str]:
    first, _, last = line.split(",")
    return last, first


SPLIT_ONLY: list[list[Step]] = [
    [Map(lambda line: line.split(",")), Map(lambda f: (f[0], f[-1], len(f)))],
    [Map(lambda line: line.split(",")[1])],
    [Map(lambda line: int(line.split(",")[0]))],
    [Filter(lambda line: line.split(",")[1] != "b"), Map(lambda s: s.split(",")[2])],
    [Map(lambda line: line.split(",")), Filter(lambda f: f[0] > f[1]), Map(len)],
    [Map(_unpacks)],
    [Map(lambda s: s.split(",")), Filter(lambda f: len(f) == 3), Map(lambda f: f[1])],
]
MORE: list[list[Step]] = [
    [Map(lambda line: line.split(","))],
    [Filter(lambda line: line.split(",")[0] == "a")],
    [Map(lambda line: (line, line.split(",")[0]))],
    [Map(lambda line: line.split(",", 1)[0])],
    [Map(lambda line: line.split(",")[0] + line.split(";")[0])],
    [Map(lambda line: line.split(", ")[0])],
    [Map(lambda line: line.split()[0])],
    [Map(lambda line: line.split(",")[7])],
    [Map(lambda line: sorted(line.split(",")))],
    [Map(lambda line: line.strip().split(",")[0])],
    [Map(lambda line: line.split("é")[0])],
]


def _plan(steps: list[Step], data: bytes) -> Any:
    return plan_fields(steps, data, plan_stage(steps, TEXT, is_hopeful=True))


@pytest.mark.parametrize("steps", SPLIT_ONLY, ids=range(len(SPLIT_ONLY)))
def test_lines_that_are_only_split_are_read_as_fields(steps: list[Step]) -> None:
    """At one place or several, in one step or several."""
    assert len(_plan(steps, b"1,b,c\n").types) == 3


@pytest.mark.parametrize("steps", MORE, ids=range(len(MORE)))
def test_lines_of_which_more_is_wanted_are_not(steps: list[Step]) -> None:
    """Of the whole line, of the list, by several separators, or none a byte long."""
    assert _plan(steps, b"1,b,c\n") is None


def test_lines_of_one_field_are_not() -> None:
    """There is nothing to gain."""
    assert _plan(SPLIT_ONLY[2], b"1\n") is None


pieces = st.one_of(
    st.sampled_from([b"a", b"1", b"", b" ", b'"', b"'", b"#", b"\\", b"\t", b"\x00"]),
    st.sampled_from(["é".encode(), b"\xc3", b"\xef\xbb\xbf", b"null", b"x" * 40]),
)
rows = st.lists(pieces, min_size=3, max_size=3).map(b",".join)
odd_rows = st.lists(pieces, max_size=5).map(b",".join)
ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
texts = st.lists(st.tuples(st.one_of(rows, rows, rows, odd_rows), ends), min_size=1)


@given(
    texts.map(lambda lines: b"".join(line + end for line, end in lines)), st.booleans()
)
@example(b"a,b,c\n1,2\n", False)
@example(b"a,b,c\n1,2,3,4\n", False)
@example(b"a,b,c\n1,2,3,", False)
@example(b"a,b,c\n\n1,2,3\n", False)
@example(b"a,b,c\n1,2,\n", False)
@example(b"a,b,c,\n", False)
@example(b",,", False)
@pytest.mark.slow
def test_fields_are_what_split_makes(data: bytes, is_open: bool) -> None:
    """Or else nothing is said: the number of fields varies, or may."""
    data = data[:-1] if is_open else data
    steps: list[Step] = [
        Map(lambda line: line.split(",")),
        Map(lambda f: (f[0], f[1], f[2])),
    ]
    plan = plan_fields(steps, b"a,b,c\n", plan_stage(steps, TEXT))
    assert plan is not None

    frame = frame_of_fields(data, plan)

    event("read as fields" if frame is not None else "not")
    if frame is not None:
        lines = split_lines(data, is_text=True)
        assert frame.rows() == [tuple(line.split(",")) for line in lines]


def test_a_field_that_is_only_read_as_a_number_is_one() -> None:
    """Not one of which the text is wanted, too, or another reading."""
    steps: list[Step] = [
        Map(lambda line: line.split(",")),
        Map(lambda f: (int(f[0]), float(f[1]), f[2], (int(f[3]), f[3]))),
    ]

    plan = _plan(steps, b"1,2.5,c,4\n")

    text = pl.String()
    assert plan.types == (pl.Int64(), pl.Float64(), text, text)


NUMBERS = [
    *("0", "7", "-0", "+5", "007", "9223372036854775807", "9223372036854775808"),
    *(
        "-9223372036854775808",
        "-9223372036854775809",
        "1_000",
        "١٢",
        " 1",
        "1 ",
        "0x1f",
    ),
    *("-0.0", ".5", "5.", "1e5", "1E-5", "1e400", "1e-400", "4.9e-324", "0.1", "1.5"),
    *("2.2250738585072011e-308", "inf", "-Infinity", "nan", "1e", "e", "-", "", "true"),
]
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    st.text("0123456789.-+eE_ ", min_size=1, max_size=25),
)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_numbers_are_read_as_python_reads_them(pairs: list[tuple[str, str]]) -> None:
    """To the last bit; or the block isn't read as fields at all."""
    steps: list[Step] = [
        Map(lambda line: line.split(",")),
        Map(lambda f: (int(f[0]), float(f[1]))),
    ]
    plan = _plan(steps, b"1,2.5\n")
    data = "\n".join(map(",".join, pairs)).encode()

    frame = frame_of_fields(data, plan)
    made = None if frame is None else plan.stage.run(frame)

    if made is not None and not isinstance(made, GuardFailed):
        event("read as fields")
        found = to_rows(projected(made, plan.stage.value), plan.stage.shape)
        assert list(map(repr, found)) == [repr((int(a), float(b))) for a, b in pairs]


@pytest.mark.slow
def test_regular_lines_are_read_as_fields() -> None:
    """The many thousands that it is for."""
    steps: list[Step] = [Map(lambda line: line.split(",")), Map(lambda f: (f[0], f[2]))]
    data = b"".join(b"%d,unused,%d,last\n" % (n, n * n) for n in range(300_000))
    plan = _plan(steps, data)

    frame = frame_of_fields(data, plan)

    assert frame is not None
    made = plan.stage.run(frame)
    assert not isinstance(made, GuardFailed)
    found = to_rows(projected(made, plan.stage.value), plan.stage.shape)
    assert found == [(str(n), str(n * n)) for n in range(300_000)]


def test_the_same_records_come_out_of_fields_and_of_lines() -> None:
    """With numbers read from them, and some dropped."""
    steps: list[Step] = [
        Map(lambda line: line.split(";")),
        Map(lambda f: (int(f[1]), float(f[2]), f[0])),
        Filter(lambda record: record[1] > 0.5),
    ]
    data = b"".join(b"k%d;%d;%.3f\r\n" % (n % 7, n, n % 11 / 10) for n in range(5000))
    of_lines = plan_stage(steps, TEXT, is_hopeful=True)
    plan = _plan(steps, data)
    frame = frame_of_fields(data, plan)
    assert frame is not None

    frames: list[pl.DataFrame] = []
    for stage, given_frame in ((plan.stage, frame), (of_lines, frame_of_text(data))):
        made = stage.run(given_frame)
        assert not isinstance(made, GuardFailed)
        frames.append(projected(made, stage.value))

    assert frames[0].height > 1000
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("mode", ["on", "verify"])
@pytest.mark.parametrize("odd", ["1,2", "1,2,3,4", "1,2,", "a,b,é"])
@pytest.mark.slow
def test_an_odd_line_far_inside_changes_nothing(
    tmp_path: Path, odd: str, mode: str
) -> None:
    """It is in a block of its own kind; those before and after are as before."""
    lines = [f"{n},{n % 7},v{n % 5}" for n in range(200_000)]
    lines[150_000] = odd
    for name in ("a", "b"):
        (tmp_path / name).write_text("\n".join(lines), newline="")
    conf = SparkConf().setMaster("local[1]").setAppName("fields")

    with SparkContext(conf=conf.set("spark.millstream.columnar", mode)) as sc:
        rdd = (
            sc.textFile(str(tmp_path), 6)
            .map(lambda line: line.split(","))
            .map(lambda f: (f[-1], len(f[1])))
        )
        found = rdd.collect()

    fields = [line.split(",") for line in lines]
    assert found == [(f[-1], len(f[1])) for f in fields] * 2
