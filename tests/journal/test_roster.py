"""Who was there is known to the next one who asks, or nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbnet.journal.roster import Roster
from lbnet.types import PeerId

ONE, TWO, THREE = PeerId(1), PeerId(2), PeerId(30)


def test_who_came_and_did_not_leave_was_there(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "workers")
    assert roster.before is None
    for worker in (THREE, ONE, TWO, ONE):
        roster.came(worker)
    roster.left(TWO)
    again = Roster(tmp_path / "workers")
    assert again.before == {ONE, THREE}
    assert again.there == {ONE, THREE}, "they may still come back"


def test_who_was_there_before_and_was_given_up_is_not_there(tmp_path: Path) -> None:
    Roster(tmp_path / "workers").came(ONE)
    again = Roster(tmp_path / "workers")
    again.left(ONE)
    again.left(TWO)
    assert again.before == {ONE}
    assert Roster(tmp_path / "workers").before == set()


def test_nobody_is_there_after_an_end_in_good_order(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "workers")
    roster.came(ONE)
    roster.nobody()
    assert Roster(tmp_path / "workers").before == set()


@pytest.mark.parametrize("text", ["", "1 2", "1 x\n", "1 2\x00\n"])
def test_what_is_no_roster_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "workers").write_text(text)
    assert Roster(tmp_path / "workers").before is None


def test_what_cannot_be_written_is_not_left_as_it_was(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "workers")
    roster.came(ONE)
    (tmp_path / "workers.new").mkdir()  # as good as a full disk
    roster.came(TWO)
    assert Roster(tmp_path / "workers").before is None
    (tmp_path / "workers.new").rmdir()
    roster.left(ONE)
    assert Roster(tmp_path / "workers").before == {TWO}
