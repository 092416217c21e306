"""Streams: an author numbers its records, and gives no number twice.

A record may carry ``stream`` and ``n``, its author's own counter::

    (author, stream, n)  ->  the first entry that has it

A second record with the same counter is an entry like any other: nobody is kept from
contradicting himself. But right behind it the service's evidence is due, ``equivocation/1`` of
kind ``stream``, which names the first such entry and the second; so with every later one, always
against the first. Whoever keeps two records of one author and number needs no more than these.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ledger_core import ids
from ledger_core.formats.record import Record
from ledger_core.records.model import RecordType
from ledger_core.records.types.equivocation import Equivocation

_N_BYTES = 8


def counter_of(kind: RecordType, record: Record) -> bytes | None:
    """Return key, stream and number as bytes, in which numbers of a stream lie side by side.

    None for a record that is not numbered, and for one of a constitutional type: what it changes
    may be the very key that would have to write the evidence.
    """
    stream, n = record.stream, record.n
    if stream is msgspec.UNSET or n is msgspec.UNSET or kind.is_constitutional:
        return None
    return ids.parse_key(record.author) + stream.encode("ascii") + n.to_bytes(_N_BYTES)


def evidence_of(first: bytes, second: bytes) -> Equivocation:
    """Return the evidence that two entries, named by leaf hash, have one counter."""
    return Equivocation("stream", ids.format_digest(first), ids.format_digest(second))


class Counters:
    """To which entry each counter was given first, by leaf hash.

    ``known`` holds at least the counters that the records to come have and that were given
    before; ``given`` are those given since then.
    """

    def __init__(self, known: Mapping[bytes, bytes]) -> None:
        self._known = known
        self.given: dict[bytes, bytes] = {}

    def find(self, counter: bytes | None) -> bytes | None:
        """Return the leaf hash of the first entry with this counter, if there is one."""
        if counter is None:
            return None
        return self._known.get(counter) or self.given.get(counter)

    def give(self, counter: bytes | None, leaf_hash: bytes) -> None:
        """Note that an entry has this counter; only the first one is kept."""
        if counter is not None and counter not in self._known:
            self.given.setdefault(counter, leaf_hash)
