"""Who sees a part that was redacted for all but auditors: every audience, surface and reader.

A redaction narrows: of those who saw the part, whoever holds the role, and the operator. The
entry itself is seen as before.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from ledger_core import ids
from ledger_core.records.rules import Audience, MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.redaction import Redact
from tests.api.audiences import (
    ACTION,
    AUDIENCES,
    INDEX,
    SEES,
    House,
    Place,
    Surface,
    found,
    is_found,
    living,
    read,
    readers_of,
    setting,
)
from tests.api.live import ROUTE, Live, problem

SEES_REDACTED = {"auditor", "operator"}
SETTING = MutabilitySetting(type=ACTION, redact=("operator",))
SIZE = 4
"""Charter, action, a key, and the redaction."""


def found_redacted(live: Live, audience: Audience) -> Place:
    shown_to = setting(audience, body=audience)
    place = found(live, f"hidden-{audience}", "public", shown_to, mutability=(SETTING,))
    targets = (Parts(ids.format_digest(place.leaf_hash), ("body",)),)
    body = msgspec.json.encode(Redact(targets, ("auditor",)))
    place.ledger.append_as_operator("redaction/1", body)
    return place


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Give one service on each kind of database, for every cell of the matrix."""
    with living(request, tmp_path_factory) as live, readers_of(live) as readers:
        yield House(live, readers, {each: found_redacted(live, each) for each in AUDIENCES})


# --- surfaces: each says whether the part is to be seen, or found, there -----------


def in_entry(http: httpx.Client, place: Place) -> bool:
    answer = read(http, place, f"entries/{INDEX}")
    return is_found(answer) and _is_shown(answer.json()["parts"]["body"])


def in_effect(http: httpx.Client, place: Place) -> bool:
    answer = read(http, place, f"entries/{INDEX}/effect")
    if not is_found(answer):
        return False
    told = answer.json()
    # It waits for somebody's agreement: no version counts, and the part is told all the same.
    assert (told["state"], told["current"]) == ("waiting", None)
    return bool(told["parts"]["body"]["status"] == "present")


def _is_shown(body: dict[str, object]) -> bool:
    is_shown = body["status"] == "present"
    assert (body["data"] is not None, body["salt"] is not None) == (is_shown, is_shown)
    return is_shown


def in_list(http: httpx.Client, place: Place) -> bool:
    listed = read(http, place, "entries", type=ACTION, min_size=SIZE).json()["entries"]
    return any(each["parts"]["body"]["status"] == "present" for each in listed)


def by_column(http: httpx.Client, place: Place) -> bool:
    query = {"type": ACTION, "session_id": "s1", "min_size": SIZE}
    return bool(read(http, place, "entries", **query).json()["entries"])


def by_subject(http: httpx.Client, place: Place) -> bool:
    return bool(read(http, place, "subjects/session:s1", min_size=SIZE).json()["entries"])


def live_events(http: httpx.Client, place: Place) -> bool:
    with http.stream("GET", f"{ROUTE}/{place.ledger.name}/stream", params={"from": 1}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told = json.loads(line[6:])
                is_it = told["index"] == INDEX
                return bool(is_it and told["parts"]["body"]["status"] == "present")
    raise AssertionError("the stream ended")


def in_archive(http: httpx.Client, place: Place) -> bool:
    answer = read(http, place, "archive", end=SIZE)
    if "authorization" not in http.headers:
        assert problem(answer) == (401, "unauthorized")
        return False
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        return b'"s1"' in b"".join(files.read(name) for name in files.namelist())


SURFACES: dict[str, Surface] = {
    "entry": in_entry,
    "effect": in_effect,
    "list": in_list,
    "by column": by_column,
    "by subject": by_subject,
    "live": live_events,
    "archive": in_archive,
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_redacted_part_is_seen_by_the_named_roles_of_its_audience_and_nobody_else(
    house: House, audience: Audience, surface: str
) -> None:
    seen = house.who_sees(SURFACES[surface], house.places[audience])
    assert seen == SEES[audience] & SEES_REDACTED


@pytest.mark.parametrize("path", [f"entries/{INDEX}", f"entries/{INDEX}/receipt"])
@pytest.mark.parametrize("audience", AUDIENCES)
def test_the_entry_and_its_receipt_are_seen_as_before(
    house: House, audience: Audience, path: str
) -> None:
    def shown(http: httpx.Client, place: Place) -> bool:
        return is_found(read(http, place, path))

    assert house.who_sees(shown, house.places[audience]) == SEES[audience]
