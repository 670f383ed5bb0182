"""Messages to bytes and back; and whatever the bytes are, a message of the declared shape or one clear error."""

from __future__ import annotations

import dataclasses
import math
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.errors import RemoteProtocolError
from lbnet.pool import wire
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.messages import KINDS, Ack, Goodbye, Idle, Inventory, NonIdle, Refused, Result, Submit
from lbnet.types import Batch, Group, Payload, RunId, Span
from tests.protocol.shapes import has_shape, records_of

messages = st.sampled_from(KINDS).flatmap(records_of)


def assert_total(body: bytes, decoder: Callable[[bytes], Any] = decode) -> None:
    """The outcome is a message of its declared shape, or a RemoteProtocolError with a sentence."""
    try:
        message = decoder(body)
    except RemoteProtocolError as error:
        assert str(error)  # noqa: PT017 - any other exception must come through
    else:
        assert has_shape(message, type(message))
        if decoder is decode:
            assert decode(encode(message)) == message


def refusal(fields: Any) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(msgpack.packb(fields))
    return str(caught.value)


# --- round trips


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[cls.__name__ for cls in KINDS])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(data=st.data())
def test_every_kind_survives_a_round_trip(kind: int, data: st.DataObject) -> None:
    message = data.draw(records_of(KINDS[kind]))
    body = encode(message)
    assert decode(body) == message
    assert type(decode(body)) is KINDS[kind]
    assert has_shape(message, KINDS[kind])
    assert msgpack.unpackb(body, strict_map_key=False)[0] == kind


@settings(derandomize=True, deadline=None, max_examples=100)
@given(message=st.sampled_from([wire.Teach, wire.Run, wire.Done, wire.Spawned, wire.Finished]).flatmap(records_of))
def test_a_codec_of_another_vocabulary_works_alike(message: Any) -> None:
    assert wire.CODEC.decode(wire.CODEC.encode(message)) == message


def test_the_bytes_are_one_array_of_the_kind_and_the_fields() -> None:
    batch = Batch(7, RunId(0), 2, 5, 0, RunId(0), 0, Payload(0, 8, b"f", b"data"))  # type: ignore[arg-type]
    assert msgpack.unpackb(encode(Submit(batch))) == [5, [7, 0, 2, 5, 0, 0, 0, [0, 8, b"f", b"data"], 0, 0]]
    assert encode(NonIdle(0.5, 3)) == b"\x93\x11\xcb" + b"\x3f\xe0" + bytes(6) + b"\x03"


def test_integers_are_taken_for_real_numbers_and_never_the_reverse() -> None:
    decoded = decode(msgpack.packb([KINDS.index(Idle), 3]))
    assert decoded == Idle(3.0)
    assert type(decoded.queued_s) is float  # type: ignore[union-attr]
    assert "an integer is needed, not float" in refusal([KINDS.index(Ack), 3.0])


# --- what is not a message


@settings(derandomize=True, deadline=None, max_examples=600)
@given(body=st.binary(max_size=60))
@example(b"")
@example(b"\xc1")
@example(b"\x92\x11\xcb\x7f\xf8" + bytes(6))
@example(b"\x92\x11\xcf" + b"\xff" * 8)
@example(b"\x92\x11\xd6\xff" + bytes(4))
@example(b"\x92\x11\xc7\x00\xff")
@example(b"\x92\x11\x80")
@example(b"\x92\x02\xa2\xed\xa0")
@example(b"\x92\x11\xc0\xc0")
def test_random_bytes(body: bytes) -> None:
    assert_total(body)
    assert_total(body, wire.CODEC.decode)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(message=messages, seed=st.integers(0, 2**32))
def test_a_valid_frame_with_some_bytes_changed(message: Any, seed: int) -> None:
    rng = random.Random(seed)
    body = bytearray(encode(message))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body)) if body else 0
        step = rng.randrange(4)
        if step == 0 and body:
            body[at] = rng.randrange(256)
        elif step == 1:
            body.insert(at, rng.randrange(256))
        elif step == 2:
            del body[at : at + rng.randint(1, 5)]
        else:
            body = body[:at] if rng.random() < 0.5 else body + body[at:]
    assert_total(bytes(body))


JUNK: list[Any] = [
    None, True, False, 0, -1, 2**64 - 1, -(2**63), 0.5, math.nan, math.inf, -math.inf, "", "text", b"", b"bytes",
    [], [None], [[]], [[[[]]]], [0] * 8, ["x"] * 20, {}, {1: 2}, msgpack.ExtType(1, b"x"), msgpack.Timestamp(1, 2),
]  # fmt: skip


def with_one_place_replaced(fields: Any, junk: Any, rng: random.Random) -> Any:
    if type(fields) is not list or not fields or rng.random() < 0.2:
        return junk
    at = rng.randrange(len(fields))
    return [with_one_place_replaced(item, junk, rng) if at == k else item for k, item in enumerate(fields)]


@settings(derandomize=True, deadline=None, max_examples=400)
@given(message=messages, junk=st.sampled_from(JUNK), seed=st.integers(0, 2**32))
def test_a_valid_message_with_one_field_replaced(message: Any, junk: Any, seed: int) -> None:
    fields = msgpack.unpackb(encode(message), strict_map_key=False)
    assert_total(msgpack.packb(with_one_place_replaced(fields, junk, random.Random(seed))))


@pytest.mark.parametrize("cls", KINDS, ids=[cls.__name__ for cls in KINDS])
def test_a_wrong_number_of_fields(cls: type[Any]) -> None:
    count = len(dataclasses.fields(cls))
    for wrong in (*range(count), count + 1, count + 100):
        assert f"malformed {cls.__name__}: {cls.__name__} has {count} fields" in refusal(
            [KINDS.index(cls), *[0] * wrong]
        )


