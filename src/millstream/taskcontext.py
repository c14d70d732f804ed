"""TaskContext: what a function can ask about the task it runs in."""

from millstream.engine.base import task_scope
from millstream.engine.base.errors import (
    PySparkRuntimeError,
    PySparkTypeError,
    PySparkValueError,
)

__all__ = [
    "BarrierTaskContext",
    "BarrierTaskInfo",
    "ResourceInformation",
    "TaskContext",
]


class ResourceInformation:
    """A named resource and its addresses."""

    def __init__(self, name: str, addresses: list[str]) -> None:
        """Hold both."""
        self.name, self.addresses = name, addresses


class TaskContext:
    """The task of the current thread; `get()` is None on the driver."""

    _scope: task_scope.TaskScope

    @classmethod
    def get(cls) -> "TaskContext | None":
        """Return the context of the running task, or None outside tasks."""
        scope = task_scope.current()
        if scope is None:
            return None
        kind = TaskContext if scope.barrier is None else BarrierTaskContext
        context = kind.__new__(kind)
        context._scope = scope
        return context

    @classmethod
    def from_json(cls, json: str) -> "TaskContext":
        """Return a context made of a JSON object: stageId, partitionId, ...

        Raises:
            PySparkValueError: It is no JSON object of a task.
        """
        from json import loads  # noqa: PLC0415  Rarely used.

        try:
            facts = loads(json)
            scope = task_scope.TaskScope(
                stage_id=int(facts["stageId"]),
                partition_id=int(facts["partitionId"]),
                attempt_number=int(facts.get("attemptNumber", 0)),
                task_attempt_id=int(facts.get("taskAttemptId", 0)),
                local_properties=dict(facts.get("localProperties") or {}),
                cpus=int(facts.get("cpus", 1)),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"text '{json}' is no JSON object of a task: {error!r}"
            raise PySparkValueError(msg) from None
        context = cls.__new__(cls)
        context._scope = scope
        return context

    def stageId(self) -> int:
        """Return the stage's id."""
        return self._scope.stage_id

    def partitionId(self) -> int:
        """Return the partition's index."""
        return self._scope.partition_id

    def attemptNumber(self) -> int:
        """Return 0 for the first try of the task, 1 for the second, ..."""
        return self._scope.attempt_number

    def taskAttemptId(self) -> int:
        """Return a number no other attempt in this context has."""
        return self._scope.task_attempt_id

    def getLocalProperty(self, key: str) -> str | None:
        """Return a local property of the thread that started the job."""
        return self._scope.local_properties.get(key)

    def cpus(self) -> int:
        """Return the CPUs the task may use."""
        return self._scope.cpus

    def cpuAmount(self) -> float:
        """Return the CPUs the task may use, as a fraction."""
        return float(self._scope.cpus)

    def resources(self) -> dict[str, ResourceInformation]:
        """Return the resources of the task: none here."""
        return {}


class BarrierTaskInfo:
    """Where one task of a barrier stage runs."""

    def __init__(self, address: str) -> None:
        """Hold the address."""
        self.address = address

    def __repr__(self) -> str:
        return f"BarrierTaskInfo(address={self.address!r})"


class BarrierTaskContext(TaskContext):
    """The context of a task in a barrier stage."""

    @classmethod
    def get(cls) -> "BarrierTaskContext":
        """Return the context.

        Raises:
            PySparkRuntimeError: This is no task of a barrier stage.
        """
        scope = task_scope.current()
        if scope is None or scope.barrier is None:
            msg = "It is not in a barrier stage"
            raise PySparkRuntimeError(msg, condition="NOT_IN_BARRIER_STAGE")
        context = BarrierTaskContext.__new__(BarrierTaskContext)
        context._scope = scope
        return context

    def barrier(self) -> None:
        """Wait until all tasks of the stage are here."""
        self.allGather()

    def allGather(self, message: str = "") -> list[str]:
        """Wait for all tasks; return everyone's message, by partition."""
        if not isinstance(message, str):
            msg = f"Argument `message` should be a str, got {type(message).__name__}."
            raise PySparkTypeError(msg, condition="NOT_STR")
        assert self._scope.barrier is not None, "a barrier context has a barrier"
        return self._scope.barrier.all_gather(message)

    def getTaskInfos(self) -> list[BarrierTaskInfo]:
        """Return where the tasks run, by partition."""
        assert self._scope.barrier is not None, "a barrier context has a barrier"
        return [BarrierTaskInfo(each) for each in self._scope.barrier.addresses()]
