"""Controllers and workers as real processes: how they are ended, and what they leave behind and say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lbnet.pickling import dump_function
from lbnet.protocol.messages import Answer, Ask, Balance, Goodbye
from lbnet.strategies.sb import SchedulerBased
from lbnet.types import Address, JobId
from tests.net import tasks
from tests.net.cluster import RawPeer, job_of, listener, until, values_of, whole_job

pytestmark = pytest.mark.usefixtures("nothing_is_left")

STOPS_WITHIN_S = 2.0
"""What is promised to who stops lbnet."""

CONTROLLER = """
from lbnet.net.run import run_controller
say = lambda at: print(at.port, flush=True)
run_controller(host="127.0.0.1", port=0, placement="spread", strategy="sb", on_ready=say)
"""

WORKER = """
import sys
from lbnet import limits
if "patient" in sys.argv:
    limits.STOP_TIMEOUT_S = limits.SLOT_EOF_GRACE_S = 600.0
from lbnet.net.run import run_worker
if "stubborn" in sys.argv:
    limits.STOP_TIMEOUT_S = limits.SLOT_EOF_GRACE_S = 600.0
from lbnet.types import Address
say = lambda name, peer: print(name, flush=True)
run_worker(connect=Address("127.0.0.1", int(sys.argv[1])), slots=1, name="w", on_ready=say)
"""


@dataclass
class Role:
    """A process that plays one."""

    process: subprocess.Popen[bytes]
    said: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def line(self) -> str:
        """The first line of its output."""
        assert self.process.stdout is not None
        stdout = self.process.stdout
        return (await asyncio.get_running_loop().run_in_executor(None, stdout.readline)).decode().strip()

    async def ends(self, deadline_s: float = STOPS_WITHIN_S) -> tuple[int, str]:
        """Its exit code, and what it said on standard error."""
        await until(lambda: self.process.poll() is not None, self.said.read_text, deadline_s)
        assert self.process.returncode is not None
        return self.process.returncode, self.said.read_text()


Start = Callable[..., Role]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts processes; those that a test leaves running are killed."""
    roles: list[Role] = []

    def start(*arguments: str, descriptors: tuple[int, ...] = ()) -> Role:
        said = tmp_path / f"stderr-{len(roles)}"
        with said.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=descriptors,
            )
        roles.append(Role(process, said))
        return roles[-1]

    yield start
    for role in roles:
        with contextlib.suppress(ProcessLookupError):
            role.process.kill()
        role.process.wait()
        for pipe in (role.process.stdin, role.process.stdout):
            assert pipe is not None
            pipe.close()


async def a_controller(start: Start) -> tuple[Role, Address]:
    role = start("-c", CONTROLLER)
    return role, Address("127.0.0.1", int(await role.line()))


async def a_worker(start: Start, address: Address, *how: str) -> Role:
    role = start("-c", WORKER, str(address.port), *how)
    assert await role.line() == "w"
    return role


HASTY = """

from lbnet import limits
limits.CONNECT_TIMEOUT_S = 0.2
"""

ALONE = """
import json, sys
from lbnet.net.serve import run
from lbnet.pool.environment import adopt_path
adopt_path()
sys.exit(run(json.loads(sys.argv[1])))
"""


def serve(start: Start, role: str, fd: int = 0, port: int = 0, hasty: bool = False, **fields: Any) -> Role:
    """A process of an embedded cluster; ``hasty``: it does not wait for long for a controller."""
    config: dict[str, Any] = {"role": role, "given": ""}
    if role == "controller":
        config |= {"strategy": "sb", "fd": fd, "placement": "spread", "no_workers_timeout_s": 30.0}
    else:
        config |= {"host": "127.0.0.1", "port": port, "slots": 1, "name": "embedded"}
    config |= fields
    return start("-c", HASTY + ALONE if hasty else ALONE, json.dumps(config), descriptors=(fd,) if fd else ())


