"""What a client of the harness takes over from its earlier lives."""

from __future__ import annotations

from bench.chaos.client import left
from bench.chaos.history import Entry, What


def test_jobs_that_were_handed_in_and_not_read_to_the_end_are_left() -> None:
    entries = [
        Entry(What.OPEN, "a"),
        Entry(What.HANDED_IN, "b", value=7),
        Entry(What.READ, "b"),
        Entry(What.HANDED_IN, "c", value=8),
        Entry(What.END, "c"),
        Entry(What.HANDED_IN, "d", value=9),
        Entry(What.END, "a"),
    ]
    assert left(entries) == {"b": 7, "d": 9}
