"""Runs what a README tells people to run. Every fenced block must say what it is, so that nothing is unchecked.

==================  ==========================  ================================================================
info string         directive before the block  what is done
==================  ==========================  ================================================================
``python``          none, or ``<!-- run -->``   it is a script, and must end well. A first line ``# work.py`` names
                                                its file, so that later blocks can import it
``sh, console``     ``<!-- run -->``            its commands must end well, one after the other in one shell. In a
                                                ``console`` block a command begins with ``$``, and the lines below it
                                                are what it prints, with ``...`` for anything
``sh, console``     ``<!-- background -->``     each command is started, prints a line, and runs to the end of
                                                the file
``sh, console``     ``<!-- leaves -->``         the same, and a later block lets it end, with code 0
``sh, console``     ``<!-- clone -->``          ``git clone``, ``cd`` into it, and ``make`` with targets that exist
``text``            ``<!-- show -->``           nothing: it is output, or a fragment
==================  ==========================  ================================================================

All blocks of a file run in one folder, in order. Port 7077 stands for a free one.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from tests.cli.running import ROOT, environment, free_port

DEADLINE_S = 60.0
PORT = "7077"
DIRECTIVES = {"python": ("", "run"), "sh": ("run", "background", "leaves", "clone"), "text": ("show",)}
DIRECTIVES["console"] = DIRECTIVES["sh"]

_DIRECTIVE = re.compile(r"\s*<!--\s*(.*?)\s*-->\s*")
_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")


class BrokenError(AssertionError):
    """A block does not do what it should."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its opening fence, from 1.
        info: what stands behind that fence.
        directive: of the comment before it, empty if there is none.
        text: what is between the fences.
    """

    line: int
    info: str
    directive: str
    text: str

    def broken(self, problem: str) -> BrokenError:
        """The error that says where and what."""
        return BrokenError(f"line {self.line}, the {self.info or 'nameless'} block: {problem}\n{self.text}")


@dataclass(frozen=True)
class Command:
    """A shell command, and what a console shows below it; None where that is not shown."""

    text: str
    output: str | None


def check(text: str, folder: Path) -> int:
    """Run all blocks of a README in ``folder``, and return how many there are.

    Raises:
        BrokenError: one of them is not classified, or fails.
    """
    found = blocks(text)
    for block in found:
        if block.directive not in DIRECTIVES.get(block.info, ()):
            known = ", ".join(DIRECTIVES)
            raise block.broken(
                f"the directive {block.directive!r} does not belong there"
                if block.info in DIRECTIVES
                else f"the info string must be one of {known}"
            )
    with Runner(folder) as runner:
        for block in found:
            runner.run(block)
    return len(found)


# --- reading --------------------------------------------------------------------------------------


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    lines = text.splitlines()
    found = []
    before = ""  # the last line that is not blank
    at = 0
    while at < len(lines):
        opening = _FENCE.fullmatch(lines[at])
        if opening is None:
            before = lines[at] if lines[at].strip() else before
            at += 1
            continue
        begin = at + 1
        fence = opening["fence"]
        closing = re.compile(rf" *{fence[0]}{{{len(fence)},}} *")
        end = next((n for n in range(begin, len(lines)) if closing.fullmatch(lines[n])), None)
        directive = _DIRECTIVE.fullmatch(before)
        info = opening["info"].strip()
        block = Block(
            begin, info, directive[1] if directive else "", textwrap.dedent("\n".join(lines[begin:end])) + "\n"
        )
        if end is None:
            raise block.broken("it has no end")
        found.append(block)
        before = ""
        at = end + 1
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a shell block, without comments."""
    lines = re.sub(r"\\\n\s*(?:> )?", "", block.text).splitlines()
    if block.info == "sh":
        found = [Command(line, None) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    else:
        found = []
        for line in lines:
            if line.startswith("$ "):
                found.append(Command(line[2:], None))
            elif not found:
                raise block.broken('a console block begins with a command, "$ ..."')
            else:
                found[-1] = Command(found[-1].text, f"{found[-1].output or ''}{line}\n")
    if not found:
        raise block.broken("there is no command in it")
    return found


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is what ``pattern`` shows: ``...`` stands for anything, and blanks at ends do not count."""

    def tidy(each: str) -> str:
        return "\n".join(line.rstrip() for line in each.strip().splitlines())

    return re.fullmatch(".*".join(map(re.escape, tidy(pattern).split("..."))), tidy(text), re.DOTALL) is not None


# --- running --------------------------------------------------------------------------------------


class Runner:
    """A folder, a port, and the commands that run in the background."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = str(free_port())
        self._background: list[tuple[Block, subprocess.Popen[bytes]]] = []
        programs = folder / ".programs"
        programs.mkdir()
        for name, words in (("lbnet", "-m lbnet.cli.main "), ("python", ""), ("python3", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
            (programs / name).chmod(0o755)
        self._environment = environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
        del self._environment["PYTHONWARNINGS"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        early = [
            (block, code)
            for block, process in self._background
            if (code := process.poll()) is not None and (code or block.directive != "leaves")
        ]
        while self._background:
            _end(self._background.pop()[1])
        if early and kind is None:
            block, code = early[0]
            raise block.broken(f"it ended before the file did, with code {code}")

    def run(self, block: Block) -> None:
        """Do with it what its class asks for."""
        text = re.sub(rf"\b{PORT}\b", self._port, block.text)
        block = Block(block.line, block.info, block.directive, text)
        if block.info == "python":
            self._run_script(block)
        elif block.directive == "run":
            self._run_commands(block)
        elif block.directive in {"background", "leaves"}:
            for command in commands(block):
                self._start(block, command)
        elif block.directive == "clone":
            check_clone(block)

    def _run_script(self, block: Block) -> None:
        named = re.match(r"# (\w+\.py)\n", block.text)
        file = self._folder / (named[1] if named else f"line_{block.line}.py")
        file.write_text(block.text)
        code, output = self._finish([sys.executable, file.name])
        if code != 0:
            raise block.broken(f"it ends with code {code} and\n{output}")

    def _run_commands(self, block: Block) -> None:
        expected = commands(block)
        outputs = [self._folder / f".output-{block.line}-{number}" for number in range(len(expected))]
        # Each in braces, not in a shell of its own: what `cd` and `export` do lasts.
        script = "set -o pipefail\n" + "".join(
            f"{{\n{command.text}\n}} > '{output}' 2>&1 || exit\n"
            for command, output in zip(expected, outputs, strict=True)
        )
        code, trouble = self._finish(["bash", "-c", script])
        for command, output in zip(expected, outputs, strict=True):
            said = output.read_text() if output.exists() else ""
            last = command is expected[-1] or not outputs[outputs.index(output) + 1].exists()
            if code != 0 and last:
                raise block.broken(f"{command.text!r} ends with code {code} and\n{said}{trouble}")
            if command.output is not None and not matches(command.output, said):
                raise block.broken(f"{command.text!r} does not print what is shown, but\n{said}")

    def _finish(self, words: list[str]) -> tuple[int, str]:
        process = self._popen(words, stdout=subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            _end(process)
            return -1, f"nothing within {DEADLINE_S:g} s"
        return process.returncode, output.decode()

    def _start(self, block: Block, command: Command) -> None:
        output, errors = (self._folder / f".{kind}-{len(self._background)}" for kind in ("output", "errors"))
        with output.open("wb") as out, errors.open("wb") as err:
            process = self._popen(["bash", "-c", command.text], stdout=out.fileno(), stderr=err.fileno())
        self._background.append((block, process))
        deadline = time.monotonic() + DEADLINE_S
        while not output.stat().st_size:
            if process.poll() is not None or time.monotonic() > deadline:
                raise block.broken(f"{command.text!r} does not run in the background, it says\n{errors.read_text()}")
            time.sleep(0.01)

    def _popen(self, words: list[str], stdout: int, stderr: int = subprocess.STDOUT) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def check_clone(block: Block) -> None:
    """Nothing is cloned or made: the lines must fit together, and the Makefile must have the targets."""
    cloned = ""
    for command in commands(block):
        words = command.text.split("#")[0].split()
        match words:
            case ["git", "clone", address]:
                cloned = PurePosixPath(address).name.removesuffix(".git")
            case ["cd", folder] if folder == cloned:
                pass
            case ["make", *arguments]:
                for target in [each for each in arguments if "=" not in each] or ["help"]:
                    _check_target(block, target)
            case _:
                raise block.broken(f"{command.text!r} is none of: git clone, cd into the clone, make")


def _check_target(block: Block, target: str) -> None:
    # -B, as else a target that is up to date could not be told from a file that no rule makes.
    done = subprocess.run(
        ["make", "-n", "-B", target], check=False, cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    if done.returncode != 0 or "Nothing to be done" in done.stdout:
        raise block.broken(f"make has no target {target!r}: {done.stderr or done.stdout}")
