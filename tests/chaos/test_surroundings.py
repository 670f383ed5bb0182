"""Namespaces and the small disk, where they can be had: they do what they say, and nothing of them is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.chaos import network as networks
from bench.chaos.disk import SmallDisk, can_mount
from bench.chaos.faults import NETWORK, FaultKind
from bench.chaos.network import Loopback, Namespaces
from lbnet.errors import UsageError

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 9), 0.5)"
"""Port 9 has no listener: who gets through is refused, who does not waits in vain."""


@pytest.fixture
def spaces() -> object:
    try:
        network = Namespaces(["one", "two"])
    except (UsageError, OSError) as error:
        pytest.skip(f"no namespaces here: {error}")
    yield network
    network.close()


def reaches(network: Namespaces, node: str, other: str) -> bool:
    command = network.inside(node, ["python3", "-c", CONNECT, network.host(other)])
    return "ConnectionRefusedError" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def namespaces() -> list[str]:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()


def test_nodes_reach_each_other_unless_one_is_cut_off(spaces: Namespaces) -> None:
    assert reaches(spaces, "one", "two")
    spaces.harm("two", FaultKind.CUT, 0.5)
    assert not reaches(spaces, "one", "two")
    spaces.heal("two")
    assert reaches(spaces, "one", "two")


def test_every_fault_that_is_said_to_be_possible_is_and_can_be_healed(spaces: Namespaces) -> None:
    assert {FaultKind.CUT, FaultKind.SLOW} <= spaces.kinds <= NETWORK
    for kind in FaultKind:
        for share in (0.0, 0.99) if kind in spaces.kinds else ():
            spaces.harm("one", kind, share)
            spaces.heal("one")
    assert reaches(spaces, "one", "two")


def test_nothing_is_left(spaces: Namespaces) -> None:
    mine = [name for name in namespaces() if name.startswith(f"lbc{os.getpid()}-")]
    assert len(mine) == 3
    spaces.close()
    assert not set(mine) & set(namespaces())


def test_the_loopback_interface_has_no_faults() -> None:
    network = Loopback()
    assert network.inside("one", ["true"]) == ["true"]
    assert not network.kinds
    with pytest.raises(AssertionError):
        network.harm("one", FaultKind.CUT, 0.5)


def test_who_may_not_make_namespaces_is_told_why_and_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    network, why_not = networks.namespaces(["one"])
    assert isinstance(network, Loopback)
    assert why_not == "they need root, and the commands ip and tc"


def test_a_disk_is_filled_to_the_last_byte_and_cleared(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("only root can mount")
    try:
        disk = SmallDisk(tmp_path / "disk")
    except UsageError as error:
        pytest.skip(f"no mounts here: {error}")
    try:
        disk.fill()
        assert shutil.disk_usage(disk.where).free == 0
        with pytest.raises(OSError, match="No space left"):
            (disk.where / "more").write_bytes(b"1")
        disk.clear()
        (disk.where / "more").write_bytes(b"1")
    finally:
        disk.close()
    assert not os.path.ismount(disk.where)
