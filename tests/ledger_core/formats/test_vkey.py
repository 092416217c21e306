"""Keys as text: the published ones, mangled in every way, and cosignatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import LedgerGridError, MalformedError, SignatureError
from ledger_core.formats import ed25519, mldsa44, vkey
from ledger_core.formats.checkpoint import Checkpoint, format_checkpoint
from ledger_core.formats.vkey import (
    MldsaWitnessKey,
    MldsaWitnessSigner,
    NoteSigner,
    WitnessKey,
    WitnessSigner,
)
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import LOG, WITNESS
from tests.vectors.notes import LOG_VKEY, PETER, PETER_PRIVATE, WITNESS_VKEY
from tests.vectors.post_quantum import PQ_WITNESS


def pieces(text: str) -> list[str]:
    """Cut out every piece of a text but the whole."""
    cuts = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    return [cut for cut in cuts if cut != text]


def neighbours(text: str) -> list[str]:
    """Raise each character of a text by one."""
    return [text[:i] + chr(ord(text[i]) + 1) + text[i + 1 :] for i in range(len(text))]


@pytest.mark.parametrize("text", [PETER, WITNESS_VKEY])
def test_no_piece_and_no_neighbour_of_a_vkey_is_one(text: str) -> None:
    for bad in [*pieces(text), *neighbours(text)]:
        with pytest.raises(LedgerGridError):
            vkey.parse_vkey(bad)


def test_no_piece_and_no_neighbour_of_a_private_key_is_one() -> None:
    for bad in [*pieces(PETER_PRIVATE), *neighbours(PETER_PRIVATE)]:
        with pytest.raises(LedgerGridError):
            vkey.parse_skey(bad)


def test_the_published_seeds_give_the_published_keys() -> None:
    assert vkey.format_vkey(LOG.public) == LOG_VKEY
    assert vkey.format_vkey(WITNESS.public) == WITNESS_VKEY
    assert vkey.format_vkey(vkey.parse_skey(PETER_PRIVATE).public) == PETER


def test_no_error_about_a_private_key_repeats_any_of_it() -> None:
    secret = PETER_PRIVATE.rpartition("+")[2]
    for bad in [
        PETER_PRIVATE + "=",
        PETER_PRIVATE.replace("c74f", "c74e"),
        secret,
        PETER_PRIVATE[:-3],
    ]:
        with pytest.raises(MalformedError) as caught:
            vkey.parse_skey(bad)
        assert secret[:12] not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_name_from_the_command_line_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(MalformedError):
        vkey.parse_vkey("\udcff" + LOG_VKEY)


@given(made.key_names, made.hashes)
def test_a_private_key_is_read_as_it_is_written(name: str, seed: bytes) -> None:
    signer = NoteSigner(name, ed25519.PrivateKey(seed))
    again = vkey.parse_skey(vkey.format_skey(signer))
    assert (again.name, again.private.seed) == (name, seed)
    assert vkey.parse_vkey(vkey.format_vkey(signer.public)) == signer.public


@given(made.key_names, made.hashes)
def test_private_keys_of_witnesses_are_read_as_they_are_written(name: str, seed: bytes) -> None:
    for signer in (
        WitnessSigner(name, ed25519.PrivateKey(seed)),
        MldsaWitnessSigner(name, mldsa44.PrivateKey(seed)),
    ):
        again = vkey.parse_skey(vkey.format_skey(signer))
        assert (type(again), again.name, again.private.seed) == (type(signer), name, seed)
        assert again.public == signer.public
        assert vkey.parse_vkey(vkey.format_vkey(signer.public)) == signer.public


@given(made.checkpoints, made.key_names, st.integers(1, 2**63 - 1))
def test_an_ml_dsa_cosignature_is_for_one_name_one_checkpoint_one_time(
    checkpoint: Checkpoint, name: str, time_s: int
) -> None:
    witness = MldsaWitnessSigner(name, PQ_WITNESS.private)
    text = format_checkpoint(checkpoint)
    line = witness.cosign(text, time_s)
    witness.public.verify(text, line.blob)
    assert vkey.cosigned_at(line.blob) == time_s
    other = Checkpoint(checkpoint.origin, checkpoint.size ^ 1, checkpoint.root)
    with pytest.raises(SignatureError):
        witness.public.verify(format_checkpoint(other), line.blob)
    with pytest.raises(SignatureError):
        MldsaWitnessKey(f"{name}x", witness.public.public_key).verify(text, line.blob)


@given(made.key_names, made.hashes)
def test_one_key_has_another_id_as_witness_than_as_log(name: str, seed: bytes) -> None:
    key = ed25519.PrivateKey(seed)
    log, witness = NoteSigner(name, key).public, WitnessSigner(name, key).public
    assert log.key_id != witness.key_id
    assert vkey.parse_vkey(vkey.format_vkey(witness)) == witness


@given(made.note_texts, st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_a_cosignature_is_for_one_text_at_one_time(text: bytes, time_s: int, other_s: int) -> None:
    made_line = WITNESS.cosign(text, time_s)
    WITNESS.public.verify(text, made_line.blob)
    assert vkey.cosigned_at(made_line.blob) == time_s
    if other_s != time_s:
        with pytest.raises(SignatureError):
            WITNESS.public.verify(text, other_s.to_bytes(8) + made_line.blob[8:])
    with pytest.raises(SignatureError):
        WITNESS.public.verify(text + b"\n", made_line.blob)


def test_a_logs_signature_is_no_cosignature_by_the_same_key() -> None:
    text = b"ledgergrid.example/log1\n1\nAAAA\n"
    witness = WitnessKey(LOG.name, LOG.private.public_key)
    signature = LOG.sign(text).blob
    for blob in (signature, bytes(8) + signature, (1).to_bytes(8) + signature):
        with pytest.raises(SignatureError):
            witness.verify(text, blob)
