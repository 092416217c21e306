"""Who sees what over HTTP: every audience, on every surface, for every reader.

One ledger for each audience; entry 1 is what the audience is set for: a record of acme that
names birch, and a proposal that waits for delta. Cobalt is an auditor. Entry 2 is governance,
which everyone sees, so that a stream has an end.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from api.routes import stream
from ledger_core import ids
from ledger_core.formats.submission import Submission, format_submission
from ledger_core.merkle.tiles import parse_bundle
from ledger_core.records.rules import Audience
from ledger_core.records.types.charter import (
    Kind,
    Parent,
)
from tests.api.audiences import (
    ACTION,
    AUDIENCES,
    BODY_BYTES,
    INDEX,
    MEMBERS,
    PARTIES,
    READERS,
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
from tests.api.live import Author as LiveAuthor
from tests.support.ledgers import Author, appended


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Give one service on each kind of database, for every cell of the matrix."""
    with living(request, tmp_path_factory) as live, readers_of(live) as readers:
        places = {
            audience: found(live, f"to-{audience}", "public", setting(audience, body=audience))
            for audience in AUDIENCES
        }
        yield House(live, readers, places)


# --- surfaces: each says whether the entry is to be seen there ---------------------


def listed(**query: object) -> Surface:
    def look(http: httpx.Client, place: Place) -> bool:
        filters = {name: _filled(value, place) for name, value in query.items()}
        answer = read(http, place, "entries", **filters)
        assert answer.status_code == 200, answer.text
        return INDEX in [each["index"] for each in answer.json()["entries"]]

    return look


def _filled(value: object, place: Place) -> object:
    known = {"LEAF": ids.format_digest(place.leaf_hash), "ID": place.record_id}
    return known.get(str(value), value)


def at(path: str, **query: object) -> Surface:
    return lambda http, place: is_found(read(http, place, path, **query))


def in_static_log(path: str) -> Surface:
    return lambda http, place: is_found(http.get(f"/log/{place.ledger.name}/tile/{path}"))


def live_events(http: httpx.Client, place: Place) -> bool:
    with http.stream("GET", f"{ROUTE}/{place.ledger.name}/stream") as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("id: ") and line != "id: 0":
                return int(line[4:]) == INDEX
    raise AssertionError("the stream ended")


def in_archive(http: httpx.Client, place: Place) -> bool:
    answer = read(http, place, "archive", end=3)
    if "authorization" not in http.headers:
        assert problem(answer) == (401, "unauthorized")
        return False
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        leaves = parse_bundle(files.read("entries/000000000000.bundle"))
        everything = b"".join(files.read(name) for name in files.namelist())
    assert len(leaves) == 3
    is_shown = leaves[INDEX] == place.leaf
    # Not in another file either: neither its record nor what was paid.
    assert (place.record_id.encode() in everything) == is_shown
    assert (b'"s1"' in everything) == is_shown
    return is_shown


def counted(http: httpx.Client, place: Place) -> bool:
    answer = read(http, place, "proposals").json()
    shown = [each["index"] for each in answer["proposals"]]
    assert answer["counts"]["open"] == len(shown)
    return shown == [INDEX]


def pending(http: httpx.Client, place: Place) -> bool:
    return bool(read(http, place, "pending", member="delta").json()["proposals"])


def as_proposal(http: httpx.Client, place: Place) -> bool:
    return is_found(read(http, place, f"proposals/{ids.format_digest(place.leaf_hash)}"))


