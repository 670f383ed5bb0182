"""Run studies side by side on all cores. It must not know what they ask."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from bench.iso.store import Store
from bench.iso.study import Study
from bench.iso.trial import Outcome, Trial, simulate
from lbnet.sim.costs import Costs


class Driver:
    """Asks each study for trials, and gives it what came of them.

    Args:
        store: trials that were made already are taken from there, and new ones kept there.
        costs: of all simulations.
        events_max: of one simulation.
        jobs: processes; with 1 everything runs in this one.
        progress: told of each outcome that was computed.
    """

    def __init__(
        self, store: Store, costs: Costs, events_max: int, jobs: int, progress: Callable[[Outcome], None]
    ) -> None:
        self._store = store
        self._costs = costs
        self._events_max = events_max
        self._jobs = jobs
        self._progress = progress

    def run(self, studies: Sequence[Study]) -> None:
        """Run all of them to their ends."""
        if self._jobs == 1:
            for study in studies:
                self._run_here(study)
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=_leave_interrupts_to_parent)
        try:
            self._run_on(pool, studies)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run_here(self, study: Study) -> None:
        wanted = next(study, None)
        while wanted is not None:
            wanted = _send(study, [self._outcome(trial) for trial in wanted])

    def _outcome(self, trial: Trial) -> Outcome:
        return self._store.get(trial) or self._kept(simulate(trial, self._costs, self._events_max))

    def _kept(self, outcome: Outcome) -> Outcome:
        self._store.add(outcome)
        self._progress(outcome)
        return outcome

    def _run_on(self, pool: ProcessPoolExecutor, studies: Sequence[Study]) -> None:
        wanted: dict[int, list[Trial]] = {}
        waiting: list[tuple[int, Trial]] = []
        running: dict[Future[Outcome], int] = {}
        for number, study in enumerate(studies):
            self._go_on(number, study, next(study, None), wanted, waiting)
        while waiting or running:
            # Small clusters first: all studies get on, and what is affordable is there before what may not be.
            waiting.sort(key=lambda one: one[1].workers)
            while waiting and len(running) < self._jobs:
                number, trial = waiting.pop(0)
                running[pool.submit(simulate, trial, self._costs, self._events_max)] = number
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [one for one in running if one in done]:
                number = running.pop(future)
                self._kept(future.result())
                if all(self._store.get(trial) is not None for trial in wanted[number]):
                    after = _send(studies[number], [self._known(trial) for trial in wanted.pop(number)])
                    self._go_on(number, studies[number], after, wanted, waiting)

    def _go_on(
        self,
        number: int,
        study: Study,
        trials: list[Trial] | None,
        wanted: dict[int, list[Trial]],
        waiting: list[tuple[int, Trial]],
    ) -> None:
        """Answer a study from the store as far as that goes; what it wants then has to wait for a process."""
        while trials is not None:
            new = [trial for trial in trials if self._store.get(trial) is None]
            if new:
                wanted[number] = trials
                waiting += [(number, trial) for trial in new]
                return
            trials = _send(study, [self._known(trial) for trial in trials])

    def _known(self, trial: Trial) -> Outcome:
        outcome = self._store.get(trial)
        assert outcome is not None, "it was computed"
        return outcome


def _send(study: Study, outcomes: list[Outcome]) -> list[Trial] | None:
    try:
        return study.send(outcomes)
    except StopIteration:
        return None


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
