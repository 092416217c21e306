"""What checks find: claims by number, findings, and the likely class of each.

The numbers are those of docs/spec/verification.md, of the checks and of every report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal, NamedTuple, NoReturn, ParamSpec

P = ParamSpec("P")

Level = Literal["fail", "malformed", "warn", "info"]
"""``fail``: the archive contradicts itself or what the user trusts. ``malformed``: it cannot be
judged (not in a format or type this verifier knows). ``warn`` and ``info`` change no verdict."""

MOST_KEPT: Final = 100
"""Findings kept for each check; further ones are counted, so that a report has a bound."""

SHOWN_CHARS: Final = 200


class Claim(NamedTuple):
    """One numbered check: its name and what holds if nothing is found."""

    name: str
    text: str


CLAIMS: Final = {
    1: Claim("archive", "The archive is well-formed and bounded."),
    2: Claim("manifest", "The manifest is canonical and signed by an operator of this ledger."),
    3: Claim("files", "Every file matches its digest; none is missing, none is extra."),
    4: Claim("checkpoint", "The checkpoint is the manifest's and is signed by the log."),
    5: Claim("entries", "Every entry has its format, this origin and its own index."),
    6: Claim("chain", "Every entry names the one before; time received never decreases."),
    7: Claim("tree", "The entries' leaf hashes fold into the checkpoint's root."),
    8: Claim("records", "Every record is canonical, for this ledger, signed by its author."),
    9: Claim("ids", "No two records have the same id."),
    10: Claim("standing", "Every author's key stood, with a role for the type, at that index."),
    11: Claim("payloads", "Every payload part is what its record commits to, hidden or erased."),
    12: Claim("context", "Every earlier entry shown for context is proved in the same tree."),
    13: Claim("counts", "What was found is what the manifest counts."),
    14: Claim("evidence", "Receipts and checkpoints kept by others agree with this archive."),
    15: Claim("witnesses", "The trust policy's quorum of witnesses cosigned the checkpoint."),
    16: Claim("agreement", "Every proposal ended as those concerned agreed, once and at once."),
    17: Claim("changes", "Every change of an entry was allowed, and possible as things stood."),
    18: Claim("register", "The mutation register lists the changes there were, and no others."),
}


class Likely(StrEnum):
    """What probably happened; a guess for people, never a part of the verdict."""

    EDITED = "bit flip, or edited after the fact"
    FORGED = "forged signature"
    MOVED = "entry removed, inserted or reordered"
    TRUNCATED = "truncated"
    REPLACED_ENTRY = "entry of another ledger put in its place"
    REPLACED_PAYLOAD = "payload replaced"
    BAD_PAYLOAD = "written by a service that does not check its input"
    WITHHELD = "withheld although everyone needs it"
    MISSING_PAYLOAD = "payload removed without being declared"
    KEPT = "kept by an exporter although it was erased"
    NOT_ALLOWED = "change that was not allowed, or not possible"
    UNREGISTERED = "unregistered or revoked author"
    STATUS = "outcome forged or held back"
    NO_ROLE = "author without a role for this type of record"
    REPEATED = "record repeated"
    UNTRUSTED = "log or witness that is not trusted here"
    REWRITTEN = "history rewritten after it was signed"
    LOST = "history lost in an epoch"
    CLAIM = "manifest claims what the log does not show"
    MALFORMED = "malformed"
    UNSUPPORTED = "newer format or record type than this verifier knows"
    NOTE = "nothing wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a check found: where (``index`` of an entry, if it is about one) and what."""

    check: int
    field: str
    expected: str
    found: str
    likely: Likely
    index: int | None = None
    level: Level = "fail"

    def sentence(self) -> str:
        """Say it in one line."""
        where = "" if self.index is None else f"entry {self.index}, "
        return (
            f"check {self.check} ({CLAIMS[self.check].name}): {where}{self.field}: "
            f"expected {self.expected}, found {self.found}; likely {self.likely}"
        )


class Refuted(Exception):
    """A claim does not hold; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence())
        self.finding = finding


def finding_of(
    check: int,
    field: str,
    expected: object,
    found: object,
    likely: Likely,
    *,
    index: int | None = None,
    level: Level = "fail",
) -> Finding:
    return Finding(
        check=check,
        field=field,
        expected=str(expected),
        found=str(found),
        likely=likely,
        index=index,
        level=level,
    )


def refute(
    check: int,
    field: str,
    expected: object,
    found: object,
    likely: Likely,
    *,
    index: int | None = None,
    level: Level = "fail",
) -> NoReturn:
    raise Refuted(finding_of(check, field, expected, found, likely, index=index, level=level))


def shown(value: object) -> str:
    """Shorten a hostile value to one printable line."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(value))
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


class Findings:
    """Findings in the order of their discovery, bounded for each check."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[tuple[int, Level]] = Counter()

    def add(self, finding: Finding) -> None:
        key = (finding.check, finding.level)
        self.counts[key] += 1
        if self.counts[key] <= MOST_KEPT:
            short = replace(finding, expected=shown(finding.expected), found=shown(finding.found))
            self.kept.append(replace(short, field=shown(finding.field)))

    def attempt(self, check: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Run a check; keep its finding and say False if the claim does not hold."""
        try:
            check(*args, **kwargs)
        except Refuted as refuted:
            self.add(refuted.finding)
            return False
        return True

    def merge(self, other: Findings) -> None:
        """Take over the findings of a later part of the archive."""
        extra = other.counts - Counter((f.check, f.level) for f in other.kept)
        for finding in other.kept:
            self.add(finding)
        self.counts += extra

    def has(self, level: Level) -> bool:
        return any(found == level for _, found in self.counts)

    def failed(self, check: int) -> bool:
        return bool(self.counts[check, "fail"] or self.counts[check, "malformed"])

    def first(self) -> Finding | None:
        """Return the finding to name first: the lowest index, then the lowest check."""
        bad = [f for f in reclassify(self.kept) if f.level in ("fail", "malformed")]
        return min(bad, key=_urgency, default=None)

    def in_order(self) -> list[Finding]:
        return sorted(reclassify(self.kept), key=lambda f: (f.check, f.index or 0))


def _urgency(finding: Finding) -> tuple[bool, int, int]:
    return finding.index is None, finding.index or 0, finding.check


def reclassify(findings: Iterable[Finding]) -> list[Finding]:
    """Judge neighbours together: what breaks a signature and the tree was edited, not forged.

    A forger who signs anew keeps tree and chain whole; a link is broken either by what
    happened to the entry before, or because another entry stood there.
    """
    findings = list(findings)
    is_tree_broken = any(f.check in (6, 7) and f.level == "fail" for f in findings)
    bad_records = {f.index for f in findings if f.check in (5, 8) and f.index is not None}
    judged = []
    for each in findings:
        is_broken_link = each.field == "previous" and each.index is not None
        is_after_bad = is_broken_link and (each.index or 0) - 1 in bad_records
        was_edited = each.likely is Likely.FORGED and is_tree_broken and each.check == 8
        judged.append(replace(each, likely=Likely.EDITED) if was_edited or is_after_bad else each)
    return judged
