"""The numbered checks of an archive as a whole: 1 to 4, 7, 12 to 15, one function a claim.

Each function takes what was read and raises :class:`Refuted` (or :class:`LedgerGridError`, for
what does not parse) if its claim does not hold. Numbers and claims are those of
docs/spec/verification.md and of the report. Nothing here reads files: :mod:`verifier.audit`
gives the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ledger_core import clock, ids, limits
from ledger_core.errors import (
    MalformedError,
    ProofError,
    SignatureError,
)
from ledger_core.formats import archive
from ledger_core.formats.archive import Manifest, RangeProof
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from ledger_core.formats.note import parse_note
from ledger_core.formats.receipt import Receipt, check_receipt
from ledger_core.formats.trust_policy import NO_QUORUM, Trusted, TrustPolicy, verify_trusted
from ledger_core.formats.vkey import LogKey
from ledger_core.merkle import tree
from ledger_core.policy.constitution import KeyStanding
from verifier.evidence import Kept
from verifier.findings import Finding, Likely, finding_of, refute

# --- 1 archive, 2 manifest, 3 files ------------------------------------------------
# That the container is well-formed and bounded (1), and that each file has the size and
# digest of the manifest (3), is checked while reading: verifier/reading.py.


def check_layout(manifest: Manifest) -> None:
    """1: the scope is a range of a tree, and its files lie where the format puts them."""
    scope = manifest.scope
    if not scope.start < scope.end <= scope.size:
        raise MalformedError(f"scope [{scope.start}, {scope.end}) of {scope.size} is no range")
    segments = (scope.end - archive.segment_of(scope.start)) // limits.ARCHIVE_SEGMENT_ENTRIES
    if segments > len(manifest.files):
        raise MalformedError(f"scope of {scope.end - scope.start} entries, but no files for them")
    ids.check_origin(manifest.origin)
    _check_origins(manifest)
    clock.parse_time(manifest.exported_at)
    for each in (manifest.charter, scope.root, *(file.digest for file in manifest.files)):
        ids.parse_digest(each)
    for file in manifest.files:
        folder, _, rest = file.name.partition("/")
        name_of = _SEGMENT_NAMES.get(folder)
        if name_of is not None:
            first = _index_in(rest)
            is_in_scope = archive.segment_of(scope.start) <= first < scope.end
            if file.name != name_of(archive.segment_of(first)) or not is_in_scope:
                raise MalformedError(f"{file.name} is not a segment of the manifest's scope")


def _check_origins(manifest: Manifest) -> None:
    """1: the origins named are in order, and the last one is the manifest's."""
    if not manifest.origins:
        return
    indexes = [each.index for each in manifest.origins]
    if len(indexes) < 2 or indexes[0] or indexes != sorted(set(indexes)):
        raise MalformedError("manifest's origins do not follow each other")
    if manifest.origins[-1].origin != manifest.origin or indexes[-1] >= manifest.scope.end:
        raise MalformedError("manifest's last origin is not its own")
    for each in manifest.origins:
        ids.check_origin(each.origin)


def find_context_index(name: str, manifest: Manifest) -> int:
    """1: a context entry lies where the format puts it, before the scope or behind it."""
    index, scope = _index_in(name.partition("/")[2]), manifest.scope
    is_outside = index < scope.start or scope.end <= index < scope.size
    if name != archive.context_name(index, "entry") or not is_outside:
        raise MalformedError(f"{name} is not an entry outside the manifest's scope")
    return index


_SEGMENT_NAMES = {
    "entries": archive.entries_name,
    "payloads": archive.payloads_name,
    "withheld": archive.withheld_name,
}


def _index_in(file_name: str) -> int:
    return ids.parse_decimal(file_name.partition(".")[0].lstrip("0") or "0")


def check_manifest_signature(raw: bytes, signature: bytes, manifest: Manifest) -> None:
    """2: the one who exported signed the manifest."""
    try:
        signer = archive.verify_manifest(raw, signature)
    except SignatureError as error:
        refute(2, "manifest.sig", "a signature over manifest.json", error, Likely.EDITED)
    if signer != manifest.exported_by:
        refute(2, "exported_by", signer, manifest.exported_by, Likely.FORGED)


