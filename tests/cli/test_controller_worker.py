"""Controllers and workers as processes that people start, and how they end."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lbnet.address import parse_address
from lbnet.cli import controller
from lbnet.types import Address
from tests.cli.running import (
    Cluster,
    Running,
    address_of,
    alive,
    cluster,
    ended,
    free_port,
    lbnet,
    sentence,
    start,
    until,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]

# --- the controller -------------------------------------------------------------------------------


def test_the_line_that_a_controller_prints_starts_a_worker(folder: Path) -> None:
    with start("controller", "--port", 0, folder=folder) as running:
        first, second = running.line(), running.line()
        assert first.startswith("controller at 127.0.0.1:")
        assert first.endswith("; Ctrl-C ends it. Start workers with")
        program, *args = second.split()
        assert program == "lbnet"
        with start(*args, "--slots", 1, folder=folder) as worker:
            assert worker.line() == f"worker worker-1 (number 1) has joined {args[2]}; Ctrl-C ends it"


def test_json_is_one_line_for_programs(folder: Path) -> None:
    with start("controller", "--port", 0, "--placement", "first", "--json", folder=folder) as running:
        facts = json.loads(running.line())
        address = facts.pop("address")
        assert Path(facts["state_dir"]).name == address.replace(":", "-")
        assert facts.pop("secrets") == facts.pop("state_dir")
        restored = {"jobs": 0, "outstanding": 0, "untaken": 0}
        assert facts == {"placement": "first", "strategy": "sb", "restored": restored}
        assert json.loads(lbnet("status", "--connect", address, "--json").stdout)["placement"] == "first"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_interfaces_are_shown_as_an_address_that_others_can_use(host: str) -> None:
    shown = controller._as_seen_by_others(Address(host, 7077))
    assert shown.port == 7077
    assert shown.host not in ("", host)
    assert parse_address(str(shown)) == shown


def test_one_interface_is_shown_as_it_is() -> None:
    assert controller._as_seen_by_others(Address("127.0.0.1", 1)) == Address("127.0.0.1", 1)


def test_without_a_way_out_the_name_of_the_machine_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*args: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", no_route)
    assert controller._as_seen_by_others(Address("0.0.0.0", 1)) == Address(socket.gethostname(), 1)


def test_a_controller_on_all_interfaces_is_reached_by_loopback(folder: Path) -> None:
    with start("controller", "--host", "0.0.0.0", "--port", 0, folder=folder) as running:
        port = parse_address(address_of(running)).port
        assert "0 workers" in lbnet("status", "--connect", f"127.0.0.1:{port}").stdout


def test_a_port_that_is_taken_is_answered_with_another_one_to_choose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = sentence(lbnet("controller", "--port", port), 2)
    assert f"cannot listen on 127.0.0.1:{port}" in text
    assert "another program listens there; choose another --port, or 0 for any" in text


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 300, "127.0.0.1 "])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    text = sentence(lbnet("controller", "--host", host, "--port", 0), 2)
    assert text.startswith(f"cannot listen on {host}:0 (")
    assert text.endswith("check --host and --port")


def test_an_empty_host_is_not_taken_for_all_interfaces() -> None:
    text = sentence(lbnet("controller", "--host", "", "--port", 0), 2)
    assert text == "--host is empty: name an interface, or 0.0.0.0 for all of them"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "65536"), "65536 is not in the range 0<=x<=65535"),
        (("--port", "http"), "'http' is not a valid integer range"),
        (("--placement", "last"), "'last' is not one of 'spread', 'first'"),
        (("--strategy", "luck"), "there is no strategy 'luck'; there are: arr, grr, lifeline, pmap, rp, sb, shared"),
        (("--strategy", "no_such_module:Mine"), "strategy 'no_such_module:Mine' (no_such_module:Mine) cannot be impor"),
    ],
)
def test_impossible_values_are_answered_with_the_possible_ones(args: tuple[str, str], said: str) -> None:
    result = lbnet("controller", *args)
    assert result.returncode == 2
    assert said in result.stderr


MINE = """
from lbnet.strategies.sb import SchedulerBased

class Mine(SchedulerBased):
    name = "mine"
"""


def test_a_strategy_of_ones_own_lies_in_the_folder_of_controller_and_workers(folder: Path) -> None:
    (folder / "my_strategies.py").write_text(MINE)
    arguments = ("controller", "--port", 0, "--strategy", "my_strategies:Mine")
    with start(*arguments, folder=folder) as running:
        address = address_of(running)
        with start("worker", "--connect", address, "--slots", 1, folder=folder) as worker:
            worker.line()
            assert "strategy my_strategies:Mine" in lbnet("status", "--connect", address).stdout


def test_a_worker_has_no_strategy_of_its_own() -> None:
    result = lbnet("worker", "--strategy", "sb")
    assert result.returncode == 2
    assert "No such option" in result.stderr


# --- the worker -----------------------------------------------------------------------------------


@contextmanager
def something_else(answer: bytes) -> Iterator[str]:
    """A server that is no controller: to whoever connects it says ``answer``, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def serve() -> None:
            connection, _ = sock.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


