"""Conditions: what Spark calls the errors that the engine tells in its own words.

Programs ask `getCondition()`, and match `[CONDITION]` in messages. The engine has few of
these names, so errors are known here by what it says. What isn't known keeps its words; a
query's text is added to all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from millstream.sql import client

_TEXT_MAX = 100
_WORDS_MAX = 300
_DEPTH_MAX = 100

# What Spark calls the types that the engine names.
_TYPES: Final = {
    "Boolean": "BOOLEAN",
    "Int8": "TINYINT",
    "Int16": "SMALLINT",
    "Int32": "INT",
    "Int64": "BIGINT",
    "Float32": "FLOAT",
    "Float64": "DOUBLE",
    "Utf8": "STRING",
    "Binary": "BINARY",
    "Date32": "DATE",
}

_STATES: Final = {
    "AMBIGUOUS_REFERENCE": "42704",
    "ARITHMETIC_OVERFLOW": "22003",
    "CAST_INVALID_INPUT": "22018",
    "CAST_OVERFLOW": "22003",
    "DATATYPE_MISMATCH": "42K09",
    "DATA_SOURCE_NOT_FOUND": "42K02",
    "DATETIME_FIELD_OUT_OF_BOUNDS": "22023",
    "DIVIDE_BY_ZERO": "22012",
    "FIELD_NOT_FOUND": "42704",
    "INVALID_ARRAY_INDEX": "22003",
    "INVALID_ARRAY_INDEX_IN_ELEMENT_AT": "22003",
    "INVALID_INDEX_OF_ZERO": "22003",
    "INVALID_TYPED_LITERAL": "42604",
    "MALFORMED_RECORD_IN_PARSING": "22023",
    "MISSING_AGGREGATION": "42803",
    "MISSING_GROUP_BY": "42803",
    "NESTED_AGGREGATE_FUNCTION": "42607",
    "NUMERIC_VALUE_OUT_OF_RANGE": "22003",
    "NUM_COLUMNS_MISMATCH": "42826",
    "PARSE_SYNTAX_ERROR": "42601",
    "PATH_ALREADY_EXISTS": "42K04",
    "REMAINDER_BY_ZERO": "22012",
    "SCALAR_SUBQUERY_TOO_MANY_ROWS": "21000",
    "SCHEMA_ALREADY_EXISTS": "42P06",
    "SCHEMA_NOT_FOUND": "42704",
    "TABLE_OR_VIEW_ALREADY_EXISTS": "42P07",
    "TABLE_OR_VIEW_NOT_FOUND": "42P01",
    "UNRESOLVED_COLUMN": "42703",
    "UNRESOLVED_ROUTINE": "42883",
    "USER_RAISED_EXCEPTION": "P0001",
    "WRONG_NUM_ARGS": "42605",
}

_MALFORMED: Final = (
    'The value \'{expression}\' of the type "STRING" cannot be cast to "{targetType}" '
    "because it is malformed. Correct the value as per the syntax, or change its target "
    "type. Use `try_cast` to tolerate malformed input and return NULL instead."
)
_NO_COLUMN: Final = "A column, variable, or function parameter with name {objectName} cannot be resolved."


@dataclass(frozen=True, slots=True)
class _Rule:
    """An error of the engine's, known by its words."""

    pattern: re.Pattern[str]
    kind: str
    """The class that Spark raises."""
    condition: str
    words: str = ""
    """What Spark says, with the groups of the pattern; empty: the engine's own words."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Parameters that the pattern doesn't have."""


def _rule(
    pattern: str, kind: str, condition: str, words: str = "", **given: str
) -> _Rule:
    return _Rule(re.compile(pattern, re.DOTALL), kind, condition, words, given)


