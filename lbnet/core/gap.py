"""The balance report: how far a job was from the ideal, and how many slot seconds each cause took.

A slot counts from the submission of the job to its end, as the controller saw them, as far as its worker was there.
What it did is told by the :class:`~lbnet.core.account.Account` of its worker, by the worker's clock; the two are laid
over each other at the end of the job, so that the word that it has ended is part of the tail. The causes:

``start``
    Nothing to do before the first ticket of the job: what is left when all others are subtracted. A slot that had no
    ticket at all spent its time here.
``serialising``
    In tickets of the job, and not in the user's functions: unpickling, pickling, claims, the pipe between worker and
    slot, and its answers while the worker did something else.
``network``
    Nothing to do although tasks were queued at the worker (exact); and of the waits between two tickets as much as a
    round trip each, since so long a word and its answer are on their way although somebody has work at once. It is an
    estimate: a round trip is what the fastest answer to the question took that this report is made of, so that the
    longer way to a worker far away counts as the next; and a worker that asks before it runs dry has some of its trip
    behind it when the wait begins.
``waiting for work``
    The rest of the waits between two tickets of the job.
``tail``
    Nothing to do after the last ticket of the job.
``failures``
    Executions whose results were dropped (of a task that had been run elsewhere, that nobody wanted any more, or that
    came too late), failed attempts that were tried again, executions that died with their slots, and the time until
    their successors were up.
``other jobs``
    In tickets of other jobs; before the worker heard of this job, as long as it had been in them without a pause. Of a
    worker that had nothing of this job, the busy seconds of the others, in proportion to the time that they shared.
``unknown``
    Of a worker that did not answer, all that is none of: busy, dropped, other jobs. While a job runs, also what slots
    are in now.

Pure. Each worker's causes add up to its slot seconds without the busy ones, whatever workers say: what would be too
much is cut, first from ``tail``, last from ``failures``. ``start`` is below 0 only if more seconds were reported than
there were. It must not know how workers were asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lbnet.core.account import Account
from lbnet.core.advice import Evidence, advice
from lbnet.types import CAUSES, BalanceReport, WorkerBalance


@dataclass(frozen=True, slots=True)
class Share:
    """What is known of one worker.

    Attributes:
        name: of the worker.
        slots: how many it has.
        stay_s: how long it was there between submission and end.
        busy_s: of all results that it sent before the end.
        dropped_s: of those, of results that did not count.
        elsewhere_s: about what it spent in tasks of other jobs in that time, by their results.
        answered: whether it was there to answer.
        account: its answer; None if it had nothing of the job.
    """

    name: str
    slots: int
    stay_s: float
    busy_s: float
    dropped_s: float
    elsewhere_s: float
    answered: bool
    account: Account | None


def balance(makespan_s: float, shares: Sequence[Share], round_trip_s: float, *, over: bool) -> BalanceReport:
    """The report.

    Args:
        makespan_s: from the submission of the job to its end, or until now.
        shares: of all workers that were there.
        round_trip_s: how long a message to a worker and its answer take.
        over: the job has ended.
    """
    workers = tuple(_worker(share, round_trip_s, over=over) for share in shares)
    slot_s, busy_s = sum(worker.slot_s for worker in workers), sum(worker.busy_s for worker in workers)
    slots = slot_s / makespan_s if makespan_s > 0 else 0.0
    causes = {cause: sum(worker.causes[cause] for worker in workers) for cause in CAUSES}
    report = BalanceReport(makespan_s, slots, slot_s, busy_s, causes, workers)
    accounts = [share.account for share in shares if share.account is not None]
    heard = [share for share in shares if share.answered]
    evidence = Evidence(
        tasks=sum(account.tasks for account in accounts),
        tickets=sum(account.tickets for account in accounts),
        told_s=sum(account.told_s for account in accounts),
        serialising_s=causes["serialising"],
        longest_s=max((account.longest_s for account in accounts), default=0.0),
        slots=sum(share.slots for share in heard),
        unused=sum(share.slots if share.account is None else share.account.unused for share in heard),
    )
    return BalanceReport(makespan_s, slots, slot_s, busy_s, causes, workers, advice(report, evidence))


def _worker(share: Share, round_trip_s: float, *, over: bool) -> WorkerBalance:
    slot_s = share.slots * share.stay_s
    busy_s = share.busy_s - share.dropped_s
    left_s = slot_s - busy_s
    causes = dict.fromkeys(CAUSES, 0.0)
    for cause, seconds in _known(share, round_trip_s, over=over):
        fitting = min(seconds, max(left_s, 0.0)) if seconds > 0 else 0.0
        causes[cause] += fitting
        left_s -= fitting
    causes["start" if share.answered else "unknown"] += left_s
    return WorkerBalance(share.name, share.slots, slot_s, busy_s, causes, share.answered)


def _known(share: Share, round_trip_s: float, *, over: bool) -> list[tuple[str, float]]:
    """Causes and seconds, the surest first."""
    account = share.account
    if account is None:
        return [("failures", share.dropped_s), ("other jobs", share.elsewhere_s)]
    told_s = max(account.told_s, share.busy_s)
    failed_s = account.retried_s + account.lost_s
    serialising_s = account.inside_s - told_s - failed_s - account.running_s
    earlier_s = share.stay_s - account.window_s
    before_s = sum(max(0.0, min(seconds, earlier_s)) for seconds in account.before_s)
    on_its_way_s = min(account.waiting_s, account.gaps * round_trip_s) if account.gaps else 0.0
    return [
        ("failures", share.dropped_s + told_s - share.busy_s + failed_s + account.down_s),
        ("failures" if over else "unknown", account.running_s),
        ("serialising", serialising_s),
        ("network", account.held_up_s + on_its_way_s),
        ("waiting for work", account.waiting_s - on_its_way_s),
        ("other jobs", account.others_s + before_s),
        ("tail", account.tail_s),
    ]
