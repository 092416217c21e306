"""The second act: three organisations that do not trust each other, two agents, two witnesses.

Each organisation holds its own keys, reads with a token of its own, and checks for itself what
it is asked to agree to. The operator runs the service and decides nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.demo import forger, service
from api.demo.service import Service
from api.demo.telling import check_offline, expect, say, step
from ledger_core import ids
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.vkey import parse_vkey
from ledger_core.policy.anchoring import check_anchored, parent_checkpoint_of, parse_anchored
from ledger_core.records.rules import CHANGES, MutabilitySetting
from ledgergrid import Ledger, Receipt, Signer
from ledgergrid.describing import describe
from ledgergrid.founding import format_founding, make_founding, make_policy, out_of

SHARED = "shared"
MEMBERS = ("acme", "birch", "cobalt")
_DEAL = "deal-1"
PATIENCE_S = 60.0


@dataclass
class Parties:
    """The organisations with their keys, and what was agreed on whom to believe."""

    folder: Path
    stewards: dict[str, Signer]
    agents: dict[str, Signer]
    log_keys: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    charter: str = ""

    @property
    def trust(self) -> Path:
        return self.folder / "shared.policy"

    def open(self, running: Service, member: str, ledger: str = SHARED) -> Ledger:
        """Open a ledger as a member's agent."""
        return Ledger(
            running.url,
            ledger=ledger,
            signer=self.agents[member],
            token=self.tokens[member],
            log_key=running.describe(ledger)["log_key"],
            state_dir=self.folder / f"{member}-state",
        )


def found(running: Service, folder: Path) -> Parties:
    """Let three organisations found a ledger whose rules none of them can change alone."""
    say("\n--- Second act: three organisations that do not trust each other ---")
    parties = Parties(
        folder,
        {name: Signer.make(name) for name in MEMBERS},
        {name: Signer.make(f"{name}-agent") for name in MEMBERS},
    )
    with step("acme, birch and cobalt make keys, and agree on a founding, in a file they all read"):
        file = folder / "founding.json"
        file.write_bytes(_founding(parties))
    with step("The operator founds the consortium with it; the charter is entry 0"):
        words = ("--kind", "consortium", "--founding", str(file))
        running.command("ledger", "create", SHARED, *words)
        described = running.describe(SHARED)
    parties.charter = described["charter"]
    parties.log_keys = [running.describe(name)["log_key"] for name in ("main", SHARED)]
    say("   Decisions, members and policies: 2 of (acme, birch, cobalt). Not the operator.")
    say("   Notes may be changed: by a proposal of their author's, and 2 of the three.")
    data = str(folder / "data")
    for name in MEMBERS:
        words = ("--party", name, "--data", data)
        parties.tokens[name] = service.command("token", "create", name, *words)
    return parties


def _founding(parties: Parties) -> bytes:
    members = {
        name: [(parties.stewards[name].key, ["steward"]), (parties.agents[name].key, ["agent"])]
        for name in MEMBERS
    }
    two = out_of(2, *MEMBERS)
    changes = [f"{change}:note/1" for change in CHANGES]
    policies = [
        make_policy("member/1", "policy/1", rule=two),
        make_policy("agent.decision/1", rule=two),
        make_policy(*changes, rule=two, name="changes-of-notes"),
    ]
    notes = MutabilitySetting(
        type="note/1",
        amend=("member",),
        roll_back=("member",),
        redact=("member",),
        erase=("member",),
        hold=("steward",),
    )
    return format_founding(make_founding(members, policies, mutability=[notes]))


# --- witnesses -------------------------------------------------------------------


@contextmanager
def witnessed(parties: Parties) -> Iterator[Service]:
    """Start two witnesses, and the service again, which asks them from now on."""
    folder = parties.folder
    with ExitStack() as running:
        with step("Two independent witnesses start: services of the same kind, run by others"):
            witnesses = [_start_witness(running, parties, name) for name in ("north", "south")]
        asked = folder / "witnesses.policy"
        asked.write_text(_policy_lines(witnesses))
        parties.trust.write_text(f"log {parties.log_keys[1]}\n{asked.read_text()}")
        with step("The operator names them and starts again; nothing is lost"):
            policy = {"LEDGERGRID_WITNESS_POLICY": str(asked)}
            main = service.running(folder, admin="demo-again", **policy)
            found = running.enter_context(main)
        yield found


