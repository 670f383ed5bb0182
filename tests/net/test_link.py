"""A link alone: what is written and when, what may be said, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet import limits
from lbnet.errors import RemoteProtocolError
from lbnet.net import link as link_module
from lbnet.net.link import Link, check_port, say_goodbye, words
from lbnet.protocol.codec import encode
from lbnet.protocol.framing import frame
from lbnet.protocol.messages import SAID_BY, Ack, Function, Goodbye, Idle, Message, NonIdle, Refused, Result
from lbnet.types import Address, JobId
from tests.net.cluster import RawPeer, frames, until

pytestmark = pytest.mark.usefixtures("nothing_is_left")

WORKER_SAYS = SAID_BY["worker"]


class FakeTransport(asyncio.Transport):
    """Remembers what is written; nothing ever leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.state = "open"
        self.reading = True
        self.high = 0
        self.taken_bytes = 0

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes)) - self.taken_bytes

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Ends:
    """A link on a fake transport, what it heard, and why it was closed."""

    def __init__(self, may_say: frozenset[type[Message]] | None = WORKER_SAYS, *, throttled: bool = False) -> None:
        self.heard: list[Message] = []
        self.closed: list[str] = []
        self.transport = FakeTransport()
        self.link = Link(lambda _, message: self.heard.append(message), lambda _, reason: self.closed.append(reason))
        self.link.connection_made(self.transport)
        if may_say is not None:
            self.link.greet(may_say, throttled=throttled)


# --- writing


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_in_one_write() -> None:
    ends = Ends()
    first, second = [Ack(1), Ack(2), Ack(3)], [Ack(4)]
    for message in first:
        ends.link.send(message)
    assert ends.transport.writes == []
    await asyncio.sleep(0)
    assert ends.transport.writes == [frames(*first)]
    ends.link.send(*second)
    await asyncio.sleep(0)
    assert ends.transport.writes == [frames(*first), frames(*second)]


async def test_close_sends_what_is_waiting_and_nothing_after_it() -> None:
    ends = Ends()
    ends.link.send(Ack(1))
    ends.link.close("enough")
    ends.link.send(Ack(2))
    await asyncio.sleep(0)
    assert (ends.transport.writes, ends.transport.state) == ([frames(Ack(1))], "closed")


async def test_abort_drops_what_is_waiting() -> None:
    ends = Ends()
    ends.link.send(Ack(1))
    ends.link.abort("at once")
    ends.link.send(Ack(2))
    await asyncio.sleep(0)
    assert (ends.transport.writes, ends.transport.state) == ([], "aborted")


async def test_a_link_that_is_not_open_yet_or_not_any_more_swallows_what_is_sent() -> None:
    closed: list[str] = []
    link = Link(lambda *_: None, lambda _, reason: closed.append(reason))
    link.send(Ack(1))
    link.close("never opened")
    link.abort("never opened")
    transport = FakeTransport()
    link = Link(lambda *_: None, lambda _, reason: closed.append(reason))
    link.connection_made(transport)
    link.send(Ack(1))
    link.connection_lost(None)
    link.send(Ack(2))
    await asyncio.sleep(0)
    assert (transport.writes, closed) == ([], ["the peer closed the connection"])


# --- reading

some_messages = st.lists(
    st.one_of(
        st.builds(Ack, st.integers(0, 2**40)),
        st.builds(Idle, st.floats(0, 1e6)),
        st.builds(Function, st.just(JobId(1)), st.binary(max_size=16), st.binary(max_size=300)),
    ),
    max_size=6,
)


