"""Every proof there is in a log that crosses two tiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger_core.merkle import tree
from tests.support.ledgers import Service, append_notes, register

pytestmark = pytest.mark.campaign

SIZE = 600


def test_proofs_for_all_pairs_of_sizes_and_of_all_entries(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(sqlite_url, tmp_path)
    ledger = service.open().ledgers.create("main")
    append_notes(ledger, register(ledger), SIZE - 2, batch=100)
    hashes = [entry.leaf_hash for entry in ledger.entries(range(SIZE))]
    roots = [tree.root(hashes[:size]) for size in range(SIZE + 1)]
    tried = 0
    for to_size in range(1, SIZE + 1):
        for from_size in range(1, to_size + 1):
            proof = ledger.prove_consistency(from_size, to_size).hashes
            tree.check_consistency(from_size, to_size, roots[from_size], roots[to_size], proof)
        tried += to_size
    for size in (1, 2, 3, 255, 256, 257, 511, 512, 513, SIZE):
        for index in range(size):
            made = ledger.prove_inclusion(index, size)
            assert made.root == roots[size]
            tree.check_inclusion(index, size, hashes[index], made.hashes, roots[size])
        tried += size
    service.close()
    with capsys.disabled():
        print(f"\n{tried} proofs made and checked")
