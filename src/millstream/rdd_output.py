"""Output: an RDD written to files, and the JVM-only forms refused."""

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from millstream.engine.base import task_scope
from millstream.engine.base.compression import extension_of_hadoop_codec
from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.engine.jobs.actions import Apply
from millstream.engine.plan.nodes import RddNode
from millstream.engine.plan.steps import Map, Step
from millstream.engine.sinks.text_files import DirectoryOutput, WriteObjects, WriteText

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.rdd import RDD

T_co = TypeVar("T_co", covariant=True)
_SETTLE_S = 5.0


class OutputActions(Generic[T_co]):
    """The part of RDD that writes files."""

    if TYPE_CHECKING:
        ctx: SparkContext
        _node: RddNode

        def _step(self, step: Step, *, keeps_partitioner: bool) -> RDD[Any]: ...

    def saveAsTextFile(
        self, path: str, compressionCodecClass: str | None = None
    ) -> None:
        """Write one file of lines a partition into a new directory, and `_SUCCESS`.

        Raises:
            FileAlreadyExistsError: The directory is there already.
            IllegalArgumentError: The codec isn't known.
        """
        extension = ""
        if compressionCodecClass is not None:
            extension = extension_of_hadoop_codec(compressionCodecClass)
        lines = self._step(Map(_as_text, "saveAsTextFile"), keeps_partitioner=False)
        lines._save(_WriteTextPart(self._output(path, extension)))

    def saveAsPickleFile(self, path: str, batchSize: int = 10) -> None:
        """Write records pickled, `batchSize` at a time; `pickleFile` reads them."""
        self._save(_WriteObjectsPart(self._output(path), batchSize))

    def saveAsSequenceFile(
        self, path: str, compressionCodecClass: str | None = None
    ) -> None:
        """Write pairs in a format of ours; `sequenceFile` reads them."""
        if compressionCodecClass is not None:
            extension_of_hadoop_codec(compressionCodecClass)
        self._save(_WriteObjectsPart(self._output(path), 1000, pairs=True))

    def _output(self, path: str, extension: str = "") -> DirectoryOutput:
        driver = self.ctx._driver
        # A task of a driver that has died may still write the very same partition.
        return DirectoryOutput(
            path, extension, f"{driver.start_time_ms}-{driver.name}-"
        )

    def _save(self, write: "_WriteTextPart | _WriteObjectsPart") -> None:
        driver, output = self.ctx._driver, write.output
        validates = driver.settings.get_bool("spark.hadoop.validateOutputSpecs")
        may_exist = not validates or self.ctx._output_may_exist
        output.open_job(may_exist=may_exist)
        try:
            scratch = driver.run_job(self._node, Apply(write, write.name))
            output.commit_job(scratch)
        except BaseException:
            driver.settle(_SETTLE_S)  # Or a task would write after the clean-up.
            output.abort_job()
            raise

    def saveAsHadoopFile(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's output formats are Java classes."""
        raise java_only("saveAsHadoopFile", "saveAsTextFile or saveAsSequenceFile")

    def saveAsHadoopDataset(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's output formats are Java classes."""
        raise java_only("saveAsHadoopDataset", "saveAsTextFile or saveAsSequenceFile")

    def saveAsNewAPIHadoopFile(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's output formats are Java classes."""
        raise java_only(
            "saveAsNewAPIHadoopFile", "saveAsTextFile or saveAsSequenceFile"
        )

    def saveAsNewAPIHadoopDataset(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: Hadoop's output formats are Java classes."""
        raise java_only(
            "saveAsNewAPIHadoopDataset", "saveAsTextFile or saveAsSequenceFile"
        )


def java_only(name: str, instead: str) -> PySparkNotImplementedError:
    """Return the error for an API that takes names of Java classes."""
    msg = f"{name} takes Java classes, and there is no JVM here"
    return PySparkNotImplementedError(
        msg, condition="NOT_IMPLEMENTED", hint=f"use {instead}"
    )


_LINES = (str, bytes)


def _as_text(record: Any) -> Any:
    return record if isinstance(record, _LINES) else str(record)


class _WriteTextPart:
    name = "saveAsTextFile"

    def __init__(self, output: DirectoryOutput) -> None:
        self.output = output

    def __call__(self, index: int, rows: Any) -> str:
        write = WriteText(rows, self.output.extension)
        return self.output.write_partition(index, _attempt(), write)


class _WriteObjectsPart:
    def __init__(
        self, output: DirectoryOutput, batch_rows: int, *, pairs: bool = False
    ) -> None:
        self.output, self.batch_rows, self.pairs = output, batch_rows, pairs
        self.name = "saveAsSequenceFile" if pairs else "saveAsPickleFile"

    def __call__(self, index: int, rows: Any) -> str:
        if self.pairs:
            rows = ((key, value) for key, value in rows)
        write = WriteObjects(rows, self.batch_rows)
        return self.output.write_partition(index, _attempt(), write)


def _attempt() -> int:
    scope = task_scope.current()
    assert scope is not None, "partitions are written in tasks"
    return scope.task_attempt_id
