"""What a ledger promises, on both databases: places, receipts, refusals, proofs, reads."""

from __future__ import annotations

import msgspec
import pytest

from ledger_core import ids
from ledger_core.errors import (
    ConflictError,
    DanglingReferenceError,
    ForbiddenError,
    ForeignLedgerError,
    NotFoundError,
    ProofError,
    SignatureError,
    StandingError,
    UnknownTypeError,
)
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import NO_PREVIOUS, parse_entry
from ledger_core.formats.record import SignedRecord
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.merkle import tiles, tree
from ledger_core.merkle.tiles import TileId
from ledger_core.records.types.key import Revoke
from tests.support.ledgers import (
    Author,
    Service,
    append_notes,
    appended,
    checked_receipt,
    refused,
    register,
)

ABSENT = tree.leaf_hash(b"nothing like this was ever appended")


# --- places and receipts -----------------------------------------------------------


def test_every_receipt_proves_its_entry_under_the_log_key(ledger: Ledger, author: Author) -> None:
    done = append_notes(ledger, author, 20, batch=7)
    assert [each.index for each in done] == list(range(2, 22))
    for each in done:
        checkpoint = checked_receipt(ledger, each.index, each.receipt)
        assert checkpoint.origin == ledger.origin
        assert each.is_new
        assert ledger.entry(each.index).leaf_hash == each.leaf_hash
        assert ledger.receipt(each.index) == each.receipt


def test_entries_form_one_chain_from_the_charter_on(ledger: Ledger, author: Author) -> None:
    append_notes(ledger, author, 30, batch=4)
    previous = NO_PREVIOUS
    for index, entry in enumerate(ledger.entries(range(ledger.size()))):
        header = parse_entry(entry.leaf).header
        assert (header.index, header.previous) == (index, previous)
        assert header.origin == ledger.origin
        previous = entry.leaf_hash
    assert ledger.entry(0).leaf_hash == ledger.charter


def test_bytes_come_back_as_they_were_sealed(ledger: Ledger, author: Author) -> None:
    sealed = author.note({"text": "Grüße, \u2028 and \x00", "n": [1, 2.5, None]})
    place = appended(ledger.append([sealed])[0])
    entry = ledger.entry(place.index)
    assert parse_entry(entry.leaf).record == sealed.signed.raw
    assert entry.parts == sealed.parts
    assert ledger.index_of(sealed.signed.record.id) == place.index


def test_a_receipt_can_be_had_at_every_later_checkpoint(ledger: Ledger, author: Author) -> None:
    first = append_notes(ledger, author, 1)[0]
    sizes = {append_notes(ledger, author, 3)[-1].index + 1 for _ in range(4)}
    for size in sizes:
        receipt = ledger.receipt(first.index, size)
        assert checked_receipt(ledger, first.index, receipt).size == size


@pytest.mark.parametrize(("index", "size"), [(3, 3), (0, 4), (9, None), (2, 99), (-1, None)])
def test_there_is_no_receipt_where_no_checkpoint_covers_an_entry(
    ledger: Ledger, author: Author, index: int, size: int | None
) -> None:
    append_notes(ledger, author, 3)
    assert ledger.size() == 5
    with pytest.raises(NotFoundError):
        ledger.receipt(index, size)


def test_an_empty_batch_changes_nothing(ledger: Ledger) -> None:
    before = ledger.checkpoint()
    assert ledger.append([]) == []
    assert ledger.checkpoint() == before


# --- the same again ----------------------------------------------------------------


def test_the_same_record_gets_the_same_receipt_at_any_later_size(
    ledger: Ledger, author: Author
) -> None:
    sealed = author.note("once")
    first = appended(ledger.append([author.note(), sealed, author.note()])[1])
    append_notes(ledger, author, 300)
    again = appended(ledger.append([author.note(), sealed])[1])
    assert (again.index, again.receipt) == (first.index, first.receipt)
    assert (again.leaf_hash, again.received_at) == (first.leaf_hash, first.received_at)
    assert first.is_new
    assert not again.is_new
    assert ledger.size() == 2 + 3 + 300 + 1


