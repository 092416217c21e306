"""A disk that fails, for one thread: seccomp makes chosen system calls return an error.

A filter cannot be taken off again, but it ends with its thread, and the disk is well again.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from ledger_core.errors import LedgerGridError

_NUMBERS: Final = {
    "x86_64": {"pwrite64": 18, "fsync": 74, "fdatasync": 75},
    "aarch64": {"pwrite64": 68, "fsync": 82, "fdatasync": 83},
}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

IS_POSSIBLE: Final = sys.platform == "linux" and platform.machine() in _NUMBERS


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("first", ctypes.POINTER(_Instruction)))


def with_failing(calls: Sequence[str], error: int, action: Callable[[], object]) -> object:
    """Run ``action`` in a thread whose system calls of those names fail; return what it returned.

    An exception it raises is returned, not raised.
    """
    done: list[object] = []

    def run() -> None:
        _fail(calls, error)
        try:
            done.append(action())
        except LedgerGridError as raised:
            done.append(raised)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done[0]


def _fail(calls: Sequence[str], error: int) -> None:
    numbers = [_NUMBERS[platform.machine()][name] for name in calls]
    code = [_Instruction(_LOAD, 0, 0, 0)]
    for left, number in zip(range(len(numbers) - 1, -1, -1), numbers, strict=True):
        code.append(_Instruction(_JUMP_EQUAL, left + 1, 0, number))
    code += [_Instruction(_RETURN, 0, 0, _ALLOW), _Instruction(_RETURN, 0, 0, _ERRNO | error)]
    array = (_Instruction * len(code))(*code)
    program = _Program(len(code), array)
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "this system allows no seccomp filter")
