"""The benchmarks' input: text, comma-separated and JSON lines, made once and kept.

python bench/data.py [--mb 1000] [text csv json]

The files are in a directory of their own beside the system's temporary files, or where
MILLSTREAM_BENCH_DIR says. The same size always gives the same bytes.
"""

import argparse
import itertools
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import polars as pl

BATCH_MB = 64
"""About the size of a file; one file is one batch."""
_VOCABULARY = 100_000
_WORDS_A_LINE = 10
_NEEDLE_RANK = 2_000
_LINES_AT_ONCE = 200_000
_KINDS = ("text", "csv", "json")


@dataclass(frozen=True, slots=True)
class Input:
    """Files of about equal size and how many lines each has."""

    kind: str
    files: tuple[Path, ...]
    lines: tuple[int, ...]

    def first(self, count: int) -> "Input":
        return Input(self.kind, self.files[:count], self.lines[:count])

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.stat().st_size for file in self.files)


def cache_dir() -> Path:
    default = Path(tempfile.gettempdir()) / "millstream-bench"
    return Path(os.environ.get("MILLSTREAM_BENCH_DIR", default))


def size_mb() -> int:
    return int(os.environ.get("MILLSTREAM_BENCH_MB", "1000"))


def input_of(kind: str, mb: int | None = None, batch_mb: int | None = None) -> Input:
    """Return the files of `mb` million bytes, making those that aren't there yet.

    Small inputs have at least 5 files, for a first batch that isn't measured and four
    that are.
    """
    mb = mb or size_mb()
    count = max(5, mb // BATCH_MB) if batch_mb is None else max(1, mb // batch_mb)
    directory = cache_dir() / f"{kind}-{mb}-{count}"
    directory.mkdir(parents=True, exist_ok=True)
    target = mb * 1_000_000 // count
    files, lines = [], []
    for number in range(count):
        file = directory / f"{number:03}.txt"
        told = file.with_suffix(".lines")
        if not told.exists():
            print(f"{directory.name}: {number + 1} of {count}", file=sys.stderr)
            told.write_text(str(_write(kind, file, target, number)), "ascii")
        files.append(file)
        lines.append(int(told.read_text("ascii")))
    return Input(kind, tuple(files), tuple(lines))


def _write(kind: str, file: Path, target: int, number: int) -> int:
    """Write whole lines until `target` bytes are there or just passed; count them."""
    make = {"text": text_lines, "csv": csv_lines, "json": json_lines}[kind]
    written = lines = 0
    with file.open("wb") as out:
        for part in itertools.count():
            made = make(_LINES_AT_ONCE, number * 10_000 + part)
            # The last lines are as many as fill the file, going by what is written.
            size = written / lines if lines else len("\n".join(made)) / len(made) + 1
            made = made.head(int((target - written) / size) + 1)
            written += out.write(("\n".join(made) + "\n").encode())
            lines += len(made)
            if written >= target:
                break
    return lines


@cache
def vocabulary() -> pl.Series:
    """Return 100,000 different made-up words, the most common first."""
    random = Random(7)
    words: dict[str, None] = {}
    while len(words) < _VOCABULARY:
        # Common words are short, as in any language.
        least, most = (2, 4) if len(words) < 1000 else (4, 10)
        size = least + int(random.random() * (most - least + 1))
        word = "".join(random.choices("etaoinshrdlucmfwypvbgkjqxz", k=size))
        words["needle" if len(words) == _NEEDLE_RANK else word] = None
    return pl.Series(list(words))


@cache
def _cumulated() -> pl.Series:
    weights = pl.Series([1 / rank for rank in range(1, _VOCABULARY + 1)])
    return weights.cum_sum() / weights.sum()


def _uniform(count: int, seed: int) -> pl.Series:
    """Return numbers from 0 up to, but not including, 1."""
    steps = pl.int_range(2**24, eager=True)
    return steps.sample(count, with_replacement=True, seed=seed) / 2**24


def text_lines(count: int, seed: int) -> pl.Series:
    """Return lines of 10 words whose frequencies follow Zipf's law."""
    ranks = _cumulated().search_sorted(_uniform(count * _WORDS_A_LINE, seed))
    words = vocabulary().gather(ranks)
    return words.reshape((count, _WORDS_A_LINE)).arr.join(" ")


def _sales(count: int, seed: int) -> pl.DataFrame:
    countries = pl.Series([f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"])
    return pl.DataFrame(
        {
            "id": pl.int_range(seed * count, (seed + 1) * count, eager=True),
            "user": (_uniform(count, seed + 1) * 1_000_000).cast(pl.Int64),
            # Cents, so that the text has always two digits after the point.
            "cents": (_uniform(count, seed + 2) * 100_000).cast(pl.Int64),
            "quantity": (_uniform(count, seed + 3) * 20).cast(pl.Int64) + 1,
            "country": countries.gather(
                (_uniform(count, seed + 4) * len(countries)).cast(pl.Int64)
            ),
        }
    )


def _price() -> pl.Expr:
    cents = (pl.col("cents") % 100).cast(pl.String).str.zfill(2)
    return pl.concat_str(pl.col("cents") // 100, pl.lit("."), cents)


def csv_lines(count: int, seed: int) -> pl.Series:
    """Return lines of `id,user,price,quantity,country`; a price is like 12.34."""
    row = pl.concat_str(
        "id", "user", _price(), "quantity", "country", separator=","
    ).alias("line")
    return _sales(count, seed).select(row)["line"]


def json_lines(count: int, seed: int) -> pl.Series:
    """Return the same records as JSON objects, with the spaces that json.dumps writes."""
    row = pl.concat_str(
        pl.lit('{"id": '),
        "id",
        pl.lit(', "user": "u'),
        "user",
        pl.lit('", "price": '),
        _price(),
        pl.lit(', "quantity": '),
        "quantity",
        pl.lit(', "country": "'),
        "country",
        pl.lit('"}'),
    )
    return _sales(count, seed).select(row.alias("line"))["line"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", default=_KINDS, help=" ".join(_KINDS))
    parser.add_argument("--mb", type=int, default=size_mb())
    options = parser.parse_args()
    for kind in options.kinds:
        made = input_of(kind, options.mb)
        print(
            f"{made.files[0].parent}: {len(made.files)} files, {sum(made.lines):,} lines, "
            f"{made.size:,} bytes"
        )


if __name__ == "__main__":
    main()