_RULES: Final = (
    _rule(
        r"(Table not found: )?(\[TABLE_OR_VIEW_NOT_FOUND\] )?"
        r"(Table not found: |Table or view not found: |The table or view `)"
        r"(?P<relationName>[^`]+)(` cannot be found)?",
        "AnalysisException",
        "TABLE_OR_VIEW_NOT_FOUND",
        "The table or view {relationName} cannot be found. Verify the spelling and "
        "correctness of the schema and catalog.",
    ),
    _rule(
        r"Database not found: (?P<schemaName>.+)",
        "AnalysisException",
        "SCHEMA_NOT_FOUND",
        "The schema {schemaName} cannot be found. Verify the spelling and correctness of "
        "the schema and catalog.",
    ),
    _rule(
        r"Table already exists: (?P<relationName>.+)",
        "AnalysisException",
        "TABLE_OR_VIEW_ALREADY_EXISTS",
        "Cannot create table or view {relationName} because it already exists.",
    ),
    _rule(
        r"Database already exists: (?P<schemaName>.+)",
        "AnalysisException",
        "SCHEMA_ALREADY_EXISTS",
        "Cannot create schema {schemaName} because it already exists.",
    ),
    _rule(
        r"listing table path already exists: (?P<outputPath>.+)",
        "AnalysisException",
        "PATH_ALREADY_EXISTS",
        'Path {outputPath} already exists. Set mode as "overwrite" to overwrite the '
        "existing path.",
    ),
    _rule(
        r"No data source found for: (?P<provider>.+)",
        "AnalysisException",
        "DATA_SOURCE_NOT_FOUND",
        "Failed to find the data source: {provider}. Make sure the provider name is "
        "correct and the package is properly registered.",
    ),
    _rule(
        r"attribute ObjectName\((?P<objectName>.+?)\) is missing from the schema.*",
        "AnalysisException",
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        _NO_COLUMN,
    ),
    _rule(
        r"\[UNRESOLVED_COLUMN\] Cannot find column (?P<objectName>\S+)",
        "AnalysisException",
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        _NO_COLUMN,
    ),
    _rule(
        r"ambiguous attribute: ObjectName\((?P<name>.+?)\)",
        "AnalysisException",
        "AMBIGUOUS_REFERENCE",
        "Reference {name} is ambiguous.",
    ),
    _rule(
        r"missing or ambiguous field: (?P<fieldName>.+)",
        "AnalysisException",
        "FIELD_NOT_FOUND",
        "No such struct field {fieldName}.",
    ),
    _rule(
        r"unknown function: (?P<routineName>.+)",
        "AnalysisException",
        "UNRESOLVED_ROUTINE",
        "Cannot resolve routine {routineName}.",
    ),
    _rule(
        r"(\w+ values? expected: \[.*|(?P<functionName>\w+) requires .* arguments?)",
        "AnalysisException",
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
    ),
    _rule(
        r'No field named .*"#\d+".*',
        "AnalysisException",
        "MISSING_GROUP_BY",
        "The query does not include a GROUP BY clause. Add GROUP BY or turn it into the "
        "window functions using OVER clauses.",
    ),
    _rule(
        r"Aggregate function calls cannot be nested: .*",
        "AnalysisException",
        "NESTED_AGGREGATE_FUNCTION",
    ),
    _rule(
        r"(?P<operator>UNION|INTERSECT|EXCEPT) queries have different number of columns: "
        r"left has (?P<firstNumColumns>\d+) columns? whereas right has "
        r"(?P<invalidNumColumns>\d+) columns?",
        "AnalysisException",
        "NUM_COLUMNS_MISMATCH",
        "{operator} can only be performed on inputs with the same number of columns, but "
        "the first input has {firstNumColumns} columns and the second input has "
        "{invalidNumColumns} columns.",
    ),
    _rule(
        r"Cannot coerce arithmetic expression .*",
        "AnalysisException",
        "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
    ),
    _rule(
        r"Cannot create filter with non-boolean predicate .*",
        "AnalysisException",
        "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN",
    ),
    _rule(
        r".*Unsupported CAST from .+ to .+",
        "AnalysisException",
        "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION",
    ),
    _rule(
        # A text of digits that isn't: the literal of a type, not the query's own words.
        r"invalid argument: found .* expected [^a-z]*'0', '1'.*",
        "ParseException",
        "INVALID_TYPED_LITERAL",
    ),
    _rule(
        r"(invalid argument: |.*error in SQL parser: )found .* expected .*",
        "ParseException",
        "PARSE_SYNTAX_ERROR",
    ),
    _rule(
        r"Cannot cast string '(?P<expression>.*)' to value of (?P<targetType>.+) type",
        "NumberFormatException",
        "CAST_INVALID_INPUT",
        _MALFORMED,
        sourceType='"STRING"',
    ),
    _rule(
        r"Cannot cast value '(?P<expression>.*)' to value of (?P<targetType>.+) type",
        "SparkRuntimeException",
        "CAST_INVALID_INPUT",
        _MALFORMED,
        sourceType='"STRING"',
    ),
    _rule(
        r"\[CAST_INVALID_INPUT\] The value '(?P<expression>.*)' of the type \"STRING\" "
        r"cannot be cast to \"(?P<targetType>[A-Z_]+)\" .*",
        "DateTimeException",
        "CAST_INVALID_INPUT",
        _MALFORMED,
        sourceType='"STRING"',
    ),
    _rule(
        r"invalid timestamp: (?P<expression>.+)",
        "DateTimeException",
        "CAST_INVALID_INPUT",
        _MALFORMED,
        sourceType='"STRING"',
        targetType="TIMESTAMP",
    ),
    _rule(
        r"Can't cast value (?P<value>.+) to type (?P<targetType>.+)",
        "ArithmeticException",
        "CAST_OVERFLOW",
        'The value {value} cannot be cast to "{targetType}" due to an overflow. Use '
        "`try_cast` to tolerate overflow and return NULL instead.",
    ),
    _rule(
        r"(?P<value>\S+) is too large to store in a Decimal\d+ of precision "
        r"(?P<precision>\d+)\. .*",
        "ArithmeticException",
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
    ),
    _rule(
        r"([Dd]ivide|[Dd]ivision) by zero( error)?",
        "ArithmeticException",
        "DIVIDE_BY_ZERO",
        "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL "
        "instead.",
    ),
    _rule(
        r"Remainder by zero",
        "ArithmeticException",
        "REMAINDER_BY_ZERO",
        "Remainder by zero. Use `try_mod` to tolerate divisor being 0 and return NULL "
        "instead.",
    ),
    _rule(
        r"(\[ARITHMETIC_OVERFLOW\] .*|\w+ overflow on \w+\(.*)",
        "ArithmeticException",
        "ARITHMETIC_OVERFLOW",
    ),
    _rule(
        r"element_at: the index is out of bounds",
        "ArrayIndexOutOfBoundsException",
        "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
    ),
    _rule(
        r"element_at: the index 0 is invalid.*",
        "SparkRuntimeException",
        "INVALID_INDEX_OF_ZERO",
    ),
    _rule(
        r"Month value '.*' is out of range",
        "DateTimeException",
        "DATETIME_FIELD_OUT_OF_BOUNDS",
    ),
    _rule(
        r"Scalar subquery returned more than one row",
        "SparkRuntimeException",
        "SCALAR_SUBQUERY_TOO_MANY_ROWS",
    ),
    _rule(
        r"'.*' is not true!",
        "SparkRuntimeException",
        "USER_RAISED_EXCEPTION",
    ),
)
_NAMED = re.compile(
    r"\[(?P<condition>[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*)\] (?P<words>.*)", re.DOTALL
)
_IDENTIFIER = re.compile(r'Identifier\("((?:[^"\\]|\\.)*)"\)')


