"""Vectors of the record and its commitments (docs/spec/record.md)."""

from __future__ import annotations

import json
import struct
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from ledger_core import limits
from ledger_core.formats import record
from ledger_core.formats.record import Ref, Saw
from tests.vectors.build import (
    AGENT,
    MADE_AT,
    OPERATOR,
    SALT,
    Case,
    accept,
    make_record,
    number_id,
    part_ref,
    refuse,
    show,
)

ABOUT = "Records: what is canonical and what is not; commitments; DSSE signatures"
PAGE = "record.md"

DIGEST = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
OTHER_DIGEST = "sha256:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
KEY = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
SMALLEST = make_record(payload={})
PLAIN = make_record()
FULL = make_record(
    2,
    refs=(Ref("causes", DIGEST), Ref("answers", DIGEST)),
    parties=("acme", KEY, "zenith.example"),
    stream="run:7",
    n=0,
    saw=Saw(DIGEST, limits.MAX_INTEGER),
)


def _spell(value: Any) -> bytes:
    """Write JSON with sorted keys and no space, whatever it says."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _object(of: record.Record = FULL) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(record.format_record(of))
    return loaded


def _good() -> list[Case]:
    parts = {f"part_{n:02d}": part_ref(b"%d" % n) for n in range(limits.PAYLOAD_PARTS)}
    good = {
        "smallest record": SMALLEST,
        "record with one part": PLAIN,
        "record with every field": FULL,
        "record with as many parts as may be": make_record(3, payload=parts),
        "record for an origin with quotes": make_record(4, ledger='a"b\\c/d'),
        "record of the first moment": make_record(5, made_at="1970-01-01T00:00:00.000Z"),
        "record of the last moment": make_record(6, made_at="9999-12-31T23:59:59.999Z"),
        "record made on a leap day": make_record(7, made_at="2024-02-29T00:00:00.000Z"),
    }
    return [
        accept(name, "parse_record", {"record": show(record.format_record(each))})
        for name, each in good.items()
    ]


def _other_spellings() -> dict[str, bytes]:
    """The same record, or nearly, in bytes that no formatter of ours emits."""
    raw = record.format_record(FULL)
    return {
        "nothing": b"",
        "space before": b" " + raw,
        "newline after": raw + b"\n",
        "space after a colon": raw.replace(b'"v":1', b'"v": 1'),
        "second record after": raw + raw,
        "byte order mark": b"\xef\xbb\xbf" + raw,
        "UTF-16": raw.decode().encode("utf-16-le"),
        "cut short": raw[:-1],
        "keys in another order": raw[:-7].replace(b"{", b'{"v":1,', 1) + b"}",
        "keys of a part in another order": raw.replace(
            b'"media_type":"application/json","size":17',
            b'"size":17,"media_type":"application/json"',
        ),
        "field twice, alike": raw[:-1] + b',"v":1}',
        "field twice, unlike": raw.replace(b'"n":0', b'"n":1,"n":0'),
        "part twice": raw.replace(b'"payload":{', b'"payload":{"body":{},'),
        "ASCII letter escaped": raw.replace(b"note/1", b"\\u006eote/1"),
        "slash escaped": raw.replace(b"note/1", b"note\\/1"),
        "float": raw.replace(b'"v":1', b'"v":1.0'),
        "exponent": raw.replace(b'"n":0', b'"n":0e0'),
        "minus zero": raw.replace(b'"n":0', b'"n":-0'),
        "leading zero": raw.replace(b'"size":17', b'"size":017'),
        "plus sign": raw.replace(b'"size":17', b'"size":+17'),
        "number in quotes": raw.replace(b'"size":17', b'"size":"17"'),
        "NaN": raw.replace(b'"n":0', b'"n":NaN'),
        "byte that is not UTF-8": raw.replace(b"run:7", b"run:\xff"),
        "overlong UTF-8": raw.replace(b"run:7", b"run\xc0\xba7"),
        "lone surrogate": raw.replace(b"run:7", b"run:\\ud800"),
        "surrogate in UTF-8": raw.replace(b"run:7", b"run:\xed\xa0\x80"),
        "single quotes": raw.replace(b'"', b"'"),
        "comment": raw + b"/**/",
        "trailing comma": raw[:-1] + b",}",
    }


def _changes() -> dict[str, dict[str, Any]]:
    """Fields changed one by one; each makes the record with every field unacceptable."""
    part = _object()["payload"]["body"]
    long_text = "a" * (limits.MEDIA_TYPE_CHARS + 1)
    return {
        "version 2": {"v": 2},
        "version is true": {"v": True},
        "unknown field": {"comment": "hello"},
        "key that is not ASCII": {"ключ": 1},
        "null": {"stream": None, "n": None},
        "empty refs": {"refs": []},
        "empty parties": {"parties": []},
        "empty payload": {"payload": {}},
        "origin with a space": {"ledger": "example.com/ log"},
        "origin with a plus": {"ledger": "example.com+log"},
        "origin with a newline": {"ledger": "example.com\n"},
        "origin that is not ASCII": {"ledger": "exämple.com"},
        "origin that is empty": {"ledger": ""},
        "origin too long": {"ledger": "a" * (limits.ORIGIN_CHARS + 1)},
        "id in capitals": {"id": "01990B1F-5A00-7000-8000-000000000002"},
        "id of version 4": {"id": "01990b1f-5a00-4000-8000-000000000002"},
        "id of another variant": {"id": "01990b1f-5a00-7000-c000-000000000002"},
        "id in braces": {"id": "{" + number_id(2) + "}"},
        "id without hyphens": {"id": number_id(2).replace("-", "")},
        "id with a newline": {"id": number_id(2) + "\n"},
        "type without a version": {"type": "note"},
        "type of version 0": {"type": "note/0"},
        "type of version 01": {"type": "note/01"},
        "type in capitals": {"type": "Note/1"},
        "type with digits of another script": {"type": "note/١"},
        "type with an empty word": {"type": "agent..action/1"},
        "type with a newline": {"type": "note/1\n"},
        "author of another algorithm": {"author": KEY.replace("ed25519", "ed448")},
        "author with padding": {"author": KEY + "="},
        "author's key a byte short": {"author": KEY[:-2]},
        "author with spare bits set": {"author": KEY[:-1] + "B"},
        "author in the other base64": {"author": KEY[:-4] + "+/AA"},
        "time with an offset": {"made_at": "2026-08-01T10:11:12.345+00:00"},
        "time in lower case": {"made_at": "2026-08-01t10:11:12.345z"},
        "time without milliseconds": {"made_at": "2026-08-01T10:11:12Z"},
        "time with microseconds": {"made_at": "2026-08-01T10:11:12.345678Z"},
        "time with a comma": {"made_at": "2026-08-01T10:11:12,345Z"},
        "time in year 0": {"made_at": "0000-01-01T00:00:00.000Z"},
        "time before 1970": {"made_at": "1969-12-31T23:59:59.999Z"},
        "time with a leap second": {"made_at": "2016-12-31T23:59:60.000Z"},
        "time at 24 o'clock": {"made_at": "2026-08-01T24:00:00.000Z"},
        "time on a day that never was": {"made_at": "2025-02-29T00:00:00.000Z"},
        "time in digits of another script": {"made_at": MADE_AT.replace("2026", "٢٠٢٦")},
        "part with a capital name": {"payload": {"Body": part}},
        "part without a name": {"payload": {"": part}},
        "part with a dotted name": {"payload": {"../body": part}},
        "part with a long name": {"payload": {"b" * 33: part}},
        "part of negative size": {"payload": {"body": {**part, "size": -1}}},
        "part of a fractional size": {"payload": {"body": {**part, "size": 0.5}}},
        "part of a huge size": {"payload": {"body": {**part, "size": 2**53}}},
        "part without a commitment": {"payload": {"body": {"media_type": "a/b", "size": 1}}},
        "part committed with another hash": {
            "payload": {"body": {**part, "commitment": DIGEST.replace("256", "512")}}
        },
        "media type in capitals": {"payload": {"body": {**part, "media_type": "Text/Plain"}}},
        "media type with a space": {
            "payload": {"body": {**part, "media_type": "text/plain; charset=utf-8"}}
        },
        "media type without a slash": {"payload": {"body": {**part, "media_type": "text"}}},
        "media type too long": {"payload": {"body": {**part, "media_type": f"a/{long_text}"}}},
        "unknown relation": {"refs": [{"rel": "likes", "to": DIGEST}]},
        "ref to an index": {"refs": [{"rel": "causes", "to": 41}]},
        "ref twice": {"refs": [{"rel": "causes", "to": DIGEST}] * 2},
        "ref with spare bits set": {"refs": [{"rel": "causes", "to": DIGEST[:-1] + "B"}]},
        "parties not sorted": {"parties": ["zenith", "acme"]},
        "party twice": {"parties": ["acme", "acme"]},
        "party with a space": {"parties": ["acme corp"]},
        "party's key with spare bits set": {"parties": [KEY[:-1] + "B"]},
        "stream without n": {"stream": "run", "n": ...},
        "n without stream": {"stream": ..., "n": 1},
        "stream that is empty": {"stream": ""},
        "stream with a space": {"stream": "run 7"},
        "n below zero": {"n": -1},
        "n beyond 2**53 - 1": {"n": 2**53},
        "n of a hundred digits": {"n": 10**99},
        "saw without a size": {"saw": {"root": DIGEST}},
        "saw of a negative size": {"saw": {"root": DIGEST, "size": -1}},
        "saw with a root in hex": {"saw": {"root": "sha256:" + "00" * 32, "size": 1}},
    }


def _bad() -> list[Case]:
    spelled = [
        refuse(f"record with: {name}", "parse_record", {"record": show(raw)})
        for name, raw in _other_spellings().items()
    ]
    changed = []
    for name, change in _changes().items():
        fields = {k: v for k, v in {**_object(), **change}.items() if v is not ...}
        changed.append(refuse(name, "parse_record", {"record": show(_spell(fields))}))
    missing = [
        refuse(
            f"record without {field}",
            "parse_record",
            {"record": show(_spell({k: v for k, v in _object(SMALLEST).items() if k != field}))},
        )
        for field in _object(SMALLEST)
    ]
    return [*spelled, *changed, *missing]


def _too_large() -> list[Case]:
    refs = [{"rel": "causes", "to": OTHER_DIGEST}] * (limits.REFS + 1)
    part = _object()["payload"]["body"]
    large: dict[str, dict[str, Any]] = {
        "too many parts": {"payload": {f"p{n:02d}": part for n in range(limits.PAYLOAD_PARTS + 1)}},
        "too many refs": {"refs": refs},
        "too many parties": {"parties": [f"m{n:03d}" for n in range(limits.PARTIES + 1)]},
        "part larger than may be": {
            "payload": {"body": {**part, "size": limits.PAYLOAD_PART_BYTES + 1}}
        },
    }
    cases = [
        refuse(name, "parse_record", {"record": show(_spell({**_object(), **change}))}, "too-large")
        for name, change in large.items()
    ]
    endless = {"utf8": "[", "repeat": limits.RECORD_BYTES + 1}
    deep = {"utf8": '{"payload":', "repeat": 5_000}
    return [
        *cases,
        refuse(
            "more bytes than a record may have", "parse_record", {"record": endless}, "too-large"
        ),
        refuse("deeper than a record may be", "parse_record", {"record": deep}),
    ]


def _commit_by_hand(data: bytes) -> str:
    """The definition of docs/spec/record.md, written a second time."""
    tag = b"ledgergrid/payload-commitment/v1\n"
    digest = sha256(b"".join([tag, SALT, struct.pack(">Q", len(data)), data])).digest()
    return "sha256:" + urlsafe_b64encode(digest).decode().rstrip("=")


def _commitments() -> list[Case]:
    cases = [
        accept(
            f"commitment to {len(data)} bytes",
            "commit",
            {"salt": SALT.hex(), "data": show(data)},
            _commit_by_hand(data),
        )
        for data in (b"", b'{"hello":"world"}', bytes(range(256)))
    ]
    ref = _object(PLAIN)["payload"]["body"]
    good = {"part": ref, "salt": SALT.hex(), "data": {"utf8": '{"hello":"world"}'}}
    bad: dict[str, dict[str, Any]] = {
        "data changed": {"data": {"utf8": '{"hello":"World"}'}},
        "data of another length": {"data": {"utf8": '{"hello":"world"} '}},
        "salt changed": {"salt": SALT[::-1].hex()},
        "salt a byte short": {"salt": SALT[:-1].hex()},
        "no salt": {"salt": ""},
        "last byte of the salt moved to the data": {
            "salt": SALT[:-1].hex(),
            "data": {"utf8": '\x1f{"hello":"world"}'},
            "part": {**ref, "size": 18},
        },
        "size changed": {"part": {**ref, "size": 16}},
        "commitment changed": {"part": {**ref, "commitment": DIGEST}},
    }
    return [
        *cases,
        accept("part that is what the record says", "check_part", good),
        *(
            refuse(f"part with {name}", "check_part", {**good, **change}, "bad-commitment")
            for name, change in bad.items()
        ),
    ]


def _signatures() -> list[Case]:
    signed = record.seal(PLAIN, AGENT)
    given = {"record": show(signed.raw), "signature": signed.signature.hex()}
    bare = AGENT.sign(signed.raw).hex()
    other_type = record.pre_authentication_encoding(signed.raw, b"application/json")
    return [
        accept(
            "what a DSSE signer signs",
            "pre_authentication_encoding",
            {"payload": {"utf8": "hello world"}, "type": "http://example.com/HelloWorld"},
            "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
        ),
        accept("record and its author's signature", "verify_record", given),
        refuse(
            "signature over the bare record",
            "verify_record",
            {**given, "signature": bare},
            "bad-signature",
        ),
        refuse(
            "signature for another payload type",
            "verify_record",
            {**given, "signature": AGENT.sign(other_type).hex()},
            "bad-signature",
        ),
        refuse(
            "signature over another record",
            "verify_record",
            {**given, "record": show(record.format_record(FULL))},
            "bad-signature",
        ),
        refuse(
            "signature by another key",
            "verify_record",
            {**given, "record": show(record.format_record(make_record(key=OPERATOR)))},
            "bad-signature",
        ),
    ]


def cases() -> list[Case]:
    return [*_good(), *_bad(), *_too_large(), *_commitments(), *_signatures()]
