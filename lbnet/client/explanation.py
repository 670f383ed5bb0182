"""Where one item of a job is, and why it does not run yet, in words: from what the controller and the workers say.

Pure. It must not know how they were asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer. ``facts`` are those that it was made of; as a text it is a few sentences.

    Attributes:
        facts: of the controller, and under ``workers`` of each worker that holds something of it.
    """

    facts: dict[str, Any]

    @property
    def state(self) -> str:
        """``unknown``, ``not submitted``, ``settled``, ``running``, ``waiting``, ``spawned`` or ``missed``.

        ``spawned``: it has run, and what it spawned has not.
        """
        facts = self.facts
        if facts.get("state") == "unknown":
            return "unknown"
        if not facts["submitted"]:
            return "not submitted"
        if not facts["outstanding"]:
            return "spawned" if facts["descendants"] else "settled"
        if self._at("running"):
            return "running"
        waits = facts["before"] is not None or any(map(self._at, ("in_slot", "queued", "resting", "sent")))
        return "waiting" if waits else "missed"

    def __str__(self) -> str:
        return " ".join(self.sentences())

    def sentences(self) -> list[str]:
        """Where it is, then why it waits, then what follows from that for whoever asks."""
        facts, state = self.facts, self.state
        what = f"item {facts['index']:,} of job {facts['job']}"
        if state == "unknown":
            return [f"the controller knows no job {facts['job']}: it ended long ago, or there was none of this number."]
        if state == "not submitted":
            if facts["closed"]:
                return [f"{what} does not exist: the job has {facts['items']:,} items, from 0 on."]
            return [f"{what} has not been submitted: the client has sent {facts['items']:,} items so far."]
        if state == "settled":
            return [f"{what} is settled: it is done, has failed or was cancelled. The job is {facts['state']}."]
        if state == "spawned":
            return [f"{what} has run, and waits for {_tasks(facts['descendants'])} that descend from it."]
        if state == "running":
            (worker, run), *others = self._at("running")
            said = f"{what} runs, for about {run['for_s']:.1f} s now, in slot {run['slot']} of worker {worker}."
            return [said] + [f"It runs on worker {other}, too: one of them was thought lost." for other, _ in others]
        return [f"{what} does not run yet.", *self._why(), *self._silence()]

    def _why(self) -> list[str]:
        facts = self.facts
        said: list[str] = []
        for worker, slot in self._at("in_slot"):
            said.append(
                f"It waits in slot {slot['slot']} of worker {worker} behind {_tasks(slot['tasks'])}, of which one has "
                f"run for {slot['for_s']:.1f} s; if somebody runs dry, it is taken back from there."
            )
        for worker, queued in self._at("queued"):
            first = f": {_tasks(queued['tasks'])} of about {queued['seconds']:.1f} s come first"
            said.append(f"It waits at worker {worker}{first if queued['tasks'] else ', and is next'}.")
            if queued["crashes"]:
                said.append(f"It has ended its process {queued['crashes']} times, and so runs after all others.")
        for worker, rest in self._at("resting"):
            failures = f"failed {rest['failures']:.0f} times" if rest["failures"] > 1 else "failed once"
            said.append(f"It has {failures}, and is tried again at worker {worker} in {rest['in_s']:.1f} s.")
        for worker, sent in self._at("sent"):
            said.append(f"Worker {worker} has sent it to worker {sent[0]}, which has not said that it came.")
        if facts["before"] is not None:
            said.append(f"It waits at the controller, behind {_tasks(facts['before'])} of its job.")
        if facts["jobs_before"] and not self._at("running"):
            jobs = ", ".join(f"{job} ({_tasks(tasks)})" for job, tasks in facts["jobs_before"].items())
            said.append(f"Jobs of a higher priority than {facts['priority']} come first: {jobs}.")
        if not said:
            said.append(
                "Nobody has it: it was lost with a worker or a link, and is placed again as soon as that is certain."
                if facts["recovering"]
                else "Nobody has it at this moment: it is on its way, or was lost and will be missed."
            )
        return said + self._slots()

    def _slots(self) -> list[str]:
        workers = self.facts["workers"]
        if not workers and not self.facts["silent"]:
            return ["There is no worker: start one with lbnet worker --connect."]
        ready = sum(worker.get("ready_slots", 0) for worker in workers)
        free = sum(worker.get("free_slots", 0) for worker in workers)
        if workers and not ready:
            return ["No worker has a process that is ready."]
        if free:
            return [f"{free} of {ready} slots have nothing to do: it should start within a moment."]
        return [f"All {ready} slots are busy."] if workers else []

    def _silence(self) -> list[str]:
        silent = self.facts["silent"]
        return [f"No word came from: {', '.join(silent)}."] if silent else []

    def _at(self, where: str) -> list[tuple[str, Any]]:
        return [(worker["worker"], worker[where]) for worker in self.facts["workers"] if worker.get(where)]


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"
