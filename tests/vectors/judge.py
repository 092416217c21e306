"""What each operation of a vector file means: run it and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

import msgspec

from ledger_core import clock, ids
from ledger_core.errors import LedgerGridError, StandingError
from ledger_core.formats import (
    archive,
    checkpoint,
    ed25519,
    entry,
    mutations,
    note,
    receipt,
    record,
    submission,
    trust_policy,
    vkey,
    witness,
)
from ledger_core.formats.record import Part, PartRef, Ref, SignedRecord
from ledger_core.formats.session_export import parse_session
from ledger_core.merkle import tiles, tree
from ledger_core.policy import anchoring, certificate
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly, Due, due_type
from ledger_core.policy.constitution import Constitution, KeyStanding
from ledger_core.policy.proposals import hash_policies
from ledger_core.records.model import decode_payload
from ledger_core.records.possession import possession_message
from ledger_core.records.registry import find_type
from ledger_core.records.rules import Policy, hash_policy
from ledger_core.records.types.epoch import STATEMENT_TYPE, Statement, format_statement
from ledger_core.records.types.log_key import handover_message
from tests.vectors import judge_changes
from tests.vectors.build import SALT, Case, make_record, read
from verifier.session_export import verify_session

Given = Mapping[str, Any]


class AnotherRootError(LedgerGridError):
    code = "another root"


def judge(case: Case) -> tuple[str, Any]:
    """Run a case; return ``accepted`` or an error's code, and what came out."""
    try:
        return "accepted", OPERATIONS[case["does"]](case["given"])
    except LedgerGridError as error:
        return error.code, None


# --- tree --------------------------------------------------------------------


