"""Reading over HTTP: entries, filters, proofs, the static log, the archive, live events."""

from __future__ import annotations

import base64
import io
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256

import httpx
import msgspec
import pytest

from ledger_core import ids
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.submission import format_submission
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import parse_bundle, split_hashes
from tests.api.live import ROUTE, Author, Live, problem

MAIN = f"{ROUTE}/main"
ACTION = b'{"action":"%s","status":"succeeded","session_id":"s1"}'


def fill(live: Live, count: int, author: Author | None = None) -> Author:
    author = author or live.author()
    with live.http() as http:
        for at in range(0, count, 500):
            lines = [author.line() for _ in range(at, min(at + 500, count))]
            answer = http.post(f"{MAIN}/records:batch", content=b"\n".join(lines))
            assert b'"problem"' not in answer.content
    return author


def test_an_entry_comes_back_with_the_bytes_that_went_in(live: Live) -> None:
    author = live.author()
    sent = author.note(b'{"b":1,  "a":[2]}')
    with live.http("reader") as http:
        http.post(f"{MAIN}/records", content=format_submission(sent))
        found = http.get(f"{MAIN}/entries/2").json()
    leaf = base64.b64decode(found["leaf"])
    assert leaf.endswith(sent.signed.raw)
    assert found["leaf_hash"] == ids.format_digest(tree.leaf_hash(leaf))
    assert found["record"] == msgspec.json.decode(sent.signed.raw)
    body = found["parts"]["body"]
    assert base64.b64decode(body["data"]) == b'{"b":1,  "a":[2]}'
    assert (body["status"], base64.b64decode(body["salt"])) == ("present", sent.parts["body"].salt)


def test_pages_hold_every_entry_once_while_the_log_grows(live: Live) -> None:
    author = fill(live, 7)
    seen: list[int] = []
    with live.http("reader") as http:
        cursor: dict[str, str] = {}
        while True:
            page = http.get(f"{MAIN}/entries", params={"limit": 3, "min_size": 9, **cursor}).json()
            seen += [each["index"] for each in page["entries"]]
            if page["next"] is None or len(seen) > 50:
                break
            cursor = {"cursor": page["next"]}
            if len(seen) < 7:
                fill(live, 1, author)
        backwards = http.get(f"{MAIN}/entries", params={"order": "desc", "limit": 4}).json()
    assert seen[:9] == list(range(9))
    assert seen == sorted(set(seen))
    indexes = [each["index"] for each in backwards["entries"]]
    assert indexes == sorted(indexes, reverse=True)
    assert len(indexes) == 4


def test_entries_are_found_by_type_author_id_leaf_hash_and_the_types_own_columns(
    live: Live,
) -> None:
    author = live.author()
    with live.http("reader") as http:
        lines = [author.line(), author.line(ACTION % b"pay", "agent.action/1")]
        answer = http.post(f"{MAIN}/records:batch", content=b"\n".join(lines))
        note, action = (msgspec.json.decode(line) for line in answer.content.splitlines())

        def find(**filters: object) -> list[int]:
            query = httpx.QueryParams({k: str(v) for k, v in filters.items()})
            found = http.get(f"{MAIN}/entries", params=query)
            assert found.status_code == 200, found.text
            return [each["index"] for each in found.json()["entries"]]

        assert find(min_size=4, author=author.key) == [2, 3]
        assert find(type="agent.action/1") == [3]
        assert find(type="agent.action/1", session_id="s1", action="pay") == [3]
        assert find(type="agent.action/1", session_id="s2") == []
        assert find(id=note["id"]) == [2]
        assert find(id=ids.new_record_id()) == []
        assert find(leaf_hash=action["leaf_hash"]) == [3]
        assert find(received_from=note["received_at"], type="note/1") == [2]
        assert find(received_to="2026-01-01T00:00:00.000Z") == []


@pytest.mark.parametrize(
    "query",
    [
        "unknown=1", "limit=0", "limit=1001", "limit=%2B5", "limit=1_0", "limit=05",
        "limit=1&limit=2", "cursor=-1", "order=up", "author=me", "type=note", "leaf_hash=abc",
        "received_from=yesterday", "session_id=s1", "type=note/1&session_id=s1",
        "id=x", "id=01a1fc12-1788-7599-b8bb-60848cc6d272&type=note/1", "type=a&type=b",
    ],
)  # fmt: skip
def test_a_query_that_is_not_understood_is_refused_not_ignored(embedded: Live, query: str) -> None:
    with embedded.http("reader") as http:
        assert problem(http.get(f"{MAIN}/entries?{query}")) == (400, "malformed")


def test_unknown_parameters_are_refused_everywhere(embedded: Live) -> None:
    with embedded.http("reader") as http:
        for path in (
            ROUTE,
            MAIN,
            f"{MAIN}/entries/0",
            f"{MAIN}/checkpoint",
            "/log/main/checkpoint",
        ):
            assert problem(http.get(path, params={"surprise": "1"})) == (400, "malformed"), path


def test_waiting_for_a_size_that_does_not_come_ends_with_503(embedded: Live) -> None:
    with embedded.http("reader") as http:
        answer = http.get(f"{MAIN}/entries", params={"min_size": 1_000_000})
    assert problem(answer) == (503, "busy")
    assert answer.headers["retry-after"]


