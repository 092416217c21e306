"""OpenAI embeddings: texts or token numbers in, vectors out. The vectors stay in the bytes.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from typing import Any

import msgspec

from ledger_core.llm.gathering import failure
from ledger_core.llm.loading import Object, load_object, name
from ledger_core.llm.model import Answered, Asked
from ledger_core.llm.openai_chat import read_usage
from ledger_core.llm.weighing import Scales


def read_request(body: Object) -> Asked:
    """Read a request's JSON; the input becomes one user message."""
    given = body.get("input")
    scales = Scales()
    texts = given if isinstance(given, list) else [given]
    for each in texts:
        if isinstance(each, str):
            scales.text(each)
        else:
            scales.json(each)
    return Asked(
        model=name(body.get("model")),
        messages=None if given is None else [{"role": "user", "content": given}],
        user_id=name(body.get("user")),
        input_chars=scales.chars,
        wide_chars=scales.wide,
    )


class _Answer(msgspec.Struct):
    """What is read of an answer; the decoder passes over the vectors without making numbers."""

    model: Any = None
    usage: Any = None
    error: Any = None
    detail: Any = None


def load_answer(body: bytes) -> Object:
    """Read the JSON of an answer but for its vectors."""
    try:
        told = msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError):
        return load_object(body)
    return msgspec.structs.asdict(told)


def read_answer(body: Object) -> Answered:
    """Read an answer's JSON."""
    error_type, error_detail = failure(body)
    return Answered(
        model=name(body.get("model")),
        usage=read_usage(body.get("usage")),
        error_type=error_type,
        error_detail=error_detail,
    )