@given(messages=some_messages, data=st.data())
def test_messages_do_not_depend_on_how_their_bytes_come_in_pieces(messages: list[Message], data: st.DataObject) -> None:
    stream = frames(*messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    ends, byte_by_byte = Ends(), Ends()
    for lo, hi in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        ends.link.data_received(stream[lo:hi])
    for position in range(len(stream)):
        byte_by_byte.link.data_received(stream[position : position + 1])
    assert ends.heard == byte_by_byte.heard == messages
    assert ends.transport.state == "open"


BAD = {
    "no msgpack": (frame(b"\xc1"), "is not msgpack"),
    "nothing in a frame": (frame(b""), "a frame of 0 bytes is not msgpack"),
    "no array": (frame(b"\x01"), "is not an array"),
    "unknown kind": (frame(b"\x91\xcd\x03\xe8"), "message kind 1000 is unknown"),
    "wrong field": (frame(encode(Ack(1))[:-1] + b"\xc3"), "malformed Ack: an integer is needed"),
    "oversized": (b"\x7f\xff\xff\xff", "the peer announced a frame of 2,147,483,647 bytes"),
    "another role's word": (frames(Refused("no")), "Refused may not be said here"),
}


@pytest.mark.parametrize(("data", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_frame_ends_the_link_with_one_clear_reason(data: bytes, sentence: str) -> None:
    ends = Ends()
    ends.link.data_received(frames(Ack(1)) + data + frames(Ack(2)))
    ends.link.data_received(frames(Ack(3)))
    assert (ends.heard, ends.transport.state) == ([Ack(1)], "aborted")
    ends.link.connection_lost(None)
    assert len(ends.closed) == 1
    assert ends.closed[0].startswith("it broke the protocol: ")
    assert sentence in ends.closed[0]
    assert "\n" not in ends.closed[0]


@given(data=st.binary(max_size=200))
def test_no_bytes_whatever_make_a_link_raise(data: bytes) -> None:
    for may_say in (None, WORKER_SAYS):
        ends = Ends(may_say)
        ends.link.data_received(data)
        ends.link.data_received(frame(data))
        assert ends.transport.state in {"open", "aborted"}


def test_before_the_greeting_frames_are_short_and_only_greetings() -> None:
    long, word = Ends(None), Ends(None)
    long.link.data_received((limits.GREETING_BYTES_MAX + 1).to_bytes(4, "big"))
    word.link.data_received(frames(Ack(1)))
    assert [ends.transport.state for ends in (long, word)] == ["aborted", "aborted"]
    allowed = Ends(None)
    allowed.link.data_received(frames(Refused("x" * 60_000)))
    assert allowed.heard == [Refused("x" * 60_000)]


def test_what_the_driver_calls_a_breach_ends_the_link() -> None:
    def complain(link: Link, message: Message) -> None:
        raise RemoteProtocolError("not now")

    closed: list[str] = []
    transport = FakeTransport()
    link = Link(complain, lambda _, reason: closed.append(reason))
    link.connection_made(transport)
    link.greet(WORKER_SAYS)
    link.data_received(frames(Ack(1)))
    link.connection_lost(None)
    assert (transport.state, closed) == ("aborted", ["it broke the protocol: not now"])


@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_delivered_after_the_driver_ended_the_link(end: str) -> None:
    heard: list[Message] = []

    def end_it(link: Link, message: Message) -> None:
        heard.append(message)
        getattr(link, end)("enough")

    link = Link(end_it, lambda *_: None)
    link.connection_made(FakeTransport())
    link.greet(WORKER_SAYS)
    link.data_received(frames(Ack(1), Ack(2)))
    assert heard == [Ack(1)]


def test_the_first_reason_is_the_one_that_is_told() -> None:
    ends = Ends()
    ends.link.close("it left")
    ends.link.abort("something else")
    ends.link.connection_lost(OSError("broken pipe"))
    broken = Ends()
    broken.link.connection_lost(OSError("broken pipe"))
    assert ends.closed + broken.closed == ["it left", "the connection broke: broken pipe"]


# --- backpressure


def test_a_throttled_link_reads_nothing_while_too_much_waits_to_be_sent() -> None:
    ends = Ends(throttled=True)
    assert ends.transport.high == limits.LINK_BUFFER_HIGH_BYTES
    ends.link.pause_writing()
    assert not ends.transport.reading
    ends.link.resume_writing()
    assert ends.transport.reading


def test_other_links_always_read() -> None:
    # Two ends that both stop reading until the other one reads would wait for ever.
    for ends in (Ends(), Ends(None)):
        ends.link.pause_writing()
        assert ends.transport.reading


def test_whoever_asks_is_told_once_when_too_much_waits_and_once_when_it_is_gone() -> None:
    ends, told = Ends(), list[bool]()
    ends.link.on_behind = told.append
    ends.link.resume_writing()
    ends.link.pause_writing()
    ends.link.pause_writing()
    assert told == [True]
    ends.link.resume_writing()
    assert told == [True, False]
    ends.link.pause_writing()
    ends.link.connection_lost(None)
    assert told == [True, False, True, False]


def test_a_link_that_is_closing_does_not_read_again() -> None:
    ends = Ends(throttled=True)
    ends.link.pause_writing()
    ends.link.abort("enough")
    ends.link.resume_writing()
    assert not ends.transport.reading


# --- whether the peer lives


def test_a_link_stirs_when_a_part_of_a_message_came_and_not_when_it_was_whole() -> None:
    ends = Ends()
    whole = frames(Ack(1))
    assert not ends.link.stirs()
    ends.link.data_received(whole[:3])
    assert ends.link.stirs()
    assert not ends.link.stirs()
    ends.link.data_received(whole[3:])
    assert not ends.link.stirs()
    ends.link.data_received(whole + whole[:3])
    assert not ends.link.stirs()  # whoever got the message knows
    ends.link.data_received(whole[3:4])
    assert ends.link.stirs()
    ends.link.abort("enough")
    ends.link.data_received(whole[4:5])
    assert not ends.link.stirs()


async def test_a_link_that_is_not_read_stirs_while_its_peer_takes_what_waits_for_it() -> None:
    ends = Ends(throttled=True)
    ends.link.send(Function(JobId(1), b"d", bytes(1_000)))
    await asyncio.sleep(0)
    ends.link.pause_writing()
    ends.transport.taken_bytes += 100
    assert ends.link.stirs()
    assert not ends.link.stirs()
    ends.link.send(Function(JobId(1), b"d", bytes(1_000)))
    await asyncio.sleep(0)
    assert not ends.link.stirs()  # that more waits is not its doing
    ends.transport.taken_bytes += 1
    assert ends.link.stirs()


def test_a_link_that_we_do_not_read_for_reasons_of_our_own_stirs() -> None:
    ends = Ends(throttled=True)
    ends.link.hold(True)
    assert ends.link.stirs()
    assert ends.link.stirs()
    ends.link.hold(False)
    assert not ends.link.stirs()


# --- on a real socket


class Pair:
    """A link that was accepted, and the raw peer at its other end."""

    def __init__(self, link: Link, raw: RawPeer, heard: list[Message], closed: list[str]) -> None:
        self.link = link
        self.raw = raw
        self.heard = heard
        self.closed = closed


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    heard: list[Message] = []
    closed: list[str] = []
    links: list[Link] = []

    def accept() -> Link:
        return Link(lambda _, message: heard.append(message), lambda _, reason: closed.append(reason), links.append)

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    raw = await RawPeer.open(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    await until(lambda: bool(links))
    server.close()
    links[0].greet(WORKER_SAYS)
    yield Pair(links[0], raw, heard, closed)
    raw.close()
    links[0].abort("the test is over")
    await links[0].closed.wait()


async def test_order_is_kept_across_turns_and_sizes(pair: Pair) -> None:
    messages: list[Message] = [Function(JobId(i), b"d", bytes(2_000_000 if i % 7 == 3 else i)) for i in range(20)]

    async def send() -> None:
        for message in messages:
            pair.link.send(message)
            if isinstance(message, Function) and message.job % 3 == 0:
                await asyncio.sleep(0)
        pair.link.close("all is said")

    sending = asyncio.create_task(send())
    assert await pair.raw.hear_end() == messages
    await sending
    await until(lambda: pair.closed == ["all is said"])


async def test_a_link_knows_both_addresses_until_the_end_and_after(pair: Pair) -> None:
    def name(which: Any) -> Address:
        return Address(*which())

    expected = (name(pair.raw.sock.getsockname), name(pair.raw.sock.getpeername))
    pair.raw.reset()
    await until(lambda: bool(pair.closed))
    assert (pair.link.peer_address, pair.link.own_address) == expected


async def test_all_that_came_before_the_end_of_the_connection_counts(pair: Pair) -> None:
    await pair.raw.say(Ack(1), NonIdle(1.0))
    pair.raw.close()
    await until(lambda: bool(pair.closed))
    assert pair.heard == [Ack(1), NonIdle(1.0)]
    assert pair.closed == ["the peer closed the connection"]


async def test_a_peer_that_ends_its_half_and_reads_nothing_is_gone_at_once(pair: Pair) -> None:
    pair.link.send(Function(JobId(1), b"", bytes(30_000_000)))
    await asyncio.sleep(0)
    pair.raw.sock.shutdown(socket.SHUT_WR)
    await until(lambda: pair.closed == ["the peer closed the connection"])


async def test_messages_go_out_without_waiting_for_company_in_the_network(pair: Pair) -> None:
    sock = pair.link._transport.get_extra_info("socket")  # type: ignore[union-attr]
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_goodbye_is_the_last_thing_that_is_said(pair: Pair) -> None:
    pair.link.send(Ack(1))
    leaving = asyncio.create_task(say_goodbye([pair.link], "I leave"))
    assert await pair.raw.hear_end() == [Ack(1), Goodbye("I leave")]
    await leaving
    assert pair.closed == ["I leave"]


async def test_goodbye_does_not_wait_for_a_peer_that_does_not_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module.limits, "STOP_TIMEOUT_S", 0.05)
    pair.link.send(Result(JobId(1), (), ()))
    pair.link.send(Function(JobId(1), b"", bytes(30_000_000)))
    await say_goodbye([pair.link], "I leave")
    assert pair.closed == ["I leave"]


# --- words


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('::1', 5)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("Multiple exceptions"), "Multiple exceptions"),
        (ValueError("embedded null character"), "embedded null character"),
    ],
)
def test_words_are_those_of_the_system(error: OSError | ValueError, expected: str) -> None:
    assert words(error) == expected


def test_a_port_is_a_16_bit_number() -> None:
    check_port(0)
    check_port(65_535)
    for port in (-1, 65_536, 99_999):
        with pytest.raises(ValueError, match="from 0 to 65535"):
            check_port(port)
