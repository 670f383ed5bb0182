"""The controller on a real network, with peers that speak by hand."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace

import pytest

from lbnet import limits
from lbnet.errors import UsageError
from lbnet.net.greeting import hello
from lbnet.protocol.codec import encode
from lbnet.protocol.digest import digest_of
from lbnet.protocol.framing import frame
from lbnet.protocol.messages import (
    Ack,
    Answer,
    Ask,
    AskInventory,
    Function,
    Goodbye,
    Idle,
    Inventory,
    JobDone,
    JobEnded,
    Notice,
    OpenJob,
    Refused,
    SendWork,
    Submit,
    Values,
    Welcome,
)
from lbnet.types import Address, JobId, JobOptions
from tests.net.cluster import (
    RawPeer,
    batch_of,
    controller,
    do_work,
    frames,
    introduction,
    job_of,
    say_results,
    until,
    values_of,
    whole_job,
)

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- listening


async def test_port_0_is_any_free_port() -> None:
    async with controller() as one, controller() as other:
        assert one.address.host == "127.0.0.1"
        assert 0 < one.address.port != other.address.port > 0


async def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    async with controller() as one:
        port = one.address.port
        with pytest.raises(UsageError) as caught:
            async with controller(port=port):
                pass
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use): another program listens there; "
        "choose another --port, or 0 for any"
    )


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99_999), ("no.such.host.invalid", 0), ("192.0.2.1", 0)])
async def test_an_address_that_cannot_be_listened_on_is_said_in_a_sentence(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=rf"^cannot listen on {host}:{port} \(.*\): check --host and --port$"):
        async with controller(host, port):
            pass


async def test_a_port_is_free_again_when_the_controller_has_stopped() -> None:
    async with controller() as one:
        port = one.address.port
        raw = await RawPeer.join(one.address, "client")
    raw.close()
    async with controller(port=port) as other:
        assert other.address.port == port


async def test_it_listens_on_ipv6() -> None:
    async with controller("::1") as server:
        assert str(server.address) == f"[::1]:{server.address.port}"
        client = await RawPeer.join(server.address, "client")
        await client.say(Ask(1, "status", JobId(0)))
        assert (await client.hear(Answer)).request == 1
        client.close()


async def test_it_takes_over_a_socket_that_is_bound_and_those_who_wait_there() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = Address(*listening.getsockname())
    early = await RawPeer.open(address)
    await early.say(hello("client", name="early"), Ask(1, "status", JobId(0)))
    async with controller(listening=listening) as server:
        assert server.address == address
        assert (await early.hear(Answer)).request == 1
    early.close()


# --- stopping


async def test_stop_says_goodbye_to_all_and_closes_all(caplog: pytest.LogCaptureFixture) -> None:
    async with controller() as server:
        worker = await RawPeer.join(server.address, "worker")
        client = await RawPeer.join(server.address, "client")
        silent = await RawPeer.open(server.address)
        await client.say(*whole_job(job_of(client), abs, [-1, -2]))
        await worker.say(Idle(0.0))
        await worker.hear(SendWork)
    for raw in (worker, client):
        assert await raw.hear_end() == [Goodbye("the controller was stopped")]
        raw.close()
    assert await silent.hear_end() == []
    silent.close()
    assert log_of(caplog) == []


async def test_stop_does_not_wait_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STOP_TIMEOUT_S", 0.05)
    async with controller() as server:
        worker = await RawPeer.join(server.address, "worker")
        client = await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), len, [bytes(20_000_000)]))
        await worker.say(Idle(0.0))
        await until(lambda: any(link._transport.get_write_buffer_size() > 0 for link in server._peers))  # type: ignore[union-attr]
    worker.close()
    client.close()


# --- jobs


async def test_a_job_goes_from_client_to_worker_and_back() -> None:
    async with controller() as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), abs, [-1]))
        await worker.say(Idle(0.0))
        await do_work(worker, abs)
        assert await values_of(client, job_of(client)) == [1]
        worker.close()
        client.close()


@pytest.mark.parametrize("end", ["close", "reset", "goodbye"])
async def test_a_client_that_is_gone_has_its_jobs_cancelled(end: str, caplog: pytest.LogCaptureFixture) -> None:
    async with controller(client_grace_s=0.0 if end != "goodbye" else 60.0) as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), abs, [-1, -2]))
        await worker.say(Idle(0.0))
        await worker.hear(SendWork)
        if end == "goodbye":
            await client.say(Goodbye("I have what\nI need"))
            assert await client.hear_end() == []
            client.close()
        else:
            getattr(client, end)()
        assert (await worker.hear(JobEnded)).job == job_of(client)
        assert len(log_of(caplog)) == (end != "goodbye")
        worker.close()


async def test_no_worker_comes_back_and_the_job_fails_on_time() -> None:
    async with controller(no_workers_timeout_s=0.05) as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), abs, [-1]))
        await client.say(Ask(1, "status", JobId(0)))
        await client.hear(Answer)
        worker.close()
        assert (await client.hear(JobDone)).job == job_of(client)
        client.close()


# --- peers that misbehave

BAD = {
    "no msgpack": frame(b"\xc1\xc1"),
    "oversized": b"\x7f\xff\xff\xff",
    "unknown kind": frame(b"\x91\x7f"),
    "malformed": frame(encode(Ack(1)) + b"\x00"),
    "another role's word": frames(Idle(0.0)),
    "hello again": frames(hello("client", name="")),
    "somebody else's job": frames(OpenJob(JobId(5), JobOptions())),
    "work without a job": frames(Submit(batch_of(JobId(5), abs, [1]))),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_a_bad_frame_ends_one_link_and_disturbs_nobody_else(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with controller() as server:
        worker = await RawPeer.join(server.address, "worker")
        bad = await RawPeer.join(server.address, "client")
        good = await RawPeer.join(server.address, "client")
        job = job_of(good)
        await good.say(*introduction(job, abs))
        # What follows the bad frame in the same piece must not count any more.
        await bad.write(data + frames(Ask(1, "status", JobId(0))) + data)
        assert await bad.hear_end() == []
        bad.close()
        await good.say(*whole_job(job, abs, [-3])[2:])
        await worker.say(Idle(0.0))
        await do_work(worker, abs)
        assert await values_of(good, job) == [3]
        assert len(log_of(caplog)) == 1
        assert f"peer {bad.peer} (127.0.0.1:" in log_of(caplog)[0]
        assert ") is gone: it broke the protocol: " in log_of(caplog)[0]
        good.close()
        worker.close()


async def test_a_bad_worker_is_gone_and_its_work_done_by_another(caplog: pytest.LogCaptureFixture) -> None:
    async with controller() as server:
        bad = await RawPeer.join(server.address, "worker", name="bad")
        client = await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), abs, [-1]))
        await bad.say(Idle(0.0))
        await bad.hear(SendWork)
        await bad.say(OpenJob(JobId(1), JobOptions()))
        good = await RawPeer.join(server.address, "worker", name="good")
        await good.say(Idle(0.0))
        await bad.hear_end()
        await good.say(Inventory((await good.hear(AskInventory)).round, ()))
        await do_work(good, abs)
        assert await values_of(client, job_of(client)) == [1]
        assert len(log_of(caplog)) == 1
        for raw in (bad, good, client):
            raw.close()


async def test_what_is_said_after_goodbye_does_not_count() -> None:
    async with controller() as server:
        client = await RawPeer.join(server.address, "client")
        await client.say(Goodbye("bye"), Ask(1, "status", JobId(0)))
        assert await client.hear_end() == []
        client.close()


async def test_names_are_made_fit_to_be_shown() -> None:
    async with controller() as server:
        worker = await RawPeer.open(server.address)
        odd = "\x1b[31mred\n" + "x" * 999
        await worker.say(replace(hello("worker", name="", slots=1, port=1), name=odd, host="a\nb"))
        await worker.hear(Welcome)
        client = await RawPeer.join(server.address, "client")
        await client.say(Ask(1, "status", JobId(0)))
        facts = (await client.hear(Answer)).facts
        assert '"?[31mred?xxx' in facts
        assert '"a?b"' in facts
        assert len(facts) < 1_000
        worker.close()
        client.close()


async def test_ids_are_given_out_once_each_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "PEERS_MAX", 3)
    async with controller() as server:
        peers = []
        for _ in range(2):
            raw = await RawPeer.join(server.address, "client")
            peers.append(raw.peer)
            await raw.say(Goodbye("bye"))
            await raw.hear_end()
            raw.close()
        assert peers == [1, 2]
        late = await RawPeer.open(server.address)
        await late.say(hello("client", name=""))
        refused = await late.hear(Refused)
        assert "start it anew" in refused.reason
        late.close()
        await until(lambda: len(log_of(caplog)) == 1)


# --- backpressure

SMALL_BYTES = 16 << 10


async def flood(client: RawPeer, asks: int) -> None:
    """Ask and ask, in pieces, without reading an answer."""
    for start in range(0, asks, 500):
        await client.say(*(Ask(number, "report", JobId(1)) for number in range(start, min(start + 500, asks))))


async def flooded(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A socket to listen on whose connections have small buffers everywhere."""
    monkeypatch.setattr(limits, "LINK_BUFFER_HIGH_BYTES", SMALL_BYTES)
    listening = socket.socket()
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        listening.setsockopt(socket.SOL_SOCKET, option, SMALL_BYTES)
    listening.bind(("127.0.0.1", 0))
    return listening


