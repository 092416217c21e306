"""A ledger that lies about a proposal gets no signature on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.settings import Settings
from ledger_core import ids
from ledger_core.errors import LedgerGridError
from ledgergrid import ForgedEntryError, Ledger, Receipt
from ledgergrid.founding import make_policy, out_of
from ledgergrid.wire import Answer, Ask, NoAnswerError
from tests.api.live import Live, running
from tests.sdk.parties import TWO, Parties

Rewrite = Callable[[Any], None]
OTHER = ids.format_digest(bytes(32))


class Lied(Ledger):
    """A client whose ledger's answers are changed on the way, as a bad ledger would."""

    lies: list[tuple[str, Rewrite]]
    posted: int = 0

    def _fetch(self, request: Ask) -> Answer | NoAnswerError:
        self.posted += request.method == "POST"
        answer = super()._fetch(request)
        assert isinstance(answer, Answer)
        for path, rewrite in self.lies:
            if request.method == "GET" and path in request.path and "receipt" not in request.path:
                told = json.loads(answer.content)
                rewrite(told)
                answer = Answer(answer.status, answer.headers, json.dumps(told).encode())
        return answer


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Settings(data=tmp_path_factory.mktemp("service"))) as live:
        yield live


@pytest.fixture
def parties(live: Live, tmp_path: Path) -> Iterator[Parties]:
    policies = [
        make_policy("member/1", "policy/1", rule=TWO),
        make_policy("agent.decision/1", rule=TWO, ttl_s=600),
        make_policy("note/1", rule=out_of(1, "acme"), author_counts=False, ttl_s=600),
    ]
    name = f"shared-{len(live.service.ledgers.names())}"
    found = Parties(live, tmp_path, *policies, name=name)
    yield found
    found.close()


def lied_to(parties: Parties, *lies: tuple[str, Rewrite]) -> Lied:
    client: Lied = parties.open(parties.agents["birch"], Lied)
    client.lies = list(lies)
    return client


def decide(parties: Parties, chosen: str = "north") -> Receipt:
    body = {"decision": "route", "chosen": chosen}
    return parties.agent("acme").propose("agent.decision/1", body)


def put(*path: str, value: Any) -> Rewrite:
    def rewrite(told: Any) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    return rewrite


def lower(told: Any) -> None:
    """Show every policy with a weaker rule, under the hash it had."""
    for each in told["policies"]:
        each["policy"]["rule"]["at_least"] = 1


def swap(told: Any) -> None:
    """Show only the policy over notes."""
    told["policies"] = [each for each in told["policies"] if each["governs"] == ["note/1"]]


B64 = ids.encode_base64
LIES: dict[str, tuple[str, Rewrite]] = {
    "another payload": ("/entries/", put("parts", "body", "data", value=B64(b'{"a":1}'))),
    "another salt": ("/entries/", put("parts", "body", "salt", value=B64(bytes(32)))),
    "a payload that is withheld": ("/entries/", put("parts", "body", "status", value="withheld")),
    "no payload at all": ("/entries/", put("parts", value={})),
    "another leaf": ("/entries/", put("leaf", value=B64(b"ledgergrid/entry@v1\n"))),
    "a policy whose rule was lowered": ("/policies", lower),
    "another type's policy": ("/policies", swap),
    "a later end": ("/proposals/", put("ends_at", value="2999-01-01T00:00:00.000Z")),
    "another index": ("/proposals/", put("index", value=0)),
    "another policy's hash": ("/proposals/", put("policy", value=OTHER)),
}


@pytest.mark.parametrize("lie", sorted(LIES))
@pytest.mark.parametrize("decision", ["endorse", "reject"])
def test_what_does_not_verify_is_never_signed(parties: Parties, lie: str, decision: str) -> None:
    proposal, client = decide(parties), lied_to(parties, LIES[lie])
    size = parties.core.size()
    with pytest.raises(ForgedEntryError):
        getattr(client, decision)(proposal.leaf_hash)
    assert (client.posted, parties.core.size()) == (0, size)


def test_another_proposal_in_the_place_of_the_one_asked_for_is_noticed(parties: Parties) -> None:
    asked, other = decide(parties, "north"), decide(parties, "south")
    client = lied_to(parties, ("/proposals/", put("index", value=other.index)))
    with pytest.raises(ForgedEntryError, match=asked.leaf_hash):
        client.endorse(asked)


def test_the_parts_of_a_bundle_are_checked_like_any_proposal(parties: Parties) -> None:
    acme = parties.agent("acme")
    parts = [decide(parties), decide(parties, "south")]
    bundle = acme.bundle(parts)
    lie = put("parts", "body", "data", value=B64(b"{}"))
    client = lied_to(parties, (f"/entries/{parts[1].index}", lie))
    with pytest.raises(ForgedEntryError, match=f"entry {parts[1].index}"):
        client.endorse(bundle)
    assert client.posted == 0
    later = lied_to(parties, (f"/proposals/{bundle.leaf_hash}", put("policy", value=OTHER)))
    with pytest.raises(ForgedEntryError, match="parts' policies"):
        later.endorse(bundle)


@pytest.mark.parametrize(
    ("path", "lie"),
    [
        ("/proposals/", put("state", value="rejected")),
        ("/proposals/", put("outcome", value=None)),
        ("/proposals/", put("outcome", value=0)),
    ],
    ids=["another verdict", "no outcome", "an entry that is no outcome"],
)
def test_a_forged_outcome_is_not_believed(parties: Parties, path: str, lie: Rewrite) -> None:
    proposal = decide(parties)
    parties.agent("birch").endorse(proposal)
    client = lied_to(parties, (path, lie))
    with pytest.raises(ForgedEntryError):
        client.wait_for_outcome(proposal)


def test_the_outcome_of_another_proposal_is_not_believed(parties: Parties) -> None:
    proposal, other = decide(parties), decide(parties, "south")
    parties.agent("birch").endorse(other)
    ended = parties.agent("acme").wait_for_outcome(other)

    def claim(told: Any) -> None:
        if told["leaf_hash"] == proposal.leaf_hash:
            told.update(state="confirmed", outcome=ended.entry.index)

    client = lied_to(parties, ("/proposals/", claim))
    with pytest.raises(ForgedEntryError, match="does not join"):
        client.wait_for_outcome(proposal)


@pytest.mark.parametrize("answer", ["[]", '{"leaf":7}', "nonsense", '{"policies":[{}]}'])
def test_an_answer_that_is_none_is_no_proposal(parties: Parties, answer: str) -> None:
    proposal = decide(parties)

    class Garbled(Ledger):
        def _fetch(self, request: Ask) -> Answer | NoAnswerError:
            found = super()._fetch(request)
            is_meant = "/entries/" in request.path or "/policies" in request.path
            return Answer(200, {}, answer.encode()) if is_meant else found

    client = parties.open(parties.agents["birch"], Garbled, patience_s=0.2)
    with pytest.raises(LedgerGridError, match=r"not what|not an entry"):
        client.proposal(proposal)
