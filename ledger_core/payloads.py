"""Payloads: sealed before they are stored, opened when they are read, here and nowhere else.

Every part of a type that is not governance is sealed under a data key of its own
(formats/sealed.py); governance parts stay in the clear, because a ledger's constitution must be
readable as long as the ledger is. The row of a sealed part names its key, and the key lives in the
key store (keystore/), outside the database and its backups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ledger_core import ids
from ledger_core.admission import Admitted
from ledger_core.errors import ErasedError, IntegrityError
from ledger_core.formats.record import Part, PartRef
from ledger_core.formats.sealed import open_part, seal_part
from ledger_core.keystore.model import DataKey, KeyStore
from ledger_core.keystore.supply import KeySupply
from ledger_core.storage import store
from ledger_core.storage.database import Transaction
from ledger_core.storage.store import Gone, StoredPart, plain_part

_AT_ONCE = 1_000

Opened = Mapping[str, Part | Gone]
"""An entry's parts by name: each as it was given, or why it is not there."""


class Sealer:
    """Seals the parts of one batch; made by :meth:`Payloads.sealing`."""

    def __init__(self, supply: KeySupply, keys: list[DataKey], erased: Mapping[str, bytes]) -> None:
        self._supply = supply
        self.unused = keys
        self._erased = erased

    def seal(self, each: Admitted) -> dict[str, StoredPart]:
        """Return a record's parts as they are to be stored.

        Raises :class:`ErasedError` if one of them was erased, here or in another ledger.
        """
        if each.kind.is_governance:
            return {name: StoredPart(p.salt, p.data, None) for name, p in each.parts.items()}
        refs = each.signed.record.payload
        for name in each.parts:
            order = self._erased.get(refs[name].commitment)
            if order is not None:
                raise ErasedError(f"part {name} was erased, by entry {ids.format_digest(order)}")
        return {name: self._seal(part, refs[name]) for name, part in each.parts.items()}

    def _seal(self, part: Part, ref: PartRef) -> StoredPart:
        key = (self.unused or self._supply.take(1)).pop()
        sealed = seal_part(part, key.key, ids.parse_digest(ref.commitment))
        return StoredPart(None, sealed, key.id)


class Payloads:
    """What seals and opens payloads, for all ledgers of a process. Thread-safe."""

    def __init__(self, keys: KeyStore) -> None:
        self.keys = keys
        self._supply = KeySupply(keys)

    def close(self) -> None:
        self._supply.close()
        self.keys.close()

    @contextmanager
    def sealing(self, batch: Sequence[Admitted]) -> Iterator[Sealer]:
        """Give what seals a batch. Whatever it waits for, it waits for here."""
        commitments = [
            ref.commitment
            for each in batch
            if not each.kind.is_governance
            for ref in each.signed.record.payload.values()
        ]
        erased = self.keys.find_destroyed([ids.parse_digest(each) for each in commitments])
        sealer = Sealer(
            self._supply,
            self._supply.take(len(commitments)) if commitments else [],
            {ids.format_digest(commitment): order for commitment, order in erased.items()},
        )
        try:
            yield sealer
        finally:
            self._supply.give_back(sealer.unused)

    def open(
        self,
        stored: Mapping[int, Mapping[str, StoredPart]],
        refs: Mapping[int, Mapping[str, PartRef]],
    ) -> dict[int, Opened]:
        """Open the stored parts of entries, by index; ``refs`` are the parts that are wanted.

        Keys are looked up once for all of them. Raises :class:`IntegrityError` for a part that
        its key does not open; one that is not there, or whose key is not, is :class:`Gone`.
        """
        parts = [part for of in stored.values() for part in of.values()]
        keys = self.keys.find({part.key_id for part in parts if part.key_id is not None})
        return {
            index: {
                name: self._open(index, stored.get(index, {}).get(name), ref, keys)
                for name, ref in wanted.items()
            }
            for index, wanted in refs.items()
        }

    def count_keys(self, tx: Transaction) -> tuple[int, int]:
        """Return how many keys there are, and how many of them seal nothing that is stored."""
        keys = self.keys.count()
        return keys, max(0, keys - store.count_sealed(tx))

    def check_keys(self, tx: Transaction, ledger_id: int, start: int, end: int) -> None:
        """Raise :class:`IntegrityError` if sealed parts of ``[start, end)`` have no key.

        One that was destroyed has one: the key store knows of it.
        """
        sealed = store.read_key_ids(tx, ledger_id, start, end)
        for at in range(0, len(sealed), _AT_ONCE):
            part = sealed[at : at + _AT_ONCE]
            unknown = self.keys.find_unknown([key_id for _, key_id in part])
            for index, key_id in part:
                if key_id in unknown:
                    message = f"the key store never had the key of entry {index}"
                    raise IntegrityError(message, index=index)

    @staticmethod
    def _open(
        index: int, part: StoredPart | None, ref: PartRef, keys: Mapping[bytes, bytes]
    ) -> Part | Gone:
        if part is None:
            return Gone.ROW
        if part.key_id is None:
            return plain_part(index, part)
        key = keys.get(part.key_id)
        if key is None:
            return Gone.KEY
        try:
            return open_part(part.data, key, ids.parse_digest(ref.commitment))
        except IntegrityError as error:
            raise IntegrityError(f"entry {index}: {error}", index=index) from None
