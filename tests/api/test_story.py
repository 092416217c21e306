"""The demo's second act as a test: three organisations, two agents, two witnesses, an auditor.

Everything goes over HTTP, on both databases, and ends in the offline verifier.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from api.settings import Settings
from ledger_core import ids
from ledger_core.formats.vkey import format_vkey
from ledger_core.keyring import open_keyring
from ledgergrid import Ledger, Receipt, Signer
from ledgergrid.founding import make_founding, make_policy, out_of
from tests.api.live import ROUTE, Live, running
from tests.api.test_witnessed import NAMES, PREFIX, policy_lines, witness_service
from verifier.__main__ import main as verify

MEMBERS = ("acme", "birch", "cobalt")
PATIENCE_S = 30


@dataclass
class World:
    """A service with two witnesses, and the clients of everyone in the story."""

    live: Live
    folder: Path
    trust: Path
    closing: ExitStack
    agents: dict[str, Signer]
    stewards: dict[str, Signer]
    tokens: dict[str, str]
    """Each member reads as itself."""

    def open(self, signer: Signer, ledger: str = "shared") -> Ledger:
        client = Ledger(
            self.live.url,
            ledger=ledger,
            signer=signer,
            token=self.tokens[signer.name],
            state_dir=self.folder / "state" / signer.key[-12:],
        )
        return self.closing.enter_context(client)

    def agent(self, member: str, ledger: str = "shared") -> Ledger:
        return self.open(self.agents[member], ledger)

    def create(self, **body: Any) -> dict[str, Any]:
        with self.live.http("admin") as http:
            answer = http.post(ROUTE, json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def get(self, path: str) -> dict[str, Any]:
        with self.live.http("admin") as http:
            answer = http.get(f"{ROUTE}/{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    log_key = open_keyring(data / "keyring").log_signer(f"{PREFIX}/shared").public
    with ExitStack() as stack:
        witnesses = [
            stack.enter_context(witness_service(tmp_path / str(n), name, log_key))
            for n, name in enumerate(NAMES)
        ]
        asked, trust = tmp_path / "asked", tmp_path / "trust"
        asked.write_text(policy_lines(witnesses))
        trust.write_text(f"log {format_vkey(log_key)}\n{asked.read_text()}")
        settings = Settings(
            data=data,
            database=SecretStr(database_url),
            origin_prefix=PREFIX,
            witness_policy=str(asked),
            witness_interval_s=0.1,
        )
        live = stack.enter_context(running(settings))
        closing = stack.enter_context(ExitStack())
        agents = {name: Signer.make(name) for name in MEMBERS}
        stewards = {name: Signer.make(name) for name in MEMBERS}
        create = live.service.tokens.create
        tokens = {name: create(name, "reader", party=name) for name in MEMBERS}
        yield World(live, tmp_path, trust, closing, agents, stewards, tokens)


def found(world: World) -> str:
    """Found the consortium; return its charter's leaf hash."""
    keys = {
        name: [(world.stewards[name].key, ("steward",)), (world.agents[name].key, ("agent",))]
        for name in MEMBERS
    }
    two = out_of(2, *MEMBERS)
    policies = [
        make_policy("member/1", "policy/1", rule=two),
        make_policy("agent.decision/1", rule=two, author_counts=False),
    ]
    founding = msgspec.to_builtins(make_founding(keys, policies))
    made = world.create(name="shared", kind="consortium", founding=founding)
    charter: str = made["charter"]
    return charter


def decide(world: World, chosen: str) -> Receipt:
    return world.agent("acme").propose(
        "agent.decision/1", {"decision": "carrier", "chosen": chosen}
    )


