"""``ledgergrid epoch …``: go on from an older backup, once those who decide have signed for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from api.commands.client import open_ledger
from api.commands.options import (
    DEFAULT_LEDGER,
    DEFAULT_URL,
    Data,
    DatabaseUrl,
    LedgerName,
    SignerFile,
    TokenFile,
    Url,
)
from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.records.types.epoch import (
    Agreement,
    Known,
    Statement,
    format_statement,
    parse_statement,
    sign_statement,
    verify_agreement,
)
from ledgergrid import Receipt, Signer

if TYPE_CHECKING:
    from ledger_core.epochs import Standstill

app = typer.Typer(
    no_args_is_help=True, help="Go on from an older backup, under a new origin, by a quorum."
)

Name = Annotated[str, typer.Argument(help="The ledger's name.")]
StatementFile = Annotated[Path, typer.Argument(help="The statement, made by `epoch state`.")]


@app.command()
def state(
    ledger: Name,
    file: Annotated[Path, typer.Argument(help="New file for the statement.")],
    reason: Annotated[str, typer.Option(help="Why history is lost: printable ASCII.")],
    known: Annotated[
        list[Path] | None,
        typer.Option(help="Receipt or checkpoint that somebody kept; may be given again."),
    ] = None,
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Say what is lost and how to go on, for those who decide to sign. The service is stopped."""
    from ledger_core.epochs import state_epoch

    kept = [_read_checkpoint(path) for path in known or ()]
    with _standing_still(data, database) as service:
        statement = state_epoch(service, ledger, reason, kept)
    _write_new(file, format_statement(statement) + b"\n")
    print(describe(statement))
    print(f"Next, by each of those who decide: ledgergrid epoch sign {file} --key KEY")


@app.command()
def sign(
    file: StatementFile,
    key: Annotated[
        Path | None, typer.Option("--key", help="Your private key, made by `keygen`.")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Sign with this service's own operator key.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="New file for the signature. [FILE.<your key>.sig]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    data: Data = None,
) -> None:
    """Agree to an epoch: shows in words what is lost before it signs."""
    if (key is None) == (not operator):
        raise SettingsError("sign with --key KEY, or with this service's own key: --operator")
    statement = _read_statement(file)
    print(describe(statement))
    if not yes:
        typer.confirm("Do you agree that this is lost?", abort=True)
    if key is not None:
        agreement = Signer.load(key).agree(statement)
    else:
        agreement = sign_statement(statement, _operator_key(statement, data))
    target = out or file.with_name(f"{file.name}.{agreement.key.rpartition(':')[2][:8]}.sig")
    _write_new(target, msgspec.json.encode(agreement) + b"\n")
    print(f"signed by {agreement.key}, in {target}")


@app.command("open")
def open_(
    ledger: Name,
    file: StatementFile,
    signatures: Annotated[list[Path], typer.Argument(help="Files made by `epoch sign`.")],
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Open the epoch that a quorum signed for. The service is stopped."""
    from ledger_core.epochs import open_epoch

    statement = _read_statement(file)
    agreements = [_read_agreement(path) for path in signatures]
    for each in agreements:
        verify_agreement(statement, each)
    with _standing_still(data, database) as service:
        index = open_epoch(service, ledger, statement, agreements)
    print(f"{ledger} goes on as {statement.new_origin}, from entry {index}")
    print(f"log key  {statement.log_key}")
    print("Next: ledgergrid serve. Tell witnesses, and those who verify, the new log key; have")
    print("authors send again what was lost.")


@app.command()
def follow(
    origin: Annotated[str, typer.Argument(help="The epoch's origin, as the refusal named it.")],
    signer: SignerFile,
    yes: Annotated[bool, typer.Option("--yes", help="Follow without asking.")] = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Have the clients of this machine follow a ledger that lost history. Shows what is lost."""
    with open_ledger(url, ledger, signer, token_file) as client:
        for epoch in client.read_epoch(origin):
            print(f"EPOCH    entry {epoch.index} left {epoch.old_origin}")
            for known in epoch.lost:
                print(f"LOST     {_lost(epoch.kept, known)}")
            print(f"goes on  as {epoch.new_origin}")
            print(f"reason   {epoch.reason}")
            for key in epoch.signed_by:
                print(f"signed   {key}")
        print("Whether these are enough is counted by ledgergrid-verify, from an archive.")
        if not yes:
            typer.confirm("Do you go on with it?", abort=True)
        client.accept_epoch(origin)
        delivered = [each for each in client.flush() if isinstance(each, Receipt)]
    print(f"{ledger} is followed as {origin}; {len(delivered)} records that waited are in it")


def describe(statement: Statement) -> str:
    """Say in words what a statement says."""
    lines = [
        f"ledger   {statement.old_origin}",
        f"kept     {statement.fork.size} entries, root {statement.fork.root}",
    ]
    for known in statement.known:
        lines.append(f"LOST     {_lost(statement.fork.size, known)}")
    return "\n".join(
        [
            *lines,
            f"goes on  as {statement.new_origin}",
            f"log key  {statement.log_key}",
            f"reason   {statement.reason}",
        ]
    )


def _lost(kept: int, known: Known) -> str:
    if kept < known.size:
        return f"entries {kept} to {known.size - 1} of {known.origin}"
    return f"all of {known.origin}, signed up to size {known.size}"


def _operator_key(statement: Statement, data: Path | None) -> PrivateKey:
    from api.settings import load_settings
    from ledger_core.keyring import open_keyring

    keyring_file = load_settings(data=data).keyring_file
    if not keyring_file.exists():
        raise SettingsError(f"no keyring in {keyring_file}: name the service's folder with --data")
    return open_keyring(keyring_file).operator(ids.parse_epoch(statement.old_origin)[0])


@contextmanager
def _standing_still(data: Path | None, database: str | None) -> Iterator[Standstill]:
    """Open database, memory and keys of a service that does not run."""
    from api.examination import check_folder
    from api.serving import sole_service
    from api.settings import load_settings
    from ledger_core.clock import now_ms
    from ledger_core.epochs import Standstill
    from ledger_core.keyring import open_keyring
    from ledger_core.storage.database import open_database
    from ledger_core.storage.signer_memory import SignerMemory

    settings = load_settings(data=data, database=database)
    check_folder(settings)
    with ExitStack() as held:
        if settings.sqlite_file is not None:
            held.enter_context(sole_service(settings.sqlite_file))
        opened = held.enter_context(closing(open_database(settings.database_url)))
        opened.check_migrated()
        remembered = held.enter_context(closing(open_database(settings.signer_memory_url)))
        keyring = open_keyring(settings.keyring_file)
        yield Standstill(opened, SignerMemory(remembered), keyring, now_ms)


def _read_statement(path: Path) -> Statement:
    return parse_statement(_read(path).removesuffix(b"\n"))


def _read_agreement(path: Path) -> Agreement:
    try:
        return msgspec.json.decode(_read(path), type=Agreement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"{path} is not a signature of `epoch sign`: {error}") from None


def _read_checkpoint(path: Path) -> bytes:
    """Return the signed checkpoint in a file, or in the receipt in it."""
    from ledger_core.formats.receipt import parse_receipt

    raw = _read(path)
    try:
        return parse_receipt(raw).checkpoint
    except MalformedError:
        return raw


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        raw = stream.read(limits.NOTE_BYTES + 1)
    if len(raw) > limits.NOTE_BYTES:
        raise MalformedError(f"{path} is larger than {limits.NOTE_BYTES} bytes")
    return raw


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(data)
    except FileExistsError:
        raise SettingsError(f"{path} is there already") from None