def _start_witness(running: ExitStack, parties: Parties, name: str) -> Service:
    folder = parties.folder / name
    folder.mkdir()
    logs = folder / "logs"
    logs.write_text("".join(["logs/v0\n", *(f"vkey {key}\n" for key in parties.log_keys)]))
    settings = {
        "LEDGERGRID_WITNESS_NAME": f"witness.example/{name}",
        "LEDGERGRID_WITNESS_LOGS": str(logs),
    }
    return running.enter_context(service.running(folder, **settings))


def _policy_lines(witnesses: list[Service]) -> str:
    """Name each witness's Ed25519 key and address; both are needed."""
    lines = []
    for number, each in enumerate(witnesses, start=1):
        info = each.get("/api/v1/witness")
        lines.append(f"witness w{number} {info['vkeys'][0]} {info['submission_prefix']}")
    return "\n".join([*lines, "group both 2 w1 w2", "quorum both", ""])


# --- the story -------------------------------------------------------------------


def tell(running: Service, parties: Parties) -> None:
    """Tell it: a yes, a no, a lie, a deal between two, and an auditor who needs nobody."""
    with ExitStack() as closing:

        def open_(member: str, ledger: str = SHARED) -> Ledger:
            return closing.enter_context(parties.open(running, member, ledger))

        acme, birch, cobalt = (open_(name) for name in MEMBERS)
        agreed = _agree(acme, birch, parties)
        _refuse(acme, birch, cobalt)
        _contradict(running, birch, agreed)
        deal = _found_deal(running, parties)
        root = _deal(open_("acme", deal), open_("birch", deal))
        _show_anchor(running, root)
        _prove_outside(running, parties)
        _check_hidden(running, parties)
    _audit(running, parties)


def _agree(acme: Ledger, birch: Ledger, parties: Parties) -> Receipt:
    with step("acme's agent proposes a decision. It is durable, and not confirmed"):
        body = {"decision": "carrier", "chosen": "truck", "options": ["plane", "truck"]}
        receipt = acme.propose("agent.decision/1", body)
    say(f"   Entry {receipt.index} waits for {', '.join(_waited_for(acme, receipt))}.")
    with step("birch reads it, and checks everything it is about to sign"):
        proposal = birch.proposal(receipt)
    text = describe(proposal, "approve", parties.agents["birch"].key)
    say("\n".join(f"   | {line}" for line in text.split("\n")))
    with step("birch endorses it: two of three"):
        birch.endorse(proposal)
        outcome = acme.wait_for_outcome(receipt, PATIENCE_S)
    say(f"   {outcome.verdict.upper()} by entry {outcome.entry.index}, whose receipt was checked.")
    expect_verdict(outcome.verdict, "confirmed")
    return receipt


def _waited_for(client: Ledger, receipt: Receipt) -> list[str]:
    waited = ((name, client.pending(name)) for name in MEMBERS)
    return [name for name, all_ in waited if receipt.leaf_hash in {x.leaf_hash for x in all_}]


def _refuse(acme: Ledger, birch: Ledger, cobalt: Ledger) -> None:
    with step("acme proposes another one. birch and cobalt reject it"):
        receipt = acme.propose("agent.decision/1", {"decision": "carrier", "chosen": "plane"})
        birch.reject(receipt)
        cobalt.reject(receipt)
        outcome = acme.wait_for_outcome(receipt, PATIENCE_S)
    say(f"   {outcome.verdict.upper()}: {outcome.reason}. Acknowledged, kept, and not in effect.")
    expect_verdict(outcome.verdict, "rejected")


def expect_verdict(verdict: str, wanted: str) -> None:
    if verdict != wanted:
        raise SystemExit(f"the proposal was {verdict}, expected {wanted}")


def _contradict(running: Service, birch: Ledger, agreed: Receipt) -> None:
    with step("birch rejects, too late, what it had endorsed. That is evidence, made an entry"):
        size = birch.reject(agreed).index + 2
    path = f"/api/v1/ledgers/{SHARED}/entries?type=equivocation/1&min_size={size}"
    [entry] = running.get(path)["entries"]
    detail = running.get(f"/api/v1/ledgers/{SHARED}/entries/{entry['index']}")
    body = json.loads(ids.decode_base64(detail["parts"]["body"]["data"]))
    say(f"   Entry {entry['index']} names both words of birch, by hash; the decision stands:")
    say(f"     {body['first']}\n     {body['second']}")


def _found_deal(running: Service, parties: Parties) -> str:
    with step("Two agents, of acme and of birch, open a local ledger for one deal, theirs alone"):
        keys = {name: [(parties.agents[name].key, ["agent"])] for name in ("acme", "birch")}
        both = make_policy("closing/1", rule=out_of(2, "acme", "birch"))
        file = parties.folder / "deal.json"
        file.write_bytes(format_founding(make_founding(keys, [both], parties=keys)))
        words = ("--kind", "local", "--parent", SHARED, "--founding", str(file))
        running.command("ledger", "create", _DEAL, *words)
    return _DEAL


