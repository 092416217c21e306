"""Trust policies: thresholds count distinct keys, and no sentence has two readings."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_core.errors import MalformedError, SignatureError, TooLargeError
from ledger_core.formats import trust_policy
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import LogKey, WitnessKey, WitnessSigner, format_vkey
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import LOG, WITNESS, WITNESS_2, WITNESS_3
from tests.vectors.notes import LOG_VKEY, TALL, TALL_NOTE, cosign
from tests.vectors.trust_policy import HEAD, TWO_OF_THREE

WITNESSES = (WITNESS, WITNESS_2, WITNESS_3)


def many(count: int) -> list[WitnessKey]:
    return [
        WitnessSigner(f"w{n}.example", PrivateKey(n.to_bytes(32))).public
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", range(4))
def test_two_of_three_are_met_by_any_two_and_by_no_one(count: int) -> None:
    policy = parse_trust_policy(TWO_OF_THREE.encode())
    for chosen in itertools.combinations(WITNESSES, count):
        trusted = trust_policy.verify_trusted(cosign(TALL_NOTE, *chosen), policy)
        assert trusted.quorum_met == (count >= 2)
        assert set(trusted.witnesses) == {witness.public for witness in chosen}
        assert (trusted.checkpoint, trusted.log) == (TALL, LOG.public)


@given(st.lists(st.sampled_from(WITNESSES), max_size=8))
def test_a_witness_that_cosigns_often_counts_once(signers: list[WitnessSigner]) -> None:
    policy = parse_trust_policy(TWO_OF_THREE.encode())
    note = TALL_NOTE
    for time_s, signer in enumerate(signers, 1):
        note = cosign(note, signer, time_s=time_s)
    trusted = trust_policy.verify_trusted(note, policy)
    assert len(trusted.witnesses) == len(set(signers))
    assert trusted.quorum_met == (len(set(signers)) >= 2)


def test_a_log_key_in_a_witnesses_place_means_its_cosigning_twin() -> None:
    twin = format_vkey(LogKey(WITNESS.name, WITNESS.private.public_key))
    policy = parse_trust_policy(f"log {LOG_VKEY}\nwitness w {twin}\nquorum w\n".encode())
    assert policy.witnesses["w"] == WITNESS.public
    assert trust_policy.verify_trusted(cosign(TALL_NOTE, WITNESS), policy).quorum_met


def test_any_one_of_the_listed_logs_is_enough() -> None:
    other = "log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n"
    policy = parse_trust_policy(f"{other}log {LOG_VKEY}\nquorum none\n".encode())
    assert trust_policy.verify_trusted(TALL_NOTE, policy).log == LOG.public


def test_a_log_is_believed_about_its_own_origin_only() -> None:
    policy = parse_trust_policy(f"log {LOG_VKEY}\nquorum none\n".encode())
    foreign = TALL_NOTE.replace(b"ledgergrid.example/log1\n70000", b"other.example/log\n70000")
    with pytest.raises(SignatureError, match=r"other\.example"):
        trust_policy.verify_trusted(foreign, policy)


def test_32_logs_witnesses_and_groups_are_taken_as_c2sp_asks() -> None:
    witnesses = [f"witness w{n} {format_vkey(key)}" for n, key in enumerate(many(32))]
    groups = [f"group g{n} any w{n}" for n in range(31)]
    top = "group top 16 " + " ".join(f"g{n}" for n in range(31))
    text = "\n".join([f"log {LOG_VKEY}", *witnesses, *groups, top, "quorum top", ""])
    policy = parse_trust_policy(text.encode())
    assert policy.is_met_by(set(many(16)))
    assert not policy.is_met_by(set(many(15)))


def test_groups_nested_as_deep_as_may_be_are_judged() -> None:
    names = ["w0", *(f"g{n}" for n in range(255))]
    witness = f"witness w0 {format_vkey(many(1)[0])}"
    groups = [f"group {outer} all {inner}" for inner, outer in itertools.pairwise(names)]
    text = "\n".join([f"log {LOG_VKEY}", witness, *groups, f"quorum {names[-1]}"])
    policy = parse_trust_policy(text.encode())
    assert policy.is_met_by(set(many(1)))
    assert not policy.is_met_by(set())
    with pytest.raises(TooLargeError):
        parse_trust_policy(text.replace("quorum g254", "group last all g254\nquorum last").encode())


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_error_names_its_line(number: int) -> None:
    lines = HEAD.splitlines()
    lines.insert(number - 1, "nonsense")
    with pytest.raises(MalformedError, match=f"line {number}:"):
        parse_trust_policy("\n".join(lines).encode())


@settings(max_examples=200)
@given(made.mutations(st.just(TWO_OF_THREE.encode())))
def test_a_spoilt_policy_is_refused_or_names_the_same_keys_and_no_fewer(raw: bytes) -> None:
    try:
        policy = parse_trust_policy(raw)
    except (MalformedError, SignatureError):
        return
    assert policy.logs == [LOG.public]
    assert set(policy.witnesses.values()) <= {witness.public for witness in WITNESSES}
    assert policy.quorum == "none" or policy.is_met_by(set(policy.witnesses.values()))
