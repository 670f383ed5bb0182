"""A client as a process of its own: ``python -m bench.chaos.client``. It submits jobs and writes down what it gets.

It knows no truth. SIGTERM tells it to begin no further job; it ends when those that run have ended.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any, TypeVar

from bench.chaos import jobs
from bench.chaos.dice import Dice
from bench.chaos.history import Entry, Reader, What, Writer
from bench.chaos.jobs import Job, JobKind
from bench.chaos.tasks import combine, plain
from lbnet import Client
from lbnet.errors import ConnectError, ConnectionLostError, NoWorkersError, UsageError

T = TypeVar("T")

LANES = 2
"""Jobs at a time."""

PATIENT_CRASH_LIMIT = 1_000
"""A task whose slot was killed by us has not earned to fail."""

_CONNECT_S = 2.0
_JOIN_POLL_S = 0.1
_INDEX = re.compile(r"item (\d+) of the map")
_BROKEN = (ConnectError, ConnectionLostError, NoWorkersError, UsageError)
"""What comes from the cluster and not from a task. No job of ours may meet one."""


class Lanes:
    """Runs jobs, some at a time.

    Args:
        client: connected.
        history: where outcomes go.
        log: where tasks write what was run.
        name: of this life of the client; jobs' names begin with it.
        seed: of the jobs.
        kinds: of jobs.
        left: jobs that earlier lives of this client have handed in, and not read to the end: their ids by their names.
    """

    def __init__(
        self,
        client: Client,
        history: Writer,
        *,
        log: str,
        name: str,
        seed: int,
        kinds: Sequence[JobKind],
        left: dict[str, int],
    ) -> None:
        self._client = client
        self._history = history
        self._log = log
        self._name = name
        self._seed = seed
        self._kinds = kinds
        self._left = left
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until told to stop, or a job broke."""
        threads = [threading.Thread(target=self._lane, args=(lane,), daemon=True) for lane in range(LANES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # signals are handled between two waits
                thread.join(_JOIN_POLL_S)

    def _lane(self, lane: int) -> None:
        left = list(self._left.items()) if lane == 0 else []
        ends = all(self._ends(name, self._read, id_) for name, id_ in left)
        number = 0
        while ends and not self.stopping.is_set():
            name = f"{self._name}{lane}-{number}"
            job = jobs.draw(self._kinds, Dice(self._seed, name))
            self._history.write(What.OPEN, name, value=job.facts())
            ends = self._ends(name, self._one, job)
            number += 1

    def _ends(self, name: str, work: Callable[[str, T], None], what: T) -> bool:
        """Do what there is to do for a job, and write down how it ended. Returns whether it ended well."""
        try:
            work(name, what)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not an outcome
            self._history.write(What.BROKEN, name, value=f"{type(error).__name__}: {error}")
            self.stopping.set()
            return False
        self._history.write(What.END, name)
        return True

    def _one(self, name: str, job: Job) -> None:
        limit = jobs.CRASH_LIMIT if job.kind is JobKind.FAILING else PATIENT_CRASH_LIMIT
        client = self._client.with_options(name=name, retries=job.retries, crash_limit=limit)
        fn = jobs.function(job, self._log, name)
        if job.kind in {JobKind.CALLS, JobKind.WITHDRAWN}:
            self._calls(name, job, {client.submit(fn, item): item[0] for item in jobs.items(job)})
            return
        if job.kind is JobKind.DETACHED:
            id_ = client.submit_job(fn, jobs.items(job))
            self._history.write(What.HANDED_IN, name, value=id_)
            self._read(name, id_)
            return
        source = jobs.items(job) if job.streamed else list(jobs.items(job))
        results = client.map(
            fn, source, ordered=job.ordered, reduce=combine if jobs.reduced(job) else None, return_exceptions=True
        )
        taken = 0
        if taken < job.taken:
            for value in results:
                self._outcome(name, value, taken if job.ordered else None)
                taken += 1
                if taken == job.taken < job.count:
                    break
        if job.taken < job.count:
            self._history.write(What.CANCEL, name)
            results.close()

    def _read(self, name: str, id_: int) -> None:
        """A job that was handed in, by us or by an earlier life."""
        self._history.write(What.READ, name)
        try:
            results = self._client.attach(id_, ordered=False, return_exceptions=True)
        except UsageError as error:
            if "knows no such job" in str(error):
                return  # an earlier life has read all of it, and could not write that down
            raise
        for value in results:
            self._outcome(name, value, None)

    def _calls(self, name: str, job: Job, futures: dict[Future[Any], int]) -> None:
        if job.taken < job.count and job.ordered:  # not always before the first has begun
            next(as_completed(futures))
        for future, index in futures.items():
            if index >= job.taken and future.cancel():
                self._history.write(What.WITHDRAW, name, index)
        for future in as_completed(futures):
            if future.cancelled():
                continue
            error = future.exception()
            self._outcome(name, future.result() if error is None else error, futures[future])

    def _outcome(self, name: str, value: Any, index: int | None) -> None:
        """Write it down; an outcome that comes in no order tells by itself which item it belongs to."""
        if isinstance(value, _BROKEN):
            raise value
        if isinstance(value, BaseException):
            self._history.write(What.ERROR, name, _index_of(value) if index is None else index, type(value).__name__)
        else:
            self._history.write(What.VALUE, name, int(value[0]) if index is None else index, plain(value))


def _index_of(error: BaseException) -> int:
    found = [int(match.group(1)) for note in getattr(error, "__notes__", ()) if (match := _INDEX.fullmatch(note))]
    return found[0] if found else -1


def left(earlier: Iterable[Entry]) -> dict[str, int]:
    """Jobs that were handed in and not read to their end, by what earlier lives have written: ids by names."""
    found: dict[str, int] = {}
    for entry in earlier:
        if entry.what is What.HANDED_IN:
            found[entry.job] = int(entry.value)
        elif entry.what is What.END:
            found.pop(entry.job, None)
    return found


def _written(paths: Sequence[Path]) -> Iterator[Entry]:
    for path in paths:
        yield from Reader(path).entries()


def _connected(address: str, name: str, stopping: threading.Event) -> Client | None:
    """A client; its controller may be dead at the moment."""
    while not stopping.is_set():
        try:
            return Client(address, timeout_s=_CONNECT_S, name=name)
        except ConnectError:
            continue
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos.client", description=__doc__)
    parser.add_argument("--connect", required=True, metavar="HOST:PORT")
    parser.add_argument("--history", required=True, type=Path, metavar="FILE")
    parser.add_argument("--log", required=True, metavar="FILE", help="where tasks write what was run")
    parser.add_argument("--name", required=True, help="what the names of its jobs begin with")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--kinds", required=True, metavar="KIND,...", type=lambda text: text.split(","))
    parser.add_argument(
        "--earlier", type=Path, nargs="*", default=(), metavar="FILE", help="histories of earlier lives"
    )
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    history = Writer(options.history)
    client = _connected(options.connect, options.name, stopping)
    if client is None:
        return 0
    lanes = Lanes(
        client,
        history,
        log=options.log,
        name=options.name,
        seed=options.seed,
        kinds=[JobKind(kind) for kind in options.kinds],
        left=left(_written(options.earlier)),
    )
    lanes.stopping = stopping
    lanes.run()
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