def test_where_nothing_listens_one_sentence_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    text = sentence(lbnet("status", "--connect", address), 1)
    assert text == f"nothing answers at {address} (Connection refused): is an lbnet controller running there?"


def test_a_worker_may_be_started_before_its_controller(folder: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with start("worker", "--connect", address, "--name", "early", "--slots", "1", folder=folder) as worker:
        until(lambda: f"nothing answers at {address} yet: trying for 10 s" in worker.said(), worker.said)
        with start("controller", "--port", port, "--no-journal", folder=folder):
            assert worker.line().startswith(f"worker early (number 1) has joined {address}")


@pytest.mark.parametrize("command", [("worker", "--slots", "1"), ("status",)])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"", b"SSH-2.0-x\r\n"])
def test_what_is_no_controller_is_named_in_one_sentence(command: tuple[str, ...], answer: bytes) -> None:
    with something_else(answer) as address:
        text = sentence(lbnet(*command, "--connect", address), 1)
    assert text.startswith(f"{address} is not an lbnet controller: ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--connect", "host:port"), "'host:port' is not an address: write HOST:PORT, for example 127.0.0.1:7077"),
        (("--slots", "0"), "0 is not in the range 1<=x<=4096"),
        (("--slots", "some"), "'some' is not a valid integer range"),
    ],
)
def test_a_worker_refuses_impossible_values(args: tuple[str, str], said: str) -> None:
    result = lbnet("worker", *args)
    assert result.returncode == 2
    assert said in result.stderr


def test_slots_and_name_are_shown(shared: Cluster) -> None:
    facts = json.loads(lbnet("status", "--connect", shared.address, "--json").stdout)
    assert sorted((worker["name"], worker["slots"]) for worker in facts["workers"]) == [
        ("[/bold]:cat:", 1),
        ("big-iron", 2),
    ]
    assert {worker["pid"] for worker in facts["workers"]} == {worker.process.pid for worker in shared.workers}


# --- the end --------------------------------------------------------------------------------------


@contextmanager
def with_busy_task(folder: Path, function: str, *of_worker: str) -> Iterator[tuple[Cluster, Running]]:
    """A controller, a worker of one slot, and a map whose only task has begun and does not end."""
    (folder / "items.jsonl").write_text(json.dumps(str(folder / "begun")))
    with (
        cluster(folder, ("--slots", "1", *of_worker)) as made,
        start("map", function, "items.jsonl", "--connect", made.address, folder=folder) as client,
    ):
        until((folder / "begun").exists, lambda: f"the task does not begin: {client.said()}")
        yield made, client


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_controller_and_that_ends_its_worker(number: signal.Signals, folder: Path) -> None:
    with cluster(folder, ("--slots", "1")) as made:
        (worker,) = made.workers
        family = worker.family()
        assert len(family) > 1
        made.controller.process.send_signal(number)
        assert made.controller.ends() == 0
        assert ended(worker, family) == 1
        assert worker.said() == (
            f"lbnet: the controller at {made.address} is gone: it left: the controller was stopped\n"
        )


@pytest.mark.parametrize("patience", ["0", "0.5"])
def test_a_controller_that_is_killed_ends_its_worker_with_a_sentence_when_its_time_is_over(
    patience: str, folder: Path
) -> None:
    with with_busy_task(folder, "work:busy", "--rejoin-timeout", patience) as (made, client):
        (worker,) = made.workers
        family = worker.family()
        made.controller.process.kill()
        assert ended(worker, family) == 1
        *before, last = worker.said().splitlines()
        assert last.startswith(f"lbnet: the controller at {made.address} is gone: ")
        sought = f"and for {patience} s: nothing answers at {made.address}"
        assert (sought in last, len(before)) == ((False, 0) if patience == "0" else (True, 1))
        assert client.process.poll() is None
        until(lambda: f"the link to the controller at {made.address} broke: " in client.said(), client.said)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_worker_that_looks_for_its_controller(number: signal.Signals, folder: Path) -> None:
    with with_busy_task(folder, "work:busy") as (made, _):
        (worker,) = made.workers
        family = worker.family()
        made.controller.process.kill()
        until(lambda: "looking for it for 300 s" in worker.said(), worker.said)
        assert all(map(alive, family)), "its task goes on"
        worker.process.send_signal(number)
        assert ended(worker, family) == 0


@pytest.mark.parametrize(
    ("function", "number"),
    [("work:busy", signal.SIGTERM), ("work:busy", signal.SIGINT), ("work:napping", signal.SIGINT)],
)
def test_a_signal_ends_a_worker_with_a_task_that_runs(function: str, number: signal.Signals, folder: Path) -> None:
    with with_busy_task(folder, function) as (made, client):
        (worker,) = made.workers
        family = worker.family()
        worker.process.send_signal(number)
        assert ended(worker, family) == 0
        assert alive(made.controller.family()[0])
        assert "0 workers" in lbnet("status", "--connect", made.address).stdout
        assert client.process.poll() is None
