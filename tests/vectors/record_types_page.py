"""Writes docs/spec/record-types.md and docs/spec/schemas/ from the registry.

``python -m tests.vectors`` runs it; a test compares. A published schema never changes, so a
difference in a schema file that is not a new file is a mistake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger_core import limits
from ledger_core.records.model import RecordType
from ledger_core.records.registry import ALL, json_schemas
from tests.vectors.governance_types import OPERATOR_KEY
from tests.vectors.record_types import AUTHORS, EXAMPLES

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"
Schema = dict[str, Any]

INTRODUCTION = """\
# Record types

<!-- Written by `python -m tests.vectors` from the registry; do not edit. -->

```json
{example}
```

That is the payload, part `body`, of a `key/1` record: an operator registers an agent's key. The
record around it ([record.md](record.md)) commits to these bytes and names the type; the registry
(`ledger_core/records/registry.py`) says what the type asks of them.

## For every type

A record of type T is taken only if

1. T is in the registry, name and version (otherwise `unknown-type`: an old service never guesses
   what a newer author meant);
2. its payload parts are exactly those the record commits to, and each matches its commitment
   (`bad-commitment`);
3. T knows every part, and every required part is there (`bad-payload`);
4. a JSON part has the media type `application/json`, without parameters, is one JSON text
   (RFC 8259) in UTF-8, and follows its schema: no unknown field, no number where text belongs,
   no text where a number belongs. Between fields that an optional part leaves out and fields it
   sets to `null` there is no difference, except in `note/1`, which keeps whatever it is given;
5. T's own rule holds (`bad-payload`);
6. its author has standing (below; `no-standing`).

Payload bytes are never rewritten: what was committed to is what is stored and given back. A JSON
object that names a field twice is refused in governance types, because readers differ on which of
the two counts. In all other types the last one counts. Text in fields that become columns holds no
U+0000, which PostgreSQL cannot store.

A published schema never changes. A new version is a new type (`note/2`) beside the old one.

**Audience** says who may see the payload where a ledger sets nothing else: `public` everyone,
`members` members of the ledger, `operator` operators only; in a local ledger it is the parties
([governance.md](governance.md), "Audiences"). **Governance** types say who may do what, or who
agreed to what; their payloads are needed to judge other entries, so whoever sees the ledger sees
them, they are never erased and are part of every archive. **Columns** are what a view adds to
filter entries by.

## Standing

Keys come from governance entries alone: the founding keys of `charter/1`, then `key/1`,
`key.rotation/1` and the admissions of `member/1`. Let a key be registered by the entry at index
`since` and, perhaps, be revoked by the entry at index `revoked`. The key may sign an entry at
index `i` if

- `since < i`, and `i <= revoked` where it was revoked (a key stands at the very entry
  that revokes it);
- its member, where it has one, is admitted at `i`, neither suspended nor removed;
- one of its roles is among the type's writers.

Entry 0 is a charter, and no other entry is. A key is registered once for ever: a revoked key is
never registered again. Only a key that stands can be revoked, and never by itself, so that an
operator is always left. A revocation counts from its index,
not from any time it names: entries signed before it verify for ever, and a compromised key cannot
be back-dated out of the log.

Who may register or revoke whose key, what waits for whose agreement and how that ends is in
[governance.md](governance.md).

**Possession.** Whoever registers a key shows that its holder wants it here: `possession` is the
key's own signature (base64url) over these bytes, each line ending in a newline:

```text
ledgergrid/key-possession@v1
<origin of the ledger>
<the key, ed25519:…>
```

## The types

