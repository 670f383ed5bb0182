"""What a controller finds and has in its journal: read for the core, and told to people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lbnet.core.controller import Controller
from lbnet.errors import JournalError, RemoteProtocolError
from lbnet.journal.journal import Journal
from lbnet.protocol.records import Record, decode


@dataclass(frozen=True, slots=True)
class Restored:
    """Jobs that were not over, or of which something was not taken.

    Attributes:
        directory: where the journal is.
        jobs: how many.
        outstanding: tasks of theirs that have to be done.
        untaken: outcomes that no client has taken.
    """

    directory: Path
    jobs: int
    outstanding: int
    untaken: int


def restore(controller: Controller, journal: Journal, now: float) -> Restored:
    """Let a controller go on where its journal ends, before anybody has joined. Returns what was there.

    Raises:
        JournalError: the journal is damaged, or cannot be understood.
    """
    controller.restore(_records(journal), now, journal.roster.before)
    jobs = controller.jobs()
    for job in jobs:
        aside, first = journal.aside(job.id)
        if (aside, first) != ((job.outbox.aside, job.outbox.taken) if job.outbox.aside else (0, 0)):
            raise JournalError(
                f"the journal in {journal.directory} is damaged: of job {job.id}, {aside} outcomes are set aside from "
                f"number {first} on, where {job.outbox.aside} from number {job.outbox.taken} on were kept; nothing was "
                "changed: restore the directory from a copy, or move it away to begin without it"
            )
    return Restored(
        journal.directory,
        len(jobs),
        sum(job.ledger.outstanding for job in jobs),
        sum(len(job.outbox) for job in jobs),
    )


def state_of(journal: Journal | None) -> str:
    """What status says of a journal: where it is and how large, or what is wrong with it; ``off`` for none."""
    if journal is None:
        return "off"
    problem = journal.problem
    if problem is None:
        return f"{journal.directory} ({journal.size_bytes / 1e6:,.1f} MB)"
    waiting = f"{journal.pending_bytes / 1e6:,.1f} MB wait, and results are held back"
    return f"{journal.directory} cannot be written ({problem}): {waiting}"


def _records(journal: Journal) -> Iterator[Record]:
    for number, body in enumerate(journal.records(), 1):
        try:
            yield decode(body)
        except RemoteProtocolError as error:  # it is as it was written, so somebody else wrote it
            raise JournalError(
                f"record {number} of the journal in {journal.directory} is none of this lbnet ({error}): start the "
                "controller with the lbnet that wrote it, or choose another --state-dir"
            ) from None
