"""Marks, for tests: RDDs from which on bad records are taken out, and what was found."""

from typing import Any

from millstream import RDD
from millstream.engine.jobs.found_records import BadRecord, Find
from millstream.engine.plan.marks import RecordMark
from millstream.engine.streams import bad_records
from millstream.streaming.bad_records import marked


class Marker:
    """Marks RDDs, and hears what is found at the mark."""

    def __init__(self, token: str = "test") -> None:
        self.token = token
        self.finds: list[Find] = []
        bad_records._known[token] = self  # type: ignore[assignment]

    def hear(self, find: Find) -> None:
        """Take what a task has found."""
        self.finds.append(find)

    def mark(self, rdd: RDD[Any], **settings: Any) -> RDD[Any]:
        """Return an RDD, marked."""
        told = {"keeps_records": True, **settings}
        made: RDD[Any] = marked(rdd, RecordMark(self.token, 0, **told))
        return made

    @property
    def places(self) -> list[tuple[int, int]]:
        """Where bad records were: partitions and indexes."""
        return sorted(
            {(find.partition, at) for find in self.finds for at in find.indexes}
        )

    @property
    def records(self) -> list[BadRecord]:
        """The bad records, in the order of their places."""
        found = {
            (find.partition, each.index): each
            for find in self.finds
            for each in find.records
        }
        return [found[place] for place in sorted(found)]