def check_exporter(manifest: Manifest, keys: Mapping[str, KeyStanding]) -> None:
    """2: the one who exported is an operator whose key stands, as far as the archive shows."""
    key = keys.get(manifest.exported_by)
    if key is None or key.revoked is not None or "operator" not in key.roles:
        was = "a key not in the log" if key is None else "a revoked key, or no operator's"
        refute(2, "exported_by", "an operator's key that stands", was, Likely.UNREGISTERED)


def compare_names(declared: AbstractSet[str], there: AbstractSet[str]) -> Iterator[Finding]:
    """3: the files that are there are those the manifest declares, and its own two."""
    expected = declared | {archive.MANIFEST, archive.MANIFEST_SIGNATURE}
    no_file, undeclared = "no such file", "a file the manifest does not declare"
    for name in sorted(expected - there):
        yield finding_of(3, name, "a file", no_file, Likely.TRUNCATED)
    for name in sorted(there - expected):
        yield finding_of(3, name, no_file, undeclared, Likely.CLAIM)


# --- 4 checkpoint ------------------------------------------------------------------


def check_checkpoint(checkpoint: Checkpoint, manifest: Manifest) -> None:
    """4: the checkpoint is the one the manifest speaks of."""
    scope = manifest.scope
    for field, expected, found in (
        ("origin", manifest.origin, checkpoint.origin),
        ("size", scope.size, checkpoint.size),
        ("root", scope.root, ids.format_digest(checkpoint.root)),
    ):
        if expected != found:
            refute(4, f"checkpoint's {field}", expected, found, Likely.CLAIM)


def check_log_signature(raw: bytes, key: LogKey) -> None:
    """4: the log's key, which the charter names, signed the checkpoint."""
    try:
        verify_checkpoint(raw, key)
    except (SignatureError, MalformedError) as error:
        refute(4, "checkpoint", "signed by the charter's log key", error, Likely.FORGED)


def check_trusted_log(raw: bytes, policy: TrustPolicy) -> Trusted:
    """4: with a trust policy, one of its logs signed the checkpoint."""
    try:
        return verify_trusted(raw, TrustPolicy(logs=policy.logs, quorum=NO_QUORUM))
    except (SignatureError, MalformedError) as error:
        refute(4, "checkpoint", "signed by a log of the policy", error, Likely.UNTRUSTED)


# --- 5 origins, 7 tree, 10 charter -------------------------------------------------


def check_origins(manifest: Manifest, found: tuple[tuple[int, str], ...]) -> None:
    """5: the origins by which entries were judged are those that charter and epochs give."""
    claimed = manifest.origins_by_index()
    if found and found != claimed:
        refute(5, "origins", dict(found), dict(claimed), Likely.CLAIM)


def check_range_proof(proof: RangeProof, manifest: Manifest) -> None:
    """7: the range proof is about the manifest's scope."""
    scope = manifest.scope
    if (proof.start, proof.end, proof.size) != (scope.start, scope.end, scope.size):
        expected = f"[{scope.start}, {scope.end}) of {scope.size}"
        found = f"[{proof.start}, {proof.end}) of {proof.size}"
        refute(7, "range-proof", expected, found, Likely.CLAIM)


def check_root(proof: RangeProof, frontier: tree.Frontier, checkpoint: Checkpoint) -> None:
    """7: the entries' leaf hashes and the range proof fold into the checkpoint's root."""
    if frontier.size != proof.end:
        refute(7, "size", proof.end, frontier.size, Likely.TRUNCATED)
    root = proof.after(frontier)
    if root != checkpoint.root:
        expected, found = map(ids.encode_base64, (checkpoint.root, root))
        refute(7, "root", expected, found, Likely.EDITED)


def check_charter(digest: str | None, manifest: Manifest, pinned: str | None) -> None:
    """10: the ledger is the one the manifest names, and the one the user pinned."""
    if digest is None:
        refute(10, "charter", manifest.charter, "no entry 0", Likely.TRUNCATED)
    if digest != manifest.charter:
        refute(10, "charter", manifest.charter, digest, Likely.CLAIM, index=0)
    if pinned is not None and digest != pinned:
        refute(10, "charter", f"{pinned}, as asked for", digest, Likely.UNTRUSTED, index=0)