def _hashes(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def _root(given: Given) -> str:
    return tree.root([tree.leaf_hash(leaf) for leaf in _hashes(given["leaves"])]).hex()


def _numbered_root(given: Given) -> str:
    pattern = given["leaf"].encode()
    leaves = (tree.leaf_hash(pattern % number) for number in range(given["size"]))
    return tree.Frontier().extend(leaves).root().hex()


def _check_inclusion(given: Given) -> None:
    leaf, root = _hashes([given["leaf_hash"], given["root"]])
    tree.check_inclusion(given["index"], given["size"], leaf, _hashes(given["proof"]), root)


def _check_consistency(given: Given) -> None:
    from_root, to_root = _hashes([given["from_root"], given["to_root"]])
    proof = _hashes(given["proof"])
    tree.check_consistency(given["from_size"], given["to_size"], from_root, to_root, proof)


def _parse_tile_index(given: Given) -> list[int]:
    index, width = tiles.parse_tile_index(given["path"])
    assert tiles.format_tile_path("0", index, width) == f"0/{given['path']}"
    return [index, width]


def _parse_bundle(given: Given) -> list[str]:
    raw = read(given["bundle"])
    entries = tiles.parse_bundle(raw)
    assert tiles.format_bundle(entries) == raw
    return [each.hex() for each in entries]


# --- record --------------------------------------------------------------------


def _parse_record(given: Given) -> None:
    raw = read(given["record"])
    assert record.format_record(record.parse_record(raw)) == raw


def _commit(given: Given) -> str:
    return ids.format_digest(record.commit(bytes.fromhex(given["salt"]), read(given["data"])))


def _check_part(given: Given) -> None:
    part = Part(bytes.fromhex(given["salt"]), read(given["data"]))
    record.check_part("body", PartRef(**given["part"]), part)


def _pre_authentication_encoding(given: Given) -> str:
    raw, kind = read(given["payload"]), given["type"].encode()
    return record.pre_authentication_encoding(raw, kind).decode()


def _verify_record(given: Given) -> None:
    raw = read(given["record"])
    signature = bytes.fromhex(given["signature"])
    record.verify_record(SignedRecord(record.parse_record(raw), raw, signature))


# --- keys and signatures -------------------------------------------------------------


def _verify(given: Given) -> None:
    public_key, message, signature = _hashes(
        [given["public_key"], given["message"], given["signature"]]
    )
    ed25519.verify(public_key, message, signature)


def _sign(given: Given) -> str:
    return (
        ed25519.PrivateKey(bytes.fromhex(given["seed"])).sign(bytes.fromhex(given["message"])).hex()
    )


def _check_public_key(given: Given) -> None:
    ed25519.check_public_key(bytes.fromhex(given["public_key"]))


def _parse_vkey(given: Given) -> int:
    key = vkey.parse_vkey(given["vkey"])
    assert vkey.format_vkey(key) == given["vkey"]
    return key.algorithm


def _check_named_by_key(given: Given) -> None:
    key = vkey.parse_vkey(given["vkey"])
    assert isinstance(key, vkey.LogKey)
    vkey.check_named_by_key(key)


def _parse_skey(given: Given) -> str:
    signer = vkey.parse_skey(given["skey"])
    assert vkey.format_skey(signer) == given["skey"]
    return vkey.format_vkey(signer.public)


# --- entry, note, checkpoint -----------------------------------------------------------


def _parse_entry(given: Given) -> entry.Entry:
    raw = read(given["leaf"])
    parsed = entry.parse_entry(raw)
    assert entry.format_entry(parsed) == raw
    return parsed


def _parse_header(given: Given) -> None:
    raw = read(given["header"])
    assert entry.format_header(entry.parse_header(raw)) == raw


def _entry_fields(given: Given) -> Case:
    parsed = _parse_entry(given)
    header = parsed.header
    parsed.signed_record()
    return {
        "origin": header.origin,
        "index": header.index,
        "previous": header.previous.hex(),
        "received_at_ms": header.received_at,
        "signature": header.signature.hex(),
        "record": {"utf8": parsed.record.decode()},
        "leaf_hash": tree.leaf_hash(read(given["leaf"])).hex(),
    }


def _parse_note(given: Given) -> note.Note:
    raw = read(given["note"])
    parsed = note.parse_note(raw)
    assert note.format_note(parsed) == raw
    return parsed


def _verify_note(given: Given) -> list[str]:
    keys = [vkey.parse_vkey(text) for text in given["keys"]]
    return [vkey.format_vkey(key) for key in note.verify_note(_parse_note(given), keys)]


def _fields_of(parsed: checkpoint.Checkpoint) -> list[Any]:
    return [parsed.origin, parsed.size, parsed.root.hex()]


def _parse_checkpoint(given: Given) -> list[Any]:
    raw = read(given["text"])
    parsed = checkpoint.parse_checkpoint(raw)
    assert checkpoint.format_checkpoint(parsed) == raw
    return _fields_of(parsed)


def _verify_checkpoint(given: Given) -> list[Any]:
    key = vkey.parse_vkey(given["key"])
    assert isinstance(key, vkey.LogKey)
    return _fields_of(checkpoint.verify_checkpoint(read(given["note"]), key))


def _cosigned_message(given: Given) -> str:
    return vkey.cosigned_message(read(given["text"]), given["time_s"]).decode()


def _subtree_message(given: Given) -> str:
    of = checkpoint.parse_checkpoint(read(given["text"]))
    return vkey.subtree_message(given["name"], of, given["time_s"]).hex()


def _verify_cosignature(given: Given) -> int:
    blob = bytes.fromhex(given["blob"])
    vkey.parse_vkey(given["key"]).verify(read(given["text"]), blob)
    return vkey.cosigned_at(blob)


# --- receipt, policy, submission ---------------------------------------------------------


def _parse_receipt(given: Given) -> receipt.Receipt:
    raw = read(given["receipt"])
    parsed = receipt.parse_receipt(raw)
    assert receipt.format_receipt(parsed) == raw
    return parsed


def _check_receipt(given: Given) -> None:
    parsed, leaf = _parse_receipt(given), read(given["leaf"])
    if parsed.extra:
        assert leaf.startswith(entry.format_header(parsed.header()))
    text = note.parse_note(parsed.checkpoint).text
    receipt.check_receipt(parsed, leaf, checkpoint.parse_checkpoint(text))


def _parse_anchored(given: Given) -> anchoring.AnchoredReceipt:
    raw = read(given["receipt"])
    parsed = anchoring.parse_anchored(raw)
    assert anchoring.format_anchored(parsed) == raw
    return parsed


def _check_anchored(given: Given) -> dict[str, Any]:
    parsed = _parse_anchored(given)
    text = note.parse_note(anchoring.parent_checkpoint_of(parsed)).text
    parent = checkpoint.parse_checkpoint(text)
    anchor = anchoring.check_anchored(parsed, read(given["leaf"]), parent)
    return {"origin": anchor.origin, "size": anchor.size, "charter": anchor.charter}


def _parse_certificate(given: Given) -> certificate.Certificate:
    raw = read(given["certificate"])
    parsed = certificate.parse_certificate(raw)
    assert certificate.format_certificate(parsed) == raw
    return parsed


def _check_certificate(given: Given) -> dict[str, Any]:
    def unsigned(raw: bytes) -> checkpoint.Checkpoint:
        return checkpoint.parse_checkpoint(note.parse_note(raw).text)

    proved = certificate.check_certificate(_parse_certificate(given), unsigned)
    told = ("origin", "order", "done", "entries", "parts")
    return {"erasures": [{name: getattr(each, name) for name in told} for each in proved]}


def _verify_session(given: Given) -> dict[str, Any]:
    policy = trust_policy.parse_trust_policy(read(given["policy"]))
    verdict = verify_session(read(given["export"]), policy)
    return {"failed": verdict.failed, "unread": len(verdict.unread)}


def _parse_trust_policy(given: Given) -> None:
    trust_policy.parse_trust_policy(read(given["policy"]))


def _parse_witness_policy(given: Given) -> None:
    trust_policy.parse_witness_policy(read(given["policy"]))


def _verify_trusted(given: Given) -> bool:
    policy = trust_policy.parse_trust_policy(read(given["policy"]))
    return trust_policy.verify_trusted(read(given["note"]), policy).quorum_met


def _parse_submission(given: Given) -> None:
    parsed = submission.parse_submission(read(given["submission"]))
    assert submission.parse_submission(submission.format_submission(parsed)) == parsed


# --- witness -----------------------------------------------------------------------------


def _parse_add_checkpoint(given: Given) -> list[int]:
    raw = read(given["request"])
    parsed = witness.parse_add_checkpoint(raw)
    assert witness.format_add_checkpoint(parsed) == raw
    return [parsed.old_size, len(parsed.proof)]


def _parse_cosignatures(given: Given) -> int:
    raw = read(given["answer"])
    parsed = witness.parse_cosignatures(raw)
    assert witness.format_cosignatures(parsed) == raw
    return len(parsed)


def _parse_size(given: Given) -> int:
    raw = read(given["answer"])
    size = witness.parse_size(raw)
    assert witness.format_size(size) == raw
    return size


# --- archive ---------------------------------------------------------------------------


def _read_frames(given: Given) -> list[list[Any]]:
    raw = read(given["frames"])
    frames = list(archive.read_frames(BytesIO(raw)))
    assert b"".join(map(archive.format_frame, frames)) == raw
    return [
        [f.index, f.name, f.part.salt.hex(), f.part.data.hex()]
        if f.part
        else [f.index, f.name, "redacted" if f.is_redacted else None, None]
        for f in frames
    ]


def _read_mutations(given: Given) -> list[list[Any]]:
    raw = read(given["register"])
    lines = list(mutations.read_mutations(BytesIO(raw)))
    assert mutations.HEADER + b"".join(map(mutations.format_mutation, lines)) == raw
    shown = [msgspec.json.encode(msgspec.structs.astuple(line)) for line in lines]
    return [msgspec.json.decode(each) for each in shown]


def _parse_range_proof(given: Given) -> archive.RangeProof:
    raw = read(given["proof"])
    parsed = archive.parse_range_proof(raw)
    assert archive.format_range_proof(parsed) == raw
    return parsed


def _range_root(given: Given) -> str:
    proof = _parse_range_proof(given)
    root = proof.after(proof.before().extend(_hashes(given["leaf_hashes"]))).hex()
    if root != given.get("root", root):
        raise AnotherRootError(root)
    return root


def _parse_manifest(given: Given) -> None:
    raw = read(given["manifest"])
    assert archive.format_manifest(archive.parse_manifest(raw)) == raw


def _verify_manifest(given: Given) -> str:
    return archive.verify_manifest(read(given["manifest"]), read(given["signature"]))


# --- records ---------------------------------------------------------------------------


def _part_bytes(value: Any) -> tuple[bytes, str]:
    """A part is a JSON value, or an object with hex or json and perhaps a media type."""
    if isinstance(value, dict) and ("hex" in value or "json" in value):
        kind = value.get("media_type", "application/json")
        if "hex" in value:
            return read(value), kind
        return json.dumps(value["json"]).encode(), kind
    return json.dumps(value).encode(), "application/json"


def _decode_payload(given: Given) -> None:
    refs, parts = {}, {}
    for name, value in given["parts"].items():
        refs[name], parts[name] = record.make_part(*_part_bytes(value), SALT)
    match given:
        case {"uncommitted": name}:
            del refs[name]
        case {"withheld": name}:
            del parts[name]
        case {"changed": name}:
            parts[name] = Part(SALT, parts[name].data[:-1] + b" ")
        case {"resalted": name}:
            parts[name] = Part(SALT[::-1], parts[name].data)
    named = tuple(Ref(**ref) for ref in given.get("refs", []))
    of = make_record(kind=given["type"], payload=refs, ledger=given["ledger"], refs=named)
    made = record.Record(**{f: getattr(of, f) for f in of.__struct_fields__} | {
        "author": given["author"]
    })  # fmt: skip
    kind = find_type(given["type"])
    payload = decode_payload(kind, made, parts)
    row = kind.row(payload)
    assert row.keys() == kind.columns.keys(), f"{kind.name} declares other columns than it fills"


def _find_type(given: Given) -> None:
    find_type(given["type"])


def _possession_message(given: Given) -> str:
    return possession_message(given["origin"], given["key"]).decode()


def _handover_message(given: Given) -> str:
    return handover_message(given["origin"], given["old"], given["new"]).decode()


def _epoch_message(given: Given) -> str:
    statement = msgspec.convert(given["statement"], Statement)
    raw = format_statement(statement)
    return record.pre_authentication_encoding(raw, STATEMENT_TYPE).decode()


def _check_standing(given: Given) -> None:
    constitution = Constitution()
    if fields := given["key"]:
        key = KeyStanding("", frozenset(fields["roles"]), fields["since"], fields.get("revoked"))
        constitution.keys[""] = key
    constitution.check_author("", find_type(given["type"]), given["index"])


def _hash_policy(given: Given) -> str:
    return ids.format_digest(hash_policy(msgspec.convert(given["policy"], Policy)))


def _hash_policies(given: Given) -> str:
    return ids.format_digest(hash_policies(map(ids.parse_digest, given["policies"])))


def _assemble(given: Given) -> list[Case]:
    """Tell a history; say under what each entry waits, and what is due behind it."""
    assembly, firsts = Assembly(Constitution(), {}), dict[object, bytes]()
    steps = []
    for index, shown in enumerate(given["acts"]):
        kind = find_type(shown["type"])
        payload = {"body": msgspec.convert(shown["body"], kind.parts["body"].schema)}
        leaf_hash = ids.parse_digest(shown["leaf_hash"])
        received_at = clock.parse_time(shown["received_at"])
        first = leaf_hash
        if "stream" in shown and not kind.is_constitutional:
            counter = shown["author"], shown["stream"], shown["n"]
            first = firsts.setdefault(counter, leaf_hash)
        repeats = None if first == leaf_hash else first
        act = Act(index, leaf_hash, received_at, kind, shown["author"], payload, repeats=repeats)
        try:
            policy = assembly.check(act)
        except StandingError:
            assert index == len(given["acts"]) - 1, f"entry {index} is refused"
            raise
        assembly.take(act, policy)
        steps.append(_step(policy, assembly.due))
    return steps


def _step(policy: Policy | None, due: Iterable[Due]) -> Case:
    step: Case = {}
    if policy is not None:
        step["waits_under"] = ids.format_digest(hash_policy(policy))
    shown = [{"type": due_type(each).name, "body": msgspec.to_builtins(each)} for each in due]
    return {**step, "due": shown} if shown else step


def _silently(operation: Callable[[Given], object]) -> Callable[[Given], None]:
    """Run for the verdict alone."""

    def run(given: Given) -> None:
        operation(given)

    return run


OPERATIONS: dict[str, Callable[[Given], Any]] = {
    "root": _root,
    "numbered root": _numbered_root,
    "check_inclusion": _check_inclusion,
    "check_consistency": _check_consistency,
    "parse_tile_index": _parse_tile_index,
    "tile_width": lambda given: tiles.tile_width(**given),
    "parse_bundle": _parse_bundle,
    "parse_record": _parse_record,
    "commit": _commit,
    "check_part": _check_part,
    "pre_authentication_encoding": _pre_authentication_encoding,
    "verify_record": _verify_record,
    "verify": _verify,
    "sign": _sign,
    "check_public_key": _check_public_key,
    "parse_vkey": _parse_vkey,
    "parse_skey": _parse_skey,
    "make_key_name": lambda given: vkey.make_key_name(bytes.fromhex(given["key"])),
    "check_named_by_key": _check_named_by_key,
    "parse_entry": _silently(_parse_entry),
    "entry fields": _entry_fields,
    "parse_header": _parse_header,
    "parse_note": _silently(_parse_note),
    "verify_note": _verify_note,
    "parse_checkpoint": _parse_checkpoint,
    "verify_checkpoint": _verify_checkpoint,
    "cosigned_message": _cosigned_message,
    "subtree_message": _subtree_message,
    "verify_cosignature": _verify_cosignature,
    "parse_receipt": _silently(_parse_receipt),
    "check_receipt": _check_receipt,
    "parse_certificate": _silently(_parse_certificate),
    "check_certificate": _check_certificate,
    "verify_session": _verify_session,
    "parse_session": _silently(lambda given: parse_session(read(given["export"]))),
    "parse_anchored": _silently(_parse_anchored),
    "check_anchored": _check_anchored,
    "parse_trust_policy": _parse_trust_policy,
    "parse_witness_policy": _parse_witness_policy,
    "verify_trusted": _verify_trusted,
    "parse_add_checkpoint": _parse_add_checkpoint,
    "parse_cosignatures": _parse_cosignatures,
    "parse_size": _parse_size,
    "origin_digest": lambda given: witness.origin_digest(given["origin"]),
    "parse_submission": _parse_submission,
    "read_frames": _read_frames,
    "read_mutations": _read_mutations,
    "parse_range_proof": _silently(_parse_range_proof),
    "range root": _range_root,
    "parse_manifest": _parse_manifest,
    "verify_manifest": _verify_manifest,
    "decode_payload": _decode_payload,
    "find_type": _find_type,
    "possession_message": _possession_message,
    "handover_message": _handover_message,
    "epoch_message": _epoch_message,
    "check_standing": _check_standing,
    "hash_policy": _hash_policy,
    "hash_policies": _hash_policies,
    "assemble": _assemble,
    "effects": judge_changes.tell_effects,
    "format_items": judge_changes.format_items,
    "root_of_items": judge_changes.root_of_items,
    "parse_items": judge_changes.parse_items,
    "check_item": judge_changes.check_item,
}
