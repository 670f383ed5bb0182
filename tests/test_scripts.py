"""The scripts: those for batch systems run against stand-ins for the systems' commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.free_port import free_port

SCRIPT = Path(__file__).parent.parent / "scripts" / "slurm.sh"

SRUN = """#!/usr/bin/env bash
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""

LBNET = """#!/usr/bin/env bash
exec "{python}" -m lbnet.cli.main "$@"
"""

USER_SCRIPT = """
import sys
import lbnet
with lbnet.Client() as client:
    client.wait_for_workers(1)
    print(client.address, sum(client.map(abs, range(-3, 4))), sys.argv[1:])
"""


def command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


def test_the_slurm_script_starts_a_cluster_runs_the_script_and_ends_everything(tmp_path: Path) -> None:
    command(tmp_path, "srun", SRUN)
    command(tmp_path, "scontrol", "#!/usr/bin/env bash\necho localhost\necho elsewhere\n")
    command(tmp_path, "lbnet", LBNET.format(python=sys.executable))
    user_script = tmp_path / "script.py"
    user_script.write_text(USER_SCRIPT)
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SCRIPT.parent.parent),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": "42",
        "LBNET_PORT": str(port),
        "PYTHON": sys.executable,
    }
    done = subprocess.run(
        [str(SCRIPT), str(user_script), "one", "two"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"localhost:{port} 12 ['one', 'two']" in done.stdout
    assert (tmp_path / "lbnet-42").is_dir(), "its journal is where the job was submitted"
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(port) in (process.info["cmdline"] or [])
    ]
    assert left == []


def test_the_slurm_script_says_what_it_needs() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    without = subprocess.run([str(SCRIPT)], env=bare, capture_output=True, text=True, timeout=20, check=False)
    assert without.returncode == 2
    assert "usage: sbatch" in without.stderr
    outside = subprocess.run([str(SCRIPT), "x.py"], env=bare, capture_output=True, text=True, timeout=20, check=False)
    assert outside.returncode == 2
    assert "not inside of a Slurm allocation" in outside.stderr


def test_a_controller_and_a_worker_are_killed_and_every_result_comes_exactly_once(tmp_path: Path) -> None:
    script = SCRIPT.with_name("survive.py")
    done = subprocess.run(
        [sys.executable, str(script), "--tasks", "20000"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert {"killed controller", "killed one", "started both again", "every result exactly once"} <= set(lines)
    assert lines[-1] == "balanced: every task is accounted for"