# --- 12 context, 13 counts, 14 evidence, 15 witnesses --------------------------------


def check_context(index: int, receipt: Receipt, leaf: bytes, signed: bytes) -> None:
    """12: an entry shown for context is proved, at its index, under the archive's checkpoint."""
    if receipt.index != index:
        refute(12, "tlog-proof", index, receipt.index, Likely.MOVED, index=index)
    if receipt.checkpoint != signed or not leaf.startswith(receipt.extra):
        found = "another checkpoint, or another entry's header"
        refute(12, "tlog-proof", "its own of both", found, Likely.EDITED, index=index)
    checkpoint = parse_checkpoint(parse_note(signed).text)
    try:
        check_receipt(receipt, leaf, checkpoint)
    except ProofError as error:
        refute(12, "tlog-proof", "a proof of this entry", error, Likely.EDITED, index=index)


_COUNTED = (
    "entries", "entries_withheld", "context", "parts_present", "parts_withheld",
    "parts_redacted", "parts_erased",
)  # fmt: skip


def check_counts(manifest: Manifest, found: archive.Counts) -> None:
    """13: what was found is what the manifest counts."""
    claimed = manifest.counts
    for field in _COUNTED:
        expected, got = getattr(claimed, field), getattr(found, field)
        if expected != got:
            refute(13, f"counts.{field}", expected, got, Likely.CLAIM)
    difference = Counter(claimed.by_type)
    difference.subtract(found.by_type)
    for name in sorted(name for name, count in difference.items() if count):
        expected, got = claimed.by_type.get(name, 0), found.by_type.get(name, 0)
        refute(13, f"counts.by_type.{name}", expected, got, Likely.CLAIM)


def check_kept_signature(kept: Kept, policy: TrustPolicy | None, key: LogKey | None) -> None:
    """14: what was kept is signed by a log of the policy; without one, by the charter's key."""
    try:
        if policy is not None:
            verify_trusted(kept.signed, TrustPolicy(logs=policy.logs, quorum=NO_QUORUM))
        elif key is not None:
            verify_checkpoint(kept.signed, key)
    except (SignatureError, MalformedError) as error:
        refute(14, kept.name, "a checkpoint signed by the log", error, Likely.UNTRUSTED)


def check_kept_receipt(kept: Kept, leaf: bytes | None) -> None:
    """14: a receipt proves the leaf (hash) that this archive has at its index."""
    receipt, signed = kept.receipt, kept.checkpoint
    if receipt is None:
        return
    index = receipt.index
    if leaf is None:
        found = f"entry {index}, which is not in it"
        refute(14, kept.name, "an entry of this archive", found, Likely.NOTE, level="warn")
    try:
        tree.check_inclusion(index, signed.size, leaf, receipt.hashes, signed.root)
    except ProofError as error:
        expected, likely = "a proof of the entry in this archive", Likely.REWRITTEN
        refute(14, kept.name, expected, error, likely, index=index)


def check_prefix(kept: Kept, origin: str, root: bytes | None) -> None:
    """14: a kept checkpoint is a prefix of this tree (``root`` None: its size is not shown)."""
    name, signed = kept.name, kept.checkpoint
    if signed.origin != origin:
        refute(14, f"{name}: origin", origin, signed.origin, Likely.UNTRUSTED)
    if root is None:
        found = f"size {signed.size}, which its entries do not reach"
        refute(14, name, "a size this archive shows", found, Likely.NOTE, level="warn")
    if signed.root != root:
        expected, found = map(ids.encode_base64, (signed.root, root))
        refute(14, f"{name}: root at size {signed.size}", expected, found, Likely.REWRITTEN)


def check_witnesses(raw: bytes, policy: TrustPolicy) -> Trusted:
    """15: every known cosignature verifies, and together they reach the policy's quorum."""
    try:
        trusted = verify_trusted(raw, policy)
    except SignatureError as error:
        refute(15, "checkpoint", "cosignatures that verify", error, Likely.FORGED)
    if not trusted.quorum_met:
        found = f"{len(trusted.witnesses)} of {len(policy.witnesses)} witnesses"
        refute(15, "quorum", policy.quorum, found, Likely.UNTRUSTED, level="warn")
    return trusted
