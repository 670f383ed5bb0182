"""Who signs what for whom, and that nobody else can."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lbnet.errors import UsageError
from lbnet.security.authority import Authority, Credential, KeyPair, identity_of, is_issued_by

NOW = dt.datetime(2030, 5, 1, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("c1", NOW)


def issued(authority: Authority, role: str = "worker", name: str = "7", **more: Any) -> Credential:
    pair = KeyPair()
    facts: dict[str, Any] = {"lifetime": DAY, "now": NOW} | more
    return Credential(authority.issue(pair.public, role, name, **facts), pair.private, authority.certificate)


def test_a_certificate_says_whose_it_is_and_until_when(authority: Authority) -> None:
    identity = identity_of(issued(authority).certificate)
    assert (identity.cluster, identity.role, identity.name) == ("c1", "worker", "7")
    assert identity.not_before < NOW
    assert identity.not_after == NOW + DAY
    assert identity.serial != identity_of(issued(authority).certificate).serial


def test_it_is_signed_by_its_authority_and_no_other(authority: Authority) -> None:
    made = issued(authority)
    other = Authority.create("c1", NOW)
    assert is_issued_by(made.certificate, authority.certificate)
    assert is_issued_by(authority.certificate, authority.certificate)
    assert not is_issued_by(made.certificate, other.certificate)
    assert not is_issued_by(other.certificate, authority.certificate)
    assert not is_issued_by(b"nonsense", authority.certificate)
    assert authority.digest != other.digest


def test_who_has_a_certificate_cannot_sign_another(authority: Authority) -> None:
    made = issued(authority)
    with pytest.raises(UsageError, match="do not belong together"):
        Authority(made.certificate, authority.key)
    with pytest.raises(UsageError, match="is for no signing"):
        Authority(made.certificate, made.key)
    assert not is_issued_by(made.certificate, made.certificate)


def test_it_is_read_again_from_its_files(authority: Authority) -> None:
    again = Authority(authority.certificate, authority.key)
    assert (again.digest, again.cluster) == (authority.digest, "c1")
    assert is_issued_by(issued(again).certificate, authority.certificate)


def test_no_certificate_outlives_its_authority(authority: Authority) -> None:
    made = issued(authority, lifetime=dt.timedelta(days=99_999))
    assert identity_of(made.certificate).not_after == identity_of(authority.certificate).not_after


@pytest.mark.parametrize(("role", "name"), [("king", "7"), ("worker", ""), ("worker", "7/../../controller/1")])
def test_nobody_is_what_there_is_not(authority: Authority, role: str, name: str) -> None:
    with pytest.raises(UsageError, match="there is no role"):
        issued(authority, role, name)


def test_a_key_that_is_none_gets_nothing(authority: Authority) -> None:
    with pytest.raises(UsageError, match="public key"):
        authority.issue(b"nonsense", "worker", "7", DAY, NOW)


def test_files_that_are_damaged_are_named() -> None:
    one, other = Authority.create("c1", NOW), Authority.create("c1", NOW)
    with pytest.raises(UsageError, match="do not belong together"):
        Authority(one.certificate, other.key)
    with pytest.raises(UsageError, match="cannot be read"):
        Authority(one.certificate[:100], one.key)
    with pytest.raises(UsageError, match="none of lbnet's|cannot be read"):
        identity_of(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_key_is_not_in_what_is_logged(authority: Authority) -> None:
    assert "PRIVATE" not in repr(issued(authority))
