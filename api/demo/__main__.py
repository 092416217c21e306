"""The story: a fresh service, an agent at work, receipts, an archive, an auditor, a forger.

The second act, of organisations that do not trust each other, is in consortium.py; the third,
of what is corrected and what is forgotten, in change.py; the fourth, of agents whose calls go
through the proxy, in capture.py.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from api.demo import capture, change, consortium, exchanges, forger, service
from api.demo.service import Service
from api.demo.telling import check_offline, expect, say, step
from ledger_core.clock import format_time, now_ms
from ledgergrid import Ledger, Receipt, Signer

_SESSION = "demo-session"


def main() -> int:
    """Tell the story once; return 0 if every step did what it says."""
    folder = Path(tempfile.mkdtemp(prefix="ledgergrid-demo-"))
    try:
        with service.running(folder) as running:
            _tell(running, folder)
            parties = consortium.found(running, folder)
        with consortium.witnessed(parties) as running:
            consortium.tell(running, parties)
            change.tell(running, parties)
            capture.tell(folder / "capture")
            if sys.stdin.isatty() and sys.stdout.isatty():
                _linger(running)
    finally:
        shutil.rmtree(folder)
    return 0


def _tell(running: Service, folder: Path) -> None:
    say(f"A fresh ledger service runs at {running.url}, on SQLite, in {folder}.")
    key_file = folder / "agent.key"
    with step("An agent makes a signing key, and the ledger's operator registers it"):
        service.command("keygen", "--out", str(key_file))
        running.command("key", "register", str(key_file))
    log_key: str = running.describe("main")["log_key"]
    with Ledger(
        running.url,
        ledger="main",
        signer=Signer.load(key_file),
        token=running.token,
        log_key=log_key,
        state_dir=folder / "agent-state",
    ) as ledger:
        calls = _append_calls(ledger)
        _append_work(ledger, calls[0])
    policy = _keep_trust(log_key, folder)
    archive = folder / "archive.zip"
    with step("The auditor downloads the whole ledger as one file"):
        running.command("export", "--out", str(archive))
    _check_bodies(archive)
    with step("and verifies it offline: no network, no server, only the file and the log's key"):
        code, report = check_offline(archive, policy)
        say(report)
        expect(code, 0)
    forged = folder / "forged.zip"
    where = forger.change_one_byte(archive, forged)
    with step(f"A forger changes one byte of a copy ({where}). The verifier says:"):
        code, report = check_offline(forged, policy)
        say("\n".join(line for line in report.split("\n") if line.startswith("FAIL")))
        say(report[report.index("NOT VERIFIED") : report.index("Not proven")])
        expect(code, 1)
    say("The change was found. The original still verifies; nobody had to be trusted for that.")


def _append_calls(ledger: Ledger) -> list[Receipt]:
    source = exchanges.RECORDED if exchanges.RECORDED.exists() else exchanges.OWN
    recorded = list(exchanges.read_exchanges(source))
    began_at = format_time(now_ms())
    drafts = [exchanges.to_draft(each, began_at, _SESSION) for each in recorded]
    with step(f"It puts {len(drafts)} LLM calls on the record, each signed, byte for byte") as took:
        receipts = _all_receipts(ledger.append_many(drafts))
    say(
        f"   {len(receipts)} receipts came back and every one was checked: the record's place, "
        f"its proof, the log's signature ({len(receipts) / took.seconds:.0f} a second)."
    )
    return receipts


def _append_work(ledger: Ledger, cause: Receipt) -> None:
    with step("It records what it decided, and what it did because of that"):
        decision = ledger.append(
            "agent.decision/1",
            {
                "decision": "carrier",
                "chosen": "truck",
                "options": ["train", "truck"],
                "reason": "the next train with room leaves after the deadline",
            },
            causes=[cause],
        )
        action = ledger.append(
            "agent.action/1",
            {
                "action": "book_transport",
                "status": "succeeded",
                "tool": "booking",
                "input": {"from": "Ghent", "to": "Lyon", "pallets": 2},
                "output": {"booking": "B-1027", "price_eur": 620},
            },
            causes=[decision],
        )
    say(f"   Decision: entry {decision.index}. Action: entry {action.index}, caused by it.")


def _keep_trust(key: str, folder: Path) -> Path:
    """Write the auditor's trust policy: the log's key, as learned from the operator."""
    policy = folder / "trust.policy"
    policy.write_text(f"log {key}\nquorum none\n")
    say(f"An auditor writes down whom to believe: the log's key {key}")
    return policy


def _check_bodies(archive: Path) -> None:
    source = exchanges.RECORDED if exchanges.RECORDED.exists() else exchanges.OWN
    with step("Every request and answer in the archive is compared with what was recorded"):
        compared = forger.compare_bodies(archive, exchanges.read_exchanges(source))
    say(f"   {compared} bodies, all byte-identical.")


def _all_receipts(outcomes: Sequence[Receipt | Exception]) -> list[Receipt]:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]


def _linger(running: Service) -> None:
    say(f"The service keeps running at {running.url} until you press Ctrl-C. Try:")
    say(f"   curl -H 'Authorization: Bearer {running.token}' \\")
    say(f"        {running.url}/api/v1/ledgers/main/entries?type=agent.decision/1")
    say(f"        {running.url}/api/v1/ledgers/{consortium.SHARED}/proposals?state=confirmed")
    try:
        running.wait()
    except KeyboardInterrupt:
        say("Stopped.")


if __name__ == "__main__":
    sys.exit(main())
