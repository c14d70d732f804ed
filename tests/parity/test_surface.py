"""PySpark's surface: every method of the API tables, with its parameters in order."""

import inspect
import re
from typing import Any

import pytest

import millstream
from millstream.statcounter import StatCounter
from millstream.streaming import DStream, StreamingContext, StreamingListener

RDD = """
cache() persist(storageLevel) unpersist(blocking) getStorageLevel() checkpoint() isCheckpointed()
getCheckpointFile() localCheckpoint() isLocallyCheckpointed() cleanShuffleDependencies(blocking)
id() name() setName(name) toDebugString() getNumPartitions()
map(f,preservesPartitioning) flatMap(f,preservesPartitioning) filter(f)
mapPartitions(f,preservesPartitioning) mapPartitionsWithIndex(f,preservesPartitioning)
mapPartitionsWithSplit(f,preservesPartitioning) distinct(numPartitions)
sample(withReplacement,fraction,seed) randomSplit(weights,seed)
takeSample(withReplacement,num,seed) sampleByKey(withReplacement,fractions,seed) union(other)
intersection(other) subtract(other,numPartitions) subtractByKey(other,numPartitions)
cartesian(other) zip(other) zipWithIndex() zipWithUniqueId()
groupBy(f,numPartitions,partitionFunc) keyBy(f) keys() values() glom()
pipe(command,env,checkCode) sortBy(keyfunc,ascending,numPartitions)
sortByKey(ascending,numPartitions,keyfunc)
repartitionAndSortWithinPartitions(numPartitions,partitionFunc,ascending,keyfunc)
partitionBy(numPartitions,partitionFunc) repartition(numPartitions)
coalesce(numPartitions,shuffle) foreach(f) foreachPartition(f) collect() take(num) first()
isEmpty() count() collectWithJobGroup(groupId,description,interruptOnCancel)
toLocalIterator(prefetchPartitions) reduce(f) treeReduce(f,depth) fold(zeroValue,op)
aggregate(zeroValue,seqOp,combOp) treeAggregate(zeroValue,seqOp,combOp,depth) max(key) min(key)
sum() mean() variance() stdev() sampleVariance() sampleStdev() stats() histogram(buckets)
countByValue() countByKey() top(num,key) takeOrdered(num,key) lookup(key) collectAsMap()
reduceByKeyLocally(func) countApprox(timeout,confidence) sumApprox(timeout,confidence)
meanApprox(timeout,confidence) countApproxDistinct(relativeSD)
combineByKey(createCombiner,mergeValue,mergeCombiners,numPartitions,partitionFunc)
aggregateByKey(zeroValue,seqFunc,combFunc,numPartitions,partitionFunc)
foldByKey(zeroValue,func,numPartitions,partitionFunc)
reduceByKey(func,numPartitions,partitionFunc) groupByKey(numPartitions,partitionFunc)
mapValues(f) flatMapValues(f) join(other,numPartitions) leftOuterJoin(other,numPartitions)
rightOuterJoin(other,numPartitions) fullOuterJoin(other,numPartitions)
cogroup(other,numPartitions) saveAsTextFile(path,compressionCodecClass)
saveAsPickleFile(path,batchSize) barrier() withResources(profile) getResourceProfile()
toDF(schema,sampleRatio)
"""

CONTEXT = """
stop() parallelize(c,numSlices) range(start,end,step,numSlices) emptyRDD()
textFile(name,minPartitions,use_unicode) wholeTextFiles(path,minPartitions,use_unicode)
binaryFiles(path,minPartitions) binaryRecords(path,recordLength) pickleFile(name,minPartitions)
sequenceFile(path,keyClass,valueClass,keyConverter,valueConverter,minSplits,batchSize)
union(rdds) broadcast(value) accumulator(value,accum_param) addFile(path,recursive)
addPyFile(path) addArchive(path) setCheckpointDir(dirName) getCheckpointDir()
setJobGroup(groupId,description,interruptOnCancel) setInterruptOnCancel(interruptOnCancel)
addJobTag(tag) removeJobTag(tag) getJobTags() clearJobTags() setLocalProperty(key,value)
getLocalProperty(key) setJobDescription(value) cancelJobGroup(groupId) cancelJobsWithTag(tag)
cancelAllJobs() statusTracker() runJob(rdd,partitionFunc,partitions,allowLocal)
setLogLevel(logLevel) sparkUser() getConf() show_profiles() dump_profiles(path)
"""