async def test_a_client_that_does_not_read_is_not_read_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = 50_000
    async with controller(listening=await flooded(monkeypatch)) as server:
        slow = await RawPeer.join(server.address, "client", kernel_bytes=SMALL_BYTES)
        transport = next(iter(server._peers))._transport
        assert transport is not None
        flooding = asyncio.create_task(flood(slow, asks))
        await until(lambda: not transport.is_reading())  # type: ignore[union-attr]

        other = await RawPeer.join(server.address, "client")
        for number in range(50):
            await other.say(Ask(number, "report", JobId(1)))
            assert (await other.hear(Answer)).request == number
            assert not transport.is_reading()
        unsent_bytes = transport.get_write_buffer_size()
        assert SMALL_BYTES // 4 <= unsent_bytes < 2_000_000
        assert not flooding.done()

        for number in range(asks):
            assert await slow.hear_any() == Answer(number, "null")
        await flooding
        slow.close()
        other.close()


async def test_a_client_that_submits_too_much_is_not_read_until_half_of_it_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INPUTS_BYTES_MAX", 100_000)
    monkeypatch.setattr(limits, "INPUTS_LOOK_BYTES", 10_000)
    async with controller() as server:

        def is_read(peer: RawPeer) -> bool:
            reading: bool = server._links[peer.peer]._transport.is_reading()  # type: ignore[union-attr]
            return reading

        worker = await RawPeer.join(server.address, "worker")
        client, other = await RawPeer.join(server.address, "client"), await RawPeer.join(server.address, "client")
        jobs = [job_of(client, number) for number in (1, 2, 3)]
        for job in jobs[:2]:
            await client.say(*whole_job(job, len, [bytes(60_000)]))
        notice = await client.hear(Notice)
        assert "inputs wait for their tasks" in notice.text
        assert not is_read(client)
        await client.say(*whole_job(jobs[2], len, [b"small"]))
        await other.say(Ask(1, "report", JobId(0)))
        assert await other.hear(Answer) == Answer(1, "null"), "others are heard"
        await worker.say(Idle(0.0))
        await do_work(worker, len)
        await until(lambda: server._controller.input_bytes < 100_000)
        assert not is_read(client), "not until half is done"
        await worker.say(Idle(0.0))
        await do_work(worker, len)
        await until(lambda: is_read(client))
        await worker.say(Idle(0.0))
        await do_work(worker, len)
        assert [await values_of(client, job) for job in jobs] == [[60_000], [60_000], [5]]


