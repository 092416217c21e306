"""The fourth act: agents change one URL, and every call of theirs is on record and provable.

The provider is a recorded one; the agents' SDKs are the real ones of OpenAI and Anthropic.
"""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from api.demo import service
from api.demo.exchanges import body_bytes, read_exchanges
from api.demo.forger import bodies
from api.demo.service import Service
from api.demo.telling import check_offline, check_session, expect, say, step
from api.demo.upstream import Manner, Upstream, replaying

RECORDED: Final = Path(__file__).parent / "capture.jsonl"
LEDGER: Final = "calls"
TRIP: Final = "trip-to-lyon"
GREEDY: Final = "one-that-does-not-stop"
BUDGET_USD: Final = "0.01"
BUDGET_MICROUSD: Final = 10_000
_PAUSE_S: Final = 0.02
_SETTLE_S: Final = 20
_MOST_CALLS: Final = 50
_SDKS: Final = ("openai", "anthropic")

Exchanges = Mapping[str, Mapping[str, Any]]


def tell(folder: Path) -> None:
    """Tell it with a service of its own, in a folder of its own."""
    say("\n--- Fourth act: agents change one URL, and every call of theirs is on record ---")
    if missing := [name for name in _SDKS if importlib.util.find_spec(name) is None]:
        say(f"(It needs {' and '.join(missing)}, which `make demo` installs.)")
        return
    folder.mkdir()
    recorded = {each["case"]: each for each in read_exchanges(RECORDED)}
    with (
        replaying(recorded.values(), Manner(pause_s=_PAUSE_S)) as provider,
        service.running(
            folder,
            LEDGERGRID_UPSTREAM_URL=provider.url,
            LEDGERGRID_BUDGET_SESSION=BUDGET_USD,
        ) as running,
    ):
        say(f"A provider that answers with recordings runs at {provider.url},")
        say(f"the ledger's proxy in front of it at {running.url}/v1.")
        _plan(running, recorded)
        _check(running, recorded)
        _answer_plainly(running, recorded)
        _spend(running, recorded)
        _look(running)
        _audit(running, folder, provider, recorded)


# --- the agents ------------------------------------------------------------------------


def _headers(session: str, agent: str, **more: str) -> dict[str, str]:
    named = {"session-id": session, "agent-name": agent, "user-id": "guest-17", **more}
    return {f"x-ledgergrid-{name}": value for name, value in named.items()}


def _open_openai(running: Service, session: str, agent: str, **more: str) -> Any:
    import openai

    return openai.OpenAI(
        base_url=f"{running.url}/v1",
        api_key="sk-of-the-provider",
        default_headers=_headers(session, agent, **more),
        max_retries=0,
    )


def _open_anthropic(running: Service, session: str, agent: str, **more: str) -> Any:
    import anthropic

    return anthropic.Anthropic(
        base_url=running.url,
        api_key="sk-ant-of-the-provider",
        default_headers=_headers(session, agent, **more),
        max_retries=0,
    )


def _plan(running: Service, recorded: Exchanges) -> None:
    with (
        step("The planner, on OpenAI's SDK, asks with a tool; it streams") as took,
        _open_openai(running, TRIP, "planner") as client,
    ):
        began = time.perf_counter()
        chunks = client.chat.completions.create(**recorded["plan-1"]["request"])
        first = next(iter(chunks))
        first_ms = (time.perf_counter() - began) * 1000
        called = first.choices[0].delta.tool_calls[0].function.name
        rest = [chunk for chunk in chunks if chunk.choices]
        said = "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**recorded["plan-2"]["request"])
            if chunk.choices
        )
    if rest[-1].choices[0].finish_reason != "tool_calls" or "620 EUR" not in said:
        raise SystemExit(f"the planner heard {said!r}")
    say(f"   It called {called}, was given a price, and said: {said}")
    say(f"   Its first piece came after {first_ms:.0f} ms, the last after {took.seconds:.1f} s.")


def _check(running: Service, recorded: Exchanges) -> None:
    request = {k: v for k, v in recorded["check-1"]["request"].items() if k != "stream"}
    handoff = {"handoff-from": "planner", "handoff-to": "checker"}
    with (
        step("It hands over to the checker, on Anthropic's SDK, which looks up the terms"),
        _open_anthropic(running, TRIP, "checker", **handoff) as client,
    ):
        with client.messages.stream(**request) as stream:
            asked = stream.get_final_message()
        said = client.messages.create(**recorded["check-2"]["request"])
    if asked.stop_reason != "tool_use" or said.stop_reason != "end_turn":
        raise SystemExit(f"the checker stopped with {asked.stop_reason} and {said.stop_reason}")
    say(f"   It called {asked.content[1].name}, and said: {said.content[0].text}")


