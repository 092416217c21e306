"""Changing entries on the command line, and looking at what holds of them."""

from __future__ import annotations

import json
import re

import pytest

from ledger_core import ids
from ledgergrid import MutabilitySetting, Signer
from ledgergrid.founding import format_founding, make_founding, make_policy, out_of
from tests.api.test_cli import Shell, served, shell
from tests.api.test_cli_governance import LEAF_HASH, Indoors, indoors

__all__ = ["indoors", "served", "shell"]  # The fixtures of the command line's own tests.

NOWHERE = ids.format_digest(bytes(32))
MEMBERS = ("house", "audit")
SETTING = MutabilitySetting(
    type="note/1",
    amend=("author",),
    roll_back=("author",),
    redact=("author",),
    erase=("author",),
    hold=("role:auditor",),
)


@pytest.fixture
def office(served: Shell) -> Shell:
    """Found a private ledger of two members, whose notes may be changed."""
    indoors = Indoors(served.folder, served.environment)
    members = {}
    for name in MEMBERS:
        indoors.ok("keygen", "--out", f"{name}.key", "--name", name)
        members[name] = [(Signer.load(served.folder / f"{name}.key").key, ["agent"])]
    founding = make_founding(
        members,
        [make_policy("erasure/1:note/1", rule=out_of(2, *MEMBERS))],
        roles={"audit": ["auditor"]},
        mutability=[SETTING],
    )
    (served.folder / "founding.json").write_bytes(format_founding(founding))
    indoors.ok("ledger", "create", "office", "--founding", "founding.json")
    indoors.environment["LEDGERGRID_LEDGER"] = "office"
    return indoors


def append(shell: Shell, body: object) -> tuple[int, str]:
    told = shell.ok(
        "append", "--type", "note/1", "--signer", "house.key", "--data", json.dumps(body)
    )
    done = json.loads(told)
    return done["index"], done["leaf_hash"]


def test_an_entry_is_amended_rolled_back_redacted_held_and_erased(office: Shell) -> None:
    own, auditor = ("--key", "house.key", "--yes"), ("--key", "audit.key", "--yes")
    first, leaf = append(office, {"subject": "order:7", "price": 10})
    amended = office.ok("amend", leaf, "--data", '{"subject":"order:7","price":12}', *own)
    assert f"entry {first} {leaf}" in amended
    assert "amend (entry 2)" in amended
    assert "state    amended; the version that counts: entry 2" in office.ok("effect", str(first))
    late = office.refused("amend", str(first), "--data", "1", *own)
    assert "the current version is sha256:" in late

    assert "roll back to 2 (entry " in office.ok("rollback", str(first), "--to", "2", *own)
    told = office.ok("effect", str(first))
    assert "state    in-effect" in told
    assert re.search(r"^\t2\tamendment\tentry 2\t-\t-$", told, re.MULTILINE)
    assert "state    amended" in office.ok("effect", str(first), "--at", "3")

    office.ok("redact", "2", "--visible-to", "auditor", *own)
    assert "body present" in office.ok("effect", "2")  # The operator's token.
    token = office.ok("token", "create", "reader", "--ledger", "office", "--data", "d").strip()
    (office.folder / "reader.token").write_text(token)
    hidden = office.ok("effect", "2", "--token-file", "reader.token")
    assert re.search(r"parts    body redacted by \d+", hidden)
    office.ok("unredact", "2", *own)

    office.ok("hold", str(first), "2", "--case", "case-1", *auditor)
    assert "held by  case-1" in office.ok("effect", str(first))
    erase = ("erase", str(first), "--with-versions", "--reason", "subject")
    assert "held by case-1" in office.refused(*erase, *own)
    office.ok("release", str(first), "2", "--case", "case-1", *auditor)
    said = office.ok(*erase, *own)
    assert said.count("parts body") == 2
    assert "proposed: erase for ever (subject)" in said
    proposal = LEAF_HASH.findall(said)[-1]
    office.ok("endorse", "office", proposal, *auditor)
    order = int(re.findall(r"\(entry (\d+)\), open", said)[0])
    assert f"body erased by {order}" in office.ok("effect", str(first))
    assert office.ok("subject", "order:7") == ""

    # Whether it is done already, behind that, is not for this test to say.
    listed = [line.split("\t") for line in office.ok("changes").splitlines()][:8]
    assert [line[1] for line in listed] == [
        "amendment", "rollback", "redaction", "redaction", "hold", "refusal", "hold", "erasure",
    ]  # fmt: skip
    assert listed[-1][2:6] == [
        "in-effect", "house", "house:approve,audit:approve", f"{first}:body,2:body",
    ]  # fmt: skip
    refused = office.ok("changes", "--kind", "refusal").split("\t")
    assert '"code":"no-standing"' in refused[-1]


def test_everything_about_a_subject_is_listed(office: Shell) -> None:
    first, leaf = append(office, {"subject": "user:42", "v": 1})
    append(office, {"subject": "user:43"})
    office.ok("amend", leaf, "--data", '{"subject":"user:42"}', "--key", "house.key", "--yes")
    lines = office.ok("subject", "user:42").splitlines()
    assert lines[0] == f"{first}\tamended\tnote/1\tbody present"
    assert lines[1].startswith("\t3\tamendment\tentry 3")
    assert lines[2] == "3\tin-effect\tnote/1\tbody present"
    assert office.ok("subject", "user:42", "--at", "3").startswith(f"{first}\tin-effect")


def test_nothing_is_signed_that_was_not_agreed_to(office: Shell) -> None:
    first, _ = append(office, {"v": 1})
    erase = ("erase", str(first), "--key", "house.key")
    shown = office.run(*erase, stdin="n\n")
    assert "nothing was signed" in shown.stderr
    assert "erase for ever (request)" in shown.stdout
    assert "You sign this, as ed25519:" in shown.stdout
    assert "--yes asks nobody" in office.run(*erase).stderr
    assert office.ok("changes") == ""


def test_who_may_change_what_is_set_and_listed(office: Shell) -> None:
    (office.folder / "actions.json").write_text('{"type":"agent.action/1","redact":["operator"]}')
    agents = ("mutability", "set", "actions.json", "--key", "house.key", "--yes")
    assert "is written by" in office.refused(*agents)
    office.ok("keygen", "--out", "boss.key")
    office.ok("key", "register", "boss.key", "--role", "operator")
    (office.folder / "last.json").write_text('{"type":"agent.action/1","for_ever":true}')
    own = ("--key", "boss.key", "--yes")
    assert "never" not in office.ok("mutability", "set", "actions.json", *own)
    assert "This can never be set again." in office.ok("mutability", "set", "last.json", *own)
    listed = office.ok("mutability", "list").splitlines()
    assert [line.split("\t")[1] for line in listed] == ["note/1", "agent.action/1"]
    assert "for ever" in office.refused("mutability", "set", "actions.json", *own)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("erase", "x", "--key", "none.key"), "x is no entry: give an index"),
        (("amend", "1", "--key", "none.key"), "give the payload with --data or --file"),
        (("erase", "1", "--reason", "whim", "--key", "none.key"), "--reason is one of request"),
        (("redact", NOWHERE, "--key", "none.key"), "no key at none.key"),
        (("mutability", "set", "bad.json", "--key", "own.key"), "is not a setting of mutability"),
        (("changes", "--url", "http://127.0.0.1:1"), "nothing answers"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    indoors: Shell, arguments: tuple[str, ...], said: str
) -> None:
    (indoors.folder / "bad.json").write_text('{"members":7}')
    Signer.make().save(indoors.folder / "own.key")
    assert said in indoors.refused(*arguments)
