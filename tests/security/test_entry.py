"""How a certificate is asked for: what is said comes back as it was, and anything else is one typed error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.errors import RemoteProtocolError
from lbnet.security import entry
from lbnet.security.authority import KeyPair


def test_a_public_key_has_the_length_that_a_request_has_room_for() -> None:
    assert len(KeyPair().public) == entry.PUBLIC_KEY_BYTES


@settings(derandomize=True, deadline=None)
@given(
    version=st.integers(0, 2**16 - 1),
    role=st.sampled_from(("worker", "client")),
    secret=st.binary(min_size=20, max_size=20),
    key=st.binary(min_size=entry.PUBLIC_KEY_BYTES, max_size=entry.PUBLIC_KEY_BYTES),
)
def test_a_request_comes_back(version: int, role: str, secret: bytes, key: bytes) -> None:
    data = entry.request(version, role, secret, key)
    assert len(data) == entry.REQUEST_BYTES
    assert entry.read_request(data) == entry.Request(version, role, secret, key)
    assert secret.hex() not in repr(entry.read_request(data))


@settings(derandomize=True, deadline=None)
@given(version=st.integers(0, 2**16 - 1), time_s=st.floats(0, 2**40), authority=st.binary(max_size=4_096))
def test_an_offer_comes_back(version: int, time_s: float, authority: bytes) -> None:
    data = entry.offer(version, time_s, authority)
    head, rest = data[: entry.OFFER_HEAD_BYTES], data[entry.OFFER_HEAD_BYTES :]
    assert entry.offer_head(head) == (version, int(time_s), len(authority))
    assert rest == authority


@settings(derandomize=True, deadline=None)
@given(granted=st.booleans(), content=st.binary(max_size=5_000))
def test_an_answer_comes_back_and_is_cut_if_it_is_too_long(granted: bool, content: bytes) -> None:
    data = entry.answer(granted=granted, content=content)
    head, rest = data[: entry.ANSWER_HEAD_BYTES], data[entry.ANSWER_HEAD_BYTES :]
    assert entry.answer_head(head) == (granted, len(rest))
    assert rest == content[: entry.CERTIFICATE_BYTES_MAX]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.binary(max_size=300))
def test_nothing_else_is_a_request(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        entry.read_request(data)


@pytest.mark.parametrize("read", [entry.offer_head, entry.answer_head])
def test_nothing_else_is_an_offer_or_an_answer(read: object) -> None:
    length = entry.OFFER_HEAD_BYTES if read is entry.offer_head else entry.ANSWER_HEAD_BYTES
    for data in (
        bytes(length),
        b"\xff" * length,
        (b"lbnet-of" if read is entry.offer_head else b"lbnet-an") + b"\xff" * (length - 8),
    ):
        with pytest.raises(RemoteProtocolError):
            read(data)  # type: ignore[operator]
