"""A restored backup: nothing is signed on it, until a quorum opens an epoch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ledger_core import ids
from ledger_core.epochs import open_epoch, state_epoch
from ledger_core.errors import (
    ForeignLedgerError,
    ForkError,
    IntegrityError,
    MalformedError,
    PayloadError,
    StandingError,
)
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.vkey import parse_vkey
from ledger_core.policy.anchoring import check_anchored, parent_checkpoint_of, parse_anchored
from ledger_core.records.types.charter import Founding, FoundingKey, Parent
from ledger_core.records.types.epoch import Known, sign_statement
from ledger_core.storage import epochs
from tests.support.assemblies import make_policy
from tests.support.backups import (
    REASON,
    Backups,
    agree,
    begin_epoch,
    lose,
    operator_key,
    standstill,
)
from tests.support.consortium import Consortium
from tests.support.ledgers import (
    Author,
    a_service,
    append_notes,
    appended,
    checked_receipt,
    refused,
    register,
)


def test_an_epoch_goes_on_from_the_backup_under_a_new_origin(backups: Backups) -> None:
    author, kept, lost = lose(backups)
    replica = backups.service.open()
    assert isinstance(replica.ledgers.get("main").read_only, ForkError)

    statement, ledger = begin_epoch(backups.service)
    founded = author.origin
    assert (statement.old_origin, statement.new_origin) == (founded, f"{founded}/epoch/2")
    assert (statement.fork.size, [each.size for each in statement.known]) == (5, [9])
    assert ledger.read_only is None
    assert (ledger.origin, ledger.origins) == (
        f"{founded}/epoch/2",
        (founded, f"{founded}/epoch/2"),
    )
    assert ledger.size() == 6
    replica = backups.service.open()
    assert replica.ledgers.check_signed() == []

    headers = [parse_entry(each.leaf).header for each in ledger.entries(range(6))]
    assert [each.origin for each in headers] == [founded] * 5 + [ledger.origin]
    checkpoint = verify_checkpoint(ledger.checkpoint(), ledger.log_key)
    assert (checkpoint.origin, checkpoint.size) == (ledger.origin, 6)
    assert ledger.receipt(2) == kept[0]
    for index, each in enumerate(append_notes(ledger, author, 4, batch=2), start=6):
        checked_receipt(ledger, index, each.receipt)
    assert len(lost) == 4


def test_lost_records_are_accepted_again_exactly_once_and_kept_ones_are_repetitions(
    backups: Backups,
) -> None:
    service = backups.service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    notes = [author.note(number) for number in range(8)]
    before = [appended(each) for each in ledger.append(notes[:4])]
    copy = backups.take()
    ledger = service.open().ledgers.get("main")
    [appended(each) for each in ledger.append(notes[4:])]
    backups.restore(copy)

    _, ledger = begin_epoch(service)
    first = [appended(each) for each in ledger.append(notes)]
    again = [appended(each) for each in service.open().ledgers.get("main").append(notes)]
    assert [each.is_new for each in first] == [False] * 4 + [True] * 4
    assert [each.index for each in first] == [2, 3, 4, 5, 7, 8, 9, 10]
    assert [each.receipt for each in first[:4]] == [each.receipt for each in before]
    assert [each.receipt for each in again] == [each.receipt for each in first]
    for each in first[4:]:
        checked_receipt(ledger, each.index, each.receipt)
    author.origin = "ledgergrid.example/another/epoch/2"
    assert isinstance(refused(ledger.append([author.note()])[0]), ForeignLedgerError)
    author.origin = ledger.origin
    appended(ledger.append([author.note("addressed to the new epoch")])[0])


def test_log_keys_are_handed_over_in_the_new_epoch_as_before(backups: Backups) -> None:
    service = backups.service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    ledger.rotate_log_key()
    kept = append_notes(ledger, author, 2, batch=1)
    copy = backups.take()
    append_notes(service.open().ledgers.get("main"), author, 3)
    backups.restore(copy)
    _, ledger = begin_epoch(service)
    ledger.rotate_log_key()
    append_notes(ledger, author, 1)
    ledger = service.reopen().ledgers.get("main")
    names = [parse_vkey(vkey).name for _, vkey in ledger.log_keys()]
    assert names == [author.origin] * 2 + [ledger.origin] * 2
    assert len({vkey for _, vkey in ledger.log_keys()}) == 4
    assert ledger.receipt(kept[0].index) == kept[0].receipt
    parsed = parse_receipt(ledger.receipt(ledger.size() - 1))
    leaf = ledger.entry(ledger.size() - 1).leaf
    check_receipt(parsed, leaf, verify_checkpoint(parsed.checkpoint, ledger.log_key))


def test_the_same_backup_restored_twice_leaves_two_epochs_behind(backups: Backups) -> None:
    """Of the second epoch the backup knows nothing; the signer's memory does."""
    service = backups.service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    copy = backups.take()
    append_notes(service.open().ledgers.get("main"), author, 3)
    backups.restore(copy)
    _, ledger = begin_epoch(service)
    append_notes(ledger, author, 5)
    backups.restore(copy)

    replica = service.open()
    assert len(replica.ledgers.check_signed()) == 2
    statement, ledger = begin_epoch(service)
    founded = author.origin
    assert statement.new_origin == f"{founded}/epoch/3"
    assert [(each.origin, each.size) for each in statement.known] == [
        (founded, 5),
        (f"{founded}/epoch/2", 8),
    ]
    assert service.open().ledgers.check_signed() == []
    assert ledger.origins == (founded, f"{founded}/epoch/3")


