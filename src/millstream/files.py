"""SparkFiles: where the files added to a context are."""

from pathlib import Path

from millstream.engine.base.errors import PySparkRuntimeError

__all__ = ["SparkFiles"]

# Set by the live SparkContext; tasks run in its process.
root_directory: str | None = None


class SparkFiles:
    """Finds files added by `SparkContext.addFile`; on the driver and in tasks."""

    @classmethod
    def get(cls, filename: str) -> str:
        """Return the path of an added file, by its name."""
        return str(Path(cls.getRootDirectory()) / filename)

    @classmethod
    def getRootDirectory(cls) -> str:
        """Return the directory of added files.

        Raises:
            PySparkRuntimeError: There is no SparkContext.
        """
        if root_directory is None:
            msg = "SparkFiles needs a SparkContext, and there is none"
            raise PySparkRuntimeError(msg, hint="create a SparkContext first")
        return root_directory
