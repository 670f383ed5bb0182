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
from lbnet.client.standing import Inbox, Lost
from lbnet.errors import ConnectError, ConnectionLostError, UsageError
from lbnet.net.greeting import MAGIC
from lbnet.protocol.codec import decode, encode
from lbnet.protocol.framing import FrameReader, frame
from lbnet.protocol.messages import (
    PROTOCOL_VERSION,
    Answer,
    Ask,
    Attach,
    Attached,
    Beat,
    Cancel,
    CloseJob,
    Goodbye,
    Hello,
    JobDone,
    Message,
    OpenJob,
    Refused,
    Settled,
    Taken,
    Welcome,
)
from lbnet.types import Address, JobId, JobOptions, PeerId
from tests.client.scripted import until

PEER = PeerId(3)


class FakeController:
    """The other end of one link, message by message."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.address = Address(*self._listening.getsockname()[:2])
        self._reader = FrameReader(limits.FRAME_BYTES_MAX)
        self._sock: socket.socket | None = None

    def accept(self, answer: Message | None = None) -> Message:
        """Let a client in, unless ``answer`` is another one."""
        if self._sock is not None:
            self._sock.close()
        self._sock, _ = self._listening.accept()
        self._sock.settimeout(10)
        self._reader = FrameReader(limits.FRAME_BYTES_MAX)
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

    def cut(self) -> None:
        """End this link, and wait for another one."""
        assert self._sock is not None
        self._sock.close()

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
def opened(
    controller: FakeController, answer: Message | None = None, *, reconnect_timeout_s: float = 0.0
) -> Iterator[Connection]:
    connection = Connection(controller.address, "me", reconnect_timeout_s=reconnect_timeout_s)
    accepting = threading.Thread(target=controller.accept, args=(answer,))
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


def opened_job(link: Connection, inbox: Inbox) -> JobId:
    """A job that the controller has been told of."""
    job = link.new_job(inbox)
    link.send(OpenJob(job, JobOptions()))
    return job


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
    jobs = opened_job(link, print), opened_job(link, print)
    for number in range(500):
        link.send(*(CloseJob(job, number) for job in jobs))
    heard = [controller.hear() for _ in range(1_002)]
    assert heard[2:] == [CloseJob(job, number) for number in range(500) for job in jobs]


def test_messages_of_many_threads_all_arrive_each_in_order(controller: FakeController, link: Connection) -> None:
    jobs = [opened_job(link, print) for _ in range(5)]
    threads = [
        threading.Thread(target=lambda job=job: [link.send(CloseJob(job, number)) for number in range(200)])
        for job in jobs
    ]
    for thread in threads:
        thread.start()
    heard: list[Any] = [controller.hear() for _ in range(1_005)]
    for thread in threads:
        thread.join(10)
    for job in jobs:
        assert [each.total for each in heard if isinstance(each, CloseJob) and each.job == job] == list(range(200))


def test_messages_go_to_the_inbox_of_their_job_until_it_is_done(controller: FakeController, link: Connection) -> None:
    first, second = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()
    a, b = opened_job(link, first.put), opened_job(link, second.put)
    assert isinstance(controller.hear(), OpenJob)
    assert isinstance(controller.hear(), OpenJob)
    assert a >> 24 == b >> 24 == PEER
    controller.say(Settled(a, 0), Settled(b, 1), JobDone(a), Settled(a, 2), Settled(JobId(99), 3), Settled(b, 4))
    assert [second.get(timeout=10) for _ in range(2)] == [Settled(b, 1), Settled(b, 4)]
    assert [first.get(timeout=10) for _ in range(2)] == [Settled(a, 0), JobDone(a)]
    assert first.empty()


def test_what_comes_for_a_forgotten_job_concerns_nobody(controller: FakeController, link: Connection) -> None:
    inbox, other = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()
    a, b = opened_job(link, inbox.put), opened_job(link, other.put)
    assert isinstance(controller.hear(), OpenJob)
    assert isinstance(controller.hear(), OpenJob)
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
        assert {type(end) for end in ends} == {Lost, str}, "the inbox, and who asked"
        (text,) = {end.reason if isinstance(end, Lost) else end for end in ends}
        assert reason in text
        for use in (lambda: link.send(Goodbye("")), lambda: link.new_job(print), lambda: link.ask("status")):
            with pytest.raises(ConnectionLostError) as caught:
                use()
            assert str(caught.value) == text
        assert len(link._jobs) == 0


def test_what_was_sent_before_the_end_arrives(controller: FakeController) -> None:
    with opened(controller) as link:
        job = opened_job(link, print)
        link.send(*(CloseJob(job, number) for number in range(1_000)))
        closing = threading.Thread(target=link.close)
        closing.start()
        heard = [controller.hear() for _ in range(1_002)]
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
    link.send(CloseJob(opened_job(link, told.put), 1 << 80))
    assert isinstance(told.get(timeout=10), Lost)
    with pytest.raises(ConnectionLostError, match="our own CloseJob could not be sent"):
        link.check()


def test_closing_twice_or_before_opening_is_no_mistake(controller: FakeController) -> None:
    Connection(controller.address).close()
    with opened(controller) as link:
        controller.hang_up()
        link.close()
        link.close()


# --- another link


def welcome(cluster: bytes = b"c" * 16, peer: int = PEER) -> Welcome:
    return Welcome(MAGIC, PROTOCOL_VERSION, PeerId(peer), "here", cluster)


def test_who_comes_back_says_who_it_was_and_asks_for_its_jobs(controller: FakeController) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=60) as link:
        told = queue.SimpleQueue[Any]()
        job = opened_job(link, told.put)
        assert isinstance(controller.hear(), OpenJob)
        controller.say(Settled(job, 0))
        assert told.get(timeout=10) == Settled(job, 0)
        controller.cut()
        hello = controller.accept(welcome())
        assert isinstance(hello, Hello)
        assert (hello.role, hello.peer, hello.cluster) == ("client", PEER, b"c" * 16)
        assert controller.hear() == Attach(job, 1)
        controller.say(Attached(job, 0, False, 1), Settled(job, 1))
        assert told.get(timeout=10) == Settled(job, 1)
        assert controller.hear() == Taken(job, 1)
        link.check()


def test_who_knows_no_cluster_comes_back_as_a_new_client(controller: FakeController) -> None:
    with opened(controller, welcome(b""), reconnect_timeout_s=60) as link:
        told = queue.SimpleQueue[Any]()
        opened_job(link, told.put)
        assert isinstance(controller.hear(), OpenJob)
        controller.cut()
        hello = controller.accept(welcome(b"", peer=9))
        assert isinstance(hello, Hello)
        assert (hello.peer, hello.cluster) == (0, b"")
        lost = told.get(timeout=10)
        assert isinstance(lost, Lost)
        assert "does not know this client any more" in lost.reason
        assert opened_job(link, told.put) >> 24 == 9
        assert isinstance(controller.hear(), OpenJob)


@pytest.mark.parametrize("other", [welcome(peer=9), welcome(b"d" * 16)])
def test_another_id_or_another_cluster_is_another_controller(controller: FakeController, other: Welcome) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=60) as link:
        told = queue.SimpleQueue[Any]()
        opened_job(link, told.put)
        assert isinstance(controller.hear(), OpenJob)
        controller.cut()
        controller.accept(other)
        assert isinstance(told.get(timeout=10), Lost)


def test_questions_are_asked_again_once_jobs_are_known_again(controller: FakeController) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=60) as link:
        job = opened_job(link, print)
        answers = queue.SimpleQueue[Any]()
        asking = threading.Thread(target=lambda: answers.put(link.ask("report", job, timeout_s=0.2)))
        assert isinstance(controller.hear(), OpenJob)
        asking.start()
        first = controller.hear()
        assert isinstance(first, Ask)
        controller.cut()
        until(lambda: link._away, "it knows that the link is gone")
        controller.accept(welcome())
        assert controller.hear() == Attach(job, 0)
        controller.say(Attached(job, 0, False, 0))
        assert controller.hear() == first
        controller.say(Answer(first.request, "5"))
        assert answers.get(timeout=10) == 5
        asking.join(10)


@pytest.mark.parametrize("there", [True, False])
def test_who_does_not_get_its_link_back_in_time_says_why(controller: FakeController, there: bool) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=0.2) as link:
        told = waiting_for(link)
        assert isinstance(controller.hear(), Ask)
        if there:
            controller.cut()
            controller.accept(Refused("not you"))
            controller.cut()
            controller._listening.close()
        else:
            controller.hang_up()
        for _ in range(2):
            end = told.get(timeout=10)
            text = end.reason if isinstance(end, Lost) else end
            assert text.startswith(f"the link to the controller at {controller.address} broke: ")
            assert "did not come back within 0.2 s (" in text
            assert "refused us: not you" in text or "nothing answers" in text
        with pytest.raises(ConnectionLostError, match="did not come back"):
            link.check()


@pytest.mark.parametrize("when", ["before a try", "during a try"])
def test_closing_does_not_wait_for_a_link(controller: FakeController, when: str) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=60) as link:
        told = waiting_for(link)
        assert isinstance(controller.hear(), Ask)
        controller.cut()
        until(lambda: link._away, "it knows that the link is gone")
        if when == "during a try":
            sock, _ = controller._listening.accept()  # and says nothing
        link.close()
        ends = [told.get(timeout=10) for _ in range(2)]
        assert {end.reason if isinstance(end, Lost) else end for end in ends} == {"the client was closed"}
        if when == "during a try":
            sock.close()


def test_after_a_goodbye_nobody_comes_back(controller: FakeController) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=60) as link:
        told = queue.SimpleQueue[Any]()
        opened_job(link, told.put)
        controller.say(Goodbye("it was stopped"))
        assert told.get(timeout=10) == Lost(f"the controller at {controller.address} has gone: it was stopped")


def test_a_controller_that_talks_nonsense_is_given_up_in_time(controller: FakeController) -> None:
    with opened(controller, welcome(), reconnect_timeout_s=0.3) as link:
        told = queue.SimpleQueue[Any]()
        link.new_job(told.put)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    controller.say(Cancel(JobId(1), 0, 1))
                    controller.accept(welcome())

        threading.Thread(target=serve, daemon=True).start()
        end = told.get(timeout=10)
        assert isinstance(end, Lost)
        assert "Cancel may not be said here" in end.reason
        controller.hang_up()


def test_a_job_from_elsewhere_is_told_of_the_end(controller: FakeController) -> None:
    with opened(controller, welcome()) as link:
        told = queue.SimpleQueue[Any]()
        link.attach(JobId(77), told.put)
        assert controller.hear() == Attach(JobId(77), 0)
        link.release(JobId(5))
        controller.hang_up()
        assert isinstance(told.get(timeout=10), Lost)
        with pytest.raises(ConnectionLostError):
            link.attach(JobId(78), told.put)
        link.release(JobId(77))


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


# --- silence


AGREED = Welcome(MAGIC, PROTOCOL_VERSION, PEER, "here", b"", 0.5)


def test_a_silent_client_says_that_it_lives_and_a_silent_controller_is_given_up(controller: FakeController) -> None:
    with opened(controller, AGREED) as link:
        for _ in range(6):  # two deadlines
            assert controller.hear() == Beat()
            controller.say(Beat())
        assert not link.lost
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                assert controller.hear() == Beat()
        until(lambda: bool(link.lost), "the link is lost")
        assert "broke: nothing came from it for 0.5 s" in link.lost


def test_a_client_whose_controller_fell_silent_looks_for_it_again(controller: FakeController) -> None:
    with opened(controller, AGREED, reconnect_timeout_s=10.0) as link:
        controller.accept(AGREED)
        assert controller.hear() == Beat()
        assert not link.lost


def test_who_does_not_want_to_wait_for_a_link_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(Address("127.0.0.1", 1), reconnect_timeout_s=60.0)
    monkeypatch.setattr(connection, "send", lambda *_: None)
    connection._away = True  # as while it looks for another one
    with pytest.raises(ConnectionLostError, match="did not answer"):
        connection.ask("status", timeout_s=0.001, waits_for_link=False)
