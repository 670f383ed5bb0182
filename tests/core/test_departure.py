"""A worker that leaves on purpose, and a controller that lets it go."""

from __future__ import annotations

import json

import pytest

from lbnet import limits
from lbnet.core import events
from lbnet.core.effects import Depart, Effect, Kill, Reclaim, Send
from lbnet.protocol import messages
from lbnet.strategies.base import Ask
from lbnet.types import CONTROLLER, ROOT, JobOptions, PeerId, SlotId, Span
from tests.core import desk as controllers
from tests.core.desk import match, running
from tests.core.scripted import ScriptedWorker
from tests.core.worker_desk import (
    HUNGRY,
    OTHER,
    PEER,
    Desk,
    busy,
    failed,
    has_job,
    in_one_ticket,
    result,
    tasks,
    told,
    values,
    work,
)

pytestmark = pytest.mark.usefixtures("results_at_once")

LEAVING = told(messages.Leaving())
RELEASED = messages.Released()


def back(transfer: int, *batches: object) -> Send:
    return told(messages.Relay(CONTROLLER, transfer, batches))  # type: ignore[arg-type]


def leave(desk: Desk, grace_s: float = 10.0) -> list[Effect]:
    return desk.event(events.Leave(grace_s))


# --- the worker


def test_who_holds_nothing_goes_when_no_more_work_can_be_on_its_way() -> None:
    desk = Desk()
    assert leave(desk) == [LEAVING]
    assert desk.hears(RELEASED) == [Depart()]
    assert desk.hears(messages.AskInventory(1)) == [told(messages.Inventory(1, ()))], "and says it once"


def test_the_controller_can_let_it_leave_as_well() -> None:
    desk = Desk()
    assert desk.hears(messages.Leave(10.0)) == [LEAVING]
    assert desk.hears(messages.Leave(10.0)) == [], "it does already"
    assert desk.hears(RELEASED) == [Depart()]


def test_what_waits_goes_back_and_what_runs_finishes() -> None:
    desk = busy(3)
    batch = tasks(0, 3)
    said = leave(desk)
    assert said[:3] == [LEAVING, back(1, batch.part(1, 3)), HUNGRY]
    desk.hears(RELEASED)
    desk.hears(messages.Ack(1))
    assert desk.done(1, values(0, 1)) == [result(values(0, 1))]
    assert desk.finished(1, 1) == [], "its result may be lost yet"
    assert desk.hears(messages.Kept(1)) == [Depart()]


def test_it_waits_until_what_it_handed_back_has_arrived() -> None:
    desk = busy(2)
    leave(desk)
    desk.hears(RELEASED)
    desk.done(1, values(0, 1))
    desk.finished(1, 1)
    assert desk.hears(messages.Kept(1)) == []
    assert desk.core.held() == [Span(tasks(0, 1).job, ROOT, 1, 2)]
    assert desk.hears(messages.Ack(1)) == [Depart()]


def test_tails_that_were_handed_to_slots_are_taken_back() -> None:
    desk = in_one_ticket()
    batch = tasks(0, 27)
    said = leave(desk)
    assert Reclaim(SlotId(0), 2, 1) in said
    assert Reclaim(SlotId(0), 3, 11) in said
    assert desk.reclaimed(3, 11) == [back(2, batch.part(11, 21))]
    assert desk.reclaimed(2, 5) == [Reclaim(SlotId(0), 2, 1), back(3, batch.part(5, 11))], "it may let go of more"
    assert desk.reclaimed(2, 5) == [], "it does not"


def test_work_that_was_on_its_way_goes_back() -> None:
    desk = Desk()
    has_job(desk)
    leave(desk)
    assert desk.hears(work(tasks(0, 2), transfer=9)) == [back(1, tasks(0, 2))]


def test_what_runs_too_long_is_handed_back_and_nobody_is_blamed() -> None:
    desk = busy(1)
    leave(desk, 2.0)
    desk.hears(RELEASED)
    assert desk.timer == desk.now + 2.0
    assert desk.waits() == [Kill(SlotId(0))]
    assert desk.dies(1, 0) == [back(1, tasks(0, 1))]
    assert desk.hears(messages.Ack(1)) == [Depart()]


def test_told_again_it_hurries_and_never_takes_longer() -> None:
    desk = busy(1)
    leave(desk, 100.0)
    leave(desk, 1.0)
    leave(desk, 50.0)
    assert desk.timer == desk.now + 1.0


def test_a_task_that_rests_before_it_is_tried_again_goes_back_at_once() -> None:
    desk = busy(1, options=JobOptions(retries=3, retry_delay_s=60.0))
    desk.done(1, failed(0))
    desk.finished(1, 1)
    assert leave(desk) == [LEAVING, back(1, tasks(0, 1).again(0, failures=1))]


def test_it_asks_for_nothing_any_more() -> None:
    script = ScriptedWorker()
    desk = busy(1, strategy=script)
    desk.hears(messages.Peers((messages.Introduction(PEER, "h", 1),), ()))
    desk.links(PEER)
    leave(desk)
    script.next = [Ask(PEER)]
    assert desk.hears(messages.Offer(100.0), peer=PEER) == [Send(PEER, messages.NoWork(PEER, PeerId(5)))]
    assert desk.hears(messages.Balance("sb", True)) == []


