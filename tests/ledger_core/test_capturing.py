"""Capturing: the service's own records of calls, their ledger, and the budgets they draw from."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.admission import Admitted, admit
from ledger_core.capturing import (
    BYTES,
    Scribe,
    open_capture_ledger,
    open_scribe,
    plain_media_type,
    tidy,
)
from ledger_core.errors import (
    AllowanceError,
    LedgerGridError,
    PayloadError,
    RateError,
    StandingError,
    StoppedError,
    StorageError,
    TooLargeError,
)
from ledger_core.formats.submission import Submission, format_submission
from ledger_core.ledger import Ledger
from ledger_core.policy.allowances import Draw, Rate, Spent, day_ends_ms
from ledger_core.policy.constitution import Capture
from ledger_core.pool import Job, Pool, PreparedJob
from ledger_core.records.targets import Parts
from ledger_core.records.types.capture_limits import CaptureLimits
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.key import Revoke
from ledger_core.records.types.llm_call import LLM_CALL_2, LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused
from ledger_core.records.types.llm_start import LlmStart
from ledger_core.sequencer import Appended, Committed
from tests.support.invariants import check_everything
from tests.support.ledgers import (
    START_MS,
    Replica,
    Service,
    appended,
    checked_receipt,
    find_allowances,
    refused,
    register,
)

CALL: dict[str, Any] = {
    "action_id": "call-1",
    "timestamp": "2026-08-01T10:11:12.345Z",
    "provider": "openai",
    "session_id": "support-4711",
    "user_id": "u-42",
}
START = LlmStart(**CALL, request_bytes=2, request_sha256="0" * 64)
END = LlmCall2(**CALL, status_code=200, cost_microusd=6, cost_basis="provider")
REFUSED = LlmRefused(**CALL, reason="stopped", message="all calls are stopped", status_code=503)


@pytest.fixture
def scribe(service: Service) -> Scribe:
    return open_scribe(service.open().ledgers, "calls")


def as_submitted(each: Admitted) -> Submission:
    return Submission(each.signed, each.parts)


def as_admitted(each: Admitted) -> Admitted:
    """Leave out what the service asks of its own records, and of nobody else's."""
    return msgspec.structs.replace(each, may_be_stopped=False)


def test_what_a_scribe_makes_is_what_admission_would_have_let_in(scribe: Scribe) -> None:
    start = scribe.start(START, b"{}", "application/json")
    answers = ids.parse_digest("sha256:" + "A" * 43)
    for made in (
        start,
        scribe.start(START),
        scribe.end(END, answers, b"data: 1\n\n", "text/event-stream; charset=utf-8"),
        scribe.end(END),
        scribe.refused(REFUSED),
    ):
        assert admit(as_submitted(made), scribe.ledger.origin) == as_admitted(made)


