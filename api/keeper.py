"""The keeper: a process beside those that serve, which fills views and full text.

::

    serve ── fork ──▶ keeper: waits for ``begin``, opens the ledgers, fills, one chunk at a time
      │ line (a pair of sockets; workers inherit our end)     ▲
      └── worker: ``hurry`` with a ledger's id, when somebody waits for its views

It is forked before ``serve`` opens or starts anything, so there is nothing it could share by
accident, and its pages are those of ``serve``. It ends when nobody has our end of the line any
more, however they ended. If it ends before them, they see that on the line too, and fill by
themselves from then on.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from api import logs
from api.app import open_ledgers
from api.settings import Settings
from ledger_core.errors import LedgerGridError
from ledger_core.ledgers import Ledgers
from ledger_core.storage.database import open_database

_ID = struct.Struct("<q")
_BEGIN = _ID.pack(0)
_IDS_AT_ONCE = 512
# As a number: to join them anew for each batch takes as long as to ask.
_PEEK = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
_LOOK_S = 1.0
_NICE = 5
_CLOSING_S = 10


class KeptElsewhere:
    """Our end of the line to the keeper."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._has_ended = False

    def hurry(self, ledger_id: int) -> None:
        # Has it as much to read as that, it hurries; has it ended, the next look tells.
        with suppress(BlockingIOError, ConnectionError):
            self._line.send(_ID.pack(ledger_id), socket.MSG_DONTWAIT)

    def lives(self) -> bool:
        if not self._has_ended:
            try:
                # It says nothing, so there is something to read only when it has ended.
                self._line.recv(1, _PEEK)
            except BlockingIOError:
                return True
            except OSError:
                pass  # It ended with something unread, or we have closed our end.
            self._has_ended = True
            logs.log.error("the keeper has ended: views are filled by those that serve")
        return False


@contextmanager
def keeping(settings: Settings) -> Iterator[socket.socket]:
    """Run a keeper for as long as the block lasts; give our end of the line to it.

    Only where nothing runs or is open yet.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    gc.freeze()  # What both have now stays in pages that both have.
    pid = os.fork()
    if pid == 0:
        ours.close()
        _run(settings, its)
    its.close()
    try:
        yield ours
    finally:
        ours.close()
        os.waitpid(pid, 0)


def begin(line: socket.socket) -> None:
    """Let the keeper go to work: the database is ready."""
    with suppress(ConnectionError):  # It has ended already, which those that serve will see.
        line.send(_BEGIN)


def _run(settings: Settings, line: socket.socket) -> None:
    """Be the keeper; the process ends here."""
    status = 1
    try:
        # Whoever ends those that serve from a terminal ends the keeper by that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if line.recv(_ID.size):
            os.nice(_NICE)
            logs.configure(settings.log_level)
            _keep(settings, line)
        status = 0
    except LedgerGridError as error:
        logs.log.error("the keeper cannot go on", error=str(error))
    except BaseException:
        logs.log.exception("the keeper failed")
        raise
    finally:
        # Nothing of what the parent put on the stack before the fork is the child's to finish.
        os._exit(status)


def _keep(settings: Settings, line: socket.socket) -> None:
    threading.excepthook = _fail
    database = open_database(settings.database_url)
    ledgers = open_ledgers(settings, database)
    ledgers.keep()
    _listen(ledgers, line)
    # Whatever holds it up, it does not outlive its service for long.
    signal.alarm(_CLOSING_S)
    ledgers.close()
    database.close()


def _fail(args: threading.ExceptHookArgs) -> None:
    """End with a thread that failed as nothing should: those that serve go on without us."""
    logs.log.error("the keeper failed", exc_info=args.exc_value)
    os._exit(1)


def _listen(ledgers: Ledgers, line: socket.socket) -> None:
    """Pass on for whom to hurry, and log what goes wrong, until nobody is left to keep for."""
    line.settimeout(_LOOK_S)
    told: list[str] = []
    while True:
        try:
            asked = line.recv(_IDS_AT_ONCE * _ID.size)
        except TimeoutError:
            asked = _BEGIN
        if not asked:
            return
        wanted = {ledger_id for (ledger_id,) in _ID.iter_unpack(asked)} - {0}
        if wanted:
            ledgers.follower.hurry(wanted)
        found = _find_failures(ledgers)
        if found != told:
            told = found
            logs.log.warning("views fall behind" if found else "views go on", errors=found)


def _find_failures(ledgers: Ledgers) -> list[str]:
    failures = (ledgers.follower.failure, ledgers.indexer.failure, *ledgers.degraded().values())
    return [str(failure) for failure in failures if failure is not None]