def test_the_same_record_gets_the_same_receipt_after_a_restart_and_from_another_replica(
    service: Service,
) -> None:
    one, two = service.open(), service.open()
    ledger = one.ledgers.create("main")
    author = register(ledger)
    sealed = author.note("once")
    first = appended(ledger.append([sealed, author.note()])[0])
    assert appended(two.ledgers.get("main").append([sealed])[0]).receipt == first.receipt
    append_notes(two.ledgers.get("main"), author, 10)
    later = service.reopen().ledgers.get("main")
    again = appended(later.append([author.note(), sealed])[1])
    assert (again.receipt, again.is_new) == (first.receipt, False)
    assert later.size() == 2 + 2 + 10 + 1


def test_the_same_id_with_other_bytes_is_a_conflict_and_the_first_stands(
    ledger: Ledger, author: Author
) -> None:
    first = author.note("first")
    other = author.note("second", record_id=first.signed.record.id)
    place = appended(ledger.append([first])[0])
    error = refused(ledger.append([other])[0])
    assert isinstance(error, ConflictError)
    assert error.stored != error.received
    assert error.stored.startswith(ids.DIGEST_PREFIX)
    assert parse_entry(ledger.entry(place.index).leaf).record == first.signed.raw
    assert ledger.size() == place.index + 1


def test_an_id_is_taken_by_whoever_came_first_not_only_by_its_author(
    ledger: Ledger, author: Author
) -> None:
    first = author.note("mine")
    appended(ledger.append([first])[0])
    other = register(ledger).note("also mine", record_id=first.signed.record.id)
    assert isinstance(refused(ledger.append([other])[0]), ConflictError)


def test_a_record_twice_in_one_batch_is_one_entry(ledger: Ledger, author: Author) -> None:
    sealed = author.note("twice")
    other = author.note("not the same", record_id=sealed.signed.record.id)
    one, two, conflict, three = ledger.append([sealed, sealed, other, sealed])
    assert appended(one).is_new
    assert isinstance(refused(conflict), ConflictError)
    for again in (appended(two), appended(three)):
        assert not again.is_new
        assert again.receipt == appended(one).receipt
    assert ledger.size() == 3


def test_an_id_that_was_refused_is_still_free(ledger: Ledger, author: Author) -> None:
    stranger = Author(ledger.origin)
    record_id = ids.new_record_id()
    outcomes = ledger.append(
        [stranger.note("no", record_id=record_id), author.note("yes", record_id=record_id)]
    )
    assert isinstance(refused(outcomes[0]), StandingError)
    assert appended(outcomes[1]).is_new


# --- refusals ----------------------------------------------------------------------


def test_one_refused_record_does_not_sink_its_batch(ledger: Ledger, author: Author) -> None:
    forged = author.note("forged")
    forged = Submission(
        SignedRecord(forged.signed.record, forged.signed.raw, bytes(64)), forged.parts
    )
    elsewhere = Author("ledgergrid.example/elsewhere", author.key).note("for another ledger")
    outcomes = ledger.append(
        [
            author.note(1),
            forged,
            author.note(2),
            elsewhere,
            Author(ledger.origin).note(),
            author.note(3),
        ]
    )
    assert [appended(outcomes[i]).index for i in (0, 2, 5)] == [2, 3, 4]
    assert isinstance(refused(outcomes[1]), SignatureError)
    assert isinstance(refused(outcomes[3]), ForeignLedgerError)
    assert isinstance(refused(outcomes[4]), StandingError)
    assert ledger.size() == 5


def test_a_batch_of_refusals_stores_nothing(ledger: Ledger) -> None:
    before = ledger.checkpoint()
    stranger = Author(ledger.origin)
    assert all(
        isinstance(refused(each), StandingError)
        for each in ledger.append([stranger.note(), stranger.note()])
    )
    assert ledger.checkpoint() == before


