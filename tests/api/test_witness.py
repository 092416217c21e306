"""The witness over HTTP: each status where the specification says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.settings import Settings
from api.witnesses import open_cosigner
from ledger_core import limits
from ledger_core.errors import SettingsError
from ledger_core.formats.note import parse_note, verify_note
from ledger_core.formats.vkey import format_vkey, parse_vkey
from ledger_core.formats.witness import AddCheckpoint, format_add_checkpoint, origin_digest
from ledger_core.storage.database import open_database
from tests.api.live import Live, problem, running
from tests.api.test_app import attack, operations
from tests.support.logs import OtherLog

NAME = "witness.example/us"
ADD = "/witness/add-checkpoint"


@pytest.fixture
def log() -> OtherLog:
    return OtherLog()


def write_logs(folder: Path, *logs: OtherLog) -> str:
    path = folder / "logs"
    path.write_text("\n".join(["logs/v0", *(f"vkey {format_vkey(x.key)}" for x in logs), ""]))
    return str(path)


@pytest.fixture
def witness(tmp_path: Path, database_url: str, log: OtherLog) -> Iterator[Live]:
    chosen = Settings(
        data=tmp_path / "data",
        database=SecretStr(database_url),
        witness_name=NAME,
        witness_logs=write_logs(tmp_path, log),
    )
    with running(chosen) as live:
        yield live


@pytest.fixture
def http(witness: Live) -> Iterator[httpx.Client]:
    """A client without a token: logs have none."""
    with witness.http() as client:
        yield client


def test_a_growing_log_is_cosigned_and_shown(http: httpx.Client, log: OtherLog) -> None:
    answers = [http.post(ADD, content=log.request(*x)) for x in [(0, 3), (3, 10), (10, 10)]]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    info = http.get("/api/v1/witness").json()
    keys = [parse_vkey(text) for text in info["vkeys"]]
    assert (info["name"], info["logs"], [key.algorithm for key in keys]) == (NAME, 1, [4, 6])
    shown = httpx.get(f"{info['monitoring_prefix']}/{origin_digest(log.origin)}/checkpoint")
    assert verify_note(parse_note(shown.content), [log.key, *keys]) == [log.key, *keys]
    assert verify_note(parse_note(log.note(10) + answers[-1].content), keys) == keys


def test_another_size_is_a_409_with_the_size_cosigned_last(
    http: httpx.Client, log: OtherLog
) -> None:
    for known, asked in [(0, 4), (5, 4)]:
        if known:
            http.post(ADD, content=log.request(0, known))
        answer = http.post(ADD, content=log.request(asked, 9))
        assert (answer.status_code, answer.content) == (409, b"%d\n" % known)
        assert answer.headers["content-type"] == "text/x.tlog.size"


def test_every_refusal_has_its_status(http: httpx.Client, log: OtherLog) -> None:
    http.post(ADD, content=log.request(0, 5))
    impostor, fork = OtherLog(log.origin, seed=10), OtherLog(fork_at=2)
    too_many = AddCheckpoint(5, (bytes(32),) * 64, log.note(9))
    for content, status, code in [
        (b"", 400, "malformed"),
        (b"old 05\n\n" + log.note(9), 400, "malformed"),
        (format_add_checkpoint(AddCheckpoint(5, (), log.note(3))), 400, "malformed"),
        (log.request(5, 9).replace(b"\n9\n", b"\n9\n \n"), 400, "malformed"),
        (format_add_checkpoint(too_many), 413, "too-large"),
        (b"old 5\n\n" + b"x" * limits.ADD_CHECKPOINT_BYTES, 413, "too-large"),
        (impostor.request(5, 9), 403, "unsigned"),
        (log.request(5, 9).replace(b"\n9\n", b"\n8\n"), 403, "unsigned"),
        (OtherLog("stranger.example/log").request(0, 1), 404, "not-found"),
        (fork.request(5, 9), 422, "inconsistent"),
        (fork.request(5, 5), 422, "inconsistent"),
    ]:
        assert problem(http.post(ADD, content=content)) == (status, code)


def test_a_request_larger_than_other_bodies_is_read(http: httpx.Client, log: OtherLog) -> None:
    grease = "— {} {}\n".format("grease.example", "AAAA" * 800).encode()
    content = log.request(0, 5) + grease * 35
    assert 100_000 < len(content) < limits.ADD_CHECKPOINT_BYTES
    assert http.post(ADD, content=content).status_code == 200


def test_no_request_makes_the_witness_fail_or_answer_off_its_description(witness: Live) -> None:
    attacked = [each for each in operations(witness) if "witness" in each.path]
    assert len(attacked) == 5
    for operation in attacked:
        for token in (None, witness.tokens["admin"]):
            attack(witness, operation, token)


def test_evidence_is_for_admins(witness: Live, http: httpx.Client, log: OtherLog) -> None:
    fork, path = OtherLog(fork_at=2), "/api/v1/witness/equivocations"
    http.post(ADD, content=log.request(0, 5))
    http.post(ADD, content=fork.request(5, 5))
    assert problem(http.get(path)) == (401, "unauthorized")
    with witness.http("reader") as reader:
        assert problem(reader.get(path)) == (403, "forbidden")
    with witness.http("admin") as admin:
        (found,) = admin.get(path).json()["equivocations"]
    assert (found["origin"], found["size"]) == (log.origin, 5)
    assert (found["first"].encode(), found["second"].encode()) == (log.note(5), fork.note(5))


def test_what_was_never_cosigned_is_not_there(http: httpx.Client, log: OtherLog) -> None:
    digest = origin_digest(log.origin)
    assert problem(http.get(f"/witness/{digest}/checkpoint")) == (404, "not-found")
    assert problem(http.get("/witness/zz/checkpoint")) == (400, "malformed")


def test_a_service_without_a_name_is_no_witness(embedded: Live, log: OtherLog) -> None:
    with embedded.http("admin") as http:
        for path in ("/api/v1/witness", "/api/v1/witness/equivocations"):
            assert problem(http.get(path)) == (404, "not-found")
        assert problem(http.post(ADD, content=log.request(0, 1))) == (404, "not-found")


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("", "logs/v0\n", "needs LEDGERGRID_WITNESS_NAME"),
        (NAME, None, "cannot read"),
        (NAME, "", "does not begin with logs/v0"),
        (NAME, "logs/v0\nvkey nonsense\n", "line 2"),
    ],
)
def test_a_witness_that_cannot_work_does_not_start(
    tmp_path: Path, name: str, file: str | None, said: str
) -> None:
    path = tmp_path / "logs"
    if file is not None:
        path.write_text(file)
    chosen = Settings(data=tmp_path, witness_name=name, witness_logs=str(path))
    database = open_database(chosen.database_url)
    with pytest.raises(SettingsError, match=said):
        open_cosigner(chosen, database)
    database.close()
