"""``rp``, random polling: an idle worker asks a random other one, and another after each refusal.

Nobody needs to know who has work, and no process is asked more than others: the controller takes no part in it. But
most questions are refused near the end of a job, when few workers have something to give; so each refusal doubles the
wait before the next question.

Messages per transfer: one ASK_WORK and NO_WORK for every donor that has nothing, then ASK_WORK, SEND_WORK and ACK, all
between workers. At the controller: two BALANCE for each worker and job, and PEERS at every join.

Source: "random polling" of Kumar, Grama, Vempaty, "Scalable load balancing techniques for parallel computers",
J. Parallel Distrib. Comput. 22 (1994), with back-off added.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnet.strategies.base import Ask, Strategy, WorkerDecision, WorkerStrategy, WorkerView
from lbnet.strategies.polling import PollingWorker
from lbnet.types import PeerId


class RandomPolling(Strategy):
    """Idle workers ask at random."""

    name = "rp"
    polls = True
    knows_peers = True

    def worker(self) -> WorkerStrategy:
        """Asks."""
        return _Worker()


class _Worker(PollingWorker):
    def ask(self, view: WorkerView) -> Iterator[WorkerDecision]:
        donor = random_peer(view)
        if donor is not None:
            yield Ask(donor)


def random_peer(view: WorkerView) -> PeerId | None:
    """Another worker, each with the same probability; None if there is none."""
    if len(view.peers) < 2:
        return None
    # The last one stands for this worker, which is never drawn.
    drawn = view.peers[int(view.draw() * (len(view.peers) - 1))]
    return drawn if drawn != view.me else view.peers[-1]
