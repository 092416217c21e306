"""Parameters as the routes share them: strict, bounded, each unknown one refused."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator, Field

from ledger_core import ids, limits
from ledger_core.errors import LedgerGridError, MalformedError


def _decimal(value: Any) -> int:
    # Python's int() takes "+5" and "1_0"; an index has one spelling.
    try:
        return ids.parse_decimal(value) if isinstance(value, str) else int(value)
    except LedgerGridError as error:
        raise ValueError(str(error)) from None


_DECIMAL = BeforeValidator(_decimal)
_RANGE = {"ge": 0, "le": limits.MAX_INTEGER}

Number = Annotated[int, _DECIMAL, Field(**_RANGE)]
"""An integer as a field of a query; an index has one spelling, and JSON keeps it exact."""

LedgerName = Annotated[
    str,
    Path(
        description="The ledger's name.",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        max_length=limits.LEDGER_NAME_CHARS,
        examples=["main"],
    ),
]
LedgerQuery = Annotated[
    str | None,
    Query(
        description="A ledger's name; left out, the one that calls are captured in.",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        max_length=limits.LEDGER_NAME_CHARS,
    ),
]
Name = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
"""A name as a filter: whatever a record can hold."""
Index = Annotated[int, _DECIMAL, Path(description="Position in the log, from 0.", **_RANGE)]
IndexQuery = Annotated[int, _DECIMAL, Query(description="Position in the log, from 0.", **_RANGE)]
Size = Annotated[int, _DECIMAL, Query(description="A number of entries.", **_RANGE)]
WitnessedQuery = Annotated[
    bool, Query(description="Only a checkpoint that has its quorum of witnesses will do.")
]
Limit = Annotated[
    int, _DECIMAL, Query(description="Items a page.", ge=1, le=limits.PAGE_ITEMS)
]  # fmt: skip


async def _no_unknown_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not know, or one given twice."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise MalformedError(f"unknown parameter {name[:60]!r}; known: {_listed(known)}")
        if len(request.query_params.getlist(name)) > 1:
            raise MalformedError(f"parameter {name!r} is given twice")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


StrictQuery = Depends(_no_unknown_parameters)

bearer = HTTPBearer(
    auto_error=False, description="A token made by `ledgergrid token create`.", scheme_name="token"
)
"""Describes tokens in OpenAPI; actors.py reads them."""
