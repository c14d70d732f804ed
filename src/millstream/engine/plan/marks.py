"""RecordMark: a point of the lineage from which on bad records are taken out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_FEW = 10
_ENOUGH = 100


@dataclass(frozen=True, slots=True)
class RecordMark:
    """What becomes of a record at a node that makes a later step of its stage raise.

    The node itself passes its parent's partitions on as they are: it costs nothing; but
    for what is known to be bad.
    """

    token: str
    """Whose finds these are: that of the stream which was marked."""
    time_ms: int
    """The batch that the node is of."""
    is_tolerant: bool = True
    """Whether bad records are taken out; else errors fail the task, as without a mark."""
    keeps_records: bool = False
    """Whether what is taken out travels to the driver; else only how many and where."""
    max_share: float = 0.5
    """A partition of 100 records and more in which a larger share is bad fails."""
    max_records: int = 10_000
    """So does one with more bad records than this, where they are kept."""
    taken_out: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """What is known to be bad from an earlier run of the batch: indexes by partition."""

    def allowed(self, count: int) -> int:
        """Return how many of a partition's `count` records may be bad.

        All of fewer than ten: a slow stream's batch may be one record, and that a bad one.
        Of ten and more not all, and from 100 on no more than the share.
        """
        most = count if count < _FEW else count - 1
        if count >= _ENOUGH:
            most = min(most, int(self.max_share * count))
        return min(most, self.max_records) if self.keeps_records else most
