"""The words for where an item is."""

from __future__ import annotations

from typing import Any

import pytest

from lbnet.client.explanation import Explanation

HERE: dict[str, Any] = {
    "job": 7, "index": 1_234, "state": "running", "name": "n", "priority": 0, "submitted": True, "items": 5_000,
    "closed": True, "outstanding": True, "descendants": 0, "before": None, "jobs_before": {}, "requeues": {},
    "recovering": False, "workers": [], "silent": [],
}  # fmt: skip
IDLE: dict[str, Any] = {
    "worker": "w", "id": 3, "running": None, "in_slot": None, "queued": None, "resting": None, "sent": [],
    "ready_slots": 2, "free_slots": 0,
}  # fmt: skip


def explained(*workers: dict[str, Any], **facts: Any) -> Explanation:
    return Explanation({**HERE, "workers": [{**IDLE, **worker} for worker in workers], **facts})


@pytest.mark.parametrize(
    ("explanation", "state", "sentences"),
    [
        (Explanation({"job": 7, "index": 1, "state": "unknown"}), "unknown", ["knows no job 7"]),
        (explained(submitted=False), "not submitted", ["does not exist: the job has 5,000 items"]),
        (explained(submitted=False, closed=False), "not submitted", ["has sent 5,000 items so far"]),
        (explained(outstanding=False), "settled", ["item 1,234 of job 7 is settled"]),
        (explained(outstanding=False, descendants=3), "spawned", ["waits for 3 tasks that descend from it"]),
        (
            explained({"running": {"slot": 1, "for_s": 2.5}}),
            "running",
            ["runs, for about 2.5 s now, in slot 1 of worker w"],
        ),
        (
            explained({"running": {"slot": 1, "for_s": 2.5}}, {"running": {"slot": 0, "for_s": 1.0}, "worker": "v"}),
            "running",
            ["slot 1 of worker w", "runs on worker v, too"],
        ),
        (
            explained({"in_slot": {"slot": 0, "for_s": 9.0, "tasks": 1}}),
            "waiting",
            ["does not run yet", "behind 1 task, of which one has run for 9.0 s", "All 2 slots are busy"],
        ),
        (
            explained({"queued": {"tasks": 20, "seconds": 3.25, "crashes": 0}}),
            "waiting",
            ["does not run yet", "waits at worker w: 20 tasks of about 3.2 s come first", "All 2 slots"],
        ),
        (
            explained({"queued": {"tasks": 0, "seconds": 0.0, "crashes": 2}, "free_slots": 1}),
            "waiting",
            ["does not run yet", "at worker w, and is next", "ended its process 2 times", "1 of 2 slots"],
        ),
        (
            explained({"resting": {"in_s": 4.0, "failures": 2.0}}),
            "waiting",
            ["does not run yet", "failed 2 times, and is tried again at worker w in 4.0 s", "All 2"],
        ),
        (explained({"sent": [5]}), "waiting", ["does not run yet", "Worker w has sent it to worker 5", "All 2"]),
        (
            explained(before=12, jobs_before={"9": 3}, priority=1),
            "waiting",
            [
                "not run yet",
                "at the controller, behind 12 tasks",
                "higher priority than 1 come first: 9 (3 tasks)",
                "no",
            ],
        ),
        (explained({}), "missed", ["does not run yet", "Nobody has it at this moment", "All 2"]),
        (
            explained({"ready_slots": 0}, recovering=True, silent=["v"]),
            "missed",
            ["does not run yet", "placed again as soon as", "No worker has a process that is ready", "came from: v"],
        ),
    ],
)
def test_each_place_has_its_words(explanation: Explanation, state: str, sentences: list[str]) -> None:
    assert explanation.state == state
    said = explanation.sentences()
    assert len(said) == len(sentences), said
    for sentence, words in zip(said, sentences, strict=True):
        assert words in sentence
    assert str(explanation) == " ".join(said)