def test_another_controller_hears_of_it_and_must_release_it_too() -> None:
    desk = busy(2)
    leave(desk)
    desk.hears(RELEASED)
    assert desk.loses(CONTROLLER) == [back(2, tasks(0, 2).part(1, 2))], "which nobody hears"
    desk.done(1, values(0, 1))
    desk.finished(1, 1)
    said = desk.event(events.Joined(CONTROLLER, "controller", "", "", 0, 0, controllers.where(CONTROLLER), back=True))
    assert said == [
        told(messages.Rejoined((tasks(0, 1).job,))),
        result(values(0, 1)),
        LEAVING,
        told(messages.Function(tasks(0, 1).job, b"function", b"function")),
        back(3, tasks(0, 2).part(1, 2)),
    ]
    desk.hears(messages.Kept(1))
    desk.hears(messages.Ack(3))
    assert desk.hears(RELEASED) == [Depart()]


def test_a_requester_that_waits_for_an_answer_gets_one() -> None:
    desk = busy(1)
    desk.links(OTHER)
    leave(desk)
    assert desk.hears(messages.Match(OTHER, "h", 1)) == [Send(OTHER, messages.NoWork(PeerId(5), OTHER))]


# --- the controller


def test_nobody_is_sent_to_one_who_leaves() -> None:
    desk = controllers.Desk()
    _, donor, requester = running(desk, 2, workers=2)
    desk.says(donor, messages.NonIdle(5.0, 3))
    assert desk.says(donor, messages.Leaving()) == [Send(donor, messages.Released())]
    assert desk.says(requester, messages.Idle(0.0)) == []
    assert desk.says(donor, messages.NonIdle(9.0, 9)) == []
    assert desk.says(donor, messages.Idle(0.0)) == []
    assert [at.state for at in desk.core.status().workers] == ["leaving", "idle"]


def test_what_it_hands_back_is_placed_with_others() -> None:
    desk = controllers.silent()
    _, donor, other = running(desk, 2, workers=2)
    desk.says(donor, messages.Leaving())
    desk.says(other, messages.Idle(0.0))
    batch = controllers.tasks(0, 2).part(1, 2)
    said = desk.says(donor, messages.Relay(CONTROLLER, 4, (batch,)))
    assert Send(donor, messages.Ack(4)) in said
    placed = [
        effect.to for effect in said if isinstance(effect, Send) and isinstance(effect.message, messages.SendWork)
    ]
    assert placed == [other]


def test_when_it_has_left_nobody_is_asked_what_it_held() -> None:
    desk = controllers.silent()
    _, donor, _ = running(desk, 2, workers=2)
    desk.says(donor, messages.Leaving())
    assert desk.leaves(donor, on_purpose=True) == []


@pytest.mark.parametrize("leaving", [True, False])
def test_when_it_dies_instead_or_says_nothing_before_it_goes_the_living_are_asked(leaving: bool) -> None:
    desk = controllers.silent()
    _, donor, other = running(desk, 2, workers=2)
    if leaving:
        desk.says(donor, messages.Leaving())
    assert desk.leaves(donor, on_purpose=not leaving) == [Send(other, messages.AskInventory(1))]


def test_its_results_are_acknowledged_one_by_one() -> None:
    desk = controllers.silent()
    _, worker = running(desk, 2)
    desk.says(worker, controllers.result(controllers.group(controllers.member(0, 1))))
    assert Send(worker, messages.Kept(1)) not in desk.receipts, f"it waits for {limits.KEPT_EVERY}"
    desk.says(worker, messages.Leaving())
    assert Send(worker, messages.Kept(1)) in desk.receipts
    desk.says(worker, controllers.result(controllers.group(controllers.member(1, 2))))
    assert Send(worker, messages.Kept(2)) in desk.receipts


def asked(desk: controllers.Desk, client: PeerId, worker: str) -> tuple[list[Effect], dict[str, object]]:
    """What asking for a worker's leave leads to, and the answer."""
    *rest, answer = desk.says(client, messages.Drain(3, worker, 20.0))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, messages.Answer)
    return rest, json.loads(answer.message.facts)


def test_a_client_names_it_by_name_or_number() -> None:
    desk = controllers.silent()
    client, one, other = running(desk, 2, workers=2)
    assert asked(desk, client, f"worker-{one}") == (
        [Send(one, messages.Leave(20.0))],
        {"meant": [one], "workers": [{"id": at, "name": f"worker-{at}"} for at in (one, other)]},
    )
    rest, facts = asked(desk, client, str(other))
    assert (rest, facts["meant"]) == ([Send(other, messages.Leave(20.0))], [other])
    assert asked(desk, client, "nobody")[1]["meant"] == []


def test_a_name_that_several_have_means_none() -> None:
    desk = controllers.silent()
    client = desk.joins("client", 0)
    for number in (7, 8):
        desk.event(events.Joined(PeerId(number), "worker", "twin", "h", 1, 1, controllers.where(PeerId(number))))
    rest, facts = asked(desk, client, "twin")
    assert (rest, facts["meant"]) == ([], [7, 8])


def test_work_of_another_for_one_who_leaves_is_placed_anew() -> None:
    desk = controllers.silent()
    _, donor, requester = running(desk, 2, workers=2)
    desk.says(requester, messages.Leaving())
    said = desk.says(donor, messages.Relay(requester, 31, (controllers.tasks(0, 2).part(1, 2),)))
    assert Send(donor, messages.Ack(31)) in said
    assert requester not in {effect.to for effect in said if isinstance(effect, Send)}


def test_a_match_with_one_who_leaves_ends_with_no_work() -> None:
    desk = controllers.Desk()
    _, donor, requester = running(desk, 2, workers=2)
    desk.says(donor, messages.NonIdle(5.0, 3))
    assert desk.says(requester, messages.Idle(0.0)) == [Send(donor, match(requester))]
    assert desk.says(donor, messages.Leaving()) == [
        Send(requester, messages.NoWork(donor, requester)),
        Send(donor, messages.Released()),
    ]
