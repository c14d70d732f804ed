"""OpenApi: the description of the REST interface, for programs that read it."""

from typing import Any

Schema = dict[str, Any]

_INTEGER: Schema = {"type": "integer", "format": "int64"}
_NUMBER: Schema = {"type": "number"}
_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "example": "2026-01-02T03:04:05.006GMT"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(optional: str = "", **fields: Schema) -> Schema:
    left_out = set(optional.split())
    return {
        "type": "object",
        "properties": fields,
        "required": [each for each in fields if each not in left_out],
    }


_SCHEMAS: dict[str, Schema] = {
    "Application": _object(
        id=_TEXT,
        name=_TEXT,
        attempts=_list(
            _object(
                startTime=_TIME,
                endTime=_TIME,
                lastUpdated=_TIME,
                duration=_INTEGER,
                sparkUser=_TEXT,
                completed=_FLAG,
                appSparkVersion=_TEXT,
                startTimeEpoch=_INTEGER,
                endTimeEpoch=_INTEGER,
                lastUpdatedEpoch=_INTEGER,
            )
        ),
    ),
    "Statistics": _object(
        "startTime avgInputRate avgSchedulingDelay avgProcessingTime avgTotalDelay",
        startTime=_TIME,
        batchDuration=_INTEGER,
        numReceivers=_INTEGER,
        numActiveReceivers=_INTEGER,
        numInactiveReceivers=_INTEGER,
        numTotalCompletedBatches=_INTEGER,
        numRetainedCompletedBatches=_INTEGER,
        numActiveBatches=_INTEGER,
        numProcessedRecords=_INTEGER,
        numReceivedRecords=_INTEGER,
        avgInputRate=_NUMBER,
        avgSchedulingDelay=_INTEGER,
        avgProcessingTime=_INTEGER,
        avgTotalDelay=_INTEGER,
    ),
    "Receiver": _object(
        "isActive executorId executorHost lastErrorTime lastErrorMessage lastError "
        "avgEventRate",
        streamId=_INTEGER,
        streamName=_TEXT,
        isActive=_FLAG,
        executorId=_TEXT,
        executorHost=_TEXT,
        lastErrorTime=_TIME,
        lastErrorMessage=_TEXT,
        lastError=_TEXT,
        avgEventRate=_NUMBER,
        eventRates=_list(_list(_NUMBER)),
    ),
    "Batch": _object(
        "schedulingDelay processingTime totalDelay firstFailureReason",
        batchId=_INTEGER,
        batchTime=_TIME,
        status={"type": "string", "enum": ["QUEUED", "PROCESSING", "COMPLETED"]},
        batchDuration=_INTEGER,
        inputSize=_INTEGER,
        schedulingDelay=_INTEGER,
        processingTime=_INTEGER,
        totalDelay=_INTEGER,
        numActiveOutputOps=_INTEGER,
        numCompletedOutputOps=_INTEGER,
        numFailedOutputOps=_INTEGER,
        numTotalOutputOps=_INTEGER,
        firstFailureReason=_TEXT,
    ),
    "Operation": _object(
        "startTime endTime duration failureReason",
        outputOpId=_INTEGER,
        name=_TEXT,
        description=_TEXT,
        startTime=_TIME,
        endTime=_TIME,
        duration=_INTEGER,
        failureReason=_TEXT,
        jobIds=_list(_INTEGER),
    ),
    "Job": _object(
        "description completionTime jobGroup",
        jobId=_INTEGER,
        name=_TEXT,
        description=_TEXT,
        submissionTime=_TIME,
        completionTime=_TIME,
        stageIds=_list(_INTEGER),
        jobGroup=_TEXT,
        jobTags=_list(_TEXT),
        status={"type": "string", "enum": ["RUNNING", "SUCCEEDED", "FAILED"]},
        numTasks=_INTEGER,
        numActiveTasks=_INTEGER,
        numCompletedTasks=_INTEGER,
        numSkippedTasks=_INTEGER,
        numFailedTasks=_INTEGER,
        numActiveStages=_INTEGER,
        numCompletedStages=_INTEGER,
        numSkippedStages=_INTEGER,
        numFailedStages=_INTEGER,
    ),
    "Stage": _object(
        "completionTime",
        status={"type": "string", "enum": ["ACTIVE", "COMPLETE", "FAILED"]},
        stageId=_INTEGER,
        attemptId=_INTEGER,
        jobId=_INTEGER,
        numTasks=_INTEGER,
        numActiveTasks=_INTEGER,
        numCompleteTasks=_INTEGER,
        numFailedTasks=_INTEGER,
        submissionTime=_TIME,
        completionTime=_TIME,
        name=_TEXT,
        steps=_list(
            _object(
                rddId=_INTEGER,
                name=_TEXT,
                columns=_INTEGER,
                rows=_INTEGER,
                reasons={"type": "object", "additionalProperties": _INTEGER},
            )
        ),
    ),
    "StoredRdd": _object(
        id=_INTEGER,
        name=_TEXT,
        numPartitions=_INTEGER,
        numCachedPartitions=_INTEGER,
        storageLevel=_TEXT,
        memoryUsed=_INTEGER,
        diskUsed=_INTEGER,
    ),
    "Environment": {"type": "object"},
    "Error": _object(error=_TEXT),
}