def is_gone(pid: int) -> bool:
    """Whether a process does nothing any more; a zombie waits for its parent, who may be anybody."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def busy(address: Address, task: Callable[[str], None], path: Path) -> int:
    """Have the only worker run a task that never ends; the process that runs it."""
    client = await RawPeer.join(address, "client")
    await client.say(*whole_job(job_of(client), task, [str(path)]))
    await until(path.exists)
    return int(path.read_text())  # noqa: ASYNC240 - a few bytes


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_controller(number: int, start: Start) -> None:
    role, address = await a_controller(start)
    client, silent = await RawPeer.join(address, "client"), await RawPeer.open(address)
    role.signal(number)
    assert await client.hear_end() == [Goodbye("the controller was stopped")]
    assert await silent.hear_end() == []
    assert await role.ends() == (0, "")


@pytest.mark.parametrize("task", [tasks.spin, tasks.hog])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_worker_in_the_middle_of_a_task(
    number: int, task: Callable[[str], None], start: Start, tmp_path: Path
) -> None:
    _, address = await a_controller(start)
    role = await a_worker(start, address)
    slot = await busy(address, task, tmp_path / "pid")
    assert not is_gone(slot)
    role.signal(number)
    assert await role.ends() == (0, "")
    await until(lambda: is_gone(slot))


TASKS_TO_OUTLIVE = [tasks.spin, tasks.hog] if sys.platform == "linux" else [tasks.spin]
"""Other systems cannot end a process that lets none of its threads run when its parent dies."""


@pytest.mark.parametrize("task", TASKS_TO_OUTLIVE)
async def test_no_slot_outlives_a_worker_that_was_killed(
    task: Callable[[str], None], start: Start, tmp_path: Path
) -> None:
    _, address = await a_controller(start)
    role = await a_worker(start, address)
    slot = await busy(address, task, tmp_path / "pid")
    role.signal(signal.SIGKILL)
    await until(lambda: is_gone(slot))


async def test_the_second_signal_ends_a_worker_at_once(start: Start, tmp_path: Path) -> None:
    # A patient one waits ten minutes for what it computes.
    _, address = await a_controller(start)
    role = await a_worker(start, address, "patient")
    slot = await busy(address, tasks.hog, tmp_path / "pid")
    links = psutil.Process(role.process.pid)
    role.signal(signal.SIGTERM)
    await until(lambda: all(link.status != psutil.CONN_LISTEN for link in links.net_connections("tcp")))
    assert role.process.poll() is None
    role.signal(signal.SIGTERM)
    assert await role.ends() == (0, "")
    await until(lambda: is_gone(slot))


async def test_a_worker_whose_parts_do_not_stop_is_ended_all_the_same(start: Start, tmp_path: Path) -> None:
    _, address = await a_controller(start)
    role = await a_worker(start, address, "stubborn")
    slot = await busy(address, tasks.hog, tmp_path / "pid")
    role.signal(signal.SIGTERM)
    assert await role.ends(deadline_s=20.0) == (0, "")  # its parts would take ten minutes
    await until(lambda: is_gone(slot))


async def test_a_signal_ends_a_worker_that_still_waits_for_an_answer(start: Start) -> None:
    async with listener() as (address, accept):
        role = start("-c", WORKER, str(address.port))
        boss = await accept()
        role.signal(signal.SIGTERM)
        assert await role.ends() == (0, "")
        await boss.hear_end()


# --- the other ends


async def test_a_worker_without_a_controller_says_so(start: Start) -> None:
    async with listener() as (address, _):
        pass
    code, said = await serve(start, "worker", port=address.port, hasty=True).ends(deadline_s=20.0)
    *_, first, last = said.splitlines()
    assert code == 1
    assert first.endswith(f"nothing answers at {address} yet: trying for 0.2 s")
    assert last == (
        f"lbnet: for 0.2 s, nothing answers at {address} (Connection refused): is an lbnet controller running there?"
    )


async def test_a_controller_takes_a_strategy_by_its_module_and_class(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
        serve(start, "controller", fd=listening.fileno(), strategy="lbnet.strategies.pmap:ParallelMap")
    worker = await RawPeer.join(address, "worker")
    assert await worker.hear(Balance) == Balance("lbnet.strategies.pmap:ParallelMap", False)


async def test_a_strategy_that_was_given_needs_no_name_that_others_know(start: Start) -> None:
    class Given(SchedulerBased):
        name = "given"

    _, data = dump_function(Given)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
        given = b64encode(data).decode()
        serve(start, "controller", fd=listening.fileno(), strategy="given", given=given)
    worker = await RawPeer.join(address, "worker")
    assert await worker.hear(Balance) == Balance("given", False)


async def test_an_unknown_strategy_is_said_in_a_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        boss = serve(start, "controller", fd=listening.fileno(), strategy="no-such")
    code, said = await boss.ends(deadline_s=20.0)
    assert code == 1
    assert said.startswith("lbnet: there is no strategy 'no-such'; there are: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, "it left: the controller was stopped"), (signal.SIGKILL, "the peer closed the connection")],
)
async def test_a_worker_whose_controller_is_gone_ends_with_a_sentence(number: int, reason: str, start: Start) -> None:
    role, address = await a_controller(start)
    worker = serve(start, "worker", port=address.port)
    client = await RawPeer.join(address, "client")
    await client.say(*whole_job(job_of(client), abs, [-1]))
    assert await values_of(client, job_of(client)) == [1]
    role.signal(number)
    assert await worker.ends() == (1, f"lbnet: the controller at {address} is gone: {reason}\n")


async def test_an_embedded_cluster_ends_with_the_process_that_started_it(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
        # The worker comes first: it waits until the controller is there.
        worker = serve(start, "worker", port=address.port)
        boss = serve(start, "controller", fd=listening.fileno())
    slot = await busy(address, tasks.spin, tmp_path / "pid")
    for role in (worker, boss):
        assert role.process.stdin is not None
        role.process.stdin.close()
    assert (await worker.ends(), await boss.ends()) == ((0, ""), (0, ""))
    await until(lambda: is_gone(slot))


async def test_the_end_of_its_input_leaves_an_embedded_controller_time_to_send_what_waits(start: Start) -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = Address("127.0.0.1", listening.getsockname()[1])
        boss = serve(start, "controller", fd=listening.fileno())
    slow = await RawPeer.join(address, "client", kernel_bytes=16 << 10)
    await slow.say(*(Ask(number, "status", JobId(0)) for number in range(3_000)))
    other = await RawPeer.join(address, "client")
    await other.say(Ask(1, "status", JobId(0)))
    await other.hear(Answer)
    assert boss.process.stdin is not None
    boss.process.stdin.close()
    assert await other.hear_end() == [Goodbye("the controller was stopped")]
    assert (await slow.hear_end())[-1] == Goodbye("the controller was stopped")
    assert await boss.ends() == (0, "")


async def test_what_is_written_to_an_embedded_process_is_ignored(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
        boss = serve(start, "controller", fd=listening.fileno())
    assert boss.process.stdin is not None
    boss.process.stdin.write(b"hello?\n")
    boss.process.stdin.flush()
    await RawPeer.join(address, "client")
    assert boss.process.poll() is None
    boss.process.stdin.close()
    assert await boss.ends() == (0, "")
