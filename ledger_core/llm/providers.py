"""Who is asked, by the address: what lists of providers are judged by, and records say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ledger_core.llm.dialects import Wire
from ledger_core.llm.loading import name

_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "openrouter.ai": "openrouter",
    "openai.azure.com": "azure",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.x.ai": "x-ai",
    "api.together.xyz": "together",
    "generativelanguage.googleapis.com": "google",
}
_SECRETS: Final = ("auth", "credential", "key", "password", "secret", "sig", "token")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
HIDDEN: Final = "[hidden]"


@lru_cache(maxsize=256)
def provider_of(wire: Wire, host: str) -> str:
    """Name who is asked: by a host that is known, or by whose wire format is spoken."""
    for known, provider in _HOSTS.items():
        if host == known or host.endswith(f".{known}"):
            return provider
    return name(host) or wire if wire == "other" else wire.partition(".")[0]


def is_secret(name: str) -> bool:
    """Say whether what goes by this name, in a query or a header, may be a credential."""
    told = name.lower()
    return "cookie" in told or any(each in told for each in _SECRETS)


def hide_secrets(query: str) -> str:
    """Return a query as records keep it: without values that may be credentials.

    >>> hide_secrets("alt=sse&key=AIzaSy&sig=")
    'alt=sse&key=[hidden]&sig='
    """
    return "&".join(map(_hide, query.split("&"))) if "=" in query else query


def _hide(pair: str) -> str:
    told, _, value = pair.partition("=")
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), told)
    return f"{told}={HIDDEN}" if value and is_secret(plain) else pair
