"""Puts a verdict into words: for a terminal, as JSON, as an HTML page.

The JSON is described in docs/spec/verification.md. The page is one file without scripts; what
came from the archive is escaped, and findings are shortened where they are made.
"""

from __future__ import annotations

from typing import Any, Final

import jinja2
import msgspec

from ledger_core.formats.archive import Counts, Manifest, Scope
from verifier.audit import Options, Verdict
from verifier.epochs import OpenedEpoch
from verifier.findings import CLAIMS, Finding, shown

FORMAT: Final = "ledgergrid/verification-report@v1"
LEVELS: Final = {
    "L0": "internally consistent: nothing contradicts itself, but who made it is not known",
    "L1": "signed by a log you trust",
    "L2": "signed by a log you trust, and cosigned by a quorum of the witnesses you trust",
}
LINES_KEPT: Final = 1_000
LINES_SHOWN: Final = 20
"""Lines of the mutation register in the report, and those of them on a terminal."""

PASS, INTEGRITY, EVIDENCE, MALFORMED, USAGE = range(5)
_WORDS: Final = {PASS: "pass", INTEGRITY: "fail", EVIDENCE: "insufficient", MALFORMED: "malformed"}


def exit_code(verdict: Verdict, required: str | None) -> int:
    """Return 0 pass, 1 integrity failure, 2 not enough evidence, 3 malformed or unsupported."""
    if verdict.findings.has("fail"):
        return INTEGRITY
    if verdict.findings.has("malformed"):
        return MALFORMED
    return EVIDENCE if required and (verdict.level or "") < required else PASS


def not_proven(verdict: Verdict, options: Options) -> list[str]:
    """Say what this verdict does not show, whatever it is."""
    gaps = [
        "that authors told the truth: a signature shows who said it, not that it is so",
        "that everything was recorded: an action nobody submitted leaves no trace",
        "when things happened, beyond the log's own word: times are not anchored elsewhere",
        "that references inside records name earlier entries; that CSV and HTML pages in the "
        "archive say what its entries say",
    ]
    if not verdict.is_trusted:
        gaps.append("who runs this log: no trust policy was met, anyone could have made all of it")
    if not verdict.is_witnessed:
        gaps.append("that others saw the same log: no quorum of witnesses was met")
    if verdict.manifest is not None:
        gaps += _gaps_of_range(verdict, verdict.manifest.scope)
        gaps += _gaps_of_unseen(verdict, verdict.manifest)
        gaps += _gaps_of_hidden(verdict.manifest.counts)
    if not options.evidence:
        gaps.append("that receipts others hold agree: none was given")
    return gaps


def _gaps_of_range(verdict: Verdict, scope: Scope) -> list[str]:
    gaps: list[str] = []
    if scope.start:
        gaps.append(
            f"that the governance entries shown from before entry {scope.start} are all there "
            "were: a revocation could have been left out"
        )
        gaps.append("that changes of members, policies and keys before the range had their quorum")
    for each in verdict.epochs:
        if not each.is_on_fork:
            gaps.append(
                f"that the epoch of entry {each.index} begins on the tree which its log's "
                "key before signed: its fork is not shown"
            )
    if (scope.start, scope.end) != (0, scope.size):
        gaps.append(f"anything of entries outside [{scope.start}, {scope.end})")
    return gaps


def _gaps_of_unseen(verdict: Verdict, manifest: Manifest) -> list[str]:
    gaps: list[str] = []
    scope, counts = manifest.scope, manifest.counts
    if verdict.not_judged:
        gaps.append(
            f"what {verdict.not_judged} entries say of proposals that are not shown: "
            "whether these ended as agreed"
        )
    if verdict.counters_not_judged:
        gaps.append(
            f"what {verdict.counters_not_judged} entries say of numbers given twice: the first "
            "entry with the number is not shown"
        )
    if verdict.has_counters and (scope.start or counts.entries_withheld):
        gaps.append("that no number of a stream was given before, by an entry not shown")
    if verdict.changes_not_judged:
        gaps.append(
            f"whether {verdict.changes_not_judged} changes were allowed and agreed to: entries "
            "that they name, or an agreement, are not shown"
        )
    if verdict.later:
        gaps.append(
            f"that the changes shown from behind entry {scope.end - 1} are all that reach "
            "these entries, and that they had their quorum"
        )
    return gaps