def _deal(acme: Ledger, birch: Ledger) -> str:
    """Let them deal and close; return the root of their ledger, as acme verified it."""
    with step("They deal; both agree that it is final, and the ledger closes"):
        offer = acme.append("note/1", {"offer": "two pallets", "price_eur": 620})
        birch.append("note/1", {"accepted": True}, refs=[("answers", offer)])
        closing = acme.propose("closing/1", {"reason": "delivered"})
        birch.endorse(closing)
        outcome = acme.wait_for_outcome(closing, PATIENCE_S)
        root = ids.format_digest(acme.checkpoint().root)
    expect_verdict(outcome.verdict, "confirmed")
    return root


def _show_anchor(running: Service, root: str) -> None:
    """Wait for the anchor; show that it holds the local ledger's root."""
    with step("The root of their ledger becomes an entry of the consortium's"):
        until = time.monotonic() + PATIENCE_S
        path = f"/api/v1/ledgers/{SHARED}/entries?type=anchor/1"
        while not (found := running.get(path)["entries"]):
            if time.monotonic() > until:
                raise SystemExit("the local ledger was not anchored")
            time.sleep(0.1)
        detail = running.get(f"/api/v1/ledgers/{SHARED}/entries/{found[0]['index']}")
        anchor = json.loads(ids.decode_base64(detail["parts"]["body"]["data"]))
    if anchor["root"] != root:
        raise SystemExit("the anchor is not the root that the parties verified")
    say(f"   Entry {found[0]['index']} anchors {anchor['origin']}, root {root}")


def _prove_outside(running: Service, parties: Parties) -> None:
    """Check an entry of the deal as somebody who believes the consortium's log and no other."""
    with step(
        "acme shows one entry of the deal to somebody who knows only the consortium's log key"
    ):
        path = f"/api/v1/ledgers/{_DEAL}/entries/1"
        shown = running.ask(path, parties.tokens["acme"])
        proof = running.ask(f"{path}/anchored-receipt", parties.tokens["acme"])
        receipt = parse_anchored(proof.content)
        log_key = parse_vkey(parties.log_keys[1])
        checkpoint = verify_checkpoint(parent_checkpoint_of(receipt), log_key)
        leaf = ids.decode_base64(shown.json()["leaf"])
        anchor = check_anchored(receipt, leaf, checkpoint)
    say(f"   Proved: entry 1 of {anchor.origin}, under the consortium's own checkpoint.")


def _check_hidden(running: Service, parties: Parties) -> None:
    """Ask for the deal as somebody who is no party to it."""
    answer = running.ask(f"/api/v1/ledgers/{_DEAL}", parties.tokens["cobalt"])
    if answer.status_code != 404:
        raise SystemExit("cobalt sees a ledger that it is no party to")
    say("   cobalt, no party to it, asks for their ledger: 404, there is no such thing.")


def _audit(running: Service, parties: Parties) -> None:
    archive, forged = parties.folder / "shared.zip", parties.folder / "shared-forged.zip"
    with step("Both witnesses cosign; the auditor downloads the consortium's ledger"):
        wait_until_witnessed(running)
        running.command("export", "--ledger", SHARED, "--out", str(archive))
    with step("and verifies it offline, believing the log's key and both witnesses"):
        code, report = check_offline(archive, parties.trust)
        say(report)
        expect(code, 0)
        if "VERIFIED. L2" not in report:
            raise SystemExit("the archive did not reach L2")
    with step("Somebody rewrites the rejection in a copy: rejected becomes confirmed"):
        forger.change_text(archive, forged, b'"verdict":"rejected"', b'"verdict":"confirmed"')
        code, report = check_offline(forged, parties.trust)
        say("\n".join(line for line in report.split("\n") if line.startswith("FAIL")))
        say(report[report.index("NOT VERIFIED") : report.index("Not proven")])
        expect(code, 1)
    say("Nothing became final without those concerned, and whoever says otherwise is caught.")


def wait_until_witnessed(running: Service) -> None:
    until, path = time.monotonic() + PATIENCE_S, f"/api/v1/ledgers/{SHARED}/witnesses"
    while (status := running.get(path))["witnessed"] != status["size"]:
        if time.monotonic() > until:
            raise SystemExit(f"not witnessed: {status}")
        time.sleep(0.1)
