"""No single changed byte passes, whichever file it is in."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archives import Archive
from tests.verifier.audits import audit, policy_of, small_log
from verifier.report import exit_code


@cache
def files_of(start: int) -> dict[str, bytes]:
    log = small_log()
    return log.archive(start, 8, withheld=[(5, "body")], cosigned=True).files


@settings(max_examples=250)
@given(data=st.data(), start=st.sampled_from([0, 4]), flip=st.integers(1, 255))
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
@given(data=st.data(), start=st.sampled_from([0, 4]))
def test_an_operator_who_edits_and_signs_the_manifest_anew_does_not_pass_either(
    data: st.DataObject, start: int
) -> None:
    log = small_log()
    made = Archive(dict(files_of(start)), log.operator)
    judged = [n for n in made.files if n.startswith(("entries/", "payloads/", "context/"))]
    name = data.draw(st.sampled_from([*sorted(judged), "checkpoint", "range-proof"]))
    content = bytearray(made.files[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    made.files[name] = bytes(content)
    verdict = audit(made.reseal(), policy=policy_of(log, quorum=True))
    # A cosignature that names nobody known any more is no lie: it is only missing.
    is_missing = name == "checkpoint" and verdict.level == "L1"
    assert verdict.level is None or is_missing
