"""Governed change over HTTP, as people and programs see it: a story, then what strangers see not.

A private ledger of one house: its agent writes, its clerk of data protection agrees to amendments
and erasures. Whoever reads has a token; auditors read as the member ``audit``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger_core import ids
from ledger_core.errors import HeadMovedError, MalformedError, NotFoundError, StandingError
from ledger_core.formats.vkey import format_vkey
from ledger_core.records.rules import AudienceSetting, MutabilitySetting
from ledger_core.records.types.charter import Founding, FoundingKey, FoundingMember
from ledgergrid import Ledger, Receipt, Signer
from ledgergrid.founding import make_policy, out_of
from tests.api.live import ROUTE, Live, problem
from verifier.__main__ import main as verify

MEMBERS = ("house", "audit", "other")
PATIENCE_S = 30
ASKS = ("author", "member", "role:protection")
NOTES = MutabilitySetting(
    type="note/1",
    amend=ASKS,
    roll_back=ASKS,
    redact=ASKS,
    erase=ASKS,
    hold=("role:auditor",),
)


class Office:
    """A ledger whose notes may be changed, its members' clients and readers' tokens."""

    def __init__(self, live: Live, folder: Path, closing: ExitStack, **more: Any) -> None:
        self.live, self.folder, self.closing = live, folder, closing
        self.keys = {name: Signer.make(name) for name in MEMBERS}
        roles = {"house": ("protection",), "audit": ("auditor",), "other": ()}
        both = out_of(2, "house", "audit")
        founding = Founding(
            members=tuple(FoundingMember(name, roles[name]) for name in MEMBERS),
            keys=tuple(FoundingKey(key.key, ("agent",), name) for name, key in self.keys.items()),
            policies=(make_policy("amends:note/1", "erasure/1:note/1", rule=both),),
            mutability=(NOTES,),
            **more,
        )
        self.core = live.service.ledgers.create("office", kind="private", founding=founding)
        create = live.service.tokens.create
        self.tokens = {name: create(name, "reader", party=name) for name in MEMBERS}
        self.tokens |= {"operator": live.tokens["admin"], "insider": live.tokens["reader"]}
        self.tokens |= {"stranger": create("stranger", "reader", party="elsewhere")}
        self.clients = {name: self._open(name) for name in MEMBERS}

    def _open(self, name: str) -> Ledger:
        client = Ledger(
            self.live.url,
            ledger="office",
            signer=self.keys[name],
            token=self.tokens[name],
            log_key=format_vkey(self.core.log_key),
            state_dir=self.folder / name,
            patience_s=10.0,
        )
        return self.closing.enter_context(client)

    def agree(self, change: Receipt) -> int:
        """Let the auditors agree; return the index of the outcome."""
        self.clients["audit"].endorse(change)
        outcome = self.clients["house"].wait_for_outcome(change, PATIENCE_S)
        assert outcome.is_confirmed
        return outcome.entry.index

    def get(self, reader: str, path: str, **query: object) -> httpx.Response:
        text = {name: str(value) for name, value in query.items()}
        with self.live.http(token=self.tokens.get(reader)) as http:
            return http.get(f"{ROUTE}/office/{path}", params=httpx.QueryParams(text))

    def read(self, reader: str, path: str, **query: object) -> dict[str, Any]:
        answer = self.get(reader, path, **query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def size(self) -> int:
        return self.core.size()


@pytest.fixture
def office(live: Live, tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as closing:
        yield Office(live, tmp_path / "state", closing)


def test_an_office_amends_rolls_back_redacts_holds_and_erases(office: Office) -> None:
    house, audit = office.clients["house"], office.clients["audit"]
    first = house.append("note/1", {"subject": "order:7", "price": 10})

    # Amended by two: waiting at first, then the version that counts.
    second = house.amend(first, {"subject": "order:7", "price": 12})
    waiting = house.effect(first)
    assert (waiting.state, house.effect(second).state) == ("in-effect", "waiting")
    agreed = office.agree(second)
    now = house.effect(first)
    assert (now.state, now.current and now.current.index) == ("amended", second.index)
    assert house.effect(second).state == "in-effect"
    (item,) = now.history
    assert (item.at, item.what, item.version) == (agreed, "amendment", second.index)
    assert item.by is not None
    assert [voice.member for voice in item.by.voices] == ["house", "audit"]
    assert house.effect(first, at=agreed).state == "in-effect"
    assert house.effect(first, at=first.received_at).state == "in-effect"

    # Whoever amends an older version is told which one counts.
    with pytest.raises(HeadMovedError) as moved:
        house.amend(first, {"price": 11})
    assert moved.value.head == second.leaf_hash

    # Rolled back, and forth again.
    back = house.roll_back(first, agreed)
    assert house.effect(first).state == "in-effect"
    assert house.effect(second).state == "rolled-back"
    house.roll_back([first], back.index)
    assert house.effect(first).state == "amended"

    # The subject's state is what counts now; its history is with each entry.
    told = house.subject("order:7")
    assert [(each.index, each.state) for each in told] == [
        (first.index, "amended"),
        (second.index, "in-effect"),
    ]
    assert [each.what for each in told[0].history] == ["amendment", "rollback", "rollback"]

    # Redacted for all but auditors.
    house.redact(second, visible_to=["auditor"])
    assert office.read("other", f"entries/{second.index}")["parts"]["body"]["status"] == "redacted"
    assert office.read("audit", f"entries/{second.index}")["parts"]["body"]["status"] == "present"

    # Held, an erasure is refused and the refusal is on the record.
    audit.hold(first, "case-1")
    assert house.effect(first).held_by == ("case-1",)
    with pytest.raises(StandingError, match="held by case-1"):
        house.erase(first)
    house.checkpoint()  # Behind what the client has seen, the register may not be yet.
    (refusal,) = house.changes("refusal")
    assert refusal.said["code"] == "no-standing"

    # Released and ordered, it is gone at once for everyone who reads.
    audit.release(first, "case-1")
    order = house.erase(first, with_versions=True)
    at = office.agree(order)
    erased = house.effect(first)
    assert {name: (p.status, p.by) for name, p in erased.parts.items()} == {
        "body": ("erased", order.index)
    }
    body = office.read("operator", f"entries/{first.index}")["parts"]["body"]
    assert (body["status"], body["data"], body["salt"]) == ("erased", None, None)
    # Before the order counted it was there; its bytes are until the eraser has come.
    assert house.effect(first, at=at).parts["body"].status in ("present", "missing")
    assert house.subject("order:7") == []
    kinds = [(each.kind, each.state) for each in house.changes(target=first.index)]
    assert kinds == [
        ("amendment", "in-effect"),
        ("rollback", "in-effect"),
        ("rollback", "in-effect"),
        ("hold", "in-effect"),
        ("hold", "in-effect"),
        ("erasure", "in-effect"),
    ]
    # Old receipts prove what they proved.
    receipt = office.get("house", f"entries/{first.index}/receipt", size=first.checkpoint.size)
    assert receipt.status_code == 200
    for reader in ("operator", "audit", "other"):
        check_offline(office, reader, first)


def check_offline(office: Office, reader: str, kept: Receipt) -> None:
    """Verify what this reader may take home, with a receipt from before all the changes."""
    archive, trust, receipt = (office.folder / f"{reader}.{x}" for x in ("zip", "policy", "proof"))
    archive.write_bytes(office.get(reader, "archive").content)
    trust.write_text(f"log {format_vkey(office.core.log_key)}\nquorum none\n")
    receipt.write_bytes(kept.text)
    with redirect_stdout(io.StringIO()) as printed:
        code = verify([str(archive), "--trust", str(trust), "--receipt", str(receipt)])
    report = printed.getvalue()
    assert (code, "VERIFIED. L1" in report) == (0, True), report
    assert "ok   17" in report and "2 erased" in report


def test_every_read_tells_what_holds_of_an_entry(office: Office) -> None:
    house = office.clients["house"]
    first = house.append("note/1", {"subject": "order:8"})
    second = house.amend(first, {"subject": "order:8", "v": 2})
    office.agree(second)
    redaction = house.redact(first)
    for found in (
        office.read("other", "entries", type="note/1", min_size=office.size())["entries"][0],
        office.read("other", "entries", id=first.id)["entries"][0],
        office.read("other", "entries", leaf_hash=first.leaf_hash)["entries"][0],
        office.read("other", f"entries/{first.index}"),
        _event(office, first.index),
    ):
        assert (found["state"], found["version"]) == ("amended", second.index)
        part = found["parts"]["body"]
        assert (part["status"], part["by"]) == ("redacted", redaction.index)
        assert found["held_by"] == []


def _event(office: Office, index: int) -> dict[str, Any]:
    with (
        office.live.http(token=office.tokens["other"]) as http,
        http.stream("GET", f"{ROUTE}/office/stream", params={"from": index}) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found
    raise AssertionError("the stream ended")


# --- redaction ---------------------------------------------------------------------

SEES_REDACTED = {"audit", "operator"}
READERS = ("house", "audit", "other", "insider", "operator", "stranger", "nobody")


@pytest.fixture
def redacted(live: Live, tmp_path: Path) -> Iterator[tuple[Office, Receipt]]:
    """Give an office with an action that was redacted for all but auditors."""
    with ExitStack() as closing:
        office = Office(live, tmp_path / "state", closing)
        office.core.append_as_operator(
            "mutability/1",
            b'{"setting":{"type":"agent.action/1","redact":["author"]}}',
        )
        done = office.clients["house"].append(
            "agent.action/1", {"action": "pay", "status": "succeeded", "session_id": "s1"}
        )
        office.clients["house"].redact(done, visible_to=["auditor"])
        yield office, done


def test_a_redacted_part_is_hidden_on_every_surface_but_from_the_named_roles(
    redacted: tuple[Office, Receipt],
) -> None:
    office, action = redacted
    for reader in READERS:
        if reader in ("stranger", "nobody"):
            continue
        is_shown = reader in SEES_REDACTED
        body = office.read(reader, f"entries/{action.index}")["parts"]["body"]
        assert (body["status"] == "present", body["data"] is not None) == (is_shown, is_shown)
        assert (body["salt"] is not None) == is_shown
        query = {"type": "agent.action/1", "session_id": "s1", "min_size": office.size()}
        listed = office.read(reader, "entries", **query)
        assert [each["index"] for each in listed["entries"]] == [action.index] * is_shown
        subject = office.read(reader, "subjects/session:s1", min_size=office.size())
        assert [each["index"] for each in subject["entries"]] == [action.index] * is_shown
        effect = office.read(reader, f"entries/{action.index}/effect")
        assert effect["parts"]["body"]["status"] == ("present" if is_shown else "redacted")
        assert (effect["current"]["parts"]["body"]["data"] is not None) == is_shown
        # Nor does the past show what is hidden now.
        then = office.read(reader, f"entries/{action.index}/effect", at=action.index + 1)
        assert (then["current"]["parts"]["body"]["data"] is not None) == is_shown
        # That it is there, its receipt and the list of all are not the part.
        assert office.get(reader, f"entries/{action.index}/receipt").status_code == 200
        everything = office.read(reader, "entries", type="agent.action/1", min_size=office.size())
        assert len(everything["entries"]) == 1


def test_what_is_shown_again_is_found_again(redacted: tuple[Office, Receipt]) -> None:
    office, action = redacted
    office.clients["house"].unredact(action)
    office.clients["other"].checkpoint()  # It knows of the change now, and waits for the views.
    assert [each.index for each in office.clients["other"].subject("session:s1")] == [action.index]
    effect = office.clients["other"].effect(action)
    assert [each.what for each in effect.history] == ["redact", "unredact"]
    assert effect.parts["body"].status == "present"


def test_pages_of_a_subject_are_full_however_much_is_hidden(office: Office) -> None:
    house = office.clients["house"]
    notes = [house.append("note/1", {"subject": "s", "n": n}) for n in range(8)]
    house.redact([notes[0], notes[2], notes[3], notes[7]])
    seen: list[int] = []
    cursor: dict[str, object] = {}
    while True:
        page = office.read("other", "subjects/s", limit=2, min_size=office.size(), **cursor)
        assert len(page["entries"]) == 2
        seen += [each["index"] for each in page["entries"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [notes[n].index for n in (1, 4, 5, 6)]


# --- strangers ---------------------------------------------------------------------


def test_a_stranger_learns_nothing_of_a_ledgers_changes(office: Office) -> None:
    office.clients["house"].append("note/1", {"subject": "order:7"})
    paths = ("entries/1/effect", "changes", "changes?target=1", "subjects/order:7", "mutability")
    for path in paths:
        with office.live.http() as http:
            unknown = http.get(f"{ROUTE}/office/{path}")
        with office.live.http(token=office.tokens["stranger"]) as http:
            hidden, absent = (http.get(f"{ROUTE}/{name}/{path}") for name in ("office", "nowhere"))
        assert problem(unknown) == (401, "unauthorized")
        assert problem(hidden) == (404, "not-found")
        assert hidden.text.replace("office", "nowhere") == absent.text


def test_who_does_not_see_an_entry_learns_of_its_effects_only_what_governance_says(
    live: Live, tmp_path: Path
) -> None:
    with ExitStack() as closing:
        hidden = AudienceSetting(type="note/1", entry="parties")
        office = Office(live, tmp_path / "state", closing, audiences=(hidden,))
        house = office.clients["house"]
        first = house.append("note/1", {"subject": "order:7"}, parties=["audit"])
        second = house.amend(first, {"subject": "order:7", "v": 2}, parties=["audit"])
        office.agree(second)
        house.redact(second)
        for path, query in ((f"entries/{first.index}/effect", {}), ("changes", {"target": 1})):
            assert problem(office.get("other", path, **query)) == (404, "not-found")
            assert office.get("audit", path, **query).status_code == 200
        told = office.read("other", "changes", min_size=office.size())["changes"]
        assert [each["kind"] for each in told] == ["redaction"]
        assert told[0]["targets"] == [
            {"index": None, "leaf_hash": second.leaf_hash, "parts": ["body"]}
        ]
        assert office.read("other", "subjects/order:7", min_size=office.size())["entries"] == []
        with pytest.raises(NotFoundError):
            office.clients["other"].effect(first.leaf_hash)


def test_a_version_that_is_hidden_from_a_reader_is_told_of_but_not_named(
    live: Live, tmp_path: Path
) -> None:
    with ExitStack() as closing:
        hidden = AudienceSetting(type="note/1", entry="parties")
        office = Office(live, tmp_path / "state", closing, audiences=(hidden,))
        house = office.clients["house"]
        first = house.append("note/1", {"v": 1}, parties=["audit", "other"])
        second = house.amend(first, {"v": 2}, parties=["audit"])
        office.agree(second)
        effect = office.read("other", f"entries/{first.index}/effect")
        assert (effect["state"], effect["current"]) == ("amended", None)
        assert [(each["version"], each["by"]) for each in effect["history"]] == [(None, None)]
        assert second.leaf_hash not in str(effect)
        assert office.read("other", f"entries/{first.index}")["version"] is None


# --- what cannot be asked ----------------------------------------------------------


def test_times_and_indexes_that_the_log_has_not_reached(office: Office) -> None:
    note = office.clients["house"].append("note/1", {"v": 1})
    path = f"entries/{note.index}/effect"
    assert problem(office.get("house", path, at=10_000)) == (404, "not-found")
    assert problem(office.get("house", path, at="yesterday")) == (400, "malformed")
    assert office.read("house", path, at="2020-01-01T00:00:00.000Z")["state"] == "absent"
    late = office.read("house", path, at="2099-01-01T00:00:00.000Z")
    assert (late["state"], late["at"]) == ("in-effect", office.size())
    assert problem(office.get("house", "entries/99/effect")) == (404, "not-found")
    assert problem(office.get("house", "changes", kind="whim")) == (400, "malformed")
    for path in ("changes", "subjects/order:7"):
        assert problem(office.get("house", path, min_size=10_000)) == (404, "not-found")


def test_the_settings_of_a_ledger_are_listed_with_their_history(office: Office) -> None:
    setting = MutabilitySetting(type="agent.action/1", redact=("author",))
    body = b'{"setting":{"type":"note/1","for_ever":true}}'
    office.core.append_as_operator("mutability/1", body)
    told = office.clients["other"].mutability()
    assert [(each.setting.type, each.is_in_force) for each in told] == [
        ("note/1", False),
        ("note/1", True),
    ]
    with pytest.raises(StandingError):
        office.clients["house"].set_mutability(setting)


def test_only_what_is_there_can_be_named(office: Office) -> None:
    house = office.clients["house"]
    note = house.append("note/1", {"v": 1})
    with pytest.raises(MalformedError, match="no such part: photo"):
        house.redact(note, "photo")
    with pytest.raises(NotFoundError):
        house.erase(ids.format_digest(bytes(32)))
