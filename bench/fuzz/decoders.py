"""All that reads bytes of others, fed with inputs that are almost right, whole and in pieces."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.fuzz.mutations import Mutator
from lbnet.errors import LbnetError
from lbnet.journal.store import Addition, Store
from lbnet.protocol import messages, records
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.security import entry, token
from lbnet.security.authority import Authority, KeyPair, identity_of
from lbnet.types import (
    COMBINED,
    FAILED,
    ROOT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobId,
    JobOptions,
    Member,
    Payload,
    PeerId,
    RunId,
    Span,
)

_JOB = JobId(5 << 24 | 1)
_RUN = RunId(7 << 44 | 3)
_BATCH = Batch(_JOB, ROOT, 0, 3, 0, ROOT, 0, Payload(0, 3, b"digest" * 3, b"items" * 9))
_CHILD = Batch(_JOB, _RUN, 0, 2, 1, ROOT, 1, Payload(0, 2, b"digest" * 3, b"kids" * 5))
_FAILURE = Failure("exception", "boom", "Traceback", "worker w, pid 9", b"pickle")
_MEMBER = Member(ROOT, 1, 2, 1, ROOT, 0, _RUN, (_CHILD,))
_GROUPS = (
    Group(VALUES, b"values", (_MEMBER,), 0.25, None),
    Group(COMBINED, b"value", (_MEMBER, _MEMBER), 0.5, None),
    Group(FAILED, b"", (_MEMBER,), 0.125, _FAILURE),
)

MESSAGES: tuple[messages.Message, ...] = (
    messages.Hello("lbnet", 1, "worker", "name", "host", 77, 4, 7078, 0, b"c" * 16),
    messages.Welcome("lbnet", 1, PeerId(3), "127.0.0.1:7077", b"c" * 16, 10.0),
    messages.Refused("no", final=True),
    messages.Renew(b"key" * 30),
    messages.Revoked(("abcd1234", "ef567890")),
    messages.OpenJob(_JOB, JobOptions(name="job", retry_on=("ValueError", "OSError"), reduce=b"r" * 16)),
    messages.Function(_JOB, b"digest" * 3, b"function" * 8),
    messages.Submit(_BATCH),
    messages.CloseJob(_JOB, 3),
    messages.SendWork(4, PeerId(0), (_BATCH, _CHILD)),
    messages.Relay(PeerId(4), 9, (_BATCH,)),
    messages.Result(_JOB, _GROUPS, (messages.Moved(PeerId(4), 2),)),
    messages.Inventory(3, (Span(_JOB, ROOT, 0, 3), Span(_JOB, _RUN, 0, 2))),
    messages.Idle(0.05),
    messages.NonIdle(1.5, 12),
    messages.Peers((messages.Introduction(PeerId(4), "10.0.0.4", 7079),), (PeerId(5),)),
    messages.Answer(8, '{"jobs": []}'),
    messages.Values(_JOB, 0, 3, 0, b"values" * 4, open=False),
    messages.Failed(_JOB, 2, False, "exception", "boom", "Traceback", "here", b"pickle"),
    messages.Goodbye("enough"),
)

RECORDS: tuple[records.Record, ...] = (
    records.Opened(_JOB, PeerId(5), 1, JobOptions(name="job"), 12.5, 8),
    records.Results(_JOB, PeerId(4), "w", 2, _GROUPS),
    records.Ended(_JOB, "failed", "why", 2.5, "NoWorkersError"),
    records.Stored(_BATCH, 2),
    messages.Submit(_BATCH),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads bytes: ``read`` takes one input, and may raise a :class:`LbnetError` and nothing else."""

    name: str
    corpus: Sequence[bytes]
    read: Callable[[bytes], object]


def _frames(data: bytes) -> None:
    reader = FrameReader(1 << 16)
    reader.feed(data)
    while (body := reader.next()) is not None:
        decode(body)


def _frames_by_bytes(data: bytes) -> None:
    reader = FrameReader(1 << 16)
    for at in range(len(data)):
        reader.feed(data[at : at + 1])
        while reader.next() is not None:
            pass


