"""Two hosts on one machine, and somebody who listens between them. Needs root, and Linux.

Each host is a network namespace with a home of its own, so that they share no file that lbnet looks for. A controller
runs on one of them; on the other one the line that it printed is pasted, and then the demo is run and a list mapped.
All bytes between the two are captured: they must hold neither a secret nor what was computed with. A word that is said
in clear shows that the capture works.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NAME = f"lbnet{os.getpid()}"
HOSTS = {"a": "10.213.7.1", "b": "10.213.7.2"}
PAYLOAD = "a-known-payload-that-nobody-else-may-read"
CLEAR = b"a word in clear"
PORT = 7077

LISTEN = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind((sys.argv[1], 0))
print("listening", flush=True)
with open(sys.argv[2], "wb", buffering=0) as out:
    while True:
        out.write(sock.recv(1 << 17))
"""

SAY = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(sys.argv[2].encode(), (sys.argv[1], 9))
"""


def run(*command: str) -> None:
    """A command of the system's, which must succeed."""
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def two_hosts() -> Iterator[None]:
    """Two namespaces, and a cable."""
    try:
        for host in HOSTS:
            run("ip", "netns", "add", NAME + host)
        run("ip", "link", "add", "eth0", "netns", f"{NAME}a", "type", "veth", "peer", "eth0", "netns", f"{NAME}b")
        for host, address in HOSTS.items():
            run("ip", "-n", NAME + host, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                run("ip", "-n", NAME + host, "link", "set", device, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(("ip", "netns", "del", NAME + host), check=False, capture_output=True)


class Host:
    """One of the two."""

    def __init__(self, name: str, home: Path, stack: ExitStack) -> None:
        home.mkdir()
        self._inside = ("ip", "netns", "exec", NAME + name)
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._stack = stack

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process that runs until the end."""
        process = subprocess.Popen((*self._inside, *command), stdout=subprocess.PIPE, text=True, env=self._environment)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process

    def run(self, *command: str, **more: str) -> str:
        """A process that must succeed; its output."""
        done = subprocess.run(
            (*self._inside, *command), env=self._environment | more, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


LBNET = (sys.executable, "-c", "from lbnet.cli.main import main; main()")


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        raise SystemExit("a process has ended too early")
    return text.rstrip("\n")


def main() -> int:
    """Do it; 0 if nobody could read what was said."""
    with tempfile.TemporaryDirectory(prefix="lbnet-two-hosts-") as made, ExitStack() as stack:
        folder = Path(made)
        stack.enter_context(two_hosts())
        a, b = (Host(name, folder / name, stack) for name in HOSTS)
        capture = folder / "capture"
        listener = a.start(sys.executable, "-c", LISTEN, "eth0", str(capture))
        line(listener)
        b.run(sys.executable, "-c", SAY, HOSTS["a"], CLEAR.decode())

        controller = a.start(*LBNET, "controller", "--host", HOSTS["a"], "--port", str(PORT))
        print(line(controller))
        pasted = line(controller).strip()
        found = re.search(r"LB1-\w+-(\w+)", pasted)
        assert found is not None, pasted
        print(f"pasted on the other host: {pasted.replace(found[1], '...')}")
        began = time.monotonic()
        program, *rest = pasted.split()
        assert program == "lbnet", pasted
        worker = b.start(*LBNET, *rest, "--slots", "2")
        print(f"{line(worker)} ({time.monotonic() - began:.2f} s)")

        state = str(folder / "a" / ".local" / "state" / "lbnet" / f"{HOSTS['a']}-{PORT}")
        client = json.loads(a.run(*LBNET, "token", "create", "--role", "client", "--json", "--state-dir", state))
        token = folder / "b" / "token"
        token.write_text(client["token"])
        token.chmod(0o600)
        connect = ("--connect", f"{HOSTS['a']}:{PORT}", "--token-file", str(token))
        shown = json.loads(b.run(*LBNET, "demo", *connect, "--json"))
        print(f"demo: {shown['found']['nodes']:,} nodes, as published: {shown['right']}")
        items = folder / "items.jsonl"
        items.write_text(f'"{PAYLOAD}"\n' * 100)
        values = b.run(*LBNET, "map", "builtins:str.upper", str(items), *connect).splitlines()
        assert values == [f'"{PAYLOAD.upper()}"'] * 100, values[:3]
        time.sleep(0.2)

        seen = capture.read_bytes()
        secrets = {"the worker's secret": found[1], "the client's secret": client["token"].split("-")[2]}
        texts = {"the payload": PAYLOAD, "the result": PAYLOAD.upper(), **secrets}
        leaks = [name for name, text in texts.items() if text.encode() in seen]
        heard = CLEAR in seen
        print(
            f"captured {len(seen):,} bytes; the word in clear is among them: {heard}; "
            f"secrets or payloads: {leaks or 'none'}"
        )
        return 0 if heard and not leaks else 1


if __name__ == "__main__":
    sys.exit(main())
