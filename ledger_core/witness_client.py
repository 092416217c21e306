"""Asks one witness over HTTP, and believes nothing of its answer that does not verify.

``add_checkpoint`` sends a checkpoint that has the log's own signature alone (some witnesses
take 10 KiB, and an ML-DSA-44 line is 3.3 kB), and returns the lines of the keys we know this
witness by, each verified over the very text that was sent, at a time that is sane. Lines by
unknown keys are ignored; one by a known key that does not verify sinks the answer.

Source: https://c2sp.org/tlog-witness, docs/spec/witness.md
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from ledger_core import limits
from ledger_core.clock import Clock
from ledger_core.errors import (
    MalformedError,
    SettingsError,
    SignatureError,
    UnreachableError,
    WitnessError,
)
from ledger_core.formats.note import Note, format_signature_line, parse_note, verify_note
from ledger_core.formats.vkey import AnyWitnessKey, cosigned_at, key_digest
from ledger_core.formats.witness import (
    AddCheckpoint,
    format_add_checkpoint,
    parse_cosignatures,
    parse_size,
)

_AHEAD_S = 300
_BEHIND_S = 86_400
_TOLD_CHARS = 200
_BUSY = (408, 425, 429)
_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Line:
    """A verified cosignature: by whom (digest of the key), when (s), its line's bytes."""

    witness: bytes
    cosigned_at: int
    line: bytes


@dataclass(frozen=True)
class Cosigned:
    """What a witness agreed to; ``missing`` are keys of its that gave no line."""

    lines: tuple[Line, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Behind:
    """The witness cosigned another size last, and wants the proof from there."""

    size: int


class WitnessClient:
    """One witness: where it is, and the keys it is known by (names as in the policy)."""

    def __init__(
        self,
        url: str,
        keys: Mapping[str, AnyWitnessKey],
        http: httpx.Client,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self.url = url.rstrip("/")
        self.keys = dict(keys)
        self.digests = tuple(key_digest(key) for key in keys.values())
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        parsed = httpx.URL(self.url)
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise SettingsError(f"witness {', '.join(keys)}: its URL must be http(s)://host…")

    def add_checkpoint(self, request: AddCheckpoint) -> Cosigned | Behind:
        """Ask for a cosignature.

        Raises :class:`UnreachableError` if the witness may answer better later, and
        :class:`WitnessError` if it refuses or its answer is worth nothing.
        """
        status, body = self._post(format_add_checkpoint(request))
        if status == 200:
            return self._open(parse_note(request.checkpoint).text, body)
        if status == 409:
            return self._read_size(body)
        told = body[:_TOLD_CHARS].decode("ascii", "replace").strip()
        said = "".join(char if char.isprintable() else " " for char in told)
        message = f"answered {status}: {said}"
        raise UnreachableError(message) if _is_passing(status) else WitnessError(message)

    def _post(self, content: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and, as far as the limit goes, the body."""
        body = b""
        end_s = time.monotonic() + self._timeout_s
        try:
            with self._http.stream(
                "POST",
                f"{self.url}/add-checkpoint",
                content=content,
                headers=_HEADERS,
                timeout=self._timeout_s,
            ) as answer:
                # Raw: what is small on the way must not become large here.
                for chunk in answer.iter_raw():
                    body += chunk
                    if time.monotonic() > end_s:
                        raise UnreachableError(f"its answer took longer than {self._timeout_s:g} s")
                    if len(body) > limits.COSIGNATURES_BYTES:
                        raise WitnessError(f"answered {answer.status_code} with too many bytes")
                return answer.status_code, body
        except httpx.HTTPError as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from None

    def _read_size(self, body: bytes) -> Behind:
        try:
            return Behind(parse_size(body))
        except MalformedError:
            # Without the size nobody knows what to prove; asking again would change nothing.
            raise WitnessError("answered 409 without the size it cosigned last") from None

    def _open(self, text: bytes, body: bytes) -> Cosigned:
        """Verify an answer; return the lines that are this witness's."""
        keys = list(self.keys.values())
        try:
            note = Note(text, parse_cosignatures(body))
            signed = verify_note(note, keys)
        except (MalformedError, SignatureError) as error:
            raise WitnessError(f"its answer does not verify: {error}") from None
        known = {(key.name, key.key_id): key_digest(key) for key in signed}
        found: dict[bytes, Line] = {}
        for each in note.signatures:
            witness = known.get((each.name, each.key_id))
            if witness is not None:
                time_s = self._check_time(cosigned_at(each.blob))
                found.setdefault(witness, Line(witness, time_s, format_signature_line(each)))
        if not found:
            raise WitnessError("its answer has no line by a key we know it by")
        missing = (name for name, key in self.keys.items() if key_digest(key) not in found)
        return Cosigned(tuple(found.values()), tuple(missing))

    def _check_time(self, time_s: int) -> int:
        now_s = self._clock() // 1000
        if not now_s - _BEHIND_S <= time_s <= now_s + _AHEAD_S:
            raise WitnessError(f"its clock says {time_s}, ours {now_s} seconds since 1970")
        return time_s


def _is_passing(status: int) -> bool:
    return status >= 500 or status in _BUSY
