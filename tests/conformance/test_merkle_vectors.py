"""The proof vectors of transparency-dev/merkle: what its verifiers accept and refuse, so do we.

The vectors belong to others and are not copied here. They are read from
``../shared/vectors/merkle/testdata`` beside the repository, or from the folder named by
``LEDGERGRID_MERKLE_VECTORS`` (``testdata`` in a checkout of github.com/transparency-dev/merkle).
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger_core.errors import ProofError
from ledger_core.merkle import tree

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = Path(
    os.environ.get("LEDGERGRID_MERKLE_VECTORS")
    or REPOSITORY.parent / "shared" / "vectors" / "merkle" / "testdata"
)

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"no vectors of transparency-dev/merkle in {VECTORS}"
)

Vector = dict[str, Any]


def hash_of(vector: Vector, key: str) -> bytes:
    return b64decode(vector[key] or "", validate=True)


def proof_of(vector: Vector) -> list[bytes]:
    return [b64decode(each, validate=True) for each in vector["proof"] or ()]


def check_inclusion(vector: Vector) -> None:
    tree.check_inclusion(
        vector["leafIdx"],
        vector["treeSize"],
        hash_of(vector, "leafHash"),
        proof_of(vector),
        hash_of(vector, "root"),
    )


def check_consistency(vector: Vector) -> None:
    tree.check_consistency(
        vector["size1"],
        vector["size2"],
        hash_of(vector, "root1"),
        hash_of(vector, "root2"),
        proof_of(vector),
    )


def check_subtree_inclusion(vector: Vector) -> None:
    tree.check_subtree_inclusion(
        vector["leafIdx"],
        vector["start"],
        vector["end"],
        hash_of(vector, "leafHash"),
        proof_of(vector),
        hash_of(vector, "root"),
    )


def check_subtree_consistency(vector: Vector) -> None:
    tree.check_subtree_consistency(
        vector["start"],
        vector["end"],
        vector["size"],
        hash_of(vector, "root1"),
        hash_of(vector, "root2"),
        proof_of(vector),
    )


CHECKS: dict[str, tuple[Callable[[Vector], None], int]] = {
    "inclusion": (check_inclusion, 98),
    "consistency": (check_consistency, 98),
    "subtreeinclusion": (check_subtree_inclusion, 204),
    "subtreeconsistency": (check_subtree_consistency, 118),
}
"""What checks each folder of vectors, and how many it held when last counted."""


def verdict(check: Callable[[Vector], None], vector: Vector) -> str:
    try:
        check(vector)
    except ProofError:
        return "refused"
    return "accepted"


@pytest.mark.parametrize("kind", CHECKS)
def test_every_vector_is_judged_as_its_authors_judge_it(kind: str) -> None:
    check, known = CHECKS[kind]
    vectors = {path: json.loads(path.read_bytes()) for path in (VECTORS / kind).rglob("*.json")}
    # More may have been published since; fewer would mean that part of the folder is missing.
    assert len(vectors) >= known
    misjudged = [
        f"{path.relative_to(VECTORS)} ({vector['desc']}): {found}, expected {expected}"
        for path, vector in sorted(vectors.items())
        for expected in ["refused" if vector["wantErr"] else "accepted"]
        if (found := verdict(check, vector)) != expected
    ]
    assert not misjudged, "\n".join(misjudged)
