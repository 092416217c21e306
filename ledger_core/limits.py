"""The bound on everything that arrives. Sizes in bytes unless the name says otherwise."""

from typing import Final

MAX_INTEGER: Final = 2**53 - 1
"""Largest integer that every JSON implementation keeps exact (RFC 7493 section 2.2)."""

RECORD_BYTES: Final = 60_000
ENTRY_BYTES: Final = 65_535
"""C2SP tlog-tiles: an entry's length is a uint16 in its bundle."""

RECORD_DEPTH: Final = 6
PAYLOAD_PARTS: Final = 16
PAYLOAD_PART_BYTES: Final = 64 * 1024 * 1024
REFS: Final = 64
PARTIES: Final = 64
MEDIA_TYPE_CHARS: Final = 100
PART_NAME_CHARS: Final = 32
STREAM_CHARS: Final = 64
ORIGIN_CHARS: Final = 200
LEDGER_NAME_CHARS: Final = 63

KEYRING_BYTES: Final = 1_000_000
"""Private keys of about 4,000 logs."""

NOTE_BYTES: Final = 1_000_000
NOTE_SIGNATURES: Final = 100
"""As golang.org/x/mod/sumdb/note: more lines than this are refused, never skipped."""

PROOF_HASHES: Final = 63
"""C2SP tlog-witness section 3: no tree of 2**63 leaves needs more."""

ADD_CHECKPOINT_BYTES: Final = 128 * 1024
"""A request to a witness. Others take less (litewitness 10 KiB, omniwitness 16 KiB)."""

LOG_LIST_BYTES: Final = 4 * 1024 * 1024
LOG_LIST_LOGS: Final = 10_000
"""Logs that this service witnesses."""

COSIGNATURES_BYTES: Final = 64 * 1024
"""A witness's answer; one line of ML-DSA-44 is 3.3 kB."""

POLICY_BYTES: Final = 1_000_000
POLICY_LINES: Final = 1_000
POLICY_NAMES: Final = 256

SUBMISSION_BYTES: Final = 24 * 1024 * 1024
"""One record with its payload, base64 included."""

BATCH_BYTES: Final = 64 * 1024 * 1024
BATCH_RECORDS: Final = 1_000
POOL_RECORDS: Final = 20_000
POOL_BYTES: Final = 256 * 1024 * 1024
SEQUENCE_RECORDS: Final = 512
"""Largest batch given places in one transaction."""

VAULT_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""A thousand keys, wrapped or not, take a twentieth of it."""
VAULT_TOKEN_BYTES: Final = 16 * 1024

PAGE_ITEMS: Final = 1_000
STREAM_READERS: Final = 1_000

ARCHIVE_SEGMENT_ENTRIES: Final = 2_048
ARCHIVE_FILES: Final = 1_000_000
ARCHIVE_NAME_CHARS: Final = 200
ARCHIVE_MANIFEST_BYTES: Final = 64 * 1024 * 1024
ARCHIVE_REGISTER_BYTES: Final = 256 * 1024 * 1024
"""A million and more changed entries; whoever verifies holds their indexes."""

RULE_VOICES: Final = 256
RULE_NODES: Final = 512
RULE_DEPTH: Final = 8
PROPOSAL_TTL_S: Final = 10 * 366 * 86_400
BUNDLE_RECORDS: Final = 64
EPOCHS: Final = 1_000
"""Epochs of one ledger, and origins that one of them leaves behind."""
MEMBERS: Final = 1_000
"""Organisations named by one charter."""

CHANGE_TARGETS: Final = 10_000
"""Entries that one rollback, redaction, hold or erasure names."""

EXPORTS_NAMED: Final = 1_000
"""Earlier exports that one ``erasure.done/1`` names."""

CERTIFICATE_ORDERS: Final = 1_000
CERTIFICATE_BYTES: Final = 64 * 1024 * 1024
"""A certificate of erasure: an order may name 10,000 entries."""

SESSION_EXPORT_BYTES: Final = 512 * 1024 * 1024
SESSION_EXPORT_ENTRIES: Final = 20_000
"""A session's export, which is read in one piece."""

CHANGES_OF_AN_ENTRY: Final = 4_096
SUBJECT_CHARS: Final = 512
"""A longer name of whom an entry is about finds nothing."""

HISTORY_ITEMS: Final = 256
"""Changes of one entry, the newest, that an answer tells of."""

SEGMENT_ITEMS: Final = 65_536
KEEP_S: Final = 100 * 366 * 86_400

LLM_BODY_BYTES: Final = 64 * 1024 * 1024
"""A request or answer of a language model that is read, coded or decoded; larger ones are stored
and counted, not read."""
LLM_VALUES: Final = 4_000_000
LLM_DEPTH: Final = 128
LLM_NAME_CHARS: Final = 500
LLM_DETAIL_CHARS: Final = 4_000
LLM_CHOICES: Final = 1_000
LLM_TOOL_CALLS: Final = 10_000
LLM_MEDIA: Final = 1_000
LLM_EVENT_BYTES: Final = 32 * 1024 * 1024
LLM_CODINGS: Final = 4
"""Content codings, one upon the other."""
FRAME_DEPTH: Final = 32
"""Stored requests that have to be read for one that is stored as a difference."""
PATTERNS: Final = 100
PATTERN_CHARS: Final = 500
PATTERN_STEPS: Final = 10_000
"""What a redactor's own pattern may try at one place of a text."""
