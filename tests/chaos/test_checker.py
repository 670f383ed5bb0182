"""The checker accepts what is true, and catches each planted fault in a history, a status and a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import jobs, tasks
from bench.chaos.checker import Checker, ViolationError
from bench.chaos.dice import Dice
from bench.chaos.history import Entry, Reader, What, Writer
from bench.chaos.jobs import Job, JobKind
from bench.chaos.tasks import MIXED, combine, plain

NAME = "c0.0:0-0"


def job(kind: JobKind = JobKind.FLAT, count: int = 5, **more: Any) -> Job:
    return Job(kind, seed=3, count=count, **{"taken": count, **more})


def true_entries(of: Job, name: str = NAME) -> list[Entry]:
    """What a client writes when everything is as it should be."""
    outcomes = [
        Entry(What.ERROR, name, index, answer.error) if answer.error else Entry(What.VALUE, name, index, answer.value)
        for index, answer in enumerate(jobs.answers(of))
    ]
    return [Entry(What.OPEN, name, value=of.facts()), *outcomes, Entry(What.END, name)]


def checked(entries: list[Entry]) -> Checker:
    checker = Checker()
    for entry in entries:
        checker.take(entry)
    return checker


def status(of: Job, **changes: Any) -> dict[str, Any]:
    """What the controller says of a job that has ended well."""
    failed = sum(bool(answer.error) for answer in jobs.answers(of))
    spawned = jobs.spawned(of) or 0
    counts = {"submitted": of.count, "spawned": spawned, "done": of.count + spawned - failed, "failed": failed}
    return {"jobs": [{"name": NAME, **counts, "cancelled": 0, "outstanding": 0, "balanced": True, **changes}]}


def log_of(of: Job) -> list[str]:
    return [f"{NAME} {key}" for key, count in jobs.executions(of).items() for _ in range(count)]


@pytest.mark.parametrize("kind", list(JobKind))
def test_the_truth_is_accepted_for_every_kind_of_job(kind: JobKind) -> None:
    of = job(kind)
    checker = checked(true_entries(of))
    checker.finish()
    checker.check_status(status(of), settled=True)
    assert checker.outcomes == 5
    assert checker.check_executions(log_of(of)).repeated == 0


class TestHistory:
    def caught(self, entries: list[Entry], words: str) -> None:
        with pytest.raises(ViolationError, match=words):
            checked(entries).finish()

    def test_duplicate(self) -> None:
        entries = true_entries(job(ordered=False))
        self.caught([*entries[:3], entries[2], *entries[3:]], "duplicate: .*item 1 ")

    def test_duplicate_with_another_outcome(self) -> None:
        entries = true_entries(job(ordered=False))
        self.caught([*entries[:3], Entry(What.ERROR, NAME, 1, "PlannedError"), *entries[3:]], "duplicate: .*item 1 ")

    def test_missing_at_the_end_of_its_job(self) -> None:
        entries = true_entries(job(ordered=False))
        self.caught([*entries[:3], *entries[4:]], "missing: .* without 2 of 5")

    def test_missing_at_the_end_of_the_run(self) -> None:
        self.caught(true_entries(job())[:-2], "not settled: .* lacks 4 of 5")

    def test_a_job_without_its_end(self) -> None:
        self.caught(true_entries(job())[:-1], "not settled")

    def test_wrong_value(self) -> None:
        entries = true_entries(job())
        self.caught([*entries[:2], Entry(What.VALUE, NAME, 1, [1, 9]), *entries[3:]], "wrong outcome: .*item 1")

    def test_the_value_of_another_item(self) -> None:
        entries = true_entries(job(ordered=False))
        self.caught([entries[0], Entry(What.VALUE, NAME, 1, entries[1].value)], "wrong outcome: .*item 1")

    def test_a_failure_that_was_not_to_be(self) -> None:
        entries = true_entries(job())
        self.caught([*entries[:2], Entry(What.ERROR, NAME, 1, "TaskCrashedError")], "wrong outcome: .*TaskCrashedError")

    def test_a_value_where_a_failure_was_to_be(self) -> None:
        of = job(JobKind.FAILING, 60)
        at = next(index for index, answer in enumerate(jobs.answers(of)) if answer.error)
        entries = true_entries(of)
        entries[1 + at] = Entry(What.VALUE, NAME, at, [at, at * at + 7])
        self.caught(entries, f"wrong outcome: .*item {at}:")

    def test_outcome_of_an_item_that_is_none(self) -> None:
        entries = true_entries(job(ordered=False))
        for index in (5, -1):
            self.caught([*entries[:3], Entry(What.VALUE, NAME, index, [5, 32])], f"outcome of nobody: .*item {index}")

    def test_outcome_of_a_job_that_is_none(self) -> None:
        self.caught([*true_entries(job()), Entry(What.VALUE, "c9.0:0-0", 0, [0, 7])], "outcome of nobody: .*c9")

    def test_outcome_after_the_end(self) -> None:
        entries = true_entries(job(ordered=False))
        self.caught([*entries, entries[1]], "late outcome")

    def test_out_of_order(self) -> None:
        entries = true_entries(job(ordered=True))
        self.caught([entries[0], entries[2], entries[1], *entries[3:]], "out of order: .*item 1 came when item 0")

    def test_calls_have_no_order(self) -> None:
        opened, *outcomes, end = true_entries(job(JobKind.CALLS, ordered=True))
        checked([opened, *reversed(outcomes), end]).finish()

    def test_a_job_that_broke(self) -> None:
        opened = true_entries(job())[0]
        self.caught(
            [opened, Entry(What.BROKEN, NAME, value="ConnectionLostError: gone")], "broke .*ConnectionLostError"
        )

    def test_a_reduced_value_that_lacks_a_part_or_has_it_twice(self) -> None:
        for kind in (JobKind.TREE, JobKind.UNITS):
            entries = true_entries(job(kind))
            root, count, total = entries[1].value
            for wrong in ([root, count - 1, total], [root, count, total + 1], [MIXED, count, total]):
                self.caught([entries[0], Entry(What.VALUE, NAME, 0, wrong)], "wrong outcome: .*item 0")

    def test_a_client_that_was_killed_owes_nothing_and_may_still_not_be_wrong(self) -> None:
        entries = true_entries(job())
        checker = Checker()
        checker.abandon("c0.0:")
        for entry in entries[:3]:
            checker.take(entry)
        checker.finish()
        with pytest.raises(ViolationError, match="wrong outcome"):
            checker.take(Entry(What.VALUE, NAME, 2, [2, 0]))
        self.caught([*entries, *true_entries(job(), "c0.00:0-0")[:3]], "not settled: job c0.00:0-0")

    def test_a_job_that_was_given_up_may_end_early(self) -> None:
        of = job(JobKind.CANCELLED, taken=2)
        entries = true_entries(of)
        checked([*entries[:3], Entry(What.CANCEL, NAME), entries[-1]]).finish()

    def test_what_was_withdrawn_need_not_come_and_may_not(self) -> None:
        of = job(JobKind.WITHDRAWN)
        entries = true_entries(of)
        withdrawn = [*entries[:5], Entry(What.WITHDRAW, NAME, 4)]
        checked([*withdrawn, entries[-1]]).finish()
        self.caught([*withdrawn, entries[5]], "late outcome: .*item 4 was withdrawn")
        self.caught([*entries[:4], Entry(What.WITHDRAW, NAME, 4), entries[-1]], "missing: .* without 3 of 5")

    def test_a_job_that_was_handed_in_outlives_its_client_and_another_reader_gets_the_rest(self) -> None:
        opened, *outcomes, end = true_entries(job(JobKind.DETACHED, ordered=False))
        handed_in = [opened, Entry(What.HANDED_IN, NAME, value=7), Entry(What.READ, NAME), *outcomes[:3]]
        checker = checked(handed_in)
        checker.abandon("c0.0:")
        with pytest.raises(ViolationError, match="not settled: .* lacks 3, 4 of 5"):
            checker.finish()
        again = [*handed_in, Entry(What.READ, NAME), outcomes[2]]
        checked([*again, *outcomes[3:], end]).finish()
        self.caught([*again, outcomes[2]], "duplicate: .*item 2 ")
        self.caught([*again, outcomes[3], end], "missing: .* without 4 of 5")
        self.caught([*handed_in, outcomes[2]], "duplicate: .*item 2 ")


class TestStatus:
    def caught(self, of: Job, words: str, **changes: Any) -> None:
        with pytest.raises(ViolationError, match=words):
            checked(true_entries(of)).check_status(status(of, **changes), settled=True)

    def test_books_that_do_not_balance(self) -> None:
        self.caught(job(), "unbalanced", done=4)

    def test_books_that_balance_and_are_not_the_clients(self) -> None:
        self.caught(job(), "wrong books", done=4, failed=1)
        self.caught(job(), "wrong books", submitted=6, done=6)
        self.caught(job(JobKind.TREE), "wrong books", spawned=0, done=5)

    def test_no_more_may_be_cancelled_than_was_withdrawn(self) -> None:
        of = job(JobKind.WITHDRAWN)
        entries = true_entries(of)
        checker = checked([*entries[:4], Entry(What.WITHDRAW, NAME, 3), Entry(What.WITHDRAW, NAME, 4), entries[-1]])
        for cancelled in (0, 1, 2):
            checker.check_status(status(of, done=5 - cancelled, cancelled=cancelled), settled=True)
        with pytest.raises(ViolationError, match="wrong books"):
            checker.check_status(status(of, done=2, cancelled=3), settled=True)

    def test_a_task_that_is_left_over(self) -> None:
        self.caught(job(), "left over", done=4, outstanding=1)

    def test_while_the_run_goes_on_only_the_balance_counts(self) -> None:
        of = job()
        checker = checked(true_entries(of)[:2])
        checker.check_status(status(of, done=1, outstanding=4), settled=False)
        with pytest.raises(ViolationError, match="unbalanced"):
            checker.check_status(status(of, done=1, outstanding=3), settled=False)

    def test_jobs_of_others_must_balance_too(self) -> None:
        of = job()
        with pytest.raises(ViolationError, match="unbalanced"):
            Checker().check_status(status(of, done=4), settled=True)


class TestExecutions:
    def test_repeated_ones_are_counted(self) -> None:
        of = job(JobKind.FAILING, 60, retries=2)
        found = checked(true_entries(of)).check_executions([*log_of(of), f"{NAME} 0", f"{NAME} 0", f"{NAME} 1"])
        assert found.repeated == 3
        assert found.executions == len(log_of(of)) + 3

    def test_a_task_that_nobody_made(self) -> None:
        checker = checked(true_entries(job()))
        for line in (f"{NAME} 5", "c9.0:0-0 0"):
            with pytest.raises(ViolationError, match="task of nobody"):
                checker.check_executions([*log_of(job()), line])

    def test_an_outcome_without_an_execution(self) -> None:
        with pytest.raises(ViolationError, match="never run: .*for 4,"):
            checked(true_entries(job())).check_executions(log_of(job())[:-1])


class TestFiles:
    def test_what_is_written_is_read_once(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        writer, reader = Writer(path), Reader(path)
        assert reader.entries() == []
        writer.write(What.VALUE, NAME, 3, [3, 16])
        (entry,) = reader.entries()
        assert (entry.what, entry.job, entry.index, entry.value) == (What.VALUE, NAME, 3, [3, 16])
        assert reader.entries() == []

    def test_a_torn_line_waits_for_its_rest(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        line = json.dumps({"what": "end", "job": NAME, "index": -1, "value": None, "at_s": 1.0}).encode() + b"\n"
        path.write_bytes(line + line[:9])
        reader = Reader(path)
        assert [entry.what for entry in reader.entries()] == [What.END]
        path.write_bytes(line + line)
        assert [entry.what for entry in reader.entries()] == [What.END]

    def test_a_line_that_is_no_entry_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        path.write_bytes(b"nonsense\n")
        with pytest.raises(ValueError, match="Expecting value"):
            Reader(path).entries()


class TestJobs:
    def test_a_job_and_its_answers_are_the_same_each_time_and_differ_by_seed(self) -> None:
        drawn = [jobs.draw(tuple(JobKind), Dice(1, number)) for number in range(100)]
        assert drawn == [jobs.draw(tuple(JobKind), Dice(1, number)) for number in range(100)]
        assert drawn != [jobs.draw(tuple(JobKind), Dice(2, number)) for number in range(100)]
        assert {each.kind for each in drawn} == set(JobKind)

    def test_a_job_survives_json(self) -> None:
        of = jobs.draw((JobKind.FAILING,), Dice(1))
        assert jobs.job_of(json.loads(json.dumps(of.facts()))) == of

    @pytest.mark.parametrize("kind", [kind for kind in JobKind if kind not in {JobKind.TREE, JobKind.FAILING}])
    def test_the_answers_are_what_the_functions_return(
        self, kind: JobKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "nap", lambda _: None)
        of = job(kind, 3)
        fn = jobs.function(of, str(tmp_path / "log"), NAME)
        small = [(item[0], 5_000) if kind is JobKind.UNITS else item for item in jobs.items(of)]
        got = [plain(fn(item)) for item in small]
        if kind is JobKind.UNITS:
            assert got == [[index, 5_000, sum(range(5_000))] for index in range(3)]
        else:
            assert got == [answer.value for answer in jobs.answers(of)]
        assert (tmp_path / "log").read_text().splitlines() == log_of(of)

    def test_parts_of_two_items_show(self) -> None:
        assert combine((1, 2, 3), (1, 4, 5)) == (1, 6, 8)
        assert combine((1, 2, 3), (2, 4, 5))[0] == MIXED
