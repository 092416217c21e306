"""Append to a running service, fetch receipts and archives from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

from api.commands.client import open_ledger
from api.commands.options import (
    DEFAULT_LEDGER,
    DEFAULT_URL,
    LedgerName,
    Out,
    SignerFile,
    TokenFile,
    Url,
)
from api.commands.remote import Remote, RemoteError
from ledger_core import limits
from ledger_core.errors import SettingsError, TooLargeError

_JSON = "application/json"

PayloadText = Annotated[str | None, typer.Option("--data", help="The payload, as JSON.")]
PayloadFile = Annotated[
    str | None, typer.Option("--file", help="File that holds the payload; - for standard input.")
]


def append(
    type_: Annotated[str, typer.Option("--type", help="Record type, like note/1.")],
    signer: SignerFile,
    data: PayloadText = None,
    file: PayloadFile = None,
    receipt: Annotated[
        Path | None, typer.Option(help="File to write the receipt to (C2SP tlog-proof).")
    ] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Sign a record, append it, and check the receipt. Prints one line of JSON."""
    payload = (_JSON, read_payload(data, file))
    with open_ledger(url, ledger, signer, token_file) as remote:
        done = remote.append(type_, payload)
    if receipt is not None:
        receipt.write_bytes(done.text)
    facts = {"index": done.index, "id": done.id, "leaf_hash": done.leaf_hash}
    print(msgspec.json.encode({**facts, "received_at": done.received_at}).decode())


def read_payload(data: str | None, file: str | None) -> bytes:
    """Return the payload that was given in one of the two ways."""
    if (data is None) == (file is None):
        raise SettingsError("give the payload with --data or --file")
    if data is not None:
        return data.encode()
    bound = limits.PAYLOAD_PART_BYTES + 1
    if file == "-":
        raw = sys.stdin.buffer.read(bound)
    else:
        with Path(str(file)).open("rb") as source:
            raw = source.read(bound)
    if len(raw) == bound:
        raise TooLargeError(f"a payload part has at most {limits.PAYLOAD_PART_BYTES} bytes")
    return raw


def receipt(
    index: Annotated[int, typer.Argument(min=0, help="The entry's position in the log.")],
    out: Out = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Size of the checkpoint to prove it in.")
    ] = None,
    anchored: Annotated[
        bool, typer.Option("--anchored", help="Of a closed ledger: prove it in the parent's log.")
    ] = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Fetch an entry's receipt (C2SP tlog-proof), or one that leads to the parent's log."""
    if anchored and size is not None:
        raise SettingsError("an anchored receipt is of the size that is anchored")
    path = f"/api/v1/ledgers/{ledger}/entries/{index}/"
    path += "anchored-receipt" if anchored else "receipt"
    text = Remote(url, token_file).get(path, size=size).content
    if out is None:
        sys.stdout.buffer.write(text)
    else:
        out.write_bytes(text)


def export(
    out: Annotated[Path, typer.Option("--out", help="New zip file.")],
    start: Annotated[int, typer.Option(min=0, help="First entry.")] = 0,
    end: Annotated[
        int | None, typer.Option(min=1, help="The entry after the last; all if none.")
    ] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Download an archive that `ledgergrid verify` checks offline."""
    if out.exists():
        raise SettingsError(f"{out} exists: name a new file with --out")
    part = out.with_name(out.name + ".part")
    remote = Remote(url, token_file)
    try:
        size = _download(remote, f"/api/v1/ledgers/{ledger}/archive", part, start, end)
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)
    print(f"{out}: {size:,} bytes. Verify it: ledgergrid verify {out} --trust POLICY")


def _download(remote: Remote, path: str, part: Path, start: int, end: int | None) -> int:
    columns = (SpinnerColumn(), TextColumn("exporting"), DownloadColumn(), TransferSpeedColumn())
    size = 0
    with (
        remote.stream(path, start=start, end=end) as response,
        part.open("wb") as file,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("", total=None)
        for chunk in response.iter_bytes():
            size += file.write(chunk)
            progress.update(task, completed=size)
        file.flush()
        os.fsync(file.fileno())
    if size == 0:
        raise RemoteError("the service sent an empty archive; try again")
    return size
