"""Runs the checks over one archive, in order, with memory that does not grow with it.

Small files first, in this process; then the segments, in as many processes as wanted, each
outcome joined to the whole in the order of the log and dropped; last what needs the whole.
"""

from __future__ import annotations

import io
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger_core import limits
from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import archive
from ledger_core.formats.archive import File, Manifest, RangeProof
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.mutations import Mutation
from ledger_core.formats.note import parse_note
from ledger_core.formats.receipt import parse_receipt
from ledger_core.formats.trust_policy import NO_QUORUM, TrustPolicy
from ledger_core.formats.vkey import format_vkey
from ledger_core.merkle import tree
from verifier import archive_checks, entry_checks, reading
from verifier.epochs import OpenedEpoch, check_followed, note_lost
from verifier.evidence import Evidence, Kept
from verifier.findings import Finding, Findings, Likely, Refuted
from verifier.governance import Stamps
from verifier.parts import Parts
from verifier.register import Register
from verifier.repeats import Repeats
from verifier.segments import Frames, Task, check_files, damage, look_inside, meant_for
from verifier.streams import Streams
from verifier.totals import Totals
from verifier.whole import Whole
from verifier.workers import run_tasks

SMALL_BYTES: Final = 1_000_000
CONTEXT_PARTS_BYTES: Final = limits.PAYLOAD_PART_BYTES + limits.SUBMISSION_BYTES
"""What comes from elsewhere fits a submission; what a service signs itself has one large part."""

Tell = Callable[[int, int], None]
"""Told how many entries of how many are done."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asks, and whom the user trusts."""

    archive: Path
    policy: TrustPolicy | None = None
    charter: str | None = None
    evidence: tuple[Kept, ...] = ()
    accepted: frozenset[str] = frozenset()
    """Origins of epochs that the user follows, though history was lost."""
    jobs: int = 1


@dataclass
class Verdict:
    """All that was learnt; :mod:`verifier.report` puts it into words."""

    findings: Findings = field(default_factory=Findings)
    ran: set[int] = field(default_factory=set)
    manifest: Manifest | None = None
    charter: str | None = None
    log_key: str | None = None
    entries: int = 0
    members: int = 0
    proposals: dict[str, int] = field(default_factory=dict)
    """How many ended how; ``open`` are those that did not."""
    equivocations: int = 0
    epochs: tuple[OpenedEpoch, ...] = ()
    not_judged: int = 0
    """Entries that speak of proposals which the archive does not show."""
    changes_not_judged: int = 0
    """Changes of entries which it does not show."""
    later: int = 0
    """Entries shown for context from behind the range."""
    register: list[Mutation] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    counters_not_judged: int = 0
    """Evidence of a number given twice, whose first entry the archive does not show."""
    has_counters: bool = False
    is_trusted: bool = False
    is_witnessed: bool = False

    @property
    def level(self) -> str | None:
        """The assurance reached: L0, L1, L2; None if anything failed."""
        if self.findings.has("fail") or self.findings.has("malformed"):
            return None
        if not self.is_trusted:
            return "L0"
        return "L2" if self.is_witnessed else "L1"


def verify(options: Options, tell: Tell = lambda done, total: None) -> Verdict:
    """Check an archive; whatever is wrong with it is in the verdict's findings."""
    verdict = Verdict(ran={1})
    try:
        with closing(reading.open_source(options.archive)) as source:
            Audit(options, source, verdict, tell).run()
    except (MalformedError, SignatureError) as error:
        verdict.findings.add(
            Finding(
                check=1,
                field="archive",
                expected="the format of an archive",
                found=str(error),
                likely=Likely.MALFORMED,
                level="malformed",
            )
        )
    except reading.DamagedError as error:
        verdict.findings.add(damage(error))
    return verdict


