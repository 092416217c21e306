"""Headers go through in order and with duplicates; what is meant for us stays."""

from __future__ import annotations

import pytest

from api.proxy.headers import sort_answer, sort_request
from ledger_core.errors import MalformedError


def test_order_and_duplicates_stay_and_hop_by_hop_headers_go() -> None:
    headers = [
        (b"x-a", b"1"),
        (b"host", b"here"),
        (b"x-b", b"2"),
        (b"x-a", b"3"),
        (b"connection", b"keep-alive, X-Hop"),
        (b"x-hop", b"4"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"9"),
        (b"expect", b"100-continue"),
        (b"content-type", b"application/json"),
    ]
    assert sort_request(headers).onward == [
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-a", "3"),
        ("content-type", "application/json"),
    ]


def test_connection_cannot_name_away_what_a_body_means() -> None:
    headers = [(b"connection", b"content-encoding"), (b"content-encoding", b"gzip")]
    assert sort_request(headers).onward == [("content-encoding", "gzip")]


@pytest.mark.parametrize("prefix", [b"x-ledgergrid-", b"x-agentledger-", b"x-agenticledger-"])
def test_identity_is_read_under_each_prefix_and_stays_here(prefix: bytes) -> None:
    headers = [
        (prefix + b"session-id", b"s1"),
        (prefix + b"session-id", b"s2"),
        (prefix + b"user-id", "Zoë".encode()),
        (prefix + b"environment", b"production"),
        (prefix + b"tag-team", b"blue"),
        (prefix + b"key", b"lgt_x"),
        (prefix + b"unknown", b"x"),
    ]
    found = sort_request(headers).identity
    assert (found.session_id, found.user_id, found.environment) == ("s1", "Zoë", "production")
    assert (found.tags, found.token) == ({"team": "blue"}, "lgt_x")
    assert sort_request(headers).onward == []


def test_claude_codes_session_counts_where_no_other_is_named() -> None:
    claude = (b"x-claude-code-session-id", b"c1")
    assert sort_request([claude]).identity.session_id == "c1"
    assert sort_request([claude, (b"x-agentledger-session-id", b"s1")]).identity.session_id == "s1"
    assert sort_request([claude]).onward == []


def test_our_credentials_stay_wherever_they_stand() -> None:
    headers = [
        (b"authorization", b"Bearer lgt_abc"),
        (b"x-api-key", b"our-api-key"),
        (b"cookie", b"a=lgt_abc"),
        (b"api-key", b"sk-theirs"),
    ]
    assert sort_request(headers, (b"our-api-key",)).onward == [("api-key", "sk-theirs")]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-ledgergrid-session-id", b"x" * 501)],
        [(b"x-ledgergrid-user-id", b"a\x00b")],
        [(b"x-ledgergrid-tag-%d" % n, b"x") for n in range(33)],
        [(b"x-ledgergrid-tag-" + b"n" * 65, b"x")],
        [(b"x-ledgergrid-tag-", b"x")],
    ],
)
def test_claims_are_bounded(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(MalformedError):
        sort_request(headers)


def test_a_value_that_is_no_utf_8_cannot_be_forwarded_as_it_is() -> None:
    with pytest.raises(MalformedError):
        sort_request([(b"x-a", b"\xe9")])


def test_an_answers_headers_go_back_in_order() -> None:
    headers = [
        (b"Set-Cookie", b"a=1"),
        (b"X-Request-Id", b"r"),
        (b"Connection", b"close, x-hop"),
        (b"X-Hop", b"1"),
        (b"Set-Cookie", b"b=2"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"2"),
        (b"X-AgentLedger-Action-Id", b"forged"),
    ]
    assert sort_answer(headers).onward == [
        (b"Set-Cookie", b"a=1"),
        (b"X-Request-Id", b"r"),
        (b"Set-Cookie", b"b=2"),
        (b"Content-Length", b"2"),
    ]
