"""A restored backup, from the refusal to the auditor's report, before a witness that saw it all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ledger_core.cosigner import Cosigner
from ledger_core.errors import ForkError, InconsistentError, ReadOnlyError, StaleError
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.witness import AddCheckpoint, format_add_checkpoint
from ledger_core.keyring import Keyring
from ledger_core.ledger import Ledger
from ledger_core.storage.database import open_database
from tests.support.backups import REASON, Backups, begin_epoch
from tests.support.consortium import Consortium
from tests.support.ledgers import SECRET, appended, trust_policy
from verifier.audit import Options, verify
from verifier.evidence import parse_kept_receipt
from verifier.report import build


def test_a_restored_backup_goes_on_in_an_epoch_and_nobody_is_deceived(
    backups: Backups, tmp_path: Path
) -> None:
    service = backups.service
    made = Consortium(service.open().ledgers)
    agent = made.agents["acme"]
    notes = [agent.note(number) for number in range(6)]
    policy = trust_policy(made.ledger)
    kept = [appended(each) for each in made.ledger.append(notes[:3])]
    copy = backups.take()
    made.ledger = service.open().ledgers.get("shared")
    lost = [appended(each) for each in made.ledger.append(notes[3:])]
    seen = made.ledger.checkpoint()
    backups.restore(copy)

    # Nothing is signed on the older database; the records' authors are told why.
    made.ledger = service.open().ledgers.get("shared")
    with pytest.raises(ReadOnlyError, match="restored from a backup"):
        made.ledger.append(notes[3:4])
    with pytest.raises(ForkError):
        made.ledger.checkpoint()

    # Two of three members agree; the log goes on, and what was lost is taken again, once.
    signers = [made.stewards["acme"].key, made.stewards["birch"].key]
    statement, ledger = begin_epoch(service, *signers, name="shared")
    again = [appended(each) for each in ledger.append(notes)]
    assert [each.is_new for each in again] == [False] * 3 + [True] * 3
    twice = [appended(each) for each in ledger.append(notes)]
    assert [each.index for each in twice] == [each.index for each in again]
    check_witness(ledger, seen, statement.old_origin, tmp_path)

    # The auditor reads of it on page one; the receipts tell what they are.
    path = tmp_path / "archive.zip"
    path.write_bytes(b"".join(ledger.export(0, None, "auditor")))
    receipts = [parse_kept_receipt(f"r{n}", x.receipt) for n, x in enumerate([*kept, *lost])]
    options = Options(
        archive=path,
        policy=parse_trust_policy(policy.encode()),
        evidence=tuple(receipts),
        accepted=frozenset({statement.new_origin}),
    )
    report = build(verify(options), options, "L1")
    assert (report["verdict"], report["level"]) == ("pass", "L1")
    [epoch] = report["epochs"]
    assert epoch["reason"] == REASON
    assert epoch["lost"] == [{"origin": statement.old_origin, "start": 4, "end": 7}]
    assert {each["member"] for each in epoch["signed_by"]} == {"acme", "birch"}
    said = [each["found"] for each in report["findings"]]
    assert said == ["lost in the epoch of entry 4"] * 3


def check_witness(ledger: Ledger, seen: bytes, old_origin: str, folder: Path) -> None:
    """Have a witness that saw the lost history be asked about the new one, under both names."""
    ring = Keyring(SECRET)
    old, new = ring.log_signer(old_origin), ring.log_signer(ledger.origin)
    logs = {old.name: [old.public], new.name: [new.public]}
    signers = [ring.witness_signers("witness.example/w")[0]]
    with closing(open_database(f"sqlite:///{folder / 'witness.db'}")) as database:
        database.migrate()
        witness = Cosigner(database, signers, logs)
        witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(0, (), seen)))
        newest = verify_checkpoint(ledger.checkpoint(), new.public)
        posing = sign_checkpoint(Checkpoint(old.name, newest.size, newest.root), old)
        proof = ledger.prove_consistency(7, newest.size).hashes
        with pytest.raises(InconsistentError):
            witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(7, proof, posing)))
        proof = ledger.prove_consistency(4, newest.size).hashes
        with pytest.raises(StaleError) as caught:
            witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(4, proof, posing)))
        assert caught.value.size == 7
        raw = format_add_checkpoint(AddCheckpoint(0, (), ledger.checkpoint()))
        assert witness.add_checkpoint(raw).startswith("— witness.example/w".encode())
