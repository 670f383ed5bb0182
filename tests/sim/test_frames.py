from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from lbnet.protocol import messages
from lbnet.protocol.shapes import Codec
from lbnet.sim.frames import size_bytes
from lbnet.types import ROOT, VALUES, Batch, Group, JobId, JobOptions, Member, Payload, PeerId, RunId, Span

_CODEC = Codec(messages.KINDS)


def _batch(lo: int, hi: int) -> Batch:
    return Batch(
        JobId(1 << 25), RunId(5 << 44), lo, hi, 3, ROOT, 3, Payload(0, 4096, b"0123456789abcdef", bytes(40_000))
    )


@pytest.mark.parametrize(
    "message",
    [
        messages.SendWork(12, PeerId(3), (_batch(0, 10), _batch(10, 4096))),
        messages.Submit(_batch(0, 4096)),
        messages.Result(
            JobId(1 << 25),
            tuple(
                Group(VALUES, bytes(size), (Member(ROOT, 70_000, 70_005, 70_000, ROOT, 0, ROOT, ()),), 0.1, None)
                for size in (10, 1000)
            ),
            (messages.Moved(PeerId(3), 4),),
        ),
        messages.Idle(0.25),
        messages.Match(PeerId(700), "192.168.17.130", 41234),
        messages.Inventory(4, tuple(Span(JobId(1 << 25), RunId(k << 44), 100, 200) for k in range(50))),
        messages.OpenJob(JobId(1 << 25), JobOptions("a name", "spread", "sb")),
    ],
)
def test_the_estimate_is_near_the_real_size(message: Any):
    real = len(_CODEC.encode(message))
    assert real / 2 - 20 < size_bytes(message) < real * 2 + 40


def test_every_kind_has_a_size():
    for kind in messages.KINDS:
        hints = typing.get_type_hints(kind)
        values = [_some(hints[field.name]) for field in dataclasses.fields(kind)]
        assert size_bytes(kind(*values)) > 0


def _some(hint: Any) -> Any:
    if hint is Batch:
        return _batch(0, 1)
    if hint is JobOptions:
        return JobOptions()
    if typing.get_origin(hint) is tuple:
        return ()
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    return hint()


def test_a_part_of_a_batch_travels_with_its_whole_payload():
    assert size_bytes(messages.Submit(_batch(0, 1))) == size_bytes(messages.Submit(_batch(0, 4096))) > 40_000
