"""The exporter: archives of any range, the same for the same scope, whole or not at all."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from ledger_core import exporter, ids
from ledger_core.errors import IntegrityError, MalformedError, NotFoundError, PayloadError
from ledger_core.formats import archive
from ledger_core.formats.archive import Manifest
from ledger_core.formats.entry import parse_entry
from ledger_core.ledger import Ledger
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import parse_bundle
from ledger_core.policy.visibility import NOBODY, Reader
from ledger_core.records.types.charter import Kind
from tests.support.ledgers import Author, Service, append_notes, register, trust_policy
from tests.support.tampering import drop_guards
from verifier.__main__ import main as verify


def export(ledger: Ledger, start: int = 0, end: int | None = None, **how: Reader) -> bytes:
    return b"".join(ledger.export(start, end, "auditor", **how))


def open_zip(raw: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(raw))


def manifest_of(raw: bytes) -> Manifest:
    return archive.parse_manifest(open_zip(raw).read(archive.MANIFEST))


def verified(ledger: Ledger, raw: bytes, folder: Path, *more: str) -> int:
    (folder / "a.zip").write_bytes(raw)
    (folder / "policy").write_text(trust_policy(ledger))
    return verify([str(folder / "a.zip"), "--trust", str(folder / "policy"), "--jobs", "1", *more])


def test_an_export_is_itself_an_entry_and_the_archive_of_all_ends_with_it(
    ledger: Ledger, author: Author, tmp_path: Path
) -> None:
    append_notes(ledger, author, 5)
    raw = export(ledger)
    manifest = manifest_of(raw)
    assert (manifest.scope.start, manifest.scope.end) == (0, 8)
    record = parse_entry(ledger.entry(7).leaf).signed_record().record
    assert (record.type, record.id) == ("export/1", manifest.export_id)
    assert manifest.counts.by_type == {"charter/1": 1, "export/1": 1, "key/1": 1, "note/1": 5}
    assert verified(ledger, raw, tmp_path, "--require", "L1") == 0


@pytest.mark.parametrize(
    "scope", [(0, 1), (3, 4), (255, 257), (256, 300), (2047, 2049), (100, None)]
)
def test_any_range_verifies_on_its_own(
    sqlite_url: str, scope: tuple[int, int | None], tmp_path: Path
) -> None:
    service = Service(sqlite_url, tmp_path)
    ledger = service.open().ledgers.create("main")
    append_notes(ledger, register(ledger), 2_060)
    raw = export(ledger, *scope)
    assert verified(ledger, raw, tmp_path, "--charter", ids.format_digest(ledger.charter)) == 0
    names = set(open_zip(raw).namelist())
    earlier = {index for index in (0, 1) if index < scope[0]}
    assert {archive.context_name(index, "entry") for index in earlier} <= names
    assert manifest_of(raw).counts.context == len(earlier)
    service.close()


def test_leaves_and_parts_are_those_of_the_ledger(ledger: Ledger, author: Author) -> None:
    append_notes(ledger, author, 5)
    files = open_zip(export(ledger))
    entries = ledger.entries(range(8))
    assert parse_bundle(files.read(archive.entries_name(0))) == [entry.leaf for entry in entries]
    frames = archive.read_frames(io.BytesIO(files.read(archive.payloads_name(0))))
    assert [(f.index, f.name, f.part) for f in frames] == [
        (entry.index, name, part) for entry in entries for name, part in entry.parts.items()
    ]


def test_the_same_scope_of_the_same_tree_gives_the_same_files(
    ledger: Ledger, author: Author
) -> None:
    append_notes(ledger, author, 5)
    one, two = open_zip(export(ledger, 0, 5)), open_zip(export(ledger, 0, 5))
    assert one.namelist() == two.namelist()
    said_of_the_moment = {
        archive.MANIFEST, archive.MANIFEST_SIGNATURE, archive.REPORT, archive.CHECKPOINT,
        archive.RANGE_PROOF,
    }  # fmt: skip
    for name in set(one.namelist()) - said_of_the_moment:
        assert one.read(name) == two.read(name), name


@pytest.mark.parametrize(("kind", "withheld"), [("public", (2, 4, 0)), ("private", (2, 0, 4))])
def test_what_a_reader_may_not_see_is_declared_and_withheld(
    service: Service, tmp_path: Path, kind: Kind, withheld: tuple[int, int, int]
) -> None:
    ledger = service.open().ledgers.create("main", kind=kind)
    append_notes(ledger, register(ledger), 3)
    raw = export(ledger, reader=NOBODY)
    counts = manifest_of(raw).counts
    # Charter and key are for everyone; notes and the export itself are for members.
    found = counts.parts_present, counts.parts_withheld, counts.entries_withheld
    assert found == withheld
    assert verified(ledger, raw, tmp_path) == 0


def test_a_payload_that_is_gone_is_missing_and_said_to_be(service: Service, tmp_path: Path) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 3)
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text('DELETE FROM payloads WHERE "index" = 3'))
    assert verified(ledger, export(ledger), tmp_path) == 1


def test_an_entry_that_was_changed_is_not_exported_but_named(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 3)
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text('UPDATE entries SET leaf = substr(leaf, 1, 300) WHERE "index" = 3'))
    with pytest.raises(IntegrityError, match="entry 3"):
        export(ledger)


def test_a_range_with_an_entry_missing_is_not_exported(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 256)  # Entry 3 is in a full tile.
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text('DELETE FROM entries WHERE "index" = 3'))
    with pytest.raises(IntegrityError, match="entries are missing between 0 and 258"):
        export(ledger)


def test_a_record_that_cannot_be_read_is_named(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 256)  # Entry 3 is in a full tile.
    leaf = ledger.entry(3).leaf[:300]
    values = {"leaf": leaf, "leaf_hash": tree.leaf_hash(leaf)}
    with replica.database.write() as tx:
        drop_guards(tx)
        change = 'UPDATE entries SET leaf = :leaf, leaf_hash = :leaf_hash WHERE "index" = 3'
        tx.execute(text(change), values)
    with pytest.raises(IntegrityError, match="entry 3: Input data was truncated"):
        export(ledger)


def test_how_many_payloads_are_held_at_once_changes_nothing(
    ledger: Ledger, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_notes(ledger, author, 20)
    name = archive.payloads_name(0)
    frames = open_zip(export(ledger, 0, 22)).read(name)
    for limit, value in (("_GROUP_BYTES", 20), ("_GROUP_ENTRIES", 3)):
        monkeypatch.setattr(exporter, limit, value)
        assert open_zip(export(ledger, 0, 22)).read(name) == frames


@pytest.mark.parametrize(
    ("start", "end", "error"),
    [(5, 5, PayloadError), (5, 4, PayloadError), (9, None, MalformedError), (0, 99, NotFoundError)],
)
def test_a_range_that_is_none_is_refused(
    ledger: Ledger, start: int, end: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        export(ledger, start, end)


def test_an_export_can_be_broken_off(ledger: Ledger, author: Author) -> None:
    append_notes(ledger, author, 50)
    chunks = ledger.export(0, None, "auditor")
    assert next(chunks) is not None
    del chunks
    assert append_notes(ledger, author, 1)[0].is_new


def test_an_export_goes_on_undisturbed_while_the_ledger_grows(
    ledger: Ledger, author: Author, tmp_path: Path
) -> None:
    append_notes(ledger, author, 300)
    chunks = ledger.export(0, None, "auditor")
    raw = b""
    for number, chunk in enumerate(chunks):
        raw += chunk
        if number % 10 == 0:
            append_notes(ledger, author, 3)
    assert manifest_of(raw).scope.end == 303
    assert verified(ledger, raw, tmp_path) == 0


def test_the_payload_of_an_export_says_what_went_to_whom(ledger: Ledger) -> None:
    export(ledger, 0, 1)
    body = msgspec.json.decode(ledger.entry(1).parts["body"].data)
    assert body == {"start": 0, "end": 1, "recipient": "auditor"}
