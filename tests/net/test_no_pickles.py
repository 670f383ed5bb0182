"""A controller unpickles nothing, whatever a client or a worker puts where it may put bytes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from lbnet.protocol.digest import digest_of
from lbnet.protocol.messages import (
    AskInventory,
    Attach,
    CloseJob,
    Failed,
    Function,
    Idle,
    Inventory,
    JobDone,
    OpenJob,
    Result,
    SendWork,
    Submit,
    Values,
)
from lbnet.types import FAILED, ROOT, VALUES, Address, Batch, Failure, Group, JobOptions, Member, Payload
from tests.net.cluster import RawPeer, job_of

CONTROLLER = """
import sys
from pathlib import Path
from lbnet.net.run import run_controller
run_controller(host="127.0.0.1", port=0, placement="spread", strategy="sb", state_dir=Path(sys.argv[1]),
               on_ready=lambda address: print(address.port, flush=True))
"""


class Evil:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_the_pickle_does_what_it_says(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "mark"))).close()  # noqa: S301 - it is ours
    assert (tmp_path / "mark").exists()


def start(state: Path) -> tuple[subprocess.Popen[bytes], Address]:
    process = subprocess.Popen([sys.executable, "-c", CONTROLLER, str(state)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, Address("127.0.0.1", int(process.stdout.readline()))


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


async def test_pickles_pass_through_a_controller_and_its_journal_unopened(tmp_path: Path) -> None:
    """As a function, an item, a value, an exception, and in the journal that the next controller reads."""
    mark = tmp_path / "mark"
    evil = pickle.dumps(Evil(mark))
    process, address = start(tmp_path / "state")
    try:
        client, worker = await RawPeer.join(address, "client"), await RawPeer.join(address, "worker")
        job = job_of(client)
        batch = Batch(job, ROOT, 0, 2, 0, ROOT, 0, Payload(0, 2, digest_of(evil), evil))
        await client.say(
            OpenJob(job, JobOptions()),
            Function(job, digest_of(evil), evil),
            Submit(batch),
            CloseJob(job, 2),
        )
        await worker.say(Idle(0.0))
        assert (await worker.hear(Function)).data == evil
        assert (await worker.hear(SendWork)).batches[0].payload.data == evil
        done = Group(VALUES, evil, (Member(ROOT, 0, 1, 0, ROOT, 0, ROOT, ()),), 0.1, None)
        await worker.say(Result(job, (done,), ()))
        assert (await client.hear(Values)).data == evil  # so it is in the journal
    finally:
        end(process)
    client.close()  # after it: the next controller must not know whether they are still there
    worker.close()
    process, address = start(tmp_path / "state")
    try:
        client2 = await RawPeer.join(address, "client", peer=client.peer, cluster=client.cluster)
        worker2 = await RawPeer.join(address, "worker")
        failure = Failure("exception", "boom", "", "here", evil)
        failed = Group(FAILED, b"", (Member(ROOT, 1, 2, 1, ROOT, 0, ROOT, ()),), 0.1, failure)
        await client2.say(Attach(job, 0))
        assert (await client2.hear(Values)).data == evil
        await worker2.say(Idle(0.0))
        await worker2.say(Inventory((await worker2.hear(AskInventory)).round, ()))
        await worker2.hear(SendWork)
        await worker2.say(Result(job, (failed,), ()))
        assert (await client2.hear(Failed)).data == evil
        await client2.hear(JobDone)
        client2.close()
        worker2.close()
    finally:
        end(process)
    assert not mark.exists()


TRIES = """
import sys
from lbnet.net.no_pickles import forbid_pickles
import pickle, cloudpickle
data = bytes.fromhex(sys.argv[1])
forbid_pickles()
for load in (pickle.loads, pickle._loads, cloudpickle.loads):
    try:
        load(data)
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("unpickled")
print(pickle.loads(pickle.dumps([1, {"two": 3.0}])))
"""


def test_in_its_process_every_way_to_unpickle_is_shut(tmp_path: Path) -> None:
    data = pickle.dumps(Evil(tmp_path / "mark")).hex()
    done = subprocess.run([sys.executable, "-c", TRIES, data], capture_output=True, text=True, check=True)
    *refused, plain = done.stdout.splitlines()
    assert len(refused) == 3
    assert all("a pickle asked the controller for io.open: it unpickles nothing" in line for line in refused), refused
    assert plain == "[1, {'two': 3.0}]"  # what names no class runs nothing
    assert not (tmp_path / "mark").exists()
