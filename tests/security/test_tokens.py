"""Tokens let in whom they say, for as long as they say, and a stolen list lets in nobody."""

from __future__ import annotations

import datetime as dt
import json
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.security import tokens as tokens_module
from lbnet.security.tokens import TOKENS_MAX, Tokens

NOW = dt.datetime(2030, 5, 1, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
AUTHORITY = b"certificate"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_known_by_its_secret_to_whoever_reads_the_file(path: Path) -> None:
    grant, token = Tokens(path).create(AUTHORITY, "worker", NOW, DAY)
    found = Tokens(path).grant_of(token.secret)
    assert found == grant
    assert (grant.role, grant.state(NOW), grant.state(NOW + DAY)) == ("worker", "valid", "expired")
    assert Tokens(path).grant_of(b"x" * 20) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_does_not_hold_the_secret(path: Path) -> None:
    _, token = Tokens(path).create(AUTHORITY, "client", NOW)
    whole = path.read_bytes()
    assert token.secret not in whole
    assert token.secret.hex().encode() not in whole
    assert str(token).split("-")[2].encode() not in whole


def test_what_one_process_revokes_another_one_refuses(path: Path) -> None:
    controller, command = Tokens(path), Tokens(path)
    grant, token = command.create(AUTHORITY, "worker", NOW)
    found = controller.grant_of(token.secret)
    assert found is not None
    assert found.state(NOW + 1_000 * DAY) == "valid"
    command.revoke(grant.id)
    found = controller.grant_of(token.secret)
    assert found is not None
    assert found.state(NOW) == "revoked"
    assert [each.id for each in controller.all()] == [grant.id]
    with pytest.raises(UsageError, match=f"there is no token 'x': {grant.id}"):
        command.revoke("x")


def test_there_are_two_roles_and_not_endless_tokens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="not for 'controller'"):
        Tokens(path).create(AUTHORITY, "controller", NOW)
    monkeypatch.setattr(tokens_module, "TOKENS_MAX", 1)
    Tokens(path).create(AUTHORITY, "worker", NOW)
    with pytest.raises(UsageError, match="there are 1 tokens"):
        Tokens(path).create(AUTHORITY, "worker", NOW)


@pytest.mark.parametrize(
    "change", [{"role": "king"}, {"hash": "abcd"}, {"expires_at": "soon"}, {"revoked": 1}, {"more": 1}]
)
def test_a_file_that_is_damaged_lets_nobody_in(path: Path, change: dict[str, object]) -> None:
    Tokens(path).create(AUTHORITY, "worker", NOW)
    facts = json.loads(path.read_text())
    facts["tokens"][0] |= change
    path.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="is damaged"):
        Tokens(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is damaged"):
        Tokens(path)


def test_what_two_change_at_once_is_changed_by_both(tmp_path: Path) -> None:
    """Each of them has its own view of the file, as a controller and a command have."""
    path = tmp_path / "tokens.json"
    ids = [Tokens(path).create(b"ca", "worker", NOW)[0].id for _ in range(8)]

    def change(number: int) -> None:
        tokens = Tokens(path)
        tokens.revoke(ids[number])
        tokens.create(b"ca", "client", NOW)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Tokens(path).all()
    assert len(found) == 16
    assert {grant.id for grant in found if grant.revoked} == set(ids)


def test_a_file_that_is_moved_away_makes_nobody_forget_who_was_revoked(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    grant, made = tokens.create(b"ca", "worker", NOW)
    tokens.revoke(grant.id)
    (tmp_path / "tokens.json").unlink()
    found = tokens.grant_of(made.secret)
    assert found is not None
    assert found.revoked


def test_more_tokens_than_most_have_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = Tokens(path)
    grant, _ = tokens.create(b"ca", "worker", NOW)
    many = {f"{number:08x}": replace(grant, id=f"{number:08x}") for number in range(TOKENS_MAX - 1)}
    tokens._write(many)
    tokens.create(b"ca", "client", NOW)
    assert len(Tokens(path).all()) == TOKENS_MAX
