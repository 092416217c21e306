"""The prover remembers tiles, also growing ones, and never mistakes one width for another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger_core.ledger import Ledger
from ledger_core.merkle import tree
from tests.support.ledgers import Service, append_notes, register


@pytest.fixture
def ledger(sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
    service = Service(sqlite_url, tmp_path)
    yield service.open().ledgers.create("main")
    service.close()


def test_proofs_asked_for_while_the_log_grows_are_of_the_size_they_name(ledger: Ledger) -> None:
    author = register(ledger)
    sizes = [2]
    for more in (3, 60, 190, 1, 1, 70, 200):
        append_notes(ledger, author, more, batch=100)
        sizes.append(ledger.size())
        hashes = [entry.leaf_hash for entry in ledger.entries(range(sizes[-1]))]
        for size in reversed(sizes):
            root = tree.root(hashes[:size])
            for index in (0, size // 2, size - 1):
                made = ledger.prove_inclusion(index, size)
                assert (made.leaf_hash, made.root) == (hashes[index], root)
            assert ledger.prove_consistency(sizes[0], size).to_root == root


def test_a_tile_that_is_wide_enough_is_not_read_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_notes(ledger, register(ledger), 50)
    first = ledger.prove_inclusion(7, 50)
    monkeypatch.setattr("ledger_core.storage.trees.read_tile_row", None)
    assert ledger.prove_inclusion(7, 50) == first
    assert ledger.prove_inclusion(7, 40).size == 40
