"""The fuzzer itself: it reaches what it is to reach, and would notice what must not happen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.fuzz import decoders
from bench.fuzz.decoders import Target, fuzz_decoders, fuzz_journal, targets
from bench.fuzz.live import fuzz_ports
from bench.fuzz.mutations import Mutator
from bench.fuzz.recordings import record
from lbnet.errors import LbnetError
from lbnet.protocol import messages
from lbnet.protocol.codec import decode
from lbnet.types import JobId, PeerId


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_what_is_not_changed_is_read_and_much_of_what_is_changed_is_not(target: Target) -> None:
    for data in target.corpus:
        target.read(data)
    mutator, refused = Mutator(target.corpus, random.Random(1)), 0
    for _ in range(500):
        try:
            target.read(mutator.next())
        except LbnetError:
            refused += 1
    assert refused > 50


def test_some_seconds_of_it(tmp_path: Path) -> None:
    counts, _ = fuzz_decoders(1, 0.0, 30_000)
    assert counts.total() >= 30_000
    assert min(counts.values()) >= 3_000
    assert fuzz_journal(tmp_path, 1, 20) == 20


def test_ports_hold_and_an_honest_client_gets_its_results() -> None:
    attack = fuzz_ports(1, 2.0)
    assert attack.honest >= 1_000
    assert len(attack.counts) == 18
    assert min(attack.counts.values()) >= 1


def test_what_is_recorded_is_what_a_client_and_workers_really_say_and_others_may_say_it_again() -> None:
    sessions = record()
    assert sorted(session.role for session in sessions) == ["client", "worker", "worker"]
    said = {type(decode(body)) for session in sessions for body in session.said}
    heard = {type(decode(body)) for session in sessions for body in session.heard}
    assert {messages.OpenJob, messages.Submit, messages.Result, messages.Idle} <= said
    assert {messages.SendWork, messages.Values, messages.Failed} <= heard
    client = next(session for session in sessions if session.role == "client")
    other = PeerId(client.peer + 1_000)
    assert client.said_as(client.peer) == list(client.said)
    for body, again in zip(client.said, client.said_as(other), strict=True):
        message, renamed = decode(body), decode(again)
        assert type(message) is type(renamed)
        if isinstance(message, messages.OpenJob):
            assert isinstance(renamed, messages.OpenJob)
            assert renamed.options == message.options
            assert renamed.job == JobId(message.job + (1_000 << 24))


def test_any_other_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise KeyError(data[:1])

    monkeypatch.setattr(decoders, "targets", lambda: [Target("broken", [b"abc"], broken)])
    with pytest.raises(AssertionError, match="broken: KeyError"):
        fuzz_decoders(1, 0.0, 1)
