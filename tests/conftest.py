"""What holds for every test: nothing is written to the home of whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # a machine may be busy with something else
settings.load_profile("suite")

LONG = (
    "test_readme.py",
    "test_scripts.py",
    "test_short_run.py",
    "test_restart.py",
    "test_damage.py",
    "test_rebuilding.py",
)
"""Files whose tests take many seconds each: they come first, so that nobody waits for the last of them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)  # stable: all else stays as it is


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Controllers that are not told where keep their journals here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
