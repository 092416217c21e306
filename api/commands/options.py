"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the service's keys and embedded database. [./data]"),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="sqlite:///FILE or postgresql://… (with a password: LEDGERGRID_DATABASE instead)",
    ),
]
Url = Annotated[
    str,
    typer.Option("--url", envvar="LEDGERGRID_URL", help="Where the service answers."),
]
LedgerName = Annotated[
    str, typer.Option("--ledger", envvar="LEDGERGRID_LEDGER", help="The ledger's name.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File that holds the access token. Without it: the variable LEDGERGRID_TOKEN. "
        "Never an argument, which others on the machine can see.",
    ),
]
SignerFile = Annotated[
    Path, typer.Option("--signer", help="The author's private key, made by `ledgergrid keygen`.")
]
Out = Annotated[Path | None, typer.Option("--out", help="File to write; standard output if none.")]

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_LEDGER = "main"
