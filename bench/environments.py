"""A virtual environment for each library that lbnet is compared with, so that none of them has to agree with another.

Made once, below the project's folder, and made anew when the requirements, those of lbnet, or the interpreter have
changed. It must not know what the libraries are for.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-peers"
STAMP = "installed.txt"
INSTALL_LIMIT_S = 600.0
_REASON_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter in which something is installed; or the ``reason`` why there is none."""

    python: str
    reason: str = ""


def environment(
    name: str, needs: Sequence[str], tell: Callable[[str], None] = lambda _: None, folder: Path = FOLDER
) -> Environment:
    """Find or make the environment of this name, with lbnet and what else it needs.

    Args:
        name: of the environment.
        needs: requirements, as pip takes them.
        tell: is told when something is to be installed, which takes a while.
        folder: where environments are.
    """
    home = folder / re.sub(r"[^a-z0-9]+", "-", name.lower())
    python = home / "bin" / "python"
    stamp = home / STAMP
    wanted = "\n".join((_interpreter(), *_needs_of_lbnet(), *needs)) + "\n"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return Environment(str(python))
    tell(f"installing {', '.join(needs)}")
    shutil.rmtree(home, ignore_errors=True)
    try:
        venv.create(home, symlinks=True, with_pip=True)
        _pip(str(python), "--editable", str(ROOT), *needs)
    except (OSError, subprocess.SubprocessError) as error:
        return Environment(sys.executable, f"{' '.join(needs)} could not be installed: {_words(error)}")
    stamp.write_text(wanted)
    return Environment(str(python))


def versions(place: Environment, needs: Sequence[str]) -> dict[str, str]:
    """What is installed there of what was asked for, by the name of the package."""
    if place.reason:
        return {}
    home = str(Path(place.python).parent.parent)
    site = sysconfig.get_path("purelib", "venv", {"base": home, "platbase": home})
    names = [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs]
    return {name: found.version for name in names for found in metadata.distributions(name=name, path=[site])}


def _interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _needs_of_lbnet() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def _pip(python: str, *arguments: str) -> None:
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=INSTALL_LIMIT_S,
    )


def _words(error: Exception) -> str:
    said = (getattr(error, "stderr", None) or str(error)).strip()
    return str(said)[-_REASON_CHARS_MAX:]
