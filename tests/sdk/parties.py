"""Three organisations at a running service, each with clients of its own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ledger_core.formats.vkey import format_vkey
from ledger_core.records.rules import Policy
from ledger_core.records.types.charter import Kind
from ledgergrid import Ledger, Signer
from ledgergrid.founding import make_founding, make_policy, out_of
from tests.api.live import Live

MEMBERS = ("acme", "birch", "cobalt")
TWO = out_of(2, *MEMBERS)


class Parties:
    """A consortium: a steward and an agent for each member, and a ledger for each key."""

    def __init__(
        self,
        live: Live,
        folder: Path,
        *policies: Policy,
        name: str = "shared",
        kind: Kind = "consortium",
        client: type[Ledger] = Ledger,
    ) -> None:
        self.stewards = {member: Signer.make() for member in MEMBERS}
        self.agents = {member: Signer.make() for member in MEMBERS}
        founding = make_founding(
            {
                m: [(self.stewards[m].key, ["steward"]), (self.agents[m].key, ["agent"])]
                for m in MEMBERS
            },
            policies
            or (
                make_policy("member/1", "policy/1", rule=TWO),
                make_policy("agent.decision/1", rule=TWO, ttl_s=600),
            ),
        )
        self.live, self.name, self._folder, self._client = live, name, folder, client
        self.core = live.service.ledgers.create(name, kind=kind, founding=founding)
        self.log_key = format_vkey(self.core.log_key)
        self.tokens = {
            member: live.service.tokens.create(f"{name}-{member}", "reader", party=member)
            for member in MEMBERS
        }
        self._closing = ExitStack()

    def open(self, signer: Signer, client: type[Any] | None = None, **settings: Any) -> Any:
        """Open a client with a memory of its own; it is closed with the parties.

        It reads as the member whose key it has; as acme, if it is nobody's yet.
        """
        keys = (*self.stewards.items(), *self.agents.items())
        member = next((name for name, each in keys if each.key == signer.key), MEMBERS[0])
        given: dict[str, Any] = {
            "token": self.tokens[member],
            "log_key": self.log_key,
            "state_dir": self._folder / signer.key[-12:],
            "patience_s": 5.0,
        }
        kind = client or self._client
        opened = kind(self.live.url, ledger=self.name, signer=signer, **(given | settings))
        if isinstance(opened, Ledger):
            self._closing.callback(opened.close)
        return opened

    def agent(self, member: str) -> Ledger:
        opened: Ledger = self.open(self.agents[member])
        return opened

    def steward(self, member: str) -> Ledger:
        opened: Ledger = self.open(self.stewards[member])
        return opened

    def close(self) -> None:
        self._closing.close()
