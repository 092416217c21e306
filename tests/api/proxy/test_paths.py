"""Paths have one spelling: what is judged is what is forwarded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxy.paths import CAPTURED, OWN, Scope, canonical, may_mean_proxied
from ledger_core.errors import MalformedError

_PATHS = st.text("/v1.%2fFeEcdCDaA~;\\ x?:", min_size=1).map(lambda text: "/" + text)


@given(_PATHS)
def test_what_is_canonical_stays_as_it_is(text: str) -> None:
    try:
        once = canonical(text.encode())
    except MalformedError:
        return
    assert canonical(once.encode()) == once
    assert "//" not in once
    assert not {".", ".."} & set(once.split("/"))


@st.composite
def _spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Give a captured path, and a spelling of it that some server reads as the same."""
    path = draw(st.sampled_from(sorted(CAPTURED)))
    spelled = ""
    for char in path:
        if char == "/":
            spelled += draw(st.sampled_from(["/", "//", "/./", "/x/../", "/%2e/", "/y/%2E%2e/"]))
        else:
            spelled += draw(
                st.sampled_from([char, char.upper(), f"%{ord(char):02x}", f"%{ord(char):02X}"])
            )
    return path, spelled + draw(st.sampled_from(["", "/", "//", "/.", "/x/.."]))


@given(_spellings())
def test_no_spelling_of_a_captured_path_escapes(case: tuple[str, str]) -> None:
    path, spelled = case
    assert canonical(spelled.encode()) == path


@pytest.mark.parametrize(
    "spelled",
    [
        "/v1%2Fchat/completions",
        "/v1%2fmessages",
        "/v1/chat%5Ccompletions",
        "/v1\\chat\\completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%3Fx",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%3bx",
        "/v1/%2563hat/completions",
        "/v1/chat/completions%",
        "/v1/chat/completions%0a",
        "/v1/../../v1/messages",
        "/v1/chat/completions\xa0",
    ],
)
def test_what_two_servers_may_read_in_two_ways_is_refused(spelled: str) -> None:
    with pytest.raises(MalformedError):
        canonical(spelled.encode())
    assert may_mean_proxied(spelled.encode())


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("/v1/files/File-ABC/content", "/v1/files/File-ABC/content"),
        ("/V1/files/", "/v1/files/"),
        ("/v1/models/a%3ab%c3%a9", "/v1/models/a%3Ab%C3%A9"),
        ("/v1/models/gemini:generate", "/v1/models/gemini:generate"),
        ("/api/v1/x", "/api/v1/x"),
        ("/v1/../api/v1/ledgers", "/api/v1/ledgers"),
    ],
)
def test_other_paths_keep_what_may_matter(spelled: str, expected: str) -> None:
    assert canonical(spelled.encode()) == expected


def test_the_services_own_paths_are_never_the_proxys() -> None:
    scope = Scope(["/openai/deployments/*", "v2/chat"])
    for first in OWN:
        for rest in ("", "/", "/v1/chat/completions", "/x"):
            assert not scope.takes(canonical(f"/{first}{rest}".encode()))
    assert not scope.takes("/")
    assert not scope.takes("/v1/")
    assert scope.takes("/v1/models")
    assert scope.takes("/openai/deployments/gpt/chat/completions")
    assert scope.takes("/v2/chat")
    assert not scope.takes("/v2/chat/more")


@pytest.mark.parametrize("extra", ["/api/x", "mcp", "/API/*", "/", "/*", "/x*", "/a/%2f/b"])
def test_an_extra_path_may_not_be_one_of_ours_nor_unclear(extra: str) -> None:
    with pytest.raises(MalformedError):
        Scope([extra])
