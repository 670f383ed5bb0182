"""A link to the controller that breaks: who comes back as what, at both ends of it, and what waits for the journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet import limits
from lbnet.core import effects, events
from lbnet.errors import JournalError
from lbnet.journal.journal import Journal
from lbnet.journal.store import Addition
from lbnet.net import worker_node
from lbnet.net.controller_server import ControllerServer
from lbnet.net.greeting import MAGIC
from lbnet.net.worker_node import WorkerNode
from lbnet.pickling import dump_values, load_values
from lbnet.protocol import records
from lbnet.protocol.framing import frame
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    Ack,
    Answer,
    Ask,
    AskInventory,
    Attach,
    Attached,
    Function,
    Goodbye,
    Hello,
    Idle,
    Inventory,
    JobDone,
    JobEnded,
    Kept,
    Message,
    Notice,
    OpenJob,
    Refused,
    Rejoined,
    Result,
    SendWork,
    Submit,
    Submitted,
    Taken,
    Values,
    Welcome,
)
from lbnet.protocol.records import Record
from lbnet.strategies import registry
from lbnet.types import CONTROLLER, ROOT, VALUES, Address, Group, JobId, Member, PeerId, SlotId
from tests.net import tasks
from tests.net.cluster import (
    DEADLINE_S,
    RawPeer,
    SilentPool,
    batch_of,
    children,
    controller,
    do_work,
    frames,
    introduction,
    job_of,
    listener,
    node,
    say_results,
    until,
    values_of,
    whole_job,
)

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ME, OTHER = PeerId(7), PeerId(8)
HERE, ELSEWHERE = b"h" * 16, b"e" * 16
JOB, NEW_JOB = JobId(1), JobId(2)
PATIENCE_S = 600.0
"""Longer than any test: nobody here gives up, unless the test is about that."""


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- a worker, and controllers that speak by hand


@pytest.fixture
def silent_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_node, "Pool", SilentPool)


class Scene:
    """A worker that has joined, and the only address where it looks for its controller."""

    def __init__(self, worker: WorkerNode, accept: Callable[[], Any]) -> None:
        self.node = worker
        self._accept = accept
        self.boss: RawPeer
        self.greeting: Hello

    async def meet(self, me: PeerId, cluster: bytes) -> None:
        """Be the controller that the worker finds, and give it this id."""
        self.boss = await self._accept()
        self.greeting = await self.boss.hear(Hello)
        await self.boss.say(Welcome(MAGIC, PROTOCOL_VERSION, me, "", cluster))

    async def refuse(self) -> Hello:
        """Be a controller that does not want it."""
        boss: RawPeer = await self._accept()
        greeting = await boss.hear(Hello)
        await boss.say(Refused("not now"))
        return greeting

    async def give(self, job: JobId, fn: Callable[..., Any], items: Sequence[Any]) -> None:
        """Have the worker take work."""
        work = SendWork(1, CONTROLLER, (batch_of(job, fn, items),))
        await self.boss.say(*introduction(job, fn), work, AskInventory(99))
        # What is said after the work is handled after it; what the controller itself gives is not acknowledged.
        while not isinstance(message := await self.boss.hear_any(), Inventory):
            assert message is not None
            assert not isinstance(message, Ack | Result)
        assert sum(span.hi - span.lo for span in message.spans) == len(items)

    def finish(self, index: int) -> None:
        """Let its only slot, which is none, have done the item of this number in the first ticket."""
        member = Member(ROOT, index, index + 1, 0, ROOT, 0, ROOT, ())
        group = Group(VALUES, dump_values([index]).data, (member,), 0.001, None)
        self.node._handle(events.SlotDone(SlotId(0), self.ticket, index + 1, (group,)))

    @property
    def ticket(self) -> int:
        pool = self.node._pool
        assert isinstance(pool, SilentPool)
        return next(effect.ticket for effect in pool.effects if isinstance(effect, effects.Run))

    async def begin(self, items: int) -> None:
        """Have the slot run the items of a job, one after the other."""
        self.node._handle(events.SlotReady(SlotId(0), 1))
        await self.give(JOB, abs, range(items))

    async def results(self, count: int) -> list[int]:
        """The items of the next RESULTs, so many in all."""
        found: list[int] = []
        while len(found) < count:
            found += indices_of(await self.boss.hear(Result))
        return found

    async def all_heard(self) -> None:
        """Returns when the worker has handled all that was said to it."""
        await self.boss.say(AskInventory(1))
        await self.boss.hear(Inventory)


def indices_of(result: Result) -> list[int]:
    return [member.lo for group in result.groups for member in group.members]


@contextlib.asynccontextmanager
async def scene(rejoin_timeout_s: float = PATIENCE_S) -> AsyncIterator[Scene]:
    worker = WorkerNode(slots=1, name="", load=registry.load, rejoin_timeout_s=rejoin_timeout_s)
    async with listener() as (address, accept):
        at = Scene(worker, accept)
        starting = asyncio.create_task(worker.start(address))
        await at.meet(ME, HERE)
        await starting
        try:
            yield at
        finally:
            await worker.stop()


NONSENSE: dict[str, bytes] = {"nonsense": frame(b"\xc1"), "not for a worker": frames(Idle(0.0))}


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize("how", ["close", "reset", *NONSENSE])
async def test_a_worker_whose_link_broke_comes_back_as_who_it_was(how: str) -> None:
    async with scene() as at:
        first = at.greeting
        assert (first.peer, first.cluster) == (CONTROLLER, b"")
        await at.give(JOB, abs, [1])
        if how in NONSENSE:
            await at.boss.write(NONSENSE[how])
        else:
            getattr(at.boss, how)()
        await at.meet(ME, HERE)
        again = at.greeting
        assert (again.peer, again.cluster) == (ME, HERE)
        assert (again.role, again.slots, again.port, again.pid) == (first.role, first.slots, first.port, first.pid)
        assert await at.boss.hear_any() == Rejoined((JOB,))
        assert (at.node.peer, at.node.name) == (ME, f"worker-{ME}")
        assert not at.node.lost.done()


@pytest.mark.usefixtures("silent_pool")
async def test_results_that_nobody_is_known_to_have_are_said_again_and_no_others() -> None:
    async with scene() as at:
        await at.begin(6)
        for index in range(3):
            at.finish(index)
        assert await at.results(3) == [0, 1, 2]
        await at.boss.say(Kept(1))
        await at.all_heard()
        at.boss.close()
        await until(lambda: CONTROLLER not in at.node._links)
        at.finish(3)  # nobody hears of it
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined((JOB,))
        assert await at.results(3) == [1, 2, 3]
        at.finish(4)
        assert await at.results(1) == [4]
        await at.boss.say(Kept(1))  # of this link, on which the three were one
        await at.all_heard()
        at.boss.reset()
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined((JOB,))
        assert await at.results(1) == [4]


@pytest.mark.usefixtures("silent_pool")
async def test_what_of_its_work_is_over_it_learns_and_drops() -> None:
    async with scene() as at:
        await at.begin(4)
        at.finish(0)
        assert await at.results(1) == [0]
        at.boss.close()
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined((JOB,))
        await at.boss.say(JobEnded(JOB), AskInventory(5))
        assert (await at.boss.hear(Inventory)).spans == ()
        at.boss.close()
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined(())
        await at.boss.say(AskInventory(6))
        assert not isinstance(await at.boss.hear_any(), Result)


@pytest.mark.usefixtures("silent_pool")
async def test_links_to_other_workers_last_while_the_controller_is_away() -> None:
    async with scene() as at:
        address = at.node._server.sockets[0].getsockname()  # type: ignore[union-attr]
        other = await RawPeer.join(Address(*address), "peer", peer=OTHER)
        at.boss.close()
        await until(lambda: CONTROLLER not in at.node._links)
        await other.say(*introduction(JOB, abs), SendWork(1, OTHER, (batch_of(JOB, abs, [1, 2]),)))
        assert await other.hear(Ack) == Ack(1)
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined((JOB,))
        await at.boss.say(AskInventory(1))
        assert sum(span.hi - span.lo for span in (await at.boss.hear(Inventory)).spans) == 2


@pytest.mark.usefixtures("silent_pool")
async def test_a_refusal_is_no_reason_to_stop_looking() -> None:
    async with scene() as at:
        at.boss.close()
        for _ in range(2):
            assert (await at.refuse()).peer == ME
        await at.meet(ME, HERE)
        assert await at.boss.hear_any() == Rejoined(())


@pytest.mark.usefixtures("silent_pool")
async def test_who_finds_nobody_for_too_long_says_why() -> None:
    async with scene(rejoin_timeout_s=0.01) as at:
        at.boss.close()
        await at.refuse()
        reason = await asyncio.wait_for(at.node.lost, DEADLINE_S)
        assert reason.startswith("the peer closed the connection; and for 0.01 s: 127.0.0.1:")
        assert reason.endswith(" refused us: not now")


@pytest.mark.usefixtures("silent_pool")
async def test_a_controller_that_said_goodbye_is_not_looked_for() -> None:
    async with scene() as at:
        await at.boss.say(Goodbye("enough"))
        assert await asyncio.wait_for(at.node.lost, DEADLINE_S) == "it left: enough"


@pytest.mark.usefixtures("silent_pool")
@pytest.mark.parametrize("where", ["between two tries", "in the middle of one"])
async def test_a_worker_that_looks_for_its_controller_can_be_stopped(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "between two tries":
        monkeypatch.setattr(limits, "RECONNECT_FIRST_S", PATIENCE_S)
    async with scene() as at:
        at.boss.close()
        await until(lambda: CONTROLLER not in at.node._links)
        if where == "in the middle of one":
            await (await at._accept()).hear(Hello)
        await at.node.stop()
        assert not at.node.lost.done()


# --- a worker whose controller began anew


@pytest.mark.parametrize(("me", "cluster"), [(OTHER, ELSEWHERE), (ME, ELSEWHERE), (OTHER, HERE)])
async def test_a_worker_with_another_id_or_in_another_cluster_runs_new_work_and_reports_nothing_old(
    me: PeerId, cluster: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at:
        await at.boss.hear(Idle)
        await at.give(JOB, tasks.where, [1])
        assert (await at.boss.hear(Result)).job == JOB  # nobody keeps it
        await at.give(JOB, tasks.spin, [str(tmp_path / "old")])
        await until((tmp_path / "old").exists)
        (old,) = at.node._pool.pids
        address = Address(*at.node._server.sockets[0].getsockname())  # type: ignore[union-attr]
        other = await RawPeer.join(address, "peer", peer=OTHER + 1)
        at.boss.close()

        await at.meet(me, cluster)
        assert await other.hear_end() == []
        while not isinstance(message := await at.boss.hear_any(), Idle):
            assert message is not None
            assert not isinstance(message, Rejoined | Result)
        assert (at.node.peer, at.node.name) == (me, f"worker-{me}")
        assert not psutil.pid_exists(old)
        await at.boss.say(AskInventory(1))
        assert (await at.boss.hear(Inventory)).spans == ()

        # It is the same number of a job, and another job.
        await at.give(JOB, tasks.where, [5])
        result = await at.boss.hear(Result)
        (group,) = result.groups
        ((number, pid),) = [load_values(group.data).get(0)]
        assert (number, [pid]) == (5, at.node._pool.pids)
        assert any("we begin anew, too" in line for line in log_of(caplog))

        at.boss.close()
        await at.meet(me, cluster)
        assert (at.greeting.peer, at.greeting.cluster) == (me, cluster)
        assert await at.boss.hear_any() == Rejoined((JOB,))


async def test_new_slots_and_the_stop_of_a_worker_wait_for_the_end_of_the_old_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as at:
        await at.boss.hear(Idle)
        await at.give(JOB, tasks.spin, [str(tmp_path / "old")])
        await until((tmp_path / "old").exists)
        (old,) = at.node._pool.pids
        # It ends when the test says so.
        psutil.Process(old).send_signal(signal.SIGSTOP)
        monkeypatch.setattr(limits, "STOP_TIMEOUT_S", PATIENCE_S)
        at.boss.close()
        await at.meet(OTHER, ELSEWHERE)
        await at.all_heard()
        assert at.node._pool.pids == []
        stopping = asyncio.create_task(at.node.stop())
        await at.boss.hear(Goodbye)
        at.boss.close()
        done, _ = await asyncio.wait([stopping], timeout=0.1)
        assert not done
        psutil.Process(old).kill()
        await asyncio.wait_for(stopping, DEADLINE_S)
        assert at.node._pool.pids == []


@pytest.mark.usefixtures("silent_pool")
async def test_nothing_that_was_begun_before_reaches_a_worker_that_began_anew(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as at, listener() as (address, accept):
        at.node._perform(effects.Connect(OTHER, address))
        other = await accept()
        await other.hear(Hello)
        old = at.node._pool
        assert isinstance(old, SilentPool)
        at.boss.close()
        await at.meet(ME, ELSEWHERE)
        assert await other.hear_end() == []
        old.on_event(events.SlotReady(SlotId(0), 1))
        await at.boss.say(AskInventory(1))
        assert await at.boss.hear_any() == Inventory(1, ()), "it would say IDLE first if it had a slot"
        assert not any("no direct link" in line for line in log_of(caplog))


async def test_a_controller_that_begins_anew_twice_finds_one_set_of_slots(tmp_path: Path) -> None:
    others = children()
    async with scene() as at:
        await at.boss.hear(Idle)
        await at.give(JOB, tasks.spin, [str(tmp_path / "old")])
        await until((tmp_path / "old").exists)
        for number in range(2):
            at.boss.close()
            await at.meet(PeerId(OTHER + number), ELSEWHERE)
        await at.boss.hear(Idle)
        assert len(at.node._pool.pids) == 1
        await until(lambda: children() - others == set(at.node._pool.pids))


# --- a controller, and peers that come back by hand


@pytest.mark.parametrize("role", ["worker", "client"])
async def test_who_comes_back_with_its_cluster_is_who_it_was(role: str) -> None:
    async with controller() as server:
        first, second = [await RawPeer.join(server.address, role) for _ in range(2)]
        assert (first.peer, second.peer) == (1, 2)
        assert first.cluster != second.cluster  # nobody can come back as somebody else
        assert len(first.cluster) == 16
        first.close()
        await until(lambda: first.peer not in server._links)
        back = await RawPeer.join(server.address, role, peer=first.peer, cluster=first.cluster)
        assert (back.peer, back.cluster) == (first.peer, first.cluster)
        thief = await RawPeer.join(server.address, role, peer=second.peer, cluster=first.cluster)
        assert (thief.peer, second.peer in server._links) == (3, True)
        assert (await RawPeer.join(server.address, role)).peer == 4


@pytest.mark.parametrize("role", ["worker", "client"])
@pytest.mark.parametrize("cluster", [b"", ELSEWHERE])
async def test_who_comes_from_another_cluster_is_new(role: str, cluster: bytes) -> None:
    async with controller() as server:
        known = await RawPeer.join(server.address, role)
        stranger = await RawPeer.join(server.address, role, peer=known.peer, cluster=cluster)
        assert (known.peer, stranger.peer) == (1, 2)
        assert set(server._links) == {1, 2}


@pytest.mark.parametrize("peer", [-1, 0, 2, 1 << 40])
async def test_an_id_that_was_never_given_is_nobodys(peer: int) -> None:
    async with controller() as server:
        known = await RawPeer.join(server.address, "client")
        assert (await RawPeer.join(server.address, "client", peer=peer, cluster=known.cluster)).peer == 2


async def test_a_link_that_still_seems_to_live_is_closed_for_its_peer_that_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with controller() as server:
        old, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        job = job_of(client)
        await client.say(*whole_job(job, abs, [-1]))
        await old.say(Idle(0.0))
        work = await old.hear(SendWork)
        back = await RawPeer.join(server.address, "worker", peer=old.peer, cluster=old.cluster)
        assert back.peer == old.peer
        await old.hear_end()
        await back.say(Rejoined((job, NEW_JOB)))
        assert (await back.hear(JobEnded)).job == NEW_JOB
        await say_results(back, work, abs)
        assert await values_of(client, job) == [1]
        await client.say(Ask(1, "status", JobId(0)))
        (worker,) = json.loads((await client.hear(Answer)).facts)["workers"]
        assert worker["id"] == back.peer
        assert log_of(caplog) == []


async def test_a_client_that_is_back_hears_what_it_has_not_seen() -> None:
    async with controller() as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        job = job_of(client)
        await client.say(*introduction(job, abs), Submit(batch_of(job, abs, [-1])))
        await worker.say(Idle(0.0))
        await do_work(worker, abs)
        seen = await client.hear(Values)
        client.reset()
        back = await RawPeer.join(server.address, "client", peer=client.peer, cluster=client.cluster)
        await back.say(Attach(job, 0))
        assert await back.hear(Attached) == Attached(job, 1, closed=False, taken=0)
        assert await back.hear(Values) == seen
        await back.say(*whole_job(job, abs, [-1])[3:])
        assert await back.hear_any() == JobDone(job)


# --- what waits for the journal


class SlowJournal(Journal):
    """A journal whose thread writes only while it may."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.may_write = threading.Event()
        self.may_write.set()
        self.broken = False

    def _write(
        self, batch: list[tuple[Addition, int]], failed: Callable[[JournalError], None]
    ) -> bool:  # what it would do at once
        self.may_write.wait()
        if not self.broken:
            return super()._write(batch, failed)
        if self.problem is None:
            self.problem = "the disk is full"
            failed(JournalError("the journal cannot be written"))
        return False

    def kept(self) -> list[Record]:
        """What is on the disk."""
        with self._writing:  # the file is one thread's at a time
            return [records.decode(body) for body in self.records()]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SlowJournal]:
    made = SlowJournal(tmp_path / "state")
    yield made
    made.may_write.set()
    made.broken = False
    assert made.close(DEADLINE_S)


