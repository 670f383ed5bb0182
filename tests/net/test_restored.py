"""What a controller finds in its journal, and who it then believes to have been here before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from lbnet import limits
from lbnet.core.controller import Controller
from lbnet.errors import JournalError
from lbnet.journal.journal import Journal
from lbnet.journal.store import Addition
from lbnet.net.controller_server import ControllerServer, pass_of
from lbnet.net.greeting import hello
from lbnet.net.restored import Restored, restore, state_of
from lbnet.protocol.messages import Answer, Ask, Attach, Attached, CloseJob, Function, Submit, Taken, Welcome
from lbnet.protocol.records import Opened, Record, encode
from lbnet.strategies import registry
from lbnet.types import Address, JobId, JobOptions, PeerId
from tests.net.cluster import RawPeer, batch_of, introduction

pytestmark = pytest.mark.usefixtures("nothing_is_left")

JOB, CLIENT = JobId((1 << 24) + 1), PeerId(1)


def new_core(*, journal: bool = True) -> Controller:
    return Controller(registry.load, strategy="sb", placement="spread", journal=journal)


def kept(directory: Path, *found: Record | bytes) -> None:
    """A journal of one job that ended in good order."""
    journal = Journal(directory)
    journal.start(lambda count: None, lambda error: None)
    bodies = [record if isinstance(record, bytes) else encode(record) for record in found]
    journal.append(Addition(JOB, tuple(bodies), whole=False))
    assert journal.close(10)


def beginning() -> list[Record]:
    """Three items, all of them submitted."""
    _, function = introduction(JOB, abs)
    assert isinstance(function, Function)
    opened = Opened(JOB, CLIENT, 1, JobOptions(placement="spread", strategy="sb"), 0.0, 0)
    return [opened, function, Submit(batch_of(JOB, abs, [1, 2, 3])), CloseJob(JOB, 3)]


@contextlib.asynccontextmanager
async def served(directory: Path | None) -> AsyncIterator[ControllerServer]:
    """A controller with the journal in a directory, restored; or one without a journal."""
    journal = None if directory is None else Journal(directory)
    core = new_core(journal=journal is not None)
    if journal is not None:
        restore(core, journal, asyncio.get_running_loop().time())
    server = ControllerServer(core, None, journal)
    try:
        await server.start("127.0.0.1", 0)
        yield server
    finally:
        await server.stop()


# --- what is found --------------------------------------------------------------------------------


async def test_jobs_and_what_is_left_of_them_are_counted(tmp_path: Path) -> None:
    kept(tmp_path, *beginning())
    journal, core = Journal(tmp_path), new_core()
    assert restore(core, journal, 0.0) == Restored(tmp_path, 1, 3, 0)
    journal.close(10)
    assert [job.id for job in core.jobs()] == [JOB]


async def test_nothing_is_found_in_a_new_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert restore(new_core(), journal, 0.0) == Restored(tmp_path, 0, 0, 0)
    journal.close(10)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "record 5 of the journal in .* is none of this lbnet"),
        (b"\x91\xcd\x03\xe8", "record 5 of the journal in .* is none of this lbnet"),
        (encode(Taken(JobId(99), 1)), "a Taken of job 99, and not the beginning of that job"),
    ],
)
async def test_what_cannot_be_understood_is_named(tmp_path: Path, body: bytes, said: str) -> None:
    kept(tmp_path, *beginning(), body)
    journal = Journal(tmp_path)
    with pytest.raises(JournalError, match=said):
        restore(new_core(), journal, 0.0)
    journal.close(10)


async def test_a_client_that_is_back_is_given_its_job(tmp_path: Path) -> None:
    kept(tmp_path, *beginning())
    reserved = Journal(tmp_path)
    assert reserved.reserve_peers(1) == CLIENT
    cluster = reserved.cluster
    reserved.close(10)
    async with served(tmp_path) as server:
        client, welcome = await greeted(server.address, "client", CLIENT, pass_of(cluster, CLIENT))
        assert welcome.peer == CLIENT
        await client.say(Attach(JOB, 0))
        assert await client.hear(Attached) == Attached(JOB, 3, True, 0)


# --- who is believed ------------------------------------------------------------------------------


async def greeted(address: Address, role: str, peer: int, cluster: bytes) -> tuple[RawPeer, Welcome]:
    """A peer that says who it was."""
    raw = await RawPeer.open(address)
    await raw.say(hello(role, name="", slots=1, port=1, peer=PeerId(peer), cluster=cluster))
    welcome = await raw.hear(Welcome)
    raw.peer = welcome.peer
    return raw, welcome


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("role", ["worker", "client"])
async def test_an_id_that_was_never_given_is_not_believed(tmp_path: Path, journal: bool, role: str) -> None:
    async with served(tmp_path if journal else None) as server:
        first = await RawPeer.join(server.address, "worker")
        nevers = (first.peer + 1000, limits.PEERS_MAX, -1)
        given = [
            (await greeted(server.address, role, never, pass_of(server._cluster, PeerId(max(never, 0)))))[1].peer
            for never in nevers
        ]
        assert len({first.peer, *given}) == 4
        assert not set(given) & set(nevers)
        assert list(server._links) == [first.peer, *given]


async def test_a_peer_of_an_earlier_life_is_believed_and_no_id_is_given_twice(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        before = [(await RawPeer.join(server.address, "worker")).peer for _ in range(3)]
        cluster = server._cluster
    async with served(tmp_path) as server:
        assert server._cluster == cluster
        fresh = await RawPeer.join(server.address, "worker")
        assert fresh.peer not in before
        for peer in before:
            _, welcome = await greeted(server.address, "worker", peer, pass_of(cluster, peer))
            assert (welcome.peer, welcome.cluster) == (peer, pass_of(cluster, peer))


async def test_a_copy_of_an_older_state_does_not_believe_ids_that_were_given_since(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        older = (await RawPeer.join(server.address, "worker")).peer
        cluster = server._cluster
    async with served(tmp_path) as server:
        _, welcome = await greeted(server.address, "worker", 10_000, pass_of(cluster, PeerId(10_000)))
        assert welcome.peer != 10_000
        _, welcome = await greeted(server.address, "worker", older, pass_of(cluster, older))
        assert welcome.peer == older


async def test_without_a_journal_nobody_of_an_earlier_life_is_believed() -> None:
    async with served(None) as server:
        known = await RawPeer.join(server.address, "worker")
    async with served(None) as server:
        _, welcome = await greeted(server.address, "worker", known.peer, known.cluster)
        assert welcome.cluster != known.cluster


# --- what status says -----------------------------------------------------------------------------


class Full:
    """Stands in for a journal on a full disk."""

    directory = Path("/state")
    problem: str | None = "database or disk is full"
    size_bytes = 3_210_000
    pending_bytes = 1_500_000


def test_status_says_where_it_is_or_what_is_wrong() -> None:
    full = Full()
    text = "/state cannot be written (database or disk is full): 1.5 MB wait, and results are held back"
    assert state_of(cast(Journal, full)) == text
    full.problem = None
    assert state_of(cast(Journal, full)) == "/state (3.2 MB)"
    assert state_of(None) == "off"


@pytest.mark.parametrize("journal", [True, False])
async def test_whoever_asks_for_the_status_is_told_of_the_journal(tmp_path: Path, journal: bool) -> None:
    async with served(tmp_path if journal else None) as server:
        client = await RawPeer.join(server.address, "client")
        await client.say(Ask(1, "status", JobId(0)))
        facts = (await client.hear(Answer)).facts
    assert (f'"journal": "{tmp_path} (' in facts) == journal
    assert ('"journal": "off"' in facts) != journal
