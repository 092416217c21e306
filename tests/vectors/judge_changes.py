"""Judges vectors of changes and of sealed segments: does what they say, shows what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ledger_core import clock, ids
from ledger_core.errors import LedgerGridError
from ledger_core.formats import segment
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.records.registry import find_type
from tests.vectors.build import Case, read

Given = Mapping[str, Any]


def tell_effects(given: Given) -> list[Case]:
    """Tell a history, and say what holds of entries at indexes that are asked for."""
    assembly, acts = Assembly(Constitution(), {}), dict[str, Act]()
    for index, shown in enumerate(given["acts"]):
        act = _act(index, shown)
        try:
            assembly.take(act, assembly.check(act))
        except LedgerGridError:
            assert index == len(given["acts"]) - 1, f"entry {index} is refused"
            raise
        assembly.alterations.learn(act)
        acts[shown["leaf_hash"]] = act
    assert not assembly.due, "what is due is told"
    return [_effect(assembly, acts[each["entry"]], each["at"]) for each in given["ask"]]


def _act(index: int, shown: Given) -> Act:
    kind = find_type(shown["type"])
    return Act(
        index,
        ids.parse_digest(shown["leaf_hash"]),
        clock.parse_time(shown["received_at"]),
        kind,
        shown["author"],
        {"body": msgspec.convert(shown["body"], kind.parts["body"].schema)},
        shown.get("amends"),
        parts=("body",),
    )


def _effect(assembly: Assembly, act: Act, at: int) -> Case:
    effect = assembly.alterations.effects[act.leaf_hash]
    hidden = {
        part: {"by": _show(veil.by), "visible_to": sorted(veil.visible_to or ())}
        for part, veil in effect.veils_at(at).items()
    }
    retired = {
        part: order
        for part in act.parts
        if (order := retired_at(assembly.constitution, effect, act.received_at, part, at))
        is not None
    }
    told: Case = {
        "redacted": hidden,
        "held_by": sorted(effect.cases_at(at)),
        "erased": {part: _show(gone.by) for part, gone in effect.erased_at(at).items()},
        "retired": retired,
    }
    return _version(assembly, effect, at) | {name: said for name, said in told.items() if said}


def _version(assembly: Assembly, effect: Effect, at: int) -> Case:
    if effect.original is not None:
        return {"amends": _show(effect.original)}
    proposal = assembly.proposals.get(effect.leaf_hash)
    since: int | None = effect.index
    if proposal is not None:
        since = proposal.outcome if proposal.verdict == "confirmed" else None
    version = effect.version_at(since, at)
    return {"version": None if version is None else _show(version)}


def _show(leaf_hash: bytes) -> str:
    return ids.format_digest(leaf_hash)


# --- sealed segments ---------------------------------------------------------------------


def format_items(given: Given) -> str:
    return segment.format_items([read(item) for item in given["items"]]).hex()


def root_of_items(given: Given) -> str:
    return segment.root_of([read(item) for item in given["items"]]).hex()


def parse_items(given: Given) -> list[str]:
    return [item.hex() for item in segment.parse_items(read(given["data"]))]


def check_item(given: Given) -> None:
    segment.check_item(
        read(given["item"]),
        given["place"],
        given["count"],
        bytes.fromhex(given["root"]),
        [bytes.fromhex(each) for each in given["proof"]],
    )
