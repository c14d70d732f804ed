"""What of PySpark isn't here, or is otherwise, each with the reason for who reads it.

An entry for a class or a module is one for all that is in it. The tests see that each
name is PySpark's (surface.json), and that what is said of it is so.
"""

from collections.abc import Mapping
from typing import Final

_JVM = "it takes Java classes, and there is no JVM; use "
_READ = "`textFile`, `binaryFiles` or `pickleFile`"
_WRITE = "`saveAsTextFile`, or a [sink](sinks/index.md)"
_RESOURCES = (
    "there are no executors with resources of their own; set the master's slots"
)
_INSIDE = "PySpark's own machinery"
_KEPT = "what PySpark's class keeps for itself"
_FRAMES = "there is no JVM to exchange records with; use `dumps` and `loads`"
_PANDAS = (
    "pandas on Spark isn't here; `toPandas`, `mapInPandas` and `applyInPandas` are"
)
_NEW = "new in PySpark 4.3; the client of SQL is 4.2's"
_STREAMING = "Structured Streaming isn't here: streams are DStreams, [with SQL on each batch](sql/streams.md)"
_SERVER = "there is no Spark Connect server to connect to; use `getOrCreate`"

_NEW_FUNCTIONS = [
    "collect_union",
    "counter_diff",
    "from_base32",
    "hmac",
    "jaro_winkler_similarity",
    "timestamp_nanos",
    "to_base32",
    "try_variant_array_append",
    "try_variant_insert",
    "try_variant_set",
    "unix_nanos",
    "variant_array_append",
    "variant_delete",
    "variant_insert",
    "variant_set",
    "variant_strip_nulls",
    "vector_avg",
    "vector_cosine_similarity",
    "vector_inner_product",
    "vector_l2_distance",
    "vector_norm",
    "vector_normalize",
    "vector_sum",
]

_MACHINERY = [
    "cloudpickle",
    "daemon",
    "errors_doc_gen",
    "find_spark_home",
    "install",
    "instrumentation_utils",
    "java_gateway",
    "join",
    "loose_version",
    "memory_profiler_ext",
    "messages",
    "rddsampler",
    "shell",
    "shuffle",
    "sql.classic",
    "sql.transpile",
    "threaddump",
    "traceback_utils",
    "worker",
    "worker_message",
    "worker_util",
]


def _each(prefix: str, names: str, reason: str) -> dict[str, str]:
    return {f"{prefix}.{name}": reason for name in names.split()}


ABSENT: Final[Mapping[str, str]] = {
    **dict.fromkeys((f"pyspark.{name}" for name in _MACHINERY), _INSIDE),
    "pyspark.ml": "no machine learning on DataFrames; `mapInPandas` with a library of yours",
    "pyspark.mllib": "no machine learning; a library of yours in `mapPartitions`",
    "pyspark.pandas": _PANDAS,
    "pyspark.pipelines": "no declarative pipelines: a program is plain Python",
    "pyspark.logger": "Python's `logging` does it; `millstream run --log-format json`",
    "pyspark.resource": _RESOURCES,
    "pyspark.testing": "`millstream.testing` has a [harness for streams](testing.md)",
    **{
        f"pyspark.{name}.{stream}": _FRAMES
        for name in (
            "CPickleSerializer",
            "MarshalSerializer",
            "serializers.PickleSerializer",
            "serializers.UTF8Deserializer",
        )
        for stream in ("dump_stream", "load_stream")
    },
    **_each("pyspark.statcounter.StatCounter", "maximum minimum sqrt", _KEPT),
    "pyspark.errors.PySparkAssertionError.data": _KEPT,
    **_each(
        "pyspark.errors.PySparkException",
        "error_class error_reader message_parameters",
        "PySpark 3.5's; use `getErrorClass` and `getMessageParameters`",
    ),
    **_each(
        "pyspark.errors",
        "QueryContext QueryContextType",
        "what is wrong in a query, and where, is in the error's text",
    ),
    "pyspark.errors.StreamingPythonRunnerInitializationException": _STREAMING,
    "pyspark.streaming.StreamingListener.Java": "there is no JVM that calls listeners",
    **_each("pyspark.streaming.dstream.TransformedDStream", "func prev", _KEPT),
    "pyspark.streaming.kafka.KafkaTransformedDStream": "`transform` of a direct stream makes a plain DStream; the RDDs that its function gets have `offsetRanges()`",
    "pyspark.sql.DataFrame.to_koalas": _PANDAS,
    "pyspark.sql.DataFrame.to_pandas_on_spark": _PANDAS,
    "pyspark.sql.DataFrame.zip": _NEW,
    "pyspark.sql.GroupedData.session": _KEPT,
    "pyspark.sql.HiveContext.refreshTable": "tables are looked up when a query runs; there is nothing to refresh",
    "pyspark.sql.SQLContext.createExternalTable": "use `df.write.saveAsTable`, or a view of `read`",
    "pyspark.sql.SQLContext.registerJavaFunction": "there is no JVM; use `udf.register`",
    **_each("pyspark.sql.SparkSession.Builder", "create remote", _SERVER),
    **dict.fromkeys((f"pyspark.sql.functions.{name}" for name in _NEW_FUNCTIONS), _NEW),
    "pyspark.sql.functions.UserDefinedFunction.transpiled": _NEW,
}
"""Neither the name nor anything in its place."""

