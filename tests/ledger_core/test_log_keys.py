"""The log's own key hands over to the next one; what the old one signed stays valid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest

from ledger_core.errors import IntegrityError, PayloadError, SignatureError, StandingError
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.vkey import LogKey, NoteSigner, format_vkey, make_key_name, parse_vkey
from ledger_core.ledger import Ledger
from ledger_core.records.types.log_key import LogKeyChange, check_handover, follow_handovers
from tests.support.ledgers import Author, Service, append_notes, register

SEED = PrivateKey(b"\x09" * 32)
OWN = NoteSigner("log.example.org/orders", SEED)
NAMED = NoteSigner(make_key_name(SEED.public_key), SEED)
"""The same key for a log of any name, and for the log that is named by it."""


def changes(ledger: Ledger) -> Iterator[LogKeyChange]:
    for index, _ in ledger.log_keys()[1:]:
        yield msgspec.json.decode(ledger.entry(index).parts["body"].data, type=LogKeyChange)


def check_signers(ledger: Ledger) -> None:
    """Check that each size is signed by the key that its newest covered entry named."""
    keys = [(index, parse_vkey(vkey)) for index, vkey in ledger.log_keys()]
    for size in range(1, ledger.size() + 1):
        expected = [key for index, key in keys if index < size][-1]
        receipt = parse_receipt(ledger.receipt(0, size))
        assert isinstance(expected, LogKey)
        checkpoint = verify_checkpoint(receipt.checkpoint, expected)
        check_receipt(receipt, ledger.entry(0).leaf, checkpoint)


def test_the_new_key_signs_from_the_checkpoint_on_that_covers_the_handover(
    service: Service,
) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 2, batch=1)
    first = ledger.log_key
    before = ledger.checkpoint()
    done = ledger.rotate_log_key()
    assert done.index == 4
    second = ledger.log_key
    assert second != first
    append_notes(ledger, author, 2, batch=1)
    assert ledger.log_keys() == ((0, format_vkey(first)), (4, format_vkey(second)))
    assert verify_checkpoint(before, first).size == 4
    assert verify_checkpoint(parse_receipt(done.receipt).checkpoint, second).size == 5
    check_signers(ledger)


def test_receipts_are_the_same_bytes_before_and_after_rotation_and_restart(
    service: Service,
) -> None:
    ledger = service.open().ledgers.create("main")
    notes = append_notes(ledger, register(ledger), 4, batch=1)
    for _ in range(3):
        ledger.rotate_log_key()
    ledger = service.reopen().ledgers.get("main")
    assert [ledger.receipt(note.index) for note in notes] == [note.receipt for note in notes]
    assert len({key for _, key in ledger.log_keys()}) == 4
    check_signers(ledger)


def test_another_replica_signs_with_the_key_that_the_log_names(service: Service) -> None:
    one = service.open().ledgers.create("main")
    author = register(one)
    two = service.open().ledgers.get("main")
    append_notes(two, author, 1)
    one.rotate_log_key()
    assert two.log_key == one.log_key
    assert two.checkpoint() == one.checkpoint()
    append_notes(two, author, 1)
    two.rotate_log_key()
    append_notes(one, author, 1)
    assert one.log_key == two.log_key
    assert one.checkpoint() == two.checkpoint()
    check_signers(one)
    check_signers(two)


def test_of_two_replicas_that_rotate_at_once_one_does(service: Service) -> None:
    one = service.open().ledgers.create("main")
    two = service.open().ledgers.get("main")
    stale = two._signer.keys.hand_over(two.size())
    one.rotate_log_key()
    with pytest.raises(StandingError, match="not the log's key now"):
        two.append_as_operator("log.key/1", msgspec.json.encode(stale))
    assert len(one.log_keys()) == 2


def test_only_an_operator_rotates_the_logs_key(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    agent: Author = register(ledger)
    body = msgspec.json.encode(ledger._signer.keys.hand_over(ledger.size()))
    (outcome,) = ledger.append([agent.seal("log.key/1", {"body": body})])
    assert isinstance(outcome, StandingError)


def test_whoever_trusts_the_first_key_follows_every_handover(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    first = ledger.log_key
    for _ in range(3):
        ledger.rotate_log_key()
    told = list(changes(ledger))
    assert follow_handovers(first, told) == ledger.log_key
    assert follow_handovers(first, told[1:]) == first
    assert follow_handovers(first, reversed(told)) == parse_vkey(told[0].new)
    for earlier, later in pairwise(told):
        assert earlier.new == later.old


def test_a_handover_that_the_old_key_did_not_sign_leads_nowhere(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    ledger.rotate_log_key()
    ledger.rotate_log_key()
    first, second = changes(ledger)
    replace = msgspec.structs.replace
    for forged in (
        replace(first, new=second.new, by_new=second.by_new),
        replace(first, by_old=second.by_old),
        replace(first, by_new=first.by_old),
        replace(first, new=first.old, by_new=first.by_old),
    ):
        with pytest.raises((PayloadError, SignatureError)):
            check_handover(ledger.origin, forged)
    with pytest.raises(PayloadError):
        check_handover("ledgergrid.example/elsewhere", first)


def test_a_log_with_a_key_of_its_own_signs_with_it_and_hands_over_to_derived_ones(
    service: Service,
) -> None:
    service.own_log_keys = [OWN]
    ledger = service.open().ledgers.create("orders", origin=OWN.name)
    assert ledger.log_key == OWN.public
    notes = append_notes(ledger, register(ledger), 3, batch=1)
    ledger.rotate_log_key()
    ledger.rotate_log_key()
    assert len({vkey for _, vkey in ledger.log_keys()}) == 3
    check_signers(ledger)
    ledger = service.reopen().ledgers.get("orders")
    assert [ledger.receipt(note.index) for note in notes] == [note.receipt for note in notes]
    check_signers(ledger)


def test_without_the_logs_own_key_nothing_is_signed_in_its_name(service: Service) -> None:
    service.own_log_keys = [OWN]
    ledger = service.open().ledgers.create("orders", origin=OWN.name)
    append_notes(ledger, register(ledger), 3)
    other = NoteSigner(OWN.name, PrivateKey(b"\x0a" * 32))
    for wrong in ((), (other,)):
        service.own_log_keys = wrong
        replica = service.reopen()
        with pytest.raises(IntegrityError, match="does not hold the log's key"):
            replica.ledgers.get("orders").checkpoint()
    service.own_log_keys = [OWN]
    verify_checkpoint(service.reopen().ledgers.get("orders").checkpoint(), OWN.public)


def test_a_log_that_is_named_by_its_key_keeps_it_for_ever(service: Service) -> None:
    service.own_log_keys = [NAMED]
    ledger = service.open().ledgers.create("main", origin=NAMED.name)
    append_notes(ledger, register(ledger), 3)
    size = ledger.size()
    with pytest.raises(PayloadError, match="names another key"):
        ledger.rotate_log_key()
    assert ledger.size() == size
    assert verify_checkpoint(ledger.checkpoint(), NAMED.public).size == size


def test_a_log_is_not_founded_under_the_name_of_a_key_that_is_not_held(service: Service) -> None:
    ledgers = service.open().ledgers
    with pytest.raises(PayloadError, match="names another key"):
        ledgers.create("main", origin=NAMED.name)
    assert ledgers.names() == []
