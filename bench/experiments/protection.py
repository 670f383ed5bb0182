"""What does it cost that only invited peers come in, and that nobody else can read what is said?

With TLS beside ``--insecure``, both with the journal, in pairs, one after the other: the rate of no-op tasks through
``client.map``, the makespan of tasks of 1 ms, and of tasks that take 1 MB and return it. Then how long a worker takes
to join: to fetch a certificate with its token, and to be welcome; and as a process, with the start of Python.

Run ``python -m bench.experiments.protection``; ``--quick`` for a look. Targets stand in the table; a missed one is not
an error.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench import catalog
from bench.experiments.survival import WORKERS, Figure, options_of, publish
from bench.machine import machine_facts
from bench.report import Progress
from bench.surviving import Cluster
from lbnet import Client, LocalCluster
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.protocol.messages import SAID_BY
from lbnet.types import Address

_BLOB_BYTES = 1_000_000


def _noop(client: Client, count: int) -> None:
    if sum(client.map(abs, range(count))) != count * (count - 1) // 2:
        raise ValueError("the results of no-op tasks are wrong")


def _ms(client: Client, seconds: float) -> None:
    workload = catalog.durations("constant", seconds, 0.001)
    items = workload.items()
    if list(client.map(workload.fn, items)) != workload.sequentially(items):
        raise ValueError("the results of tasks of 1 ms are wrong")


def _blobs(client: Client, count: int) -> None:
    if sum(map(len, client.map(bytes, (bytes(_BLOB_BYTES) for _ in range(count))))) != count * _BLOB_BYTES:
        raise ValueError("the results of tasks of 1 MB are wrong")


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def costs(quick: bool, repeats: int, progress: Progress) -> list[Figure]:
    """Ratios of pairs: without protection over with it."""
    count, seconds, blobs = (100_000, 0.5, 40) if quick else (3_000_000, 4.0, 300)
    rate = Figure("no-op tasks a second with TLS, beside --insecure", "ratio", ">=", 0.9)
    absolute = Figure("no-op tasks a second with TLS", "tasks/s", ">=", 300_000)
    efficiency = Figure("efficiency at 1 ms with TLS, beside --insecure", "ratio", ">=", 0.9)
    large = Figure("1 MB there and back with TLS, beside --insecure", "ratio", ">=", 0.6)
    with ExitStack() as stack:
        clients = []
        for insecure in (False, True):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbnet-protection-")))
            made = Cluster(folder, insecure=insecure)
            stack.callback(made.close)
            made.up(*WORKERS)
            clients.append(stack.enter_context(Client(made.address, insecure=insecure)))
        for client in clients:
            _noop(client, 20_000)
            _blobs(client, 4)
        for pair in range(repeats):
            order = ((0, 1), (1, 0))[pair % 2]
            for figure, name, run in (
                (rate, "no-op", lambda client: _noop(client, count)),
                (efficiency, "1 ms", lambda client: _ms(client, seconds)),
                (large, "1 MB", lambda client: _blobs(client, blobs)),
            ):
                progress(f"{name}, with and without protection")
                task = run
                took = {which: _timed(lambda at=which, call=task: call(clients[at])) for which in order}  # type: ignore[misc]
                figure.values.append(took[1] / took[0])
                if figure is rate:
                    absolute.values.append(count / took[0])
    return [rate, absolute, efficiency, large]


async def _join_s(cluster: LocalCluster) -> float:
    """Seconds from nothing but a token to being welcome."""
    links: list[Link] = []
    member = cluster.member("worker")
    began = time.perf_counter()
    await connect(
        Address(cluster.where.host, cluster.where.port),
        lambda _: hello("worker", name="late", slots=1, port=9),
        may_say=SAID_BY["controller-to-worker"],
        on_welcome=lambda link, _: links.append(link),
        on_message=lambda *_: None,
        on_closed=lambda *_: None,
        timeout_s=10.0,
        member=member,
    )
    took_s = time.perf_counter() - began
    links[0].abort("it was measured")
    await links[0].closed.wait()
    return took_s


def joins(repeats: int, progress: Progress) -> list[Figure]:
    """How soon somebody is in."""
    progress("joining")
    join = Figure("a worker joins: certificate, second link, welcome", "ms", "<=", 300)
    process = Figure("the same as a process, with the start of Python", "ms", "<=", 1_000)
    with LocalCluster(workers=1, slots=1) as cluster:
        with cluster.client() as client:
            list(client.map(abs, range(10)))
        join.values += [1_000 * uvloop.run(_join_s(cluster)) for _ in range(3 * repeats)]
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="lbnet-protection-") as folder:
            made = Cluster(Path(folder))
            try:
                made.up("one")
                began = time.perf_counter()
                made.worker("two")
                made.has_said("two", "has joined")
                process.values.append(1_000 * (time.perf_counter() - began))
            finally:
                made.close()
    return [join, process]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 if any result was wrong, not if a target was missed."""
    title = (__doc__ or "").splitlines()[0]
    options = options_of("protection", title, arguments)
    machine = machine_facts()
    progress = Progress(4 * options.repeat + 1)
    try:
        figures = [*costs(options.quick, options.repeat, progress), *joins(options.repeat, progress)]
    finally:
        progress.close()
    return publish("protection", title, options, machine, figures)


if __name__ == "__main__":
    sys.exit(main())