def test_an_epoch_that_was_lost_itself_is_left_behind_by_the_next(backups: Backups) -> None:
    author, _, _ = lose(backups)
    service = backups.service
    _, ledger = begin_epoch(service)
    append_notes(ledger, author, 2)
    copy = backups.take()
    append_notes(service.open().ledgers.get("main"), author, 2)
    backups.restore(copy)
    statement, ledger = begin_epoch(service)
    assert [(each.origin, each.size) for each in statement.known] == [
        (f"{author.origin}/epoch/2", 10)
    ]
    assert [ledger.origin_at(index) for index in (4, 5, 7, 8)] == [
        ledger.origins[0],
        ledger.origins[1],
        ledger.origins[1],
        ledger.origins[2],
    ]
    assert service.open().ledgers.check_signed() == []
    assert append_notes(ledger, author, 1)[0].index == 9


def test_a_lost_history_that_is_found_again_does_not_go_on_beside_the_epoch(
    backups: Backups,
) -> None:
    """The disk was read after all: but meanwhile an epoch has signed, and others follow that."""
    service = backups.service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    older = backups.take()
    append_notes(service.open().ledgers.get("main"), author, 3)
    newest = backups.take()
    backups.restore(older)
    _, ledger = begin_epoch(service)
    append_notes(ledger, author, 1)
    backups.restore(newest)
    replica = service.open()
    assert len(replica.ledgers.check_signed()) == 1
    assert isinstance(replica.ledgers.get("main").read_only, ForkError)
    statement, ledger = begin_epoch(service)
    assert [(each.origin, each.size) for each in statement.known] == [
        (f"{author.origin}/epoch/2", 4)
    ]
    assert (statement.fork.size, ledger.origin) == (5, f"{author.origin}/epoch/3")
    assert service.open().ledgers.check_signed() == []
    append_notes(ledger, author, 1)


def test_there_is_no_epoch_where_nothing_was_lost(backups: Backups) -> None:
    replica = backups.service.open()
    replica.ledgers.create("main")
    replica.ledgers.get("main").checkpoint()
    with pytest.raises(StandingError, match="nothing to agree to"):
        state_epoch(standstill(replica), "main", REASON)


def test_another_history_is_no_older_one(backups: Backups) -> None:
    """Under an emptied memory the backup went on by itself; then the memory came back."""
    author, _, _ = lose(backups)
    service = backups.service
    ledger = service.open(memory_url=f"sqlite:///{backups.folder / 'other.db'}").ledgers.get("main")
    append_notes(ledger, author, 6)
    replica = service.reopen()
    with pytest.raises(ForkError, match="restore a backup from before the two parted"):
        state_epoch(standstill(replica), "main", REASON)


def test_when_memory_and_database_both_went_back_a_kept_receipt_says_so(backups: Backups) -> None:
    author, _, lost = lose(backups)
    service = backups.service
    service.memory_url = f"sqlite:///{backups.folder / 'older.db'}"
    replica = service.open()
    assert replica.ledgers.check_signed() == []
    kept = parse_receipt(lost[2]).checkpoint
    statement = state_epoch(standstill(replica), "main", REASON, [kept])
    assert [each.size for each in statement.known] == [8]
    agree(replica, statement, [operator_key(replica.ledgers.get("main"))])
    replica = service.reopen()
    assert replica.ledgers.check_signed() == []
    append_notes(replica.ledgers.get("main"), author, 1)


# --- who must agree ----------------------------------------------------------------


def test_in_a_private_ledger_an_operator_suffices_and_nobody_else_does(backups: Backups) -> None:
    author, _, _ = lose(backups)
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "main", REASON)
    for signer in (author.key, PrivateKey.generate()):
        with pytest.raises(StandingError, match="no operator"):
            agree(replica, statement, [signer])
    assert agree(replica, statement, [operator_key(replica.ledgers.get("main"))]) == 5


@pytest.fixture
def consortium(backups: Backups) -> Consortium:
    """Give three members, of whom two decide, and a backup that lost two notes."""
    service = backups.service
    made = Consortium(service.open().ledgers)
    made.decide()
    copy = backups.take()
    made.ledger = service.open().ledgers.get("shared")
    made.decide()
    backups.restore(copy)
    return made


