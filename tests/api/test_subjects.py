"""A person's data erased in all ledgers upon one request, and the certificate that says so."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from ledger_core import ids
from ledger_core.errors import LedgerGridError
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import format_vkey
from ledger_core.ledger import Ledger
from ledger_core.policy.certificate import parse_certificate
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.hold import Hold
from tests.api.live import ROUTE, Author, Live, problem
from verifier.certificates import verify_certificate

NOTES = MutabilitySetting(type="note/1", erase=("operator",), hold=("operator",))
SUBJECT = "user:franziska"


class Services:
    """Three ledgers with notes about one person: two may erase, one may not."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.ledgers = {
            name: live.service.ledgers.create(name, founding=Founding(mutability=settings))
            for name, settings in {"east": (NOTES,), "west": (NOTES,), "stone": ()}.items()
        }
        self.notes = {name: self._write(each) for name, each in self.ledgers.items()}

    def _write(self, ledger: Ledger) -> list[int]:
        author = self.live.register(Author(ledger))
        bodies = [{"subject": SUBJECT, "text": "a secret"} for _ in range(2)]
        bodies.append({"subject": "user:other", "text": "another's"})
        with self.live.http() as http:
            return [
                http.post(
                    f"{ROUTE}/{ledger.name}/records", content=author.line(msgspec.json.encode(body))
                ).json()["index"]
                for body in bodies
            ]

    def hold(self, name: str, index: int) -> None:
        entry = ids.format_digest(self.ledgers[name].entry(index).leaf_hash)
        body = msgspec.json.encode(Hold("hold", (entry,), "case-7"))
        self.ledgers[name].append_as_operator("hold/1", body)

    def trust(self) -> bytes:
        lines = [f"log {format_vkey(each.log_key)}" for each in self.ledgers.values()]
        return ("\n".join([*lines, "quorum none"]) + "\n").encode()

    def run(self, *arguments: str) -> Result:
        options = ["--url", self.live.url] if arguments[0] == "erase-subject" else []
        return CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)


@pytest.fixture
def services(live: Live, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv("LEDGERGRID_TOKEN", live.tokens["admin"])
    return Services(live)


def test_a_persons_data_is_erased_everywhere_and_certified_for_whoever_trusts_the_logs(
    services: Services, tmp_path: Path
) -> None:
    file, policy = tmp_path / "certificate.json", tmp_path / "policy"
    policy.write_bytes(services.trust())
    services.hold("west", services.notes["west"][0])
    told = services.run("erase-subject", SUBJECT, "--all", "--yes", "--out", str(file))
    assert told.exit_code == 0, told.output
    assert "east: entry 5 orders 2 entries, in force" in told.output
    assert "west: entry 6 orders 1 entries, in force" in told.output
    assert "west: entry 2 stays: entry 2 is held by case-7" in told.output
    assert "stone: entry 2 stays: note/1 is immutable here" in told.output
    for name, index, is_there in (
        ("east", 0, False), ("east", 1, False), ("east", 2, True),
        ("west", 0, True), ("west", 1, False), ("stone", 0, True),
    ):  # fmt: skip
        entry = services.ledgers[name].entry(services.notes[name][index])
        assert bool(entry.parts) is is_there, (name, index)
    raw = file.read_bytes()
    assert b"franziska" not in raw
    proved = verify_certificate(raw, parse_trust_policy(policy.read_bytes()))
    assert [(each.entries, each.parts, each.reason) for each in proved] == [
        (2, 2, "subject"), (1, 1, "subject"),
    ]  # fmt: skip
    told = services.run("certificate", "verify", str(file), "--trust", str(policy))
    assert "2 parts destroyed in keys, payloads, views" in told.output
    assert told.output.endswith("this certificate holds\n")
    again = services.run("erase-subject", SUBJECT, "--ledger", "east", "--yes")
    assert "nothing is about it" in again.output


def test_a_forged_certificate_does_not_hold(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    told = services.run("erase-subject", SUBJECT, "--all", "--yes", "--out", str(file))
    assert file.exists(), told.output
    good = json.loads(file.read_bytes())
    policy = parse_trust_policy(services.trust())
    first, second = good["erasures"]
    forged = {
        "another order's done record": [{"order": first["order"], "done": second["done"]}],
        "an order in the done record's place": [{"order": first["order"], "done": first["order"]}],
        "another body": [first | {"done": first["done"] | {"body": second["done"]["body"]}}],
        "another record": [first | {"order": first["order"] | {"record": "e30="}}],
    }
    for name, erasures in forged.items():
        with pytest.raises(LedgerGridError):
            verify_certificate(spell(good | {"erasures": erasures}), policy)
            raise AssertionError(name)
    stranger = parse_trust_policy(
        f"log {format_vkey(services.live.main.log_key)}\nquorum none\n".encode()
    )
    with pytest.raises(LedgerGridError):
        verify_certificate(spell(good), stranger)
    for raw in (b"", b"{}", file.read_bytes()[:-1], file.read_bytes() + b"\n"):
        with pytest.raises(LedgerGridError):
            parse_certificate(raw)


def spell(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def test_what_is_not_done_is_not_certified(services: Services) -> None:
    with services.live.http("admin") as http:
        entry = services.ledgers["east"].entry(services.notes["east"][0])
        order = {"ledger": "east", "order": ids.format_digest(entry.leaf_hash)}
        refused = http.post("/api/v1/certificates", json={"orders": [order]})
    assert problem(refused) == (404, "not-found")


def test_only_an_admin_of_the_whole_service_may_erase_a_subject(services: Services) -> None:
    path = f"/api/v1/subjects/{SUBJECT}/erasure"
    with services.live.http("reader") as http:
        assert problem(http.post(path, json={})) == (403, "forbidden")
    bound = services.live.token("admin", "east")
    with services.live.http(token=bound) as http:
        assert problem(http.post(path, json={"ledgers": ["east"]})) == (403, "forbidden")
        assert problem(http.post("/api/v1/certificates", json={"orders": [
            {"ledger": "east", "order": "x"}
        ]})) == (403, "forbidden")  # fmt: skip
    with services.live.http() as http:
        assert problem(http.post(path, json={}))[0] == 401