def _gaps_of_hidden(counts: Counts) -> list[str]:
    gaps: list[str] = []
    if counts.entries_withheld:
        gaps.append(
            f"what {counts.entries_withheld} withheld entries are: only that they are in "
            "the log, and where; a revocation or a change of members could be among them"
        )
    if counts.parts_withheld:
        gaps.append(f"what {counts.parts_withheld} withheld payload parts say")
    if counts.parts_redacted:
        gaps.append(f"what {counts.parts_redacted} redacted payload parts say")
    if counts.parts_erased:
        gaps.append(
            f"what {counts.parts_erased} erased payload parts said, and that no copy of them "
            "is left anywhere"
        )
    return gaps


def build(verdict: Verdict, options: Options, required: str | None) -> dict[str, Any]:
    """Return the report as plain values, ready for JSON."""
    code = exit_code(verdict, required)
    first = verdict.findings.first()
    return {
        "format": FORMAT,
        "verdict": _WORDS[code],
        "exit_code": code,
        "level": verdict.level,
        "level_means": LEVELS.get(verdict.level or ""),
        "required": required,
        "archive": _describe(verdict),
        "epochs": [_epoch(each) for each in verdict.epochs],
        "entries_checked": verdict.entries,
        "parts": verdict.parts,
        "agreement": {
            "members": verdict.members,
            "proposals": dict(sorted(verdict.proposals.items())),
            "equivocations": verdict.equivocations,
        },
        "changes": {
            "total": len(verdict.register),
            "lines": [msgspec.to_builtins(each) for each in verdict.register[:LINES_KEPT]],
        },
        "checks": [_check(number, verdict) for number in CLAIMS],
        "first": _finding(first) if first and code in (INTEGRITY, MALFORMED) else None,
        "findings": [_finding(each) for each in verdict.findings.in_order()],
        "findings_total": sum(verdict.findings.counts.values()),
        "not_proven": not_proven(verdict, options),
    }


def _describe(verdict: Verdict) -> dict[str, Any] | None:
    manifest = verdict.manifest
    if manifest is None:
        return None
    return {
        "origin": manifest.origin,
        "charter": verdict.charter,
        "log_key": verdict.log_key,
        "scope": msgspec.to_builtins(manifest.scope),
        "counts": msgspec.to_builtins(manifest.counts),
        "exported_by": shown(manifest.exported_by),
        "exported_at": manifest.exported_at,
        "export_id": shown(manifest.export_id),
    }


def _epoch(opened: OpenedEpoch) -> dict[str, Any]:
    statement = opened.statement
    return {
        "index": opened.index,
        "old_origin": statement.old_origin,
        "new_origin": statement.new_origin,
        "reason": statement.reason,
        "lost": [
            {"origin": known.origin, "start": statement.fork.size, "end": known.size}
            for known in statement.known
        ],
        "signed_by": [{"key": each.key, "member": each.member} for each in opened.signatories],
    }


def _check(number: int, verdict: Verdict) -> dict[str, Any]:
    claim, findings = CLAIMS[number], verdict.findings
    if findings.failed(number):
        status = "failed"
    else:
        status = "passed" if number in verdict.ran else "skipped"
    return {"number": number, "name": claim.name, "claim": claim.text, "status": status}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "level": finding.level,
        "index": finding.index,
        "field": finding.field,
        "expected": finding.expected,
        "found": finding.found,
        "likely": finding.likely.value,
    }


