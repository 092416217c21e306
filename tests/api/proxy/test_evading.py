"""Ways around the rules: every spelling, framing and coding is judged as what is forwarded."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import brotli
import msgspec
import pytest
import zstandard

from ledger_core.records.types.capture_stop import CaptureStop
from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import exchange, request

CHAT = "/v1/chat/completions"
ASKED = b'{"model":"gpt-4o","max_tokens":10,"messages":[{"role":"user","content":"Hi"}]}'
JSON = [("content-type", "application/json")]
OTHER_HOST = "http://api.openai.com"

TARGETS = [
    "/v1/chat/completions",
    "//v1/chat/completions",
    "///v1///chat///completions///",
    "//v1/../v1/chat/completions",
    "//x/../v1/chat/completions",
    "/x/v1/../../v1/chat/completions",
    "/x/v1/chat/completions",
    "//x/v1/chat/completions",
    "/V1/chat/completions",
    "/V1/Chat/COMPLETIONS/",
    "/v1/chat/completions/",
    "/v1/chat/completions/.",
    "/v1/chat/completions/..",
    "/v1/chat/completions/x/..",
    "/v1/./chat/completions",
    "/v1/chat/../chat/completions",
    "/v1/chat/%2e%2e/chat/completions",
    "/v1/chat/%2E./chat/completions",
    "/v1/%2e/chat/completions",
    "/v1/../../v1/chat/completions",
    "/v1/../api/../v1/chat/completions",
    "/api/../v1/chat/completions",
    "/mcp/..%2fv1/chat/completions",
    "/session/x/../../v1/chat/completions",
    "/health/../v1/chat/completions",
    "/%76%31/chat/completions",
    "/v1/ch%61t/completions",
    "/v1%2Fchat%2Fcompletions",
    "/v1%2fchat/completions",
    "/%2Fv1/chat/completions",
    "/v1/chat%2Fcompletions",
    "/v1/chat%252Fcompletions",
    "/v1/%252e%252e/v1/chat/completions",
    "/v1/%63hat/completions%2F",
    "/v1\\chat\\completions",
    "/v1/chat%5Ccompletions",
    "/v1/chat/completions;x=1",
    "/v1;x/chat/completions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/completions%0d%0ax:%20y",
    "/v1/chat/completions#x",
    "/v1/chat/completions%23",
    "/v1/chat/completions%3Fx",
    "/v1/chat/completions?x=/v1/models",
    "/v1/models?x=/../chat/completions",
    "/v1/%C0%AE%C0%AE/v1/chat/completions",
    "/v1/chat\u2215completions",
    "/\uff56\uff11/chat/completions",
    "v1/chat/completions",
    "*",
    f"{OTHER_HOST}/v1/chat/completions",
    f"{OTHER_HOST}//V1/x/../chat/completions/",
    f"{OTHER_HOST}/v1%2Fchat/completions",
    "http://127.0.0.1/v1/chat/completions",
    "HTTP://user:pass@127.0.0.1/v1/chat/completions",
    "//api.openai.com/v1/chat/completions",
    "/s/run/v1/chat/completions",
    "/s/run//V1/x/../chat/completions/",
    "/s/run/v1%2Fchat/completions",
    "/s/run/x/../v1/chat/completions",
    "/s/../v1/chat/completions",
    "/s/run/../../v1/chat/completions",
    "/s/run/s/run/v1/chat/completions",
    "/S/run/v1/chat/completions",
    "//s/run/v1/chat/completions",
    "/s/%2e%2e/v1/chat/completions",
    "/s/a%2F..%2F..%2Fv1/chat/completions",
]


def send(proxied: Proxied, target: str, method: str = "POST") -> int:
    raw = request(proxied.address, "{target}", ASKED, method=method, headers=JSON)
    return exchange(proxied.address, raw.replace(b"{target}", target.encode())).status


def stop(proxied: Proxied) -> None:
    assert send(proxied, CHAT) == 200
    proxied.upstream.seen.clear()
    ledger = proxied.live.service.ledgers.get("calls")
    body = msgspec.json.encode(CaptureStop(action="stop", reason="enough"))
    ledger.append_as_operator("capture.stop/1", body)


@pytest.mark.parametrize(
    ("settings", "prepare"),
    [
        ({}, stop),
        ({"deny_models": "gpt-*"}, None),
        ({"allow_models": "o3"}, None),
        ({"deny_providers": "*"}, None),
        ({"budget_daily": "0"}, None),
        ({"rate_limit_rpm": 0}, None),
    ],
    ids=["stopped", "denied", "not-allowed", "no-provider", "no-budget", "no-rate"],
)
def test_no_spelling_of_a_path_gets_around_a_rule(
    proxying_with: Proxying, settings: dict[str, Any], prepare: Callable[[Proxied], None] | None
) -> None:
    with proxying_with(**settings) as proxied:
        if prepare is not None:
            prepare(proxied)
        statuses = {target: send(proxied, target) for target in TARGETS}
        assert {target for target, status in statuses.items() if status < 400} == set()
        assert proxied.upstream.seen == []
        assert statuses[CHAT] in (403, 429)


def test_whatever_the_upstream_sees_is_what_was_judged_and_is_on_record(proxied: Proxied) -> None:
    for target in TARGETS:
        before = len(proxied.upstream.seen)
        status = send(proxied, target)
        assert (status == 200) == (len(proxied.upstream.seen) == before + 1), target
        assert len(proxied.starts()) == len(proxied.upstream.seen), target
    for seen, start in zip(proxied.upstream.seen, proxied.starts(), strict=True):
        told = start.told
        query = f"?{told['query']}" if told.get("query") else ""
        assert seen.target.decode() == told["path"] + query
        assert seen.values(b"host") == [proxied.upstream.url.removeprefix("http://").encode()]
        assert seen.target.startswith(b"/v1/")
        # A captured path is never taken for another one.
        assert (told.get("wire") == "openai.chat") == (told["path"] == CHAT)
        assert told["path"] == CHAT or "completions" not in told["path"] or "%" in told["path"]


def test_no_method_carries_a_prompt_past_a_rule(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="gpt-*") as proxied:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post"):
            assert send(proxied, CHAT, method) >= 400, method
        assert proxied.upstream.seen == []


def test_a_request_with_two_lengths_is_not_forwarded(proxied: Proxied) -> None:
    for framing in (
        [("transfer-encoding", "chunked")],
        [("content-length", "5")],
        [("transfer-encoding", "x, chunked")],
    ):
        raw = request(proxied.address, CHAT, ASKED, headers=[*JSON, *framing])
        assert exchange(proxied.address, raw).status == 400
    assert proxied.upstream.seen == []


TWO = [b'{"model":"bad","model":"ok"}', b'{"model":"ok","Model":"bad"}', b'{"Model":"bad"}']


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}
RULES = [{"allow_models": "ok"}, {"deny_models": "bad"}]


@pytest.mark.parametrize("rule", RULES)
def test_no_coding_hides_a_denied_model(proxying_with: Proxying, rule: dict[str, str]) -> None:
    with proxying_with(**rule) as proxied:
        for coding, body in product(CODINGS, TWO):
            headers = [*JSON, ("content-encoding", coding)]
            raw = request(proxied.address, CHAT, CODINGS[coding](body), headers=headers)
            assert exchange(proxied.address, raw).status == 403, (coding, body)
        assert proxied.upstream.seen == []


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = [b'--b\r\ncontent-disposition: form-data; name=%b\r\n\r\n%b\r\n' % (n.encode(), v)
             for n, v in fields]  # fmt: skip
    return b"".join(parts) + b"--b--\r\n"


FORMS = [
    form(('"model"', b"bad")),
    form(('"file"; filename="a.mp3"', b"\x00" * 2_000_000), ('"model"', b"bad")),
    form(('"model"', b"ok"), ('"model"', b"bad")),
    form(('"model"', b"bad"), ('"model"', b"ok")),
    form(("model", b"bad")),
    form(('"Model"', b"bad")),
    form(("'model'", b"bad")),
    form(('"model"; filename="x"', b"bad")),
    form(('"model"\r\ncontent-transfer-encoding: base64', b"YmFk")),
    form(("x\r\nname*=utf-8''model", b"bad")),
    b'{"model":"bad"}',
    b' {"model":"bad"} --b',
    form(('"mod%65l"', b"bad"), ('"model"', b"bad")),
]


@pytest.mark.parametrize("rule", RULES)
def test_no_form_hides_a_denied_model(proxying_with: Proxying, rule: dict[str, str]) -> None:
    with proxying_with(**rule) as proxied:
        headers = [("content-type", "multipart/form-data; boundary=b")]
        for body in FORMS:
            raw = request(proxied.address, "/v1/audio/transcriptions", body, headers=headers)
            assert exchange(proxied.address, raw).status == 403, body[:200]
        assert proxied.upstream.seen == []


def test_what_is_called_a_form_and_is_none_hides_no_model(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="bad") as proxied:
        for media_type in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded"):
            body = b'--b\n{"model":"bad"}' if "b" in media_type[-1] else b'{"model":"bad"}'
            for each in (body, b'{"model":"bad"}'):
                headers = [("content-type", media_type)]
                raw = request(proxied.address, CHAT, each, headers=headers)
                assert exchange(proxied.address, raw).status == 403
        assert proxied.upstream.seen == []


def test_a_form_of_many_odd_lines_is_read_in_no_time(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="bad") as proxied:
        headers = [("content-type", "multipart/form-data; boundary=b")]
        body = b"--b\ncontent-disposition: form-data" + b";name=model" * 500_000
        for each in (body, b"--b" + b"\ncontent-disposition:;name=model" * 200_000):
            raw = request(proxied.address, "/v1/audio/transcriptions", each, headers=headers)
            began_s = time.monotonic()
            assert exchange(proxied.address, raw).status == 403
            assert time.monotonic() - began_s < 60
        assert proxied.upstream.seen == []


def test_a_form_that_names_an_allowed_model_passes(proxying_with: Proxying) -> None:
    with proxying_with(allow_models="whisper-*") as proxied:
        headers = [("content-type", "multipart/form-data; boundary=b")]
        body = form(('"file"; filename="a.mp3"', b"\x00" * 1000), ('"model"', b"whisper-1"))
        raw = request(proxied.address, "/v1/audio/transcriptions", body, headers=headers)
        assert exchange(proxied.address, raw).status == 200
        assert proxied.starts()[0].told["model_id"] == "whisper-1"


HIDDEN_IN_PATHS = [
    ("/v1/models/bad:generateContent", b"{}"),
    ("/v1/engines/bad/completions", b"{}"),
    ("/v1/deployments/bad/chat/completions", b"{}"),
    ("/v1/deployments/bad/chat/completions", b'{"model":"ok"}'),
    ("/v1/images/generations", b'{"model":"bad"}'),
    ("/v1/images/generations", b'{"model":"ok","model":"bad"}'),
]


def test_no_path_hides_a_denied_model(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="bad") as proxied:
        for path, body in HIDDEN_IN_PATHS:
            raw = request(proxied.address, path, body, headers=JSON)
            assert exchange(proxied.address, raw).status == 403, (path, body)
        assert proxied.upstream.seen == []