def kinds(kept: Sequence[Record]) -> list[type]:
    return [type(record) for record in kept]


async def hear_only(peer: RawPeer, number: int) -> list[Message]:
    """What came before the answer to a question that is asked now."""
    await peer.say(Ask(number, "report", JobId(0)))
    heard = []
    while (message := await peer.hear_next()) != Answer(number, "null"):
        assert message is not None
        heard.append(message)
    return heard


async def test_promises_are_made_when_what_they_need_is_on_the_disk(
    journal: SlowJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_EVERY", 1)
    async with controller(journal=journal) as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        job = job_of(client)
        journal.may_write.clear()
        await client.say(*whole_job(job, abs, [-1]))
        # Nothing is promised, and the work goes on.
        await worker.say(Idle(0.0))
        await do_work(worker, abs)
        await until(lambda: server._controller.job(job).state == "done")  # type: ignore[union-attr]
        assert await hear_only(client, 1) == []
        assert journal.kept() == []
        assert journal.pending_bytes > 0

        journal.may_write.set()
        assert await client.hear_next() == Submitted(job, 1)
        assert {type(await client.hear_next()) for _ in range(2)} == {Values, JobDone}
        while not isinstance(message := await worker.hear_next(), Kept):
            assert message is not None
        assert message == Kept(1)
        assert journal.pending_bytes == 0
        assert {OpenJob, Function, Submit} & set(kinds(journal.kept())) == {Function, Submit}
        assert kinds(journal.kept())[0] is records.Opened
        assert {records.Results, records.Ended} <= set(kinds(journal.kept()))

        await client.say(Taken(job, 2))
        await until(lambda: journal.kept() == [])


async def test_a_disk_that_is_full_for_a_while_costs_nothing_but_time(
    journal: SlowJournal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lbnet.journal.journal.TRY_AGAIN_S", 0.001)
    async with controller(journal=journal) as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        journal.broken = True
        await client.say(*whole_job(job_of(client), abs, [-1]))
        await worker.say(Idle(0.0))
        await do_work(worker, abs)
        await until(lambda: log_of(caplog) == ["the journal cannot be written"])
        # Who waits knows why, also one who comes now.
        assert await hear_only(client, 1) == [Notice("the journal cannot be written")]
        late = await RawPeer.join(server.address, "client")
        assert await late.hear_next() == Notice("the journal cannot be written")
        await client.say(Ask(2, "status", JobId(0)))
        assert "cannot be written (the disk is full)" in (await client.hear(Answer)).facts
        journal.broken = False
        over = Notice("the journal can be written again: what waited for it goes on")
        assert await client.hear_next() == await late.hear_next() == over
        assert await values_of(client, job_of(client)) == [1]
        assert log_of(caplog)[1:] == [over.text]


async def test_nobody_is_read_while_too_much_waits_for_the_disk_clients_first(
    journal: SlowJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOURNAL_PENDING_BYTES", 100_000)
    async with controller(journal=journal) as server:

        def is_read(peer: RawPeer) -> bool:
            reading: bool = server._links[peer.peer]._transport.is_reading()  # type: ignore[union-attr]
            return reading

        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        small, large = job_of(client, 1), job_of(client, 2)
        journal.may_write.clear()
        await client.say(*whole_job(small, abs, [-1]))
        await worker.say(Idle(0.0))
        work = await worker.hear(SendWork)
        assert is_read(client)
        await client.say(*whole_job(large, len, [bytes(200_000)]))
        await until(lambda: not is_read(client))
        assert journal.pending_bytes > limits.JOURNAL_PENDING_BYTES
        await client.say(Ask(1, "report", JobId(0)))

        # One that comes now is not read, either; workers are.
        late = await RawPeer.join(server.address, "client")
        assert not is_read(late)
        await late.say(Ask(2, "report", JobId(0)))
        await say_results(worker, work, abs)
        await worker.say(Idle(0.0))
        more_work = await worker.hear(SendWork)
        assert is_read(worker)
        # At last those are not, either.
        monkeypatch.setattr(limits, "JOURNAL_PENDING_BYTES_MAX", 100_000)
        await say_results(worker, more_work, len)
        await until(lambda: not is_read(worker))
        assert server._controller.job(small).state == "done"  # type: ignore[union-attr]
        assert not is_read(client)
        assert not is_read(late)

        journal.may_write.set()
        for peer, number in ((client, 1), (late, 2)):
            assert await peer.hear(Answer) == Answer(number, "null")
            assert is_read(peer)
        assert is_read(worker)


async def test_ids_are_not_given_again_after_a_restart(tmp_path: Path) -> None:
    given: list[int] = []
    passes: dict[int, bytes] = {}
    for _ in range(3):
        async with controller(journal=Journal(tmp_path / "state")) as server:
            back = given[:1]
            for peer in back:  # also one that was given before the restart is who it was
                assert (await RawPeer.join(server.address, "client", peer=peer, cluster=passes[peer])).peer == peer
            for _ in range(70):
                raw = await RawPeer.join(server.address, "client")
                given.append(raw.peer)
                passes[raw.peer] = raw.cluster
                await raw.say(Goodbye("bye"))
                await raw.hear_end()
                raw.close()
    assert len(set(given)) == len(given) == len(set(passes.values())) == 210


async def crash(server: ControllerServer) -> None:
    """Let a controller vanish as a process does that is killed: it says nothing, and only its journal is left."""
    server._stopped = True
    assert server._server is not None
    assert server._journal is not None
    server._server.close()
    for link in list(server._peers):
        link.abort("the controller crashed")
        await link.closed.wait()
    assert server._journal.close(DEADLINE_S)


async def test_what_slots_did_while_there_was_no_controller_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REJOIN_GRACE_S", PATIENCE_S)
    async with controller(journal=Journal(tmp_path / "state")) as first:
        client = await RawPeer.join(first.address, "client")
        job, port = job_of(client), first.address.port
        async with node(first.address, rejoin_timeout_s=PATIENCE_S) as worker:
            await client.say(*whole_job(job, tasks.after, [str(tmp_path / "go")]))
            assert await client.hear_next() == Submitted(job, 1)
            await until((tmp_path / "go.begun").exists)
            me = worker.peer
            await crash(first)
            await client.hear_end()
            (tmp_path / "go").touch()
            await until((tmp_path / "go.done").exists)
            assert worker._worker is not None
            await until(lambda: worker._worker._compute.results.size_bytes > 0)  # type: ignore[union-attr]
            async with controller(port=port, journal=Journal(tmp_path / "state")) as second:
                back = await RawPeer.join(second.address, "client", peer=client.peer, cluster=client.cluster)
                await back.say(Attach(job, 0))
                assert await back.hear(Attached) == Attached(job, 1, closed=True, taken=0)
                assert await values_of(back, job) == [[worker._pool.pids[0]]]
                assert worker.peer == me
                assert me in second._links
                await until(lambda: worker._worker._compute.results.size_bytes == 0)  # type: ignore[union-attr]


async def test_a_controller_that_was_started_again_asks_when_all_who_were_there_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REJOIN_GRACE_S", PATIENCE_S)
    async with controller(journal=Journal(tmp_path / "state")) as first:
        client = await RawPeer.join(first.address, "client")
        one, other, gone = [await RawPeer.join(first.address, "worker") for _ in range(3)]
        await client.say(*whole_job(job_of(client), abs, [1]))
        assert await client.hear_next() == Submitted(job_of(client), 1)
        gone.close()
        await until(lambda: gone.peer not in first._links)
        await crash(first)
        async with controller(port=first.address.port, journal=Journal(tmp_path / "state")) as second:
            back = [
                await RawPeer.join(second.address, "worker", peer=was.peer, cluster=was.cluster) for was in (one, other)
            ]
            for worker in back:
                await worker.hear(AskInventory)


async def test_who_does_not_come_back_in_time_is_not_waited_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with controller(journal=Journal(tmp_path / "state")) as first:
        one, other = [await RawPeer.join(first.address, "worker") for _ in range(2)]
        await crash(first)
    monkeypatch.setattr(limits, "REJOIN_GRACE_S", 0.05)
    journal = Journal(tmp_path / "state")
    journal.roster.came(one.peer)
    journal.roster.came(other.peer)
    async with controller(journal=journal) as second:
        back = await RawPeer.join(second.address, "worker", peer=one.peer, cluster=one.cluster)
        await until(lambda: journal.roster.there == {back.peer})