def test_an_unknown_type_is_refused(ledger: Ledger, author: Author) -> None:
    for name in ("note/2", "rumour/1"):
        outcome = ledger.append([author.seal(name, {"body": b"1"})])[0]
        assert isinstance(refused(outcome), UnknownTypeError)


def test_a_record_can_refer_to_any_earlier_entry(ledger: Ledger, author: Author) -> None:
    middle, last = append_notes(ledger, author, 2)
    refers = author.note("see", refs=[("causes", middle.leaf_hash), ("answers", last.leaf_hash)])
    assert appended(ledger.append([refers])[0]).is_new
    charter = author.note("see", refs=[("causes", ledger.charter)])
    assert appended(ledger.append([charter])[0]).is_new


def test_a_reference_to_what_is_not_there_is_refused(ledger: Ledger, author: Author) -> None:
    append_notes(ledger, author, 2)
    for absent in (ABSENT, NO_PREVIOUS):
        error = refused(ledger.append([author.note(refs=[("causes", absent)])])[0])
        assert isinstance(error, DanglingReferenceError)


def test_a_record_can_refer_to_one_earlier_in_its_batch_but_not_to_itself_or_later_ones(
    service: Service,
) -> None:
    """Leaf hashes hold index and time, so the test foresees them in a twin of the ledger."""
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    first, second = author.note("first"), author.note("second")
    foreseen = foresee(ledger, first)
    refers = author.note("refers", refs=[("causes", foreseen)])
    assert isinstance(refused(ledger.append([refers])[0]), DanglingReferenceError)
    outcomes = ledger.append(
        [refers, first, author.note("ok", refs=[("causes", foreseen)]), second]
    )
    assert isinstance(refused(outcomes[0]), DanglingReferenceError)
    assert appended(outcomes[1]).leaf_hash == foreseen
    assert appended(outcomes[2]).is_new


def foresee(ledger: Ledger, submission: Submission) -> bytes:
    """Compute the leaf hash that a submission would get if it were next, now."""
    last = ledger.entry(ledger.size() - 1)
    lines = last.leaf.partition(b"\n\n")[0].split(b"\n")
    lines[2] = b"%d" % ledger.size()
    lines[3] = ids.encode_base64(last.leaf_hash).encode()
    lines[5] = ids.encode_base64(submission.signed.signature).encode()
    return tree.leaf_hash(b"\n".join(lines) + b"\n\n" + submission.signed.raw)


# --- standing ----------------------------------------------------------------------


def test_an_unregistered_key_may_not_write(ledger: Ledger) -> None:
    assert isinstance(refused(ledger.append([Author(ledger.origin).note()])[0]), StandingError)


def test_a_revoked_key_may_not_write_and_what_it_wrote_stays(
    ledger: Ledger, author: Author
) -> None:
    before = append_notes(ledger, author, 1)[0]
    ledger.append_as_operator("key/1", author.revocation())
    assert isinstance(refused(ledger.append([author.note()])[0]), StandingError)
    checked_receipt(ledger, before.index, ledger.receipt(before.index))
    with pytest.raises(StandingError):
        ledger.append_as_operator("key/1", author.registration())
    with pytest.raises(StandingError):
        ledger.append_as_operator("key/1", author.revocation())


def test_an_agent_may_not_write_what_only_operators_write(ledger: Ledger, author: Author) -> None:
    body = Author(ledger.origin).registration()
    assert isinstance(
        refused(ledger.append([author.seal("key/1", {"body": body})])[0]), StandingError
    )


def test_a_key_stands_right_after_its_registration_in_the_same_batch(ledger: Ledger) -> None:
    operator = register(ledger, "operator")
    newcomer = Author(ledger.origin)
    early, registration, late, again, revocation, too_late = ledger.append(
        [
            newcomer.note("early"),
            operator.seal("key/1", {"body": newcomer.registration()}),
            newcomer.note("late"),
            operator.seal("key/1", {"body": newcomer.registration()}),
            operator.seal("key/1", {"body": newcomer.revocation()}),
            newcomer.note("too late"),
        ]
    )
    assert isinstance(refused(early), StandingError)
    assert [appended(x).index for x in (registration, late, revocation)] == [2, 3, 4]
    assert isinstance(refused(again), StandingError)
    assert isinstance(refused(too_late), StandingError)


