"""Refusals are on record, and a flood of them fills no disk."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from api.proxy.refusals import KINDS
from tests.api.live import running
from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import exchange, request

ASKED = b'{"model":"gpt-4o","messages":[]}'


def test_a_flood_of_one_kind_is_a_record_or_two_a_second_and_counted_whole(
    proxying_with: Proxying,
) -> None:
    with proxying_with(deny_models="*") as proxied:
        raw = request(proxied.address, "/v1/chat/completions", ASKED)
        began_s = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(lambda _: exchange(proxied.address, raw).status, range(300)))
        took_s = time.monotonic() - began_s
        assert got == [403] * 300
        time.sleep(1.5)
        refusals = proxied.refusals()
        assert sum(each.told.get("calls", 1) for each in refusals) == 300
        assert len(refusals) <= 2 * (took_s + 2)


def test_a_flood_of_many_kinds_is_bounded_too(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="*") as proxied:

        def ask(number: int) -> int:
            headers = [("x-ledgergrid-session-id", f"s{number}")]
            raw = request(proxied.address, "/v1/chat/completions", ASKED, headers=headers)
            return exchange(proxied.address, raw).status

        began_s = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(ask, range(400))) == {403}
        took_s = time.monotonic() - began_s
        time.sleep(1.5)
        refusals = proxied.refusals()
        assert sum(each.told.get("calls", 1) for each in refusals) == 400
        assert len(refusals) <= (KINDS + 2) * 2 * (took_s + 2)


def test_what_was_counted_is_recorded_when_the_service_stops(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="*") as proxied:
        raw = request(proxied.address, "/v1/chat/completions", ASKED)
        for _ in range(5):
            exchange(proxied.address, raw)
        settings = proxied.live.service.settings
    with running(settings) as live:
        refusals = Proxied(live, proxied.upstream).refusals()
    assert sum(each.told.get("calls", 1) for each in refusals) == 5


def test_identity_and_tags_are_on_the_record_of_a_refusal(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="*") as proxied:
        headers = [("x-agentledger-user-id", "u1"), ("x-ledgergrid-tag-team", "blue")]
        raw = request(proxied.address, "/v1/chat/completions", ASKED, headers=headers)
        exchange(proxied.address, raw)
        (refusal,) = proxied.refusals()
        assert (refusal.told["user_id"], refusal.told["tags"]) == ("u1", {"team": "blue"})
        assert refusal.told["model_id"] == "gpt-4o"
        assert set(refusal.entry.parts) == {"refusal"}


def test_what_we_answer_ourselves_is_no_page_and_what_is_relayed_is_not_touched(
    proxying_with: Proxying,
) -> None:
    with proxying_with(deny_models="gpt-*") as proxied:
        own = [
            request(proxied.address, "/v1/chat/completions", ASKED),
            request(proxied.address, "/v1/chat%2Fcompletions", ASKED),
            request(proxied.address, "/v1/x", ASKED, headers=[("origin", "http://evil.example")]),
            request(("evil.example", 80), "/v1/x", ASKED),
        ]
        got = [exchange(proxied.address, raw) for raw in own]
        assert [each.status for each in got] == [403, 400, 403, 421]
        assert [each.values(b"x-content-type-options") for each in got] == [[b"nosniff"]] * 4
        relayed = exchange(proxied.address, request(proxied.address, "/v1/x", b"{}"))
        assert relayed.status == 200
        assert relayed.values(b"x-content-type-options") == []
