"""A function over JSON lines: every line has a result or is named, whatever happens."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Cluster, ended, environment, free_port, lbnet, sentence, start, until


def values(text: str) -> list[object]:
    return [json.loads(line) for line in text.splitlines()]


# --- lines ----------------------------------------------------------------------------------------


def test_one_of_a_thousand_lines_fails_and_is_named(folder: Path) -> None:
    (folder / "items.jsonl").write_text("".join(f"{number}\n" for number in range(1_000)))
    result = lbnet("map", "work:not_seven", "items.jsonl", "-o", "results.jsonl", cwd=folder)
    assert result.returncode == 1
    assert result.stdout == ""
    assert values((folder / "results.jsonl").read_text()) == [each for each in range(1_000) if each != 7]
    named, continued, total = result.stderr.splitlines()
    assert named == "line 8: ValueError: seven"
    assert continued.startswith("    is not welcome (raised on worker local-0, ")
    assert total == "lbnet: 1 of 1,000 lines failed"


def test_the_balance_is_shown_beside_the_results(folder: Path) -> None:
    (folder / "items.jsonl").write_text("".join(f"{number}\n" for number in range(100)))
    result = lbnet("map", "math:sqrt", "items.jsonl", "--balance", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert len(values(result.stdout)) == 100
    first, head, *_ = result.stderr.splitlines()
    assert first.strip() == "Slot seconds"
    assert head.split()[:2] == ["worker", "busy"]
    assert "% of the ideal" in result.stderr


def test_bad_lines_results_that_are_not_json_and_empty_lines_are_told_apart(shared: Cluster, folder: Path) -> None:
    written = ['"good"', "", '{"a": ', '"set"', "   ", '"nan"', '"bytes"', '"key"', "\udcff", '"unknown"', '"good"']
    data = "\n".join(written).encode("utf-8", "surrogateescape")
    result = lbnet("map", "work:of_kind", "-", "--numbered", cwd=folder, LBNET_ADDRESS=shared.address, stdin=data)
    assert result.returncode == 1
    assert values(result.stdout) == [{"line": line, "value": {"a": None}} for line in (1, 11)]
    by_line = dict(line.split(": ", 1) for line in result.stderr.splitlines()[:-1])
    assert sorted(by_line) == sorted(f"line {line}" for line in (3, 4, 6, 7, 8, 9, 10))
    assert by_line["line 3"].startswith("not JSON: ")
    assert by_line["line 9"].startswith("not JSON: ")
    assert by_line["line 4"].startswith("ValueError: the result, of type set, cannot be written as JSON: ")
    assert by_line["line 6"].startswith("ValueError: the result, of type list, cannot be written as JSON: ")
    assert by_line["line 10"].startswith("KeyError: 'unknown' (raised on worker ")
    assert result.stderr.splitlines()[-1] == "lbnet: 7 of 9 lines failed"


def test_unicode_comes_back_as_it_went(shared: Cluster, folder: Path) -> None:
    written = ["é", "日本", "🂡", "\x00", "\ud800", {"ключ": ["ß"]}]
    lines = "\n".join(json.dumps(value, ensure_ascii=value != "日本") for value in written)
    result = lbnet("map", "work:same", "-", cwd=folder, LBNET_ADDRESS=shared.address, stdin=lines, LC_ALL="C")
    assert result.returncode == 0, result.stderr
    assert values(result.stdout) == written


def test_an_input_without_values_has_no_results(shared: Cluster, folder: Path) -> None:
    result = lbnet("map", "work:double", os.devnull, cwd=folder, LBNET_ADDRESS=shared.address)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_task_that_kills_its_process_fails_alone(shared: Cluster, folder: Path) -> None:
    result = lbnet(
        "map", "work:deadly", "-", "--numbered", cwd=folder, LBNET_ADDRESS=shared.address, stdin="1\n2\n3\n4\n"
    )
    assert result.returncode == 1
    assert values(result.stdout) == [{"line": line, "value": line} for line in (1, 3, 4)]
    (named,) = [line for line in result.stderr.splitlines() if line.startswith("line 2: ")]
    assert named.startswith("line 2: TaskCrashedError: killed by SIGKILL")


def test_an_error_without_words_and_a_task_over_its_time_are_named(shared: Cluster, folder: Path) -> None:
    result = lbnet("map", "work:wordless", "-", cwd=folder, LBNET_ADDRESS=shared.address, stdin="1\n")
    assert result.returncode == 1
    assert result.stderr.startswith("line 1: ")
    assert "Words" in result.stderr
    item = json.dumps(str(folder / "begun"))
    result = lbnet(
        "map", "work:napping", "-", "--task-timeout", "0.1", cwd=folder, LBNET_ADDRESS=shared.address, stdin=item
    )
    assert result.returncode == 1
    assert result.stderr.startswith("line 1: TaskTimeoutError: ")


def test_what_tasks_print_is_not_among_the_results(folder: Path) -> None:
    result = lbnet("map", "work:chatty", "-", cwd=folder, stdin="1\n2\n")
    assert result.stdout == "1\n2\n"
    assert result.stderr.count("hello from a task") == 2


def test_failures_are_counted_beyond_those_that_are_shown(shared: Cluster, folder: Path) -> None:
    result = lbnet("map", "work:double", "-", cwd=folder, LBNET_ADDRESS=shared.address, stdin="x\n" * 1_002)
    assert result.returncode == 1
    *_, last_shown, cut, total = result.stderr.splitlines()
    assert last_shown.startswith("line 1000: ")
    assert cut == "further failures are counted, not shown"
    assert total == "lbnet: 1,002 of 1,002 lines failed"


# --- files ----------------------------------------------------------------------------------------


def test_results_come_while_the_input_is_still_open(folder: Path) -> None:
    with start("map", "work:double", "-", folder=folder, stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        for number in range(3):
            running.process.stdin.write(b"%d\n" % number)
            running.process.stdin.flush()
            assert running.line() == str(2 * number)
        running.process.stdin.close()
        assert running.ends() == 0


def test_a_folder_that_does_not_exist_is_refused(folder: Path) -> None:
    (folder / "items.jsonl").write_text("1\n")
    text = sentence(lbnet("map", "work:double", "items.jsonl", "-o", "nowhere/out", cwd=folder), 2)
    assert text == "cannot write nowhere/out: No such file or directory"
    text = sentence(lbnet("map", "work:double", "nothing.jsonl", cwd=folder), 2)
    assert text == "cannot read nothing.jsonl: No such file or directory"
    assert "Is a directory" in sentence(lbnet("map", "work:double", ".", cwd=folder), 2)


def test_earlier_results_survive_a_command_that_cannot_begin(folder: Path) -> None:
    (folder / "items.jsonl").write_text("1\n")
    (folder / "out.jsonl").write_text("dear results\n")
    nobody = f"127.0.0.1:{free_port()}"
    for args in (
        ("work:duble", "items.jsonl"),
        ("work:double", "none"),
        ("work:double", "items.jsonl", "--connect", nobody),
    ):
        sentence(lbnet("map", *args, "-o", "out.jsonl", cwd=folder), 1 if nobody in args else 2)
    text = sentence(lbnet("map", "work:double", "out.jsonl", "-o", "./out.jsonl", cwd=folder), 2)
    assert text == "./out.jsonl is the input as well: write the results to another file"
    assert (folder / "out.jsonl").read_text() == "dear results\n"


def test_a_full_disk_is_one_sentence(folder: Path) -> None:
    text = sentence(lbnet("map", "work:double", "-", "-o", "/dev/full", cwd=folder, stdin="1\n2\n"), 1)
    assert "No space left on device" in text


@pytest.mark.parametrize("function", ["work:same", "work:never"])
def test_a_reader_that_leaves_early_ends_it_quietly(function: str, folder: Path) -> None:
    (folder / "items.jsonl").write_text("".join(f"{number}\n" for number in range(50_000)))
    process = subprocess.Popen(
        [*COMMAND, "map", function, "items.jsonl"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        process.stdout.close()
        assert first == "0\n" if function == "work:same" else first.startswith("line 1: ValueError: 0")
        assert process.wait(20) == 1


def test_a_terminal_gets_a_progress_bar_that_results_do_not_disturb(folder: Path) -> None:
    (folder / "items.jsonl").write_text("1\n\n7\n3\n")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        done = subprocess.run(
            [*COMMAND, "map", "work:not_seven", "items.jsonl"],
            check=False,
            cwd=folder,
            env=environment(TERM="xterm", COLUMNS="100"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
    said = b""
    with os.fdopen(ours, "rb", buffering=0) as reader:
        while True:
            try:
                said += reader.read(65536)
            except OSError:  # the other end is closed, and all was read
                break
    assert done.returncode == 1
    assert done.stdout == b"1\n3\n"
    assert b"3/3" in said
    assert b"line 3: ValueError: seven" in said
    assert b"Traceback" not in said


# --- where it runs --------------------------------------------------------------------------------


def test_a_cluster_is_used_by_option_or_environment(shared: Cluster, folder: Path) -> None:
    by_option = lbnet("map", "work:double", "-", "--connect", shared.address, cwd=folder, stdin="1\n2\n")
    assert (by_option.returncode, by_option.stdout) == (0, "2\n4\n")
    by_variable = lbnet("map", "work:not_seven", "-", cwd=folder, stdin="7\n", LBNET_ADDRESS=shared.address)
    assert by_variable.returncode == 1
    assert "raised on worker local" not in by_variable.stderr
    facts = json.loads(lbnet("status", "--connect", shared.address, "--json").stdout)
    assert {job["name"] for job in facts["jobs"]} >= {"work:double", "work:not_seven"}


def test_a_module_that_the_workers_do_not_have_fails_every_line_with_its_name(shared: Cluster, folder: Path) -> None:
    (folder / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
    result = lbnet("map", "only_here:double", "-", "--connect", shared.address, cwd=folder, stdin="1\n2\n")
    assert result.returncode == 1
    assert "No module named 'only_here'" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[-1] == "lbnet: 2 of 2 lines failed"


def test_a_wrong_function_is_refused_before_anything_starts(folder: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    text = sentence(lbnet("map", "work:duble", "-", "--connect", nobody, cwd=folder), 2)
    assert text.startswith("'work' has no 'duble'; did you mean 'double'? it has: ")


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "number", "code"),
    [
        ("for a task", signal.SIGINT, 130),
        ("for a task", signal.SIGTERM, 143),
        ("for a line", signal.SIGINT, 130),
        ("for a line", signal.SIGTERM, 143),
    ],
)
def test_a_signal_in_the_middle_ends_every_process_and_keeps_the_results(
    waiting: str, number: signal.Signals, code: int, folder: Path
) -> None:
    begun = folder / "begun"
    args = ("map", "work:first_then_napping", "-", "-o", "out.jsonl")
    with start(*args, folder=folder, stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b'""\n')
        running.process.stdin.flush()
        out = folder / "out.jsonl"
        until(lambda: out.exists() and out.read_text() == '"first"\n', lambda: f"no result: {running.said()}")
        if waiting == "for a task":
            running.process.stdin.write(json.dumps(str(begun)).encode() + b"\n")
            running.process.stdin.flush()
            until(begun.exists, lambda: f"the task does not begin: {running.said()}")
        family = running.family()
        assert len(family) > 3
        running.process.send_signal(number)
        assert ended(running, family) == code
        assert running.said().strip() == ("lbnet: stopped" if number == signal.SIGINT else "")
        assert out.read_text() == '"first"\n'
