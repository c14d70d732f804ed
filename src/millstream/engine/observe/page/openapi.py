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


_MOVED: Schema = {"type": "object", "additionalProperties": _INTEGER}
_MOVED_AT: Schema = {"type": "object", "additionalProperties": _list(_NUMBER)}

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
    "Task": _object(
        "errorMessage",
        taskId=_INTEGER,
        index=_INTEGER,
        attempt=_INTEGER,
        partitionId=_INTEGER,
        launchTime=_TIME,
        duration=_INTEGER,
        durationMs=_NUMBER,
        executorId=_TEXT,
        status={"type": "string", "enum": ["RUNNING", "SUCCESS", "FAILED", "KILLED"]},
        speculative=_FLAG,
        errorMessage=_TEXT,
        taskMetrics=_object(
            "outputMetrics shuffleWriteMetrics",
            executorRunTime=_INTEGER,
            inputMetrics=_MOVED,
            outputMetrics=_MOVED,
            shuffleWriteMetrics=_MOVED,
        ),
    ),
    "TaskSummary": _object(
        "outputMetrics shuffleWriteMetrics",
        quantiles=_list(_NUMBER),
        duration=_list(_NUMBER),
        executorRunTime=_list(_NUMBER),
        inputMetrics=_MOVED_AT,
        outputMetrics=_MOVED_AT,
        shuffleWriteMetrics=_MOVED_AT,
        numTasks=_INTEGER,
        numSampledTasks=_INTEGER,
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
    "Thread": _object(
        threadId=_INTEGER,
        threadName=_TEXT,
        stackTrace=_object(elems=_list(_TEXT)),
        isDaemon=_FLAG,
    ),
    "Action": _object(time=_TIME, what=_TEXT, by=_TEXT),
    "Done": _object(done=_TEXT),
    "Error": _object(error=_TEXT),
    "Liveness": _object(live=_FLAG, reasons=_list(_TEXT)),
    "Readiness": _object(ready=_FLAG, reasons=_list(_TEXT)),
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
    (
        f"{_ONE}/stages/{{stage}}/{{attempt}}",
        "One attempt of a stage; it has one, 0",
        "Stage",
        False,
        (),
    ),
    (
        f"{_ONE}/stages/{{stage}}/{{attempt}}/taskList",
        "Attempts of a stage's tasks",
        "Task",
        True,
        ("RUNNING", "SUCCESS", "FAILED", "KILLED"),
    ),
    (
        f"{_ONE}/stages/{{stage}}/{{attempt}}/taskSummary",
        "How a stage's tasks are distributed",
        "TaskSummary",
        False,
        (),
    ),
    (f"{_ONE}/storage/rdd", "RDDs that are kept", "StoredRdd", True, ()),
    (f"{_ONE}/environment", "Settings and versions", "Environment", False, ()),
    (
        f"{_ONE}/executors/{{executor}}/threads",
        "Where each thread is, of executor driver, while the program runs",
        "Thread",
        True,
        (),
    ),
    (
        f"{_ONE}/actions",
        "What was done from the page and by REST, newest first; not in Spark",
        "Action",
        True,
        (),
    ),
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
_QUERIES: dict[str, tuple[Schema, ...]] = {
    f"{_ONE}/stages/{{stage}}/{{attempt}}/taskList": (
        {
            "name": "offset",
            "in": "query",
            "description": "how many are passed over",
            "schema": {"type": "integer", "minimum": 0, "default": 0},
        },
        {
            "name": "length",
            "in": "query",
            "description": "how many are told of",
            "schema": {"type": "integer", "minimum": 0, "default": 20},
        },
        {
            "name": "sortBy",
            "in": "query",
            "description": "ID, runtime, or -runtime: the longest first",
            "schema": {"type": "string", "default": "ID"},
        },
    ),
    f"{_ONE}/stages/{{stage}}/{{attempt}}/taskSummary": (
        {
            "name": "quantiles",
            "in": "query",
            "description": "numbers from 0 to 1, with commas between",
            "schema": {"type": "string", "default": "0.05,0.25,0.5,0.75,0.95"},
        },
    ),
}
"""What more can be asked of a path."""

_PROBES: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "/healthz",
        "Whether the program works",
        "Liveness",
        "busy",
        "so many seconds the thread that makes batches may be at one thing",
    ),
    (
        "/readyz",
        "Whether the stream is there and keeps up",
        "Readiness",
        "behind",
        "by so many batch intervals the stream may be behind",
    ),
)
"""Beside the interface, not below it: where those who ask look for them."""

