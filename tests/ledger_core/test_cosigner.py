"""This service as a witness: what it cosigns only grows, whoever asks, and whatever crashes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from ledger_core.cosigner import Cosigner
from ledger_core.errors import (
    InconsistentError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
    StaleError,
    StorageError,
    UnsignedError,
)
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger_core.formats.note import Note, format_note, parse_note, verify_note
from ledger_core.formats.vkey import cosigned_at, parse_vkey
from ledger_core.formats.witness import (
    AddCheckpoint,
    format_add_checkpoint,
    origin_digest,
    parse_cosignatures,
)
from ledger_core.keyring import Keyring
from ledger_core.storage.database import Database, open_database
from tests.support.ledgers import SECRET, TurnedClock
from tests.support.logs import OtherLog
from tests.vectors.build import WITNESS

NAME = "witness.example/us"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(open_database(database_url)) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def log() -> OtherLog:
    return OtherLog()


def witness_of(database: Database, *logs: OtherLog, clock: TurnedClock | None = None) -> Cosigner:
    signers = Keyring(SECRET).witness_signers(NAME)
    known = {each.origin: [each.key] for each in logs}
    return Cosigner(database, signers, known, clock or TurnedClock())


@pytest.fixture
def witness(database: Database, log: OtherLog) -> Cosigner:
    return witness_of(database, log)


def check_cosigned(witness: Cosigner, note: bytes, answer: bytes) -> list[int]:
    """Check both of the witness's lines over a note; return their times."""
    keys = [parse_vkey(text) for text in witness.vkeys]
    lines = parse_cosignatures(answer)
    assert len(lines) == len(keys) == 2
    assert verify_note(Note(parse_note(note).text, lines), keys) == keys
    return [cosigned_at(line.blob) for line in lines]


def refusal(witness: Cosigner, request: bytes) -> LedgerGridError:
    with pytest.raises(LedgerGridError) as caught:
        witness.add_checkpoint(request)
    return caught.value


def test_a_log_that_grows_is_cosigned_with_both_keys(witness: Cosigner, log: OtherLog) -> None:
    for old, size in [(0, 1), (1, 2), (2, 7), (7, 64), (64, 1000)]:
        answer = witness.add_checkpoint(log.request(old, size))
        assert set(check_cosigned(witness, log.note(size), answer)) == {1_785_579_072}


def test_asking_again_for_the_same_size_refreshes_the_time(
    database: Database, log: OtherLog
) -> None:
    clock = TurnedClock()
    witness = witness_of(database, log, clock=clock)
    first = check_cosigned(witness, log.note(5), witness.add_checkpoint(log.request(0, 5)))
    clock.now_ms += 60_000
    again = check_cosigned(witness, log.note(5), witness.add_checkpoint(log.request(5, 5)))
    assert again == [time_s + 60 for time_s in first]


def test_a_stale_checkpoint_is_refused_with_the_known_size(
    witness: Cosigner, log: OtherLog
) -> None:
    found = refusal(witness, log.request(3, 5))
    assert isinstance(found, StaleError) and found.size == 0
    witness.add_checkpoint(log.request(0, 5))
    for old, size in [(0, 5), (0, 9), (4, 9), (6, 9), (0, 3), (3, 3), (9, 9)]:
        found = refusal(witness, log.request(old, size))
        assert isinstance(found, StaleError) and found.size == 5


def test_an_old_size_beyond_the_checkpoint_is_malformed(witness: Cosigner, log: OtherLog) -> None:
    witness.add_checkpoint(log.request(0, 5))
    request = format_add_checkpoint(AddCheckpoint(5, (), log.note(3)))
    assert isinstance(refusal(witness, request), MalformedError)


def test_a_log_that_nobody_listed_is_not_there(witness: Cosigner) -> None:
    stranger = OtherLog("stranger.example/log")
    assert isinstance(refusal(witness, stranger.request(0, 1)), NotFoundError)


def test_only_a_key_listed_for_the_origin_counts(witness: Cosigner, log: OtherLog) -> None:
    impostor = OtherLog(log.origin, seed=10)
    assert isinstance(refusal(witness, impostor.request(0, 1)), UnsignedError)
    # A line in the name and with the id of a known key that does not verify sinks the rest.
    note = parse_note(log.note(1))
    broken = note.signatures[0].__class__(log.origin, log.key.key_id, bytes(64))
    both = format_note(Note(note.text, (*note.signatures, broken)))
    request = format_add_checkpoint(AddCheckpoint(0, (), both))
    assert isinstance(refusal(witness, request), UnsignedError)


def test_lines_by_strangers_are_ignored_and_not_kept(witness: Cosigner, log: OtherLog) -> None:
    note = log.note(4)
    text = parse_note(note).text
    forged = WITNESS.cosign(text, 1).__class__(NAME, parse_vkey(witness.vkeys[0]).key_id, b"x" * 72)
    greased = format_note(Note(text, (forged, *parse_note(note).signatures)))
    witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(0, (), greased)))
    shown = witness.checkpoint(origin_digest(log.origin))
    assert shown.startswith(note)
    check_cosigned(witness, note, shown[len(note) :])


