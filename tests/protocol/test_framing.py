"""Frames out of a stream of bytes, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.errors import LocalProtocolError, RemoteProtocolError
from lbnet.protocol.framing import HEADER_BYTES, FrameReader, frame

bodies = st.lists(st.binary(max_size=300), max_size=12)


def read_all(reader: FrameReader) -> list[bytes]:
    frames = []
    while (body := reader.next()) is not None:
        frames.append(body)
    return frames


def test_a_frame_is_a_big_endian_length_and_the_body() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x03abc"
    assert frame(b"") == b"\x00\x00\x00\x00"
    assert frame(bytes(0x010203))[:HEADER_BYTES] == b"\x00\x01\x02\x03"


@settings(derandomize=True, deadline=None)
@given(bodies=bodies)
def test_frames_that_come_whole(bodies: list[bytes]) -> None:
    reader = FrameReader()
    reader.feed(b"".join(map(frame, bodies)))
    assert read_all(reader) == bodies
    assert reader.pending_bytes == 0


@settings(derandomize=True, deadline=None)
@given(bodies=bodies)
def test_frames_that_come_byte_by_byte(bodies: list[bytes]) -> None:
    reader = FrameReader()
    frames = []
    for byte in b"".join(map(frame, bodies)):
        reader.feed(bytes([byte]))
        frames += read_all(reader)
    assert frames == bodies
    assert reader.pending_bytes == 0


@settings(derandomize=True, deadline=None)
@given(bodies=bodies, cuts=st.lists(st.integers(0, 4_000)), eager=st.booleans())
def test_frames_that_come_in_random_pieces(bodies: list[bytes], cuts: list[int], eager: bool) -> None:
    stream = b"".join(map(frame, bodies))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = FrameReader()
    frames = []
    for begin, end in zip(edges, edges[1:], strict=False):
        reader.feed(stream[begin:end])
        body = reader.next()
        if body is not None:
            frames.append(body)
            if eager:
                frames += read_all(reader)
    assert frames + read_all(reader) == bodies
    assert reader.pending_bytes == 0


@settings(derandomize=True, deadline=None)
@given(body=st.binary(min_size=1, max_size=100), missing=st.integers(1, 103))
@example(b"abc", 7)
def test_part_of_a_frame_is_kept_until_the_rest_comes(body: bytes, missing: int) -> None:
    whole = frame(body)
    missing = min(missing, len(whole))
    reader = FrameReader()
    reader.feed(frame(b"before") + whole[: len(whole) - missing])
    assert reader.next() == b"before"
    assert reader.next() is None
    assert reader.pending_bytes == len(reader._buffer) == len(whole) - missing
    reader.feed(whole[len(whole) - missing :])
    assert reader.next() == body


def test_what_was_read_is_let_go() -> None:
    reader = FrameReader()
    for _ in range(50):
        reader.feed(frame(bytes(10_000)))
        assert reader.next() == bytes(10_000)
        assert reader.next() is None
        assert reader.pending_bytes == 0
        assert len(reader._buffer) == 0


def test_frames_are_copies_that_later_bytes_do_not_change() -> None:
    reader = FrameReader()
    reader.feed(frame(b"one") + frame(b"two")[:5])
    first = reader.next()
    reader.feed(frame(b"two")[5:])
    assert (first, reader.next()) == (b"one", b"two")


@pytest.mark.parametrize("announced", [101, 1 << 20, (1 << 32) - 1])
def test_a_frame_over_the_limit_is_refused_when_its_header_is_seen(announced: int) -> None:
    reader = FrameReader(frame_bytes_max=100)
    reader.feed(frame(b"fits") + announced.to_bytes(4, "big"))
    assert reader.next() == b"fits"
    with pytest.raises(RemoteProtocolError, match=f"announced a frame of {announced:,} bytes; the limit here is 100"):
        reader.next()
    assert reader.pending_bytes == HEADER_BYTES


def test_a_frame_at_the_limit_is_read() -> None:
    reader = FrameReader(frame_bytes_max=100)
    reader.feed(frame(bytes(100)))
    assert reader.next() == bytes(100)


def test_a_refused_frame_stays_refused() -> None:
    reader = FrameReader(frame_bytes_max=3)
    reader.feed(frame(b"abcd"))
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            reader.next()


def test_the_limit_may_be_raised_once_the_peer_is_known() -> None:
    reader = FrameReader(limits.GREETING_BYTES_MAX)
    reader.feed(frame(b"hello"))
    assert reader.next() == b"hello"
    reader.frame_bytes_max = limits.FRAME_BYTES_MAX
    long = bytes(limits.GREETING_BYTES_MAX + 1)
    reader.feed(frame(long))
    assert reader.next() == long


def test_a_frame_of_ours_over_the_limit_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAME_BYTES_MAX", 10)
    assert frame(bytes(10))
    with pytest.raises(LocalProtocolError, match="a frame of 11 bytes is over the limit of 10"):
        frame(bytes(11))