_DEEDS: tuple[tuple[str, str, str, tuple[Schema, ...]], ...] = (
    (
        "post",
        f"{_STREAM}/stop",
        "Stop the stream, or make a graceful stop that is under way one at once",
        (
            {
                "name": "graceful",
                "in": "query",
                "description": "whether what was received is processed first",
                "schema": {"type": "boolean", "default": True},
            },
        ),
    ),
    ("post", f"{_STREAM}/pause", "Hold batches and receivers back", ()),
    ("post", f"{_STREAM}/resume", "Let batches and receivers go on", ()),
    (
        "delete",
        f"{_STREAM}/receivers/{{input}}/limit",
        "Remove a limit that was set here",
        (),
    ),
    (
        "post",
        f"{_STREAM}/receivers/{{input}}/limit",
        "Limit the records an input takes in",
        (
            {
                "name": "rate",
                "in": "query",
                "required": True,
                "description": "records a second",
                "schema": {"type": "integer", "minimum": 1},
            },
        ),
    ),
    ("post", f"{_ONE}/jobs/{{job}}/kill", "Kill a job", ()),
    ("post", f"{_ONE}/stages/{{stage}}/kill", "Kill the job of a stage", ()),
)
"""What can be done; a form may send the parameters, too."""


def document() -> Schema:
    """Return the description, in version 3.1 of OpenAPI."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream's monitoring interface",
            "description": "The paths and fields of what is read are those of Spark's. What "
            "is done to the program needs the token that it was started with, and is "
            "refused without one.",
            "version": "1",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": {
            **{each[0]: {"get": _operation(*each)} for each in _PATHS},
            **{
                each[0]: {"servers": [{"url": "/"}], "get": _probe(*each)}
                for each in _PROBES
            },
            **_deeds(),
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
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
    if statuses or path in _QUERIES:
        error = {"$ref": "#/components/schemas/Error"}
        responses["400"] = _content("There is no such status, or order", error)
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
        )
        + list(_QUERIES.get(path, ())),
        "responses": responses,
    }


def _deeds() -> Schema:
    paths: Schema = {}
    for method, path, summary, parameters in _DEEDS:
        told = _deed(method, path, summary, parameters)
        paths[path] = {**paths.get(path, {}), method: told}
    return paths


def _deed(
    method: str, path: str, summary: str, parameters: tuple[Schema, ...]
) -> Schema:
    """Return the description of something that is done."""
    error: Schema = {"$ref": "#/components/schemas/Error"}
    parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {
        "summary": summary,
        "operationId": method
        + "".join(word.strip("{}").title() for word in path.split("/") if word),
        "security": [{"token": []}],
        "parameters": [
            *(
                {"name": part, "in": "path", "required": True, "schema": _TEXT}
                for part in parts
            ),
            *parameters,
        ],
        "responses": {
            "202": _content("It has begun", {"$ref": "#/components/schemas/Done"}),
            "400": _content("A parameter makes no sense", error),
            "403": _content("The token is missing or wrong, or there is none", error),
            "404": _content("There is no such thing", error),
            "409": _content("It can't be done to what is there now", error),
        },
    }


def _probe(path: str, summary: str, name: str, limit: str, meaning: str) -> Schema:
    answer: Schema = {"$ref": f"#/components/schemas/{name}"}
    error: Schema = {"$ref": "#/components/schemas/Error"}
    return {
        "summary": summary,
        "operationId": f"get{path.strip('/').title()}",
        "parameters": [
            {
                "name": limit,
                "in": "query",
                "description": meaning,
                "schema": {"type": "integer", "minimum": 1},
            }
        ],
        "responses": {
            "200": _content("It is so", answer),
            "400": _content("The limit is no number above 0", error),
            "503": _content("It isn't; the reasons say why", answer),
        },
    }


def _content(description: str, schema: Schema) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