def format_json(report: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def format_html(report: dict[str, Any]) -> str:
    """Render the page; every value is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("verifier"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(report)


_SIGNS: Final = {"passed": "ok  ", "failed": "FAIL", "skipped": " -  "}


def format_text(report: dict[str, Any]) -> str:
    """Say it on a terminal: every check, the first thing wrong, what was not proven."""
    lines = [f"{_SIGNS[c['status']]} {c['number']:>2} {c['claim']}" for c in report["checks"]]
    if archive := report["archive"]:
        scope = archive["scope"]
        lines[:0] = [
            f"Ledger   {archive['origin']}",
            f"Charter  {archive['charter'] or 'not shown'}",
            f"Entries  {scope['start']} to {scope['end'] - 1} of {scope['size']}",
            f"Parts    {_parts(report['parts'])}",
            *_epochs(report["epochs"]),
            "",
        ]
    lines += _agreement(report["agreement"])
    lines += _changes(report["changes"])
    lines += ["", *_conclusion(report), "", "Not proven:"]
    lines += [f"  - {gap}" for gap in report["not_proven"]]
    return "\n".join(lines)


def _epochs(epochs: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for each in epochs:
        lines += [
            "",
            f"EPOCH    entry {each['index']} left {each['old_origin']}",
            f"         and went on as {each['new_origin']}",
            *(f"  lost   {_lost(lost)}" for lost in each["lost"]),
            f"  reason {each['reason']}",
            *(
                f"  signed {each['key']}{f' for {by}' if (by := each['member']) else ''}"
                for each in each["signed_by"]
            ),
        ]
    return lines


def _lost(lost: dict[str, Any]) -> str:
    if lost["start"] >= lost["end"]:
        return f"all of {lost['origin']}, signed up to size {lost['end']}"
    return f"entries {lost['start']} to {lost['end'] - 1} of {lost['origin']}"


def _agreement(found: dict[str, Any]) -> list[str]:
    if not found["members"]:
        return []
    ended = ", ".join(f"{count} {how}" for how, count in found["proposals"].items())
    lines = ["", f"Members {found['members']}; proposals: {ended or 'none'}"]
    if found["equivocations"]:
        lines.append(f"Equivocations, kept as evidence: {found['equivocations']}")
    return lines


def _parts(parts: dict[str, int]) -> str:
    return ", ".join(f"{count} {how}" for how, count in parts.items() if count) or "none"


def _changes(changes: dict[str, Any]) -> list[str]:
    if not changes["total"]:
        return []
    lines = [tell_change(each) for each in changes["lines"][:LINES_SHOWN]]
    more = changes["total"] - len(lines)
    rest = [f"  and {more} more, as in mutations.csv"] if more else []
    return ["", "Changes:", *(f"  {line}" for line in lines), *rest]


def tell_change(line: dict[str, Any]) -> str:
    """Say one line of the mutation register in words."""
    target = "" if line["target"] is None else f" of entry {line['target']}"
    parts = f" ({', '.join(line['parts'])})" if line["parts"] else ""
    since = "" if line["since"] is None else f" since {line['since']}"
    agreed = f", agreed to by {line['agreed']}" if line["agreed"] else ""
    detail = f": {line['detail']}" if line["detail"] else ""
    status = line["status"].replace("-", " ")
    return (
        f"entry {line['index']}: {line['change']}{target}{parts}{detail}; {status}{since}{agreed}"
    )


def _conclusion(report: dict[str, Any]) -> list[str]:
    bad = report["first"]
    if bad is not None:
        where = "the archive" if bad["index"] is None else f"entry {bad['index']}"
        return [
            f"NOT VERIFIED. First at {where}: {bad['field']} (check {bad['check']})",
            f"  expected  {bad['expected']}",
            f"  found     {bad['found']}",
            f"  likely    {bad['likely']}",
            f"  findings  {report['findings_total']}",
        ]
    notes = [f"note: {f['field']}: {f['found']}" for f in report["findings"]]
    level = f"{report['level']}: {report['level_means']}"
    if report["verdict"] == "insufficient":
        return [*notes, f"NOT ENOUGH EVIDENCE for {report['required']}. Reached {level}."]
    return [*notes, f"VERIFIED. {level}."]
