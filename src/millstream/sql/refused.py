"""Refused: what the engine would answer by half, or by an error that says nothing."""

from typing import Any

from millstream.engine.base.errors import PySparkNotImplementedError


def _streaming(name: str) -> PySparkNotImplementedError:
    msg = f"{name} isn't here: streams are DStreams, not Structured Streaming's"
    hint = "dstream.toDF() and dstream.sql() query each batch: see docs/sql/streams.md"
    return PySparkNotImplementedError(msg, hint=hint)


def _artifacts(name: str) -> PySparkNotImplementedError:
    msg = f"{name} isn't here: there is no server to send files to"
    hint = (
        "sc.addPyFile() and sc.addFile() give tasks files; paths are the driver's own"
    )
    return PySparkNotImplementedError(msg, hint=hint)


class RefusedOfFrames:
    """Names of DataFrame; each raises PySparkNotImplementedError."""

    @property
    def writeStream(self) -> Any:
        """Raise."""
        msg = "DataFrame.writeStream"
        raise _streaming(msg)

    def withWatermark(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        msg = "DataFrame.withWatermark"
        raise _streaming(msg)

    def dropDuplicatesWithinWatermark(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        msg = "DataFrame.dropDuplicatesWithinWatermark"
        raise _streaming(msg)

    def pandas_api(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        msg = "pandas on Spark isn't here"
        hint = "toPandas() has the whole frame; mapInPandas() and applyInPandas() go by parts"
        raise PySparkNotImplementedError(msg, hint=hint)


class RefusedOfSessions:
    """Names of SparkSession; each raises PySparkNotImplementedError."""

    @property
    def readStream(self) -> Any:
        """Raise."""
        msg = "SparkSession.readStream"
        raise _streaming(msg)

    def addArtifacts(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        msg = "SparkSession.addArtifacts"
        raise _artifacts(msg)

    addArtifact = addArtifacts

    def copyFromLocalToFs(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        msg = "SparkSession.copyFromLocalToFs"
        raise _artifacts(msg)
