"""``ledgergrid-verify ARCHIVE``: the command. See docs/spec/verification.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ledger_core import ids
from ledger_core.errors import MalformedError, SettingsError, SignatureError
from verifier import report, session_export, trust
from verifier.audit import Options, Tell, verify


class _Parser(argparse.ArgumentParser):
    """Usage errors are one line and exit code 4."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help tells more)", file=sys.stderr)
        raise SystemExit(report.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Verify one archive, or one session's export; return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["session"]:
        return _main_session(given[1:])
    try:
        arguments = _parser().parse_args(given)
    except SystemExit as stop:  # argparse ends the process; a caller of main() wants the code.
        return stop.code if isinstance(stop.code, int) else report.USAGE
    try:
        options = _options(arguments)
        verdict = verify(options, _teller())
        made = report.build(verdict, options, arguments.require)
        if arguments.html:
            _write(arguments.html, report.format_html(made))
    except SettingsError as error:
        return _stop(report.USAGE, error)
    except (MalformedError, SignatureError) as error:
        return _stop(report.MALFORMED, error)
    print(report.format_json(made) if arguments.json else report.format_text(made))
    code: int = made["exit_code"]
    if code == report.MALFORMED:
        return _stop(code, made["first"]["found"])
    return code


def _main_session(given: Sequence[str]) -> int:
    parser = _Parser(
        prog="ledgergrid-verify session",
        description="Verify the export of a session's calls offline. To verify an archive in a "
        "folder named session, say ./session.",
        epilog="Exit codes: 0 pass, 1 integrity failure, 3 malformed, 4 usage.",
    )
    parser.add_argument("export", type=Path, help="the file that /export/SESSION gave")
    text = "whom you believe: a C2SP tlog-policy file"
    parser.add_argument("--trust", type=Path, metavar="FILE", required=True, help=text)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    try:
        arguments = parser.parse_args(given)
        policy = trust.read_policy(arguments.trust)
        raw = session_export.read_export(arguments.export)
        verdict = session_export.verify_session(raw, policy)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else report.USAGE
    except SettingsError as error:
        return _stop(report.USAGE, error)
    except (MalformedError, SignatureError) as error:
        return _stop(report.MALFORMED, error)
    lines = session_export.describe(verdict)
    print(session_export.to_json(verdict) if arguments.json else "\n".join(lines))
    return report.INTEGRITY if verdict.failed else report.PASS


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ledgergrid-verify",
        description="Verify an exported archive offline, believing only whom you name.",
        epilog="Exit codes: 0 pass, 1 integrity failure, 2 not enough evidence for --require, "
        "3 malformed or unsupported, 4 usage.",
    )
    add = parser.add_argument
    add("archive", type=Path, help="the archive: a zip file or a folder")
    add("--trust", type=Path, metavar="FILE", help="whom you believe: a C2SP tlog-policy file")
    add("--require", choices=sorted(report.LEVELS), help="the least assurance you accept")
    add("--charter", metavar="DIGEST", help="the ledger you expect: sha256:… of its charter")
    text = "origin of an epoch you follow, though history was lost; may be repeated"
    add("--accept-epoch", action="append", default=[], metavar="ORIGIN", help=text)
    for option, what in (("--receipt", "a receipt"), ("--checkpoint", "an older checkpoint")):
        text = f"{what} someone kept; may be repeated"
        add(option, type=Path, action="append", default=[], metavar="FILE", help=text)
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (all cores)")
    add("--json", action="store_true", help="print the report as JSON")
    add("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    if not arguments.archive.exists():
        raise SettingsError(f"there is no {arguments.archive}")
    if arguments.jobs < 1:
        raise SettingsError("--jobs is at least 1")
    if arguments.charter is not None:
        try:
            ids.parse_digest(arguments.charter)
        except MalformedError as error:
            raise SettingsError(f"--charter: {error}") from None
    evidence = [trust.read_receipt(path) for path in arguments.receipt]
    evidence += [trust.read_checkpoint(path) for path in arguments.checkpoint]
    return Options(
        archive=arguments.archive,
        policy=trust.read_policy(arguments.trust) if arguments.trust else None,
        charter=arguments.charter,
        evidence=tuple(evidence),
        accepted=frozenset(arguments.accept_epoch),
        jobs=arguments.jobs,
    )


def _teller() -> Tell:
    """Show progress where somebody watches."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def tell(done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        print(f"\r{done:,} of {total:,} entries", end=end, file=sys.stderr, flush=True)

    return tell


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from None


def _stop(code: int, reason: object) -> int:
    print(f"ledgergrid-verify: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
