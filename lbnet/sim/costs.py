"""What everything costs in the model: the network, the processes that read and write messages, the slots.

All that a figure of the simulator depends on, apart from workload and strategy, stands here. It must not know who pays.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lbnet.errors import UsageError


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, unless the name says otherwise. The defaults stand for a cluster with a switched 10 Gbit/s network.

    A process pays ``*_event_s`` for each event that it handles, and ``*_message_s`` for each message that it decodes
    or encodes, with ``byte_s`` for each byte of it.

    Attributes:
        latency_s: from the last byte sent to the first chance to read it.
        bandwidth_bytes_s: of the network card of each process, for what it sends.
        connect_s: to open a direct link between two workers, of waiting.
        handshake_s: of work at each of its ends, to prove who they are. 0 by default: only where many workers share a
            few cores does it come to anything, and there it is measured.
        controller_event_s: the controller's.
        controller_message_s: the controller's.
        worker_event_s: a worker's messaging process's.
        worker_message_s: a worker's messaging process's.
        client_event_s: the client's.
        client_message_s: the client's.
        client_item_s: to pickle one item.
        byte_s: to copy, pack and encrypt one byte, once on each side.
        pipe_s: latency between a worker and its slots.
        ticket_s: a slot's overhead for each batch that it is handed.
        wake_s: a slot's, each time that it is woken by a batch or by the end of what it slept for. Paid if the cores
            are shared (``host_cores``).
        task_s: a slot's overhead for each task.
        slot_start_s: to start a slot process, after its worker has joined.
        jitter: the work of a process takes up to this share longer, at random.
        host_cores: the whole cluster is on one machine, and its processes share so many cores: all messaging, and what
            slots do beside their tasks. Tasks hold none, as if they slept. None: each process has a core of its own.
    """

    latency_s: float = 50e-6
    bandwidth_bytes_s: float = 1e9
    connect_s: float = 0.001
    handshake_s: float = 0.0
    controller_event_s: float = 15e-6
    controller_message_s: float = 8e-6
    worker_event_s: float = 20e-6
    worker_message_s: float = 8e-6
    client_event_s: float = 5e-6
    client_message_s: float = 8e-6
    client_item_s: float = 0.2e-6
    byte_s: float = 0.5e-9
    pipe_s: float = 30e-6
    ticket_s: float = 20e-6
    wake_s: float = 0.0
    task_s: float = 0.15e-6
    slot_start_s: float = 0.1
    jitter: float = 0.0
    host_cores: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "host_cores":
                if value is not None and (type(value) is not int or value < 1):
                    raise UsageError(f"host_cores must be a whole number of cores, 1 or more, or null; it is {value!r}")
            elif not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
                raise UsageError(f"{field.name} must be a number, 0 or more; it is {value!r}")
        if self.bandwidth_bytes_s <= 0:
            raise UsageError("bandwidth_bytes_s must be above 0: give a large number for a network without a limit")

    @classmethod
    def from_facts(cls, facts: Any) -> Costs:
        """Costs from plain data; what is not named has its default.

        Raises:
            UsageError: a name is unknown or a value impossible.
        """
        if not isinstance(facts, dict):
            raise UsageError(f"costs must be an object with names and numbers, not {type(facts).__name__}")
        known = [field.name for field in fields(cls)]
        unknown = [str(name) for name in facts if name not in known]
        if unknown:
            raise UsageError(f"there is no cost {', '.join(unknown)}; there are: {', '.join(known)}")
        return cls(**facts)

    def facts(self) -> dict[str, float | int | None]:
        """The same as plain data, for JSON."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Costs:
        """Costs from a JSON file.

        Raises:
            UsageError: the file cannot be read, or does not hold costs.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"costs cannot be read from {path}: {error}") from None
        return cls.from_facts(facts)

    def save(self, path: Path) -> None:
        """Write them as a JSON file.

        Raises:
            UsageError: the file cannot be written.
        """
        try:
            path.write_text(json.dumps(self.facts(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"costs cannot be written to {path}: {error}") from None