SURFACES: dict[str, Surface] = {
    "list": listed(min_size=3),
    "newest first": listed(min_size=3, order="desc"),
    "by type": listed(min_size=3, type=ACTION),
    "by column": listed(min_size=3, type=ACTION, session_id="s1"),
    "by id": listed(id="ID"),
    "by leaf hash": listed(min_size=3, leaf_hash="LEAF"),
    "entry": at(f"entries/{INDEX}"),
    "receipt": at(f"entries/{INDEX}/receipt"),
    "inclusion proof": at("proofs/inclusion", index=INDEX),
    "entry bundle": in_static_log("entries/000.p/2"),
    "live": live_events,
    "archive": in_archive,
    "counts": counted,
    "pending": pending,
    "proposal": as_proposal,
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("audience", AUDIENCES)
def test_an_entry_is_seen_by_its_audience_and_nobody_else(
    house: House, audience: Audience, surface: str
) -> None:
    expected = SEES[audience] - ({"nobody"} if surface == "archive" else set())
    assert house.who_sees(SURFACES[surface], house.places[audience]) == expected


@pytest.mark.parametrize("audience", AUDIENCES)
def test_hash_tiles_and_checkpoints_are_for_all_who_see_the_ledger(
    house: House, audience: Audience
) -> None:
    place = house.places[audience]
    log = f"/log/{place.ledger.name}"
    for reader, http in house.readers.items():
        assert place.leaf_hash in http.get(f"{log}/tile/0/000.p/3").content, reader
        assert http.get(f"{log}/checkpoint").status_code == 200, reader
        assert http.get(f"{log}/tile/entries/000.p/1").status_code == 200, reader


# --- ledgers of the other kinds ----------------------------------------------------

DEFAULTS: dict[Kind, tuple[set[str], set[str]]] = {
    "private": ({"insider", *PARTIES, "operator"}, {"insider", *PARTIES, "operator"}),
    "consortium": ({"insider", *PARTIES, "operator"}, {*PARTIES, "operator"}),
    "local": ({*PARTIES, "operator"}, {"party", "author", "operator"}),
}
"""For each kind who sees the ledger with its governance, and who an entry."""


@pytest.fixture(scope="module")
def kinds(house: House) -> dict[Kind, Place]:
    parent = house.live.main
    local = {
        "parties": ("acme", "birch"),
        "parent": Parent(parent.origin, ids.format_digest(parent.charter)),
    }
    return {
        kind: found(house.live, f"a-{kind}", kind, **(local if kind == "local" else {}))
        for kind in DEFAULTS
    }


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_kind_of_ledger_decides_who_sees_it_and_its_entries(
    house: House, kinds: dict[Kind, Place], kind: Kind, reader: str
) -> None:
    http, place = house.readers[reader], kinds[kind]
    ledger, entries = DEFAULTS[kind]
    hidden = (401, "unauthorized") if reader == "nobody" else (404, "not-found")
    if reader not in ledger:
        for path in ("", "entries", "entries/0", "members", "proposals", "checkpoint", "stream"):
            answer = http.get(f"{ROUTE}/{place.ledger.name}/{path}".rstrip("/"))
            assert problem(answer) == hidden
        assert problem(http.get(f"/log/{place.ledger.name}/checkpoint")) == hidden
        return
    assert read(http, place, "entries/0").json()["parts"]["body"]["status"] == "present"
    assert len(read(http, place, "members").json()["members"]) == len(MEMBERS)
    assert is_found(read(http, place, f"entries/{INDEX}")) == (reader in entries)
    assert counted(http, place) == (reader in entries)


def test_a_list_of_ledgers_names_those_one_sees(house: House, kinds: dict[Kind, Place]) -> None:
    for reader, http in house.readers.items():
        names = {each["name"] for each in http.get(ROUTE, params={"limit": 1000}).json()["ledgers"]}
        for kind, (ledger, _) in DEFAULTS.items():
            assert (kinds[kind].ledger.name in names) == (reader in ledger)


def test_a_token_bound_elsewhere_reads_like_nobody(house: House) -> None:
    token = house.live.token("reader", "main", party="acme")
    with house.live.http(token=token) as http:
        assert SURFACES["entry"](http, house.places["public"])
        assert not SURFACES["entry"](http, house.places["members"])


# --- nothing leaks -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["entries/{}", "entries/{}/receipt", "entries/{}/receipt?size=3", "proofs/inclusion?index={}"],
)
def test_what_is_hidden_answers_like_what_is_not_there(house: House, path: str) -> None:
    http, place = house.readers["member"], house.places["operator"]
    hidden = http.get(f"{ROUTE}/{place.ledger.name}/{path.format(INDEX)}")
    absent = http.get(f"{ROUTE}/{place.ledger.name}/{path.replace('size=3', '').format(77777)}")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content.replace(b"entry 1", b"entry 77777") == absent.content


def test_a_hidden_proposal_answers_like_one_that_is_not_there(house: House) -> None:
    http, place = house.readers["member"], house.places["operator"]
    hidden, absent = ids.format_digest(place.leaf_hash), ids.format_digest(bytes(32))
    answers = [http.get(f"{ROUTE}/{place.ledger.name}/proposals/{x}") for x in (hidden, absent)]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].text.replace(hidden, absent) == answers[1].text


def test_pages_and_cursors_count_nothing_that_is_hidden(house: House) -> None:
    place = found(house.live, "paged", "private", setting("parties"))
    acme = Author(place.ledger.origin)
    place.ledger.append_as_operator("key/1", acme.registration())
    for _ in range(5):
        sealed = [acme.seal(ACTION, {"body": BODY_BYTES}), acme.note()]
        for outcome in place.ledger.append(sealed):
            appended(outcome)
    for reader, expected in (("member", [0, 2, 3, 5, 7, 9, 11, 13]), ("operator", range(14))):
        seen: list[int] = []
        cursor: dict[str, object] = {}
        while True:
            http = house.readers[reader]
            page = read(http, place, "entries", limit=1, min_size=14, **cursor).json()
            assert len(page["entries"]) == 1, "a page is never shorter for what is hidden"
            seen.append(page["entries"][0]["index"])
            if page["next"] is None:
                break
            assert page["next"] == str(seen[-1])
            cursor = {"cursor": page["next"]}
        assert seen == list(expected)


