"""What an archive holds for people: tables for a spreadsheet, and a page that sums it up."""

from __future__ import annotations

import csv
import html
import tempfile
from collections.abc import Iterable, Iterator
from typing import Final

from ledger_core import ids
from ledger_core.altered import Entry
from ledger_core.formats.archive import Counts, Manifest
from ledger_core.formats.mutations import HEADER, Mutation, format_mutation

CSV_COLUMNS = (
    "index", "received_at", "type", "author", "id", "made_at", "parts", "payload_bytes",
    "leaf_hash",
)  # fmt: skip
LINES_SHOWN: Final = 1_000
"""Lines of the mutation register on the page."""


class CsvRows:
    """The rows of entries.csv, kept in a temporary file until their turn in the zip."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def add(self, entry: Entry) -> None:
        record = entry.record
        self._writer.writerow(
            (
                entry.index,
                entry.received_at,
                record.type,
                record.author,
                record.id,
                record.made_at,
                " ".join(sorted(record.payload)),
                entry.payload_bytes,
                ids.format_digest(entry.leaf_hash),
            )
        )

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(1 << 16):
            yield chunk.encode()

    def close(self) -> None:
        self._file.close()


class RegisterLines:
    """The lines of mutations.csv, kept in a temporary file; ``first`` of them for the page."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.write(HEADER)
        self.first: list[Mutation] = []
        self.total = 0

    def add(self, lines: Iterable[Mutation]) -> None:
        for line in lines:
            self._file.write(format_mutation(line))
            self.total += 1
            if self.total <= LINES_SHOWN:
                self.first.append(line)

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(1 << 16):
            yield chunk

    def close(self) -> None:
        self._file.close()


def write_report(manifest: Manifest, register: RegisterLines) -> bytes:
    """Return a page for people; it claims nothing that the verifier does not check."""
    scope = manifest.scope
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>LedgerGrid archive</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem}}
th,td{{text-align:left;padding:0 1rem 0 0;overflow-wrap:anywhere}}</style>
<h1>Archive of {html.escape(manifest.origin)}</h1>
<p>Entries {scope.start} to {scope.end - 1} of {scope.size}, exported {manifest.exported_at}.</p>
<p>This page is the exporter's claim. Verify the archive before you rely on it.</p>
<table><tr><th>Record type</th><th>Entries</th></tr>{_rows(manifest.counts.by_type.items())}</table>
<table><tr><th>Payload parts</th><th></th></tr>{_rows(_parts(manifest.counts))}</table>
{_changes(register)}""".encode()


def _rows(pairs: Iterable[tuple[str, int]]) -> str:
    return "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count}</td></tr>" for name, count in pairs
    )


def _parts(counts: Counts) -> list[tuple[str, int]]:
    return [
        ("present", counts.parts_present),
        ("withheld", counts.parts_withheld),
        ("redacted", counts.parts_redacted),
        ("erased", counts.parts_erased),
    ]


def _changes(register: RegisterLines) -> str:
    if not register.total:
        return ""
    names = HEADER.decode().strip().split(",")
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = "".join(map(_line, register.first))
    title = f"<h2>Changes ({len(register.first)} of {register.total})</h2>"
    return f"{title}\n<table><tr>{head}</tr>{lines}</table>\n"


def _line(line: Mutation) -> str:
    cells = format_mutation(line).decode().strip().split(",")
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
