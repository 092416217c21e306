"""Writes docs/reference/: settings, errors and commands, out of the code that has them.

``python -m api.reference`` writes the pages; a test fails while they say something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr

from api.cli import app
from api.problems import (
    CROSS_SITE,
    EXPOSED,
    INTERNAL,
    MEDIA_TYPE_REFUSED,
    METHOD_NOT_ALLOWED,
    MISDIRECTED,
    RULES,
    rule_of,
)
from api.settings import PREFIX, Settings

FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"

_SETTINGS = """\
# Settings

Read from the environment when the service starts; what the command line says goes first. A value
that cannot work stops the start with one line that names the setting. `LEDGERGRID_TOKEN`,
`LEDGERGRID_URL` and `LEDGERGRID_LEDGER` are for the commands that talk to a running service.
"""

_ERRORS = """\
# Errors

Every error is `application/problem+json` (RFC 9457). `code` never changes its meaning; `detail` is
for people. In the answer to a batch each line has a `status`, and a refused one its `problem`.
Each answer carries `X-Request-ID`, and so does every line logged on its behalf.
"""

_CLI = """\
# The command line

Errors are one line on standard error. Exit codes: 0 done, 1 refused or failed, 2 wrong usage;
`verify` has its own, see `ledgergrid verify --help`.
"""


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {
        "settings.md": _page(_SETTINGS, _settings()),
        "errors.md": _page(_ERRORS, _errors()),
        "cli.md": _page(_CLI, _commands("ledgergrid", typer.main.get_command(app))),
    }


def _page(head: str, lines: Iterable[str]) -> str:
    return head + "\n" + "\n".join(lines) + "\n"


def _settings() -> Iterator[str]:
    yield "| setting | default | what it does |"
    yield "|---|---|---|"
    # What Settings has of its own comes first, then its parts.
    fields = sorted(Settings.model_fields, key=lambda name: name not in Settings.__annotations__)
    for name in fields:
        field = Settings.model_fields[name]
        default = field.default
        shown = default.get_secret_value() if isinstance(default, SecretStr) else default
        code = "(empty)" if shown in ("", None) else f"`{shown}`"
        yield f"| `{PREFIX}{name.upper()}` | {code} | {field.description} |"


def _errors() -> Iterator[str]:
    yield "| code | status | title | what to do |"
    yield "|---|---|---|---|"
    for kind in RULES:
        rule = rule_of(kind)
        yield f"| `{kind.code}` | {rule.status} | {kind.title} | {rule.advice} |"
    for status, (code, title), advice in (
        (403, CROSS_SITE, "List the page's host in `LEDGERGRID_ALLOWED_HOSTS`, if it is yours."),
        (403, EXPOSED, "Set `LEDGERGRID_API_KEY`, or listen on 127.0.0.1."),
        (405, METHOD_NOT_ALLOWED, "Use a method that `Allow` names."),
        (415, MEDIA_TYPE_REFUSED, "Send `Content-Type: application/json`."),
        (421, MISDIRECTED, "List the host in `LEDGERGRID_ALLOWED_HOSTS`, if it is yours."),
        (500, INTERNAL, "Report it, with the request id."),
    ):
        yield f"| `{code}` | {status} | {title} | {advice} |"


def _commands(path: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _commands(f"{path} {name}", below)
        return
    yield f"## `{path}`"
    yield ""
    yield " ".join((command.help or "").split())
    yield ""
    shown = [each for each in command.params if not each.name.endswith("help")]
    for parameter in shown:
        # A default of the code's own is said here, one in brackets is said by the help already.
        default = parameter.default
        said = f" [{default}]" if isinstance(default, str | int) and default is not False else ""
        names = ", ".join(parameter.opts) if parameter.opts[0].startswith("-") else parameter.name
        yield f"* `{names}`: {getattr(parameter, 'help', '') or ''}{said}"
    if shown:
        yield ""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
