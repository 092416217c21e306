"""The load generator tells entries from refusals, and sends each request once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bench.clients import drive
from tests.bench.load import Run, batches, read_requests, write_requests

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


CLIENTS = 2


class Server:
    """Answers every request with the next prepared answer, in two pieces, then hangs up."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = iter(answers)
        self.bodies: list[bytes] = []
        self.ended = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.rsplit(b"content-length: ", 1)[1])
                self.bodies.append(await reader.readexactly(length))
                answer = next(self.answers, b"")
                if not answer:
                    break
                for piece in (answer[:20], answer[20:]):
                    writer.write(piece)
                    await asyncio.sleep(0.001)
        except asyncio.IncompleteReadError:
            pass  # The client has no more requests.
        finally:
            writer.close()
            await writer.wait_closed()
            self.ended.release()


Seen = tuple[Run, Server]


def send(path: Path, bodies: list[bytes], answers: list[bytes], lines: int = 0) -> Seen:
    """Send a request for each body with two clients; return what both sides saw."""
    write_requests(path, "/records", iter(bodies))
    run, server = Run(iter(read_requests(path)), lines=lines), Server(answers)

    async def both() -> None:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            try:
                await drive(port, run, clients=CLIENTS, seconds=30)
            finally:
                for _ in range(CLIENTS):
                    await server.ended.acquire()

    asyncio.run(both())
    return run, server


def test_every_request_is_sent_once_and_its_time_kept(tmp_path: Path) -> None:
    bodies = [b"%d" % number for number in range(7)]
    run, server = send(tmp_path / "requests", bodies, [CREATED] * 7)
    assert sorted(server.bodies) == bodies
    assert (len(run.latencies_s), run.errors) == (7, 0)


def test_a_refused_record_is_an_error_and_its_answer_is_kept(tmp_path: Path) -> None:
    run, _ = send(tmp_path / "requests", [b"a", b"b", b"c"], [CREATED, BUSY, CREATED])
    assert run.errors == 1
    assert run.first_error.startswith("HTTP/1.1 503")


def test_in_a_batch_every_line_must_have_become_an_entry(tmp_path: Path) -> None:
    lines = b'{"status":201}\n{"status":409}\n'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(lines), lines)
    run, server = send(tmp_path / "requests", list(batches(iter([b"a", b"b"]), 2)), [answer], 2)
    assert server.bodies == [b"a\nb"]
    assert run.errors == 1


def test_a_service_that_hangs_up_ends_the_run_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        send(tmp_path / "requests", [b"a"], [])
