"""Has msgspec learn every struct at import, in one thread.

It learns a struct when it first decodes one. Two threads that do so at the same time crash the
interpreter, and an agent may well begin with two.
"""

from __future__ import annotations

from types import ModuleType

import msgspec


def learn(*modules: ModuleType) -> None:
    """Make a decoder for each struct that the modules define."""
    for module in modules:
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, msgspec.Struct):
                msgspec.json.Decoder(found)
