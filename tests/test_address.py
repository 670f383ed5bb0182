"""Addresses as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.address import DEFAULT_PORT, VARIABLE, from_environment, parse_address
from lbnet.errors import UsageError
from lbnet.types import Address

names = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)
ports = st.integers(1, 65_535)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("node-7.example.org:65535", "node-7.example.org", 65_535),
        ("localhost", "localhost", DEFAULT_PORT),
        ("  localhost:7000\n", "localhost", 7_000),
        ("[::1]:80", "::1", 80),
        ("[::1]", "::1", DEFAULT_PORT),
        ("::1", "::1", DEFAULT_PORT),
        ("fe80::1%eth0", "fe80::1%eth0", DEFAULT_PORT),
        ("[2001:db8::7:1]:8080", "2001:db8::7:1", 8_080),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@given(host=names | st.ip_addresses().map(str), port=ports)
@settings(derandomize=True, deadline=None)
def test_what_is_printed_can_be_read(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", ":", ":80", "host:", "host:0", "host:65536", "host:-1", "host:+1", "host:8o", "host:80:", "host: 80",
        "[::1]:", "[::1]:x", "[::1:80", "::1]:80", "[]:80", "[]", "http://host:80", "two hosts:80", "h:" + "9" * 5_000,
    ],
)  # fmt: skip
def test_what_is_not_an_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not an address: write HOST:PORT, for example 127\.0\.0\.1:7077"):
        parse_address(text)


@given(text=st.text(st.sampled_from("[]:.019afh %/\n"), max_size=12))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except UsageError:
        return
    assert address.host
    assert 0 < address.port < 1 << 16
    assert parse_address(str(address)) == address


def test_the_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert from_environment() is None
    monkeypatch.setenv(VARIABLE, "")
    assert from_environment() is None
    monkeypatch.setenv(VARIABLE, "node:9")
    assert from_environment() == Address("node", 9)
    monkeypatch.setenv(VARIABLE, "node:nine")
    with pytest.raises(UsageError):
        from_environment()
