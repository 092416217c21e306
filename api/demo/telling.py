"""How the demo talks: steps with their times, and the verifier's own words."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path

from verifier.__main__ import main as verify


def check_offline(archive: Path, policy: Path, *more: str) -> tuple[int, str]:
    """Run the verifier as its command would; return exit code and report."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = verify([str(archive), "--trust", str(policy), *more])
    return code, printed.getvalue()


def check_session(export: Path, policy: Path) -> tuple[int, str]:
    """Run the verifier over a session's export; return exit code and report."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        contextlib.redirect_stderr(printed),
    ):
        code = verify(["session", str(export), "--trust", str(policy)])
    return code, printed.getvalue()


def expect(code: int, wanted: int) -> None:
    if code != wanted:
        raise SystemExit(f"the verifier ended with {code}, expected {wanted}")


class Took:
    seconds = 0.0


@contextlib.contextmanager
def step(what: str) -> Iterator[Took]:
    """Say what happens and how long it took."""
    print(f"\n* {what} …", flush=True)
    took, began = Took(), time.perf_counter()
    yield took
    took.seconds = time.perf_counter() - began
    print(f"   done in {took.seconds:.2f} s", flush=True)


def say(line: str) -> None:
    print(line, flush=True)
