"""What governance types ask beyond their schemas: whose signature, over what, and of whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger_core import ids
from ledger_core.errors import PayloadError
from ledger_core.formats import ed25519
from ledger_core.formats.record import Ref, make_part
from ledger_core.formats.vkey import NoteSigner, parse_skey
from ledger_core.records.model import decode_payload
from ledger_core.records.possession import check_possession, prove_possession
from ledger_core.records.registry import find_type
from tests.vectors.bad_governance_types import BAD
from tests.vectors.build import AGENT, OPERATOR, ORIGIN, SALT, make_record
from tests.vectors.governance_types import (
    ADMIT,
    CHARTER,
    CONSORTIUM,
    ENDORSEMENT,
    EXAMPLES,
    LOG_KEY,
    NEXT_LOG,
    OTHER,
    OTHER_KEY,
    REVOKE,
    digest,
    hand_over,
    make_vkey,
    possess,
)
from tests.vectors.notes import SIGSUM_ORIGIN, SIGSUM_PRIVATE, SIGSUM_VKEY


def decode(kind: str, body: Any, key: ed25519.PrivateKey = OPERATOR, **fields: Any) -> Any:
    ref, part = make_part(json.dumps(body).encode(), "application/json", SALT)
    made = make_record(kind=kind, key=key, payload={"body": ref}, **fields)
    return decode_payload(find_type(kind), made, {"body": part})["body"]


def test_every_governance_type_has_bodies_that_are_refused() -> None:
    assert BAD.keys() == EXAMPLES.keys()


def test_a_key_proves_possession_for_one_ledger() -> None:
    proof = prove_possession(ORIGIN, OTHER)
    assert proof == possess(OTHER)
    check_possession(ORIGIN, OTHER_KEY, proof)
    for origin, key in (("other.example", OTHER_KEY), (ORIGIN, ids.format_key(AGENT.public_key))):
        with pytest.raises(PayloadError, match="key: "):
            check_possession(origin, key, proof)


@pytest.mark.parametrize("kind", ["charter/1", "log.key/1"])
def test_a_signature_for_another_ledger_is_none_here(kind: str) -> None:
    body = next(iter(EXAMPLES[kind].values()))
    decode(kind, body)
    with pytest.raises(PayloadError):
        decode(kind, body, ledger="other.example")


def test_an_admission_shows_possession_of_every_key() -> None:
    second = {"key": ids.format_key(AGENT.public_key), "roles": ["agent"], "possession": possess()}
    with pytest.raises(PayloadError, match="key: "):
        decode("member/1", {**ADMIT, "keys": [*ADMIT["keys"], second]})
    second["possession"] = possess(AGENT)
    assert len(decode("member/1", {**ADMIT, "keys": [*ADMIT["keys"], second]}).keys) == 2


def test_both_log_keys_sign_the_same_words() -> None:
    with pytest.raises(PayloadError, match="log key: "):
        decode("log.key/1", {**LOG_KEY, "by_old": LOG_KEY["by_new"], "by_new": LOG_KEY["by_old"]})


def test_a_log_that_is_named_by_a_key_has_that_key_from_its_charter_on_and_for_ever() -> None:
    body = {**CHARTER, "origin": SIGSUM_ORIGIN, "log_key": SIGSUM_VKEY}
    decode("charter/1", body, ledger=SIGSUM_ORIGIN)
    other = make_vkey(NEXT_LOG, SIGSUM_ORIGIN)
    with pytest.raises(PayloadError, match=r"charter: .*names another key"):
        decode("charter/1", {**body, "log_key": other}, ledger=SIGSUM_ORIGIN)
    signer = parse_skey(SIGSUM_PRIVATE)
    assert isinstance(signer, NoteSigner)
    both = {"old": SIGSUM_VKEY, "new": other}
    signed = {
        by: hand_over(key, **both, origin=SIGSUM_ORIGIN)
        for by, key in (("by_old", signer.private), ("by_new", NEXT_LOG))
    }
    with pytest.raises(PayloadError, match=r"log key: .*names another key"):
        decode("log.key/1", {**both, **signed}, ledger=SIGSUM_ORIGIN)


def test_an_endorsement_refers_to_its_own_proposal_or_to_none() -> None:
    own = Ref(rel="endorses", to=ENDORSEMENT["proposal"])
    other = Ref(rel="endorses", to=digest("another"))
    cause = Ref(rel="causes", to=digest("another"))
    good: list[tuple[Ref, ...]] = [(), (own,), (cause,)]
    bad: list[tuple[Ref, ...]] = [(other,), (own, other)]
    for refs in good:
        decode("endorsement/1", ENDORSEMENT, AGENT, refs=refs)
    for refs in bad:
        with pytest.raises(PayloadError, match="its own proposal"):
            decode("endorsement/1", ENDORSEMENT, AGENT, refs=refs)


def test_a_key_is_revoked_by_another_whatever_its_role() -> None:
    own = ids.format_key(AGENT.public_key)
    with pytest.raises(PayloadError, match="never by itself"):
        decode("key/1", {**REVOKE, "key": own}, AGENT)


@pytest.mark.parametrize("name", ["Acme", "acme\n", "a" * 64, "-acme", "acme.", "ac me", "", "ä"])
def test_a_members_name_reads_in_one_way(name: str) -> None:
    members = [*CONSORTIUM["members"], {"name": name}]
    with pytest.raises(PayloadError):
        decode("charter/1", {**CONSORTIUM, "members": members})
