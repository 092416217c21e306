"""What the two entries of a call cost, by step, in processor time: no proxy, no network.

Half of a batch are starts, half are ends of earlier starts, as the proxy appends them when
sixteen calls are always on their way.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

from ledger_core import clock, ids
from ledger_core.admission import Admitted
from ledger_core.capturing import Scribe, open_scribe
from ledger_core.errors import LedgerGridError
from ledger_core.follower import Follower
from ledger_core.policy.allowances import Draw, day_ends_ms
from ledger_core.records.calls import Identity
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from tests.bench.figures import Figure
from tests.bench.place import Place, found, opened
from tests.bench.run import Run

CALLS_AT_ONCE: Final = 16
_VIEWED_AT_ONCE: Final = 320
"""Calls between two looks of the follower, which takes one each 0.2 s."""
_BODY_BYTES: Final = 1_024
_STEPS: Final = ("made", "committed", "signed", "viewed")
_BUDGETS: Final = ("session", "agent", "user", "credential", "total")


class Meter:
    """Processor time of this process, all threads, by step; in seconds."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(_STEPS, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = _processor_s()
        yield
        self.spent[name] += _processor_s() - began


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(run: Run, store: str) -> None:
    """Append calls in batches; then let the views see them."""
    section = f"capture, {store}"
    run.report.heading(section)
    folder = run.folder / f"capture-{store}"
    place = found(store, folder, run.server_of(store), run.stock)
    calls = run.sizes.endorsed
    spent = append_calls(place, calls)
    for step, spent_s in spent.items():
        run.report.add(Figure(section, f"an entry {step}", spent_s / (2 * calls) * 1e6, "µs CPU"))
    total = sum(spent.values()) / (2 * calls) * 1e6
    run.report.add(Figure(section, "an entry, all of it", total, "µs CPU"))
    shutil.rmtree(folder)


def append_calls(place: Place, calls: int) -> dict[str, float]:
    """Return the processor time, in seconds, that each step of so many calls took."""
    with opened(place) as ledgers:
        scribe = open_scribe(ledgers, "calls")
        ledgers.follower.catch_up()
        _append(scribe, _VIEWED_AT_ONCE, Meter(), ledgers.follower)
        meter = Meter()
        _append(scribe, calls, meter, ledgers.follower)
        return meter.spent


def _append(scribe: Scribe, calls: int, meter: Meter, follower: Follower) -> None:
    begun: list[tuple[Identity, bytes]] = []
    for at in range(0, calls + CALLS_AT_ONCE, CALLS_AT_ONCE):
        some = [_identity(number) for number in range(at, min(at + CALLS_AT_ONCE, calls))]
        with meter.step("made"):
            batch = [_end(scribe, identity, leaf) for identity, leaf in begun]
            batch += [_start(scribe, identity) for identity in some]
        with meter.step("committed"):
            commit = scribe.ledger.commit(batch)
        with meter.step("signed"):
            scribe.ledger.acknowledge(commit, ())
        begun_at = len(begun)
        begun = []
        for number, identity in enumerate(some, begun_at):
            outcome = commit.outcome(number)
            if isinstance(outcome, LedgerGridError):
                raise outcome
            begun.append((identity, outcome.leaf_hash))
        if not at % _VIEWED_AT_ONCE or not some:
            with meter.step("viewed"):
                failure = follower.catch_up()
            if failure is not None:
                raise failure


def _identity(number: int) -> Identity:
    return Identity(
        action_id=ids.new_record_id(),
        timestamp=clock.format_time(clock.now_ms()),
        provider="openai",
        wire="openai.chat",
        method="POST",
        path="/v1/chat/completions",
        model_id="gpt-4o-mini",
        session_id=f"session-{number // 50}",
        user_id=f"user-{number % 100}",
        agent_name=f"researcher-{number % 7}",
        environment="production",
        credential="research",
        tags={"team": "a"},
    )


def _fields(identity: Identity) -> dict[str, object]:
    return {name: getattr(identity, name) for name in Identity.__struct_fields__}


def _start(scribe: Scribe, identity: Identity) -> Admitted:
    body = os.urandom(_BODY_BYTES)
    start = LlmStart(
        **_fields(identity),  # type: ignore[arg-type]
        request_bytes=len(body),
        request_sha256=sha256(body).hexdigest(),
        reserved_microusd=900,
        media_type="application/json",
    )
    return scribe.start(start, body, "application/json", _draws(scribe, identity, 900))


def _end(scribe: Scribe, identity: Identity, answers: bytes) -> Admitted:
    body = os.urandom(_BODY_BYTES)
    call = LlmCall2(
        **_fields(identity),  # type: ignore[arg-type]
        status_code=200,
        latency_ms=812,
        first_token_ms=300,
        tokens_in=123,
        tokens_out=45,
        cost_microusd=77,
        cost_basis="estimated",
        price_source="genai-prices@0.2.3",
        stop_reason="stop",
        response_id="chatcmpl-abcdefghij",
        response_model="gpt-4o-mini-2024-07-18",
        choices=1,
        response_bytes=len(body),
        response_sha256=sha256(body).hexdigest(),
        response_media_type="application/json",
    )
    draws = _draws(scribe, identity, 77 - 900)
    return scribe.end(call, answers, body, "application/json", draws)


def _draws(scribe: Scribe, identity: Identity, amount: int) -> tuple[Draw, ...]:
    names = (identity.session_id, identity.agent_name, identity.user_id, identity.credential, "")
    until_ms = day_ends_ms(clock.now_ms())
    return tuple(
        Draw(scribe.allowance_key(kind, name or ""), amount, None, kind, until_ms)
        for kind, name in zip(_BUDGETS, names, strict=True)
    )
