"""How much work goes where at once: pure arithmetic on estimates. It must not know who asks, nor why."""

from __future__ import annotations

from lbnet import limits


def payload_tasks(arrived: int, seconds: float) -> int:
    """Items that a client pickles together at most: about as many as the cluster works off in ``limits.PAYLOAD_S``.

    A payload costs every role as much for ten items as for ten thousand; but whoever gets a part of it is sent all.

    Args:
        arrived: results that have come.
        seconds: since the first item was sent.
    """
    pace = arrived / seconds if seconds > 0 else 0.0
    return max(limits.PAYLOAD_ITEMS, min(int(pace * limits.PAYLOAD_S), limits.PAYLOAD_ITEMS_MAX))


def slot_tasks(task_s: float | None, queued: int, slots: int) -> int:
    """Tasks to hand to a slot at once.

    About ``limits.SLOT_BATCH_S`` of work, or half as much again if nothing is left then, and never more than a fair
    share of what is queued. It need not shrink as
    the end nears, as in factoring (Hummel, Schonberg, Flynn 1992): what a slot has not begun is taken back from it
    when somebody has nothing to do, and every batch costs two messages.

    Args:
        task_s: typical seconds of a task; None while unknown, then it is one task.
        queued: tasks that wait at this worker, at least 1.
        slots: slots of this worker.
    """
    if task_s is None:
        return 1
    share = -(-queued // slots)
    tasks = int(limits.SLOT_BATCH_S / task_s)
    return max(1, share if share <= tasks + tasks // 2 else tasks)


def slot_batches(task_s: float | None) -> int:
    """Batches that a slot should hold: two where the way to the slot counts, else one."""
    return limits.SLOT_BATCHES_AHEAD if task_s is not None and task_s < limits.PREFETCH_BELOW_S else 1


def grant_tasks(task_s: float | None, finished: int, backlog: int, slots: int, slots_all: int) -> int:
    """Tasks that the controller places on a worker at once.

    About ``limits.GRANT_S`` of work for each of its slots, no more than half of its fair share of
    the backlog, or all of that share where half of it is less than ``limits.GRANT_LEAST_S`` of work; and at most
    ``limits.GRANT_GROWTH`` times what has been measured so far.

    Args:
        task_s: typical seconds of a task; None while unknown.
        finished: tasks of this function that have finished anywhere.
        backlog: tasks that the controller still has to place.
        slots: slots of this worker.
        slots_all: slots of all workers.
    """
    if task_s is None:
        return slots * limits.GRANT_FIRST_TASKS
    fair = -(-backlog * slots // max(slots_all, slots))
    least = int(limits.GRANT_LEAST_S * slots / task_s)
    plenty = int(limits.GRANT_S * slots / task_s)
    share = max(-(-fair // 2), min(least, fair))
    return max(1, min(plenty, share, max(slots, limits.GRANT_GROWTH * finished)))
