"""Who is asked, by name: what lists of providers are judged by, and records say."""

from __future__ import annotations

from functools import lru_cache

_HOSTS = {
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


@lru_cache(maxsize=256)
def provider_of(wire: str, host: str) -> str:
    """Name who is asked: by a host that is known, or by whose wire format is spoken."""
    for known, name in _HOSTS.items():
        if host == known or host.endswith("." + known):
            return name
    if wire == "other":
        return host[:200]
    return wire.partition(".")[0]
