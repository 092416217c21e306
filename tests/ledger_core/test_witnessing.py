"""Asking witnesses: what they cosigned is verified and stored, and nothing else they say is."""

from __future__ import annotations

import gzip
import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from ledger_core.asking import Pace
from ledger_core.clock import now_ms
from ledger_core.errors import NotFoundError
from ledger_core.formats.checkpoint import Checkpoint, format_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.mldsa44 import PrivateKey as MldsaPrivateKey
from ledger_core.formats.note import Note, NoteSignature, parse_note, verify_note
from ledger_core.formats.receipt import parse_receipt
from ledger_core.formats.trust_policy import TrustPolicy, parse_witness_policy, verify_trusted
from ledger_core.formats.vkey import MldsaWitnessSigner, WitnessSigner, format_vkey, key_digest
from ledger_core.formats.witness import AddCheckpoint, format_cosignatures, parse_cosignatures
from ledger_core.ledger import Ledger
from ledger_core.storage import cosignatures
from ledger_core.witnessed import Status
from ledger_core.witnessing import Witnessing
from tests.support.backups import Backups, begin_epoch
from tests.support.ledgers import (
    Author,
    Replica,
    Service,
    a_service,
    append_notes,
    checked_receipt,
    register,
)
from tests.support.witnesses import FakeWitness, Said, keep_the_rules, policy_of, serving

FAST = Pace(
    interval_s=0.05,
    timeout_s=1,
    retry_s=0.05,
    longest_retry_s=0.2,
    refused_s=0.05,
    longest_refused_s=0.1,
)
PATIENCE_S = 20


@pytest.fixture
def pair() -> Iterator[tuple[FakeWitness, FakeWitness]]:
    with (
        serving(FakeWitness("witness.example/one", 21)) as one,
        serving(FakeWitness("witness.example/two", 22)) as two,
    ):
        yield one, two


@contextmanager
def witnessing(
    service: Service, policy: TrustPolicy, pace: Pace = FAST, replicas: int = 1
) -> Iterator[Replica]:
    """Run a service that asks the policy's witnesses, in so many processes' worth of replicas."""
    service.clock.now_ms = now_ms()
    with ExitStack() as stack:
        opened = [service.open(witness_policy=policy) for _ in range(replicas)]
        for each in opened:
            asking = Witnessing(each.ledgers, each.database, policy, pace, service.clock)
            asking.start()
            stack.enter_context(closing(asking))
        yield opened[0]


def wait_until(ledger: Ledger, holds: Callable[[Status], bool]) -> Status:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status = ledger.witness_status()
        if holds(status):
            return status
        time.sleep(0.02)
    raise AssertionError(ledger.witness_status())


def wait_until_witnessed(ledger: Ledger) -> Status:
    return wait_until(ledger, lambda status: status.witnessed == status.size)


