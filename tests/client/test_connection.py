"""A link that any thread may use: in order, and with one clear end for everybody who waits."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lbnet import limits
from lbnet.client.connection import Connection
from lbnet.errors import ConnectError, ConnectionLostError, UsageError
from lbnet.net.greeting import MAGIC
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    Answer,
    Ask,
    Cancel,
    CloseJob,
    Goodbye,
    Hello,
    JobDone,
    Message,
    Refused,
    Settled,
    Welcome,
)
from lbnet.types import Address, JobId, PeerId
from tests.client.scripted import until

PEER = PeerId(3)


class FakeController:
    """The other end of one link, message by message."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listening.getsockname()[:2])
        self._reader = FrameReader(limits.FRAME_BYTES_MAX)
        self._sock: socket.socket | None = None

    def accept(self, answer: Message | None = None) -> Message:
        """Let a client in, unless ``answer`` is another one."""
        self._listening.settimeout(10)
        self._sock, _ = self._listening.accept()
        self._sock.settimeout(10)
        said = self.hear()
        self.say(answer or Welcome(MAGIC, PROTOCOL_VERSION, PEER, "here"))
        return said

    def hear(self) -> Message:
        """The next message."""
        assert self._sock is not None
        while (body := self._reader.next()) is None:
            data = self._sock.recv(65536)
            if not data:
                raise EOFError
            self._reader.feed(data)
        return decode(body)

    def say(self, *messages: Message) -> None:
        assert self._sock is not None
        self._sock.sendall(b"".join(frame(encode(message)) for message in messages))

    def hang_up(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._listening.close()


@pytest.fixture
def controller() -> Iterator[FakeController]:
    controller = FakeController()
    yield controller
    controller.hang_up()


@contextlib.contextmanager
def opened(controller: FakeController) -> Iterator[Connection]:
    connection = Connection(controller.address, "me")
    accepting = threading.Thread(target=controller.accept)
    accepting.start()
    connection.open(10)
    accepting.join(10)
    try:
        yield connection
    finally:
        controller.hang_up()
        connection.close()
        assert connection._thread is not None
        assert not connection._thread.is_alive()


def link_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lbnet-client"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = len(link_threads())
    yield
    until(lambda: len(link_threads()) == before, "the threads of the links end")


@pytest.fixture
def link(controller: FakeController) -> Iterator[Connection]:
    with opened(controller) as connection:
        yield connection


# --- what is sent and what comes


def test_messages_of_one_thread_arrive_in_order(controller: FakeController, link: Connection) -> None:
    for number in range(500):
        link.send(CloseJob(JobId(1), number), CloseJob(JobId(2), number))
    heard = [controller.hear() for _ in range(1_000)]
    assert heard == [CloseJob(JobId(job), number) for number in range(500) for job in (1, 2)]


def test_messages_of_many_threads_all_arrive_each_in_order(controller: FakeController, link: Connection) -> None:
    threads = [
        threading.Thread(target=lambda job=job: [link.send(CloseJob(JobId(job), number)) for number in range(200)])
        for job in range(5)
    ]
    for thread in threads:
        thread.start()
    heard: list[Any] = [controller.hear() for _ in range(1_000)]
    for thread in threads:
        thread.join(10)
    for job in range(5):
        assert [message.total for message in heard if message.job == job] == list(range(200))


def test_messages_go_to_the_inbox_of_their_job_until_it_is_done(controller: FakeController, link: Connection) -> None:
    first, second = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()
    a, b = link.new_job(first.put), link.new_job(second.put)
    assert a >> 24 == b >> 24 == PEER
    controller.say(Settled(a, 0), Settled(b, 1), JobDone(a), Settled(a, 2), Settled(JobId(99), 3), Settled(b, 4))
    assert [second.get(timeout=10) for _ in range(2)] == [Settled(b, 1), Settled(b, 4)]
    assert [first.get(timeout=10) for _ in range(2)] == [Settled(a, 0), JobDone(a)]
    assert first.empty()


def test_what_comes_for_a_forgotten_job_concerns_nobody(controller: FakeController, link: Connection) -> None:
    inbox, other = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()
    a, b = link.new_job(inbox.put), link.new_job(other.put)
    link.forget(a)
    link.forget(a)
    controller.say(Settled(a, 0), Settled(b, 0))
    assert other.get(timeout=10) == Settled(b, 0)
    assert inbox.empty()


def test_a_client_does_not_start_more_jobs_than_its_ids_allow(
    link: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_CLIENT_MAX", 2)
    link.new_job(print)
    with pytest.raises(UsageError, match="open another one"):
        link.new_job(print)


def test_answers_find_who_asked(controller: FakeController, link: Connection) -> None:
    answers = queue.SimpleQueue[Any]()
    threads = [
        threading.Thread(target=lambda job=job: answers.put((job, link.ask("report", JobId(job))))) for job in range(4)
    ]
    for thread in threads:
        thread.start()
    asked: list[Any] = [controller.hear() for _ in range(4)]
    assert all(isinstance(message, Ask) and message.what == "report" for message in asked)
    controller.say(Answer(12_345, "null"), *(Answer(each.request, str(each.job * 10)) for each in reversed(asked)))
    for thread in threads:
        thread.join(10)
    assert sorted(answers.get() for _ in range(4)) == [(job, job * 10) for job in range(4)]


def test_an_answer_that_does_not_come_is_an_error(controller: FakeController, link: Connection) -> None:
    with pytest.raises(ConnectionLostError, match=f"{controller.address} did not answer within 0.01 s"):
        link.ask("status", timeout_s=0.01)


# --- the end


def waiting_for(link: Connection) -> queue.SimpleQueue[Any]:
    """What somebody who asks, and an inbox, are told in the end."""
    told = queue.SimpleQueue[Any]()

    def ask() -> None:
        try:
            link.ask("status")
        except ConnectionLostError as error:
            told.put(str(error))

    link.new_job(told.put)
    threading.Thread(target=ask).start()
    until(lambda: link._asked, "somebody asks")
    return told


@pytest.mark.parametrize("way", ["hangs up", "says goodbye", "talks nonsense", "says what it may not", "we close"])
def test_everybody_who_waits_is_told_of_the_end(controller: FakeController, way: str) -> None:
    with opened(controller) as link:
        told = waiting_for(link)
        assert isinstance(controller.hear(), Ask)
        if way == "hangs up":
            controller.hang_up()
            reason = "broke"
        elif way == "says goodbye":
            controller.say(Goodbye("it was stopped"))  # and keeps the connection open
            reason = f"the controller at {controller.address} has gone: it was stopped"
        elif way == "talks nonsense":
            assert controller._sock is not None
            controller._sock.sendall(b"\0\0\0\1\xc1")
            reason = "broke the protocol"
        elif way == "says what it may not":
            controller.say(Cancel(JobId(1), 0, 1))
            reason = "Cancel may not be said here"
        else:
            closing = threading.Thread(target=link.close)
            closing.start()
            assert controller.hear() == Goodbye("the client was closed")
            controller.hang_up()
            closing.join(10)
            reason = "the client was closed"
        ends = [told.get(timeout=10), told.get(timeout=10)]
        assert None in ends, "the inbox"
        text = next(end for end in ends if end is not None)
        assert reason in text
        for use in (lambda: link.send(Goodbye("")), lambda: link.new_job(print), lambda: link.ask("status")):
            with pytest.raises(ConnectionLostError) as caught:
                use()
            assert str(caught.value) == text
        assert not link._inboxes


def test_what_was_sent_before_the_end_arrives(controller: FakeController) -> None:
    with opened(controller) as link:
        link.send(*(CloseJob(JobId(1), number) for number in range(1_000)))
        closing = threading.Thread(target=link.close)
        closing.start()
        heard = [controller.hear() for _ in range(1_001)]
        assert heard[-1] == Goodbye("the client was closed")
        with pytest.raises(EOFError):
            controller.hear()
        closing.join(10)


def test_a_controller_that_takes_nothing_cannot_hold_up_the_end(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STOP_TIMEOUT_S", 0.1)
    connection = Connection(controller.address)
    accepting = threading.Thread(target=controller.accept)
    accepting.start()
    connection.open(10)
    accepting.join(10)
    connection.send(Goodbye("x" * (30 << 20)))
    connection.close()
    until(lambda: connection._thread not in link_threads(), "the thread ends")


def test_a_message_of_ours_that_cannot_be_sent_leaves_nobody_waiting(link: Connection) -> None:
    told = queue.SimpleQueue[Any]()
    link.new_job(told.put)
    link.send(CloseJob(JobId(1), 1 << 80))
    assert told.get(timeout=10) is None
    with pytest.raises(ConnectionLostError, match="our own CloseJob could not be sent"):
        link.check()


def test_closing_twice_or_before_opening_is_no_mistake(controller: FakeController) -> None:
    Connection(controller.address).close()
    with opened(controller) as link:
        controller.hang_up()
        link.close()
        link.close()


# --- opening


def test_the_greeting_says_who_we_are(controller: FakeController) -> None:
    connection, said = Connection(controller.address, "me"), queue.SimpleQueue[Any]()
    accepting = threading.Thread(target=lambda: said.put(controller.accept()))
    accepting.start()
    connection.open(10)
    hello = said.get(timeout=10)
    assert isinstance(hello, Hello)
    assert (hello.role, hello.name) == ("client", "me")
    accepting.join(10)
    controller.hang_up()
    connection.close()


def test_nobody_there(controller: FakeController) -> None:
    controller.hang_up()
    with pytest.raises(ConnectError, match=f"nothing answers at {controller.address}"):
        Connection(controller.address).open(10)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Refused("not you"), "refused us: not you"),
        (Goodbye("?"), "is not an lbnet controller|may not be said"),
        (Welcome(MAGIC, PROTOCOL_VERSION + 1, PEER, ""), "install the same lbnet"),
        (Welcome("other", PROTOCOL_VERSION, PEER, ""), "is not an lbnet controller"),
    ],
)
def test_who_is_not_welcome_is_told_why(controller: FakeController, answer: Message, text: str) -> None:
    accepting = threading.Thread(target=controller.accept, args=(answer,))
    accepting.start()
    with pytest.raises(ConnectError, match=text):
        Connection(controller.address).open(10)
    accepting.join(10)


def test_somebody_who_is_silent_is_no_controller(controller: FakeController) -> None:
    with pytest.raises(ConnectError, match="accepted the connection and said nothing within 0.05 s"):
        Connection(controller.address).open(0.05)


def test_somebody_who_speaks_otherwise_is_no_controller(controller: FakeController) -> None:
    def serve() -> None:
        sock, _ = controller._listening.accept()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.close()

    accepting = threading.Thread(target=serve)
    accepting.start()
    with pytest.raises(ConnectError, match=f"{controller.address} is not an lbnet controller"):
        Connection(controller.address).open(10)
    accepting.join(10)
