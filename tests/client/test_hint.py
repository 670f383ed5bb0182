"""Who waits for nobody's work is told once, with the command that helps."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lbnet import Client, LocalCluster, limits
from lbnet.address import parse_address
from lbnet.client.hint import WorkersHint
from lbnet.types import Address, JobId
from tests.client.scripted import until


@pytest.fixture(autouse=True)
def only_warnings_of_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "lbnet.client")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lbnet.client"]


def test_a_job_that_waits_for_long_asks_once() -> None:
    hint = WorkersHint(Address("h", 1))
    assert not hint.due(1e9)
    hint.opened(JobId(1), 100.0)
    assert not hint.due(100.0 + limits.WORKERS_HINT_S - 0.1)
    assert hint.due(100.0 + limits.WORKERS_HINT_S)
    assert not hint.due(1e9)


def test_a_job_that_has_heard_something_asks_nothing() -> None:
    hint = WorkersHint(Address("h", 1))
    hint.opened(JobId(1), 0.0)
    hint.heard(JobId(1))
    hint.heard(JobId(2))
    assert not hint.due(1e9)


def test_the_warning_names_the_address_and_the_command_and_is_given_once(caplog: pytest.LogCaptureFixture) -> None:
    hint = WorkersHint(Address("10.0.0.5", 7077))
    hint.answered({"workers": [{"name": "a"}]})
    assert messages(caplog) == []
    hint.answered({"workers": []})
    hint.answered({"workers": []})
    (text,) = messages(caplog)
    assert "no worker has joined the controller at 10.0.0.5:7077" in text
    assert text.endswith("lbnet worker --connect 10.0.0.5:7077")
    hint.opened(JobId(3), 0.0)
    assert not hint.due(1e9)


@pytest.fixture
def lonely_controller() -> Iterator[str]:
    """The address of a controller without workers."""
    code = (
        "from lbnet.net.run import run_controller\n"
        "run_controller(host='127.0.0.1', port=0, placement='spread', strategy='sb', stop_on_stdin_eof=True,\n"
        "    on_ready=lambda address: print(address, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("work", [lambda client: client.map(abs, [1]), lambda client: client.submit(abs, 1)])
def test_who_waits_for_a_controller_without_workers_is_warned(
    lonely_controller: str, work: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "WORKERS_HINT_S", 0.05)
    client = Client(lonely_controller, insecure=True)
    waiting = [work(client) for _ in range(3)]
    until(lambda: messages(caplog), "the warning comes")
    client.status()
    client.close()
    assert len(waiting) == 3
    (text,) = messages(caplog)
    assert text.endswith(f"lbnet worker --connect {parse_address(lonely_controller)}")


def test_who_waits_for_a_long_task_is_not_warned(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "WORKERS_HINT_S", 0.05)
    with cluster.client() as client:
        assert client.submit(time.sleep, 0.2).result(10) is None
    assert messages(caplog) == []
