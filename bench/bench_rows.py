"""The row path against Python loops that call the same functions."""

import operator
from functools import cache
from random import Random

from measuring import Benchmark, cpu_s

from millstream import RDD, SparkContext

LINES = 1_000_000
PARTITIONS = 4


def split(line: str) -> list[str]:
    return line.split()


@cache
def text() -> list[str]:
    """Return 1,000,000 lines of 10 words; few words are common, most are rare."""
    random = Random(7)
    words = [f"word{n}" for n in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    drawn = random.choices(words, weights, k=LINES * 10)
    return [" ".join(drawn[at : at + 10]) for at in range(0, len(drawn), 10)]


@cache
def lines() -> "RDD[str]":
    """Return the text as an RDD; handing it over is not part of what is measured."""
    sc = SparkContext("local", "bench")
    rdd = sc.parallelize(text(), PARTITIONS)
    rdd.count()
    return rdd


to_words = lambda line: line.split()  # noqa: E731  As programs write it.
to_pair = lambda word: (word, 1)  # noqa: E731
add = lambda a, b: a + b  # noqa: E731
has_one = lambda line: "word1 " in line  # noqa: E731


def hand_fused_counts() -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in text():
        for word in to_words(line):
            key, value = to_pair(word)
            if key in counts:
                counts[key] = add(counts[key], value)
            else:
                counts[key] = value
    return counts


def word_count_ratio() -> float:
    rdd = lines()
    ours: dict[str, int] = {}

    def count() -> None:
        ours.update(rdd.flatMap(to_words).map(to_pair).reduceByKey(add).collect())

    mine = cpu_s(count)
    hand: list[dict[str, int]] = []
    by_hand = cpu_s(lambda: hand.append(hand_fused_counts()))
    assert ours == hand[0], "both count the same"
    word_count.notes["M words/s"] = f"{LINES * 10 / mine / 1e6:.1f}"
    word_count.notes["by hand"] = f"{LINES * 10 / by_hand / 1e6:.1f}"
    return mine / by_hand


def filter_ratio() -> float:
    rdd = lines()
    source = text()
    found: list[int] = []
    mine = cpu_s(lambda: found.append(len(rdd.filter(has_one).collect())))
    by_hand = cpu_s(lambda: found.append(len([x for x in source if has_one(x)])))
    assert operator.eq(*found), "both find the same"
    return mine / by_hand


def filter_count_ratio() -> float:
    rdd = lines()
    source = text()
    found: list[int] = []
    mine = cpu_s(lambda: found.append(rdd.filter(has_one).count()))
    by_hand = cpu_s(lambda: found.append(len([x for x in source if has_one(x)])))
    assert operator.eq(*found), "both find the same"
    return mine / by_hand


word_count = Benchmark(
    "rows.wordcount",
    "flatMap, map, reduceByKey over 1M lines of 10 words / a hand-fused loop, CPU",
    "x",
    1.4,
    word_count_ratio,
)

BENCHMARKS = [
    word_count,
    Benchmark(
        "rows.filter",
        "filter, collect over 1M lines / a list comprehension, CPU",
        "x",
        1.3,
        filter_ratio,
    ),
    Benchmark(
        "rows.filter_count",
        "filter, count over 1M lines / a list comprehension, CPU",
        "x",
        1.3,
        filter_count_ratio,
    ),
]
