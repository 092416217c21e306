"""Archive files: ranges joined to a root, manifests that name no file outside."""

from __future__ import annotations

from io import BytesIO, RawIOBase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids
from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import archive
from ledger_core.formats.archive import Frame, RangeProof
from ledger_core.merkle import tree
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import OPERATOR

LEAVES = [tree.leaf_hash(b"leaf %d" % n) for n in range(600)]


def prove(start: int, end: int, size: int) -> RangeProof:
    nodes = archive.range_nodes(start, end, size)
    return RangeProof(
        start,
        end,
        size,
        tuple(tree.root(LEAVES[p << level : (p + 1) << level]) for level, p in nodes),
    )


@st.composite
def ranges(draw: st.DrawFn) -> RangeProof:
    size = draw(st.integers(1, len(LEAVES)))
    start = draw(st.integers(0, size - 1))
    return prove(start, draw(st.integers(start + 1, size)), size)


@given(ranges())
def test_a_range_and_its_proof_lead_to_the_root(proof: RangeProof) -> None:
    frontier = proof.before().extend(LEAVES[proof.start : proof.end])
    assert proof.after(frontier) == tree.root(LEAVES[: proof.size])


@given(ranges(), st.data())
def test_a_range_with_any_leaf_changed_or_missing_leads_elsewhere(
    proof: RangeProof, data: st.DataObject
) -> None:
    root = tree.root(LEAVES[: proof.size])
    leaves = LEAVES[proof.start : proof.end]
    at = data.draw(st.integers(0, len(leaves) - 1))
    leaves[at] = tree.leaf_hash(b"forged")
    assert proof.after(proof.before().extend(leaves)) != root


@given(ranges(), st.data())
def test_a_range_proof_with_any_hash_changed_leads_elsewhere(
    proof: RangeProof, data: st.DataObject
) -> None:
    if not proof.hashes:
        return
    hashes = list(proof.hashes)
    hashes[data.draw(st.integers(0, len(hashes) - 1))] = tree.leaf_hash(b"forged")
    forged = RangeProof(proof.start, proof.end, proof.size, tuple(hashes))
    frontier = forged.before().extend(LEAVES[proof.start : proof.end])
    assert forged.after(frontier) != tree.root(LEAVES[: proof.size])


def test_a_range_proof_in_a_tree_of_any_size_stays_short() -> None:
    size = 2**63 - 1
    assert len(archive.range_nodes(2**62 - 1, 2**62 + 1, size)) <= 3 * 63
    assert len(archive.range_nodes(0, size, size)) == 0


def test_segments_begin_at_multiples_of_2048() -> None:
    assert [archive.segment_of(n) for n in (0, 2047, 2048, 70_000)] == [0, 0, 2048, 69_632]
    assert archive.entries_name(2048) == "entries/000000002048.bundle"
    assert archive.payloads_name(2048) == "payloads/000000002048.parts"
    assert archive.context_name(7, "tlog-proof") == "context/000000000007.tlog-proof"


class Drip(RawIOBase):
    """A stream that gives one byte at a time, as sockets may."""

    def __init__(self, raw: bytes) -> None:
        self._inner = BytesIO(raw)

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(min(size, 1))


@given(st.lists(made.frames, max_size=4))
def test_frames_are_read_from_a_stream_that_drips(frames: list[Frame]) -> None:
    raw = b"".join(map(archive.format_frame, frames))
    assert list(archive.read_frames(Drip(raw))) == frames  # type: ignore[arg-type]


def test_a_frame_that_claims_much_is_not_believed_before_it_came() -> None:
    head = archive.format_frame(Frame(0, "body", None))[:8] + b"\x01\x04body" + bytes(32)
    with pytest.raises(MalformedError, match="middle of a frame"):
        list(archive.read_frames(BytesIO(head + (2**24).to_bytes(4) + b"little")))


@given(made.manifests, made.manifests)
def test_a_manifests_signature_is_for_one_manifest(
    one: archive.Manifest, other: archive.Manifest
) -> None:
    raw = archive.format_manifest(one)
    signature = archive.sign_manifest(raw, OPERATOR)
    assert archive.verify_manifest(raw, signature) == ids.format_key(OPERATOR.public_key)
    if one != other:
        with pytest.raises(SignatureError):
            archive.verify_manifest(archive.format_manifest(other), signature)


@given(made.mutations(st.just(archive.sign_manifest(b"{}", OPERATOR))))
def test_a_spoilt_manifest_signature_is_refused_or_is_the_same(raw: bytes) -> None:
    try:
        key = archive.verify_manifest(b"{}", raw)
    except (MalformedError, SignatureError):
        return
    assert key == ids.format_key(OPERATOR.public_key)
    assert raw == archive.sign_manifest(b"{}", OPERATOR)
