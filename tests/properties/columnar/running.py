"""Running a drawn program on rows and in columns, and comparing what comes of it."""

import dataclasses
import itertools
import linecache
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from tests.properties.columnar.drawing import PRELUDE
from tests.properties.columnar.drawing_streams import BATCHES

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import JobFailedError
from millstream.engine.columnar.execution import Mode
from millstream.streaming.state import StateSpec
from millstream.testing import StreamHarness

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
# The steps of a stage differ: in columns some of them are done together.
_WHERE = re.compile(r"^  (in|steps of) .*\n?", re.MULTILINE)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program returned or raised, in a form that is equal only if it all is."""

    form: str
    error: str = ""

    def __str__(self) -> str:
        return f"raises {self.error}" if self.error else self.form


@dataclass(frozen=True, slots=True)
class Case:
    """One program's answers, and how its steps ran."""

    rows: Answer
    columns: Answer
    notes: Mapping[str, int]
    """How often which path was taken: "columns", or why it was rows."""

    @property
    def is_same(self) -> bool:
        """Whether nobody could tell the paths apart."""
        return self.rows == self.columns


@dataclass(slots=True)
class Runner:
    """Runs programs with one live context; for one thread."""

    sc: SparkContext
    directory: Path

    def compare(self, source: str) -> Case:
        """Run a program on rows, then in columns."""
        with _compiled(source) as code:
            if code is None:
                nothing = Answer("", "no program")
                return Case(nothing, nothing, {})
            rows = self._answer(code, Mode.OFF)
            columns = self._answer(code, Mode.ON)
        return Case(rows, columns, _notes_of(self.sc))

    def _answer(self, code: CodeType, mode: Mode) -> Answer:
        self._switch(mode)
        names: dict[str, Any] = {"__name__": "drawn", "text_file": self._text}
        try:
            exec(code, names)
            return Answer(exact(names["program"](self.sc)))
        except JobFailedError as error:
            return Answer("", told(error.user_error or error))
        except Exception as error:
            return Answer("", told(error))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return Answer("", f"broken: {told(error)}")

    def _text(self, sc: SparkContext, data: bytes, count: int) -> Any:
        path = self.directory / "lines.txt"
        path.write_bytes(data)
        return sc.textFile(str(path), count)

    def _switch(self, mode: Mode) -> None:
        columnar = self.sc._driver.columnar
        columnar.mode, columnar.rows_min = mode, 0
        self.sc._driver.book._stages.clear()


def compare_stream(source: str) -> Case:
    """Run a drawn stream on rows, then in columns; each in contexts of its own."""
    with _compiled(source) as code:
        if code is None:
            nothing = Answer("", "no program")
            return Case(nothing, nothing, {})
        rows, _ = _stream_answer(code, Mode.OFF)
        columns, notes = _stream_answer(code, Mode.ON)
    return Case(rows, columns, notes)


def _stream_answer(code: CodeType, mode: Mode) -> tuple[Answer, Mapping[str, int]]:
    names: dict[str, Any] = {"__name__": "drawn", "StateSpec": StateSpec}
    settings = {
        "spark.millstream.columnar": mode.value,
        "spark.millstream.columnar.rows.min": "0",
    }
    with (
        tempfile.TemporaryDirectory(prefix="drawn-") as directory,
        StreamHarness(1.0, "local[1]", directory, settings) as harness,
    ):
        try:
            exec(code, names)
            out = names["setup"](harness)
            harness.run(batches=BATCHES + 1)
            answer = Answer(exact([out.times_ms, out.partitions]))
        except JobFailedError as error:
            answer = Answer("", told(error.user_error or error))
        except Exception as error:
            answer = Answer("", _WHERE.sub("", told(error)))
        return answer, _notes_of(harness.sc)


@contextmanager
def _compiled(source: str) -> Iterator[CodeType | None]:
    """Give a program's code, while its text is where the source of code is looked for."""
    name = f"<program {next(_numbers)}>"
    text = PRELUDE + source
    lines = text.splitlines(keepends=True)
    # Without a time the entry isn't checked against a file.
    linecache.cache[name] = (len(text), None, lines, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                code = compile(text, name, "exec")
            except SyntaxError:
                yield None
            else:
                yield code
    finally:
        linecache.cache.pop(name, None)


def _notes_of(sc: SparkContext) -> Mapping[str, int]:
    notes: Counter[str] = Counter()
    for stage in sc._driver.book._stages.values():
        for fate in (*stage.report.steps.values(), *stage.report.shuffles.values()):
            notes["columns"] += fate.columns
            notes.update(fate.reasons)
    return +notes


@contextmanager
def running(slots: int = 1) -> Iterator[Runner]:
    """Give a runner. With one slot, which of several errors is told is certain."""
    conf = SparkConf().set("spark.ui.enabled", "false")
    with (
        tempfile.TemporaryDirectory(prefix="drawn-") as directory,
        SparkContext(f"local[{slots}]", "drawn", conf=conf) as sc,
    ):
        yield Runner(sc, Path(directory))


def exact(value: Any) -> str:
    """Return a text that is the same for values that nobody can tell apart."""
    kind = type(value).__name__
    match value:
        case float() | int() | str() | bytes() | None:
            plain = type(value) in {float, int, str, bytes, bool, type(None)}
            shown = repr(value)
            return shown if plain else f"{kind}:{shown}"
        case list() | tuple():
            return f"{kind}({', '.join(map(exact, value))})"
        case set() | frozenset():
            return f"{kind}({', '.join(sorted(map(exact, value)))})"
        case dict():
            pairs = (f"{exact(key)}: {exact(item)}" for key, item in value.items())
            return f"{kind}({', '.join(pairs)})"
        case _:
            pass
    if dataclasses.is_dataclass(value):
        return f"{kind}({exact([*vars(value).values()])})"
    return f"{kind} {_ADDRESS.sub('0x', repr(value))}"


def told(error: BaseException) -> str:
    """Return an error's type and message, without what differs from run to run."""
    return f"{type(error).__name__}: {_ADDRESS.sub('0x', str(error))}"