DSTREAM = """
context() map(f,preservesPartitioning) flatMap(f,preservesPartitioning) filter(f)
mapPartitions(f,preservesPartitioning) mapPartitionsWithIndex(f,preservesPartitioning) glom()
mapValues(f) flatMapValues(f) repartition(numPartitions)
partitionBy(numPartitions,partitionFunc) count() reduce(func) countByValue()
reduceByKey(func,numPartitions)
combineByKey(createCombiner,mergeValue,mergeCombiners,numPartitions) groupByKey(numPartitions)
join(other,numPartitions) leftOuterJoin(other,numPartitions)
rightOuterJoin(other,numPartitions) fullOuterJoin(other,numPartitions)
cogroup(other,numPartitions) union(other) transform(func)
transformWith(func,other,keepSerializer) foreachRDD(func) pprint(num)
saveAsTextFiles(prefix,suffix) cache() persist(storageLevel) checkpoint(interval)
slice(begin,end) window(windowDuration,slideDuration)
reduceByWindow(reduceFunc,invReduceFunc,windowDuration,slideDuration)
countByWindow(windowDuration,slideDuration)
countByValueAndWindow(windowDuration,slideDuration,numPartitions)
groupByKeyAndWindow(windowDuration,slideDuration,numPartitions)
reduceByKeyAndWindow(func,invFunc,windowDuration,slideDuration,numPartitions,filterFunc)
updateStateByKey(updateFunc,numPartitions,initialRDD)
"""

STREAMING = """
start() awaitTermination(timeout) awaitTerminationOrTimeout(timeout)
stop(stopSparkContext,stopGraceFully) remember(duration) checkpoint(directory)
socketTextStream(hostname,port,storageLevel) textFileStream(directory)
binaryRecordsStream(directory,recordLength) queueStream(rdds,oneAtATime,default)
transform(dstreams,transformFunc) union(dstreams) addStreamingListener(streamingListener)
getOrCreate(checkpointPath,setupFunc) getActive() getActiveOrCreate(checkpointPath,setupFunc)
"""

LISTENER = """
onStreamingStarted(streamingStarted) onReceiverStarted(receiverStarted)
onReceiverError(receiverError) onReceiverStopped(receiverStopped)
onBatchSubmitted(batchSubmitted) onBatchStarted(batchStarted) onBatchCompleted(batchCompleted)
onOutputOperationStarted(outputOperationStarted)
onOutputOperationCompleted(outputOperationCompleted)
"""

CONF = """
set(key,value) setIfMissing(key,value) setMaster(value) setAppName(value) setSparkHome(value)
setExecutorEnv(key,value,pairs) setAll(pairs) get(key,defaultValue) getAll() contains(key)
toDebugString()
"""

STATS = """
merge(value) mergeStats(other) copy() count() mean() sum() min() max() variance()
sampleVariance() stdev() sampleStdev() asDict(sample)
"""

TABLES: list[tuple[Any, str]] = [
    (millstream.RDD, RDD),
    (millstream.SparkContext, CONTEXT),
    (DStream, DSTREAM),
    (StreamingContext, STREAMING),
    (StreamingListener, LISTENER),
    (millstream.SparkConf, CONF),
    (StatCounter, STATS),
]


@pytest.mark.parametrize(
    ("owner", "table"), TABLES, ids=[owner.__name__ for owner, _ in TABLES]
)
def test_every_method_has_pysparks_parameters(owner: Any, table: str) -> None:
    """Same names, same order; ours may have more behind them."""
    wrong = []
    for name, listed in re.findall(r"(\w+)\(([^)]*)\)", table):
        method = getattr(owner, name, None)
        if method is None:
            wrong.append(f"{name} is missing")
            continue
        have = [
            p for p in inspect.signature(method).parameters if p not in ("self", "cls")
        ]
        wanted = [parameter for parameter in listed.split(",") if parameter]
        if have[: len(wanted)] != wanted:
            wrong.append(f"{name}({', '.join(have)}) should begin ({listed})")

    assert not wrong


def test_properties_are_properties() -> None:
    """What PySpark has as attributes is no method."""
    for owner, names in (
        (
            millstream.SparkContext,
            "version applicationId uiWebUrl startTime defaultParallelism defaultMinPartitions resources listFiles listArchives",
        ),
        (millstream.RDD, "context partitioner is_cached is_checkpointed"),
        (StreamingContext, "sparkContext"),
    ):
        for name in names.split():
            assert isinstance(inspect.getattr_static(owner, name), property), name
