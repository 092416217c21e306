"""Local ledgers over HTTP: founded, closed, anchored, proved; and the log's key handed over."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode

from ledger_core import ids
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import format_submission
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.policy.anchoring import check_anchored, parent_checkpoint_of, parse_anchored
from ledger_core.records.types.log_key import LogKeyChange, follow_handovers
from tests.api.live import ROUTE, Author, Live, problem

PARTY = PrivateKey(b"\x05" * 32)


def found_local(live: Live, name: str = "deal") -> dict[str, Any]:
    party = ids.format_key(PARTY.public_key)
    body = {
        "name": name,
        "kind": "local",
        "parent": "main",
        "founding": {"keys": [{"key": party, "roles": ["agent"]}], "parties": [party]},
    }
    with live.http("admin") as http:
        answer = http.post(ROUTE, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def party_of(live: Live, name: str = "deal") -> Author:
    author = Author(live.service.ledgers.get(name))
    author.private, author.key = PARTY, ids.format_key(PARTY.public_key)
    return author


def test_a_local_ledger_is_closed_and_anchored_and_each_entry_proved(live: Live) -> None:
    found_local(live)
    party = party_of(live)
    with live.http("admin") as http:
        assert problem(http.get(f"{ROUTE}/deal/anchor")) == (404, "not-found")
        assert problem(http.get(f"{ROUTE}/deal/entries/0/anchored-receipt"))[0] == 404
        for line in (party.line(b'"paid"'), party.line(b"{}", "closing/1")):
            assert http.post(f"{ROUTE}/deal/records", content=line).status_code == 201
        late = http.post(f"{ROUTE}/deal/records", content=party.line(b'"more"'))
        assert problem(late) == (409, "closed")
        live.service.ledgers.clerk.tidy()
        anchor = http.get(f"{ROUTE}/deal/anchor").json()
        assert anchor == {
            "size": 3,
            "parent": live.main.origin,
            "index": 1,
            "problem": None,
        }
        assert http.get(f"{ROUTE}/deal").json()["closed_by"] == 2
        for index in range(3):
            raw = http.get(f"{ROUTE}/deal/entries/{index}/anchored-receipt").content
            receipt = parse_anchored(raw)
            checkpoint = verify_checkpoint(parent_checkpoint_of(receipt), live.main.log_key)
            leaf = party.ledger.entry(index).leaf
            assert check_anchored(receipt, leaf, checkpoint).size == 3
        assert problem(http.get(f"{ROUTE}/deal/entries/3/anchored-receipt"))[0] == 404


def test_a_stranger_learns_nothing_of_an_anchor(live: Live) -> None:
    found_local(live)
    party = party_of(live)
    with live.http("admin") as http:
        line = format_submission(party.note(b"{}", "closing/1"))
        assert http.post(f"{ROUTE}/deal/records", content=line).status_code == 201
    live.service.ledgers.clerk.tidy()
    for path in ("anchor", "entries/0/anchored-receipt"):
        with live.http() as http:
            assert problem(http.get(f"{ROUTE}/deal/{path}"))[0] == 401
        with live.http("reader") as http:
            theirs = problem(http.get(f"{ROUTE}/deal/{path}"))
            assert theirs == problem(http.get(f"{ROUTE}/no-such/{path}")) == (404, "not-found")


def test_the_logs_key_is_handed_over_and_who_trusted_the_first_follows(live: Live) -> None:
    with live.http("admin") as http:
        first = parse_vkey(http.get(f"{ROUTE}/main").json()["log_key"])
        done = http.post(f"{ROUTE}/main/log-key")
        assert done.status_code == 201, done.text
        shown = http.get(f"{ROUTE}/main").json()
        assert [each["since"] for each in shown["log_keys"]] == [0, done.json()["index"]]
        assert shown["log_keys"][-1]["log_key"] == shown["log_key"]
        checkpoint = http.get("/log/main/checkpoint").content
    change = live.main.entry(done.json()["index"]).parts["body"].data
    assert isinstance(first, LogKey)
    second = follow_handovers(first, [decode(change, type=LogKeyChange)])
    assert verify_checkpoint(checkpoint, second).size == live.main.size()


def test_only_an_admin_hands_the_logs_key_over(live: Live) -> None:
    with live.http("reader") as http:
        assert problem(http.post(f"{ROUTE}/main/log-key"))[0] == 403
    with live.http() as http:
        assert problem(http.post(f"{ROUTE}/main/log-key"))[0] == 401
    assert len(live.main.log_keys()) == 1
