"""Who sees what: without a token, with the wrong one, with one for another ledger."""

from __future__ import annotations

import pytest

from tests.api.live import ROUTE, Author, Live, problem

READS = (
    f"{ROUTE}/main",
    f"{ROUTE}/main/entries",
    f"{ROUTE}/main/entries/0",
    f"{ROUTE}/main/entries/0/receipt",
    f"{ROUTE}/main/proofs/inclusion?index=0",
    f"{ROUTE}/main/proofs/consistency?from=1",
    f"{ROUTE}/main/checkpoint",
    f"{ROUTE}/main/archive",
    f"{ROUTE}/main/stream",
    "/log/main/checkpoint",
    "/log/main/tile/0/000.p/1",
    "/log/main/tile/entries/000.p/1",
)


@pytest.mark.parametrize("path", READS)
def test_a_private_ledger_shows_nothing_without_its_token(embedded: Live, path: str) -> None:
    elsewhere = embedded.service.ledgers.create("elsewhere")
    bound = embedded.token("reader", elsewhere.name)
    with embedded.http() as nobody, embedded.http(token=bound) as stranger:
        refused = nobody.get(path)
        assert problem(refused) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert problem(stranger.get(path)) == (404, "not-found")


@pytest.mark.parametrize("path", READS)
def test_a_ledger_that_one_may_not_see_looks_like_one_that_is_not_there(
    embedded: Live, path: str
) -> None:
    bound = embedded.token("reader", embedded.service.ledgers.create("mine").name)
    for token in (None, bound):
        with embedded.http(token=token) as http:
            hidden, absent = http.get(path), http.get(path.replace("/main", "/void"))
        assert hidden.status_code == absent.status_code
        shown = hidden.json()["detail"].replace("main", "void")
        assert shown == absent.json()["detail"]


def test_a_public_ledger_is_read_without_a_token_but_exported_with_one(embedded: Live) -> None:
    embedded.service.ledgers.create("open", kind="public")
    with embedded.http() as http:
        answers = {path: http.get(path.replace("/main", "/open")) for path in READS[:-5]}
        assert {answer.status_code for answer in answers.values()} == {200}
        tile = http.get("/log/open/tile/0/000.p/1")
        assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert problem(http.get(f"{ROUTE}/open/archive")) == (401, "unauthorized")
        assert [x["name"] for x in http.get(ROUTE).json()["ledgers"]] == ["open"]
    with embedded.http("reader") as http:
        assert http.get(f"{ROUTE}/open/archive").status_code == 200


def test_on_a_public_ledger_payloads_are_for_members(embedded: Live) -> None:
    open_ledger = embedded.service.ledgers.create("open", kind="public")
    author = embedded.author(open_ledger)
    path, columns = f"{ROUTE}/open/entries", {"type": "agent.action/1", "session_id": "s"}
    action = author.line(b'{"action":"a","status":"succeeded","session_id":"s"}', columns["type"])
    with embedded.http() as nobody, embedded.http("reader") as member:
        assert nobody.post(f"{ROUTE}/open/records", content=author.line()).status_code == 201
        hidden = nobody.get(f"{path}/2").json()["parts"]["body"]
        shown = member.get(f"{path}/2").json()["parts"]["body"]
        governance = nobody.get(f"{path}/1").json()["parts"]["body"]
        nobody.post(f"{ROUTE}/open/records", content=action)
        found = [
            [each["index"] for each in reader.get(path, params=params).json()["entries"]]
            for reader in (member, nobody)
            for params in ({"min_size": "4", "type": "agent.action/1"}, columns)
        ]
    assert (hidden["status"], hidden["data"], hidden["salt"]) == ("withheld", None, None)
    assert (shown["status"], governance["status"]) == ("present", "present")
    assert found == [[3], [3], [3], []], "a filter must not tell what a payload says"


