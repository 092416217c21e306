"""The list of logs that a witness cosigns, in the form of the public witness network.

::

    logs/v0

    vkey ledgergrid.example/log1+c61e0fa5+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
    contact ops@ledgergrid.example
    vkey example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
    origin example.com/the-foo
    qpd 24

A ``vkey`` line begins a log, whose origin is the key's name unless an ``origin`` line says
otherwise. ``qpd`` (checkpoints a day) and ``contact`` are for people. Several keys may be
given for one origin; any of them is enough.

Source: https://github.com/transparency-dev/witness-network
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SignatureError, TooLargeError
from ledger_core.formats.vkey import LogKey, parse_vkey

FORMAT = "logs/v0"


@dataclass
class _Log:
    """One block of lines, as far as it was read."""

    key: LogKey
    origin: str
    said: set[str]


def parse_log_list(raw: bytes) -> dict[str, list[LogKey]]:
    """Parse a list of logs: the keys of each origin. Errors name the line."""
    if len(raw) > limits.LOG_LIST_BYTES:
        raise TooLargeError(f"list of logs is larger than {limits.LOG_LIST_BYTES} bytes")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:
        raise MalformedError("list of logs is not UTF-8") from None
    said = [(n, x.strip(" \t")) for n, x in enumerate(lines, 1) if x.strip(" \t")]
    said = [(n, x) for n, x in said if not x.startswith("#")]
    if not said or said.pop(0)[1] != FORMAT:
        raise MalformedError(f"list of logs does not begin with {FORMAT}")
    logs: list[_Log] = []
    for number, line in said:
        try:
            _parse_line(logs, line)
        except (MalformedError, SignatureError) as error:
            raise type(error)(f"list of logs, line {number}: {error}") from None
    return _by_origin(logs)


def _parse_line(logs: list[_Log], line: str) -> None:
    word, _, value = line.partition(" ")
    if word == "vkey":
        logs.append(_begin(value))
        if len(logs) > limits.LOG_LIST_LOGS:
            raise TooLargeError(f"more than {limits.LOG_LIST_LOGS} logs")
        return
    if word not in ("origin", "qpd", "contact") or not value:
        raise MalformedError(f"{line[:80]!r} is not a vkey, origin, qpd or contact")
    if not logs or word in logs[-1].said:
        raise MalformedError(f"{word} stands above every vkey, or twice below one")
    logs[-1].said.add(word)
    if word == "origin":
        logs[-1].origin = value


def _begin(vkey: str) -> _Log:
    key = parse_vkey(vkey)
    if not isinstance(key, LogKey):
        raise MalformedError("a log's key is of type 0x01")
    return _Log(key, key.name, set())


def _by_origin(logs: list[_Log]) -> dict[str, list[LogKey]]:
    keys: dict[str, list[LogKey]] = {}
    for log in logs:
        ids.check_origin(log.origin)
        known = keys.setdefault(log.origin, [])
        if (log.key.name, log.key.key_id) in {(each.name, each.key_id) for each in known}:
            raise MalformedError(f"a key of {log.origin} stands twice in the list of logs")
        known.append(log.key)
    return keys
