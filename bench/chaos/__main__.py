"""Does what went in come out, once, whatever is killed? Real processes and random faults from a seed.

A controller, workers and clients run by the command line, in network namespaces of their own if this user may make
such, else on the loopback interface. Clients submit jobs whose answers are known, and write down what they get; faults
hit their victims meanwhile; then everything is healed and must settle. The exit code is 1 if a rule was violated: then
the files of the run are kept. Whatever ends this program, short of SIGKILL, it leaves no process, namespace or mount
behind.

The plan is the same for the same seed and options. The moment at which a fault meets the programs is not: a violation
may need several runs to show again.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TypeVar

from bench.chaos import plan, report
from bench.chaos.cluster import Cluster
from bench.chaos.disk import SmallDisk, can_mount
from bench.chaos.faults import NETWORK, FaultKind, Victim
from bench.chaos.network import Loopback, Network, namespaces
from bench.chaos.run import Run, Tally
from bench.chaos.watch import Watch
from lbnet.errors import UsageError

E = TypeVar("E", bound=StrEnum)

_SEEDS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    try:
        tally = _run(options)
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 1 if tally.violation else 0


def _run(options: argparse.Namespace) -> Tally:
    seed = int(time.time()) % _SEEDS if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="lbnet-chaos-", dir=options.folder))
    network: Network = Loopback()
    disk: SmallDisk | None = None
    tally: Tally | None = None
    try:
        why_not = "they were not wanted"
        if options.namespaces:
            network, why_not = namespaces(_nodes(options))
        skipped = _skipped(options, network, why_not)
        if FaultKind.DISK in options.faults and FaultKind.DISK not in skipped:
            disk = SmallDisk(folder / "state")
        setting = plan.Setting(
            seed=seed,
            seconds=options.seconds,
            workers=options.workers,
            clients=options.clients,
            victims=options.victims,
            kinds=tuple(kind for kind in FaultKind if kind in options.faults and kind not in skipped),
            deadline_s=options.deadline,
        )
        drawn = plan.draw(setting)
        print("\n".join(report.planned(drawn)))
        for why in dict.fromkeys(skipped.values()):
            print(f"skipped: {', '.join(kind for kind in skipped if skipped[kind] == why)}: {why}")
        cluster = Cluster(drawn, folder, network, disk, journal=Victim.CONTROLLER in options.victims)
        watch = Watch(cluster)
        run = Run(cluster, watch, options.settle, lambda text: print(text, flush=True) if options.verbose else None)
        tally = run.run()
        print("\n".join(report.counted(tally, watch)))
    finally:
        network.close()
        if disk is not None:
            disk.close()
        keep = options.keep or (tally is not None and tally.violation)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"again: {_again(options, seed)}")
    if keep:
        print(f"files: {folder}")
    print(f"VIOLATED: {tally.violation}" if tally.violation else "every rule holds")
    return tally


def _skipped(options: argparse.Namespace, network: Network, why_not: str) -> dict[FaultKind, str]:
    """Faults that were asked for and cannot be had, each with the reason."""
    reason = "this kernel has no netem" if network.kinds else f"no network namespaces: {why_not}"
    skipped = {kind: reason for kind in options.faults if kind in NETWORK and kind not in network.kinds}
    if FaultKind.DISK in options.faults:
        if Victim.CONTROLLER not in options.victims:
            skipped[FaultKind.DISK] = "the controller is no victim"
        elif not can_mount():
            skipped[FaultKind.DISK] = "a small disk can only be mounted by root"
    return skipped


def _nodes(options: argparse.Namespace) -> list[str]:
    workers = [f"worker{index}" for index in range(options.workers + plan.GUESTS)]
    return ["controller", *workers, *(f"client{index}" for index in range(options.clients))]


def _again(options: argparse.Namespace, seed: int) -> str:
    """The command that repeats this run."""
    parser = _parser()
    words = ["python -m bench.chaos", f"--seed {seed}"]
    for name in ("seconds", "workers", "clients", "deadline", "settle"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            words.append(f"--{name} {value:g}")
    for name in ("victims", "faults"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            words.append(f"--{name} {','.join(value)}")
    return " ".join([*words, *([] if options.namespaces else ["--no-namespaces"])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, help="of everything that is drawn; from the clock if not given")
    add("--seconds", type=_positive, default=60.0, help="how long faults happen (60)")
    add("--workers", type=_count, default=4, help="that are there all the time (4)")
    add("--clients", type=_count, default=2, help="likewise (2)")
    add(
        "--victims",
        type=lambda text: _names(text, Victim),
        default=tuple(Victim),
        metavar="WHO,...",
        help=f"who may be hit, of {', '.join(Victim)} (all)",
    )
    add(
        "--faults",
        type=lambda text: _names(text, FaultKind),
        default=tuple(FaultKind),
        metavar="WHAT,...",
        help=f"what may happen, of {', '.join(FaultKind)} (all)",
    )
    add("--deadline", type=_positive, default=3.0, help="seconds after which a silent link counts as dead (3)")
    add("--settle", type=_positive, default=60.0, help="seconds in which everything must settle at the end (60)")
    add(
        "--namespaces",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a network namespace for each process, with faults of its link; without root there are none (yes)",
    )
    add("--folder", type=Path, help="where the files of the run go")
    add("--keep", action="store_true", help="keep them although every rule holds")
    add("--verbose", action="store_true", help="print faults as they happen")
    return parser


def _names(text: str, kind: type[E]) -> tuple[E, ...]:
    """Several of a kind, in the order of the kind."""
    try:
        named = [kind(word.strip()) for word in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: choose from {', '.join(kind)}") from None
    return tuple(each for each in kind if each in named)


def _positive(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and a million seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return value


def _terminated(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    """What was started is ended, and namespaces and mounts removed, on the way out."""
    signal.signal(signum, signal.SIG_IGN)  # once more would disturb just that
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