def test_cosignatures_appear_on_the_checkpoint_and_in_receipts(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    policy = policy_of(*pair)
    with witnessing(service, policy) as replica:
        ledger = replica.ledgers.create("main")
        (first,) = append_notes(ledger, register(ledger), 1)
        status = wait_until_witnessed(ledger)
        assert [each.error for each in status.witnesses] == [None, None]
        trust = TrustPolicy([ledger.log_key], policy.witnesses, {}, policy.groups, policy.quorum)
        assert verify_trusted(ledger.checkpoint(), trust).quorum_met
        assert verify_trusted(ledger.checkpoint(witnessed=True), trust).quorum_met
        fetched = ledger.receipt(first.index)
        checked_receipt(ledger, first.index, fetched)
        assert verify_trusted(parse_receipt(fetched).checkpoint, trust).quorum_met
        # What its author got stays what it was, also when asked for again.
        assert not verify_trusted(parse_receipt(first.receipt).checkpoint, trust).quorum_met
        for witness in pair:
            assert {len(parse_note(x.checkpoint).signatures) for x in witness.asked} == {1}


def test_the_same_record_again_gets_the_very_receipt_of_the_first_time(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    with witnessing(service, policy_of(*pair)) as replica:
        ledger = replica.ledgers.create("main")
        note = register(ledger).note("once")
        (first,) = ledger.append([note])
        wait_until_witnessed(ledger)
        (again,) = ledger.append([note])
    assert not isinstance(first, Exception) and not isinstance(again, Exception)
    assert again.receipt == first.receipt


def test_a_receipt_waits_for_the_quorum_and_not_for_some(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    two = pair[1]
    two.answer = lambda *asked: Said(503)
    with witnessing(service, policy_of(*pair)) as replica:
        ledger = replica.ledgers.create("main")
        (first,) = append_notes(ledger, register(ledger), 1)
        status = wait_until(ledger, lambda s: s.witnesses[0].size == s.size)
        assert (status.witnessed, status.witnesses[1].size) == (0, 0)
        assert parse_receipt(ledger.receipt(first.index)).checkpoint.startswith(
            parse_receipt(first.receipt).checkpoint
        )
        with pytest.raises(NotFoundError):
            ledger.checkpoint(witnessed=True)
        two.answer = keep_the_rules
        wait_until_witnessed(ledger)


def test_a_witness_that_was_away_catches_up_by_itself(service: Service, tmp_path: Path) -> None:
    one = FakeWitness("witness.example/one", 21)
    with serving(one):
        port = int(one.url.rpartition(":")[2])
    policy = policy_of(one)
    with witnessing(service, policy) as replica:
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        append_notes(ledger, author, 5)
        service.clock.now_ms += 120_000
        status = wait_until(ledger, lambda s: s.witnesses[0].error is not None)
        assert "ConnectError" in str(status.witnesses[0].error)
        assert status.witnesses[0].error_since is not None
        assert status.not_witnessed_since is not None
        # Appends go on as if nothing were amiss.
        append_notes(ledger, author, 5)
        with serving(one, port):
            status = wait_until_witnessed(ledger)
        assert (status.not_witnessed_since, status.witnesses[0].error) == (None, None)
        assert len(one.asked) < 10


def test_the_size_a_witness_has_is_learnt_from_its_409(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    policy = policy_of(*pair)
    with witnessing(service, policy) as replica:
        ledger = replica.ledgers.create("main")
        append_notes(ledger, register(ledger), 5)
        wait_until_witnessed(ledger)
    # It forgot all; another one cosigned a size that this service never stored.
    pair[0].known.clear()
    before = len(pair[0].asked)
    with witnessing(service, policy) as replica:
        ledger = replica.ledgers.get("main")
        append_notes(ledger, register(ledger), 5)
        wait_until_witnessed(ledger)
    assert 0 in [each.old_size for each in pair[0].asked[before:]]


def test_proofs_begin_where_the_witness_stopped(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    with witnessing(service, policy_of(*pair)) as replica:
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        for _ in range(5):
            append_notes(ledger, author, 7)
            wait_until_witnessed(ledger)
    assert pair[0].known[ledger.origin].size == 37
    # First contact asks from 0 and is answered at once: there is never a second question.
    assert len(pair[0].asked) == len({request.checkpoint for request in pair[0].asked})


def _forged(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    key = witness.signers[0].public
    return Said(200, format_cosignatures((NoteSignature(key.name, key.key_id, bytes(72)),)))


def _of_another_checkpoint(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    text = (
        f"{new.origin}\n{new.size + 1}\n".encode()
        + parse_note(request.checkpoint).text.split(b"\n", 2)[2]
    )
    line = witness.signers[0].cosign(text, now_ms() // 1000)
    return Said(200, format_cosignatures((line,)))


def _by_a_stranger(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    stranger = WitnessSigner(witness.signers[0].name, PrivateKey(b"\x63" * 32))
    text = parse_note(request.checkpoint).text
    return Said(200, format_cosignatures((stranger.cosign(text, now_ms() // 1000),)))


def _endless(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    return Said(200, b"x" * 200_000)


def _slowly(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    return keep_the_rules(witness, request, new)._replace(drip_s=0.1)


def _bomb(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    return Said(200, gzip.compress(bytes(20_000_000)), encoding="gzip")


LIES: dict[str, tuple[Callable[[FakeWitness, AddCheckpoint, Checkpoint], Said], str]] = {
    "a forged line": (_forged, "does not verify"),
    "a cosignature of another checkpoint": (_of_another_checkpoint, "does not verify"),
    "a stranger's cosignature": (_by_a_stranger, "no line by a key"),
    "an hour ago tomorrow": (lambda w, r, n: w.cosign(r, now_ms() // 1000 + 90_000), "clock"),
    "last week": (lambda w, r, n: w.cosign(r, now_ms() // 1000 - 700_000), "clock"),
    "nothing": (lambda w, r, n: Said(200), "does not verify"),
    "not a line": (lambda w, r, n: Said(200, b"yes\n"), "does not verify"),
    "too much": (_endless, "too many bytes"),
    "byte by byte": (_slowly, "took longer than 1 s"),
    "twenty megabytes, compressed": (_bomb, "does not verify"),
    "409 without a size": (lambda w, r, n: Said(409), "without the size"),
    "409 and words": (lambda w, r, n: Said(409, b"conflict"), "without the size"),
    "409 and the size it was asked from": (lambda w, r, n: Said(409, b"0\n"), "answered 409 to"),
    "409 and a size beyond ours": (lambda w, r, n: Said(409, b"999\n"), "lost its newest entries"),
    "409 again and again": (
        lambda w, r, n: Said(409, b"%d\n" % ((r.old_size + 1) % n.size)),
        "409 3 times",
    ),
    "403": (lambda w, r, n: Said(403, b"not yours\x1b[2J"), "answered 403: not yours"),
    "404": (lambda w, r, n: Said(404, b"unknown log"), "answered 404: unknown log"),
    "422": (lambda w, r, n: Said(422), "answered 422"),
    "500": (lambda w, r, n: Said(500, b"oops"), "answered 500: oops"),
    "redirect": (lambda w, r, n: Said(302), "answered 302"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_worth_nothing_is_an_error_that_is_shown(
    lie: str, sqlite_url: str, tmp_path: Path
) -> None:
    answer, said = LIES[lie]
    witness = FakeWitness("witness.example/one", 21)
    witness.answer = answer
    with (
        a_service(sqlite_url, tmp_path) as service,
        serving(witness),
        witnessing(service, policy_of(witness)) as replica,
    ):
        ledger = replica.ledgers.create("main")
        append_notes(ledger, register(ledger), 3)
        status = wait_until(
            ledger, lambda s: s.witnesses[0].error is not None and said in s.witnesses[0].error
        )
        assert (status.witnessed, status.witnesses[0].size) == (0, 0)
        assert "\x1b" not in str(status.witnesses[0].error)
        # Nothing of it was stored, and what is served is what the log signed.
        assert len(parse_note(ledger.checkpoint()).signatures) == 1
        # As soon as it keeps the rules all is well, and the error is gone.
        witness.answer = keep_the_rules
        status = wait_until_witnessed(ledger)
        assert status.witnesses[0].error is None


def test_a_409_without_a_size_is_not_retried_in_a_loop(sqlite_url: str, tmp_path: Path) -> None:
    witness = FakeWitness("witness.example/one", 21)
    witness.answer = LIES["409 without a size"][0]
    slow = Pace(interval_s=0.05, refused_s=60)
    with (
        a_service(sqlite_url, tmp_path) as service,
        serving(witness),
        witnessing(service, policy_of(witness), slow) as replica,
    ):
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        wait_until(ledger, lambda s: s.witnesses[0].error is not None)
        for _ in range(5):
            append_notes(ledger, author, 1)
            time.sleep(0.1)
    assert len(witness.asked) <= 2


def test_a_checkpoint_is_sent_at_most_once_an_interval(sqlite_url: str, tmp_path: Path) -> None:
    witness = FakeWitness("witness.example/one", 21)
    with (
        a_service(sqlite_url, tmp_path) as service,
        serving(witness),
        witnessing(service, policy_of(witness), Pace(interval_s=0.5)) as replica,
    ):
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        began_s = time.monotonic()
        for _ in range(40):
            append_notes(ledger, author, 1)
            time.sleep(0.03)
        took_s = time.monotonic() - began_s
        asked = len(witness.asked)
        wait_until_witnessed(ledger)
    assert asked <= took_s / 0.5 + 2


def test_of_several_processes_one_asks_at_a_time(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    with witnessing(service, policy_of(*pair), replicas=3) as replica:
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        for _ in range(5):
            append_notes(ledger, author, 3)
            wait_until_witnessed(ledger)
    for witness in pair:
        assert len(witness.asked) == len({request.checkpoint for request in witness.asked})


def test_one_witness_with_two_keys_is_asked_once_and_gives_both_lines(
    sqlite_url: str, tmp_path: Path
) -> None:
    witness = FakeWitness("witness.example/one", 21)
    witness.signers.append(MldsaWitnessSigner("witness.example/one", MldsaPrivateKey(b"\x15" * 32)))
    with a_service(sqlite_url, tmp_path) as service, serving(witness):
        lines = [
            f"witness k{n} {format_vkey(signer.public)} {witness.url}/"
            for n, signer in enumerate(witness.signers)
        ]
        policy = parse_witness_policy("\n".join([*lines, "group g all k0 k1", "quorum g"]).encode())
        with witnessing(service, policy) as replica:
            ledger = replica.ledgers.create("main")
            wait_until_witnessed(ledger)
            keys = list(policy.witnesses.values())
            assert verify_note(parse_note(ledger.checkpoint()), keys) == keys
            asked = len(witness.asked)
            # One of the keys stops signing: its line is missing, and missed.
            del witness.signers[1]
            append_notes(ledger, register(ledger), 1)
            status = wait_until(ledger, lambda s: s.witnesses[1].error is not None)
            assert "no line by this key" in str(status.witnesses[1].error)
            assert status.witnesses[0].error is None
    assert asked == 1


def test_many_ledgers_are_witnessed_together(sqlite_url: str, tmp_path: Path) -> None:
    witness = FakeWitness("witness.example/one", 21)
    with (
        a_service(sqlite_url, tmp_path) as service,
        serving(witness),
        witnessing(service, policy_of(witness)) as replica,
    ):
        ledgers = [replica.ledgers.create(f"l{n}") for n in range(60)]
        for ledger in ledgers:
            wait_until_witnessed(ledger)
    assert len(witness.known) == 60


def test_another_policy_counts_what_was_cosigned_under_the_one_before(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    with witnessing(service, policy_of(*pair)) as replica:
        ledger = replica.ledgers.create("main")
        (first,) = append_notes(ledger, register(ledger), 1)
        status = wait_until_witnessed(ledger)
    for witness in pair:
        witness.answer = lambda *asked: Said(503)
    service.close()
    with witnessing(service, policy_of(*pair, quorum="any")) as replica:
        ledger = replica.ledgers.get("main")
        wait_until(ledger, lambda s: s.witnessed == status.witnessed)
        assert len(parse_note(parse_receipt(ledger.receipt(first.index)).checkpoint).signatures) > 1


def test_without_a_policy_nothing_is_shown_and_nothing_is_late(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    append_notes(ledger, register(ledger), 3)
    service.clock.now_ms += 10_000_000
    status = ledger.witness_status()
    assert (status.witnesses, status.witnessed, status.not_witnessed_since) == ((), None, None)


def test_with_no_quorum_lines_are_shown_and_receipts_are_the_first(
    service: Service, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    text = f"witness w {pair[0].vkey} {pair[0].url}\nquorum none\n"
    with witnessing(service, parse_witness_policy(text.encode())) as replica:
        ledger = replica.ledgers.create("main")
        (first,) = append_notes(ledger, register(ledger), 1)
        wait_until(ledger, lambda s: s.witnesses[0].size == s.size)
        assert len(parse_note(ledger.checkpoint()).signatures) == 2
        assert ledger.witness_status().witnessed is None
        assert ledger.receipt(first.index).startswith(first.receipt)


def test_an_archive_carries_the_cosignatures_of_its_checkpoint(
    service: Service, pair: tuple[FakeWitness, FakeWitness], tmp_path: Path
) -> None:
    policy = policy_of(*pair)
    with witnessing(service, policy) as replica:
        ledger = replica.ledgers.create("main")
        author: Author = register(ledger)
        append_notes(ledger, author, 5)
        path = tmp_path / "archive.zip"
        path.write_bytes(b"".join(ledger.export(2, None, "an auditor")))
    trust = TrustPolicy([ledger.log_key], policy.witnesses, {}, policy.groups, policy.quorum)
    with zipfile.ZipFile(path) as archive:
        assert verify_trusted(archive.read("checkpoint"), trust).quorum_met


def test_a_database_and_a_memory_that_both_went_back_are_shown_by_the_witness(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The signer's memory sees nothing of it: it is as old as the database."""
    witness = FakeWitness("witness.example/one", 21)
    backup = tmp_path / "backup"
    with a_service(sqlite_url, tmp_path) as service, serving(witness):
        with witnessing(service, policy_of(witness)) as replica:
            ledger = replica.ledgers.create("main")
            author = register(ledger)
            append_notes(ledger, author, 5)
            wait_until_witnessed(ledger)
        service.close()
        backup.mkdir()
        files = [x for x in tmp_path.iterdir() if x.suffix == ".db" and "views" not in x.name]
        for file in files:
            shutil.copy(file, backup)
        with witnessing(service, policy_of(witness)) as replica:
            append_notes(replica.ledgers.get("main"), author, 5)
            wait_until_witnessed(replica.ledgers.get("main"))
        service.close()
        for file in files:
            shutil.copy(backup / file.name, file)
        with witnessing(service, policy_of(witness)) as replica:
            ledger = replica.ledgers.get("main")
            assert replica.ledgers.check_signed() == []
            before = ledger.witness_status().witnessed
            append_notes(ledger, author, 1)
            status = wait_until(ledger, lambda s: s.witnesses[0].error is not None)
            assert "lost its newest entries" in str(status.witnesses[0].error)
            # Growing past what the witness saw does not help: the history is another one.
            append_notes(ledger, author, 20)
            wait_until(ledger, lambda s: "proof" in str(s.witnesses[0].error))
            assert ledger.witness_status().witnessed == before


def test_after_an_epoch_the_same_witness_begins_anew_with_the_new_log(
    backups: Backups,
) -> None:
    """What it cosigned of the old name stays true, and it would take no other history under it."""
    service, witness = backups.service, FakeWitness("witness.example/one", 23)
    with serving(witness):
        with witnessing(service, policy_of(witness)) as replica:
            ledger = replica.ledgers.create("main")
            author = register(ledger)
            append_notes(ledger, author, 3)
            wait_until_witnessed(ledger)
        copy = backups.take()
        with witnessing(service, policy_of(witness)) as replica:
            append_notes(replica.ledgers.get("main"), author, 4)
            wait_until_witnessed(replica.ledgers.get("main"))
        backups.restore(copy)
        statement, _ = begin_epoch(service)
        service.close()
        with witnessing(service, policy_of(witness)) as replica:
            ledger = replica.ledgers.get("main")
            append_notes(ledger, author, 2)
            status = wait_until_witnessed(ledger)
            assert status.witnessed == 8
            note = ledger.checkpoint(witnessed=True)
            assert note.startswith(statement.new_origin.encode())
            assert verify_note(parse_note(note), [witness.signers[0].public])
            kept = parse_receipt(ledger.receipt(2)).checkpoint
            assert kept.startswith(f"{statement.old_origin}\n5\n".encode())
            assert verify_note(parse_note(kept), [witness.signers[0].public])
    assert {name: each.size for name, each in witness.known.items()} == {
        statement.old_origin: 9,
        statement.new_origin: 8,
    }


def test_whatever_witnesses_say_every_line_that_is_stored_verifies(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Moods change at every question, while the ledger grows; in the end all is witnessed."""
    answers = [answer for answer, _ in LIES.values() if answer is not _slowly]
    moods = random.Random(7)

    def moody(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
        answer = moods.choice(answers) if moods.random() < 0.6 else keep_the_rules
        return answer(witness, request, new)

    with (
        a_service(sqlite_url, tmp_path) as service,
        serving(FakeWitness("witness.example/one", 21)) as one,
        serving(FakeWitness("witness.example/two", 22)) as two,
        witnessing(service, policy_of(one, two)) as replica,
    ):
        ledger = replica.ledgers.create("main")
        author = register(ledger)
        one.answer = two.answer = moody
        for _ in range(60):
            append_notes(ledger, author, 2)
            time.sleep(0.04)
        one.answer = two.answer = keep_the_rules
        wait_until_witnessed(ledger)
        with replica.database.read() as tx:
            sizes = dict(cosignatures.read_sizes(tx, 1, 0))
            lines = {size: cosignatures.read_lines(tx, 1, size) for size in sizes}
        assert len(one.asked) > 10
        for size, line in lines.items():
            root = ledger.prove_inclusion(0, size).root
            text = format_checkpoint(Checkpoint(ledger.origin, size, root))
            keys = [x.signers[0].public for x in (one, two)]
            signed = verify_note(Note(text, parse_cosignatures(line)), keys)
            assert {key_digest(key) for key in signed} == sizes[size]
