"""What became of every payload part: present, withheld, redacted, erased, or missing (check 11).

Whether a part may be gone, or hidden, is told by changes that lie anywhere behind its entry. So
parts are judged at the end. Entries that changes name are kept one by one; they are as many as
changes make them. Of all others only the schedule decides, which reaches a type's entries from
the first on: of the parts that are there the first of each kind speaks for all. Those that are
not there wait in a temporary file.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import Final, Literal, Self

from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from verifier import contents
from verifier.findings import Finding

Shown = Literal["present", "withheld", "redacted", "absent"]
Kind = tuple[str, str]
"""A record type and the name of a part."""

_MEMORY_BYTES: Final = 1024 * 1024
_ITEM: Final = Struct(">QqH")
"""Index of an entry, its time received, and the number of a kind of part."""


@dataclass(frozen=True)
class Named:
    """An entry that changes name, and how each of its parts is shown."""

    type: str
    author: str
    parts: Mapping[str, Shown]


class Parts:
    """All parts of the range so far, as far as they have to be judged."""

    def __init__(self) -> None:
        self.erased = self.missing = 0
        self._absent = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115
        self._numbers: dict[Kind, int] = {}
        self._lowest: dict[Kind, tuple[int, int]] = {}
        self._named: dict[int, tuple[Named, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._absent.close()

    def take(
        self,
        named: Mapping[int, Named | None],
        lowest: Mapping[Kind, int],
        absent: Mapping[Kind, array[int]],
        time_of: Callable[[int], int],
    ) -> None:
        """Take the next stretch of entries."""
        for kind, index in lowest.items():
            self._lowest.setdefault(kind, (index, time_of(index)))
        for index, entry in named.items():
            if entry is not None:
                self._named[index] = (entry, time_of(index))
        for kind, indexes in absent.items():
            number = self._numbers.setdefault(kind, len(self._numbers))
            for index in indexes:
                self._absent.write(_ITEM.pack(index, time_of(index), number))

    def judge(
        self, effects: Mapping[int, Effect], constitution: Constitution, size: int
    ) -> Iterator[Finding]:
        """Yield what is wrong by all changes before ``size``; ``effects`` by index."""
        for index, (entry, received_at) in sorted(self._named.items()):
            effect = effects.get(index) or Effect(index, b"", entry.type, entry.author)
            ordered, hidden = effect.erased_at(size), effect.veils_at(size)
            for part, shown in entry.parts.items():
                retired = retired_at(constitution, effect, received_at, part, size)
                is_erased = part in ordered or retired is not None
                yield from self._judge(index, part, shown, is_erased, part in hidden)
        for (type_name, part), (index, received_at) in self._lowest.items():
            effect = Effect(index, b"", type_name, "")
            if retired_at(constitution, effect, received_at, part, size) is not None:
                yield contents.kept_part(index, part)
        yield from self._judge_absent(constitution, size)

    def _judge(
        self, index: int, part: str, shown: Shown, is_erased: bool, is_hidden: bool
    ) -> Iterator[Finding]:
        if shown == "absent":
            yield from self._count(index, part, is_erased)
        elif is_erased:
            yield contents.kept_part(index, part)
        elif shown == "redacted" and not is_hidden:
            yield contents.unfounded_part(index, part)

    def _judge_absent(self, constitution: Constitution, size: int) -> Iterator[Finding]:
        kinds = list(self._numbers)
        self._absent.seek(0)
        while block := self._absent.read(_ITEM.size * 4096):
            for index, received_at, number in _ITEM.iter_unpack(block):
                type_name, part = kinds[number]
                effect = Effect(index, b"", type_name, "")
                retired = retired_at(constitution, effect, received_at, part, size)
                yield from self._count(index, part, retired is not None)

    def _count(self, index: int, part: str, is_erased: bool) -> Iterator[Finding]:
        self.erased += is_erased
        self.missing += not is_erased
        if not is_erased:
            yield contents.missing_part(index, part)