def test_in_a_consortium_its_quorum_agrees_and_one_member_is_not_enough(
    backups: Backups, consortium: Consortium
) -> None:
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "shared", REASON)
    stewards, agents = consortium.stewards, consortium.agents
    operator = operator_key(replica.ledgers.get("shared"))
    for few in ([operator], [operator, stewards["acme"].key, agents["acme"].key]):
        with pytest.raises(StandingError, match="not the quorum"):
            agree(replica, statement, few, "shared")
    assert agree(replica, statement, [stewards["acme"].key, agents["birch"].key], "shared") == 2
    ledger = backups.service.reopen().ledgers.get("shared")
    assert ledger.read_only is None


def test_a_policy_for_epochs_goes_before_the_one_for_policies(backups: Backups) -> None:
    service = backups.service
    policies = (
        make_policy("member/1", "policy/1"),
        make_policy("epoch/1", rule=None, count_by="key"),
    )
    made = Consortium(service.open().ledgers, *policies)
    copy = backups.take()
    made.ledger = service.open().ledgers.get("shared")
    made.append(made.agents["acme"], "note/1", "lost")
    backups.restore(copy)
    replica = service.open()
    statement = state_epoch(standstill(replica), "shared", REASON)
    signers = [made.agents[name].key for name in ("acme", "cobalt")]
    agree(replica, statement, signers, "shared")


def test_a_signature_over_another_statement_opens_nothing(backups: Backups) -> None:
    lose(backups)
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "main", REASON)
    other = state_epoch(standstill(replica), "main", "another reason")
    key = operator_key(replica.ledgers.get("main"))
    with pytest.raises(PayloadError, match="did not sign this"):
        open_epoch(standstill(replica), "main", statement, [sign_statement(other, key)])
    assert replica.ledgers.get("main").size() == 5


def test_a_statement_that_hides_what_was_signed_opens_nothing(backups: Backups) -> None:
    lose(backups)
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "main", REASON)
    key = operator_key(replica.ledgers.get("main"))
    less = Known(statement.old_origin, 7, ids.format_digest(bytes(32)))
    hiding = msgspec.structs.replace(statement, known=(less,))
    with pytest.raises(StandingError, match="does not say so"):
        agree(replica, hiding, [key])


def test_a_statement_that_nobody_agreed_to_teaches_the_memory_nothing(backups: Backups) -> None:
    author, _, _ = lose(backups)
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "main", REASON)
    more = Known(statement.old_origin, 10**9, ids.format_digest(bytes(32)))
    claiming = msgspec.structs.replace(statement, known=(more,))
    with pytest.raises(StandingError, match="no operator"):
        agree(replica, claiming, [author.key])
    remembered = replica.memory.recall(statement.old_origin)
    assert remembered is not None
    assert remembered.size == 9


def test_an_epoch_opened_twice_is_open_once(backups: Backups) -> None:
    lose(backups)
    replica = backups.service.open()
    statement = state_epoch(standstill(replica), "main", REASON)
    key = operator_key(replica.ledgers.get("main"))
    assert agree(replica, statement, [key]) == agree(replica, statement, [key]) == 5
    assert backups.service.reopen().ledgers.get("main").size() == 6


def test_no_ledger_is_founded_as_a_later_epoch_of_another(backups: Backups) -> None:
    ledgers = backups.service.open().ledgers
    with pytest.raises(MalformedError, match="later epoch"):
        ledgers.create("main", origin="ledger.example/a/epoch/2")


def test_an_epoch_that_only_a_row_speaks_of_is_none(sqlite_url: str, tmp_path: Path) -> None:
    with a_service(sqlite_url, tmp_path) as service:
        replica = service.open()
        ledger = replica.ledgers.create("main")
        with replica.database.write() as tx:
            epochs.add(tx, 1, 1, f"{ledger.origin}/epoch/2")
        replica = service.reopen()
        with pytest.raises(IntegrityError, match="not those its entries opened"):
            replica.ledgers.get("main")
        assert len(replica.ledgers.check_signed()) == 0


def test_a_local_ledger_with_an_epoch_is_anchored_and_its_old_entries_lead_there(
    backups: Backups,
) -> None:
    service = backups.service
    ledgers = service.open().ledgers
    parent = ledgers.create("main", origin="ledgergrid.example/main")
    named = Parent(parent.origin, ids.format_digest(parent.charter))
    key = PrivateKey.generate()
    party = Author("ledgergrid.example/deal", key)
    founding = Founding(
        keys=(FoundingKey(party.name, ("agent",)),), parties=(party.name,), parent=named
    )
    deal = ledgers.create("deal", kind="local", origin=party.origin, founding=founding)
    append_notes(deal, party, 2)
    copy = backups.take()
    append_notes(service.open().ledgers.get("deal"), party, 2)
    backups.restore(copy)
    _, deal = begin_epoch(service, key, name="deal")
    appended(deal.append([party.seal("closing/1", {"body": b"{}"})])[0])
    ledgers = service.open().ledgers
    assert ledgers.anchorer.anchor_due() is None
    for index in range(5):
        receipt = parse_anchored(ledgers.anchorer.prove(deal, index))
        note = parent_checkpoint_of(receipt)
        checkpoint = verify_checkpoint(note, ledgers.get("main").log_key)
        anchor = check_anchored(receipt, deal.entry(index).leaf, checkpoint)
        assert anchor.origin == deal.origin
