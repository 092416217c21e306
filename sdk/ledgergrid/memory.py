"""What a client remembers of one ledger between runs, in a folder of its own.

::

    log.vkey          the log's key, once learned; never replaced by another
    log.heirs         keys it handed over to, a line each: index of the entry that says so, vkey
    checkpoint        the last checkpoint verified, a signed note; only ever moves forward
    log.epochs        epochs that were accepted, like log.heirs: first entry, the log's new key
    log.heirs.2, checkpoint.2 …  the same for the second epoch, and so on
    evidence/         checkpoints that contradict each other, should that happen
    outbox/ refused/  see outbox.py
    streams/          numbers used up, see numbers.py

Several threads and processes may share the folder: each change is made under a lock, and
only if what it was decided upon still stands.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import IntegrityError
from ledger_core.formats.vkey import LogKey, format_vkey, parse_vkey
from ledgergrid.errors import StrangeLogKeyError
from ledgergrid.files import locked, make_folder, read_bounded, write_durably

_VKEY_BYTES = 1024
_HEIRS_BYTES = 1024 * 1024
_MOST_EVIDENCE_FILES = 100
"""A log that signs anything could fill a disk; the first contradictions say it all."""


class Evidence(msgspec.Struct, frozen=True):
    """Why a ledger is not believed any more, for others to check."""

    why: str
    found_at: str
    log_keys: tuple[str, ...]
    remembered: str
    """The checkpoint verified earlier, a signed note."""
    received: str
    """The checkpoint that came now, a signed note."""
    answer: str
    """What the ledger said when asked to prove that one continues the other."""


class Heir(msgspec.Struct, frozen=True):
    """A key that a log's key handed over to: it signs every size above ``since``."""

    since: int
    key: LogKey


class Memory:
    """Reads and writes the folder; everything is read afresh, since others write too."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self._lock = folder / ".lock"
        self._key = folder / "log.vkey"
        self._epochs = folder / "log.epochs"

    def _current(self, name: str) -> Path:
        """Return the file of this name that belongs to the newest epoch accepted."""
        number = len(self.epochs()) + 1
        return self.folder / (name if number == 1 else f"{name}.{number}")

    def log_key(self) -> LogKey | None:
        """Return the key this ledger is known under in its newest epoch, if any yet."""
        epochs = self.epochs()
        return epochs[-1].key if epochs else self.first_key()

    def first_key(self) -> LogKey | None:
        """Return the key this ledger was known under at first, whatever epochs came after."""
        try:
            text = read_bounded(self._key, _VKEY_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        key = parse_vkey(text.removesuffix("\n"))
        if not isinstance(key, LogKey):
            raise IntegrityError(f"{self._key} does not hold a log's key")
        return key

    def pin(self, key: LogKey) -> None:
        """Remember the key for good; raise if the ledger is known under another one."""
        with locked(self._lock):
            known = self.first_key()
            if known is None:
                write_durably(self._key, f"{format_vkey(key)}\n".encode())
            elif known != key:
                raise StrangeLogKeyError(
                    f"this ledger is known as {format_vkey(known)}, and now {format_vkey(key)} is "
                    f"offered; if you know why, remove {self._key}"
                )

    def heirs(self) -> tuple[Heir, ...]:
        """Return the keys that the log's key handed over to, oldest first."""
        return _read_keys(self._current("log.heirs"))

    def epochs(self) -> tuple[Heir, ...]:
        """Return the epochs that were accepted: the first entry, the key that it gave the log."""
        return _read_keys(self._epochs)

    def add_epoch(self, before: tuple[Heir, ...], new: Heir) -> bool:
        """Remember one more epoch if ``before`` is still what is remembered; say whether it was."""
        with locked(self._lock):
            if self.epochs() != before:
                return False
            _write_keys(self._epochs, (*before, new))
            return True

    def replace_heirs(self, before: tuple[Heir, ...], after: tuple[Heir, ...]) -> bool:
        """Remember more heirs if ``before`` is still what is remembered; say whether it was."""
        with locked(self._lock):
            if self.heirs() != before:
                return False
            _write_keys(self._current("log.heirs"), after)
            return True

    def checkpoint(self) -> bytes | None:
        """Return the signed note of the last checkpoint verified."""
        try:
            return read_bounded(self._current("checkpoint"), limits.NOTE_BYTES)
        except FileNotFoundError:
            return None

    def replace_checkpoint(self, before: bytes | None, after: bytes) -> bool:
        """Remember ``after`` if ``before`` is still what is remembered; say whether it was."""
        with locked(self._lock):
            if self.checkpoint() != before:
                return False
            write_durably(self._current("checkpoint"), after)
            return True

    def keep_evidence(self, evidence: Evidence) -> Path:
        """Store a contradiction; the same one is stored once."""
        folder = make_folder(self.folder / "evidence")
        pair = sha256(f"{evidence.remembered}\0{evidence.received}".encode()).hexdigest()
        path = folder / f"fork-{pair[:32]}.json"
        with locked(self._lock):
            files = sum(1 for _ in folder.iterdir())
            if not path.exists() and files < _MOST_EVIDENCE_FILES:
                write_durably(path, msgspec.json.format(msgspec.json.encode(evidence), indent=2))
        return path if path.exists() else folder


def _read_keys(path: Path) -> tuple[Heir, ...]:
    try:
        text = read_bounded(path, _HEIRS_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return ()
    heirs: list[Heir] = []
    for line in text.splitlines():
        since, _, vkey = line.partition(" ")
        key = parse_vkey(vkey)
        if not isinstance(key, LogKey):
            raise IntegrityError(f"{path} holds a key that is no log's")
        heirs.append(Heir(ids.parse_decimal(since), key))
    return tuple(heirs)


def _write_keys(path: Path, keys: tuple[Heir, ...]) -> None:
    lines = [f"{heir.since} {format_vkey(heir.key)}\n" for heir in keys]
    write_durably(path, "".join(lines).encode())
