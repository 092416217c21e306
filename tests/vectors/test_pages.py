"""The pages of docs/spec: an example first, true to the vectors, with all their limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ledger_core import limits
from ledger_core.formats.record import format_record
from tests.vectors import (
    anchor,
    archive,
    certificate,
    change_types,
    entry,
    governance_types,
    notes,
    receipt,
    record,
    segment,
    submission,
    trust_policy,
    witness,
)
from tests.vectors.__main__ import FILES
from tests.vectors.build import WITNESS
from tests.vectors.record_types_page import SPEC, write_page, write_schemas
from tests.vectors.story import hash_policy

PAGES = sorted(FILES)
EACH = pytest.mark.parametrize("page", PAGES)

EXAMPLES = {
    "record": format_record(record.PLAIN),
    "entry": entry.leaf(*entry.LINES),
    "note-and-checkpoint": notes.cosign(notes.TALL_NOTE, WITNESS),
    "receipt": receipt.RECEIPT,
    "anchor": anchor.RECEIPT,
    "trust-policy": trust_policy.TWO_OF_THREE.encode(),
    "witness": witness.REQUEST,
    "submission": json.dumps(submission.make(), indent=2).encode(),
    "archive": archive.spell(archive.make_manifest()),
    "governance": json.dumps(governance_types.POLICY, indent=2).encode(),
    "changes": json.dumps(change_types.MUTABILITY, indent=2).encode(),
    "segment": json.dumps(segment.BODY, indent=2).encode(),
    "certificate": certificate.CERTIFICATE,
}
"""What the page shows, to the byte."""

LIMITS = {
    "record": "RECORD_BYTES PAYLOAD_PARTS PAYLOAD_PART_BYTES REFS PARTIES MEDIA_TYPE_CHARS "
    "PART_NAME_CHARS STREAM_CHARS ORIGIN_CHARS MAX_INTEGER",
    "entry": "ENTRY_BYTES ORIGIN_CHARS",
    "note-and-checkpoint": "NOTE_BYTES NOTE_SIGNATURES",
    "receipt": "NOTE_BYTES PROOF_HASHES",
    "anchor": "PROOF_HASHES",
    "trust-policy": "POLICY_BYTES POLICY_LINES POLICY_NAMES",
    "witness": "ADD_CHECKPOINT_BYTES COSIGNATURES_BYTES PROOF_HASHES NOTE_SIGNATURES "
    "LOG_LIST_BYTES LOG_LIST_LOGS",
    "submission": "SUBMISSION_BYTES BATCH_BYTES BATCH_RECORDS",
    "archive": "ARCHIVE_SEGMENT_ENTRIES ARCHIVE_FILES ARCHIVE_MANIFEST_BYTES ARCHIVE_NAME_CHARS "
    "PAYLOAD_PART_BYTES NOTE_BYTES",
    "governance": "RULE_VOICES RULE_NODES RULE_DEPTH PROPOSAL_TTL_S BUNDLE_RECORDS MEMBERS "
    "CHANGE_TARGETS",
    "changes": "CHANGE_TARGETS CHANGES_OF_AN_ENTRY KEEP_S PAYLOAD_PARTS",
    "segment": "SEGMENT_ITEMS ENTRY_BYTES PAYLOAD_PART_BYTES",
    "certificate": "CERTIFICATE_ORDERS CERTIFICATE_BYTES",
    "session-export": "SESSION_EXPORT_BYTES SESSION_EXPORT_ENTRIES",
}
"""The limits of ledger_core/limits.py that bind a format, and must stand on its page."""


def text_of(page: str) -> str:
    return (SPEC / f"{page}.md").read_text()


@EACH
def test_a_page_opens_with_an_example(page: str) -> None:
    title, rest = text_of(page).split("\n", 1)
    assert title.startswith("# ")
    assert "```" in rest.split("\n## ", 1)[0]


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_example_is_what_the_vectors_hold_to_the_byte(page: str) -> None:
    assert f"```text\n{EXAMPLES[page].decode().rstrip()}\n```" in text_of(page).replace(
        "```json", "```text"
    )


@EACH
def test_a_page_names_its_vectors_and_how_they_are_made(page: str) -> None:
    assert f"(../../tests/vectors/{page}.json)" in text_of(page)
    assert "python -m tests.vectors" in text_of(page)


@pytest.mark.parametrize("page", LIMITS)
def test_a_page_names_its_limits(page: str) -> None:
    text = text_of(page).replace(",", "")
    missing = [name for name in LIMITS[page].split() if str(getattr(limits, name)) not in text]
    assert not missing, f"docs/spec/{page}.md does not say {missing}"


@EACH
def test_every_error_code_of_the_vectors_is_on_the_page(page: str) -> None:
    cases = json.loads((Path(__file__).parent / f"{page}.json").read_bytes())["cases"]
    codes = {case["refused"] for case in cases if "refused" in case} - {"another root"}
    assert [code for code in codes if f"`{code}`" not in text_of(page)] == []


@EACH
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", text_of(page))
    local = [target for target in targets if not target.startswith("https://")]
    assert [each for each in local if not (SPEC / each).exists()] == []


def test_the_page_of_record_types_is_what_the_registry_says() -> None:
    assert text_of("record-types") == write_page(), "run `python -m tests.vectors`"


def test_the_published_schemas_are_those_of_the_registry() -> None:
    written = {path.name: path.read_bytes() for path in (SPEC / "schemas").iterdir()}
    assert written == write_schemas(), "a published schema never changes; make a new version"


def test_the_policy_on_the_page_has_the_hash_it_says() -> None:
    assert f"hash `{hash_policy(governance_types.POLICY)}`" in text_of("governance")