_DONE_OTHERWISE = "the engine hasn't it; "
_ENGINE = "the engine hasn't it"

REFUSED: Final[Mapping[str, str]] = {
    **_each(
        "pyspark.SparkContext",
        "hadoopFile hadoopRDD newAPIHadoopFile newAPIHadoopRDD",
        _JVM + _READ,
    ),
    **_each(
        "pyspark.RDD",
        """saveAsHadoopFile saveAsHadoopDataset saveAsNewAPIHadoopFile
        saveAsNewAPIHadoopDataset""",
        _JVM + _WRITE,
    ),
    "pyspark.RDD.withResources": _RESOURCES,
    **_each(
        "pyspark.sql.Catalog",
        """analyzeTable createDatabase dropDatabase dropTable dropView functionExists getCreateTableString getFunction getTableProperties
        listPartitions listViews recoverPartitions refreshByPath refreshTable
        truncateTable""",
        _ENGINE,
    ),
    **_each(
        "pyspark.sql.DataFrame",
        "dropDuplicatesWithinWatermark withWatermark",
        _STREAMING,
    ),
    **_each(
        "pyspark.sql.DataFrame",
        "freqItems observe repartitionById sameSemantics semanticHash transpose",
        _ENGINE,
    ),
    "pyspark.sql.DataFrame.mergeInto": "tables of files can't be merged into; use a [sink](sinks/index.md) with keys",
    "pyspark.sql.DataFrame.pandas_api": _PANDAS,
    "pyspark.sql.DataFrame.writeStream": _STREAMING,
    "pyspark.sql.DataFrameStatFunctions.freqItems": _ENGINE,
    **_each("pyspark.sql.DataFrameReader", "orc xml", f"{_DONE_OTHERWISE}use Parquet"),
    **_each("pyspark.sql.DataFrameWriter", "orc xml", f"{_DONE_OTHERWISE}use Parquet"),
    **_each(
        "pyspark.sql.DataFrameWriter",
        "bucketBy clusterBy",
        f"{_DONE_OTHERWISE}use `partitionBy`",
    ),
    **_each(
        "pyspark.sql.DataFrameWriterV2",
        "clusterBy overwrite overwritePartitions",
        f"{_DONE_OTHERWISE}`createOrReplace` replaces a whole table",
    ),
    **_each(
        "pyspark.sql.GroupedData",
        """applyInPandasWithState transformWithState transformWithStateInPandas""",
        f"{_STREAMING}; state is `updateStateByKey` and `mapWithState`",
    ),
    **_each(
        "pyspark.sql.SparkSession",
        "addArtifact addArtifacts",
        f"{_DONE_OTHERWISE}`sc.addPyFile` and `sc.addFile` are for tasks",
    ),
    "pyspark.sql.SparkSession.readStream": _STREAMING,
    "pyspark.sql.SQLContext.readStream": _STREAMING,
    "pyspark.sql.SparkSession.copyFromLocalToFs": f"{_DONE_OTHERWISE}paths are the driver's own",
    **_each(
        "pyspark.sql.UDFRegistration",
        "registerJavaFunction registerJavaUDAF",
        "there is no JVM; use `udf.register`",
    ),
    **_each("pyspark.sql.avro.functions", "from_avro to_avro", f"{_ENGINE}; use a udf"),
    **_each(
        "pyspark.sql.protobuf.functions",
        "from_protobuf to_protobuf",
        f"{_ENGINE}; use a udf",
    ),
}
"""The name is there, and raises an error that says so."""

_SKETCHES = "no such sketches in the engine; those of HyperLogLog and Theta are there"
_FILES = "the engine doesn't say which file a row is from"
_TIMES = "the engine has no type for a time of day"
_ROUNDS = "the engine would round otherwise than Spark: `round` is right"


def _of_kinds(kinds: str, names: str) -> list[str]:
    return [f"{name}_{kind}" for name in names.split() for kind in kinds.split()]


_OF_SKETCHES = [
    *_of_kinds(
        "bigint double float",
        """kll_merge_agg kll_sketch_agg kll_sketch_get_n kll_sketch_get_quantile
        kll_sketch_get_rank kll_sketch_merge kll_sketch_to_string""",
    ),
    *_of_kinds(
        "double integer",
        """tuple_difference tuple_difference_theta tuple_intersection
        tuple_intersection_agg tuple_intersection_theta tuple_sketch_agg
        tuple_sketch_estimate tuple_sketch_summary tuple_sketch_theta tuple_union
        tuple_union_agg tuple_union_theta""",
    ),
]

