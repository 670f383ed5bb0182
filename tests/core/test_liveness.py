"""Links that fall silent, in virtual time: who says BEAT when, who is given up, and who only slept himself."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.core import effects, events
from lbnet.core.controller import Controller
from lbnet.core.effects import Disconnect, Effect, Send
from lbnet.core.events import Event
from lbnet.core.liveness import Liveness
from lbnet.core.worker import Worker
from lbnet.protocol import messages
from lbnet.strategies import registry
from lbnet.types import CONTROLLER, Address, JobId, JobOptions, PeerId, SlotId

D = 12.0
"""A deadline whose third and twelfth are whole numbers."""

ONE, OTHER, THIRD = PeerId(1), PeerId(2), PeerId(3)
NEVER: tuple[list[PeerId], list[PeerId]] = ([], [])


# --- links


def test_without_a_deadline_nobody_is_watched() -> None:
    liveness = Liveness(0.0)
    liveness.opened(ONE, 0.0)
    liveness.heard(ONE, 1.0)
    liveness.said([ONE], 1.0)
    liveness.closed(ONE)
    assert liveness.look_at == math.inf
    assert liveness.deadline_s == 0


def test_without_a_link_there_is_nothing_to_look_at() -> None:
    liveness = Liveness(D)
    assert liveness.look_at == math.inf
    liveness.opened(ONE, 5.0)
    assert liveness.look_at == 5.0 + D / 3
    liveness.closed(ONE)
    assert liveness.look_at == math.inf
    liveness.closed(ONE)


def test_after_a_third_of_the_deadline_a_silent_link_gets_a_beat_and_only_that_one() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    liveness.opened(OTHER, 0.0)
    liveness.said([OTHER, OTHER], 1.0)
    assert liveness.look(4.0) == ([ONE], [])
    assert liveness.look_at == 5.0
    assert liveness.look(5.0) == ([OTHER], [])
    assert liveness.look_at == 8.0  # the beats count as said


def test_what_was_said_to_somebody_without_a_link_opens_none() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    liveness.said([OTHER], 1.0)
    liveness.heard(OTHER, 1.0)
    assert liveness.look(4.0) == ([ONE], [])


def test_after_the_deadline_a_silent_peer_is_dead_and_forgotten() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    liveness.opened(OTHER, 0.0)
    for now in (4.0, 8.0):
        assert liveness.look(now) == ([ONE, OTHER], [])
        liveness.heard(OTHER, now)
    assert liveness.look(12.0) == ([OTHER], [ONE])
    liveness.heard(ONE, 12.5)  # what was still in a buffer does not bring it back
    assert liveness.look(16.0) == ([OTHER], [])
    assert "12 s" in liveness.silence()


def test_who_slept_himself_gives_everybody_a_new_deadline() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    assert liveness.look(100.0) == ([ONE], [])
    assert liveness.look(104.0) == ([ONE], [])
    assert liveness.look(108.0) == ([ONE], [])
    assert liveness.look(112.0) == ([], [ONE])


def test_a_look_that_is_a_little_late_still_sees_the_dead() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    assert [liveness.look(now)[1] for now in (4.5, 9.0, 13.5)] == [[], [], [ONE]]


def test_who_is_more_patient_than_the_others_beats_as_often_as_they_want() -> None:
    liveness = Liveness(D, 2 * D)
    liveness.opened(ONE, 0.0)
    assert liveness.deadline_s == 2 * D
    looks = [liveness.look(now) for now in range(4, 25, 4)]
    assert looks == [([ONE], [])] * 5 + [([], [ONE])]


def test_who_is_less_patient_than_the_others_has_to_be_as_patient() -> None:
    assert Liveness(D, D / 2).deadline_s == D
    assert Liveness(0.0, D).deadline_s == 0.0  # nobody else would say BEAT


def test_another_deadline_can_be_agreed_on() -> None:
    liveness = Liveness(D)
    liveness.opened(ONE, 0.0)
    liveness.agree(0.0)
    assert liveness.look_at == math.inf
    liveness.agree(3.0)
    liveness.opened(ONE, 5.0)
    assert liveness.look_at == 6.0


def test_one_look_goes_over_all_links_and_they_do_not_bring_one_each() -> None:
    liveness = Liveness(D)
    for number in range(1, 1_001):
        liveness.opened(PeerId(number), number * 0.004)
    looks, beats = 0, 0
    while liveness.look_at < 100.0:
        beat, dead = liveness.look(liveness.look_at)
        looks, beats = looks + 1, beats + len(beat)
        assert not dead
        now = liveness.look_at
        for peer in beat:
            liveness.heard(peer, now)
    assert looks <= 100.0 / (D / 12)
    assert beats > 1_000 * 100.0 / (D / 3 + D / 12) - 1_001


# --- any history

STEPS = st.lists(
    st.tuples(st.sampled_from(["look", "hear", "say", "open", "close"]), st.integers(1, 4), st.floats(0.0, 3.0)),
    max_size=80,
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(steps=STEPS, late=st.floats(0.0, D / 3))
def test_silence_is_noticed_in_time_and_nothing_else_is(steps: list[tuple[str, int, float]], late: float) -> None:
    """Looks come up to ``late`` after they are due: beats and deaths are late by no more than that and a twelfth."""
    liveness, now = Liveness(D), 0.0
    heard: dict[PeerId, float] = {}
    spoke: dict[PeerId, float] = {}

    def look() -> None:
        beat, dead = liveness.look(now)
        for peer in dead:
            assert now - heard.pop(peer) >= D
            del spoke[peer]
        for peer in beat:
            assert now - spoke[peer] >= D / 3
            spoke[peer] = now
        slack = D / 12 + late + 1e-9
        assert all(now - at < D for at in heard.values())
        assert all(now - at < D / 3 for at in spoke.values())
        assert now < liveness.look_at
        assert all(liveness.look_at <= at + D / 3 + slack for at in spoke.values())
        assert all(liveness.look_at <= at + D + slack for at in heard.values())

    for what, number, pause_s in steps:
        until = now + pause_s
        while liveness.look_at + late * 0.99 <= until:
            now = liveness.look_at + late * 0.99
            look()
        now, peer = until, PeerId(number)
        if what == "look" and liveness.look_at <= now:
            look()
        elif what == "open" and peer not in heard:
            liveness.opened(peer, now)
            heard[peer] = spoke[peer] = now
        elif what == "close":
            liveness.closed(peer)
            heard.pop(peer, None)
            spoke.pop(peer, None)
        elif what == "hear":
            liveness.heard(peer, now)
            if peer in heard:
                heard[peer] = now
        elif what == "say":
            liveness.said([peer], now)
            if peer in spoke:
                spoke[peer] = now
    assert (liveness.look_at == math.inf) == (not heard)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32), lag_s=st.floats(0.0, D / 4), sleeps=st.booleans())
def test_two_that_live_never_give_each_other_up(seed: int, lag_s: float, sleeps: bool) -> None:
    """Each looks late, by less than makes it doubt itself; words take ``lag_s``. One may be stopped, for long."""
    rng = random.Random(seed)
    sides = {ONE: Liveness(D), OTHER: Liveness(D)}
    for me, liveness in sides.items():
        liveness.opened(OTHER if me == ONE else ONE, 0.0)
    looks = {me: liveness.look_at for me, liveness in sides.items()}
    mail: list[tuple[float, PeerId, PeerId]] = []
    asleep_until = 0.0
    while (now := min(*looks.values(), *(at for at, _, _ in mail))) < 20 * D:
        for entry in [entry for entry in mail if entry[0] <= now]:
            mail.remove(entry)
            sides[entry[2]].heard(entry[1], now)
        for me in [me for me, at in looks.items() if at <= now]:
            peer = OTHER if me == ONE else ONE
            beat, dead = sides[me].look(now)
            assert not dead or sleeps
            if dead:
                assert me == ONE, "only who was not stopped may give up who was"
                assert asleep_until > 0
                return
            mail += [(now + lag_s, me, peer) for _ in beat]
            late_s = rng.random() * D / 12
            if sleeps and me == OTHER and now > 5 * D and not asleep_until:
                late_s = D * (0.4 + 2 * rng.random())
                asleep_until = now + late_s
            looks[me] = sides[me].look_at + late_s
            if asleep_until == now + late_s:  # what comes meanwhile waits, and is read after the clock is looked at
                mail = [
                    (max(at, looks[me] + 0.001), source, to) if to == me else (at, source, to)
                    for at, source, to in mail
                ]


# --- the controller


def controller(deadline_s: float = D) -> Controller:
    made = Controller(registry.load, strategy="sb", placement="spread", deadline_s=deadline_s)
    for peer, role in ((ONE, "worker"), (OTHER, "client")):
        made.handle(joined(peer, role), 0.0)
    return made


def joined(peer: PeerId, role: str) -> Event:
    return events.Joined(peer, role, "x", "h", 1, 1, Address("h", 1))


def timer(done: list[Effect]) -> float | None:
    times = [effect.at for effect in done if isinstance(effect, effects.SetTimer)]
    return times[-1] if times else None


def beats(done: list[Effect]) -> list[PeerId]:
    return [effect.to for effect in done if isinstance(effect, Send) and isinstance(effect.message, messages.Beat)]


def given_up(done: list[Effect]) -> list[PeerId]:
    return [effect.peer for effect in done if isinstance(effect, Disconnect) and effect.silent]


def test_a_controller_keeps_silent_links_alive_and_gives_up_dead_ones() -> None:
    core = controller()
    core.handle(events.Received(ONE, messages.Beat()), 3.0)
    done = core.handle(events.Tick(), 4.0)
    assert OTHER in beats(done)
    assert timer(done) is not None
    core.handle(events.Received(ONE, messages.Beat()), 7.0)
    core.handle(events.Tick(), 8.0)
    done = core.handle(events.Tick(), 12.0)
    assert given_up(done) == [OTHER]
    assert next(e for e in done if isinstance(e, Disconnect)).sentence == "nothing came from it for 12 s"
    assert given_up(core.handle(events.Tick(), 16.0)) == []
    assert len(core.status().workers) == 1


def test_who_is_given_up_leaves_as_everybody_does() -> None:
    core = controller()
    for now in (4.0, 8.0):
        core.handle(events.Tick(), now)
    assert given_up(core.handle(events.Tick(), 12.0)) == [ONE, OTHER]
    assert len(core.status().workers) == 1  # the driver has closed no link yet
    core.handle(events.Left(ONE, "silent"), 12.0)
    core.handle(events.Left(OTHER, "silent"), 12.0)
    assert core.status().workers == ()
    assert core.status().clients == 0


def test_a_controller_always_has_a_timer_for_its_links() -> None:
    core = Controller(registry.load, strategy="sb", placement="spread", deadline_s=D)
    assert timer(core.handle(joined(ONE, "worker"), 0.0)) == D / 3
    assert timer(core.handle(events.Received(ONE, messages.Beat()), 1.0)) is None  # it is set already
    assert timer(core.handle(events.Tick(), 1.5)) == D / 3  # one that came early, or for something else
    assert timer(core.handle(events.Left(ONE, "bye", on_purpose=True), 2.0)) is not None  # for workers to come


def test_what_a_controller_says_anyway_replaces_the_beat() -> None:
    core = controller()
    core.handle(events.Received(OTHER, messages.Ask(1, "report", JobId(1))), 2.0)
    assert OTHER not in beats(core.handle(events.Tick(), 4.0))
    assert OTHER in beats(core.handle(events.Tick(), 6.0))


def test_bytes_of_a_long_message_keep_a_controller_waiting() -> None:
    core = controller()
    for now in (4.0, 8.0, 12.0, 16.0):
        core.handle(events.Heard(ONE), now)
        core.handle(events.Heard(OTHER), now)
        assert given_up(core.handle(events.Tick(), now)) == []
    core.handle(events.Tick(), 20.0)
    core.handle(events.Tick(), 24.0)
    assert given_up(core.handle(events.Tick(), 28.0)) == [ONE, OTHER]


def test_a_controller_without_a_deadline_says_no_beat_and_sets_no_timer() -> None:
    core = controller(0.0)
    assert core.deadline_s == 0.0
    assert core.handle(events.Tick(), 1_000.0) == []


# --- a worker


def worker(deadline_s: float = D, *, ready: bool = True) -> Worker:
    made = Worker(ONE, "w", 1, registry.load, random.Random(1).random, Liveness(deadline_s))
    if ready:
        made.handle(events.SlotReady(SlotId(0), 1), 100.0)
    return made


@pytest.mark.parametrize("ready", [True, False])
def test_a_worker_says_beat_whether_or_not_its_slots_are_up(ready: bool) -> None:
    core = worker(ready=ready)
    core.handle(events.Received(CONTROLLER, messages.OpenJob(JobId(1), JobOptions())), 100.0)
    found = []
    for tick in range(1, 30):
        now = 100.0 + tick
        done = core.handle(events.Tick(), now)
        core.handle(events.Received(CONTROLLER, messages.Beat()), now)
        found += [now] * len(beats(done))
        armed = timer(done)
        assert armed is not None, "else nobody would wake it up"
        assert now < armed <= now + D / 3 + D / 12
    assert 5 <= len(found) <= 29 / (D / 3)


def test_a_worker_gives_up_a_silent_controller_and_a_silent_worker() -> None:
    core = worker()
    core.handle(events.Joined(OTHER, "peer", "", "", 0, 0, Address("h", 1)), 101.0)
    lost: list[PeerId] = []
    for now in range(102, 120):
        if now < 104:
            core.handle(events.Received(OTHER, messages.Beat()), now)
        lost += given_up(core.handle(events.Tick(), now))
    assert lost == [CONTROLLER, OTHER]


def test_a_worker_that_is_back_watches_its_controller_again() -> None:
    core = worker()
    core.handle(events.Left(CONTROLLER, "cut"), 101.0)
    assert beats(core.handle(events.Tick(), 110.0)) == []
    core.liveness.agree(D / 2)
    core.handle(events.Joined(CONTROLLER, "controller", "", "", 0, 0, Address("h", 1), back=True), 110.0)
    lost = [now for now in range(111, 130) if given_up(core.handle(events.Tick(), now))]
    assert lost == [116]


def test_a_worker_that_was_stopped_doubts_itself_first() -> None:
    core = worker()
    assert given_up(core.handle(events.Tick(), 500.0)) == []
    assert [now for now in range(501, 530) if given_up(core.handle(events.Tick(), now))] == [512]


def test_bytes_of_a_long_message_keep_a_worker_waiting() -> None:
    core = worker()
    for now in range(101, 150):
        core.handle(events.Heard(CONTROLLER), now)
        assert given_up(core.handle(events.Tick(), now)) == []
