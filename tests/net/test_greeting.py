"""How a link begins: who is let in, who is told why not, and what is found when it is not lbnet that answers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits
from lbnet.errors import ConnectError
from lbnet.net.greeting import MAGIC, Reception, connect, hello, printable, refusal
from lbnet.net.link import Link
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    SAID_BY,
    Ack,
    Goodbye,
    Hello,
    JobDone,
    Message,
    Refused,
    Welcome,
)
from lbnet.types import Address, JobId, PeerId
from tests.net.cluster import RawPeer, frames, listener, until

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ROLES = frozenset({"worker", "client", "peer"})
LONG_S = 20.0
SHORT_S = 0.1


class Caller:
    """Calls ``connect``, and remembers what came of it."""

    def __init__(self) -> None:
        self.welcomes: list[Welcome] = []
        self.heard: list[Message] = []
        self.closed: list[str] = []
        self.link: Link | None = None

    async def connect(
        self, address: Address, timeout_s: float = LONG_S, greeting: Callable[[Link], Hello] | None = None
    ) -> None:
        def on_welcome(link: Link, welcome: Welcome) -> None:
            self.link = link
            self.welcomes.append(welcome)

        await connect(
            address,
            greeting or (lambda _: hello("client", name="me")),
            may_say=SAID_BY["controller-to-client"],
            on_welcome=on_welcome,
            on_message=lambda _, message: self.heard.append(message),
            on_closed=lambda _, reason: self.closed.append(reason),
            timeout_s=timeout_s,
        )

    async def fails(self, address: Address, timeout_s: float = LONG_S) -> str:
        """The sentence of the error."""
        with pytest.raises(ConnectError) as caught:
            await self.connect(address, timeout_s)
        assert (self.welcomes, self.heard, self.closed) == ([], [], [])
        return str(caught.value)


WELCOME = Welcome(MAGIC, PROTOCOL_VERSION, PeerId(7), "here:1")

# --- our own HELLO, and those of others


def test_our_own_hello_is_accepted_by_ourselves() -> None:
    assert refusal(hello("client", name="x"), ROLES) is None
    assert refusal(hello("worker", name="", slots=2, port=9), ROLES) is None
    assert refusal(hello("peer", name="", peer=PeerId(3)), ROLES) is None
    assert len(hello("client", name="n" * 1000).name) == limits.OUTPUT_NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"magic": "dask"}, "this is lbnet; you speak something else"),
        ({"version": PROTOCOL_VERSION + 1}, f"yours is {PROTOCOL_VERSION + 1}: install the same lbnet"),
        ({"role": "king"}, "role 'king' is not accepted here"),
        ({"role": ""}, "role '' is not accepted here"),
        ({"role": "worker\n" * 9000}, r"role 'worker\\nwork"),
        ({"slots": 0}, f"a worker has 1 to {limits.SLOTS_MAX} slots, not 0"),
        ({"slots": -1}, "slots, not -1"),
        ({"slots": limits.SLOTS_MAX + 1}, f"slots, not {limits.SLOTS_MAX + 1}"),
        ({"port": 0}, "a worker listens at a port from 1 to 65535, not 0"),
        ({"port": 65_536}, "not 65536"),
        ({"role": "peer", "peer": 0}, "0 is not the id of a worker"),
        ({"role": "peer", "peer": -4}, "-4 is not the id of a worker"),
    ],
)
def test_a_hello_that_cannot_be_is_refused_with_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    reason = refusal(dataclasses.replace(hello("worker", name="w", slots=1, port=1), **wrong), ROLES)
    assert reason is not None
    assert re.search(sentence, reason)
    assert len(reason) < 200


@given(text=st.text(max_size=400))
def test_what_a_peer_says_is_shown_on_one_line(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= limits.OUTPUT_NAME_CHARS_MAX
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


# --- calling


async def test_a_welcome_opens_the_link_before_anything_else_is_delivered() -> None:
    caller = Caller()
    async with listener() as (address, accept):
        calling = asyncio.create_task(caller.connect(address))
        raw = await accept()
        assert (await raw.hear(Hello)).role == "client"
        await raw.say(WELCOME, JobDone(JobId(1)))
        await calling
        await until(lambda: caller.heard == [JobDone(JobId(1))])
        assert caller.welcomes == [WELCOME]
        await raw.say(JobDone(JobId(2)))
        raw.close()
        await until(lambda: bool(caller.closed))
        assert caller.heard == [JobDone(JobId(1)), JobDone(JobId(2))]
        assert caller.closed == ["the peer closed the connection"]


async def test_a_second_welcome_breaks_the_protocol() -> None:
    caller = Caller()
    async with listener() as (address, accept):
        calling = asyncio.create_task(caller.connect(address))
        raw = await accept()
        await raw.say(WELCOME, WELCOME)
        await calling
        await until(lambda: bool(caller.closed))
        assert caller.closed == ["it broke the protocol: Welcome may not be said here"]
        assert caller.welcomes == [WELCOME]


async def test_nothing_listens() -> None:
    async with listener() as (address, _):
        pass
    sentence = await Caller().fails(address)
    assert sentence == f"nothing answers at {address} (Connection refused): is an lbnet controller running there?"


@pytest.mark.parametrize("address", [Address("127.0.0.1", 99_999), Address("no\0host", 1), Address("x" * 300, 1)])
async def test_an_address_that_cannot_be(address: Address) -> None:
    assert (await Caller().fails(address)).startswith(f"nothing answers at {address} (")


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
RANDOM = random.Random(3).randbytes(500)

STRANGERS = {
    "an HTTP server": (HTTP, "it broke the protocol: the peer announced a frame of 1,213,486,160 bytes"),
    "random bytes": (RANDOM, "it broke the protocol"),
    "zeros": (bytes(100), "it broke the protocol: a frame of 0 bytes is not msgpack"),
    "no greeting": (frames(Ack(1)), "it broke the protocol: Ack may not be said here"),
    "hello": (frames(hello("client", name="")), "it answered with Hello"),
    "other magic": (frames(dataclasses.replace(WELCOME, magic="dask")), "it answered with Welcome"),
}


@pytest.mark.parametrize(("answer", "sentence"), STRANGERS.values(), ids=STRANGERS)
async def test_something_else_answers(answer: bytes, sentence: str) -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().fails(address))
        raw = await accept()
        await raw.write(answer)
        assert (await calling).startswith(f"{address} is not an lbnet controller: {sentence}")
        await raw.hear_end()


async def test_an_echo_answers() -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().fails(address))
        raw = await accept()
        await raw.say(await raw.hear(Hello))
        assert await calling == f"{address} is not an lbnet controller: it answered with Hello"


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_what_answers_hangs_up(end: str) -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().fails(address))
        getattr(await accept(), end)()
        assert (await calling).startswith(f"{address} is not an lbnet controller: the ")


async def test_a_refusal_says_why_on_one_line() -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().fails(address))
        raw = await accept()
        await raw.say(Refused("you are\nnot {welcome}"), WELCOME)
        raw.close()
        assert await calling == f"{address} refused us: you are?not {{welcome}}"


async def test_another_version_says_what_to_do() -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().fails(address))
        await (await accept()).say(dataclasses.replace(WELCOME, version=PROTOCOL_VERSION + 1))
        assert await calling == (
            f"{address} speaks protocol version {PROTOCOL_VERSION + 1}, here it is {PROTOCOL_VERSION}: "
            "install the same lbnet"
        )


async def test_silence_ends_with_the_time_limit() -> None:
    async with listener() as (address, _):
        sentence = await Caller().fails(address, SHORT_S)
        assert sentence == (
            f"{address} is not an lbnet controller: it accepted the connection and said nothing within {SHORT_S:g} s"
        )


async def test_a_controller_that_is_still_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its socket is bound already, so the connection is open long before anybody says something.
    monkeypatch.setattr(limits, "GREETING_TIMEOUT_S", SHORT_S)
    caller = Caller()
    async with listener() as (address, accept):
        calling = asyncio.create_task(caller.connect(address))
        raw = await accept()
        _, waiting = await asyncio.wait([calling], timeout=2 * SHORT_S)
        assert waiting
        await raw.say(WELCOME)
        await calling
        assert caller.link is not None
        caller.link.abort("the test is over")


@pytest.mark.parametrize("error", [OSError(98, "no port is left"), RuntimeError("a bug")])
async def test_a_greeting_that_cannot_be_made_leaves_no_link(error: Exception) -> None:
    def greeting(link: Link) -> Hello:
        raise error

    async with listener() as (address, accept):
        with pytest.raises(ConnectError if isinstance(error, OSError) else RuntimeError):
            await Caller().connect(address, greeting=greeting)
        assert await (await accept()).hear_end() == []


async def test_who_is_cancelled_while_it_connects_leaves_no_link() -> None:
    async with listener() as (address, accept):
        calling = asyncio.create_task(Caller().connect(address))
        raw = await accept()
        await raw.hear(Hello)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert await raw.hear_end() == []


# --- being called


class House:
    """A reception, and what passes it."""

    def __init__(self) -> None:
        self.admitted: list[Hello] = []
        self.heard: list[Message] = []
        self.closed: list[str] = []
        self.full = ""
        self.links: list[Link] = []
        self.address = Address("", 0)
        self.reception = Reception(
            roles=frozenset({"client"}),
            admit=self._admit,
            on_message=lambda _, message: self.heard.append(message),
            on_closed=lambda _, reason: self.closed.append(reason),
            log=logging.getLogger("lbnet.house"),
        )

    def _admit(self, link: Link, message: Hello) -> str | None:
        if self.full:
            return self.full
        self.admitted.append(message)
        self.links.append(link)
        link.greet(SAID_BY["client"])
        link.send(WELCOME)
        return None


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    server = made.reception.listen(socket.create_server(("127.0.0.1", 0)))
    made.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    yield made
    server.close()
    await made.reception.close()
    for link in made.links:
        link.abort("the test is over")
        await link.closed.wait()


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [re.sub(r"^127\.0\.0\.1:\d+ ", "", record.getMessage()) for record in caplog.records]


async def test_who_says_hello_is_let_in_and_heard(house: House, caplog: pytest.LogCaptureFixture) -> None:
    raw = await RawPeer.join(house.address, "client", name="me")
    await raw.say(Goodbye("bye"))
    raw.close()
    await until(lambda: bool(house.closed))
    assert [message.name for message in house.admitted] == ["me"]
    assert (house.heard, log_of(caplog)) == ([Goodbye("bye")], [])


async def test_who_is_not_welcome_is_told_why_and_hears_no_more(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.full = "the house is full"
    welcome, king = hello("client", name=""), hello("king", name="")
    for said, reason in ((king, "role 'king' is not accepted here"), (welcome, "the house is full")):
        caplog.clear()
        raw = await RawPeer.open(house.address)
        await raw.say(said, welcome, welcome)
        assert await raw.hear_end() == [Refused(reason)]
        raw.close()
        await until(lambda: bool(caplog.records))
        assert log_of(caplog) == [f"did not join: it was refused: {reason}"]
    assert (house.admitted, house.heard, house.closed) == ([], [], [])


UNINVITED = {
    "an HTTP client": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a TLS client": bytes.fromhex("16030100f1010000ed0303"),
    "no greeting": frames(Ack(1)),
    "a welcome": frames(WELCOME),
    "random bytes": RANDOM,
}


@pytest.mark.parametrize("data", UNINVITED.values(), ids=UNINVITED)
async def test_something_else_calls(house: House, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    raw = await RawPeer.open(house.address)
    await raw.write(data)
    assert await raw.hear_end() == []
    raw.close()
    await until(lambda: bool(caplog.records))
    assert len(caplog.records) == 1
    assert log_of(caplog)[0].startswith("did not join: it broke the protocol: ")


async def test_who_says_hello_twice_is_put_out(house: House) -> None:
    raw = await RawPeer.join(house.address, "client")
    await raw.say(hello("client", name=""))
    assert await raw.hear_end() == []
    raw.close()
    await until(lambda: house.closed == ["it broke the protocol: Hello may not be said here"])
    assert len(house.admitted) == 1


async def test_who_says_nothing_is_dropped(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GREETING_TIMEOUT_S", 0.05)
    raw, half = await RawPeer.open(house.address), await RawPeer.open(house.address)
    await half.write(frames(hello("client", name=""))[:-1])
    assert (await raw.hear_end(), await half.hear_end()) == ([], [])
    raw.close()
    half.close()
    await until(lambda: len(caplog.records) == 2)
    assert log_of(caplog) == ["did not join: it said nothing for 0.05 s"] * 2


async def test_who_came_in_is_not_dropped_for_silence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GREETING_TIMEOUT_S", 0.3)
    raw, silent = await RawPeer.join(house.address, "client"), await RawPeer.open(house.address)
    assert await silent.hear_end() == []  # its time, which began later, is over
    silent.close()
    assert house.closed == []
    raw.close()


async def test_who_vanishes_is_one_line_each(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        gone, reset = await RawPeer.open(house.address), await RawPeer.open(house.address)
        gone.close()
        reset.reset()
    await until(lambda: len(caplog.records) >= 20)
    raw = await RawPeer.join(house.address, "client")  # by now all of them have been seen
    raw.close()
    await until(lambda: bool(house.closed))
    assert len(caplog.records) <= 40
    for line in log_of(caplog):
        assert line.startswith(("did not join: the ", "? did not join: the ", "?:0 did not join: the "))


async def test_a_closed_reception_turns_all_away_without_a_word_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, inside = await RawPeer.open(house.address), await RawPeer.join(house.address, "client")
    await house.reception.close()
    late = await RawPeer.open(house.address)
    assert (await waiting.hear_end(), await late.hear_end()) == ([], [])
    assert (house.closed, log_of(caplog)) == ([], [])
    for raw in (waiting, inside, late):
        raw.close()