_ONE = "/applications/{app}"
_STREAM = f"{_ONE}/streaming"
_PATHS: tuple[tuple[str, str, str, bool, tuple[str, ...]], ...] = (
    ("/applications", "This application, alone in a list", "Application", True, ()),
    (_ONE, "This application", "Application", False, ()),
    (
        f"{_ONE}/jobs",
        "Jobs, newest first",
        "Job",
        True,
        ("RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN"),
    ),
    (f"{_ONE}/jobs/{{job}}", "One job", "Job", False, ()),
    (
        f"{_ONE}/stages",
        "Stages, newest first",
        "Stage",
        True,
        ("ACTIVE", "COMPLETE", "FAILED", "PENDING", "SKIPPED"),
    ),
    (f"{_ONE}/stages/{{stage}}", "One stage, alone in a list", "Stage", True, ()),
    (f"{_ONE}/storage/rdd", "RDDs that are kept", "StoredRdd", True, ()),
    (f"{_ONE}/environment", "Settings and versions", "Environment", False, ()),
    (f"{_STREAM}/statistics", "Sums and means", "Statistics", False, ()),
    (f"{_STREAM}/receivers", "Inputs, by id", "Receiver", True, ()),
    (f"{_STREAM}/receivers/{{input}}", "One input", "Receiver", False, ()),
    (
        f"{_STREAM}/batches",
        "Retained batches, newest first",
        "Batch",
        True,
        ("QUEUED", "PROCESSING", "COMPLETED"),
    ),
    (
        f"{_STREAM}/batches/{{batch}}",
        "One batch, by its time in ms",
        "Batch",
        False,
        (),
    ),
    (
        f"{_STREAM}/batches/{{batch}}/operations",
        "A batch's output operations",
        "Operation",
        True,
        (),
    ),
    (
        f"{_STREAM}/batches/{{batch}}/operations/{{output}}",
        "One output operation",
        "Operation",
        False,
        (),
    ),
)


def document() -> Schema:
    """Return the description, in version 3.1 of OpenAPI."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream's monitoring interface",
            "description": "Read-only; the paths and fields are those of Spark's.",
            "version": "1",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": {each[0]: {"get": _operation(*each)} for each in _PATHS},
        "components": {"schemas": _SCHEMAS},
    }


def _operation(
    path: str, summary: str, name: str, is_list: bool, statuses: tuple[str, ...]
) -> Schema:
    schema: Schema = {"$ref": f"#/components/schemas/{name}"}
    parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    responses = {
        "200": _content("What was asked for", _list(schema) if is_list else schema)
    }
    if parts:
        error: Schema = {"$ref": "#/components/schemas/Error"}
        responses["404"] = _content("There is no such thing", error)
    if statuses:
        error = {"$ref": "#/components/schemas/Error"}
        responses["400"] = _content("There is no such status", error)
    return {
        "summary": summary,
        "operationId": "get"
        + "".join(word.strip("{}").title() for word in path.split("/") if word),
        "parameters": [
            {"name": part, "in": "path", "required": True, "schema": _TEXT}
            for part in parts
        ]
        + (
            [
                {
                    "name": "status",
                    "in": "query",
                    "schema": _list({"type": "string", "enum": list(statuses)}),
                }
            ]
            if statuses
            else []
        ),
        "responses": responses,
    }


def _content(description: str, schema: Schema) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
