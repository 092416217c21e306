"""Members, policies and agreements on the command line, against a service of its own.

The service is a process; the commands run in this one. That they do as much in a process of their
own is shown in test_cli.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from api.cli import main
from ledger_core import ids
from ledgergrid import Signer
from ledgergrid.founding import format_founding, make_founding, make_policy, out_of
from tests.api.test_cli import Shell, served, shell

__all__ = ["served", "shell"]  # The fixtures of the command line's own tests.

MEMBERS = ("acme", "birch", "cobalt")
LEAF_HASH = re.compile(r"sha256:[A-Za-z0-9_-]+")
NOWHERE = ids.format_digest(bytes(32))


class Indoors(Shell):
    """Runs each command in this process, and tells of it as if it had been one of its own."""

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        words = ["ledgergrid", *arguments]
        environment = {**dict.fromkeys(os.environ), **self.environment}
        with pytest.MonkeyPatch.context() as patch, CliRunner().isolation(stdin, environment) as io:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", words)
            try:
                main()
                code = 0
            except SystemExit as left:
                if isinstance(left.code, str):
                    print(left.code, file=sys.stderr)
                code = left.code if isinstance(left.code, int) else left.code is not None
            sys.stdout.flush()
            sys.stderr.flush()
            out, err = (stream.getvalue().decode() for stream in io[:2])
        return subprocess.CompletedProcess(words, code, out, err)


@pytest.fixture
def indoors(shell: Shell) -> Shell:
    return Indoors(shell.folder, shell.environment)


@pytest.fixture
def shared(served: Shell) -> Shell:
    """Found a consortium of three, whose stewards' and agents' keys lie in files."""
    served = Indoors(served.folder, served.environment)
    members = {}
    for name in MEMBERS:
        served.ok("keygen", "--out", f"{name}.key", "--name", name)
        served.ok("keygen", "--out", f"{name}-agent.key", "--name", f"{name}-agent")
        keys = [Signer.load(served.folder / f"{name}{end}.key").key for end in ("", "-agent")]
        members[name] = [(keys[0], ["steward"]), (keys[1], ["agent"])]
    rule = out_of(2, *MEMBERS)
    policies = [
        make_policy("member/1", "policy/1", rule=rule, ttl_s=600),
        make_policy("agent.decision/1", rule=rule, ttl_s=600),
    ]
    founding = make_founding(members, policies)
    (served.folder / "founding.json").write_bytes(format_founding(founding))
    made = served.ok(
        "ledger", "create", "shared", "--kind", "consortium", "--founding", "founding.json"
    )
    assert "consortium" in made
    served.environment["LEDGERGRID_LEDGER"] = "shared"
    return served


def propose(shell: Shell, chosen: str = "north") -> str:
    body = json.dumps({"decision": "route", "chosen": chosen})
    told = shell.ok(
        "append", "--type", "agent.decision/1", "--signer", "acme-agent.key", "--data", body
    )
    found: str = json.loads(told)["leaf_hash"]
    return found


def test_a_member_endorses_what_it_was_shown(shared: Shell) -> None:
    proposal = propose(shared)
    assert shared.ok("pending", "--member", "birch").split("\t")[0] == proposal
    assert shared.ok("pending", "--member", "acme") == ""
    endorse = ("endorse", "shared", proposal, "--key", "birch-agent.key")
    assert "nothing was signed" in shared.run(*endorse, stdin="n\n").stderr
    assert "--yes asks nobody" in shared.run(*endorse).stderr
    shown = shared.ok(*endorse, stdin="y\n")
    for part in (proposal, '"chosen": "north"', "2 of (acme, birch, cobalt)", "You APPROVE it"):
        assert part in shown
    assert shown.endswith("the proposal is confirmed\n")
    listed = shared.ok("proposals", "--state", "confirmed").strip().split("\t")
    assert (listed[0], listed[2], listed[3]) == (proposal, "agent.decision/1", "acme")
    assert listed[5] == "acme:approve,birch:approve"
    late = shared.ok("endorse", "shared", proposal, "--key", "cobalt-agent.key", "--yes")
    assert "kept and not counted" in late


def test_a_proposal_is_rejected_or_withdrawn(shared: Shell) -> None:
    proposal = propose(shared)
    reject = ("endorse", "shared", proposal, "--reject", "--yes", "--key")
    assert "the proposal is open" in shared.ok(*reject, "birch-agent.key")
    said = shared.ok(*reject, "cobalt-agent.key")
    assert "You REJECT it" in said
    assert "the proposal is rejected" in said
    second = propose(shared, "south")
    refused = shared.refused("withdraw", "shared", second, "--key", "birch-agent.key")
    assert "withdrawn by" in refused
    assert "withdrawn" in shared.ok("withdraw", "shared", second, "--key", "acme-agent.key")
    assert shared.ok("proposals", "--state", "withdrawn").startswith(second)
    assert shared.ok("proposals") == ""


def test_a_fourth_member_is_admitted_by_two_of_three(shared: Shell) -> None:
    shared.ok("keygen", "--out", "delta.key", "--name", "delta")
    origin = shared.ok("ledger", "list").split("shared\t")[1].split("\t")[2].split()[0]
    prove = ("key", "prove", "delta.key", "--origin", origin, "--role", "steward")
    shared.ok(*prove, "--out", "delta.offer")
    admit = ("member", "admit", "delta", "--offer", "delta.offer", "--role", "auditor")
    said = shared.ok(*admit, "--key", "acme.key")
    assert "proposed: admit: delta" in said
    [proposal] = set(LEAF_HASH.findall(said))
    assert "delta" not in shared.ok("members")
    shared.ok("endorse", "shared", proposal, "--key", "birch.key", "--yes")
    listed = shared.ok("members")
    assert "delta\tadmitted\tauditor\t" in listed
    assert Signer.load(shared.folder / "delta.key").key in listed
    for words in (("suspend",), ("grant", "carrier"), ("resume",), ("withdraw", "auditor")):
        change = ("member", words[0], "delta", *words[1:], "--key", "acme.key")
        [proposal] = set(LEAF_HASH.findall(shared.ok(*change)))
        shared.ok("endorse", "shared", proposal, "--key", "cobalt.key", "--yes")
    assert "delta\tadmitted\tcarrier\t" in shared.ok("members")
    [proposal] = set(LEAF_HASH.findall(shared.ok("member", "remove", "delta", "--key", "acme.key")))
    shared.ok("endorse", "shared", proposal, "--key", "birch.key", "--yes")
    assert "delta\tremoved" in shared.ok("members")


def test_a_policy_is_set_and_lifted_under_the_one_in_force(shared: Shell) -> None:
    (shared.folder / "notes.json").write_text(
        '{"name":"notes","governs":["note/1"],"rule":{"rule":"member","member":"cobalt"},'
        '"count_by":"member","author_counts":false,"ttl_s":60}'
    )
    said = shared.ok("policy", "set", "notes.json", "--key", "acme.key")
    [proposal] = set(LEAF_HASH.findall(said))
    shared.ok("endorse", "shared", proposal, "--key", "birch.key", "--yes")
    assert "notes: note/1: cobalt\n" in shared.ok("policy", "list")
    said = shared.ok("policy", "lift", "note/1", "--key", "acme.key")
    [proposal] = set(LEAF_HASH.findall(said))
    shared.ok("endorse", "shared", proposal, "--key", "cobalt.key", "--yes")
    assert "note/1" not in shared.ok("policy", "list")
    assert "by quorum, always" in shared.refused("policy", "lift", "member/1", "--key", "acme.key")


def test_a_steward_keeps_the_keys_of_its_member(shared: Shell) -> None:
    for name in ("second", "third"):
        shared.ok("keygen", "--out", f"{name}.key")
    of_acme = ("--member", "acme", "--by", "acme.key")
    assert "for acme (entry 1)" in shared.ok("key", "register", "second.key", *of_acme)
    note = ("append", "--type", "note/1", "--data", "1", "--signer")
    assert json.loads(shared.ok(*note, "second.key"))["index"] == 2
    assert "(entry 3)" in shared.ok("key", "rotate", "second.key", "--new", "third.key")
    assert "revoked by entry 3" in shared.refused(*note, "second.key")
    assert json.loads(shared.ok(*note, "third.key"))["index"] == 4
    stranger = ("key", "revoke", "third.key", "--by", "birch.key")
    assert "not this author's" in shared.refused(*stranger)
    lost = ("key", "revoke", "third.key", "--reason", "lost", "--suspect-since", "4")
    shared.ok(*lost, "--by", "acme.key")
    assert "revoked by 5" in shared.ok("members")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("endorse", "shared", "7", "--key", "none.key"), "`ledgergrid proposals` lists them"),
        (("withdraw", "shared", "7", "--key", "none.key"), "`ledgergrid proposals` lists them"),
        (("endorse", "shared", NOWHERE, "--key", "none.key"), "no key at none.key"),
        (("key", "register", "a.key", "--member", "acme"), "takes both"),
        (("key", "revoke", "--key", "ed25519:x", "--suspect-since", "3"), "give --by KEY_FILE"),
        (("key", "prove", "own.key", "--origin", "a/b", "--role", "king"), "steward"),
        (("ledger", "create", "x", "--founding", "none.json"), "none.json: No such file"),
        (("ledger", "create", "x", "--founding", "bad.json"), "bad.json is not a founding"),
        (("policy", "set", "bad.json", "--key", "own.key"), "bad.json is not a policy"),
        (("member", "admit", "x", "--offer", "bad.json", "--key", "own.key"), "prints"),
        (("members", "--url", "http://127.0.0.1:1"), "nothing answers"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    indoors: Shell, arguments: tuple[str, ...], said: str
) -> None:
    (indoors.folder / "bad.json").write_text('{"members":7,"name":[]}')
    Signer.make().save(indoors.folder / "own.key")
    assert said in indoors.refused(*arguments)