async def test_a_client_is_read_again_when_its_job_ends_though_nobody_says_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INPUTS_BYTES_MAX", 100_000)
    monkeypatch.setattr(limits, "INPUTS_LOOK_BYTES", 10_000)
    async with controller(no_workers_timeout_s=0.2) as server:
        worker, client = await RawPeer.join(server.address, "worker"), await RawPeer.join(server.address, "client")
        await client.say(*whole_job(job_of(client), len, [bytes(200_000)]))
        await client.hear(Notice)
        await worker.say(Goodbye("bye"))
        await client.hear(JobDone)
        await client.say(Ask(1, "report", JobId(0)))
        assert await client.hear(Answer) == Answer(1, "null")


async def test_a_client_that_is_not_read_can_still_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with controller(listening=await flooded(monkeypatch), client_grace_s=0.0) as server:
        worker = await RawPeer.join(server.address, "worker")
        client = await RawPeer.join(server.address, "client", kernel_bytes=SMALL_BYTES)
        link = server._links[client.peer]
        await client.say(*whole_job(job_of(client), abs, [-1]))
        await worker.say(Idle(0.0))
        await worker.hear(SendWork)
        flooding = asyncio.create_task(flood(client, 100_000))
        await until(lambda: not link._transport.is_reading())  # type: ignore[union-attr]
        flooding.cancel()
        await asyncio.wait([flooding])
        client.close()
        assert (await worker.hear(JobEnded)).job == job_of(client)
        worker.close()


async def test_a_worker_that_does_not_read_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its results must not wait behind the work that is on its way to it.
    async with controller(listening=await flooded(monkeypatch)) as server:
        worker = await RawPeer.join(server.address, "worker", kernel_bytes=SMALL_BYTES)
        client = await RawPeer.join(server.address, "client")
        small, large = job_of(client, 1), job_of(client, 2)
        await client.say(*whole_job(small, abs, [-1]))
        await worker.say(Idle(0.0))
        work = await worker.hear(SendWork)
        await client.say(*whole_job(large, len, [bytes(5_000_000)]))
        await worker.say(Idle(0.0))
        link = server._links[worker.peer]
        await until(lambda: link._transport.get_write_buffer_size() > SMALL_BYTES)  # type: ignore[union-attr]
        functions = [bytes([number]) * 1000 for number in range(100)]
        await worker.say(*(Function(small, digest_of(data), data) for data in functions))
        await say_results(worker, work, abs)
        assert (await client.hear(Values)).job == small
        worker.close()
        client.close()


@pytest.mark.parametrize("role", ["client", "worker"])
async def test_a_function_that_is_not_what_its_digest_says_ends_the_link(
    role: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with controller() as server:
        peer = await RawPeer.join(server.address, role)
        await peer.say(Function(job_of(peer), digest_of(b"code"), b"other code"))
        await peer.hear_end()
        assert "a function of 10 bytes came that is not what its digest says" in caplog.text