def test_a_calls_records_are_entries_that_prove_and_verify(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    scribe = open_scribe(replica.ledgers, "calls")
    ledger = scribe.ledger
    start = appended(ledger.sequence([scribe.start(START, b"{}")])[0])
    end = scribe.end(END, start.leaf_hash, b"hello", "text/plain")
    outcomes = ledger.sequence([end, scribe.refused(REFUSED)])
    entry = ledger.entry(appended(outcomes[0]).index)
    assert entry.parts["response"].data == b"hello"
    assert msgspec.json.decode(entry.parts["call"].data, type=LlmCall2) == END
    check_everything(replica, ledger, tmp_path)


def test_an_end_of_a_start_that_is_nowhere_is_refused(scribe: Scribe) -> None:
    end = scribe.end(END, b"\x01" * 32)
    assert refused(scribe.ledger.sequence([end])[0]).code == "bad-reference"


# --- the ledger of calls ----------------------------------------------------------------


def test_the_ledger_of_calls_is_founded_once_however_many_begin_at_once(service: Service) -> None:
    replicas = [service.open() for _ in range(3)]
    with ThreadPoolExecutor(6) as threads:
        found = [*threads.map(lambda r: open_capture_ledger(r.ledgers, "calls"), replicas * 2)]
    assert len({ledger.charter for ledger in found}) == 1
    assert all(ledger.size() == 2 for ledger in found)
    scribes = [open_scribe(replica.ledgers, "calls") for replica in replicas]
    for number, scribe in enumerate(scribes):
        assert appended(scribe.ledger.sequence([scribe.start(START)])[0]).index == 2 + number
    keys = {scribe.allowance_key("user", "u-42") for scribe in scribes}
    assert len(keys) == 1


def test_a_ledger_that_was_there_before_gets_the_proxys_key(service: Service) -> None:
    ledgers = service.open().ledgers
    ledgers.create("calls")
    scribe = open_scribe(ledgers, "calls")
    assert appended(scribe.ledger.sequence([scribe.start(START)])[0]).index == 2


def test_a_proxys_key_that_was_revoked_is_not_registered_again(service: Service) -> None:
    ledgers = service.open().ledgers
    scribe = open_scribe(ledgers, "calls")
    author = scribe.start(START).signed.record.author
    revocation = msgspec.json.encode(Revoke(author, "retired"))
    scribe.ledger.append_as_operator("key/1", revocation)
    assert open_capture_ledger(ledgers, "calls").size() == 3
    with pytest.raises(StandingError, match="revoked"):
        appended(scribe.ledger.sequence([scribe.start(START)])[0])


def test_prompts_and_answers_can_be_erased_from_the_ledger_of_calls(scribe: Scribe) -> None:
    ledger = scribe.ledger
    start = appended(ledger.sequence([scribe.start(START, b"secret")])[0])
    order = Erasure((Parts(ids.format_digest(start.leaf_hash), ("request",)),), "request")
    ledger.append_as_operator("erasure/1", msgspec.json.encode(order))
    assert "request" not in ledger.entry(start.index).parts


# --- what providers say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("application/json", "application/json"),
        ("Text/Event-Stream; charset=UTF-8", "text/event-stream;charset=utf-8"),
        ('application/json; odata=none; charset="utf-8"', "application/json;charset=utf-8"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("", BYTES),
        ("json", BYTES),
        ("a/b/c", BYTES),
        ("a/" + "b" * 200, BYTES),
        ("a/" + "b" * 90 + ";charset=utf-8", "a/" + "b" * 90),
    ],
)
def test_a_media_type_is_spelled_as_records_spell_it(text: str, plain: str) -> None:
    assert plain_media_type(text) == plain


def test_what_a_provider_says_cannot_keep_an_end_off_the_record(scribe: Scribe) -> None:
    odd = msgspec.structs.replace(
        END,
        response_id="r" * 100_000,
        stop_reason="a\x00b",
        response_model="\ud800",
        error_detail="e" * 100_000,
        tokens_in=10**30,
        tokens_out=-1,
        choices=-4,
        tool_names=("t" * 600, "\x00") * 1_000,
    )
    made = scribe.end(odd)
    call: LlmCall2 = made.payload["call"]
    assert admit(as_submitted(made), scribe.ledger.origin) == as_admitted(made)
    assert (call.stop_reason, call.response_model) == ("a\\x00b", "\\ud800")
    assert (call.tokens_in, call.tokens_out, call.choices) == (None, None, 0)
    assert len(call.tool_names) == 1_000
    assert appended(scribe.ledger.sequence([made])[0]).index == 2


texts = st.text(st.characters(exclude_categories=[]), max_size=600)


@given(
    session_id=texts,
    error_detail=texts,
    tokens=st.integers(),
    status=st.integers(),
    tags=st.dictionaries(texts, texts, max_size=3),
    names=st.lists(texts, max_size=3),
)
def test_whatever_is_in_its_fields_a_tidy_call_follows_its_schema(
    session_id: str,
    error_detail: str,
    tokens: int,
    status: int,
    tags: dict[str, str],
    names: list[str],
) -> None:
    odd = msgspec.structs.replace(
        END,
        session_id=session_id,
        error_detail=error_detail,
        tokens_in=tokens,
        status_code=status,
        tags=tags,
        tool_names=tuple(names),
    )
    data = msgspec.json.encode(tidy(odd))
    assert LLM_CALL_2.parts["call"].decoder.decode(data) == tidy(odd)
    assert tidy(tidy(odd)) == tidy(odd)


