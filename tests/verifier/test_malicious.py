"""Archives made by an enemy: none of them costs memory, escapes its folder or speaks for itself."""

from __future__ import annotations

import os
import resource
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from ledger_core import limits
from ledger_core.formats import archive
from ledger_core.formats.archive import File
from ledger_core.formats.vkey import NoteSigner
from tests.support.archives import ORIGIN, Archive, Log, key
from tests.verifier.audits import audit, policy_of, small_log
from verifier import report
from verifier.audit import Options, Verdict, verify


def refused(path: Path) -> str:
    """Return why an archive is malformed."""
    verdict = verify(Options(archive=path))
    finding = verdict.findings.first()
    assert finding is not None
    assert report.exit_code(verdict, None) == report.MALFORMED
    return finding.found


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "a//b", ".hidden", "a/./b", "C:evil",
     "dir/", "x" * 300, "ünicode", "new\nline"],
)  # fmt: skip
def test_a_name_that_is_not_a_plain_relative_path_is_refused(tmp_path: Path, name: str) -> None:
    made = small_log().archive()
    made.files[name] = b"x"
    assert "path" in refused(made.write_zip(tmp_path / "a.zip")) or name == "dir/"
    assert not (tmp_path.parent / "evil").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = small_log().archive().write_zip(tmp_path / "a.zip")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr(archive.MANIFEST, b"{}")
    assert "same name" in refused(path)


def test_a_link_in_a_zip_or_a_folder_is_refused(tmp_path: Path) -> None:
    made = small_log().archive()
    path = made.write_zip(tmp_path / "a.zip")
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info, "/etc/passwd")
    assert "link" in refused(path)
    folder = made.write(tmp_path / "folder")
    (folder / "entries.csv").unlink()
    (folder / "entries.csv").symlink_to("/etc/passwd")
    assert "link" in refused(folder)


def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = small_log().archive().write(tmp_path)
    os.mkfifo(folder / "pipe")
    assert "special" in refused(folder)


def test_a_zip_bomb_is_read_no_further_than_it_declares(tmp_path: Path) -> None:
    made = small_log().archive()
    made.files[archive.CSV] = bytes(200_000_000)
    path = made.write_zip(tmp_path / "bomb.zip")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdict = verify(Options(archive=path))
    assert report.exit_code(verdict, None) == 1
    assert "size of entries.csv" in [f.field for f in verdict.findings.kept]
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 50_000


def test_a_manifest_larger_than_allowed_is_not_read(tmp_path: Path) -> None:
    made = small_log().archive()
    made.files[archive.MANIFEST] = b" " * (limits.ARCHIVE_MANIFEST_BYTES + 1)
    assert "larger" in refused(made.write_zip(tmp_path / "a.zip"))


def test_overlapping_files_in_a_zip_are_refused(tmp_path: Path) -> None:
    path = small_log().archive().write_zip(tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    last = raw.rindex(b"PK\x01\x02")
    raw[last + 42 : last + 46] = struct.pack("<I", 10)
    path.write_bytes(raw)
    assert "overlaps" in refused(path)


def test_bytes_before_or_after_the_zip_are_refused(tmp_path: Path) -> None:
    path = small_log().archive().write_zip(tmp_path / "a.zip")
    raw = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + raw)
    assert "hides" in refused(path)
    path.write_bytes(raw + b"\0")
    assert "end record" in refused(path)
    path.write_bytes(b"not a zip file at all")
    assert "not a zip" in refused(path)
    path.write_bytes(b"")
    assert "not a zip" in refused(path)


def test_other_compressions_and_encryption_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("manifest.json", b"{}")
    assert "deflated" in refused(path)
    path = small_log().archive().write_zip(tmp_path / "b.zip")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "encrypted" in refused(path)


def test_damaged_compression_is_damage_to_one_file_and_no_crash(tmp_path: Path) -> None:
    path = small_log().archive().write_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as file:
        info = file.getinfo(archive.entries_name(0))
    raw = bytearray(path.read_bytes())
    for place in range(info.header_offset + 70, info.header_offset + 300, 23):
        spoilt = raw.copy()
        spoilt[place] ^= 0x55
        path.write_bytes(spoilt)
        assert report.exit_code(verify(Options(archive=path)), None) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b'{"v":' + b"9" * 10_000 + b"}",
        b'{"v":1e400}',
        b"\xff\xfe",
        b"null",
        b"{}",
    ],
    ids=["deep", "huge integer", "huge float", "not UTF-8", "null", "empty"],
)
def test_hostile_json_is_malformed_and_no_crash(tmp_path: Path, manifest: bytes) -> None:
    made = small_log().archive()
    made.files[archive.MANIFEST] = manifest
    assert "manifest" in refused(made.write(tmp_path))


def test_a_scope_of_a_billion_entries_is_refused_before_it_is_walked(tmp_path: Path) -> None:
    log = small_log()
    made = log.archive()
    scope = archive.Scope(0, 2**53 - 1, 2**53 - 1, made.manifest().scope.root)
    assert "scope" in refused(made.reseal(scope=scope).write(tmp_path))


def test_deep_json_in_a_payload_is_a_bad_payload_and_no_crash() -> None:
    log = small_log()
    from ledger_core.formats.record import make_part

    part = make_part(b"[" * 200_000 + b"]" * 200_000, "application/json")
    log._seal("note/1", {"body": part}, log.agent)
    finding = audit(log.archive()).findings.first()
    assert finding is not None
    assert (finding.check, finding.index) == (11, 9)


def test_an_archive_that_brings_its_own_trust_is_not_believed(tmp_path: Path) -> None:
    log = small_log()
    made = log.archive(cosigned=True)
    for name in ("trust-policy", "policy", "trust/policy.txt"):
        made.files[name] = log.policy(quorum=True)
    made.reseal()
    assert audit(made).level == "L0"
    mine = policy_of(Log(signer=NoteSigner(ORIGIN, key(9))))
    assert audit(made, policy=mine).level is None


SCRIPT = "<script>alert(1)</script>"


def html_of(verdict: Verdict) -> str:
    options = Options(archive=Path("x"))
    return report.format_html(report.build(verdict, options, None))


def test_nothing_from_an_archive_becomes_markup_in_the_report() -> None:
    made = small_log().archive().reseal(export_id=f'"><img src=x onerror=alert(1)>{SCRIPT}')
    made.files["entries.csv"] = b""
    page = html_of(audit(made))
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;" in page


def test_names_from_a_manifest_do_not_become_markup_either() -> None:
    made = small_log().archive()
    files = (*made.manifest().files, File(f"zz{SCRIPT}", 0, "sha256:" + "A" * 43))
    raw = archive.format_manifest(
        type(made.manifest())(
            **{**{f: getattr(made.manifest(), f) for f in made.manifest().__struct_fields__},
               "files": files}
        )
    )  # fmt: skip
    signed = Archive(
        {
            **made.files,
            archive.MANIFEST: raw,
            archive.MANIFEST_SIGNATURE: archive.sign_manifest(raw, made.operator),
        },
        made.operator,
    )
    page = html_of(audit(signed))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_terminals_get_no_control_characters() -> None:
    log = small_log()
    made = log.archive().reseal(export_id="\x1b[31mVERIFIED\x1b[0m\u202e")
    options = Options(archive=Path("x"))
    built = report.build(audit(made), options, None)
    assert "\x1b" not in report.format_text(built) + built["archive"]["export_id"]