def test_proofs_check_between_any_sizes(live: Live) -> None:
    fill(live, 30)
    with live.http("reader") as http:
        inclusion = http.get(f"{MAIN}/proofs/inclusion", params={"index": 5, "size": 20}).json()
        consistency = http.get(f"{MAIN}/proofs/consistency", params={"from": 20, "to": 32}).json()
        checkpoint = http.get(f"{MAIN}/checkpoint")
    parse = ids.parse_digest
    tree.check_inclusion(
        5,
        20,
        parse(inclusion["leaf_hash"]),
        [parse(each) for each in inclusion["hashes"]],
        parse(inclusion["root"]),
    )
    assert consistency["root_from"] == inclusion["root"]
    tree.check_consistency(
        20,
        32,
        parse(consistency["root_from"]),
        parse(consistency["root_to"]),
        [parse(each) for each in consistency["hashes"]],
    )
    newest = verify_checkpoint(checkpoint.content, live.main.log_key)
    assert (newest.size, ids.format_digest(newest.root)) == (32, consistency["root_to"])
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("proofs/inclusion?index=2&size=2", 400),
        ("proofs/inclusion?index=0&size=9", 404),
        ("proofs/inclusion?index=9", 404),
        ("proofs/inclusion", 400),
        ("proofs/consistency?from=0&to=1", 400),
        ("proofs/consistency?from=2&to=1", 400),
        ("proofs/consistency?from=0", 400),
        ("proofs/consistency?from=9", 404),
        ("proofs/consistency?from=1&to=9", 404),
        ("entries/9", 404),
        ("entries/-1", 400),
        ("entries/00", 400),
        ("entries/9/receipt", 404),
        ("entries/0/receipt?size=9", 404),
        ("entries/0/receipt?size=0", 400),
        ("archive?start=2&end=2", 400),
        ("archive?end=9", 404),
    ],
)
def test_what_cannot_be_proved_is_a_clear_refusal(embedded: Live, path: str, status: int) -> None:
    with embedded.http("reader") as http:
        assert problem(http.get(f"{MAIN}/{path}"))[0] == status


def test_the_static_log_is_laid_out_as_c2sp_says(live: Live) -> None:
    fill(live, 300)  # with the charter and the key: 302
    with live.http("reader") as http:

        def get(path: str) -> httpx.Response:
            return http.get(f"/log/main/{path}")

        checkpoint = get("checkpoint")
        assert verify_checkpoint(checkpoint.content, live.main.log_key).size == 302
        assert checkpoint.headers["cache-control"] == "no-cache"
        full, partial, upper = get("tile/0/000"), get("tile/0/001.p/46"), get("tile/1/000.p/1")
        assert [len(each.content) for each in (full, partial, upper)] == [8192, 46 * 32, 32]
        assert full.headers["content-type"] == "application/octet-stream"
        assert full.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert upper.content == tree.root(split_hashes(full.content))
        leaves = parse_bundle(get("tile/entries/000").content)
        assert [tree.leaf_hash(leaf) for leaf in leaves] == split_hashes(full.content)
        assert get("tile/0/000.p/7").content == full.content[: 7 * 32]
        assert len(parse_bundle(get("tile/entries/001.p/46").content)) == 46
        missing = (
            "tile/0/001", "tile/0/001.p/47", "tile/0/002.p/1", "tile/1/000", "tile/2/000.p/1",
            "tile/0/0", "tile/0/000.p/256", "tile/0/000.p/0", "tile/64/000", "tile/00/000",
            "tile/entries/001", "tile/entries/x000/000", "tile/0", "tile/", "tiles", "tile/0/000/",
        )  # fmt: skip
        assert {path: problem(get(path))[0] for path in missing} == dict.fromkeys(missing, 404)
        head = http.head("/log/main/tile/0/000")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == "8192"
        assert http.head("/log/main/checkpoint").status_code == 200


def test_an_archive_streams_out_and_is_itself_on_the_record(live: Live) -> None:
    fill(live, 5)
    with live.http("reader") as http:
        answer = http.get(f"{MAIN}/archive", params={"start": 1, "end": 4})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
        found = http.get(f"{MAIN}/entries", params={"type": "export/1", "min_size": 8}).json()
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        manifest = msgspec.json.decode(archive.read("manifest.json"))
        for file in manifest["files"]:
            digest = sha256(archive.read(file["name"])).digest()
            assert file["digest"] == ids.format_digest(digest)
    assert [each["index"] for each in found["entries"]] == [7]


def events(answer: httpx.Response) -> Iterator[tuple[int, dict[str, object]]]:
    index = -1
    for line in answer.iter_lines():
        if line.startswith("id: "):
            index = int(line.removeprefix("id: "))
        elif line.startswith("data: "):
            yield index, msgspec.json.decode(line.removeprefix("data: "))


def test_a_live_stream_tells_what_was_there_and_then_what_comes(live: Live) -> None:
    author = fill(live, 3)
    with live.http("reader") as http, http.stream("GET", f"{MAIN}/stream?from=3") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer)
        assert [next(told)[0], next(told)[0]] == [3, 4]
        later = threading.Thread(target=fill, args=(live, 40, author))
        later.start()
        assert [next(told)[0] for _ in range(40)] == list(range(5, 45))
        later.join()


def test_a_reader_that_comes_back_misses_nothing(embedded: Live) -> None:
    fill(embedded, 5)
    headers = {"Last-Event-ID": "3"}
    with (
        embedded.http("reader") as http,
        http.stream("GET", f"{MAIN}/stream", headers=headers) as answer,
    ):
        index, entry = next(events(answer))
    assert (index, entry["index"]) == (4, 4)
    with embedded.http("reader") as http:
        answer = http.get(f"{MAIN}/stream", headers={"Last-Event-ID": "x"})
    assert problem(answer) == (400, "malformed")