def deal(world: World) -> tuple[str, str]:
    """Let two agents do business in a ledger of their own; return its origin and last root."""
    parties = {name: [(world.agents[name].key, ("agent",))] for name in ("acme", "birch")}
    both = make_policy("closing/1", rule=out_of(2, "acme", "birch"))
    founding = make_founding(parties, [both], parties=parties)
    body = msgspec.to_builtins(founding)
    made = world.create(name="deal-1", kind="local", parent="shared", founding=body)
    acme, birch = world.agent("acme", "deal-1"), world.agent("birch", "deal-1")
    offer = acme.append("note/1", {"offer": "two pallets", "price_eur": 620})
    birch.append("note/1", {"accepted": True}, refs=[("answers", offer)])
    closing = acme.propose("closing/1", {"reason": "delivered"})
    birch.endorse(closing)
    assert acme.wait_for_outcome(closing, PATIENCE_S).is_confirmed
    return made["origin"], ids.format_digest(acme.checkpoint().root)


def wait_for_anchor(world: World) -> dict[str, Any]:
    """Return the body of the anchor in the parent, read and verified by a member."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        page = world.get("shared/entries?type=anchor/1")
        if page["entries"]:
            entry = world.get(f"shared/entries/{page['entries'][0]['index']}")
            body: dict[str, Any] = json.loads(ids.decode_base64(entry["parts"]["body"]["data"]))
            return body
        time.sleep(0.1)
    raise AssertionError("the local ledger was not anchored")


def wait_until_witnessed(world: World) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status = world.get("shared/witnesses")
        if status["witnessed"] == status["size"]:
            return
        time.sleep(0.05)
    raise AssertionError(world.get("shared/witnesses"))


def export(world: World, ledger: str) -> Path:
    with world.live.http("admin") as http:
        answer = http.get(f"{ROUTE}/{ledger}/archive", timeout=60)
    assert answer.status_code == 200, answer.text
    path = world.folder / f"{ledger}.zip"
    path.write_bytes(answer.content)
    return path


def check(archive: Path, trust: Path, *more: str) -> tuple[int, str]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = verify([str(archive), "--trust", str(trust), "--jobs", "1", *more])
    return code, printed.getvalue()


def test_three_organisations_agree_two_agents_deal_and_an_auditor_needs_nobody(
    world: World,
) -> None:
    charter = found(world)

    agreed = decide(world, "truck")
    assert [each.leaf_hash for each in world.agent("birch").pending("birch")] == [agreed.leaf_hash]
    for name in ("birch", "cobalt"):
        world.agent(name).endorse(agreed)
    assert world.agent("acme").wait_for_outcome(agreed, PATIENCE_S).verdict == "confirmed"

    refused = decide(world, "plane")
    world.agent("birch").reject(refused)
    assert world.agent("acme").wait_for_outcome(refused, PATIENCE_S).verdict == "rejected"

    said = world.agent("birch").reject(agreed)  # Having endorsed it.
    path = f"shared/entries?type=equivocation/1&min_size={said.index + 2}"
    evidence = world.get(path)["entries"]
    assert [each["index"] for each in evidence] == [said.index + 1]

    origin, root = deal(world)
    anchor = wait_for_anchor(world)
    assert (anchor["origin"], anchor["root"]) == (origin, root)

    wait_until_witnessed(world)
    archive = export(world, "shared")
    code, report = check(archive, world.trust, "--require", "L2", "--charter", charter)
    assert code == 0, report
    assert "VERIFIED. L2" in report
    assert "Members 3; proposals: 1 confirmed, 1 rejected" in report
    assert "Equivocations, kept as evidence: 1" in report
    counts = world.get("shared/proposals")["counts"]
    assert counts == {"open": 0, "confirmed": 1, "rejected": 1, "withdrawn": 0, "expired": 0}

    assert check_alone(world, "shared", archive).count("VERIFIED. L1") == 1
    local = check_alone(world, "deal-1", export(world, "deal-1"))
    assert "Members 2; proposals: 1 confirmed" in local


def check_alone(world: World, ledger: str, archive: Path) -> str:
    """Verify as somebody who believes one log and no witness."""
    trust = world.folder / f"{ledger}.policy"
    trust.write_text(f"log {world.get(ledger)['log_key']}\nquorum none\n")
    code, report = check(archive, trust)
    assert code == 0, report
    return report
