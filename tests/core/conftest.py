"""Fixtures of the tests of the core."""

from __future__ import annotations

import pytest

from lbnet import limits


@pytest.fixture
def results_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No result waits for others: tests of other things see each when it comes."""
    monkeypatch.setattr(limits, "RESULT_GAP_S", 0.0)
    monkeypatch.setattr(limits, "RESULT_GAP_MAX_S", 0.0)


@pytest.fixture
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers hear of every RESULT that is safe: KEPT shows when that was."""
    monkeypatch.setattr(limits, "KEPT_EVERY", 1)
