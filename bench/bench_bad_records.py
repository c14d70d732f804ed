"""What a mark for bad records costs where there are none: by columns and by rows."""

from functools import cache

from bench_rows import add, text, to_pair, to_words
from measuring import Benchmark, cpu_s

from millstream import RDD, SparkConf, SparkContext
from millstream.engine.plan.marks import RecordMark
from millstream.streaming.bad_records import marked

PARTITIONS = 4
_PAIRS = 15
_LINES = {"on": 1_000_000, "off": 100_000}


@cache
def lines(columnar: str) -> "RDD[str]":
    """Return the text as an RDD of a context whose steps go by columns, or by rows."""
    conf = SparkConf().setMaster("local").setAppName("bench")
    sc = SparkContext(conf=conf.set("spark.millstream.columnar", columnar))
    rdd = sc.parallelize(text()[: _LINES[columnar]], PARTITIONS)
    rdd.count()
    return rdd


def _ratio(columnar: str, benchmark: Benchmark) -> float:
    plain = lines(columnar)
    with_mark = marked(plain, RecordMark("bench", 0, keeps_records=True))

    def count(rdd: "RDD[str]") -> int:
        return len(rdd.flatMap(to_words).map(to_pair).reduceByKey(add).collect())

    assert count(plain) == count(with_mark), "both count the same"
    pairs = [
        (cpu_s(lambda: count(with_mark)), cpu_s(lambda: count(plain)))
        for _ in range(_PAIRS)
    ]
    mine, theirs = (min(each) for each in zip(*pairs, strict=True))
    benchmark.notes["s with the mark"] = f"{mine:.3f}"
    benchmark.notes["s without"] = f"{theirs:.3f}"
    return float(mine / theirs)


def by_columns() -> float:
    """Return the ratio where steps are one query over columns."""
    return _ratio("on", COLUMNS)


def by_rows() -> float:
    """Return the ratio where they are one fused loop."""
    return _ratio("off", ROWS)


COLUMNS = Benchmark(
    "bad-records.columns",
    "word count by columns behind onError, nothing bad: CPU / without",
    "x",
    1.1,
    by_columns,
    runs=3,
)
ROWS = Benchmark(
    "bad-records.rows",
    "word count by rows behind onError, nothing bad: CPU / without",
    "x",
    1.1,
    by_rows,
    runs=3,
)
BENCHMARKS = [COLUMNS, ROWS]
