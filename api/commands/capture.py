"""``ledgergrid capture …``: what calls through the proxy may cost, and stopping them all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api.commands.client import open_ledger, read_json, report
from api.commands.options import DEFAULT_URL, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.records.types.capture_limits import CAPTURE_LIMITS_1, CaptureLimits
from ledger_core.records.types.capture_stop import CAPTURE_STOP_1, CaptureStop
from ledgergrid.describing import printable

app = typer.Typer(no_args_is_help=True, help="Say what calls may cost; stop them all.")

_PATH = "/api/v1/capture"
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Sign with this private key, an operator's or a steward's, instead of having the "
        "service sign for an admin's token.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why: stands in the record.")]


@app.command()
def limits(
    file: Annotated[
        Path, typer.Argument(help="JSON file that holds the whole set: a `capture.limits/1`.")
    ],
    key: Key = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Set budgets, rates and lists of models; what the file leaves out is as the service has it."""
    said = read_json(file, CaptureLimits, "a set of limits")
    _change(Remote(url, token_file), "limits", said, key, token_file, url)


@app.command()
def stop(
    reason: Reason = "", key: Key = None, url: Url = DEFAULT_URL, token_file: TokenFile = None
) -> None:
    """Stop all calls, everywhere, from the next one on; a restart changes nothing of it."""
    said = CaptureStop("stop", reason)
    _change(Remote(url, token_file), "stop", said, key, token_file, url)


@app.command()
def resume(
    reason: Reason = "", key: Key = None, url: Url = DEFAULT_URL, token_file: TokenFile = None
) -> None:
    """Let calls go on."""
    said = CaptureStop("resume", reason)
    _change(Remote(url, token_file), "resume", said, key, token_file, url)


@app.command()
def status(url: Url = DEFAULT_URL, token_file: TokenFile = None) -> None:
    """Show whether calls are stopped, their limits, and calls whose end nobody knows."""
    told = Remote(url, token_file).get(_PATH).json()
    print(printable(f"ledger  {told['ledger']}"))
    print(printable(f"calls   {_standing(told)}"))
    since = "" if told["limits_since"] is None else f", set by entry {told['limits_since']}"
    print(f"limits  {len(told['limits'])}{since}")
    for name, value in told["limits"].items():
        print(printable(f"  {name}  {msgspec.json.encode(value).decode()}"))
    print(f"open    {len(told['open_calls'])} began more than an hour ago and have no end")
    for call in told["open_calls"]:
        words = (call["timestamp"], call["action_id"], call["model_id"], call["session_id"])
        print(printable("  " + "  ".join(str(word or "-") for word in words)))


def _standing(told: dict[str, Any]) -> str:
    if not told["is_stopped"]:
        return "go on"
    why = f": {told['reason']}" if told["reason"] else ""
    return f"stopped by entry {told['stopped_since']}{why}"


def _change(
    remote: Remote,
    what: str,
    said: CaptureLimits | CaptureStop,
    key: Path | None,
    token_file: Path | None,
    url: str,
) -> None:
    if key is not None:
        ledger: str = remote.get(_PATH).json()["ledger"]
        kind = CAPTURE_LIMITS_1 if isinstance(said, CaptureLimits) else CAPTURE_STOP_1
        with open_ledger(url, ledger, key, token_file) as client:
            report(client, ledger, client.append(kind.name, msgspec.to_builtins(said)), what)
        return
    body = {"reason": said.reason} if isinstance(said, CaptureStop) else msgspec.to_builtins(said)
    index = remote.post(f"{_PATH}/{what}", body).json()["index"]
    told = remote.get(_PATH).json()
    is_done = told["limits_since"] == index or (what != "limits" and _is_as(told, what))
    if is_done:
        print(f"{_SAID[what]} (entry {index})")
        return
    print(f"proposed (entry {index}): see `ledgergrid proposals {told['ledger']}`")


_SAID = {
    "limits": "these limits are in force",
    "stop": "all calls are stopped",
    "resume": "calls go on",
}


def _is_as(told: dict[str, Any], what: str) -> bool:
    is_stopped: bool = told["is_stopped"]
    return is_stopped == (what == "stop")
