"""The pages for providers and frameworks are true: their Python runs against a service."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.demo.exchanges import read_exchanges
from api.demo.upstream import Manner, replaying
from api.settings import Settings
from ledgergrid import Signer
from tests.api.live import ROUTE, Live, running
from tests.docs.pages import ROOT, blocks, read

URL = "http://127.0.0.1:8080"
RECORDED = list(read_exchanges(ROOT / "api/demo/capture.jsonl"))


@pytest.mark.parametrize(
    ("page", "captured", "recorded"),
    [("openai", 4, 1), ("anthropic", 3, 1), ("langchain", 0, 2)],
)
def test_a_guides_python_runs_from_top_to_bottom(
    page: str, captured: int, recorded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = [
        each.text for each in blocks(read(f"docs/guides/{page}.md")) if each.language == "python"
    ]
    with (
        replaying(RECORDED, Manner(answers_anything=True)) as upstream,
        running(Settings(data=tmp_path / "data", upstream_url=upstream.url)) as live,
    ):
        prepare(live, tmp_path, monkeypatch)
        names: dict[str, object] = {}
        for each in code:
            exec(compile(each.replace(URL, live.url), page, "exec"), names)
        names["ledger"].close()  # type: ignore[attr-defined]
        assert live.main.size() == 2 + recorded
        if captured:
            # Two entries a call, behind the charter and the proxy's own key.
            assert live.service.ledgers.get("calls").size() == 2 + 2 * captured


def prepare(live: Live, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a key as the page supposes, and set what it supposes to be set."""
    signer = Signer.make()
    signer.save(folder / "agent.key")
    with live.http("admin") as http:
        possession = signer.prove_possession(live.main.origin)
        body = {"key": signer.key, "roles": ["agent"], "possession": possession}
        http.post(f"{ROUTE}/main/keys", json=body).raise_for_status()
    monkeypatch.chdir(folder)
    for name, value in {
        "OPENAI_API_KEY": "sk-1",
        # What listens to a client needs no proxy; here it goes through one, to be answered at all.
        "OPENAI_BASE_URL": f"{live.url}/v1",
        "ANTHROPIC_API_KEY": "sk-2",
        "ANTHROPIC_BASE_URL": live.url,
        "LEDGERGRID_TOKEN": live.tokens["reader"],
        "XDG_DATA_HOME": str(folder / "state"),
    }.items():
        monkeypatch.setenv(name, value)