@pytest.mark.parametrize("spoil", ["cut", "longer", "swapped", "none"])
def test_a_proof_that_does_not_hold_is_refused(
    witness: Cosigner, log: OtherLog, spoil: str
) -> None:
    witness.add_checkpoint(log.request(0, 5))
    proof = log.proof(5, 11)
    spoilt = {"cut": proof[:-1], "longer": (*proof, bytes(32)), "swapped": proof[::-1], "none": ()}
    request = format_add_checkpoint(AddCheckpoint(5, spoilt[spoil], log.note(11)))
    assert isinstance(refusal(witness, request), InconsistentError)
    witness.add_checkpoint(log.request(5, 11))


def test_first_contact_has_no_proof(witness: Cosigner, log: OtherLog) -> None:
    request = format_add_checkpoint(AddCheckpoint(0, (bytes(32),), log.note(5)))
    assert isinstance(refusal(witness, request), InconsistentError)


def test_an_empty_log_has_one_root(witness: Cosigner, log: OtherLog) -> None:
    wrong = sign_checkpoint(Checkpoint(log.origin, 0, bytes(32)), log.signer)
    request = format_add_checkpoint(AddCheckpoint(0, (), wrong))
    assert isinstance(refusal(witness, request), InconsistentError)
    witness.add_checkpoint(log.request(0, 0))
    witness.add_checkpoint(log.request(0, 0))
    assert witness.checkpoint(origin_digest(log.origin)).startswith(log.note(0))
    witness.add_checkpoint(log.request(0, 3))


def test_two_roots_for_one_size_are_refused_and_both_are_kept(
    witness: Cosigner, log: OtherLog
) -> None:
    fork = OtherLog(fork_at=3)
    witness.add_checkpoint(log.request(0, 5))
    for request in (fork.request(5, 5), fork.request(0, 5)):
        assert isinstance(refusal(witness, request), InconsistentError | StaleError)
    (found,) = witness.equivocations()
    assert (found.origin, found.size) == (log.origin, 5)
    assert (found.first, found.second) == (log.note(5), fork.note(5))
    for note in (found.first, found.second):
        assert verify_note(parse_note(note), [log.key]) == [log.key]
    assert witness.checkpoint(origin_digest(log.origin)).startswith(log.note(5))


def test_a_fork_is_never_cosigned_later_either(witness: Cosigner, log: OtherLog) -> None:
    fork = OtherLog(fork_at=3)
    witness.add_checkpoint(log.request(0, 5))
    assert isinstance(refusal(witness, fork.request(5, 9)), InconsistentError)
    witness.add_checkpoint(log.request(5, 9))


def test_nothing_is_shown_of_what_was_never_cosigned(witness: Cosigner, log: OtherLog) -> None:
    refusal(witness, log.request(1, 2))
    for digest in (origin_digest(log.origin), origin_digest("stranger.example/log"), "nothing"):
        with pytest.raises(NotFoundError):
            witness.checkpoint(digest)


def test_what_was_cosigned_outlives_the_process(database: Database, log: OtherLog) -> None:
    witness_of(database, log).add_checkpoint(log.request(0, 5))
    found = refusal(witness_of(database, log), log.request(0, 9))
    assert isinstance(found, StaleError) and found.size == 5


def test_the_database_itself_refuses_to_forget(database: Database, log: OtherLog) -> None:
    witness_of(database, log).add_checkpoint(log.request(0, 5))
    for statement in (
        "UPDATE cosigned SET size = 4",
        "UPDATE cosigned SET root = note",
        "DELETE FROM cosigned",
    ):
        with pytest.raises(StorageError, match=r"append-only|only grows"), database.write() as tx:
            tx.execute(text(statement))


def test_of_many_at_once_nobody_is_cosigned_backwards(database_url: str, log: OtherLog) -> None:
    """As the specification's race: several processes, each asked for another size at once."""
    opened = [open_database(database_url) for _ in range(3)]
    opened[0].migrate()
    log.grow(40)
    witnesses = [witness_of(each, log) for each in opened]
    cosigned: list[tuple[int, int]] = []

    def ask(number: int) -> None:
        old = 0
        for _ in range(100):
            try:
                witnesses[number % 3].add_checkpoint(log.request(old, number))
            except StaleError as error:
                if error.size >= number:
                    return
                old = error.size
            else:
                cosigned.append((old, number))
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(1, 40)))
    for each in opened:
        each.close()
    chain = sorted(cosigned)
    assert [old for old, _ in chain[1:]] == [new for _, new in chain[:-1]]
    assert chain[0][0] == 0 and chain[-1][1] == 39


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=12))
def test_whatever_is_asked_all_that_was_cosigned_is_one_history(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("witness")
    honest, fork = OtherLog(), OtherLog(fork_at=4)
    with closing(open_database(f"sqlite:///{folder / 'w.db'}")) as database:
        database.migrate()
        witness = witness_of(database, honest)
        seen: list[Checkpoint] = []
        for old, size, is_forked in asked:
            log = fork if is_forked else honest
            try:
                witness.add_checkpoint(log.request(min(old, size), size))
            except LedgerGridError:
                continue
            seen.append(parse_checkpoint(parse_note(log.note(size)).text))
    assert [each.size for each in seen] == sorted(each.size for each in seen)
    # A history is honest's or fork's: below the fork they are the same.
    for history in (honest, fork):
        if all(each.root == history.root(each.size) for each in seen):
            return
    raise AssertionError([each.size for each in seen])