class Audit:
    """One run over one open archive."""

    def __init__(
        self, options: Options, source: reading.Source, verdict: Verdict, tell: Tell
    ) -> None:
        self._options, self._source, self._tell = options, source, tell
        self._verdict, self._findings = verdict, verdict.findings
        self._files: dict[str, File] = {}
        self._large: list[File] = []
        self._spreader = secrets.randbits(128) | 1

    def run(self) -> None:
        manifest = self._read_manifest()
        self._check_files(manifest)
        signed, checkpoint = self._read_checkpoint(manifest)
        proof = self._read_range_proof(manifest)
        evidence = Evidence(self._options.evidence, proof)
        register = self._read_register()
        with Repeats() as repeats, Streams() as streams, Parts() as parts:
            whole = Whole(self._findings, repeats, streams, parts, evidence)
            earlier, later = self._list_context(manifest)
            self._check_context(manifest, signed, whole, evidence, earlier)
            self._check_segments(manifest, proof, whole, evidence, register)
            whole.governance.finish(manifest.scope.end, self._findings)
            self._check_context(manifest, signed, whole, evidence, later)
            self._check_changes(whole, checkpoint, register)
            self._ran(9)
            for finding in (*repeats.findings(), *streams.findings(manifest.scope.end)):
                self._findings.add(finding)
        self._check_whole(manifest, proof, checkpoint, whole)
        self._check_trust(signed, checkpoint, whole)
        evidence.take_whole(checkpoint)
        self._check_evidence(manifest, evidence, whole)

    def _ran(self, *numbers: int) -> None:
        self._verdict.ran.update(numbers)

    # --- small files ---------------------------------------------------------------

    def _read_manifest(self) -> Manifest:
        """Check 2, but for the exporter's standing."""
        source = self._source
        raw = reading.read_small(source, archive.MANIFEST, limits.ARCHIVE_MANIFEST_BYTES)
        manifest = archive.parse_manifest(raw)
        archive_checks.check_layout(manifest)
        self._verdict.manifest = manifest
        signature = reading.read_small(source, archive.MANIFEST_SIGNATURE, SMALL_BYTES)
        self._ran(2)
        self._findings.attempt(archive_checks.check_manifest_signature, raw, signature, manifest)
        return manifest

    def _check_files(self, manifest: Manifest) -> None:
        """Check 3, but for files that are hashed where they are used, or too large for here."""
        self._ran(3)
        there = set(self._source.names())
        declared = {file.name: file for file in manifest.files}
        for finding in archive_checks.compare_names(declared.keys(), there):
            self._findings.add(finding)
        self._files = {name: file for name, file in declared.items() if name in there}
        used = (
            "entries/",
            "payloads/",
            "withheld/",
            "context/",
            archive.CHECKPOINT,
            archive.RANGE_PROOF,
            archive.REGISTER,
        )
        others = [file for name, file in self._files.items() if not name.startswith(used)]
        self._large = [file for file in others if file.size > SMALL_BYTES]
        small = (file for file in others if file.size <= SMALL_BYTES)
        self._findings.merge(check_files(self._source, small))

    def _read(self, name: str, limit: int) -> bytes:
        """Read up to ``limit`` bytes of a declared file, and check all of it (3)."""
        file = self._files.get(name)
        if file is None or file.size > limit:
            raise MalformedError(f"archive has no {name}, or one of more than {limit} bytes")
        data = b""
        try:
            with reading.reading(self._source, file) as stream:
                data = stream.read(limit)
        except reading.DamagedError as error:
            self._findings.add(damage(error))
        return data

    def _read_checkpoint(self, manifest: Manifest) -> tuple[bytes, Checkpoint]:
        """Check 4, but for signatures: the log's key is still to be read."""
        signed = self._read(archive.CHECKPOINT, limits.NOTE_BYTES)
        checkpoint = parse_checkpoint(parse_note(signed).text)
        self._ran(4)
        self._findings.attempt(archive_checks.check_checkpoint, checkpoint, manifest)
        return signed, checkpoint

    def _read_register(self) -> Register:
        try:
            return Register(self._source, self._files.get(archive.REGISTER))
        except reading.DamagedError as error:
            self._findings.add(damage(error))
            return Register(self._source, None)

    def _read_range_proof(self, manifest: Manifest) -> RangeProof:
        proof = archive.parse_range_proof(self._read(archive.RANGE_PROOF, SMALL_BYTES))
        self._ran(7)
        self._findings.attempt(archive_checks.check_range_proof, proof, manifest)
        return proof

    # --- entries -------------------------------------------------------------------

    def _list_context(self, manifest: Manifest) -> tuple[list[tuple[int, str]], ...]:
        """Return index and name of entries shown for context: before the range, and behind it."""
        names = sorted(name for name in self._files if name.endswith(".entry"))
        found = [(archive_checks.find_context_index(name, manifest), name) for name in names]
        start = manifest.scope.start
        earlier = [each for each in found if each[0] < start]
        return earlier, [each for each in found if each[0] >= start]

    def _check_context(
        self,
        manifest: Manifest,
        signed: bytes,
        whole: Whole,
        evidence: Evidence,
        context: Iterable[tuple[int, str]],
    ) -> None:
        """Check 12, and 5, 6, 8, 10 and 11 for each entry shown for context."""
        for index, name in context:
            self._ran(12)
            leaf = self._read(name, limits.ENTRY_BYTES)
            leaf_hash = tree.leaf_hash(leaf)
            evidence.take_leaf(index, leaf_hash)
            receipt = parse_receipt(
                self._read(archive.context_name(index, "tlog-proof"), limits.NOTE_BYTES)
            )
            attempt = self._findings.attempt
            attempt(archive_checks.check_context, index, receipt, leaf, signed)
            parts = self._read(archive.context_name(index, "parts"), CONTEXT_PARTS_BYTES)
            try:
                entry = entry_checks.parse_leaf(index, leaf)
            except Refuted as refuted:
                self._findings.add(refuted.finding)
                continue
            origins = meant_for(manifest.origins_by_index(), index)
            attempt(entry_checks.check_entry, index, entry.header, origins[-1])
            frames, totals = Frames(archive.read_frames(io.BytesIO(parts))), Totals()
            signed_record = (entry.record, entry.header.signature)
            look_inside(index, signed_record, origins, frames, self._findings, totals)
            attempt(frames.check_end, index + 1)
            stamps = Stamps(index, leaf_hash, array("q", [entry.header.received_at]))
            totals.freeze(self._spreader, stamps, is_context=True)
            whole.add_context(index, entry.header, stamps, totals)

    def _check_segments(
        self,
        manifest: Manifest,
        proof: RangeProof,
        whole: Whole,
        evidence: Evidence,
        register: Register,
    ) -> None:
        self._ran(5, 6, 8, 10, 11, 16)
        whole.start(proof)
        tasks = list(self._tasks(manifest, evidence, register))
        total = manifest.scope.end - manifest.scope.start
        options = self._options
        for outcome in run_tasks(options.archive, self._source, self._large, tasks, options.jobs):
            if isinstance(outcome, Findings):
                self._findings.merge(outcome)
                continue
            whole.add_segment(outcome)
            self._tell(whole.entries, total)
        self._verdict.entries = whole.entries

    def _tasks(self, manifest: Manifest, evidence: Evidence, register: Register) -> Iterator[Task]:
        scope, width = manifest.scope, limits.ARCHIVE_SEGMENT_ENTRIES
        for first in range(archive.segment_of(scope.start), scope.end, width):
            start, end = max(first, scope.start), min(first + width, scope.end)
            yield Task(
                origins=manifest.origins_by_index(),
                start=start,
                end=end,
                entries=self._files.get(archive.entries_name(first)),
                payloads=self._files.get(archive.payloads_name(first)),
                withheld=self._files.get(archive.withheld_name(first)),
                spreader=self._spreader,
                wants_leaves=evidence.wants(start, end),
                watched=register.targets(start, end),
            )

    # --- what needs the whole ------------------------------------------------------

    def _check_changes(self, whole: Whole, checkpoint: Checkpoint, register: Register) -> None:
        """Check 17's sum, 18, and the rest of 11: what may be hidden or gone by now."""
        verdict, governance = self._verdict, whole.governance
        whole.judge_parts(checkpoint.size)
        self._ran(17)
        if register.is_there:
            self._ran(18)
        expected = list(governance.expected_register())
        for finding in register.compare(expected):
            self._findings.add(finding)
        verdict.register = [each.line for each in expected]
        verdict.changes_not_judged = governance.changes.not_judged
        verdict.later = whole.later

    def _check_whole(
        self, manifest: Manifest, proof: RangeProof, checkpoint: Checkpoint, whole: Whole
    ) -> None:
        """Check 7's root, 10's charter, 2's exporter, 13 and the end of 16."""
        self._ran(13)
        governance = whole.governance
        verdict = self._verdict
        verdict.charter, verdict.members = whole.charter, len(governance.constitution.members)
        verdict.proposals = dict(governance.verdicts())
        verdict.equivocations, verdict.not_judged = governance.equivocations, governance.not_judged
        verdict.epochs = tuple(governance.epochs)
        verdict.counters_not_judged = whole.streams.not_judged
        verdict.has_counters = whole.streams.has_counters
        pinned, keys = self._options.charter, whole.governance.constitution.keys
        attempt = self._findings.attempt
        attempt(archive_checks.check_root, proof, whole.frontier, checkpoint)
        attempt(archive_checks.check_charter, whole.charter, manifest, pinned)
        attempt(archive_checks.check_exporter, manifest, keys)
        attempt(archive_checks.check_counts, manifest, whole.counts())
        verdict.parts = whole.count_parts()
        attempt(archive_checks.check_origins, manifest, governance.constitution.origins)

    def _check_trust(self, signed: bytes, checkpoint: Checkpoint, whole: Whole) -> None:
        """Check 4's signatures, and 15."""
        verdict, policy, attempt = self._verdict, self._options.policy, self._findings.attempt
        governance = whole.governance
        log_key = governance.log_key(checkpoint.size)
        if log_key is not None:
            verdict.log_key = format_vkey(log_key)
            attempt(archive_checks.check_log_signature, signed, log_key)
        if policy is None:
            return
        left = governance.find_left(policy, self._options.accepted)
        policy = governance.extend_trust(policy, self._options.accepted)
        verdict.is_trusted = attempt(check_followed, left) and attempt(
            archive_checks.check_trusted_log, signed, policy
        )
        if verdict.is_trusted and policy.quorum != NO_QUORUM:
            self._ran(15)
            verdict.is_witnessed = attempt(archive_checks.check_witnesses, signed, policy)

    def _check_evidence(self, manifest: Manifest, evidence: Evidence, whole: Whole) -> None:
        """Check 14: each file's own signature first, then what it says of this tree."""
        policy, attempt = self._options.policy, self._findings.attempt
        governance = whole.governance
        if policy is not None:
            policy = governance.extend_trust(policy, self._options.accepted)
        for kept in self._options.evidence:
            self._ran(14)
            size = kept.checkpoint.size
            log_key = governance.log_key(size, kept.checkpoint.origin)
            attempt(archive_checks.check_kept_signature, kept, policy, log_key)
            lost = governance.find_lost(kept.checkpoint)
            if lost is not None:
                attempt(note_lost, kept, lost)
                continue
            origin = meant_for(manifest.origins_by_index(), max(size - 1, 0))[-1]
            attempt(archive_checks.check_kept_receipt, kept, evidence.leaf_of(kept))
            attempt(archive_checks.check_prefix, kept, origin, evidence.root_of(kept))
