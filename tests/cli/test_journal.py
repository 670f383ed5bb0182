"""What a controller keeps: where it is, what is said of it, and what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import socket
from pathlib import Path

import pytest

from lbnet import Client
from lbnet.cli import controller
from lbnet.errors import UsageError
from lbnet.journal.journal import Journal
from lbnet.journal.store import NAME, Addition
from lbnet.protocol.messages import Taken
from lbnet.protocol.records import encode
from lbnet.types import JobId
from tests.cli.running import address_of, cluster, free_port, lbnet, sentence, start, until

# --- where it is ----------------------------------------------------------------------------------


def test_a_chosen_port_has_a_journal_and_a_line_that_says_how_to_go_on_from_it(folder: Path) -> None:
    with start("controller", "--port", 0, folder=folder) as running:
        address = address_of(running)
        port = address.rpartition(":")[2]
        where = Path(os.environ["XDG_STATE_HOME"]) / "lbnet" / f"127.0.0.1-{port}"
        line = running.line()
        assert line == f"journal in {where}; to go on from it, start the same command with --port {port}"
        assert (where / NAME).exists()
        running.process.kill()
    with start("controller", "--port", port, folder=folder) as running:
        assert address_of(running) == address
        assert running.line() == f"journal in {where}"


def test_it_is_in_the_home_directory_if_nothing_says_where_state_is(folder: Path) -> None:
    with start("controller", "--port", 0, folder=folder, HOME=str(folder), XDG_STATE_HOME="") as running:
        port = address_of(running).rpartition(":")[2]
        assert running.line().startswith(f"journal in {folder}/.local/state/lbnet/127.0.0.1-{port};")


def test_a_folder_of_ones_own_is_named_as_a_whole(folder: Path) -> None:
    with start("controller", "--port", 0, "--state-dir", "mine", folder=folder) as running:
        address = address_of(running)
        assert running.line().startswith(f"journal in {folder}/mine; to go on")
        shown = lbnet("status", "--connect", address).stdout
        assert re.search(rf"^journal {folder}/mine \(\d+\.\d MB\)$", shown, re.MULTILINE), shown
        facts = json.loads(lbnet("status", "--connect", address, "--json").stdout)
        assert facts["journal"].startswith(f"{folder}/mine (")


def test_without_a_journal_nothing_is_kept_and_that_is_said(folder: Path) -> None:
    state = folder / "state"
    with start("controller", "--port", 0, "--no-journal", folder=folder, XDG_STATE_HOME=str(state)) as running:
        address = address_of(running)
        assert running.line() == "no journal is kept: all jobs end with this process"
        assert "\njournal off\n" in lbnet("status", "--connect", address, XDG_STATE_HOME=str(state)).stdout
    assert [path for path in state.rglob("*") if path.is_file()] == []  # nor a secret
    with start("controller", "--port", 0, "--no-journal", "--json", folder=folder) as running:
        facts = json.loads(running.line())
        assert (facts["state_dir"], facts["restored"]) == (None, None)


def test_a_folder_without_a_journal_holds_the_secrets(folder: Path) -> None:
    with start("controller", "--port", 0, "--no-journal", "--state-dir", folder / "mine", folder=folder) as running:
        address_of(running)
        assert running.line() == "no journal is kept: all jobs end with this process"
    names = sorted(path.name for path in (folder / "mine").iterdir())
    assert names == ["authority.pem", "client.token", "tokens.json", "tokens.lock", "worker.token"]


def test_a_chosen_port_is_none_that_somebody_has_a_journal_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def where(host: str, port: int) -> Path:
        asked.append(port)
        return tmp_path if len(asked) <= 3 else tmp_path / host

    monkeypatch.setattr(controller, "_state_dir", where)
    sock, directory = controller._new_place("127.0.0.1")
    with sock:
        assert directory == tmp_path / "127.0.0.1"
        assert len(set(asked)) == 4
        assert sock.getsockname()[1] == asked[-1]
    for port in asked[:-1]:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            raise AssertionError("a port that was not chosen is still listened at")


def test_when_every_port_has_a_journal_it_is_said_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "_state_dir", lambda host, port: tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path.parent} has journals for all of 50 free ports: remove old ones"):
        controller._new_place("127.0.0.1")


# --- what is wrong with it ------------------------------------------------------------------------


def test_two_controllers_do_not_have_one_journal(folder: Path) -> None:
    with start("controller", "--port", 0, "--state-dir", folder / "mine", folder=folder) as running:
        address = address_of(running)
        pid = running.process.pid
        for port in (0, address.rpartition(":")[2]):  # that the port is taken, too, is not what is wrong
            text = sentence(lbnet("controller", "--port", port, "--state-dir", folder / "mine"), 2)
            assert text.startswith(f"another controller (process {pid}) uses the state in {folder}/mine: stop it, or")


def kept(directory: Path, *bodies: bytes) -> None:
    """A journal that ended in good order, with these records of one job."""
    journal = Journal(directory)
    journal.start(lambda count: None, lambda error: None)
    journal.append(Addition(7, tuple(bodies), whole=False))
    assert journal.close(10)


def test_a_damaged_journal_is_named_and_not_touched(folder: Path) -> None:
    directory = folder / "mine"
    kept(directory, b"a record that is damaged")
    path = directory / NAME
    whole = path.read_bytes()
    assert whole.count(b"that is damaged") == 1
    damaged = whole.replace(b"that is damaged", b"that is changed")
    path.write_bytes(damaged)
    text = sentence(lbnet("controller", "--port", 0, "--state-dir", directory), 2)
    assert text.startswith(f"the journal {path} is damaged: record 1 does not fit its checksum; nothing was changed: ")
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no record", "record 1 of the journal in {} is none of this lbnet ("),
        (encode(Taken(JobId(7), 1)), "the journal holds a Taken of job 7, and not the beginning of that job: "),
    ],
)
def test_records_that_make_no_sense_are_refused_in_one_sentence(folder: Path, body: bytes, said: str) -> None:
    directory = folder / "mine"
    kept(directory, body)
    text = sentence(lbnet("controller", "--port", 0, "--state-dir", directory), 2)
    assert text.startswith(said.format(directory))


def test_a_folder_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    text = sentence(lbnet("controller", "--port", free_port(), "--state-dir", folder / "file" / "mine"), 2)
    assert text.startswith(f"{folder}/file/mine cannot be made (Not a directory): choose another --state-dir")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
def test_a_full_disk_holds_results_back_until_there_is_room(folder: Path) -> None:
    with cluster(folder, ("--slots", "1")) as made, Client(made.address) as client:
        assert list(client.map(str, range(10))) == [str(item) for item in range(10)]
        pid = made.controller.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # Its log can be written, and nothing that makes the journal longer.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, hard))
        future = client.submit(pow, 2, 10)
        until(lambda: "cannot be written" in made.controller.said(), made.controller.said)
        assert not future.done()
        shown = lbnet("status", "--connect", made.address).stdout
        assert re.search(
            r"^journal /.* cannot be written \(.+\): .* wait, and results are held back$", shown, re.MULTILINE
        )
        assert not future.done()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        assert future.result(30) == 1024
        until(lambda: "can be written again" in made.controller.said(), made.controller.said)
        assert made.controller.said().count("cannot be written") == 1
        assert "cannot be written" not in lbnet("status", "--connect", made.address).stdout
