"""Ledgers for each audience, and somebody of every kind who reads them.

Entry 1 of a ledger is what its audience is set for: a record of acme that names birch, and a
proposal that waits for delta. Cobalt is an auditor. Entry 2 is governance, which everyone sees, so
that a stream has an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from api.settings import Settings
from ledger_core.ledger import Ledger
from ledger_core.records.rules import Audience, AudienceSetting, MemberRule
from ledger_core.records.types.charter import (
    Founding,
    FoundingKey,
    FoundingMember,
    Kind,
)
from tests.api.live import ROUTE, Live, problem, running
from tests.support.assemblies import make_policy
from tests.support.ledgers import Author, appended
from tests.support.migrated import lay_migrated

AUDIENCES: tuple[Audience, ...] = get_args(Audience)
ACTION = "agent.action/1"
BODY: dict[str, str] = {"action": "pay", "status": "succeeded", "session_id": "s1"}
BODY_BYTES = msgspec.json.encode(BODY)
MEMBERS = {"acme": (), "birch": (), "cobalt": ("auditor",), "delta": ()}
PARTIES = {"auditor": "cobalt", "member": "delta", "party": "birch", "author": "acme"}
READERS = ("nobody", "stranger", "insider", *PARTIES, "operator")
SEES: dict[Audience, set[str]] = {
    "public": set(READERS),
    "members": {"insider", *PARTIES, "operator"},
    "roles": {"auditor", "operator"},
    "parties": {"party", "author", "operator"},
    "operator": {"operator"},
}
INDEX = 1


@dataclass
class Place:
    """A ledger, and what is hidden or shown in it."""

    ledger: Ledger
    leaf_hash: bytes
    leaf: bytes
    record_id: str


def found(live: Live, name: str, kind: Kind, *settings: AudienceSetting, **more: Any) -> Place:
    """Found a ledger with one record of acme that names birch."""
    origin = f"ledgergrid.example/{name}"
    acme, delta = Author(origin), Author(origin)
    policies = [make_policy(ACTION, rule=MemberRule("delta"), ttl_s=86_400)]
    if kind == "consortium":
        policies.append(make_policy("member/1", "policy/1", rule=MemberRule("delta")))
    founding = Founding(
        members=tuple(FoundingMember(member, roles) for member, roles in MEMBERS.items()),
        keys=(
            FoundingKey(acme.name, ("agent",), "acme"),
            FoundingKey(delta.name, ("agent",), "delta"),
        ),
        policies=tuple(policies),
        audiences=settings,
        **more,
    )
    ledger = live.service.ledgers.create(name, kind=kind, origin=origin, founding=founding)
    sealed = acme.seal(ACTION, {"body": BODY_BYTES}, parties=["birch"])
    done = appended(ledger.append([sealed])[0])
    assert done.index == INDEX
    ledger.append_as_operator("key/1", Author(origin).registration())
    return Place(ledger, done.leaf_hash, ledger.entry(INDEX).leaf, done.record_id)


def setting(audience: Audience, **parts: Audience) -> AudienceSetting:
    roles = ("auditor",) if "roles" in (audience, *parts.values()) else ()
    return AudienceSetting(type=ACTION, entry=audience, parts=parts, roles=roles)


Surface = Callable[[httpx.Client, Place], bool]
"""Says whether what is hidden or shown is to be seen there."""


@dataclass
class House:
    """A running service, a client of each reader, and a ledger for each audience."""

    live: Live
    readers: dict[str, httpx.Client]
    places: dict[Audience, Place]

    def who_sees(self, surface: Surface, place: Place) -> set[str]:
        return {name for name, http in self.readers.items() if surface(http, place)}


@contextmanager
def readers_of(live: Live) -> Iterator[dict[str, httpx.Client]]:
    """Give a client for each reader, with a token of its own or with none."""
    tokens = {name: live.token("reader", party=party) for name, party in PARTIES.items()}
    tokens |= {"stranger": live.token("reader", party="elsewhere")}
    tokens |= {"insider": live.tokens["reader"], "operator": live.tokens["admin"]}
    with ExitStack() as held:
        yield {name: held.enter_context(live.http(token=tokens.get(name))) for name in READERS}


@contextmanager
def living(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """Serve on the database that the fixture's parameter names, for all tests of a module."""
    folder = tmp_path_factory.mktemp("living")
    lay_migrated(folder / "ledger.db")
    url = f"sqlite:///{folder / 'ledger.db'}"
    with ExitStack() as held:
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            migrated = request.getfixturevalue("migrated_postgresql")
            url = held.enter_context(server.a_database(migrated))
        settings = Settings(data=folder / "data", database=SecretStr(url))
        yield held.enter_context(running(settings))


def read(http: httpx.Client, place: Place, path: str, **query: object) -> httpx.Response:
    return http.get(f"{ROUTE}/{place.ledger.name}/{path}", params=httpx.QueryParams(_text(query)))


def _text(query: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items()}


def is_found(answer: httpx.Response) -> bool:
    """Say whether something was there; what is hidden is 404 and nothing else."""
    if answer.status_code == 200:
        return True
    assert problem(answer) == (404, "not-found")
    return False
