"""What a worker and a slot say survives the pipe, and nothing else passes for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.errors import RemoteProtocolError
from lbnet.pool import wire
from lbnet.protocol.framing import FrameReader, frame
from lbnet.types import Batch, Failure, Group, JobId, Member, Payload, RunId

KINDS = [wire.Teach, wire.Run, wire.Forget, wire.Ready, wire.Done, wire.Spawned, wire.Finished]

number = st.integers(0, 2**63 - 1)
ranges = st.tuples(st.integers(0, 2**40), st.integers(1, 2**20)).map(lambda pair: (pair[0], sum(pair)))
data = st.binary(max_size=40)
runs = number.map(RunId)
payloads = st.builds(Payload, number, number, data, data)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    lo, hi = draw(ranges)
    return Batch(JobId(draw(number)), draw(runs), lo, hi, draw(number), draw(runs), draw(number), draw(payloads))


@st.composite
def members(draw: st.DrawFn) -> Member:
    lo, hi = draw(ranges)
    children = tuple(draw(st.lists(batches(), max_size=2)))
    return Member(draw(runs), lo, hi, draw(number), draw(runs), draw(number), draw(runs), children)


text = st.text(max_size=10)
failures = st.builds(Failure, text, text, text, text, data)
groups = st.builds(
    Group,
    st.integers(0, 3),
    data,
    st.lists(members(), max_size=3).map(tuple),
    st.floats(0, 1e9),
    st.none() | failures,
)
messages = st.one_of(
    st.builds(wire.Teach, number.map(JobId), data, data),
    st.builds(wire.Run, number, number, batches(), runs, data, st.booleans()),
    st.builds(wire.Forget, number.map(JobId)),
    st.builds(wire.Ready, number),
    st.builds(wire.Done, number, number, st.lists(groups, max_size=3).map(tuple)),
    st.builds(wire.Spawned, number, batches()),
    st.builds(wire.Finished, number, number),
)


@given(st.lists(messages, max_size=6), st.integers(1, 50))
def test_every_message_survives_the_pipe_in_pieces_of_any_size(said: list[Any], piece: int) -> None:
    stream = b"".join(frame(wire.CODEC.encode(message)) for message in said)
    frames = FrameReader()
    heard = []
    for begin in range(0, len(stream), piece):
        frames.feed(stream[begin : begin + piece])
        while (body := frames.next()) is not None:
            heard.append(wire.CODEC.decode(body))
    assert heard == said


@given(messages)
def test_a_message_is_told_from_all_others(message: Any) -> None:
    kind, *fields = msgpack.unpackb(wire.CODEC.encode(message))
    assert KINDS[kind] is type(message)
    assert len(fields) == len(dataclasses.fields(message))


@given(st.binary(max_size=60))
def test_what_user_code_writes_into_the_pipe_is_refused_or_well_formed(body: bytes) -> None:
    try:
        message = wire.CODEC.decode(body)
    except RemoteProtocolError:
        return
    assert type(message) in KINDS


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["Ready", 1],
        [len(KINDS), 1],
        [-1, 1],
        [3],
        [3, "1"],
        [3, 1, 2],
        [6, 1, True],
        [2, None],
        [4, 1, 1, [[0, b"", [], float("nan"), None]]],
    ],
)
def test_other_shapes_are_refused(fields: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.CODEC.decode(msgpack.packb(fields))


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_frozen_and_say_who_sends_them(kind: type[Any]) -> None:
    assert kind.__doc__
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