def test_a_token_bound_to_a_ledger_lists_that_one_and_public_ones(embedded: Live) -> None:
    for name in ("a", "b", "c"):
        embedded.service.ledgers.create(name)
    embedded.service.ledgers.create("open", kind="public")
    bound = embedded.token("reader", "b")
    with embedded.http(token=bound) as http, embedded.http("reader") as everyone:
        assert [x["name"] for x in http.get(ROUTE).json()["ledgers"]] == ["b", "open"]
        first = everyone.get(ROUTE, params={"limit": 3}).json()
        assert ([x["name"] for x in first["ledgers"]], first["next"]) == (["a", "b", "c"], "c")
        second = everyone.get(ROUTE, params={"limit": 3, "after": "c"}).json()
        assert ([x["name"] for x in second["ledgers"]], second["next"]) == (["main", "open"], None)


def test_a_revoked_token_counts_no_more(embedded: Live) -> None:
    secret = embedded.service.tokens.create("short-lived", "reader")
    with embedded.http(token=secret) as http:
        assert http.get(f"{ROUTE}/main").status_code == 200
        embedded.service.tokens.revoke("short-lived")
        assert problem(http.get(f"{ROUTE}/main")) == (401, "unauthorized")


@pytest.mark.parametrize("value", ["", "Bearer", "Basic eDp5", "Bearer lgt_x", "x" * 500])
def test_a_header_that_is_no_token_is_refused_even_where_none_is_needed(
    embedded: Live, value: str
) -> None:
    embedded.service.ledgers.create("open", kind="public")
    with embedded.http() as http:
        answer = http.get(f"{ROUTE}/open", headers={"Authorization": value})
    assert problem(answer) == (401, "unauthorized")
    assert "lgt_x" not in answer.text


def test_only_an_admin_makes_ledgers_and_registers_keys(live: Live) -> None:
    author = Author(live.main)
    key = {"key": author.key, "roles": ["agent"], "possession": author.possession}
    for role, expected in (("reader", (403, "forbidden")), ("writer", (403, "forbidden"))):
        with live.http(token=live.token(role)) as http:
            assert problem(http.post(ROUTE, json={"name": "new"})) == expected
            assert problem(http.post(f"{ROUTE}/main/keys", json=key)) == expected
    with live.http(token=live.token("admin", "main")) as http:
        assert problem(http.post(ROUTE, json={"name": "new"})) == (403, "forbidden")
        assert http.post(f"{ROUTE}/main/keys", json=key).status_code == 201
    with live.http("admin") as http:
        made = http.post(ROUTE, json={"name": "new", "kind": "public"})
        assert (made.status_code, made.json()["size"]) == (201, 1)
        assert problem(http.post(ROUTE, json={"name": "new"})) == (409, "conflict")


def test_a_revoked_key_writes_no_more(live: Live) -> None:
    author = live.author()
    with live.http("admin") as http:
        body = {"key": author.key, "revoke": "compromised"}
        assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
        assert http.post(f"{ROUTE}/main/keys", json=body).status_code == 201
        answer = http.post(f"{ROUTE}/main/records", content=author.line())
        assert problem(answer) == (403, "no-standing")
        assert problem(http.post(f"{ROUTE}/main/keys", json=body)) == (403, "no-standing")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 400),
        ({"key": "ed25519:x", "roles": ["agent"], "possession": "x"}, 400),
        ({"key": "KEY", "roles": [], "possession": "POSSESSION"}, 400),
        ({"key": "KEY", "roles": ["agent", "agent"], "possession": "POSSESSION"}, 400),
        ({"key": "KEY", "roles": ["king"], "possession": "POSSESSION"}, 400),
        ({"key": "KEY", "roles": ["agent"], "possession": "A" * 86}, 422),
        ({"key": "KEY", "roles": ["agent"], "possession": "POSSESSION", "extra": 1}, 400),
        ({"key": "KEY", "revoke": "bored"}, 400),
    ],
)
def test_a_bad_change_of_keys_is_refused_and_nothing_is_stored(
    embedded: Live, change: dict[str, object], status: int
) -> None:
    author = Author(embedded.main)
    known = {"KEY": author.key, "POSSESSION": author.possession}
    body = {k: known.get(v, v) if isinstance(v, str) else v for k, v in change.items()}
    with embedded.http("admin") as http:
        assert problem(http.post(f"{ROUTE}/main/keys", json=body))[0] == status
    assert embedded.main.size() == 1
