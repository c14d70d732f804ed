"""SparkFiles: where the files added to a context are."""

from pathlib import Path

from millstream.engine.base import driver_link
from millstream.engine.base.errors import PySparkRuntimeError

__all__ = ["SparkFiles"]

# Set by the live SparkContext; tasks in worker processes ask for it.
root_directory: str | None = None
driver_link.answer("files", lambda _: root_directory)


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
        root = root_directory
        if root is None and driver_link.is_worker():
            root = driver_link.ask("files", None)
        if root is None:
            msg = "SparkFiles needs a SparkContext, and there is none"
            raise PySparkRuntimeError(msg, hint="create a SparkContext first")
        return root