def _answer_plainly(running: Service, recorded: Exchanges) -> None:
    import openai

    with (
        step("Responses, two answers at once, and an error of the provider's pass just so"),
        _open_openai(running, TRIP, "clerk") as client,
    ):
        told = client.responses.create(**recorded["tell-driver"]["request"])
        lines = client.chat.completions.create(**recorded["two-subjects"]["request"])
        try:
            client.chat.completions.create(**recorded["no-such-model"]["request"])
            raise SystemExit("a model that does not exist answered")
        except openai.NotFoundError as error:
            code = error.code
    say(f"   « {told.output_text} », {len(lines.choices)} subject lines, and {code}.")


def _spend(running: Service, recorded: Exchanges) -> None:
    import anthropic

    with (
        step(f"An agent does not stop. A session may cost {BUDGET_USD} USD"),
        _open_anthropic(running, GREEDY, "loop") as client,
    ):
        calls, refused = 0, None
        while refused is None and calls < _MOST_CALLS:
            try:
                client.messages.create(**recorded["check-2"]["request"])
                calls += 1
            except anthropic.RateLimitError as error:
                refused = error
    if refused is None:
        raise SystemExit("nothing stopped it")
    body: Any = refused.body
    say(f"   After {calls} calls it got {refused.status_code}: {body['error']['message']}")
    if body["error"]["type"] != "budget_exceeded":
        raise SystemExit(f"the refusal is {body}")


# --- what is on record -------------------------------------------------------------------


def _look(running: Service) -> None:
    with step("The operator looks at the sessions"):
        rows = {row["session_id"]: row for row in _sessions(running)}
    for name in (TRIP, GREEDY):
        row = rows[name]
        say(
            f"   {name}: {row['call_count']} calls, {row['error_count']} failed, "
            f"{row['blocked_count']} refused, {row['total_cost_usd']:.6f} USD"
        )
    greedy = rows[GREEDY]
    if not (greedy["blocked_count"] and greedy["total_cost_microusd"] >= BUDGET_MICROUSD):
        raise SystemExit(f"the session is {greedy}")


def _sessions(running: Service) -> list[Any]:
    """Ask until what was refused is there, too: what shows calls follows the log."""
    until = time.monotonic() + _SETTLE_S
    while True:
        answer = running.ask("/api/sessions", running.token)
        rows: list[Any] = answer.json() if answer.is_success else []
        if any(row["session_id"] == GREEDY and row["blocked_count"] for row in rows):
            return rows
        if time.monotonic() > until:
            raise SystemExit(f"the sessions are {rows}")
        time.sleep(0.1)


def _audit(running: Service, folder: Path, provider: Upstream, recorded: Exchanges) -> None:
    archive, policy = folder / "calls.zip", folder / "calls.policy"
    log_key = running.describe(LEDGER)["log_key"]
    policy.write_text(f"log {log_key}\nquorum none\n")
    _audit_trip(running, folder, policy)
    with step("The auditor gets the archive of all calls, and verifies it offline"):
        running.command("export", "--ledger", LEDGER, "--out", str(archive))
        code, report = check_offline(archive, policy)
        expect(code, 0)
    say("   " + next(line for line in report.split("\n") if line.startswith("VERIFIED")))
    said = Counter(body_bytes(each["response"]) for each in recorded.values())
    kept = Counter(_answers(archive))
    if not kept or set(kept) - set(said) or kept.total() != provider.count:
        raise SystemExit("an answer on record is not the one that the provider gave")
    say(f"   {kept.total()} answers of the provider's are in it, byte for byte, streams and all.")
    if b"of-the-provider" in archive.read_bytes() + b"".join(bodies(archive)):
        raise SystemExit("a provider's key is on record")
    say("   The agents' keys for the provider are nowhere in it.")


def _audit_trip(running: Service, folder: Path, policy: Path) -> None:
    """Verify one session's export, and what becomes of it when a word in it is another."""
    export, forged = folder / "trip.json", folder / "forged.json"
    with step("The trip's calls are one file; the auditor verifies it offline"):
        answer = running.ask(f"/export/{TRIP}", running.token)
        answer.raise_for_status()
        export.write_bytes(answer.content)
        code, report = check_session(export, policy)
        expect(code, 0)
    say("   " + report.strip().replace("\n", "\n   "))
    forged.write_bytes(answer.content.replace(b"620 EUR", b"260 EUR"))
    code, report = check_session(forged, policy)
    if not code:
        raise SystemExit(f"a forged price was verified: {report}")
    say(f"   With another price in it, the verifier ends with exit code {code}.")


def _answers(archive: Path) -> Iterator[bytes]:
    return bodies(archive, "response")