LACKING_FUNCTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_OF_SKETCHES, _SKETCHES),
    **dict.fromkeys(
        ["input_file_block_length", "input_file_block_start", "input_file_name"], _FILES
    ),
    **dict.fromkeys(
        [
            "current_time",
            "time_bucket",
            *_of_kinds("micros millis seconds", "time_from time_to"),
        ],
        _TIMES,
    ),
    **dict.fromkeys(["bround", "rint"], _ROUNDS),
    **dict.fromkeys(["java_method", "reflect", "try_reflect"], "there is no JVM"),
    **dict.fromkeys(
        ["collate", "collation"], f"{_ENGINE}: texts compare by their bytes"
    ),
    **dict.fromkeys(["st_setsrid", "st_srid"], _ENGINE),
    "current_path": _ENGINE,
    "is_valid_variant": _ENGINE,
    "schema_of_xml": _ENGINE,
    "session_window": "sessions are made with `mapWithState`; `window` is there",
    "try_make_interval": "use `make_interval`",
    "try_to_date": "use `try_to_timestamp`, and cast",
    "unwrap_udt": "there are no types of a program's own in the engine",
}
"""Functions of queries that are there to be called, and that the engine then refuses."""

_MADE = "made by the library, not by programs: the constructor's parameters are others"
_BY_NAME = "is made with a message alone; what PySpark's programs ask of an error that they catch is there"
_OWN_FORMAT = "in a format of our own, which Hadoop can't read"
_ONE_COPY = "one copy under a local master; on Ray one more, on another node"

DIFFERS: Final[Mapping[str, str]] = {
    "pyspark.SparkContext.sequenceFile": _OWN_FORMAT,
    "pyspark.SparkContext.pickleFile": _OWN_FORMAT,
    "pyspark.RDD.saveAsSequenceFile": _OWN_FORMAT,
    "pyspark.RDD.saveAsPickleFile": _OWN_FORMAT,
    **_each(
        "pyspark.StorageLevel",
        "DISK_ONLY_2 DISK_ONLY_3 MEMORY_ONLY_2 MEMORY_AND_DISK_2",
        _ONE_COPY,
    ),
    "pyspark.StorageLevel.OFF_HEAP": "there is no heap to be off: kept in memory, and on disk when that is full",
    "pyspark.SparkConf.setExecutorEnv": "accepted, and without effect: executors have the environment that they were started in",
    **_each(
        "pyspark.sql.Catalog",
        "createExternalTable createTable",
        "needs a schema, and makes the table only when the frame that it returns is used; use `df.write.saveAsTable`",
    ),
    "pyspark.sql.SparkSession.streams": f"none ever: {_STREAMING}",
}
"""It is there, with PySpark's parameters, and does something else."""

OTHER_PARAMETERS: Final[Mapping[str, str]] = {
    **_each(
        "pyspark",
        "BarrierTaskContext Broadcast RDD StatusTracker TaskContext",
        _MADE,
    ),
    **_each("pyspark.streaming", "DStream dstream.TransformedDStream", _MADE),
    **_each("pyspark.streaming.kafka", "KafkaDStream KafkaRDD", _MADE),
    "pyspark.CPickleSerializer": "`allowed_names`, of PySpark 4.3, isn't there",
    **_each(
        "pyspark",
        "CPickleSerializer.loads serializers.PickleSerializer.loads",
        "`encoding`, which is for pickles of Python 2, isn't there",
    ),
    "pyspark.serializers.CloudPickleSerializer": "a class of its own: only it pickles functions by value",
    "pyspark.serializers.UTF8Deserializer.loads": "takes bytes, not a stream",
    "pyspark.InheritableThread": "takes what `threading.Thread` takes, by name",
    **_each(
        "pyspark.errors",
        """AnalysisException ArithmeticException ArrayIndexOutOfBoundsException
        DateTimeException IllegalArgumentException NumberFormatException ParseException
        PickleException PySparkAssertionError PySparkAttributeError PySparkException
        PySparkImportError PySparkIndexError PySparkKeyError PySparkNotImplementedError
        PySparkPicklingError PySparkRuntimeError PySparkTypeError PySparkValueError
        PythonException QueryExecutionException SessionNotSameException
        SparkNoSuchElementException SparkRuntimeException SparkUpgradeException
        StreamingQueryException TempTableAlreadyExistsException UnknownException
        UnsupportedOperationException""",
        _BY_NAME,
    ),
    "pyspark.sql.HiveContext": "takes what `SQLContext` takes; there is no Hive",
    **_each(
        "pyspark.sql",
        "SQLContext.createDataFrame SparkSession.createDataFrame",
        "`verifySchema=None` verifies, too",
    ),
    "pyspark.sql.SparkSession": "`options=None` is none, too",
    "pyspark.streaming.StreamingContext.stop": "`stopSparkContext=None` is what `spark.streaming.stopSparkContextByDefault` says",
    **_each(
        "pyspark.sql",
        "functions.instr functions.regexp_replace",
        "what PySpark 4.3 has added isn't there; the client of SQL is 4.2's",
    ),
}
"""It is there, with parameters that aren't PySpark's."""
