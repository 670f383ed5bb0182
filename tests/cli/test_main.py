"""The group of commands: its help, and the exit codes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from lbnet.cli import main
from lbnet.errors import ConnectError, ConnectionLostError, UsageError
from lbnet.version import VERSION
from tests.cli.running import lbnet

COMMANDS = (
    "controller",
    "worker",
    "status",
    "jobs",
    "results",
    "logs",
    "explain",
    "audit",
    "cancel",
    "drain",
    "token",
    "map",
    "demo",
    "simulate",
    "calibrate",
)


def invoke(*args: str, width: int = 80) -> str:
    result = CliRunner().invoke(main.group, args, prog_name="lbnet", terminal_width=width)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_the_group_names_every_command_and_the_exit_codes(option: str) -> None:
    text = invoke(option)
    for command in COMMANDS:
        assert f"\n  {command} " in text
        assert f"\n  lbnet {command}" in text
    for code in ("0 fine", "1 something failed", "2 the command", "130 interrupted", "143 by"):
        assert code in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_help_of_a_command_has_examples_to_copy_and_names_the_others(command: str, width: int) -> None:
    text = invoke(command, "--help", width=width)
    examples = text.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert len(examples) >= 2
    for example in examples:
        assert f"lbnet {command}" in example
    see = " ".join(text.split("See also:")[1].split())
    assert see == ", ".join(f"lbnet {other} -h" for other in COMMANDS if other != command)
    assert [line for line in text.splitlines() if len(line) > width and line not in examples] == []
    assert "\\b" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_line_that_the_command_understands(command: str) -> None:
    context = click.Context(main.group, info_name="lbnet")
    one = main.group.get_command(context, command)
    assert one is not None
    for example in one._examples:  # type: ignore[attr-defined]
        words = example.split(f"lbnet {command}", 1)[1].split(">")[0].split()
        one.make_context(command, words, parent=context)


def test_the_version_is_printed() -> None:
    assert invoke("--version") == f"lbnet {VERSION}\n"


def test_an_unknown_command_is_answered_with_the_list_of_commands() -> None:
    result = CliRunner().invoke(main.group, ["frob"])
    assert result.exit_code == 2
    assert f"there is no command 'frob'; there are: {', '.join(COMMANDS)}\n" in result.output


@pytest.mark.parametrize("args", [["--frob"], ["status", "--frob"], ["status", "surplus"], ["map"]])
def test_a_wrong_command_line_is_answered_with_its_usage(args: list[str]) -> None:
    result = CliRunner().invoke(main.group, args)
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")


def test_a_real_process_says_the_same() -> None:
    assert lbnet("--version").stdout == f"lbnet {VERSION}\n"
    assert lbnet("frob").returncode == 2


def raising(error: BaseException) -> Callable[[], None]:
    @click.command
    def command() -> None:
        raise error

    return command


def while_a_class_was_made(error: BaseException) -> RuntimeError:
    """What Python 3.11 makes of an error that a signal's handler has raised just then, in the middle of an import."""
    wrapped = RuntimeError("Error calling __set_name__ on 'Field' instance")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("too many"), 2, "lbnet: too many\n"),
        (ConnectError("nobody there"), 1, "lbnet: nobody there\n"),
        (ConnectionLostError("gone"), 1, "lbnet: gone\n"),
        (TimeoutError("0 of 2 workers came"), 1, "lbnet: 0 of 2 workers came\n"),
        (OSError(28, "No space left on device"), 1, "lbnet: [Errno 28] No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (KeyboardInterrupt(), 130, "\nlbnet: stopped\n"),
        (click.ClickException("wrong"), 1, "Error: wrong\n"),
        (SystemExit(128 + signal.SIGTERM), 143, ""),
        (while_a_class_was_made(SystemExit(128 + signal.SIGTERM)), 143, ""),
        (while_a_class_was_made(KeyboardInterrupt()), 130, "lbnet: stopped\n"),
    ],
)
def test_every_error_has_its_exit_code_and_one_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "group", raising(error))
    monkeypatch.setattr("sys.argv", ["lbnet"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            main.main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert caught.value.code == code
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), RuntimeError("bug")])
def test_a_bug_is_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "group", raising(error))
    monkeypatch.setattr("sys.argv", ["lbnet"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(type(error), match="bug"):
            main.main()
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_sigterm_becomes_the_exit_that_ends_with_statements() -> None:
    with pytest.raises(SystemExit) as caught:
        main._terminate(signal.SIGTERM, None)
    assert caught.value.code == 143
