"""C2SP tlog-policy: whom a verifier believes.

::

    # the log, and two of its three witnesses
    log ledgergrid.example/log1+c61e0fa5+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
    witness w1 witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU
    witness w2 …
    witness w3 …
    group two-of-three 2 w1 w2 w3
    quorum two-of-three

One ``quorum`` line is required; ``quorum none`` asks for no witness. Groups name only
what stands above them, every name is a member of at most one group, and no key may
stand twice: thresholds count distinct keys. Any one of the listed logs is enough. A line
whose first sign is ``#`` is a comment; space and tab part words, no other control is allowed.

A service reads the same kind of file to learn its witnesses (:func:`parse_witness_policy`):
there the witnesses' URLs matter, and log lines may be missing.

Source: https://c2sp.org/tlog-policy
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256

from ledger_core import limits
from ledger_core.errors import MalformedError, SignatureError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.note import Note, parse_note, verify_note
from ledger_core.formats.vkey import AnyWitnessKey, LogKey, WitnessKey, format_vkey, parse_vkey

NO_QUORUM = "none"
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Group:
    """``k`` of the members, each a witness or an earlier group."""

    k: int
    members: tuple[str, ...]


@dataclass
class TrustPolicy:
    """Logs and witnesses by key, groups by name, and the name of the quorum (or ``none``).

    ``urls`` are the witnesses' submission prefixes, where the file says them.
    """

    logs: list[LogKey] = field(default_factory=list)
    witnesses: dict[str, AnyWitnessKey] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str = ""

    def is_met_by(self, witnesses: set[AnyWitnessKey]) -> bool:
        """Say whether the quorum is reached by these witnesses' cosignatures."""
        return self.quorum == NO_QUORUM or self._holds(self.quorum, witnesses)

    def _holds(self, name: str, witnesses: set[AnyWitnessKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name] in witnesses
        group = self.groups[name]
        return sum(self._holds(member, witnesses) for member in group.members) >= group.k


@dataclass(frozen=True)
class Trusted:
    """A checkpoint verified under a policy: by which log, and which witnesses cosigned."""

    checkpoint: Checkpoint
    log: LogKey
    witnesses: tuple[AnyWitnessKey, ...]
    quorum_met: bool


def parse_trust_policy(raw: bytes) -> TrustPolicy:
    """Parse a policy file; errors name the line."""
    policy = _parse(raw)
    if not policy.logs:
        raise MalformedError("trust policy has no log line")
    return policy


def parse_witness_policy(raw: bytes) -> TrustPolicy:
    """Parse the policy of a service that asks witnesses: each of them has a URL.

    The logs are known from elsewhere (C2SP tlog-policy allows that): log lines say nothing
    here, and may stand there so that auditors can be given the same file.
    """
    policy = _parse(raw)
    if not policy.witnesses:
        raise MalformedError("witness policy has no witness line")
    if missing := sorted(policy.witnesses.keys() - policy.urls.keys()):
        raise MalformedError(f"witness policy has no URL for {', '.join(missing)[:200]}")
    return policy


def _parse(raw: bytes) -> TrustPolicy:
    if len(raw) > limits.POLICY_BYTES:
        raise TooLargeError(f"trust policy is larger than {limits.POLICY_BYTES} bytes")
    if _FORBIDDEN.search(raw):
        raise MalformedError("trust policy has a control character other than tab and newline")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:
        raise MalformedError("trust policy is not UTF-8") from None
    if len(lines) > limits.POLICY_LINES:
        raise TooLargeError(f"trust policy has more than {limits.POLICY_LINES} lines")
    policy, grouped = TrustPolicy(), set[str]()
    for number, line in enumerate(lines, 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if words and not words[0].startswith("#"):
            try:
                _parse_line(policy, grouped, words)
            except (MalformedError, SignatureError) as error:
                raise type(error)(f"trust policy line {number}: {error}") from None
    if not policy.quorum:
        raise MalformedError("trust policy has no quorum line")
    return policy


def _parse_line(policy: TrustPolicy, grouped: set[str], words: list[str]) -> None:
    match words:
        case ["log", vkey] | ["log", vkey, _]:
            _add_log(policy, vkey)
        case ["witness", name, vkey]:
            _add_witness(policy, name, vkey)
        case ["witness", name, vkey, url]:
            _add_witness(policy, name, vkey)
            policy.urls[name] = url
        case ["group", name, k, *members]:
            _add_group(policy, grouped, name, k, members)
        case ["quorum", name]:
            if policy.quorum:
                raise MalformedError("a second quorum line")
            if name != NO_QUORUM:
                _check_known(policy, name)
            policy.quorum = name
        case _:
            raise MalformedError(f"{' '.join(words)[:80]!r} is not a log, witness, group or quorum")


def _check_new_key(policy: TrustPolicy, new: LogKey | AnyWitnessKey) -> None:
    keys: list[LogKey | AnyWitnessKey] = [*policy.logs, *policy.witnesses.values()]
    for known in keys:
        if known.public_key == new.public_key:
            raise MalformedError("this key stands in the policy already")
        if (known.name, known.key_id) == (new.name, new.key_id):
            raise MalformedError("another key of this name and key id stands in the policy already")


def _add_log(policy: TrustPolicy, vkey: str) -> None:
    key = parse_vkey(vkey)
    if not isinstance(key, LogKey):
        raise MalformedError("a log's key is of type 0x01")
    _check_new_key(policy, key)
    policy.logs.append(key)


def _add_witness(policy: TrustPolicy, name: str, vkey: str) -> None:
    given = parse_vkey(vkey)
    # A type 0x01 key in this place means its type 0x04 twin, as in Go's implementation.
    key = WitnessKey(given.name, given.public_key) if isinstance(given, LogKey) else given
    _check_new_name(policy, name)
    _check_new_key(policy, key)
    policy.witnesses[name] = key


def _add_group(
    policy: TrustPolicy, grouped: set[str], name: str, k: str, members: list[str]
) -> None:
    _check_new_name(policy, name)
    if not members or len(set(members)) != len(members):
        raise MalformedError(f"group {name} is empty or names a member twice")
    for member in members:
        _check_known(policy, member)
        if member in grouped:
            raise MalformedError(f"{member} is in a group already")
    words = {"all": len(members), "any": 1}
    count = words.get(k) or (int(k) if _COUNT.fullmatch(k) else 0)
    if not 1 <= count <= len(members):
        raise MalformedError(f"group {name} asks for {k[:20]} of {len(members)} members")
    grouped.update(members)
    policy.groups[name] = Group(count, tuple(members))


def _check_new_name(policy: TrustPolicy, name: str) -> None:
    names = len(policy.witnesses) + len(policy.groups)
    if name == NO_QUORUM or name in policy.witnesses or name in policy.groups:
        raise MalformedError(f"the name {name[:60]!r} is taken")
    if names >= limits.POLICY_NAMES:
        raise TooLargeError(f"more than {limits.POLICY_NAMES} witnesses and groups")


def _check_known(policy: TrustPolicy, name: str) -> None:
    if name not in policy.witnesses and name not in policy.groups:
        raise MalformedError(f"no witness or group {name[:60]!r} stands above this line")


def quorum_digest(policy: TrustPolicy) -> bytes:
    """Return the digest of all that decides whether the quorum is met: not of logs and URLs."""
    said = [f"quorum {policy.quorum}"]
    said += [f"witness {name} {format_vkey(key)}" for name, key in sorted(policy.witnesses.items())]
    said += [f"group {name} {x.k} {' '.join(x.members)}" for name, x in policy.groups.items()]
    return sha256("\n".join(said).encode()).digest()


def verify_trusted(raw: bytes, policy: TrustPolicy) -> Trusted:
    """Verify a signed checkpoint under ``policy``.

    Raises :class:`SignatureError` if no listed log signed it, or a known line does not
    verify. Whether the witnesses suffice is told by ``quorum_met``.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    log = _verify_log(note, checkpoint, policy)
    witnesses = verify_note(note, list(policy.witnesses.values()))
    met = policy.is_met_by(set(witnesses))
    return Trusted(checkpoint, log, tuple(witnesses), met)


def _verify_log(note: Note, checkpoint: Checkpoint, policy: TrustPolicy) -> LogKey:
    own = [key for key in policy.logs if key.name == checkpoint.origin]
    signed = verify_note(note, own)
    if not signed:
        raise SignatureError(
            f"no log in the trust policy signed this checkpoint of {checkpoint.origin}"
        )
    return signed[0]
