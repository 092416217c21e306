"""The keyring: one secret, kept by its owner alone, and every ledger's keys from it."""

from __future__ import annotations

import errno
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.vkey import NoteSigner, format_skey, format_vkey, make_key_name, parse_skey
from ledger_core.keyring import Keyring, add_log_key, format_keyring, open_keyring, parse_keyring
from tests.ledger_core.formats import strategies as made
from tests.support import syscalls
from tests.support.syscalls import with_failing
from tests.vectors.notes import PETER, PETER_PRIVATE, SIGSUM_PRIVATE
from tests.vectors.post_quantum import PQ_WITNESS

SECRET = bytes(range(32))
LINE = ids.encode_base64(SECRET) + "\n"
OWN = NoteSigner("log.example.org/orders", PrivateKey(b"\x09" * 32))


def test_the_same_secret_gives_the_same_keys_and_every_ledger_and_purpose_its_own() -> None:
    one, again, other = Keyring(b"\x01" * 32), Keyring(b"\x01" * 32), Keyring(b"\x02" * 32)
    assert one.log_signer("a").public == again.log_signer("a").public
    keys = {
        ring.operator(origin).public_key for ring in (one, other) for origin in ("a", "b", "a\n")
    }
    keys |= {ring.log_signer(o).public.public_key for ring in (one, other) for o in ("a", "b")}
    keys |= {ring.proxy(o).public_key for ring in (one, other) for o in ("a", "b")}
    keys |= {ring.allowance_secret() for ring in (one, other)}
    assert len(keys) == 16
    assert one.allowance_secret() == again.allowance_secret()
    assert one.service_name() == again.service_name() != other.service_name()


def test_derivation_never_changes_because_ledgers_live_longer_than_versions() -> None:
    ring = Keyring(bytes(range(32)))
    assert ring.operator("ledgergrid.example/log1").public_key.hex()[:16] == "39b9ef4c2556868c"
    assert (
        ring.log_signer("ledgergrid.example/log1").public.public_key.hex()[:16]
        == "6cf7e6d84f873b68"
    )
    assert ring.service_name() == "2ea3d58c"


def test_a_secret_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    first = open_keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_keyring(path).service_name() == first.service_name()
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: open_keyring(tmp_path / "secret"), range(8)))
    assert len({ring.service_name() for ring in rings}) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_keyring(tmp_path / "secret")
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        open_keyring(tmp_path / "secret")


@pytest.mark.parametrize("content", ["", "short", "A" * 44, "\x00" * 32, LINE[:-1], LINE[1:]])
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as error:
        open_keyring(path)
    assert not content or content not in str(error.value)


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(SettingsError):
        Keyring(b"\x01" * 31)


# --- keys of the logs' own ---------------------------------------------------------------


def keyring_file(folder: Path, text: str = LINE) -> Path:
    path = folder / "keyring"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_key_as_go_writes_it_is_the_key_of_the_log_it_is_named_like(tmp_path: Path) -> None:
    ring = open_keyring(keyring_file(tmp_path, f"{LINE}{PETER_PRIVATE}\n{SIGSUM_PRIVATE}\n"))
    assert format_vkey(ring.log_signer("PeterNeumann").public) == PETER
    assert [key.name for key in ring.own_log_keys] == [
        "PeterNeumann",
        "sigsum.org/v1/tree/e796172b92befd62d9dc67e41c2f5bc9d3100a3023b20b1ca40288dd1c679e69",
    ]


def test_every_other_log_and_every_later_generation_keeps_its_derived_key() -> None:
    plain, ring = Keyring(SECRET), Keyring(SECRET, [OWN])
    assert ring.log_signer(OWN.name) == OWN
    assert ring.log_signer(OWN.name, 1).public == plain.log_signer(OWN.name, 1).public
    assert ring.log_signer("a").public == plain.log_signer("a").public
    assert ring.operator(OWN.name).public_key == plain.operator(OWN.name).public_key
    assert ring.service_name() == plain.service_name()


signers = st.builds(NoteSigner, made.origins, made.hashes.map(PrivateKey))


@given(made.hashes, st.lists(signers, max_size=5, unique_by=lambda signer: signer.name))
def test_a_keyring_is_read_as_it_is_written(secret: bytes, own: list[NoteSigner]) -> None:
    text = format_keyring(secret, own)
    again, read = parse_keyring(text)
    assert again == secret
    assert [format_skey(each) for each in read] == [format_skey(each) for each in own]


