"""The third act: what was said is corrected, the correction taken back, and a guest forgotten.

Nothing in the log changes. What holds of an entry does, by entries that others agreed to; and
what must be gone is gone, from every file of the service.
"""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack

from api.demo.consortium import PATIENCE_S, SHARED, Parties, expect_verdict, wait_until_witnessed
from api.demo.service import Service
from api.demo.telling import check_offline, expect, say, step
from ledger_core import ids
from ledgergrid import Ledger, Receipt


def tell(running: Service, parties: Parties) -> None:
    say("\n--- Third act: what was said is corrected, and a guest is forgotten ---")
    secret = f"allergic-to-{secrets.token_hex(8)}"
    with ExitStack() as closing:
        acme, birch = (
            closing.enter_context(parties.open(running, name)) for name in ("acme", "birch")
        )
        said = _say(acme, secret)
        _amend_and_take_back(acme, birch, said)
        _redact(acme, birch, said)
        _read(running, said, secret, is_there=True)
        _erase(acme, birch, said)
    _read(running, said, secret, is_there=False)
    _search(parties, secret)
    _audit(running, parties, said)


def _say(acme: Ledger, secret: str) -> Receipt:
    with step("acme's agent notes what a guest told it"):
        receipt = acme.append("note/1", {"subject": "guest-17", "told": secret, "room": 12})
    say(f"   Entry {receipt.index}. Its payload is stored sealed; the key lies elsewhere.")
    return receipt


def _amend_and_take_back(acme: Ledger, birch: Ledger, said: Receipt) -> None:
    with step("The room was wrong: acme proposes an amendment, birch agrees"):
        payload = {"subject": "guest-17", "told": "see the first version", "room": 21}
        amendment = acme.amend(said, payload)
        outcome = _agree(acme, birch, amendment)
    say(f"   Entry {amendment.index} counts now: {acme.effect(said).state}.")
    with step("The room was right after all: the amendment is rolled back, birch agrees again"):
        _agree(acme, birch, acme.roll_back(said, to=outcome))
    say(f"   Entry {said.index} counts again: {acme.effect(said).state}. All of it is on record.")


def _redact(acme: Ledger, birch: Ledger, said: Receipt) -> None:
    with step("Not everybody needs to read it: the note is redacted, but for auditors"):
        _agree(acme, birch, acme.redact(said, visible_to=["auditor"]))
        status = birch.effect(said).parts["body"].status
    if status != "redacted":
        raise SystemExit(f"the note is {status}, expected redacted")
    say(f"   birch, no auditor, asks again: {status}. The bytes are still there.")


def _erase(acme: Ledger, birch: Ledger, said: Receipt) -> None:
    with step("The guest asks to be forgotten: acme orders the erasure, birch agrees"):
        order = acme.erase(said, reason="subject", with_versions=True)
        _agree(acme, birch, order)
    with step("The service destroys the keys, then the sealed bytes, then what it derived"):
        done = _wait_until_done(acme, order)
        status = acme.effect(said).parts["body"].status
    if status != "erased":
        raise SystemExit(f"the note is {status}, expected erased")
    say(f"   {status.upper()} by entry {order.index}; entry {done} says what was cleaned.")


def _wait_until_done(acme: Ledger, order: Receipt) -> int:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for each in acme.changes(kind="erasure"):
            if each.index == order.index and each.done is not None:
                return each.done
        time.sleep(0.1)
    raise SystemExit("the erasure was not done in time")


def _agree(acme: Ledger, birch: Ledger, proposed: Receipt) -> int:
    """Have birch endorse what acme proposed; return the index from which it holds."""
    birch.endorse(proposed)
    outcome = acme.wait_for_outcome(proposed, PATIENCE_S)
    expect_verdict(outcome.verdict, "confirmed")
    return outcome.entry.index


def _read(running: Service, said: Receipt, secret: str, *, is_there: bool) -> None:
    """Read the note as the operator, who sees whatever is there."""
    part = running.get(f"/api/v1/ledgers/{SHARED}/entries/{said.index}")["parts"]["body"]
    if (secret.encode() in ids.decode_base64(part.get("data") or "")) != is_there:
        raise SystemExit(f"the operator reads {part}")
    say(f"   The operator reads the guest's words: {'there' if is_there else 'gone'}.")


def _search(parties: Parties, secret: str) -> None:
    """Look for what the guest told in every file of the service, and of those who use it."""
    files = [path for path in parties.folder.rglob("*") if path.is_file()]
    found = [path for path in files if secret.encode() in path.read_bytes()]
    if found:
        raise SystemExit(f"what the guest told is in {found}")
    say(f"   {len(files)} files searched, databases, logs, key store and all: in none of them.")


def _audit(running: Service, parties: Parties, said: Receipt) -> None:
    archive, kept = parties.folder / "changed.zip", parties.folder / "note.tlog-proof"
    kept.write_bytes(said.text)
    with step("The auditor verifies it all offline, with the receipt that acme got at first"):
        wait_until_witnessed(running)
        running.command("export", "--ledger", SHARED, "--out", str(archive))
        code, report = check_offline(archive, parties.trust, "--receipt", str(kept))
        say(report)
        expect(code, 0)
    say("The first receipt still proves that something was said, when, and by whom; not what.")