def with_condition(error: Exception, plan: Any) -> Exception:
    """Return an error of a query as Spark has it: class, condition, text of the query.

    Others than those that the engine itself has told are returned as they are.
    """
    if not hasattr(error, "getGrpcStatusCode"):
        return error
    told: Any = error
    sql = sql_of(plan)
    if told.getCondition() is None:
        message = str(told._message).strip("\n") if told._message else ""
        told = _by_rule(told, message, sql or "") or _by_name(told, message) or told
    if sql is not None:
        told._message = f"{told._message}\n== SQL ==\n{text_of(plan)}"
    return told  # type: ignore[no-any-return]


def _by_rule(error: Any, message: str, sql: str) -> Any:
    for rule in _RULES:
        found = rule.pattern.fullmatch(message)
        if found is None:
            continue
        parameters = {**rule.given}
        for name, value in found.groupdict().items():
            if value is not None:
                parameters[name] = _plain(name, value)
        condition = _refined(rule.condition, sql)
        words = rule.words.format(**parameters) if rule.words else _own(message)
        return _made(error, rule.kind, condition, words, parameters)
    return None


def _by_name(error: Any, message: str) -> Any:
    """Return an error that the engine has told with Spark's name in front."""
    found = _NAMED.fullmatch(message)
    if found is None:
        return None
    kind = type(error).__name__
    return _made(error, kind, found["condition"], found["words"], {})


