"""Approximate counting of distinct records: HyperLogLog."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.plan.partitioners import portable_hash

_HASH_BITS = 64


@dataclass(slots=True)
class HyperLogLog:
    """Registers of the longest run of zero bits (Flajolet et al., AofA 2007).

    The relative error is about 1.04 / sqrt(2 ** precision).
    """

    precision: int
    registers: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        if not self.registers:
            self.registers = bytearray(1 << self.precision)

    @classmethod
    def for_error(cls, relative_error: float) -> "HyperLogLog":
        """Return an empty counter with at most this relative standard deviation."""
        precision = math.ceil(2 * math.log2(1.04 / relative_error))
        return cls(max(4, min(18, precision)))

    def add_all(self, rows: Iterable[Any]) -> "HyperLogLog":
        """Count the records and return this counter."""
        rest_bits = _HASH_BITS - self.precision
        registers = self.registers
        for row in rows:
            bits = _hash64(row)
            index = bits >> rest_bits
            rest = bits & ((1 << rest_bits) - 1)
            rank = rest_bits - rest.bit_length() + 1
            registers[index] = max(registers[index], rank)
        return self

    def merged(self, other: "HyperLogLog") -> "HyperLogLog":
        """Return a counter of the union."""
        both = bytearray(map(max, self.registers, other.registers))
        return HyperLogLog(self.precision, both)

    def estimate(self) -> int:
        """Return about how many distinct records were counted."""
        m = len(self.registers)
        alpha = 0.7213 / (1 + 1.079 / m)
        raw = alpha * m * m / sum(2.0**-rank for rank in self.registers)
        zeros = self.registers.count(0)
        if raw <= 2.5 * m and zeros:
            raw = m * math.log(m / zeros)  # Linear counting: exact while few.
        return round(raw)


def _hash64(row: Any) -> int:
    if isinstance(row, str):
        text = row
    elif isinstance(row, int) or (isinstance(row, float) and row.is_integer()):
        text = str(int(row))  # 1, 1.0 and True are one record.
    else:
        text = f"{portable_hash(row)}|{row!r}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
