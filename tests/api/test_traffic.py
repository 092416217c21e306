"""Real LLM traffic goes in as signed records and comes back byte for byte, proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.demo import exchanges, forger, service
from ledger_core.clock import format_time, now_ms
from ledgergrid import Draft, Ledger, Receipt, Signer
from verifier.__main__ import main as verify

_SOURCES = [
    pytest.param(exchanges.OWN, id="own"),
    pytest.param(
        exchanges.RECORDED,
        id="recorded",
        marks=pytest.mark.skipif(
            not exchanges.RECORDED.exists(), reason="no recorded traffic beside the project"
        ),
    ),
]


def _append_all(running: service.Service, folder: Path, drafts: list[Draft]) -> list[Receipt]:
    key_file = folder / "agent.key"
    Signer.make().save(key_file)
    running.command("key", "register", str(key_file))
    with Ledger(
        running.url,
        ledger="main",
        signer=Signer.load(key_file),
        token=running.token,
        log_key=running.describe("main")["log_key"],
        state_dir=folder / "state",
    ) as ledger:
        receipts = [r for r in ledger.append_many(drafts) if isinstance(r, Receipt)]
    assert len(receipts) == len(drafts)
    return receipts


@pytest.mark.parametrize("source", _SOURCES)
def test_recorded_exchanges_come_back_byte_identical_and_verify(
    source: Path, tmp_path: Path
) -> None:
    recorded = list(exchanges.read_exchanges(source))
    began_at = format_time(now_ms())
    drafts = [exchanges.to_draft(each, began_at, "traffic") for each in recorded]
    with service.running(tmp_path) as running:
        receipts = _append_all(running, tmp_path, drafts)
        policy = tmp_path / "trust.policy"
        policy.write_text(f"log {running.describe('main')['log_key']}\nquorum none\n")
        whole, part = tmp_path / "whole.zip", tmp_path / "part.zip"
        running.command("export", "--out", str(whole))
        start, end = receipts[len(receipts) // 3].index, receipts[-1].index
        running.command("export", "--out", str(part), "--start", str(start), "--end", str(end))

    assert forger.compare_bodies(whole, recorded) == 2 * len(recorded)
    required = ["--trust", str(policy), "--require", "L1"]
    kept = tmp_path / "kept.tlog-proof"
    kept.write_bytes(receipts[len(receipts) // 2].text)
    assert verify([str(whole), *required, "--receipt", str(kept)]) == 0
    assert verify([str(part), *required]) == 0


def test_the_demo_tells_its_story_to_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.demo.__main__ import main

    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main() == 0
    told = capsys.readouterr().out
    assert "The change was found" in told
    assert "VERIFIED. L2" in told
    assert "whoever says otherwise is caught" in told
    assert "byte for byte, streams and all" in told
