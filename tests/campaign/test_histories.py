"""The random histories of tests/ledger_core/test_histories.py, many more and longer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger_core.test_histories import History

pytestmark = pytest.mark.campaign


def test_every_long_history_keeps_its_promises() -> None:
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
