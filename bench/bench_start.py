"""How long a program takes to be there."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import Benchmark, python_s

_PROGRAM = """
import warnings
warnings.simplefilter("ignore", FutureWarning)
from {package} import SparkContext
from {package}.streaming import StreamingContext

sc = SparkContext("local[2]", "bench")
ssc = StreamingContext(sc, 0.05)
lines = ssc.queueStream([sc.parallelize(["to be or not to be"] * 100, 2)])
counts = (
    lines.flatMap(lambda line: line.split())
    .map(lambda word: (word, 1))
    .reduceByKey(lambda a, b: a + b)
)
counts.foreachRDD(lambda rdd: rdd.isEmpty() or print(sorted(rdd.collect()), flush=True))
ssc.start()
ssc.awaitTerminationOrTimeout(0.5)
ssc.stop()
"""
_FACES = "from millstream import SparkContext\nimport millstream.streaming"


def import_ms() -> float:
    return (python_s("import millstream") - python_s("pass")) * 1000


def import_streaming_ms() -> float:
    return (python_s(_FACES) - python_s("pass")) * 1000


def _first_result_s(package: str, *command: str) -> float:
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "program.py")
        program.write_text(_PROGRAM.format(package=package), encoding="utf-8")
        begin = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *command, str(program)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None, "its output is a pipe"
            line = child.stdout.readline()
            took = time.perf_counter() - begin
        assert "('be', 200)" in line, line
        return took


def first_result_s() -> float:
    return _first_result_s("millstream")


def first_result_of_run_s() -> float:
    return _first_result_s("pyspark", "-m", "millstream", "run")


BENCHMARKS = [
    Benchmark(
        "start.import",
        "import millstream, over a bare interpreter, best of 5",
        "ms",
        60.0,
        import_ms,
        runs=3,
    ),
    Benchmark(
        "start.import_faces",
        "SparkContext and millstream.streaming, the same way",
        "ms",
        60.0,
        import_streaming_ms,
        runs=3,
    ),
    Benchmark(
        "start.first_result",
        "process start to the first word count printed, batches of 50 ms",
        "s",
        0.5,
        first_result_s,
    ),
    Benchmark(
        "start.first_result_run",
        "the same program for PySpark, by `millstream run`",
        "s",
        0.5,
        first_result_of_run_s,
    ),
]