@pytest.mark.parametrize(
    ("cls", "field", "sentence"),
    [
        (Ack, True, "an integer is needed, not bool"),
        (Ack, None, "an integer is needed, not NoneType"),
        (Ack, "1", "an integer is needed, not str"),
        (Idle, True, "a number is needed, not bool"),
        (Idle, [], "a number is needed, not list"),
        (Idle, math.nan, "a finite number is needed, not nan"),
        (Idle, math.inf, "a finite number is needed, not inf"),
        (Idle, -math.inf, "a finite number is needed, not -inf"),
        (Goodbye, b"text", "a text is needed, not bytes"),
        (Goodbye, 0, "a text is needed, not int"),
    ],
)
def test_a_field_of_the_wrong_type(cls: type[Any], field: Any, sentence: str) -> None:
    assert refusal([KINDS.index(cls), field]) == f"malformed {cls.__name__}: {sentence}"


def test_text_is_no_bytes_and_a_number_is_no_truth() -> None:
    values = [KINDS.index(cls) for cls in KINDS if cls.__name__ == "Values"][0]
    assert "bytes are needed, not str" in refusal([values, 1, 0, 1, 0, "text", False])
    assert "true or false is needed, not int" in refusal([values, 1, 0, 1, 0, b"data", 1])


def test_an_array_must_be_one() -> None:
    assert "an array is needed, not int" in refusal([KINDS.index(Inventory), 1, 5])
    assert "an array is needed, not NoneType" in refusal([KINDS.index(Result), 1, None, []])
    assert "Span has 4 fields" in refusal([KINDS.index(Inventory), 1, [7]])


@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (5, 5), (5, 4), (-1, 1), (-5, -3), (1, -1)])
def test_an_empty_or_negative_range(lo: int, hi: int) -> None:
    assert f"Span has an empty or negative range [{lo}, {hi})" in refusal([KINDS.index(Inventory), 1, [[1, 0, lo, hi]]])


@pytest.mark.parametrize("kind", [-1, len(KINDS), 10**6, 2**64 - 1])
def test_an_unknown_kind(kind: int) -> None:
    assert f"message kind {kind} is unknown; the peer may run a newer version" in refusal([kind])


@pytest.mark.parametrize(
    "fields", [0, None, "text", {}, [], [None], [True, 0.5], ["17", 0.5], [17.0, 0.5], [[17], 0.5]]
)
def test_what_does_not_start_with_a_kind(fields: Any) -> None:
    assert "not an array that starts with the kind" in refusal(fields)


def test_a_map_is_never_said() -> None:
    assert "is not msgpack" in refusal({1: 2})
    assert "is not msgpack" in refusal([KINDS.index(NonIdle), {"a": 1}])


def test_something_behind_the_message() -> None:
    with pytest.raises(RemoteProtocolError, match="is not msgpack"):
        decode(encode(NonIdle(0.5)) + b"\x00")


@pytest.mark.parametrize("depth", [1, 100, 500, 1_000, 1_100, 10_000, 1_000_000])
@pytest.mark.parametrize("core", [b"\xc0", b"\x90", b""])
def test_deep_nesting(depth: int, core: bytes) -> None:
    for kind in (NonIdle, Ack, Inventory, Goodbye):
        assert_total(b"\x92" + bytes([KINDS.index(kind)]) + b"\x91" * depth + core)


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",  # an array
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # a text
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\xdc\xff\xff",
        b"\xda\xff\xff",
    ],
)
def test_huge_lengths_allocate_nothing(header: bytes) -> None:
    tracemalloc.start()
    try:
        for kind in (Inventory, Goodbye):
            with pytest.raises(RemoteProtocolError):
                decode(b"\x92" + bytes([KINDS.index(kind)]) + header)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_arrays_in_arrays_cannot_promise_more_than_the_frame_holds() -> None:
    # Each header is within LIST_ITEMS_MAX, and would allocate 8 MB: 500 of them fit a frame of 2,500 bytes.
    header = b"\xdd" + (limits.LIST_ITEMS_MAX - 1).to_bytes(4, "big")
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            decode(b"\x92\x11" + header * 500)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_an_array_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_ITEMS_MAX", 10)
    span = Span(1, RunId(0), 0, 1)  # type: ignore[arg-type]
    assert decode(encode(Inventory(1, (span,) * 10))) == Inventory(1, (span,) * 10)
    with pytest.raises(RemoteProtocolError, match="is not msgpack"):
        decode(encode(Inventory(1, (span,) * 11)))


def test_a_text_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_CHARS_MAX", 10)
    assert decode(encode(Refused("ten letter"))) == Refused("ten letter")
    with pytest.raises(RemoteProtocolError, match="a text of 11 characters is over the limit"):
        decode(encode(Refused("eleven char")))


def test_the_report_of_many_jobs_on_many_workers_is_within_the_limit() -> None:
    # About what a thousand jobs on a hundred workers take, as JSON.
    assert limits.REPORTS_KEPT * (500 + 100 * 150) < limits.TEXT_CHARS_MAX < limits.FRAME_BYTES_MAX


def test_the_sentence_of_an_error_stays_short() -> None:
    for junk in ("x" * 10**6, b"x" * 10**6, ["x" * 1000] * 1000):
        assert len(refusal([KINDS.index(NonIdle), junk])) < 200
        assert len(refusal([KINDS.index(Ack), junk])) < 200


def test_what_is_not_in_the_vocabulary_is_our_own_bug() -> None:
    with pytest.raises(KeyError):
        encode(Group(0, b"", (), 0.0, None))  # type: ignore[arg-type]
