"""The harness as a command: a short run with real processes, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.chaos", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_everybody_is_killed_for_some_seconds_and_every_rule_holds(tmp_path: Path) -> None:
    # This seed kills everybody, and some jobs outlive their clients.
    options = "--seed 100 --seconds 8 --faults kill,stop --no-namespaces"
    done = chaos(*options.split(), "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    *_, again, verdict = done.stdout.splitlines()
    assert again == f"again: python -m bench.chaos {options}"
    assert verdict == "every rule holds"
    assert all(f"kill {victim} " in done.stdout for victim in ("worker", "slot", "controller", "client"))
    assert list(tmp_path.iterdir()) == []
    left = [process.pid for process in psutil.process_iter() if str(tmp_path) in " ".join(_words(process))]
    assert left == []


def test_what_is_not_there_is_refused_in_one_sentence() -> None:
    done = chaos("--faults", "earthquake")
    assert done.returncode == 2
    assert "'earthquake' is not a valid FaultKind: choose from kill, " in done.stderr
    assert "Traceback" not in done.stderr


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
