"""Checkpoints: signed by the log they name, the same bytes every time."""

from __future__ import annotations

import pytest
from hypothesis import given

from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import checkpoint
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.note import Note, NoteSignature, format_note, parse_note
from ledger_core.formats.vkey import LogKey, NoteSigner
from tests.ledger_core.formats import strategies as made
from tests.vectors.build import LOG, ORIGIN, WITNESS


@given(made.sizes, made.hashes)
def test_a_signed_checkpoint_is_verified_under_the_logs_key(size: int, root: bytes) -> None:
    of = Checkpoint(ORIGIN, size, root)
    raw = checkpoint.sign_checkpoint(of, LOG)
    assert checkpoint.verify_checkpoint(raw, LOG.public) == of
    assert checkpoint.sign_checkpoint(of, LOG) == raw


@given(
    made.mutations(
        made.sizes.map(
            lambda size: checkpoint.sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), LOG)
        )
    )
)
def test_a_spoilt_checkpoint_is_refused_or_says_what_was_signed(raw: bytes) -> None:
    try:
        of = checkpoint.verify_checkpoint(raw, LOG.public)
    except (MalformedError, SignatureError):
        return
    text = checkpoint.format_checkpoint(of)
    LOG.public.verify(text, LOG.sign(text).blob)
    assert parse_note(raw).text == text


def test_a_checkpoint_of_another_origin_is_refused_though_the_key_signed_it() -> None:
    foreign = checkpoint.sign_checkpoint(Checkpoint("other.example/log", 1, bytes(32)), LOG)
    with pytest.raises(MalformedError, match=r"other\.example"):
        checkpoint.verify_checkpoint(foreign, LOG.public)


def test_a_cosignature_alone_makes_no_checkpoint() -> None:
    text = checkpoint.format_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)))
    raw = format_note(Note(text, (WITNESS.cosign(text, 1),)))
    with pytest.raises(SignatureError, match="no signature by"):
        checkpoint.verify_checkpoint(raw, LOG.public)


def test_two_random_lines_among_the_signatures_change_nothing() -> None:
    # Some logs add such lines on purpose, so that readers learn to ignore what they do not know.
    text = checkpoint.format_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)))
    grease = [NoteSignature(f"grease.example/{n}", bytes([n] * 4), bytes(67)) for n in range(2)]
    raw = format_note(Note(text, (grease[0], LOG.sign(text), grease[1])))
    assert checkpoint.verify_checkpoint(raw, LOG.public).size == 1


def test_another_key_of_the_same_name_is_not_the_log() -> None:
    raw = checkpoint.sign_checkpoint(
        Checkpoint(ORIGIN, 1, bytes(32)), NoteSigner(ORIGIN, WITNESS.private)
    )
    with pytest.raises(SignatureError):
        checkpoint.verify_checkpoint(raw, LogKey(ORIGIN, LOG.private.public_key))
