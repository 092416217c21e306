"""The text of a call: what is new in a request, wherever two requests begin to differ."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.call_text import TEXT_CHARS, bounded, text_of
from ledger_core.formats.record import PartRef
from ledger_core.llm import frames

TEXTS = st.text(st.sampled_from('ab"\\ :,{}é東\n'), min_size=1, max_size=30)


def request(said: list[str], *, is_ascii: bool = False) -> bytes:
    messages = [{"role": "user", "content": each} for each in said]
    return msgspec.json.encode({"messages": messages, "stream": True, "n": 1.5, "stop": None})


def read(data: bytes, media_type: str) -> str:
    ref = PartRef(media_type=media_type, size=len(data), commitment="sha256:")
    return text_of({"wire": "openai.chat"}, {"request": ref}, {"request": data})


@given(st.lists(TEXTS, min_size=1, max_size=3), st.text(alphabet="xyz", min_size=4, max_size=9))
def test_what_is_new_is_found_however_a_difference_is_cut(said: list[str], new: str) -> None:
    before = "and what was said before " * 60
    first, second = request([before, *said]), request([before, *said, f"{said[0]} {new}"])
    frame = frames.encode(frames.Base(bytes(32), 0, first), second)
    assert frame is not None
    text = read(frame, frames.MEDIA_TYPE)
    assert new in text
    assert "before" not in text


def test_of_pictures_and_of_very_much_text_only_so_much_counts() -> None:
    assert len(bounded(["x" * 50_000] * 9)) == TEXT_CHARS
    assert bounded(["old", *["word " * 3_000] * 9, "new"]).endswith("new")
    assert "old" not in bounded(["old", *["word " * 3_000] * 9, "new"])


def test_what_is_no_frame_has_no_text() -> None:
    assert read(b"{", frames.MEDIA_TYPE) == ""


WIRES = st.sampled_from(
    ["openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages", "other", ""]
)
BYTES = st.binary(max_size=200) | st.text(max_size=100).map(str.encode)
HEAD = b"ledgergrid-frame/1 " + b"sha256:" + b"A" * 43 + b" 1 1 1\n"


@given(WIRES, BYTES, BYTES, st.sampled_from(["application/json", "text/event-stream", None]))
def test_whatever_bytes_there_are_the_indexer_goes_on(
    wire: str, request: bytes, response: bytes, media: str | None
) -> None:
    said: dict[str, object] = {
        "wire": wire,
        "response_media_type": media,
        "status_code": 200,
        "messages": [[{}]],
    }
    for media_type in ("application/json", frames.MEDIA_TYPE):
        for asked in (request, HEAD + request):
            ref = PartRef(media_type=media_type, size=len(asked), commitment="sha256:")
            parts = {"request": asked, "response": response}
            text = text_of(said, {"request": ref}, parts)
            assert len(text) <= TEXT_CHARS
