"""Appending over HTTP: receipts that check, repetition, batches, and every refusal by name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
import pytest

from ledger_core import ids, limits
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import Entry, format_entry
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.record import Part, SignedRecord
from ledger_core.formats.submission import Submission, format_submission
from tests.api.live import ROUTE, Author, Live, problem

RECORDS = f"{ROUTE}/main/records"
EXPORT = b'{"start":0,"end":1,"recipient":"x"}'
BATCH = f"{ROUTE}/main/records:batch"


def test_a_record_is_answered_with_a_receipt_that_proves_it(live: Live) -> None:
    author = live.author()
    sent = author.note()
    with live.http() as http:
        answer = http.post(RECORDS, content=format_submission(sent))
    assert answer.status_code == 201
    done = answer.json()
    assert (done["index"], done["id"]) == (2, sent.signed.record.id)
    receipt = parse_receipt(done["receipt"].encode())
    leaf = format_entry(Entry(receipt.header(), sent.signed.raw))
    checkpoint = verify_checkpoint(receipt.checkpoint, live.main.log_key)
    check_receipt(receipt, leaf, checkpoint)


def test_the_same_record_again_gets_the_same_answer_with_200(live: Live) -> None:
    line = live.author().line()
    with live.http() as http:
        first, second = http.post(RECORDS, content=line), http.post(RECORDS, content=line)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.content == second.content


def test_the_same_id_with_other_bytes_is_a_conflict_that_names_both(live: Live) -> None:
    author = live.author()
    first = author.note()
    other = msgspec.structs.replace(author.note().signed.record, id=first.signed.record.id)
    parts = author.note()
    with live.http() as http:
        assert http.post(RECORDS, content=format_submission(first)).status_code == 201
        second = _resealed(author, parts, msgspec.structs.replace(other, payload=parts_of(parts)))
        answer = http.post(RECORDS, content=second)
    assert problem(answer) == (409, "conflict")
    assert answer.json()["stored"] != answer.json()["received"]
    assert live.main.size() == 3


def parts_of(submission: Submission) -> dict[str, object]:
    return dict(submission.signed.record.payload)


def _resealed(author: Author, submission: Submission, record: object) -> bytes:
    from ledger_core.formats.record import Record, seal

    assert isinstance(record, Record)
    return format_submission(Submission(seal(record, author.private), submission.parts))


def test_a_batch_answers_each_line_and_one_refusal_does_not_sink_the_rest(live: Live) -> None:
    author, stranger = live.author(), Author(live.main)
    lines = [author.line(), b"not json", author.line(), stranger.line()]
    with live.http() as http:
        answer = http.post(BATCH, content=b"\n".join(lines) + b"\n")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    results = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert [each["status"] for each in results] == [201, 400, 201, 403]
    assert [each.get("index") for each in results] == [2, None, 3, None]
    assert results[1]["problem"]["code"] == "malformed"
    assert results[3]["problem"]["code"] == "no-standing"
    assert live.main.size() == 4


def test_a_record_twice_in_one_batch_is_one_entry(live: Live) -> None:
    line = live.author().line()
    with live.http() as http:
        answer = http.post(BATCH, content=line + b"\n" + line)
    results = [msgspec.json.decode(each) for each in answer.content.splitlines()]
    assert [(each["status"], each["index"]) for each in results] == [(201, 2), (200, 2)]


Spoil = Callable[[Author], bytes]


def _wrong_signature(author: Author) -> bytes:
    sent = author.note()
    signature = bytes(64)
    return format_submission(
        Submission(SignedRecord(sent.signed.record, sent.signed.raw, signature), sent.parts)
    )


def _non_canonical(author: Author) -> bytes:
    sent = author.note()
    raw = sent.signed.raw.replace(b'{"author"', b'{ "author"')
    return format_submission(
        Submission(SignedRecord(sent.signed.record, raw, sent.signed.signature), sent.parts)
    )


def _small_order_key(author: Author) -> bytes:
    sent = author.note()
    zero = ids.format_key(bytes(32))
    raw = sent.signed.raw.replace(author.key.encode(), zero.encode())
    return format_submission(
        Submission(SignedRecord(sent.signed.record, raw, sent.signed.signature), sent.parts)
    )


def _foreign_ledger(author: Author) -> bytes:
    from ledger_core import clock
    from ledger_core.formats.submission import seal_json

    sent = seal_json("elsewhere.example/log", "note/1", b"1", author.private, clock.now_ms())
    return format_submission(sent)


def _other_payload(author: Author) -> bytes:
    sent = author.note()
    parts = {"body": Part(sent.parts["body"].salt, b'{"hello":"venus"}')}
    return format_submission(Submission(sent.signed, parts))


def _too_large_record(author: Author) -> bytes:
    sent = author.note()
    raw = b" " * (limits.RECORD_BYTES + 1)
    return format_submission(
        Submission(SignedRecord(sent.signed.record, raw, sent.signed.signature), {})
    )


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda a: b"", (400, "malformed")),
        (lambda a: a.line()[:-7], (400, "malformed")),
        (lambda a: b"[" * 100_000, (400, "malformed")),
        (lambda a: b'{"envelope":' + b"[" * 100_000, (400, "malformed")),
        (_too_large_record, (413, "too-large")),
        (_non_canonical, (400, "malformed")),
        (_wrong_signature, (422, "bad-signature")),
        (_small_order_key, (422, "bad-signature")),
        (_foreign_ledger, (422, "foreign-ledger")),
        (lambda a: a.line(type_="note/2"), (422, "unknown-type")),
        (lambda a: a.line(b"{}", "agent.action/1"), (422, "bad-payload")),
        (_other_payload, (422, "bad-commitment")),
        (lambda a: Author(a.ledger).line(), (403, "no-standing")),
        (lambda a: a.line(EXPORT, "export/1"), (403, "no-standing")),
    ],
    ids=[
        "empty", "truncated", "deep", "deep-inside", "record-too-large", "non-canonical",
        "wrong-signature", "small-order-key", "foreign-ledger", "unknown-version", "bad-schema",
        "other-payload", "unknown-key", "wrong-role",
    ],
)  # fmt: skip
def test_a_bad_submission_is_refused_by_name_and_nothing_is_stored(
    embedded: Live, spoil: Spoil, expected: tuple[int, str]
) -> None:
    author = embedded.author()
    with embedded.http() as http:
        answer = http.post(RECORDS, content=spoil(author))
    assert problem(answer) == expected
    assert embedded.main.size() == 2


def test_a_ledger_that_is_not_there_takes_no_records(embedded: Live) -> None:
    line = embedded.author().line()
    with embedded.http() as http:
        assert problem(http.post(f"{ROUTE}/nowhere/records", content=b"{}")) == (400, "malformed")
        assert problem(http.post(f"{ROUTE}/nowhere/records", content=line)) == (403, "no-standing")


def test_only_post_appends(embedded: Live) -> None:
    with embedded.http() as http:
        answer = http.get(RECORDS)
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_compressed_body_is_refused(embedded: Live) -> None:
    with embedded.http() as http:
        answer = http.post(RECORDS, content=b"x", headers={"Content-Encoding": "gzip"})
    assert problem(answer) == (400, "malformed")


def test_a_body_announced_too_large_is_refused_before_it_is_sent(embedded: Live) -> None:
    where = urlsplit(embedded.url)
    head = (
        f"POST {RECORDS} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Content-Length: {limits.SUBMISSION_BYTES + 1}\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too-large"' in answer


def test_a_body_that_grows_too_large_on_the_way_is_cut_off(embedded: Live) -> None:
    def endless() -> object:
        for _ in range(limits.SUBMISSION_BYTES // 2**20 + 2):
            yield bytes(2**20)

    with embedded.http() as http:
        answer = http.post(RECORDS, content=endless())  # type: ignore[arg-type]
    assert problem(answer) == (413, "too-large")
    assert embedded.service.intake.held_bytes == 0


def test_a_batch_of_too_many_lines_is_refused_whole(embedded: Live) -> None:
    with embedded.http() as http:
        answer = http.post(BATCH, content=b"\n" * (limits.BATCH_RECORDS + 1))
        assert problem(answer) == (413, "too-large")
        assert problem(http.post(BATCH, content=b"")) == (400, "malformed")
        fits = http.post(BATCH, content=b"x\n" * limits.BATCH_RECORDS)
    assert len(fits.content.splitlines()) == limits.BATCH_RECORDS
