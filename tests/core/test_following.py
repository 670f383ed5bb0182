"""What tasks print gets to all who follow their job, and never far ahead of the slowest."""

from __future__ import annotations

from lbnet import limits
from lbnet.core.following import Following
from lbnet.protocol.messages import Follow, Message, Printed
from lbnet.types import ROOT, JobId, PeerId

JOB, OTHER = JobId(7), JobId(8)
CLIENT, SECOND, ONE, TWO = PeerId(1), PeerId(2), PeerId(3), PeerId(4)
MOST = limits.FOLLOW_AHEAD_BYTES


def printed(text: bytes = b"x", dropped: int = 0, worker: str = "", job: JobId = JOB) -> Printed:
    return Printed(job, worker, 0, ROOT, 1, text, dropped)


class Desk:
    def __init__(self) -> None:
        self.said: list[tuple[PeerId, Message]] = []
        self.workers = [ONE]
        self.core = Following(lambda to, message: self.said.append((to, message)), lambda: self.workers)

    def told(self) -> list[tuple[PeerId, Message]]:
        said, self.said = self.said, []
        return said


def test_workers_are_told_once_and_whoever_follows_gets_what_they_say() -> None:
    desk = Desk()
    desk.core.follows(CLIENT, Follow(JOB, True, 0))
    assert desk.told() == [(ONE, Follow(JOB, True, 0))]
    desk.core.follows(SECOND, Follow(JOB, True, 0))
    assert desk.told() == []
    desk.core.printed(ONE, "one", printed(worker="somebody else"))
    assert desk.told() == [(CLIENT, printed(worker="one")), (SECOND, printed(worker="one"))]
    desk.core.printed(ONE, "one", printed(job=OTHER))
    assert desk.told() == []


def test_a_worker_that_comes_later_is_told_too() -> None:
    desk = Desk()
    desk.core.follows(CLIENT, Follow(JOB, True, 0))
    desk.told()
    desk.core.joined(TWO)
    assert desk.told() == [(TWO, Follow(JOB, True, 0))]


def test_when_the_last_one_is_gone_workers_say_no_more() -> None:
    desk = Desk()
    desk.core.follows(CLIENT, Follow(JOB, True, 0))
    desk.core.follows(SECOND, Follow(JOB, True, 0))
    desk.told()
    desk.core.follows(CLIENT, Follow(JOB, False, 0))
    assert desk.told() == []
    desk.core.left(SECOND)
    assert desk.told() == [(ONE, Follow(JOB, False, 0))]
    desk.core.follows(CLIENT, Follow(JOB, False, 0))
    desk.core.printed(ONE, "one", printed())
    assert [message for _, message in desk.told() if isinstance(message, Printed)] == []


def test_who_reads_nothing_gets_so_much_and_no_more_and_others_go_on() -> None:
    desk = Desk()
    piece = b"x" * (MOST // 8)
    desk.core.follows(CLIENT, Follow(JOB, True, 0))
    desk.core.follows(SECOND, Follow(JOB, True, 0))
    heard = 0
    got = {CLIENT: 0, SECOND: 0}
    for _ in range(40):
        desk.core.printed(ONE, "one", printed(piece))
        for to, message in desk.told():
            if isinstance(message, Printed):
                got[to] += len(message.text)
        heard += len(piece)
        desk.core.follows(SECOND, Follow(JOB, True, heard))
    assert got == {CLIENT: MOST, SECOND: 40 * len(piece)}
    # It reads on, and hears how much it missed.
    desk.core.follows(CLIENT, Follow(JOB, True, MOST))
    desk.core.printed(ONE, "one", printed(b"new"))
    assert (CLIENT, printed(b"new", dropped=32 * len(piece), worker="one")) in desk.told()


def test_workers_hear_how_much_of_theirs_was_read() -> None:
    desk = Desk()
    desk.core.follows(CLIENT, Follow(JOB, True, 0))
    desk.told()
    for _ in range(4):
        desk.core.printed(ONE, "one", printed(b"x" * (MOST // 4)))
    heard = [message for to, message in desk.told() if to == ONE]
    assert heard == [Follow(JOB, True, number * MOST // 4) for number in (1, 2, 3, 4)]
