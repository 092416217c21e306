"""A session taken away: it verifies offline, and nothing in it can be changed unnoticed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ledger_core import ids
from ledger_core.formats.trust_policy import TrustPolicy, parse_trust_policy
from ledger_core.llm import frames
from ledger_core.sequencer import Appended
from tests.api.captured import Captured, chat_answer, chat_request
from tests.api.live import Live, problem
from tests.support import calls
from tests.support.erasing import erase
from tests.support.ledgers import appended, trust_policy
from verifier.__main__ import main
from verifier.session_export import verify_session


@pytest.fixture
def captured(embedded: Live) -> Captured:
    captured = Captured(embedded)
    captured.call("Weather?", "Fine.", tool="weather", session_id="s", agent_name="planner")
    first = chat_request("a long question " * 30)
    begun, _ = calls.record(
        captured.ledger, captured.author, "talk-1", first, chat_answer("yes"), session_id="s"
    )
    second = chat_request("a long question " * 30, "yes", "and?")
    frame = frames.encode(frames.Base(begun.leaf_hash, 0, first), second)
    assert frame is not None
    start = calls.start(
        captured.author, "talk-2", frame, frames.MEDIA_TYPE, whole=second, session_id="s"
    )
    placed = appended(captured.ledger.append([start])[0])
    end = calls.end(captured.author, "talk-2", placed.leaf_hash, chat_answer("no"), session_id="s")
    captured.ledger.append([end, calls.refusal(captured.author, "no", session_id="s")])
    captured.ledger.append([calls.start(captured.author, "open", first, session_id="s")])
    captured.ledger.append(
        [calls.end(captured.author, "own", None, chat_answer("x"), request=first, session_id="s")]
    )
    captured.settle()
    return captured


def policy(captured: Captured) -> TrustPolicy:
    return parse_trust_policy(trust_policy(captured.ledger).encode())


def export(captured: Captured, name: str = "s") -> dict[str, Any]:
    with captured.live.http("admin") as http:
        answer = http.get(f"/export/{quote(name, safe='')}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith('attachment; filename="ledgergrid-')
    found: dict[str, Any] = answer.json()
    return found


def test_a_session_verifies_offline_with_all_its_kinds_of_calls(
    captured: Captured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = export(captured)
    assert found["session"]["call_count"] == 6
    assert len(found["proofs"]["entries"]) == 9
    verdict = verify_session(msgspec.json.encode(found), policy(captured))
    assert (verdict.failed, verdict.reason, verdict.unread) == (None, None, [])
    assert verdict.checked["answers"] == 3
    assert verdict.checked["bytes"] == 9
    file, trust = tmp_path / "s.json", tmp_path / "trust"
    file.write_bytes(msgspec.json.encode(found))
    trust.write_text(trust_policy(captured.ledger))
    assert main(["session", str(file), "--trust", str(trust)]) == 0
    said = capsys.readouterr().out
    assert said.endswith("PASS\n")
    assert "unproven  that the session has no other calls" in said
    assert main(["session", str(file), "--trust", str(trust), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["passed"] is True
    file.write_text("{}")
    assert main(["session", str(file), "--trust", str(trust)]) == 3
    assert main(["session", str(tmp_path / "none"), "--trust", str(trust)]) == 4


def test_whoever_trusts_another_log_is_shown_nothing(captured: Captured) -> None:
    stranger = captured.live.main
    other = parse_trust_policy(trust_policy(stranger).encode())
    assert verify_session(msgspec.json.encode(export(captured)), other).failed == "checkpoint"


def failure(captured: Captured, forged: dict[str, Any]) -> str | None:
    return verify_session(msgspec.json.encode(forged), policy(captured)).failed


def test_each_forgery_is_named_by_the_claim_that_fails(captured: Captured) -> None:
    found = export(captured)

    def forge(change: Any) -> str | None:
        forged = copy.deepcopy(found)
        change(forged)
        return failure(captured, forged)

    by_name = {call["action_id"]: at for at, call in enumerate(found["calls"])}

    def call(forged: dict[str, Any], name: str) -> dict[str, Any]:
        made: dict[str, Any] = forged["calls"][by_name[name]]
        return made

    def entries(forged: dict[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = forged["proofs"]["entries"]
        return made

    assert forge(lambda x: None) is None
    assert forge(lambda x: call(x, "call-1").update(cost_usd=0)) == "telling"
    assert forge(lambda x: call(x, "call-1").update(tokens_in=11)) == "telling"
    assert forge(lambda x: call(x, "call-1").update(agent_name="other")) == "telling"
    assert forge(lambda x: call(x, "call-1").update(content="Bad.")) == "reading"
    assert forge(lambda x: call(x, "talk-2").update(messages=[])) == "reading"
    assert forge(lambda x: call(x, "call-1").update(end_index=99)) == "entries"
    assert forge(lambda x: x["calls"].pop()) == "entries"
    assert forge(lambda x: entries(x).pop()) == "entries"
    assert forge(lambda x: entries(x).append(entries(x)[0])) == "entries"
    assert forge(lambda x: entries(x)[0].update(index=7)) == "inclusion"
    assert forge(lambda x: entries(x)[0].update(leaf=entries(x)[1]["leaf"])) == "inclusion"
    assert forge(lambda x: entries(x)[0].update(receipt=entries(x)[1]["receipt"])) == "inclusion"
    assert forge(lambda x: entries(x)[0]["parts"].pop("request")) == "commitment"
    other = ids.encode_base64(b"{}")
    assert forge(lambda x: entries(x)[0]["parts"]["request"].update(data=other)) == "commitment"
    swapped = {"index": found["calls"][by_name["talk-1"]]["index"]}
    assert forge(lambda x: call(x, "call-1").update(swapped)) == "answers"


def test_numbers_that_the_raw_answer_does_not_bear_out_are_found(embedded: Live) -> None:
    captured = Captured(embedded)
    captured.call("q", "a", session_id="s", outcome={"tokens_in": 11})
    captured.settle()
    assert failure(captured, export(captured)) == "reading"


def test_a_digest_of_other_bytes_is_found(embedded: Live) -> None:
    captured = Captured(embedded)
    start = calls.start(captured.author, "a", chat_request("q"), whole=b"other", session_id="s")
    captured.ledger.append([start])
    captured.settle()
    assert failure(captured, export(captured)) == "bytes"


def test_what_was_erased_is_told_and_the_rest_verifies(captured: Captured) -> None:
    with captured.live.http("admin") as http:
        first = http.get("/explain/talk-1").json()
    submission = captured.ledger.entry(first["index"])

    placed = Appended(first["index"], submission.leaf_hash, 0, "", b"", True)
    erase(captured.ledger, captured.author, placed, "request")
    found = export(captured)
    verdict = verify_session(msgspec.json.encode(found), policy(captured))
    assert verdict.failed is None
    assert len(verdict.unread) == 1
    assert "talk-2" in verdict.unread[0]


def test_a_report_is_one_page_that_loads_nothing_and_escapes_everything(embedded: Live) -> None:
    captured = Captured(embedded)
    name = "<script>alert(1)</script>/report"
    captured.call("<img src=x onerror=alert(2)>", "</pre><script>3</script>", session_id=name,
                  tool="<b>", agent_name="<i>")  # fmt: skip
    captured.settle()
    with embedded.http("admin") as http:
        answer = http.get(f"/export/{quote(name, safe='')}/report")
        assert answer.status_code == 200, answer.text
        attached = http.get(f"/export/{quote(name, safe='')}")
        assert attached.json()["session"]["session_id"] == name
        assert problem(http.get("/export/none/report")) == (404, "not-found")
    page = answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "style-src 'sha256-" in policy
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    for forbidden in ("<script", "<img", "<i>", "<b></b>", "src=x onerror=alert(2)>", "http://"):
        assert forbidden not in page, forbidden
    assert "$0.0015" in page