"""

RULES = {
    "charter/1": (
        "Its own rule: `origin` is the record's `ledger`; `log_key` is a vkey of type 0x01 whose "
        "name is the origin, and its key the one that the origin names if it names one "
        "([note-and-checkpoint.md](note-and-checkpoint.md#keys)); every key is acceptable "
        "([signatures.md](signatures.md)), no key and no role of a key is named twice; "
        "the author is one of the keys and an operator. No member "
        "is named twice, nor a role of one, and none is given the role `member`, which all hold; a "
        "key's `member` is among them; a member's key is no operator, a key without a member no "
        "steward. Policies and audiences follow the rules of `policy/1` and `audience/1`; no type "
        "has two. A `consortium` has members and policies for `member/1` and `policy/1`. A "
        "`local` ledger, and no other, has `parties` (sorted, each once, members or keys of this "
        "charter) and a `parent`, whose `origin` is one and whose `charter` is a digest. The leaf "
        "hash of a charter's entry is the ledger's identity."
    ),
    "key/1": (
        "Its own rule: the key is acceptable ([signatures.md](signatures.md)); `possession` "
        "verifies under it; no role is named twice; a member's key is no operator, a key without a "
        "member no steward. A revocation is not signed by the key it revokes. `suspect_since` is "
        "the index from which on its signatures are doubted: a flag for readers, it undoes nothing."
    ),
    "key.rotation/1": (
        "Its own rule: the successor is not the author, and `possession` verifies under it. The "
        "author is the key that is succeeded."
    ),
    "log.key/1": (
        "Its own rule: `old` and `new` are two vkeys of type 0x01 named like the record's "
        "`ledger`; `by_old` and `by_new` are their signatures (base64url) over these bytes, each "
        "line ending in a newline:\n\n```text\nledgergrid/log-key-handover@v1\n"
        "<origin of the ledger>\n<old>\n<new>\n```\n\n"
        "A log [named by its key](note-and-checkpoint.md#keys) never hands over."
    ),
    "member/1": (
        "Its own rule: no role and no key is named twice; the role `member` is neither given nor "
        "taken; every key of an admission shows possession and is no operator."
    ),
    "policy/1": (
        "Its own rule: no type is named twice, and each is like `note/1`. A rule has at most "
        f"{limits.RULE_NODES} parts, nested at most {limits.RULE_DEPTH} deep, the outermost "
        "counted; its keys are written as keys are; no `at_least` of an "
        "`out_of` is more than the length of its `of`. `veto` likewise."
    ),
    "audience/1": (
        "Its own rule: `type` is like `note/1`; the setting has `entry`, `parts` or both, of at "
        f"most {limits.PAYLOAD_PARTS} parts; `roles`, each once, are named if and only if one of "
        "the audiences is `roles`."
    ),
    "endorsement/1": (
        "Its own rule: `proposal` and `policy` are digests, `ends_at` is a time as in "
        "[record.md](record.md); a ref `endorses` of the record, if there is one, names the "
        "proposal."
    ),
    "withdrawal/1": "Its own rule: `proposal` is a digest.",
    "bundle/1": "Its own rule: `proposals` are digests, each once.",
    "outcome/1": "Its own rule: `proposal` and `policy` are digests.",
    "equivocation/1": "Its own rule: `first` and `second` are two digests.",
    "epoch/1": (
        "What it means is in [epochs.md](epochs.md). Its own rule: the record's `ledger` is "
        "`new_origin`, which is that of a later epoch of the same ledger as `old_origin`; "
        "`log_key` is a vkey of type 0x01 named like it; roots are digests; `known` is sorted by "
        "origin, each once and of an earlier epoch of this ledger; `fork_checkpoint` is a signed "
        "note ([note-and-checkpoint.md](note-and-checkpoint.md)) whose text is the checkpoint of "
        "`old_origin` at `fork`; `signatures` are sorted by key, each once, and each verifies "
        "over the statement."
    ),
    "mutability/1": (
        "What it means is in [changes.md](changes.md), as for the other types of changes. Its own "
        "rule: `type` is like `note/1`, or `*`; nobody is named twice for one change; `keep_s` "
        f"has at most {limits.PAYLOAD_PARTS} parts."
    ),
    "rollback/1": "Its own rule: `targets` are digests, each once.",
    "redaction/1": (
        "Its own rule: entries are digests, each once, and so is each part of one; no role is "
        "named twice."
    ),
    "hold/1": "Its own rule: `targets` are digests, each once. `case` is public.",
    "erasure/1": "Its own rule: entries are digests, each once, and so is each part of one.",
    "retention/1": (
        "Its own rule: `type` is like `note/1`; `received_before` is a time as in "
        "[record.md](record.md)."
    ),
    "erasure.done/1": (
        "Its own rule: `order` is a digest; `exports` are record ids; `backups_until` is a time."
    ),
    "refusal/1": "Its own rule: `record` is a digest, `author` a key, `type` like `note/1`.",
    "capture.limits/1": (
        "What it means is in [capture.md](capture.md), as for the other types of calls."
    ),
    "llm.start/1": (
        "Its own rule: `timestamp` is a time as in [record.md](record.md); no ref is `answers`; "
        "of level `metadata` it has no part `request`."
    ),
    "llm.call/2": (
        "Its own rule: `timestamp` is a time as in [record.md](record.md); `cost_microusd` is "
        "there if and only if `cost_basis` is not `unknown`; at most one ref is `answers`, and "
        "with it there is no part `request` and no field that begins with `request_` but "
        "`request_id`; of level `metadata` it has no part but `call`."
    ),
    "llm.refused/1": "Its own rule: `timestamp` is a time as in [record.md](record.md).",
    "alert/1": "Its own rule: `timestamp` is a time as in [record.md](record.md).",
    "segment/1": (
        "Its own rule, and what it is for, is in [segment.md](segment.md): `items` are as many as "
        "`count` says and have the `root`; `from` is not after `to`."
    ),
    "anchor/1": (
        "Its own rule: `origin` is one, and not the record's `ledger`; `charter` and `root` are "
        "digests; `size` is not 0."
    ),
    "export/1": (
        "Its own rule: `start` is less than `end`, unless `end` is 0, which means up to and "
        "including this record."
    ),
}


def _type_of(schema: Schema, defs: dict[str, Schema]) -> str:
    """Put a JSON schema into a few words."""
    if schema.get("discriminator", {}).get("propertyName") == "rule":
        return "[rule](governance.md#rules)"
    if "$ref" in schema:
        return _type_of(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [x for x in schema["anyOf"] if x.get("type") != "null"]
        return " or ".join(_type_of(each, defs) for each in kinds)
    match schema.get("type"):
        case "string":
            return _bounded("text", "character", schema, "Length")
        case "array":
            of = _type_of(schema.get("items", {}), defs)
            return _bounded(f"list of {of}", "item", schema, "Items")
        case "object" if "properties" in schema:
            return "object: " + ", ".join(f"`{name}`" for name in schema["properties"])
        case "object":
            return f"object of {_type_of(schema.get('additionalProperties', {}), defs)}"
        case "integer" | "number" as kind:
            low, high = schema.get("minimum"), schema.get("maximum")
            return f"{kind} from {low} to {high}" if high is not None else str(kind)
        case None:
            return "any JSON"
        case kind:
            return str(kind)


def _bounded(words: str, unit: str, schema: Schema, suffix: str) -> str:
    low, high = schema.get(f"min{suffix}", 0), schema.get(f"max{suffix}")
    if high is None:
        return words
    bounds = f"{low} to {high}" if low else f"at most {high}"
    return f"{words}, {bounds} {unit}s"


def _fields(schema: Schema) -> list[str]:
    """Write a table of fields for each object that a part may be."""
    defs = schema.get("$defs", {})
    choices = schema.get("anyOf", [schema])
    lines: list[str] = []
    for choice in choices:
        of = defs.get(choice.get("$ref", "").rpartition("/")[2], choice)
        if "properties" not in of:
            continue
        lines += ["", "| field | | value |", "|---|---|---|"]
        for name, value in of["properties"].items():
            needed = "required" if name in of.get("required", []) else ""
            lines.append(f"| `{name}` | {needed} | {_type_of(value, defs)} |")
    return lines


def _section(kind: RecordType) -> list[str]:
    writers = " or ".join(sorted(kind.writers))
    columns = ", ".join(f"`{name}` ({column})" for name, column in kind.columns.items())
    lines = [
        f"### `{kind.name}`",
        "",
        kind.summary,
        "",
        f"Written by: {writers}. Audience of its payload: {kind.audience}. "
        f"Governance: {'yes' if kind.is_governance else 'no'}. Columns: {columns or 'none'}.",
    ]
    if kind.name in RULES:
        lines += ["", RULES[kind.name]]
    schemas = json_schemas(kind.name)
    for name, part in kind.parts.items():
        need = "required" if part.required else "optional"
        lines += ["", f"Part `{name}` ({need}): "]
        if not part.is_json:
            lines[-1] += "any bytes, of any media type."
            continue
        lines[-1] += f"JSON, [schema](schemas/{schema_name(kind.name, name)})."
        lines += _fields(json.loads(schemas[name]))
        example = next(iter(EXAMPLES[kind.name].values()))[name]
        text = json.dumps(example, indent=2, ensure_ascii=False)
        lines += ["", "```json", text, "```"]
    return [*lines, ""]


def schema_name(type_name: str, part: str) -> str:
    """Name a schema's file, here as in an archive."""
    return f"{type_name.replace('/', '-')}.{part}.json"


def write_schemas() -> dict[str, bytes]:
    return {
        schema_name(kind.name, part): schema
        for kind in ALL
        for part, schema in json_schemas(kind.name).items()
    }


def write_page() -> str:
    assert set(AUTHORS.values()) == {OPERATOR_KEY}
    example = json.dumps(EXAMPLES["key/1"]["registration"]["body"], indent=2)
    lines = [line for kind in ALL for line in _section(kind)]
    end = [
        "## Vectors",
        "",
        "[record-types.json](../../tests/vectors/record-types.json), made by",
        "`python -m tests.vectors`: payloads of every type, good and bad, standing, possession.",
        "The sizes and times of records are in [record.md](record.md).",
        "",
    ]
    return INTRODUCTION.replace("{example}", example) + "\n".join([*lines, *end])


def write_all() -> None:
    (SPEC / "schemas").mkdir(parents=True, exist_ok=True)
    (SPEC / "record-types.md").write_text(write_page())
    for name, schema in write_schemas().items():
        (SPEC / "schemas" / name).write_bytes(schema)
