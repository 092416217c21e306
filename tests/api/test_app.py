"""The service as a whole: what OpenAPI says is so, whatever is sent at it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import OPENAPI_PATH, spare_collector
from tests.api.live import Live, problem

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def operations(live: Live) -> list[Any]:
    schema = schemathesis.openapi.from_dict(live.app.api.openapi())
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    # A stream does not end; tests of its own read from it.
    return [each for each in found if not each.path.endswith("/stream")]


def test_no_request_makes_the_service_fail_or_answer_off_its_description(embedded: Live) -> None:
    """Schemathesis attacks every operation, with and without a token."""
    attacked = operations(embedded)
    assert len(attacked) >= 17
    for operation in attacked:
        for token in (None, embedded.tokens["admin"]):
            attack(embedded, operation, token)


def attack(live: Live, operation: Any, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    @settings(
        max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        if "ledger" in (case.path_parameters or {}):
            case.path_parameters["ledger"] = "main"
        case.headers = {**(case.headers or {}), **headers}
        if not token:
            case.headers.pop("Authorization", None)
        response = case.call(base_url=live.url, timeout=10)
        case.validate_response(response, checks=CHECKS)

    run()


def test_the_hot_routes_are_described_although_fastapi_does_not_serve_them(embedded: Live) -> None:
    with embedded.http() as http:
        paths = http.get(OPENAPI_PATH).json()["paths"]
    one = paths["/api/v1/ledgers/{ledger}/records"]["post"]
    assert set(one["responses"]) == {
        "200", "201", "400", "403", "409", "413", "422", "503"
    }  # fmt: skip
    assert paths["/api/v1/ledgers/{ledger}/records:batch"]["post"]["requestBody"]["required"]


def test_every_operation_has_a_name_of_its_own_and_a_line_about_it(embedded: Live) -> None:
    found = [x for path in embedded.app.api.openapi()["paths"].values() for x in path.values()]
    names = [each["operationId"] for each in found]
    assert len(set(names)) == len(names)
    assert [each["operationId"] for each in found if not each.get("summary")] == []


def test_a_malformed_request_is_a_400_and_never_a_422_of_the_framework(embedded: Live) -> None:
    with embedded.http("admin") as http:
        assert problem(http.post("/api/v1/ledgers", content=b"{")) == (400, "malformed")
        assert problem(http.post("/api/v1/ledgers", json={"nom": "x"})) == (400, "malformed")
        assert problem(http.post("/api/v1/ledgers", content=b"")) == (400, "malformed")
        large = http.post("/api/v1/ledgers", content=b" " * 70_000)
    assert problem(large) == (413, "too-large")


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/ledgers/", "/docs", "/log/main"])
def test_an_address_that_leads_nowhere_is_a_problem_too(embedded: Live, path: str) -> None:
    with embedded.http("admin") as http:
        assert problem(http.get(path)) == (404, "not-found")


def test_a_method_that_is_not_there_is_a_problem_that_names_the_others(embedded: Live) -> None:
    with embedded.http() as http:
        answer = http.delete("/healthz")
    assert problem(answer) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_a_request_id_comes_back_if_it_is_one(embedded: Live) -> None:
    with embedded.http() as http:
        kept = http.get("/healthz", headers={"X-Request-ID": "abc-1"})
        replaced = http.get("/healthz", headers={"X-Request-ID": "a b"})
        fresh = http.get("/healthz")
    assert kept.headers["x-request-id"] == "abc-1"
    assert replaced.headers["x-request-id"] != "a b"
    assert len(fresh.headers["x-request-id"]) == 36


def test_what_a_worker_starts_with_is_not_searched_for_garbage_again() -> None:
    thresholds = gc.get_threshold()
    try:
        spare_collector()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > thresholds[0]
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
