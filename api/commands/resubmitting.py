"""``ledgergrid resubmit``: sends again, byte for byte, what an archive kept and an epoch lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from api.commands.client import open_ledger
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, SignerFile, TokenFile, Url
from ledger_core import limits
from ledger_core.formats import archive
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.submission import Submission, format_submission
from ledgergrid import Receipt
from verifier import reading
from verifier.segments import Frames, read_leaves

_BY_THE_SERVICE = frozenset(
    ("charter/1", "outcome/1", "equivocation/1", "epoch/1", "erasure.done/1", "refusal/1")
)
"""What follows from other entries, and is written by the service where it does."""
_WIDTH = limits.ARCHIVE_SEGMENT_ENTRIES


def resubmit(
    file: Annotated[Path, typer.Argument(help="An archive of the ledger; verify it first.")],
    signer: SignerFile,
    start: Annotated[int, typer.Option(min=0, help="First entry to send again.")] = 0,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Send an archive's records again, in order; those the ledger has already stay one entry each.

    They are their authors' own, signed by them: `--signer` is only who asks. Left out is what the
    service writes by itself, and what the archive does not show whole.
    """
    counts: Counter[str] = Counter()
    with open_ledger(url, ledger, signer, token_file) as client:
        outcomes = client.resubmit(_read(file, start, counts))
    for outcome in outcomes:
        counts["in the ledger" if isinstance(outcome, Receipt) else f"no: {outcome.code}"] += 1
    for what, count in sorted(counts.items()):
        print(f"{count:>9}  {what}")
    if any(what.startswith("no:") for what in counts):
        raise typer.Exit(1)


def _read(path: Path, start: int, counts: Counter[str]) -> Iterator[bytes]:
    """Yield the archive's records as they were submitted, one in memory at a time."""
    with closing(reading.open_source(path)) as source:
        raw = reading.read_small(source, archive.MANIFEST, limits.ARCHIVE_MANIFEST_BYTES)
        manifest = archive.parse_manifest(raw)
        files, scope = {each.name: each for each in manifest.files}, manifest.scope
        for first in range(archive.segment_of(scope.start), scope.end, _WIDTH):
            entries, payloads = archive.entries_name(first), archive.payloads_name(first)
            with (
                reading.reading(source, files[entries]) as leaves,
                reading.reading(source, files[payloads]) as frames,
            ):
                shown = Frames(archive.read_frames(cast(BinaryIO, frames)))
                for index, leaf in enumerate(read_leaves(leaves), max(first, scope.start)):
                    line = _line(index, leaf, shown, counts)
                    if line is not None and index >= start:
                        yield line


def _line(index: int, leaf: bytes, frames: Frames, counts: Counter[str]) -> bytes | None:
    """Return an entry's submission; None for what is not sent."""
    if not leaf:
        counts["withheld in the archive"] += 1
        return None
    signed = parse_entry(leaf).signed_record()
    parts = frames.take(index)
    if signed.record.type in _BY_THE_SERVICE:
        return None
    shown = {name: frame.part for name, frame in parts.items() if frame.part is not None}
    if shown.keys() != signed.record.payload.keys():
        counts["not whole in the archive"] += 1
        return None
    return format_submission(Submission(signed, shown))
