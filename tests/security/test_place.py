"""Where the secrets of a cluster are: made once, for this account alone, and found again."""

from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.security.place import AUTHORITY, Place

NOW = dt.datetime.now(dt.UTC)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_all_of_it_is_for_this_account_alone(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        place = Place(tmp_path / "state", NOW)
        tokens = [place.account_token(role, NOW) for role in ("worker", "client")]
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").lstat().st_mode) == 0o700
    assert modes(tmp_path / "state") == dict.fromkeys(
        (AUTHORITY, "tokens.json", "tokens.lock", "worker.token", "client.token"), 0o600
    )
    assert {each.digest for each in tokens} == {place.authority.digest}


def test_the_next_controller_finds_it_as_it_was(tmp_path: Path) -> None:
    first = Place(tmp_path / "state", NOW)
    made = first.account_token("worker", NOW)
    second = Place.existing(tmp_path / "state", NOW)
    assert second.authority.cluster == first.authority.cluster
    assert second.account_token("worker", NOW) == made
    assert len(second.tokens.all()) == 1


def test_a_token_that_was_revoked_is_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path / "state", NOW)
    made = place.account_token("client", NOW)
    (grant,) = place.tokens.all()
    place.tokens.revoke(grant.id)
    again = place.account_token("client", NOW)
    assert again != made
    assert place.account_token("client", NOW) == again


@pytest.mark.parametrize("what", ["a link", "cut", "open to others", "a key only"])
def test_an_authority_that_cannot_be_trusted_is_refused(tmp_path: Path, what: str) -> None:
    Place(tmp_path / "state", NOW)
    path = tmp_path / "state" / AUTHORITY
    content = path.read_bytes()
    if what == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif what == "open to others":
        path.chmod(0o644)
    else:
        path.write_bytes(content[content.index(b"-----BEGIN PRIVATE") :])
    with pytest.raises(UsageError, match=AUTHORITY):
        Place(tmp_path / "state", NOW)


def test_a_directory_without_secrets_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no secrets of a cluster"):
        Place.existing(tmp_path, NOW)


@pytest.mark.parametrize("beneath", ["file", "file/deep"])
def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, beneath: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"choose another --state-dir"):
        Place(tmp_path / beneath, NOW)
