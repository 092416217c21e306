"""No number of a stream is used twice: by threads, processes, restarts, or after a crash."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import IntegrityError
from ledger_core.formats.record import parse_record
from ledgergrid import Ledger, Signer
from ledgergrid.numbers import Numbers
from ledgergrid.outbox import Outbox
from ledgergrid.sealing import Draft, Sealer
from tests.support.peer import Peer

AUTHOR = "ed25519:author"


def use(numbers: Numbers, stream: str = "run", wanted: int | None = None, *formers: str) -> int:
    with numbers.next([AUTHOR, *formers], stream, wanted) as number:
        return number


def test_numbers_go_on_after_a_restart_stream_by_stream_and_author_by_author(
    tmp_path: Path,
) -> None:
    assert [use(Numbers(tmp_path)) for _ in range(3)] == [0, 1, 2]
    assert use(Numbers(tmp_path), "walk") == 0
    with Numbers(tmp_path).next(["ed25519:other"], "run", None) as number:
        assert number == 0


def test_a_number_whose_record_was_not_made_is_not_used_up(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path)
    with pytest.raises(ValueError, match="no record"), numbers.next([AUTHOR], "run", None):
        raise ValueError("no record")
    assert use(numbers) == 0


def test_a_successor_goes_on_where_the_former_key_was(tmp_path: Path) -> None:
    with Numbers(tmp_path).next(["ed25519:former"], "run", 6):
        pass
    numbers = Numbers(tmp_path)
    assert [use(numbers, "run", None, "ed25519:former") for _ in range(2)] == [7, 8]
    assert use(Numbers(tmp_path)) == 9


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 30), st.booleans())
)


@given(STEPS)
def test_a_number_of_the_clients_own_choice_is_above_all_before(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int | None, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    numbers, highest = Numbers(folder), {"a": -1, "b": -1}
    for stream, wanted, restarts in steps:
        numbers = Numbers(folder) if restarts else numbers
        number = use(numbers, stream, wanted)
        assert number == (highest[stream] + 1 if wanted is None else wanted)
        highest[stream] = max(highest[stream], number)


def test_threads_and_clients_that_share_a_folder_share_no_number(tmp_path: Path) -> None:
    clients = [Numbers(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(6) as threads:
        used = list(threads.map(lambda n: use(clients[n % 3]), range(120)))
    assert sorted(used) == list(range(120))


def test_processes_that_share_a_folder_share_no_number(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ledgergrid.numbers import Numbers\n"
        "for _ in range(20):\n"
        f"    with Numbers(Path(sys.argv[1])).next([{AUTHOR!r}], 'run', None) as n: print(n)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: run(command, check=True, capture_output=True), range(2)))
    used = [int(line) for each in done for line in each.stdout.split()]
    assert sorted(used) == list(range(40))


def test_streams_without_end_take_64_bytes_each(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path)
    for number in range(600):
        use(numbers, f"run-{number}")
    files = [path for path in (tmp_path / "streams").iterdir() if path.name != ".lock"]
    assert sum(path.stat().st_size for path in files) == 600 * 64
    assert len(files) <= 256
    assert use(numbers, "run-17") == 1


def test_half_a_slot_that_a_crash_left_is_written_over(tmp_path: Path) -> None:
    use(Numbers(tmp_path))
    [path] = (each for each in (tmp_path / "streams").iterdir() if each.name != ".lock")
    path.write_bytes(path.read_bytes()[:40])
    assert [use(Numbers(tmp_path)), use(Numbers(tmp_path))] == [0, 1]
    assert path.stat().st_size == 64


def test_a_damaged_slot_is_told_and_never_counted_from(tmp_path: Path) -> None:
    use(Numbers(tmp_path))
    [path] = (each for each in (tmp_path / "streams").iterdir() if each.name != ".lock")
    path.write_bytes(path.read_bytes().replace(b" 0", b" x"))
    with pytest.raises(IntegrityError, match="damaged"):
        use(Numbers(tmp_path))


def test_numbers_are_durable_before_the_record_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    numbers = Numbers(tmp_path)
    monkeypatch.setattr("ledgergrid.numbers.make_durable", lambda _: order.append("numbers"))
    monkeypatch.setattr("ledgergrid.outbox.write_durably", lambda *_: order.append("outbox"))
    sealer = Sealer(Signer.make(), lambda: 0, numbers)
    outbox = Outbox(tmp_path, limit_bytes=100_000, prepare=numbers.make_durable)
    for options in ({"stream": "run"}, {}):
        sealed = sealer.seal(Draft("note/1", 1, options), "ledger.example/main", None)  # type: ignore[arg-type]
        outbox.put([sealed])
    assert order == ["numbers", "outbox", "outbox"]


def test_a_client_that_starts_again_gives_no_number_twice(
    peer: Peer, signer: Signer, tmp_path: Path
) -> None:
    used = []
    for _ in range(2):
        with Ledger(peer.url, ledger="main", signer=signer, state_dir=tmp_path) as ledger:
            receipts = [ledger.append("note/1", n, stream="run") for n in range(2)]
        used += [parse_record(receipt.record).n for receipt in receipts]
    assert used == [0, 1, 2, 3]