def test_standing_survives_a_restart(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    stands, revoked = register(ledger), register(ledger)
    ledger.append_as_operator("key/1", revoked.revocation())
    ledger = service.reopen().ledgers.get("main")
    yes, no = ledger.append([stands.note(), revoked.note()])
    assert appended(yes).is_new
    assert isinstance(refused(no), StandingError)


def test_there_is_no_second_charter(ledger: Ledger) -> None:
    body = ledger.entry(0).parts["body"].data
    with pytest.raises(StandingError):
        ledger.append_as_operator("charter/1", body)


# --- time --------------------------------------------------------------------------


def test_time_received_never_decreases_when_the_clock_goes_back(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    times: list[int] = []
    for turn_ms in (0, 5_000, -3_600_000, 1_000, -86_400_000, 7_200_000_000):
        service.clock.now_ms += turn_ms
        times.append(append_notes(ledger, author, 1)[0].received_at)
        ledger = service.reopen().ledgers.get("main")
    assert times == sorted(times)
    assert times[1] == times[2] == times[3] == times[4] < times[5]


# --- many ledgers ------------------------------------------------------------------


def test_ledgers_of_one_service_do_not_touch_each_other(service: Service) -> None:
    ledgers = service.open().ledgers
    one, two = ledgers.create("one"), ledgers.create("two")
    author_of_one, author_of_two = register(one), register(two)
    append_notes(one, author_of_one, 5)
    append_notes(two, author_of_two, 3)
    assert (one.size(), two.size()) == (7, 5)
    assert one.log_key != two.log_key
    assert one.origin != two.origin
    stranger = Author(two.origin, author_of_one.key)
    assert isinstance(refused(two.append([stranger.note()])[0]), StandingError)
    shared_id = ids.new_record_id()
    here = appended(one.append([author_of_one.note(record_id=shared_id)])[0])
    there = appended(two.append([author_of_two.note(record_id=shared_id)])[0])
    assert (here.index, there.index) == (7, 5)


def test_a_record_replayed_into_another_ledger_is_refused(service: Service) -> None:
    ledgers = service.open().ledgers
    one, two = ledgers.create("one"), ledgers.create("two")
    sealed = register(one).note("for one")
    appended(one.append([sealed])[0])
    assert isinstance(refused(two.append([sealed])[0]), ForeignLedgerError)


# --- proofs, tiles, bundles --------------------------------------------------------


def test_proofs_hold_for_all_sizes_of_a_log_of_600_entries(
    sqlite_url: str, service: Service
) -> None:
    """Crossing 256 twice; what is checked is recomputed here from leaf hashes alone."""
    ledger = service.open().ledgers.create("main")
    append_notes(ledger, register(ledger), 598, batch=100)
    hashes = [entry.leaf_hash for entry in ledger.entries(range(600))]
    roots = [tree.root(hashes[:size]) for size in range(601)]
    for size in range(1, 601):
        for index in {0, size // 3, size // 2, size - 1}:
            made = ledger.prove_inclusion(index, size)
            assert (made.leaf_hash, made.root) == (hashes[index], roots[size])
            tree.check_inclusion(index, size, hashes[index], made.hashes, roots[size])
    step = 1 if service.database_url == sqlite_url else 13
    for to_size in [*range(1, 601, 7 * step), 255, 256, 257, 511, 512, 513, 600]:
        for from_size in range(1, to_size + 1, 11):
            proof = ledger.prove_consistency(from_size, to_size)
            assert (proof.from_root, proof.to_root) == (roots[from_size], roots[to_size])
            tree.check_consistency(
                from_size, to_size, roots[from_size], roots[to_size], proof.hashes
            )


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (9, 3), (0, 0)])
def test_there_is_no_proof_of_an_entry_beyond_its_tree(
    ledger: Ledger, author: Author, index: int, size: int
) -> None:
    append_notes(ledger, author, 1)
    with pytest.raises(ProofError):
        ledger.prove_inclusion(index, size)


def test_there_is_no_proof_beyond_the_log(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError):
        ledger.prove_inclusion(0, 2)
    with pytest.raises(NotFoundError):
        ledger.prove_consistency(1, 2)
    for from_size, to_size in ((0, 1), (-1, 1), (1, 0)):
        with pytest.raises(ProofError):
            ledger.prove_consistency(from_size, to_size)


def test_tiles_and_bundles_of_every_width_are_what_the_entries_say(
    ledger: Ledger, author: Author
) -> None:
    append_notes(ledger, author, 530)
    size = ledger.size()
    entries = ledger.entries(range(size))
    for position in range(3):
        mine = entries[256 * position : 256 * (position + 1)]
        for width in {1, 2, 3, 128, 255, 256} & set(range(len(mine) + 1)) | {len(mine)}:
            assert ledger.tile(0, position, width) == b"".join(
                entry.leaf_hash for entry in mine[:width]
            )
            assert tiles.parse_bundle(ledger.bundle(position, width)) == [
                entry.leaf for entry in mine[:width]
            ]
    roots = [tree.root([e.leaf_hash for e in entries[256 * i : 256 * (i + 1)]]) for i in range(2)]
    assert ledger.tile(1, 0, 1) == roots[0]
    assert ledger.tile(1, 0, 2) == b"".join(roots)


@pytest.mark.parametrize(
    "tile", [TileId(0, 0, 3), TileId(0, 1, 1), TileId(1, 0, 1), TileId(9, 0, 1)]
)
def test_a_tile_that_the_log_has_not_reached_is_not_there(ledger: Ledger, tile: TileId) -> None:
    append_notes(ledger, register(ledger), 0)
    assert ledger.size() == 2
    with pytest.raises(NotFoundError):
        ledger.tile(*tile)
    if tile.level == 0:
        with pytest.raises(NotFoundError):
            ledger.bundle(tile.position, tile.width)


# --- reads -------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(ledger: Ledger) -> None:
    for index in (1, -1, 2**62):
        with pytest.raises(NotFoundError):
            ledger.entry(index)
    with pytest.raises(NotFoundError):
        ledger.index_of(ids.new_record_id())
    assert ledger.entries([5, 0, 9]) == [ledger.entry(0)]
    assert ledger.entries([]) == ledger.entries(range(3, 3)) == []


def test_the_newest_checkpoint_is_of_the_log_as_it_stands(ledger: Ledger, author: Author) -> None:
    last = append_notes(ledger, author, 9, batch=2)[-1]
    checkpoint = verify_checkpoint(ledger.checkpoint(), ledger.log_key)
    assert checkpoint == checked_receipt(ledger, last.index, last.receipt)
    assert checkpoint.size == ledger.size()


def test_waiting_ends_when_the_log_grows(ledger: Ledger, author: Author) -> None:
    size = ledger.size()
    assert ledger.wait_for(size, 0.01) <= size
    append_notes(ledger, author, 1)
    assert ledger.wait_for(size, 10) == size + 1


def test_only_a_ledger_that_this_service_operates_can_be_exported(ledger: Ledger) -> None:
    founder = parse_entry(ledger.entry(0).leaf).signed_record().record.author
    successor = register(ledger, "operator")
    assert ledger.is_operated_here()
    revoke = msgspec.json.encode(Revoke(founder, "retired"))
    appended(ledger.append([successor.seal("key/1", {"body": revoke})])[0])
    assert not ledger.is_operated_here()
    with pytest.raises(ForbiddenError):
        ledger.export(0, None, "auditor")
