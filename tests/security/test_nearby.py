"""Connection files: who runs under the same account finds the token, and nobody else's file is believed."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.security import token
from lbnet.security.nearby import Nearby, announced, is_loopback, token_for
from lbnet.types import Address

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "lbnet" / "connections"


def controller(host: str = "127.0.0.1", port: int = 7077, machine: str = HERE) -> Nearby:
    return Nearby(host, port, machine, str(token.draw(b"one")), str(token.draw(b"one")))


def test_it_is_there_while_the_controller_is(home: Path) -> None:
    made = controller()
    with announced(made) as path:
        assert path.parent == home
        assert [stat.S_IMODE(each.stat().st_mode) for each in (home, path)] == [0o700, 0o600]
        assert str(token_for(Address("127.0.0.1", 7077), "worker")) == made.worker
        assert str(token_for(Address("127.0.0.1", 7077), "client")) == made.client
        assert token_for(Address("127.0.0.1", 7078), "client") is None
    assert token_for(Address("127.0.0.1", 7077), "client") is None
    assert list(home.iterdir()) == []


def test_who_ends_late_does_not_remove_the_file_of_who_came_after_it() -> None:
    first, second = controller(), controller()
    with announced(second):
        with announced(first), announced(second):
            pass
        assert token_for(Address("127.0.0.1", 7077), "client") is None  # the second one took it away with it
    with announced(first):
        context = announced(second)
        context.__enter__()
        assert str(token_for(Address("127.0.0.1", 7077), "client")) == second.client
    assert str(token_for(Address("127.0.0.1", 7077), "client")) == second.client
    context.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("host", "machine", "asked", "found"),
    [
        ("127.0.0.1", HERE, "localhost", True),
        ("127.0.0.1", HERE, "::1", True),
        ("127.0.0.1", "another", "localhost", False),
        ("127.0.0.1", HERE, "10.0.0.5", False),
        ("0.0.0.0", HERE, "127.0.0.1", True),
        ("0.0.0.0", "another", "10.0.0.5", True),
        ("0.0.0.0", "another", "127.0.0.1", False),
        ("10.0.0.5", "another", "head-node", True),
        ("10.0.0.5", HERE, "127.0.0.1", True),
    ],
)
def test_names_of_one_machine(host: str, machine: str, asked: str, found: bool) -> None:
    with announced(controller(host, machine=machine)):
        assert (token_for(Address(asked, 7077), "worker") is not None) == found


def test_the_address_that_was_asked_for_comes_first() -> None:
    other, meant = controller("10.0.0.6", machine="b"), controller("10.0.0.5", machine="a")
    with announced(meant), announced(other):
        assert str(token_for(Address("10.0.0.5", 7077), "client")) == meant.client


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"host": 1}', '{"host":"a","port":1,"machine":"b","worker":"","client":""}']
)
def test_a_damaged_file_is_named(damage: str) -> None:
    with announced(controller()) as path:
        path.write_text(damage)
        with pytest.raises(UsageError, match="is damaged"):
            token_for(Address("127.0.0.1", 7077), "client")


def test_a_file_that_others_can_read_is_not_believed() -> None:
    with announced(controller()) as path:
        path.chmod(0o640)
        with pytest.raises(UsageError, match="can be read by others"):
            token_for(Address("127.0.0.1", 7077), "client")


def test_a_link_in_its_place_is_replaced_and_not_followed(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (home / "127.0.0.1-7077.json").symlink_to(victim)
    with announced(controller()):
        assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("", "0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org")],
)
def test_what_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