def targets() -> list[Target]:
    """All of them, but the journal, which is read from files."""
    bodies = [encode(message) for message in MESSAGES]
    framed = [frame(body) for body in bodies]
    streams = [b"".join(framed[at : at + 4]) for at in range(len(framed))]
    authority = Authority.create("cluster", dt.datetime.now(dt.UTC))
    pair = KeyPair()
    certificate = authority.issue(pair.public, "worker", "w-1", dt.timedelta(days=1), dt.datetime.now(dt.UTC))
    request = entry.request(1, "client", bytes(range(20)), pair.public)
    offer = entry.offer(1, 1.7e9, authority.der)
    answer = entry.answer(granted=True, content=certificate)
    return [
        Target("messages", bodies, decode),
        Target("frames", streams, _frames),
        Target("frames, byte by byte", framed, _frames_by_bytes),
        Target("records of the journal", [records.encode(each) for each in RECORDS], records.decode),
        Target("tokens", [str(token.draw(authority.der)).encode()], lambda data: token.parse(data.decode("latin-1"))),
        Target("requests of strangers", [request], entry.read_request),
        Target("offers", [offer[: entry.OFFER_HEAD_BYTES]], _exactly(entry.OFFER_HEAD_BYTES, entry.offer_head)),
        Target("answers", [answer[: entry.ANSWER_HEAD_BYTES]], _exactly(entry.ANSWER_HEAD_BYTES, entry.answer_head)),
        Target("certificates", [certificate, authority.der], identity_of),
    ]


def _exactly(length: int, read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Whoever reads a head has waited for all of it."""
    return lambda data: read(data[:length].ljust(length, b"\0"))


def fuzz_decoders(seed: int, seconds: float, inputs: int) -> tuple[Counter[str], int]:
    """Feed all targets in turn, for so long or so many inputs, whichever is more.

    Returns:
        Inputs by target, and by how many bytes the process has grown after the first tenth.

    Raises:
        AssertionError: something else than a typed error came, with the input as hex.
    """
    rng = random.Random(seed)
    made = [(target, Mutator(target.corpus, rng)) for target in targets()]
    counts: Counter[str] = Counter()
    process = psutil.Process(os.getpid())
    began, done, settled = time.monotonic(), 0, 0
    while done < inputs or time.monotonic() - began < seconds:
        for target, mutator in made:
            for _ in range(_ROUND):
                data = mutator.next()
                try:
                    target.read(data)
                except LbnetError:
                    pass
                except BaseException as error:
                    raise AssertionError(f"{target.name}: {error!r} for {data.hex()}") from error
            counts[target.name] += _ROUND
            done += _ROUND
        if not settled and done > inputs / 10:
            settled = process.memory_info().rss
    return counts, process.memory_info().rss - settled


def fuzz_journal(folder: Path, seed: int, inputs: int) -> int:
    """Read a small journal with bytes changed: records that were written, or a typed error. Returns how often.

    Raises:
        AssertionError: something else came of it.
    """
    rng = random.Random(seed)
    directory = folder / f"journal-{seed}"
    directory.mkdir()
    written = tuple(records.encode(each) for each in RECORDS)
    with contextlib.closing(Store(directory)) as store:
        store.add([Addition(_JOB, written, whole=True)])
    whole = {path.name: path.read_bytes() for path in directory.iterdir()}
    for _ in range(inputs):
        name = rng.choice(sorted(whole))
        for file, data in whole.items():
            (directory / file).write_bytes(Mutator([data or b"\0"], rng).next() if file == name else data)
        for each in directory.iterdir():
            if each.name not in whole:
                each.unlink()
        try:
            with contextlib.closing(Store(directory)) as store:
                found = list(store.records())
        except LbnetError:
            continue
        except BaseException as error:
            raise AssertionError(f"the journal, seed {seed}: {error!r}") from error
        assert set(found) <= set(written), f"the journal, seed {seed}: a record that was never written"
    return inputs


_ROUND = 200
