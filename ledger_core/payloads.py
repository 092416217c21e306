"""Payloads: sealed before they are stored, opened when they are read, here and nowhere else.

Every part of a type that is not governance is sealed under a data key of its own
(formats/sealed.py); governance parts stay in the clear, because a ledger's constitution must be
readable as long as the ledger is. The row of a sealed part names its key, and the key lives in the
key store (keystore/), outside the database and its backups.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence

from ledger_core import ids
from ledger_core.admission import Admitted
from ledger_core.errors import ErasedError, IntegrityError
from ledger_core.formats.record import Part, PartRef
from ledger_core.formats.sealed import NONCE_BYTES, open_part, seal_part
from ledger_core.keystore.model import DataKey, KeyStore
from ledger_core.keystore.supply import KeySupply
from ledger_core.storage import key_ids
from ledger_core.storage.database import Transaction
from ledger_core.storage.erasures import Erased
from ledger_core.storage.store import Gone, StoredPart, plain_part

_AT_ONCE = 1_000

Opened = Mapping[str, Part | Gone | Erased]
"""An entry's parts by name: each as it was given, or why it is not there."""


class Sealer:
    """Seals the parts of one batch; made by :meth:`Payloads.sealing`.

    A context manager: keys that have sealed nothing are given back at its end.
    """

    def __init__(
        self,
        supply: KeySupply,
        keys: list[DataKey],
        commitments: Mapping[str, bytes],
        erased: Mapping[bytes, bytes],
    ) -> None:
        self._supply = supply
        self.unused = keys
        # All at once: to ask the system for each of them would take longer than to encrypt.
        self._nonces = io.BytesIO(os.urandom(NONCE_BYTES * len(keys)))
        self._commitments = commitments
        self._erased = erased

    def __enter__(self) -> Sealer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.unused:
            self._supply.give_back(self.unused)

    def seal(self, each: Admitted) -> dict[str, StoredPart]:
        """Return a record's parts as they are to be stored.

        Raises :class:`ErasedError` if one of them was erased, here or in another ledger.
        """
        if each.kind.is_governance:
            return {name: StoredPart(p.salt, p.data, None) for name, p in each.parts.items()}
        if self._erased:
            self._check_not_erased(each)
        refs = each.signed.record.payload
        return {
            name: self._seal(part, self._commitments[refs[name].commitment])
            for name, part in each.parts.items()
        }

    def _check_not_erased(self, each: Admitted) -> None:
        for name, ref in each.signed.record.payload.items():
            order = self._erased.get(self._commitments[ref.commitment])
            if order is not None:
                told = ids.format_digest(order)
                raise ErasedError(f"part {name} was erased, as entry {told} ordered")

    def _seal(self, part: Part, commitment: bytes) -> StoredPart:
        # More parts than keys: two records of a batch commit to the very same part.
        key = (self.unused or self._supply.take(1)).pop()
        nonce = self._nonces.read(NONCE_BYTES) or os.urandom(NONCE_BYTES)
        return StoredPart(None, seal_part(part, key.key, commitment, nonce), key.id)


class Payloads:
    """What seals and opens payloads, for all ledgers of a process. Thread-safe."""

    def __init__(self, keys: KeyStore) -> None:
        self.keys = keys
        self._supply = KeySupply(keys)

    def close(self) -> None:
        self._supply.close()
        self.keys.close()

    def sealing(self, batch: Sequence[Admitted]) -> Sealer:
        """Give what seals a batch. Whatever it waits for, it waits for here."""
        commitments = {
            ref.commitment: ids.parse_digest(ref.commitment)
            for each in batch
            if not each.kind.is_governance
            for ref in each.signed.record.payload.values()
        }
        erased = self.keys.find_destroyed(commitments.values())
        keys = self._supply.take(len(commitments)) if commitments else []
        return Sealer(self._supply, keys, commitments, erased)

    def open(
        self,
        stored: Mapping[int, Mapping[str, StoredPart]],
        refs: Mapping[int, Mapping[str, PartRef]],
        erased: Mapping[int, Mapping[str, int]],
    ) -> dict[int, Opened]:
        """Open the stored parts of entries, by index; ``refs`` are the parts that are wanted.

        ``erased`` (erased.py): what is not opened, though it may be stored still. Keys are looked
        up once for all. Raises :class:`IntegrityError` for a part that its key does not open; one
        that is not there, or whose key is not, is :class:`Gone`, or :class:`Erased`.
        """
        parts = {
            index: {name: stored.get(index, {}).get(name) for name in wanted}
            for index, wanted in refs.items()
        }
        stored_parts = [part for of in parts.values() for part in of.values() if part is not None]
        keys = self.keys.find({part.key_id for part in stored_parts if part.key_id is not None})
        return {
            index: {
                name: Erased(erased[index][name])
                if name in erased.get(index, {})
                else self._open(index, part, refs[index][name], keys)
                for name, part in of.items()
            }
            for index, of in parts.items()
        }

    def count_keys(self, tx: Transaction) -> tuple[int, int]:
        """Return how many keys there are, and how many of them seal nothing that is stored."""
        keys = self.keys.count()
        return keys, max(0, keys - key_ids.count_sealed(tx))

    def check_keys(self, tx: Transaction, ledger_id: int, start: int, end: int) -> None:
        """Raise :class:`IntegrityError` if sealed parts of ``[start, end)`` have no key.

        One that was destroyed has one: the key store knows of it.
        """
        sealed = list(key_ids.read_key_ids(tx, ledger_id, start, end).items())
        for at in range(0, len(sealed), _AT_ONCE):
            asked = sealed[at : at + _AT_ONCE]
            unknown = self.keys.find_unknown([key_id for _, key_id in asked])
            for (index, part), key_id in asked:
                if key_id in unknown:
                    message = f"the key store never had the key of entry {index}, part {part}"
                    raise IntegrityError(message, index=index)

    @staticmethod
    def _open(
        index: int, part: StoredPart | None, ref: PartRef, keys: Mapping[bytes, bytes]
    ) -> Part | Gone:
        if part is None:
            return Gone.ROW
        if part.key_id is None:
            return plain_part(index, part)
        if part.salt is not None:
            raise IntegrityError(f"entry {index}: a sealed part has a salt as well", index=index)
        key = keys.get(part.key_id)
        if key is None:
            return Gone.KEY
        try:
            return open_part(part.data, key, ids.parse_digest(ref.commitment))
        except IntegrityError as error:
            raise IntegrityError(f"entry {index}: {error}", index=index) from None
