"""Tokens, and what a cluster shows of its secrets, as users meet them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psutil
import pytest

from tests.cli.running import Running, address_of, lbnet, sentence, start


def printed_token(controller: Running) -> str:
    words = controller.lines[1].split()
    return words[words.index("--token") + 1]


def shown_by_the_system(process: psutil.Process) -> str:
    """What others may see of a process, on a system with ``/proc``."""
    return " ".join(process.cmdline()) + " ".join(f"{name}={value}" for name, value in process.environ().items())


def test_with_a_token_by_file_nobody_sees_it(folder: Path, tmp_path: Path) -> None:
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}  # as on a machine without this home
    with start("controller", "--port", 0, folder=folder) as controller:
        address = address_of(controller)
        token = printed_token(controller)
        assert token.startswith("LB1-")
        file = folder / "token"
        file.write_text(f"{token}\n")
        file.chmod(0o600)
        args = ("worker", "--connect", address, "--slots", 1, "--token-file", file)
        with start(*args, folder=folder, **elsewhere) as worker:
            worker.line()
            family = [*worker.family(), *controller.family()]
            assert len(family) >= 3
            for process in family:
                assert token not in shown_by_the_system(process)
                assert token.split("-")[2] not in shown_by_the_system(process)
            assert "1 worker" in lbnet("status", "--connect", address).stdout


@pytest.mark.parametrize("how", ["an argument", "a variable"])
def test_a_token_may_be_said_in_other_ways(folder: Path, tmp_path: Path, how: str) -> None:
    with start("controller", "--port", 0, folder=folder) as controller:
        address = address_of(controller)
        made = json.loads(
            lbnet("token", "create", "--role", "client", "--json", "--state-dir", _state_dir(controller)).stdout
        )
        said = {"LBNET_TOKEN": made["token"]} if how == "a variable" else {}
        args = ("--token", made["token"]) if how == "an argument" else ()
        home = str(tmp_path / "elsewhere")
        assert "0 workers" in lbnet("status", "--connect", address, *args, XDG_STATE_HOME=home, **said).stdout
        refused = sentence(lbnet("status", "--connect", address, XDG_STATE_HOME=home), 1)
        assert "lets nobody in without a token" in refused


def test_tasks_do_not_inherit_the_token(folder: Path) -> None:
    with start("controller", "--port", 0, folder=folder) as controller:
        address = address_of(controller)
        args = ("worker", "--connect", address, "--slots", 1)
        with start(*args, folder=folder, LBNET_TOKEN=printed_token(controller)) as worker:
            worker.line()
            (folder / "names.jsonl").write_text('"LBNET_TOKEN"\n"PATH"\n')
            found = lbnet("map", "os:getenv", folder / "names.jsonl", "--connect", address).stdout.splitlines()
            assert found[0] == "null"
            assert found[1] != "null"


def _state_dir(controller: Running) -> Path:
    """Where a controller says that it keeps its journal."""
    words = (controller.lines[2] if len(controller.lines) > 2 else controller.line()).split()
    return Path(words[words.index("in") + 1].rstrip(";:,"))


def test_tokens_are_made_listed_and_revoked_while_the_controller_runs(folder: Path, tmp_path: Path) -> None:
    with start("controller", "--port", 0, folder=folder) as controller:
        address, state = address_of(controller), _state_dir(controller)
        made = lbnet("token", "create", "--role", "worker", "--ttl", "24h", "--state-dir", state)
        id_ = made.stderr.split()[2]
        listed = json.loads(lbnet("token", "list", "--json", "--state-dir", state).stdout)
        assert {each["id"]: each["state"] for each in listed}[id_] == "valid"
        assert made.stdout.strip() not in json.dumps(listed)
        assert id_ in lbnet("token", "list", "--state-dir", state).stdout
        args = ("worker", "--connect", address, "--slots", 1, "--token", made.stdout.strip())
        with start(*args, folder=folder, XDG_STATE_HOME=str(tmp_path / "elsewhere")) as worker:
            worker.line()
            assert f"token {id_} is revoked" in lbnet("token", "revoke", id_, "--state-dir", state).stdout
            worker.process.wait(20)
            assert "was revoked" in worker.said()
        assert "0 workers" in lbnet("status", "--connect", address).stdout
        assert "there is no token 'nonsense'" in sentence(lbnet("token", "revoke", "nonsense", "--state-dir", state), 2)


def test_where_there_are_no_secrets_no_token_is_made(tmp_path: Path) -> None:
    text = sentence(lbnet("token", "create", "--role", "worker", "--state-dir", tmp_path), 2)
    assert text == f"{tmp_path} has no secrets of a cluster: name the --state-dir of its controller"


def test_the_secrets_of_a_controller_are_for_its_account_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        with start("controller", "--port", 0, folder=folder) as controller:
            address_of(controller)
            state = _state_dir(controller)
    finally:
        os.umask(before)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    secret = [path for path in state.iterdir() if path.suffix in {".pem", ".json", ".token"}]
    assert len(secret) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


@pytest.mark.parametrize(
    "command",
    [
        ("controller", "--host", "0.0.0.0", "--insecure"),
        ("worker", "--connect", "10.0.0.5:7077", "--insecure"),
        ("status", "--connect", "10.0.0.5:7077", "--insecure"),
    ],
)
def test_nothing_that_leaves_this_machine_goes_unprotected(command: tuple[str, ...]) -> None:
    assert "leave this machine, and are always protected" in sentence(lbnet(*command), 2)


def test_on_this_machine_protection_can_be_left_out(folder: Path) -> None:
    with start("controller", "--port", 0, "--insecure", folder=folder) as controller:
        address = address_of(controller)
        assert controller.lines[1] == f"  lbnet worker --connect {address} --insecure"
        with start("worker", "--connect", address, "--insecure", "--slots", 1, folder=folder) as worker:
            worker.line()
            assert "1 worker" in lbnet("status", "--connect", address, "--insecure").stdout
            assert "is not an lbnet controller" in sentence(lbnet("status", "--connect", address), 1)
