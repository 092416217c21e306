"""No single changed byte passes, whichever file it is in."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archives import Archive
from tests.verifier.audits import audit, policy_of, small_log
from tests.verifier.test_changes import BODY, Governed
from verifier.report import exit_code

CHANGED = -1
"""An archive of a ledger with changes, in place of one that starts somewhere."""


@cache
def files_of(start: int) -> dict[str, bytes]:
    if start == CHANGED:
        return changed_log().files
    log = small_log()
    return log.archive(start, 8, withheld=[(5, "body")], cosigned=True).files


def changed_log() -> Archive:
    """Export all but the last entries of a log whose notes were changed in every way."""
    log = Governed.with_notes(8)
    second = log.amend(1)
    log.roll_back(1, second)
    log.hold(2)
    log.redact(3)
    log.done(log.erase(4))
    log.retire(1_785_579_072_000 + 1_000)  # Reaches entries 1 and 2; 2 is held.
    end = len(log.leaves)
    order = log.erase(5)
    erased = [(index, BODY) for index in (1, 4, 5)]
    redacted = [(3, BODY)]
    return log.archive(0, end, erased=erased, redacted=redacted, later=[order], cosigned=True)


def test_the_archives_that_are_flipped_pass_before() -> None:
    for start in (0, 4, CHANGED):
        made = Archive(dict(files_of(start)), small_log().operator)
        verdict = audit(made, policy=policy_of(small_log(), quorum=True))
        assert (verdict.level, verdict.findings.kept) == ("L2", [])


@settings(max_examples=250)
@given(data=st.data(), start=st.sampled_from([0, 4, CHANGED]), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_never_a_pass(
    data: st.DataObject, start: int, flip: int
) -> None:
    made = Archive(dict(files_of(start)), small_log().operator)
    name = data.draw(st.sampled_from(sorted(made.files)))
    content = bytearray(made.files[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= flip
    made.files[name] = bytes(content)
    verdict = audit(made, policy=policy_of(small_log(), quorum=True))
    assert exit_code(verdict, None) in (1, 3)
    assert verdict.level is None


@settings(max_examples=100)
@given(data=st.data(), start=st.sampled_from([0, 4, CHANGED]))
def test_an_operator_who_edits_and_signs_the_manifest_anew_does_not_pass_either(
    data: st.DataObject, start: int
) -> None:
    log = small_log()
    made = Archive(dict(files_of(start)), log.operator)
    judged = [n for n in made.files if n.startswith(("entries/", "payloads/", "context/"))]
    more = ("checkpoint", "range-proof", "mutations.csv")
    name = data.draw(st.sampled_from([*sorted(judged), *more]))
    content = bytearray(made.files[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    made.files[name] = bytes(content)
    verdict = audit(made.reseal(), policy=policy_of(log, quorum=True))
    # A cosignature that names nobody known any more is no lie: it is only missing.
    is_missing = name == "checkpoint" and verdict.level == "L1"
    assert verdict.level is None or is_missing
