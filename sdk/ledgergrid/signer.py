"""An author's key: make it, keep it in a file, sign with it.

The file holds one line, a C2SP private key: ``PRIVATE+KEY+agent+1b2c3d4e+AX…``.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from ledger_core import ids
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats import ed25519
from ledger_core.formats.note import check_key_name
from ledger_core.formats.record import Record, SignedRecord, seal
from ledger_core.formats.vkey import NoteSigner, format_skey, parse_skey
from ledger_core.records.model import Role
from ledger_core.records.possession import HeldKey, prove_possession
from ledger_core.records.types.epoch import Agreement, Statement, sign_statement
from ledgergrid.files import make_folder, read_bounded, write_durably

_FILE_BYTES = 4096


class Signer:
    """Holds an author's private key; :attr:`key` is the public one, as records name it."""

    def __init__(self, signer: NoteSigner) -> None:
        self._signer = signer
        self.name = signer.name
        self.key = ids.format_key(signer.private.public_key)

    def __repr__(self) -> str:
        return f"Signer({self.name!r}, {self.key!r})"

    @classmethod
    def make(cls, name: str = "agent") -> Signer:
        """Make a new key. ``name`` tells keys apart for people; ledgers never see it."""
        check_key_name(name)
        return cls(NoteSigner(name, ed25519.PrivateKey.generate()))

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read a key from its text, for example out of a secret store."""
        signer = parse_skey(text.strip())
        if not isinstance(signer, NoteSigner):
            raise MalformedError("this is a witness's private key: records are sealed with another")
        return cls(signer)

    @classmethod
    def load(cls, path: str | Path) -> Signer:
        """Read a key from its file, which the rest of the world must not be able to read."""
        path = Path(path).expanduser()
        try:
            text = read_bounded(path, _FILE_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            raise SettingsError(
                f"no key at {path}; make one with Signer.make().save({str(path)!r})"
            ) from None
        _check_private(path)
        return cls.parse(text)

    def save(self, path: str | Path) -> Path:
        """Write the key to a new file that only its owner can read."""
        path = Path(path).expanduser()
        make_folder(path.parent)
        try:
            write_durably(path, f"{format_skey(self._signer)}\n".encode(), replace=False)
        except FileExistsError:
            raise SettingsError(f"{path} is there already, and a key is never replaced") from None
        return path

    def seal(self, record: Record) -> SignedRecord:
        """Sign a record whose author is this key."""
        return seal(record, self._signer.private)

    def agree(self, statement: Statement) -> Agreement:
        """Agree to an epoch, as `ledgergrid epoch sign` does; show the statement first."""
        return sign_statement(statement, self._signer.private)

    def prove_possession(self, origin: str) -> str:
        """Sign what an operator needs to register this key in the ledger ``origin``."""
        return prove_possession(origin, self._signer.private)

    def hold(self, origin: str, *roles: Role) -> HeldKey:
        """Offer this key, with roles, to whoever admits or registers it in the ledger ``origin``.

        It holds the public key and the proof of possession: nothing in it is secret.
        """
        return HeldKey(self.key, roles, self.prove_possession(origin))


def _check_private(path: Path) -> None:
    # Reading by the group is let pass: that is how clusters mount secrets.
    if sys.platform != "win32" and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SettingsError(f"anyone on this machine can read or change {path}; chmod 600 it")