def _made(
    error: Any, kind: str, condition: str, words: str, parameters: dict[str, str]
) -> Any:
    state = _STATES.get(condition.partition(".")[0])
    text = f"[{condition}] {words}" + (f" SQLSTATE: {state}" if state else "")
    return getattr(client.module("errors.exceptions.connect"), kind)(
        text,
        errorClass=condition,
        messageParameters=parameters,
        sql_state=state,
        grpc_status_code=error.getGrpcStatusCode(),
    )


def _own(message: str) -> str:
    """Return the engine's words, without Spark's name and not at full length."""
    found = _NAMED.fullmatch(message)
    words = found["words"] if found else message
    words = words if len(words) <= _WORDS_MAX else f"{words[:_WORDS_MAX]} ..."
    return words if words.endswith((".", "!")) else f"{words}."


def _plain(name: str, value: str) -> str:
    """Return a parameter as Spark writes it: names in backticks, types in capitals."""
    parts = _IDENTIFIER.findall(value) or [value]
    if name.endswith(("Name", "name")) and name != "functionName":
        return ".".join(f"`{each}`" for part in parts for each in part.split("."))
    if name == "targetType":
        kind, _, rest = value.partition("(")
        if kind.startswith("Decimal"):
            return f"DECIMAL({rest.replace(' ', '')}"
        return "TIMESTAMP" if kind == "Timestamp" else _TYPES.get(kind, value)
    return value


def _refined(condition: str, sql: str) -> str:
    """Return the condition that it is for this query, where that decides."""
    words = sql.upper().split()
    if condition == "MISSING_GROUP_BY" and "GROUP" in words:
        return "MISSING_AGGREGATION"
    if condition == "UNRESOLVED_COLUMN.WITH_SUGGESTION" and sql and "FROM" not in words:
        # There is no column that it could have been.
        return "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION"
    return condition


def text_of(plan: Any) -> str:
    """Return what a message calls a query: its first line, shortened, if it is SQL."""
    sql = sql_of(plan)
    if sql is None:
        return "a DataFrame"
    lines = [each.strip() for each in sql.splitlines()]
    lines = [each for each in lines if each and not each.startswith("--")] or [""]
    is_whole = len(lines) == 1 and len(lines[0]) <= _TEXT_MAX
    return lines[0] if is_whole else f"{lines[0][:_TEXT_MAX]} ..."


def sql_of(plan: Any) -> str | None:
    """Return the SQL that a plan, command or relation begins with; None if it has none."""
    for _ in range(_DEPTH_MAX):
        if plan is None or not hasattr(plan, "DESCRIPTOR"):
            return None
        names = plan.DESCRIPTOR.fields_by_name
        # A text of SQL: Spark Connect calls it so in all of its forms.
        for name in ("query", "sql"):
            if name in names and isinstance(getattr(plan, name), str):
                text: str = getattr(plan, name)
                if text:
                    return text
        plan = _inner(plan, names)
    return None


def _inner(plan: Any, names: Any) -> Any:
    """Return the plan that a plan is mainly about."""
    for name in ("root", "input", "left"):
        # What is a list or a text isn't a plan.
        is_plan = name in names and hasattr(getattr(plan, name), "DESCRIPTOR")
        if is_plan and plan.HasField(name):
            return getattr(plan, name)
    for group in plan.DESCRIPTOR.oneofs:
        which = plan.WhichOneof(group.name)
        if which is not None:
            return getattr(plan, which)
    return None
