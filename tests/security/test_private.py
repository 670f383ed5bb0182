"""Secrets are in files that only their owner may read, and nowhere that somebody else has prepared."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.security import private


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(autouse=True)
def _careless() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_directories_and_files_are_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "state"
    private.make_directory(directory)
    private.write_new(directory / "key", b"secret")
    private.replace(directory / "tokens", b"one")
    private.replace(directory / "tokens", b"two")
    assert mode_of(directory) == 0o700
    assert {mode_of(path) for path in directory.iterdir()} == {0o600}
    assert private.read(directory / "key") == b"secret"
    assert private.read(directory / "tokens") == b"two"
    assert {path.name for path in directory.iterdir()} == {"key", "tokens"}, "nothing is left over"


def test_a_directory_that_is_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    private.make_directory(tmp_path / "state")
    assert mode_of(tmp_path / "state") == 0o700


def test_a_link_is_no_directory_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="is a link or no directory"):
        private.make_directory(tmp_path / "link")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "key").symlink_to(tmp_path / "file")
    with pytest.raises(UsageError, match="a secret is no link"):
        private.read(tmp_path / "key")


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    for name in ("file", "link"):
        path = tmp_path / name
        if name == "file":
            path.write_bytes(b"before")
        else:
            path.symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileExistsError):
            private.write_new(path, b"secret")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert not (tmp_path / "nowhere").exists()


def test_replacing_a_link_leaves_its_target_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"before")
    (tmp_path / "tokens").symlink_to(tmp_path / "target")
    private.replace(tmp_path / "tokens", b"secret")
    assert (tmp_path / "target").read_bytes() == b"before"
    assert not (tmp_path / "tokens").is_symlink()


def test_what_others_can_read_is_no_secret(tmp_path: Path) -> None:
    private.write_new(tmp_path / "key", b"secret")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(UsageError, match="can be read by others"):
        private.read(tmp_path / "key")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(UsageError, match="is no file"):
        private.read(tmp_path / "key")


def test_what_belongs_to_somebody_else_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private.write_new(tmp_path / "key", b"secret")
    (tmp_path / "state").mkdir()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(UsageError, match="belongs to another account"):
        private.read(tmp_path / "key")
    with pytest.raises(UsageError, match="belongs to another account"):
        private.make_directory(tmp_path / "state")


def test_of_many_who_make_it_at_once_one_does(tmp_path: Path) -> None:
    made: list[int] = []

    def make(number: int) -> None:
        try:
            private.write_new(tmp_path / "key", b"%d" % number)
        except FileExistsError:
            return
        made.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in made] == [private.read(tmp_path / "key")]