def test_long_names_that_differ_only_at_their_ends_stay_apart() -> None:
    one, two = (
        tidy(msgspec.structs.replace(END, session_id="s" * 600 + end)).session_id for end in "ab"
    )
    assert one is not None and two is not None
    assert one != two and len(one) == len(two) == 500


def test_what_a_rule_refuses_is_refused_before_it_is_signed(scribe: Scribe) -> None:
    with pytest.raises(PayloadError, match="basis"):
        scribe.end(msgspec.structs.replace(END, cost_basis="unknown"))
    with pytest.raises(PayloadError, match="timestamp"):
        scribe.start(msgspec.structs.replace(START, timestamp="now"))


def test_a_request_larger_than_a_part_is_refused(
    scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_PART_BYTES", 10)
    with pytest.raises(TooLargeError, match="request"):
        scribe.start(START, b"x" * 11)


# --- budgets and rates ------------------------------------------------------------------


def session_draw(scribe: Scribe, amount: int, limit: int | None = 100) -> Draw:
    return Draw(scribe.allowance_key("session", "a"), amount, limit, "session a")


def test_a_budget_lets_calls_in_until_it_is_used_up_within_a_batch_and_across(
    scribe: Scribe,
) -> None:
    ledger = scribe.ledger
    draw = session_draw(scribe, 60)
    starts = [scribe.start(START, draws=(draw,)) for _ in range(3)]
    one, two, three = ledger.sequence(starts)
    assert (appended(one).index, appended(two).index) == (2, 3)
    assert isinstance(three, AllowanceError)
    [four] = ledger.sequence([scribe.start(START, draws=(draw,))])
    assert isinstance(four, AllowanceError)
    assert (four.used, four.limit, four.label) == (120, 100, "session a")
    settled = scribe.end(END, appended(one).leaf_hash, draws=(session_draw(scribe, 6 - 60, None),))
    appended(ledger.sequence([settled])[0])
    assert appended(ledger.sequence([scribe.start(START, draws=(draw,))])[0]).index == 5


def test_a_record_that_is_repeated_draws_nothing_again(scribe: Scribe) -> None:
    start = scribe.start(START, draws=(session_draw(scribe, 60),))
    first = appended(scribe.ledger.sequence([start])[0])
    again, other = scribe.ledger.sequence([start, scribe.start(START)])
    assert (appended(again).index, appended(again).is_new) == (first.index, False)
    assert appended(other).is_new
    assert appended(
        scribe.ledger.sequence([scribe.start(START, draws=(session_draw(scribe, 60),))])[0]
    ).is_new


def test_a_record_that_is_refused_for_another_reason_draws_nothing(
    scribe: Scribe, service: Service
) -> None:
    replica = service.open()
    draw = session_draw(scribe, 60)
    end = scribe.end(END, b"\x01" * 32, draws=(draw,))
    assert refused(scribe.ledger.sequence([end])[0]).code == "bad-reference"
    with replica.database.read() as tx:
        assert find_allowances(tx, scribe.ledger.ledger_id, [b"b" + draw.key]) == {}


def test_a_rate_slides_with_the_clock_and_is_shared_by_replicas(service: Service) -> None:
    scribes = [open_scribe(service.open().ledgers, "calls") for _ in range(2)]
    rate = Rate(scribes[0].allowance_key("rate:total", ""), 3, "all calls")

    def call(number: int) -> LedgerGridError | None:
        scribe = scribes[number % 2]
        [outcome] = scribe.ledger.sequence([scribe.start(START, rates=(rate,))])
        return outcome if isinstance(outcome, LedgerGridError) else None

    assert [call(n) for n in range(3)] == [None] * 3
    error = call(4)
    assert isinstance(error, RateError)
    assert (error.used, error.limit, error.retry_after_s) == (3, 3, 60)
    service.clock.now_ms += 59_000
    assert isinstance(call(5), RateError)
    service.clock.now_ms += 1_000
    assert [call(n) for n in range(3)] == [None] * 3
    assert isinstance(call(6), RateError)


def test_yesterdays_budgets_are_forgotten_behind_the_next_days_calls(service: Service) -> None:
    replica = service.open()
    scribe = open_scribe(replica.ledgers, "calls")

    def call() -> bytes:
        until_ms = day_ends_ms(service.clock())
        key = scribe.allowance_key("user", "u-42", until_ms // 86_400_000)
        draw = Draw(key, 7, None, "user u-42", until_ms)
        appended(scribe.ledger.sequence([scribe.start(START, draws=(draw,))])[0])
        return b"b" + key

    first = call()
    service.clock.now_ms += 86_400_000
    second = call()
    with replica.database.read() as tx:
        found = find_allowances(tx, scribe.ledger.ledger_id, [first, second])
    assert found == {second: Spent(7, day_ends_ms(START_MS) + 86_400_000)}


# --- stop and limits ---------------------------------------------------------------------


def test_a_stopped_ledger_takes_no_starts_but_ends_refusals_and_late_ones(
    scribe: Scribe, service: Service
) -> None:
    ledger = scribe.ledger
    [started] = ledger.sequence([scribe.start(START)])
    stop = ledger.append_as_operator("capture.stop/1", b'{"action":"stop","reason":"a loop"}')
    [outcome] = open_scribe(service.open().ledgers, "calls").ledger.sequence([scribe.start(START)])
    assert isinstance(outcome, StoppedError)
    assert str(outcome) == f"entry {stop.index} stopped all calls: a loop"
    others = [
        scribe.end(END, appended(started).leaf_hash),
        scribe.refused(REFUSED),
        scribe.start(START, is_late=True),
    ]
    assert all(appended(each).is_new for each in ledger.sequence(others))
    assert ledger.constitution().capture.stopped_since == stop.index
    ledger.append_as_operator("capture.stop/1", b'{"action":"resume"}')
    appended(ledger.sequence([scribe.start(START)])[0])


def test_a_stop_survives_a_restart(service: Service) -> None:
    scribe = open_scribe(service.open().ledgers, "calls")
    scribe.ledger.append_as_operator("capture.stop/1", b'{"action":"stop"}')
    scribe = open_scribe(service.reopen().ledgers, "calls")
    assert isinstance(scribe.ledger.sequence([scribe.start(START)])[0], StoppedError)
    assert scribe.ledger.constitution().capture.stopped_since == 2


def test_the_limits_in_force_are_those_of_the_newest_record(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    ledger = open_capture_ledger(replica.ledgers, "calls")
    assert ledger.constitution().capture == Capture()
    ledger.append_as_operator("capture.limits/1", b'{"rpm_total":5,"rpm_user":3}')
    done = ledger.append_as_operator("capture.limits/1", b'{"rpm_total":7}')
    assert ledger.constitution().capture == Capture(CaptureLimits(rpm_total=7), done.index)
    ledger.append_as_operator("capture.stop/1", b'{"action":"stop"}')
    check_everything(replica, ledger, tmp_path)


# --- answered when durable --------------------------------------------------------------


def wait_for(pool: Pool, scribe: Scribe, *made: Admitted) -> list[Committed | LedgerGridError]:
    answer: Future[list[Committed | LedgerGridError]] = Future()

    def tell(result: list[Committed | LedgerGridError] | BaseException) -> None:
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    makers = [lambda each=each: each for each in made]
    pool.take([PreparedJob(scribe.ledger, makers, tell)])
    return answer.result(30)


@pytest.fixture
def pool() -> Any:
    made = Pool()
    made.start()
    yield made
    made.close()


def test_a_prepared_record_is_answered_with_its_place_and_the_tree_it_is_in(
    scribe: Scribe, pool: Pool
) -> None:
    draw = session_draw(scribe, 5)
    starts = [scribe.start(START, draws=(draw,)) for _ in range(2)]
    first, second = wait_for(pool, scribe, *starts)
    assert isinstance(first, Committed) and isinstance(second, Committed)
    assert (first.index, second.index) == (2, 3)
    assert (first.used, second.used) == ((0,), (5,))
    assert first.size == 4
    entry = scribe.ledger.entry(2)
    assert first.leaf_hash == entry.leaf_hash
    proof = scribe.ledger.prove_inclusion(2, 4)
    assert proof.root == first.root


def test_a_refused_record_is_answered_with_its_error_beside_the_others(
    scribe: Scribe, pool: Pool
) -> None:
    draw = session_draw(scribe, 5, 0)
    outcomes = wait_for(pool, scribe, scribe.start(START, draws=(draw,)), scribe.refused(REFUSED))
    assert [type(each) for each in outcomes] == [AllowanceError, Committed]


def test_a_record_that_cannot_be_made_is_answered_with_why(scribe: Scribe, pool: Pool) -> None:
    told: Future[Any] = Future()
    bad = msgspec.structs.replace(START, timestamp="now")
    pool.take([PreparedJob(scribe.ledger, [lambda: scribe.start(bad)], told.set_result)])
    [error] = told.result(30)
    assert isinstance(error, PayloadError)
    assert pool.depth == 0


def signed_size(replica: Replica, ledger: Ledger) -> int:
    signed = replica.memory.recall(ledger.origin)
    return 0 if signed is None else signed.size


def test_what_nobody_wants_a_receipt_of_is_signed_within_moments_all_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = service.open()
    scribe = open_scribe(replica.ledgers, "calls")
    signatures: list[int] = []
    sign = scribe.ledger._sequencer._signer.sign

    def count(size: int, root: bytes) -> bytes:
        signatures.append(size)
        return sign(size, root)

    monkeypatch.setattr(scribe.ledger._sequencer._signer, "sign", count)
    pool = Pool()
    pool.start()
    for _ in range(20):
        wait_for(pool, scribe, scribe.start(START))
    deadline = time.monotonic() + 30
    while signed_size(replica, scribe.ledger) < 22 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert signed_size(replica, scribe.ledger) == 22
    assert len(signatures) < 20
    wait_for(pool, scribe, scribe.start(START))
    pool.close()
    assert signed_size(replica, scribe.ledger) == 23


def test_whoever_wants_a_receipt_gets_it_beside_those_who_do_not(
    scribe: Scribe, pool: Pool
) -> None:
    author = register(scribe.ledger)
    answered: list[Any] = []
    start = PreparedJob(scribe.ledger, [lambda: scribe.start(START)], answered.append)
    pool.take([start, Job(scribe.ledger, [format_submission(author.note())], answered.append)])
    deadline = time.monotonic() + 30
    while len(answered) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    outcomes = sorted([each[0] for each in answered], key=lambda each: type(each).__name__)
    assert [type(each) for each in outcomes] == [Appended, Committed]
    checked_receipt(scribe.ledger, outcomes[0].index, outcomes[0].receipt)


def test_a_prepared_record_waits_for_no_signature(
    scribe: Scribe, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer's memory is slow, then fails: the call is durable, and was answered."""
    go = threading.Event()
    acknowledge = scribe.ledger._sequencer._signer.sign

    def wait_and_fail(size: int, root: bytes) -> bytes:
        assert go.wait(30)
        raise StorageError("no signer's memory today")

    monkeypatch.setattr(scribe.ledger._sequencer._signer, "sign", wait_and_fail)
    [outcome] = wait_for(pool, scribe, scribe.start(START))
    assert isinstance(outcome, Committed)
    go.set()
    monkeypatch.setattr(scribe.ledger._sequencer._signer, "sign", acknowledge)
    [again] = wait_for(pool, scribe, scribe.start(START))
    assert isinstance(again, Committed)
    assert (again.index, scribe.ledger.size()) == (outcome.index + 1, outcome.index + 2)