def test_a_part_may_be_hidden_in_an_entry_that_is_shown(house: House) -> None:
    place = found(house.live, "parted", "public", setting("public", body="roles"))
    for reader, http in house.readers.items():
        body = read(http, place, f"entries/{INDEX}").json()["parts"]["body"]
        is_shown = reader in SEES["roles"]
        assert (body["status"] == "present", body["data"] is not None) == (is_shown, is_shown)
        # A filter on what the payload says would tell what it says.
        assert SURFACES["by column"](http, place) == is_shown
        assert SURFACES["list"](http, place)


def test_a_suspended_member_sees_that_it_is_and_no_more(house: House) -> None:
    place = found(house.live, "suspending", "private")
    http = house.readers["author"]
    assert SURFACES["entry"](http, place)
    place.ledger.append_as_operator("member/1", b'{"member":"acme","action":"suspend"}')
    assert not SURFACES["entry"](http, place)
    assert not SURFACES["by leaf hash"](http, place)
    members = read(http, place, "members").json()["members"]
    assert [each["status"] for each in members if each["name"] == "acme"] == ["suspended"]


def test_a_bundle_that_a_token_was_shown_is_kept_by_no_shared_cache(house: House) -> None:
    path = f"/log/{house.places['members'].ledger.name}/tile"
    http = house.readers["member"]
    bundle, tile = http.get(f"{path}/entries/000.p/2"), http.get(f"{path}/0/000.p/2")
    assert bundle.headers["cache-control"].startswith("private")
    assert tile.headers["cache-control"].startswith("public")


def test_a_stream_beats_on_while_only_hidden_entries_come(
    embedded: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.3)
    place = found(embedded, "busy", "private", setting("operator"))
    acme = Author(place.ledger.origin)
    place.ledger.append_as_operator("key/1", acme.registration())
    is_over = threading.Event()

    def keep_appending() -> None:
        while not is_over.wait(0.03):
            appended(place.ledger.append([acme.seal(ACTION, {"body": BODY_BYTES})])[0])

    thread = threading.Thread(target=keep_appending)
    thread.start()
    beats, events = 0, []
    path = f"{ROUTE}/{place.ledger.name}/stream"
    try:
        with embedded.http("reader") as http, http.stream("GET", path) as answer:
            for line in answer.iter_lines():
                beats += line == ": still here"
                events += [line] if line.startswith("id: ") else []
                if beats == 3:
                    break
    finally:
        is_over.set()
        thread.join()
    assert events == ["id: 0", "id: 2", "id: 3"]
    assert place.ledger.size() > 10


# --- appending ---------------------------------------------------------------------


def _lines(author: LiveAuthor, stranger: LiveAuthor) -> dict[str, bytes]:
    """Return records by someone whom no ledger knows, and what is no record at all."""
    elsewhere = Author("ledgergrid.example/elsewhere")
    forged = author.note().signed
    unsigned = Submission(
        msgspec.structs.replace(stranger.note().signed, signature=forged.signature), {}
    )
    return {
        "no JSON": b"{",
        "no record": b"{}",
        "right": stranger.line(),
        "against the schema": stranger.line(b"{}", ACTION),
        "unknown type": stranger.line(type_="rumour/1"),
        "for another ledger": format_submission(elsewhere.note()),
        "wrong signature": format_submission(unsigned),
    }


@pytest.mark.parametrize("how", ["records", "records:batch"])
def test_to_strangers_a_private_ledger_is_not_there(live: Live, how: str) -> None:
    author, stranger = live.author(), LiveAuthor(live.main)
    with live.http() as http:
        for what, line in _lines(author, stranger).items():
            private, absent = (
                http.post(f"{ROUTE}/{name}/{how}", content=line) for name in ("main", "void")
            )
            assert private.status_code == absent.status_code, what
            assert private.content == absent.content, what
        # An author whom the ledger knows is told what is wrong.
        wrong = http.post(f"{ROUTE}/main/records", content=author.line(b"{}", ACTION))
    assert problem(wrong) == (422, "bad-payload")


def test_a_party_that_the_ledger_does_not_know_is_refused(live: Live) -> None:
    author = Author(live.main.origin)
    live.main.append_as_operator("key/1", author.registration())
    body = {"body": b"1"}
    known, unknown = (
        format_submission(author.seal("note/1", body, parties=parties))
        for parties in ([author.name], ["dune"])
    )
    with live.http() as http:
        assert http.post(f"{ROUTE}/main/records", content=known).status_code == 201
        refused = http.post(f"{ROUTE}/main/records", content=unknown)
    assert problem(refused) == (422, "bad-reference")
