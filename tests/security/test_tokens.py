"""Tokens let in whom they say, for as long as they say, and a stolen list lets in nobody."""

from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.security import tokens as tokens_module
from lbnet.security.tokens import Tokens

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
    with pytest.raises(UsageError, match="revoke those"):
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
