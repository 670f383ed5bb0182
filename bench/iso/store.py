"""Simulations that were made already, in a CSV file that grows by a line each. It must not know what they mean.

A line counts only for the same code and the same costs: a digest of both stands in it.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from pathlib import Path

from bench.iso.trial import LIST_ITEMS_PER_WORKER, PIECE_S, Outcome, Trial
from bench.machine import ROOT
from lbnet.errors import UsageError
from lbnet.sim.costs import Costs

CODE = ("core", "protocol", "sim", "strategies", "workloads", "limits.py", "types.py", "work.py")
"""What of lbnet a simulation runs: any change in it may change every result."""

_TRIAL = tuple(field.name for field in fields(Trial))
_FIGURES = tuple(field.name for field in fields(Outcome) if field.name != "trial")
COLUMNS = ("version", *_TRIAL, *_FIGURES)


def version(costs: Costs, root: Path = ROOT) -> str:
    """A digest of the code that simulations run, and of the costs."""
    digest = hashlib.blake2b(digest_size=8)
    for name in CODE:
        path = root / "lbnet" / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(root)}\0".encode())
            digest.update(file.read_bytes())
    digest.update(json.dumps([costs.facts(), PIECE_S, LIST_ITEMS_PER_WORKER]).encode())
    return digest.hexdigest()


class Store:
    """Outcomes by trial.

    Args:
        path: the file; made with its folder when there is something to write.
        version: see :func:`version`; lines of other versions stay in the file, and are not used.
        events_max: a run that was given up counts only if it was given as many events.
        fresh: use nothing of what is there.

    Raises:
        UsageError: the file holds something else.
    """

    def __init__(self, path: Path, version: str, events_max: int, *, fresh: bool = False) -> None:
        self._path = path
        self._version = version
        self._found: dict[Trial, Outcome] = {}
        if path.exists():
            self._end_line()
            for outcome in self._read():
                if not fresh and (not outcome.reason or outcome.events >= events_max):
                    self._found[outcome.trial] = outcome
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(COLUMNS)

    def get(self, trial: Trial) -> Outcome | None:
        """What came of it, if it was made."""
        return self._found.get(trial)

    def add(self, outcome: Outcome) -> None:
        """Keep it; it is in the file when this returns."""
        self._found[outcome.trial] = outcome
        figures = {name: getattr(outcome, name) for name in _FIGURES}
        self._append((self._version, *astuple(outcome.trial), *figures.values()))

    def outcomes(self) -> list[Outcome]:
        """All that is known, in the order in which it was made."""
        return list(self._found.values())

    def _end_line(self) -> None:
        # A run that was killed may have left half a line.
        with self._path.open("rb+") as file:
            if file.seek(0, 2) and file.seek(-1, 2) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")

    def _append(self, cells: tuple[object, ...]) -> None:
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)

    def _read(self) -> list[Outcome]:
        with self._path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UsageError(f"{self._path} holds no simulations of this experiment: move it away, or use --out")
            # A line that was cut off when a run was ended has too few cells, and is made again.
            whole = [line for line in reader if None not in line.values() and line["version"] == self._version]
        return [_outcome(line) for line in whole]


def _outcome(line: Mapping[str, str]) -> Outcome:
    kinds = {name: type(value) for name, value in asdict(Outcome(Trial("", 0, "", 0))).items() if name != "trial"}
    trial = Trial(line["strategy"], int(line["workers"]), line["workload"], int(line["seed"]))
    return Outcome(trial, **{name: kind(line[name]) for name, kind in kinds.items()})
