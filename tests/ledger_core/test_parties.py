"""Faults of keys and of parties, each by name, on both databases and up to the offline verdict."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger_core import ids
from ledger_core.errors import (
    ConflictError,
    ForeignLedgerError,
    LedgerGridError,
    MalformedError,
    PayloadError,
    SignatureError,
    StandingError,
)
from ledger_core.formats.submission import format_submission, parse_submission
from ledger_core.records.possession import prove_possession
from ledger_core.records.types.key import Register, Revoke
from ledger_core.records.types.key_rotation import KeyRotation
from ledger_core.records.types.member import Remove, Suspend
from tests.support.assemblies import make_policy, two_of_three
from tests.support.consortium import Consortium, endorse
from tests.support.invariants import check_export
from tests.support.ledgers import Author, Service, appended, refused
from tests.vectors.edwards25519 import IDENTITY, encode

ALL_THREE = make_policy(
    "agent.decision/1", rule=msgspec.structs.replace(two_of_three(), at_least=3)
)
QUORUM = make_policy("member/1", "policy/1")


@pytest.fixture
def shared(service: Service) -> Consortium:
    """Give a consortium in which decisions wait for all three."""
    return Consortium(service.open().ledgers, QUORUM, ALL_THREE)


# --- keys ------------------------------------------------------------------------


def test_a_compromised_key_with_a_back_dated_revocation_undoes_nothing(
    shared: Consortium, tmp_path: Path
) -> None:
    proposed = shared.decide("acme").leaf_hash
    shared.endorse(proposed, "birch")
    revocation = Revoke(shared.agents["birch"].name, "compromised", suspect_since=1)
    shared.append(shared.stewards["birch"], "key/1", revocation)
    shared.endorse(proposed, "cobalt")
    assert shared.verdict(proposed) == "confirmed"
    key = shared.ledger.constitution().keys[shared.agents["birch"].name]
    assert (key.suspect_since, key.revoked) == (1, 3)
    check_export(shared.ledger, tmp_path)


def test_a_compromised_key_has_no_voice_once_it_is_revoked(shared: Consortium) -> None:
    proposed = shared.decide("acme").leaf_hash
    revocation = Revoke(shared.agents["birch"].name, "compromised")
    shared.append(shared.stewards["birch"], "key/1", revocation)
    late = shared.ledger.append([shared.endorsement(proposed, "birch")])[0]
    assert isinstance(refused(late), StandingError)


def test_rotation_keeps_the_voice_that_was_heard_and_gives_no_second_one(
    shared: Consortium, tmp_path: Path
) -> None:
    proposed = shared.decide("acme").leaf_hash
    shared.endorse(proposed, "birch")
    new = Author(shared.ledger.origin)
    rotation = KeyRotation(new.name, prove_possession(shared.ledger.origin, new.key))
    shared.append(shared.agents["birch"], "key.rotation/1", rotation)
    again = endorse(shared.ledger.proposal(proposed), new)
    appended(shared.ledger.append([again])[0])
    assert shared.verdict(proposed) is None
    check_export(shared.ledger, tmp_path)


def test_a_rotation_that_the_new_key_did_not_sign_is_refused(shared: Consortium) -> None:
    new, thief = Author(shared.ledger.origin), Author(shared.ledger.origin)
    stolen = KeyRotation(new.name, prove_possession(shared.ledger.origin, thief.key))
    with pytest.raises(PayloadError):
        shared.append(shared.agents["birch"], "key.rotation/1", stolen)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (ids.format_key(encode(IDENTITY)), PayloadError),
        ("rsa:AAAA", PayloadError),
        ("ed25519:" + "A" * 42, PayloadError),
    ],
    ids=["small-order", "unknown-algorithm", "not-a-key"],
)
def test_a_key_that_nobody_can_trust_is_not_registered(
    shared: Consortium, key: str, error: type[LedgerGridError]
) -> None:
    possession = prove_possession(shared.ledger.origin, shared.agents["birch"].key)
    body = Register(key, ("agent",), possession, "birch")
    with pytest.raises(error):
        shared.append(shared.stewards["birch"], "key/1", body)


def test_a_signature_that_is_not_canonical_is_refused(shared: Consortium) -> None:
    sealed = shared.agents["acme"].note("x")
    signature = bytearray(sealed.signed.signature)
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    signature[32:] = s.to_bytes(32, "little")
    forged = msgspec.structs.replace(sealed.signed, signature=bytes(signature))
    outcome = shared.ledger.append([msgspec.structs.replace(sealed, signed=forged)])[0]
    assert isinstance(refused(outcome), SignatureError)


def test_a_signature_of_an_unknown_algorithm_is_refused(shared: Consortium) -> None:
    line = format_submission(shared.agents["acme"].note("x"))
    with pytest.raises(MalformedError):
        parse_submission(line.replace(b"ledgergrid.record+json", b"other.record+json"))


# --- parties ---------------------------------------------------------------------


def test_two_keys_of_one_member_are_one_voice(shared: Consortium, tmp_path: Path) -> None:
    second = Author(shared.ledger.origin)
    proof = prove_possession(shared.ledger.origin, second.key)
    body = Register(second.name, ("agent",), proof, "birch")
    shared.append(shared.stewards["birch"], "key/1", body)
    proposed = shared.decide("acme").leaf_hash
    shared.endorse(proposed, "birch")
    appended(shared.ledger.append([endorse(shared.ledger.proposal(proposed), second)])[0])
    assert shared.verdict(proposed) is None
    shared.endorse(proposed, "cobalt")
    assert shared.verdict(proposed) == "confirmed"
    check_export(shared.ledger, tmp_path)


def test_approve_and_reject_by_one_member_is_kept_as_evidence(
    shared: Consortium, tmp_path: Path
) -> None:
    proposed = shared.decide("acme").leaf_hash
    first = shared.endorse(proposed, "birch")
    steward = shared.stewards["birch"]
    sealed = endorse(shared.ledger.proposal(proposed), steward, "reject")
    second = appended(shared.ledger.append([sealed])[0])
    assert shared.types()[-2:] == ["endorsement/1", "equivocation/1"]
    evidence: dict[str, Any] = msgspec.json.decode(
        shared.ledger.entry(second.index + 1).parts["body"].data
    )
    named = [evidence["first"], evidence["second"]]
    assert named == [ids.format_digest(first.leaf_hash), ids.format_digest(second.leaf_hash)]
    check_export(shared.ledger, tmp_path)


@pytest.mark.parametrize(("left_ms", "verdict"), [(1, "confirmed"), (0, "expired")])
def test_an_endorsement_at_the_moment_of_expiry_is_late(
    service: Service, tmp_path: Path, left_ms: int, verdict: str
) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide("acme").leaf_hash
    service.clock.now_ms = shared.ledger.proposal(proposed).ends_at - left_ms
    shared.endorse(proposed, "birch")
    assert shared.verdict(proposed) == verdict
    check_export(shared.ledger, tmp_path)


def test_a_clock_that_goes_back_reopens_nothing(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide("acme").leaf_hash
    ends_at = service.clock.now_ms = shared.ledger.proposal(proposed).ends_at
    shared.agents["acme"].note("time goes on")
    appended(shared.ledger.append([shared.agents["acme"].note("tick")])[0])
    service.clock.now_ms = ends_at - 3_600_000
    shared.endorse(proposed, "birch")
    assert shared.verdict(proposed) == "expired"


def test_membership_changed_in_mid_vote_silences_what_comes_and_keeps_what_was_said(
    shared: Consortium, tmp_path: Path
) -> None:
    proposed = shared.decide("acme").leaf_hash
    shared.endorse(proposed, "birch")
    removal = shared.append(shared.stewards["acme"], "member/1", Remove("birch"))
    shared.endorse(removal.leaf_hash, "cobalt")
    shared.endorse(proposed, "cobalt")
    assert shared.verdict(proposed) == "confirmed"
    check_export(shared.ledger, tmp_path)


def test_a_member_suspended_in_mid_vote_cannot_speak(shared: Consortium) -> None:
    proposed = shared.decide("acme").leaf_hash
    suspension = shared.append(shared.stewards["acme"], "member/1", Suspend("birch"))
    shared.endorse(suspension.leaf_hash, "cobalt")
    outcome = shared.ledger.append([shared.endorsement(proposed, "birch")])[0]
    assert isinstance(refused(outcome), StandingError)


# --- replay ----------------------------------------------------------------------


def test_the_same_endorsement_over_two_replicas_at_once_is_one_voice(service: Service) -> None:
    replicas = [service.open() for _ in range(2)]
    shared = Consortium(replicas[0].ledgers, QUORUM, ALL_THREE)
    ledgers = [replica.ledgers.get("shared") for replica in replicas]
    sealed = shared.endorsement(shared.decide("acme").leaf_hash, "birch")
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda ledger: appended(ledger.append([sealed])[0]), ledgers))
    assert done[0].receipt == done[1].receipt
    assert shared.types().count("endorsement/1") == 1


def test_the_same_endorsement_after_a_restart_is_the_same_entry(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    sealed = shared.endorsement(shared.decide("acme").leaf_hash, "birch")
    first = appended(shared.ledger.append([sealed])[0])
    shared.ledger = service.reopen().ledgers.get("shared")
    assert appended(shared.ledger.append([sealed])[0]).receipt == first.receipt
    assert shared.types().count("outcome/1") == 1


def test_the_same_id_with_another_decision_is_a_conflict(shared: Consortium) -> None:
    proposal = shared.ledger.proposal(shared.decide("acme").leaf_hash)
    record_id = ids.new_record_id()
    first = endorse(proposal, shared.agents["birch"], record_id=record_id)
    other = endorse(proposal, shared.agents["birch"], "reject", record_id=record_id)
    appended(shared.ledger.append([first])[0])
    assert isinstance(refused(shared.ledger.append([other])[0]), ConflictError)


def test_an_endorsement_replayed_into_another_ledger_is_refused(service: Service) -> None:
    ledgers = service.open().ledgers
    one, two = Consortium(ledgers, name="one"), Consortium(ledgers, name="two")
    sealed = one.endorsement(one.decide().leaf_hash, "birch")
    assert isinstance(refused(two.ledger.append([sealed])[0]), ForeignLedgerError)


def test_an_endorsement_replayed_on_another_proposal_changes_nothing_there(
    shared: Consortium,
) -> None:
    one, two = shared.decide("acme").leaf_hash, shared.decide("acme").leaf_hash
    sealed = shared.endorsement(one, "birch")
    for _ in range(2):
        appended(shared.ledger.append([sealed])[0])
    assert [len(shared.ledger.proposal(each).voices) for each in (one, two)] == [2, 1]
