"""Questions of clients that only workers can answer: what tasks have printed, where a task is, where the time went.

The controller passes a question on to all workers, and answers when all have, or when those that have not were given
enough time. It must not know what the questions mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbnet import limits
from lbnet.protocol import messages
from lbnet.types import JobId, PeerId


@dataclass(slots=True)
class _Enquiry:
    """What a client asked, and what was answered so far. ``pending``: the workers that were not heard, by name.

    ``conclude`` makes the answer of all facts and of ``fastest_s``, the time of the fastest answer.
    """

    client: PeerId
    request: int
    facts: dict[str, Any]
    until: float
    pending: dict[PeerId, str]
    conclude: Callable[[dict[str, Any], float], Any]
    asked_at: float
    answers: list[dict[str, Any]] = field(default_factory=list)
    chars: int = 0
    left_out: list[str] = field(default_factory=list)
    fastest_s: float = math.inf


class Enquiries:
    """Those that are under way.

    Args:
        send: takes a message for a peer.
    """

    def __init__(self, send: Callable[[PeerId, messages.Message], None]) -> None:
        self._send = send
        self._open: dict[int, _Enquiry] = {}
        self._count = 0

    def begin(
        self,
        client: PeerId,
        question: messages.Ask,
        workers: Mapping[PeerId, str],
        facts: dict[str, Any],
        now: float,
        conclude: Callable[[dict[str, Any], float], Any] | None = None,
    ) -> None:
        """Ask all workers.

        Args:
            client: who asks.
            question: what.
            workers: their names.
            facts: what is known here: the answer begins with it.
            now: the time.
            conclude: makes the answer of these facts, with those of the workers (``workers``) and the names of those
                that did not answer (``silent``), and of how many seconds the fastest answer took, infinite if there
                was none. Without it, the facts are the answer.
        """
        self._count += 1
        enquiry = _Enquiry(
            client, question.request, facts, now + limits.ENQUIRY_S, dict(workers), conclude or _as_they_are, now
        )
        self._open[self._count] = enquiry
        if len(self._open) > limits.ENQUIRIES_MAX:
            enquiry.left_out += enquiry.pending.values()
            enquiry.pending.clear()
        for peer in enquiry.pending:
            self._send(peer, messages.Enquire(self._count, question.what, question.job, question.index))
        self._answer_if_complete(self._count)

    def answered(self, peer: PeerId, message: messages.Enquired, now: float) -> None:
        """A worker has answered. One that says what is no JSON object has nothing to say."""
        enquiry = self._open.get(message.enquiry)
        name = None if enquiry is None else enquiry.pending.pop(peer, None)
        if enquiry is None or name is None:
            return
        enquiry.fastest_s = min(enquiry.fastest_s, now - enquiry.asked_at)
        if enquiry.chars + len(message.facts) > limits.ENQUIRY_CHARS_MAX:
            enquiry.left_out.append(name)
        else:
            enquiry.chars += len(message.facts)
            enquiry.answers.append({"worker": name, "id": int(peer), **_object(message.facts)})
        self._answer_if_complete(message.enquiry)

    def left(self, peer: PeerId) -> None:
        """A worker or a client is gone."""
        for number, enquiry in list(self._open.items()):
            if enquiry.client == peer:
                del self._open[number]
            elif peer in enquiry.pending:
                enquiry.left_out.append(enquiry.pending.pop(peer))
                self._answer_if_complete(number)

    def look(self, now: float) -> float | None:
        """Answer those that have waited enough. Returns when the next one will have."""
        if not self._open:
            return None
        for number in [number for number, enquiry in self._open.items() if now >= enquiry.until]:
            enquiry = self._open[number]
            enquiry.left_out += enquiry.pending.values()
            enquiry.pending.clear()
            self._answer_if_complete(number)
        return min((enquiry.until for enquiry in self._open.values()), default=None)

    def _answer_if_complete(self, number: int) -> None:
        enquiry = self._open[number]
        if not enquiry.pending:
            del self._open[number]
            facts = {**enquiry.facts, "workers": enquiry.answers, "silent": enquiry.left_out}
            answer = json.dumps(enquiry.conclude(facts, enquiry.fastest_s))
            self._send(enquiry.client, messages.Answer(enquiry.request, answer))


def _as_they_are(facts: dict[str, Any], fastest_s: float) -> dict[str, Any]:  # noqa: ARG001
    return facts


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def of_job(job: JobId, index: int) -> dict[str, Any]:
    """How an answer says what it is about. ``index`` is -1 for the whole job."""
    return {"job": int(job), "index": index}