@given(st.data())
def test_a_keyring_has_one_spelling(data: st.DataObject) -> None:
    """Whatever one character more, less or other makes of it: refused, or formatted as it was."""
    text = format_keyring(SECRET, [OWN, parse_peter()])
    at = data.draw(st.integers(0, len(text)))
    other = data.draw(st.sampled_from(["", "\n", " ", "A", "+", "=", "\r", "/", "0"]))
    mangled = text[:at] + other + text[at + data.draw(st.integers(0, 1)) :]
    try:
        read = parse_keyring(mangled)
    except MalformedError:
        return
    assert format_keyring(*read) == mangled


def parse_peter() -> NoteSigner:
    signer = parse_skey(PETER_PRIVATE)
    assert isinstance(signer, NoteSigner)
    return signer


BAD_LINES = {
    "nothing": "",
    "no key": "a comment",
    "a public key": PETER,
    "a witness's key": format_skey(PQ_WITNESS),
    "a key with another's id": PETER_PRIVATE.replace("c74f", "c74e"),
    "a space before it": f" {PETER_PRIVATE}",
    "a carriage return": f"{PETER_PRIVATE}\r",
    "a name that is no origin": format_skey(NoteSigner("lög", OWN.private)),
    "a name of another key": format_skey(NoteSigner(make_key_name(b"other"), OWN.private)),
    "a second key for its origin": format_skey(NoteSigner(OWN.name, PrivateKey(b"\x0a" * 32))),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_no_logs_key_is_named_and_not_shown(tmp_path: Path, name: str) -> None:
    line = BAD_LINES[name]
    path = tmp_path / "keyring"
    path.write_bytes(f"{LINE}{format_skey(OWN)}\n{line}\n".encode())
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"line 3|not ASCII") as caught:
        open_keyring(path)
    said = f"{caught.value}{caught.value.__cause__}"
    assert line.split("+", 4)[-1][:12] not in said or not line
    assert LINE[:12] not in said


def test_a_keyring_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = keyring_file(tmp_path, LINE * (limits.KEYRING_BYTES // len(LINE) + 1))
    with pytest.raises(SettingsError, match="larger than"):
        open_keyring(path)


def test_a_key_is_added_below_what_is_there_and_none_is_replaced(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    add_log_key(path, OWN)
    add_log_key(path, parse_peter())
    assert path.read_text() == f"{LINE}{format_skey(OWN)}\n{PETER_PRIVATE}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["keyring"]
    with pytest.raises(SettingsError, match="none is replaced"):
        add_log_key(path, NoteSigner(OWN.name, PrivateKey(b"\x0a" * 32)))
    assert open_keyring(path).log_signer(OWN.name).public == OWN.public


@pytest.mark.skipif(not syscalls.IS_POSSIBLE, reason="needs seccomp")
def test_a_key_that_is_not_durable_is_not_added(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)

    def add() -> object:
        try:
            add_log_key(path, OWN)
        except OSError as error:
            return error.errno
        return None

    assert with_failing(["fsync"], errno.EIO, add) == errno.EIO
    assert path.read_text() == LINE
    assert [each.name for each in tmp_path.iterdir()] == ["keyring"]
    assert add() is None
    assert open_keyring(path).own_log_keys == (OWN.public,)


def test_keys_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    own = [NoteSigner(f"log.example.org/{n}", PrivateKey.generate()) for n in range(16)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda signer: add_log_key(path, signer), own))
    ring = open_keyring(path)
    assert {key.name for key in ring.own_log_keys} == {signer.name for signer in own}


@pytest.mark.parametrize("name", ["a name of another key", "a name that is no origin"])
def test_what_no_log_could_sign_with_is_not_added(tmp_path: Path, name: str) -> None:
    path = keyring_file(tmp_path)
    signer = parse_skey(BAD_LINES[name])
    assert isinstance(signer, NoteSigner)
    with pytest.raises(MalformedError):
        add_log_key(path, signer)
    assert path.read_text() == LINE


def test_nothing_is_added_to_what_is_no_keyring(tmp_path: Path) -> None:
    path = keyring_file(tmp_path, "short\n")
    with pytest.raises(SettingsError, match="line 1"):
        add_log_key(path, OWN)
    assert path.read_text() == "short\n"
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        add_log_key(path, OWN)
