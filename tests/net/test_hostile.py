"""A worker that was let in, and is not what it says: it may hold what it was given; nothing else is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import lbnet
from lbnet import limits
from lbnet.core.controller import Controller
from lbnet.net.controller_server import ControllerServer
from lbnet.net.gate import Gate
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.net.worker_node import WorkerNode
from lbnet.protocol.messages import SAID_BY, Idle, Inventory, Message, Relay, Result, SendWork, Welcome
from lbnet.security.authority import utc_now
from lbnet.security.place import Place
from lbnet.strategies import registry
from lbnet.types import (
    COMBINED,
    FAILED,
    ROOT,
    VALUES,
    Batch,
    Failure,
    Group,
    JobId,
    JobReport,
    Payload,
    PeerId,
    RunId,
    Span,
)
from lbnet.types import Member as Part
from tests.net.cluster import until

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ITEMS = 400


def slowly(x: int) -> int:
    import time

    time.sleep(0.002)
    return x * x


@dataclass
class Evil:
    """A link of a worker that says what it likes."""

    link: Link
    heard: list[Message] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def says(self, *messages: Message) -> None:
        for message in messages:
            self.link.send(message)


@dataclass
class House:
    server: ControllerServer
    place: Place

    @contextlib.asynccontextmanager
    async def evil(self) -> AsyncIterator[Evil]:
        made: list[Evil] = []
        heard: list[Message] = []
        closed: list[str] = []

        def on_welcome(link: Link, welcome: Welcome) -> None:  # noqa: ARG001
            made.append(Evil(link, heard, closed))

        await connect(
            self.server.address,
            lambda _: hello("worker", name="evil", slots=4, port=9),
            may_say=SAID_BY["controller-to-worker"],
            on_welcome=on_welcome,
            on_message=lambda _, message: heard.append(message),
            on_closed=lambda _, reason: closed.append(reason),
            timeout_s=10.0,
            member=Member("worker", self.place.account_token("worker", utc_now())),
        )
        try:
            yield made[0]
        finally:
            made[0].link.abort("the test is over")
            await made[0].link.closed.wait()

    async def job(self) -> tuple[Sequence[int], JobReport]:
        """What an honest client gets."""

        def run() -> tuple[list[int], JobReport]:
            token = str(self.place.account_token("client", utc_now()))
            with lbnet.Client(str(self.server.address), token=token) as client:
                results = client.map(slowly, range(ITEMS))
                values = list(results)
                return values, client.report(results)

        return await asyncio.get_running_loop().run_in_executor(None, run)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    place = Place(tmp_path / "state", utc_now())
    core = Controller(registry.load, strategy="sb", placement="spread", deadline_s=1.0)
    server = ControllerServer(core, gate=Gate(place))
    await server.start("127.0.0.1", 0)
    member = Member("worker", place.account_token("worker", utc_now()))
    honest = WorkerNode(slots=2, name="honest", load=registry.load, member=member)
    await honest.start(server.address)
    try:
        yield House(server, place)
    finally:
        await honest.stop()
        await server.stop()


async def check(house: House, running: asyncio.Task[tuple[Sequence[int], JobReport]]) -> JobReport:
    values, report = await running
    assert list(values) == [x * x for x in range(ITEMS)]
    assert report.balanced
    assert (report.submitted, report.done, report.outstanding) == (ITEMS, ITEMS, 0)
    assert house.server._controller.strategy_error is None
    return report


def part(lo: int, hi: int, origin: int = ROOT, run: int = ROOT, children: tuple[Batch, ...] = ()) -> Part:
    return Part(RunId(origin), lo, hi, lo, ROOT, 0, RunId(run), children)


def wild(job: JobId) -> list[Message]:
    """Results, lists and work that make no sense: of tasks, runs and jobs that there are not, or not any more."""
    beyond, strange = 10**9, RunId(1 << 60)
    child = Batch(job, strange, 0, 3, 0, ROOT, 0, Payload(0, 3, b"nobody's", b"x"))
    failure = Failure("exception", "no", "", "", b"")
    groups = (
        Group(VALUES, b"lies", (part(beyond, beyond + 5),), 1.0, None),
        Group(VALUES, b"lies", (part(0, 3, strange),), float(10**300), None),
        Group(FAILED, b"", (part(beyond, beyond + 1),), 0.0, failure),
    )
    return [
        *(Result(job, (group,), ()) for group in groups),
        Result(JobId(job + 1), groups, ()),
        Inventory(77, (Span(job, ROOT, 0, beyond), Span(JobId(3), strange, 5, 6))),
        Relay(PeerId(1), 5, (child,)),
        Result(job, (Group(COMBINED, b"lies", (part(0, 2),), 0.0, None),), ()),
    ]


async def test_wild_ids_are_dropped_or_end_its_link_and_nobody_elses_task_is_lost(house: House) -> None:
    running = asyncio.create_task(house.job())
    await until(lambda: any(job.ledger.done for job in house.server._controller.jobs()))
    (job,) = house.server._controller.jobs()
    for message in wild(job.id):
        async with house.evil() as evil:
            evil.says(message)
            await asyncio.sleep(0.02)
    await check(house, running)


async def test_one_that_takes_work_and_says_nothing_more_is_missed(house: House) -> None:
    async with house.evil() as evil:
        evil.says(Idle(0.0))
        running = asyncio.create_task(house.job())
        await until(lambda: any(isinstance(each, SendWork) for each in evil.heard))
        report = await check(house, running)
    assert evil.closed
    assert report.requeued > 0


async def test_one_that_chatters_is_sent_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHATTER_PER_S", 5_000)
    running = asyncio.create_task(house.job())
    async with house.evil() as evil:

        async def chatter() -> None:
            while not evil.closed:
                evil.says(*[Idle(0.5)] * 500)
                await asyncio.sleep(0.01)

        await asyncio.wait_for(chatter(), 20)
    await check(house, running)


async def test_one_that_claims_the_id_of_another_gets_one_of_its_own(house: House) -> None:
    honest = next(iter(house.server._links))
    async with house.evil() as evil:
        assert evil.link.identity is not None
        assert honest in house.server._links
    member = Member("worker", house.place.account_token("worker", utc_now()))
    welcomed: list[tuple[Link, Welcome]] = []
    await connect(
        house.server.address,
        lambda _: hello("worker", name="thief", slots=1, port=9, peer=honest, cluster=bytes(16)),
        may_say=SAID_BY["controller-to-worker"],
        on_welcome=lambda link, welcome: welcomed.append((link, welcome)),
        on_message=lambda *_: None,
        on_closed=lambda *_: None,
        timeout_s=10.0,
        member=member,
    )
    ((link, welcome),) = welcomed
    assert welcome.peer != honest
    assert honest in house.server._links
    link.abort("the test is over")
    await link.closed.wait()
