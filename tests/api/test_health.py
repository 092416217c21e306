"""Health and metrics: alive, ready, and what was counted, bounded in what it names."""

from __future__ import annotations

import sqlite3

from ledger_core.merkle.tree import leaf_hash
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from tests.api.live import ROUTE, Live


def test_a_fresh_service_is_alive_and_ready(live: Live) -> None:
    with live.http() as http:
        assert http.get("/healthz").json() == {"status": "ok", "problems": []}
        assert http.get("/readyz").status_code == 200
        assert http.head("/healthz").status_code == 200


def test_a_service_whose_database_went_back_is_not_ready_and_says_why(live: Live) -> None:
    # As after restoring a backup: more was signed than the database holds.
    main = live.main
    memory = SignerMemory(open_database(live.service.settings.signer_memory_url))
    lost = Signed(50, leaf_hash(b"lost"))
    assert memory.advance(main.origin, memory.recall(main.origin), lost)
    with live.http() as http:
        answer = http.get("/readyz")
        assert http.get("/healthz").status_code == 200
    assert answer.status_code == 503
    assert main.origin in answer.json()["problems"][0]
    assert "size 50 was signed" in answer.json()["problems"][0]


def test_a_service_whose_key_store_does_not_answer_is_not_ready_and_says_so(
    embedded: Live,
) -> None:
    with sqlite3.connect(str(embedded.service.settings.key_store_file)) as keys:
        keys.execute("DROP TABLE destroyed")
    keys.close()
    with embedded.http() as http:
        answer = http.get("/readyz")
        assert http.get("/healthz").status_code == 200
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["key store: Database refused"]


def test_metrics_count_requests_by_route_and_records_by_outcome(embedded: Live) -> None:
    author = embedded.author()
    line = author.line()
    with embedded.http() as http:
        for content in (line, line, b"x"):
            http.post(f"{ROUTE}/main/records", content=content)
        text = http.get("/metrics").text
    route = f"{ROUTE}/{{ledger}}/records"
    assert f'requests_total{{method="POST",route="{route}",status="201"}} 1.0' in text
    assert 'ledgergrid_records_total{outcome="new"} 1.0' in text
    assert 'ledgergrid_records_total{outcome="again"} 1.0' in text
    assert 'ledgergrid_records_total{outcome="malformed"} 1.0' in text
    assert "ledgergrid_records_waiting 0.0" in text


def test_metrics_name_only_ledgers_that_the_asker_may_see(embedded: Live) -> None:
    embedded.service.ledgers.create("open", kind="public")
    with embedded.http() as nobody, embedded.http("reader") as reader:
        assert 'ledger_entries{ledger="open"} 1.0' in nobody.get("/metrics").text
        assert 'ledger="main"' not in nobody.get("/metrics").text
        assert 'ledger_entries{ledger="main"} 1.0' in reader.get("/metrics").text


def test_addresses_that_lead_nowhere_make_no_labels_of_their_own(embedded: Live) -> None:
    with embedded.http() as http:
        for n in range(5):
            http.get(f"/nothing-{n}")
            http.request("PROPFIND", "/healthz")
        text = http.get("/metrics").text
    assert "nothing-" not in text
    assert "PROPFIND" not in text
    assert 'method="other"' in text
