"""Another log, as a witness sees it: grows by leaves of its own, signs, proves, and may fork."""

from __future__ import annotations

from collections.abc import Sequence

from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.vkey import LogKey, NoteSigner
from ledger_core.formats.witness import AddCheckpoint, format_add_checkpoint
from ledger_core.merkle import tree


class OtherLog:
    """A log in memory. ``fork_at`` is where its history begins to differ from the honest one."""

    def __init__(
        self, origin: str = "other.example/log", seed: int = 9, fork_at: int | None = None
    ) -> None:
        self.signer = NoteSigner(origin, PrivateKey(bytes([seed]) * 32))
        self._hashes: list[bytes] = []
        self._fork_at = fork_at

    @property
    def origin(self) -> str:
        return self.signer.name

    @property
    def key(self) -> LogKey:
        return self.signer.public

    def grow(self, size: int) -> None:
        for index in range(len(self._hashes), size):
            is_forked = self._fork_at is not None and index >= self._fork_at
            leaf = b"forked %d" if is_forked else b"leaf %d"
            self._hashes.append(tree.leaf_hash(leaf % index))

    def root(self, size: int) -> bytes:
        self.grow(size)
        return tree.root(self._hashes[:size])

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, self.root(size))

    def note(self, size: int) -> bytes:
        return sign_checkpoint(self.checkpoint(size), self.signer)

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        self.grow(size)
        return tuple(tree.prove_consistency(old, size, self._read)) if 0 < old < size else ()

    def request(self, old: int, size: int) -> bytes:
        """Ask as an honest client does."""
        return format_add_checkpoint(AddCheckpoint(old, self.proof(old, size), self.note(size)))

    def _read(self, nodes: Sequence[tree.NodeId]) -> list[bytes]:
        return [
            tree.root(self._hashes[node.position << node.level : (node.position + 1) << node.level])
            for node in nodes
        ]
