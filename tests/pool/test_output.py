"""What a slot prints comes out as pieces of its tasks, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.pool.output import OutputReader, Piece
from lbnet.pool.streams import PIECE_BYTES, TOKEN_BYTES, header

TOKEN = bytes(range(1, TOKEN_BYTES + 1))


def marked(ticket: int, task: int, data: bytes) -> bytes:
    return header(TOKEN, ticket, task, len(data)) + data


def joined(pieces: list[Piece]) -> list[tuple[int | None, int, bytes]]:
    """Neighbours of the same task together."""
    found: list[tuple[int | None, int, bytes]] = []
    for ticket, task, data in pieces:
        if found and found[-1][:2] == (ticket, task):
            found[-1] = (ticket, task, found[-1][2] + data)
        else:
            found.append((ticket, task, data))
    return found


PART = st.tuples(
    st.one_of(st.none(), st.integers(-1, 3)),
    st.integers(0, 2),
    st.one_of(st.binary(min_size=1, max_size=20), st.integers(1, TOKEN_BYTES - 1).map(lambda size: TOKEN[:size])),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(PART, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_every_byte_comes_out_once_in_order_and_with_its_task(
    parts: list[tuple[int | None, int, bytes]], sizes: list[int]
) -> None:
    parts = [(None, -1, data) if ticket is None else (ticket, task, data) for ticket, task, data in parts]
    stream = b"".join(data if ticket is None else marked(ticket, task, data) for ticket, task, data in parts)
    reader, pieces, at, turn = OutputReader(TOKEN), list[Piece](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        pieces += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    pieces += reader.end()
    assert joined(pieces) == joined([Piece(*part) for part in parts])


def test_what_has_no_header_is_not_held_back() -> None:
    assert list(OutputReader(TOKEN).feed(b"hello")) == [Piece(None, -1, b"hello")]


def test_what_may_begin_a_header_waits_for_its_end() -> None:
    reader = OutputReader(TOKEN)
    assert list(reader.feed(b"hello" + TOKEN[:3])) == [Piece(None, -1, b"hello")]
    assert list(reader.end()) == [Piece(None, -1, TOKEN[:3])]
    assert list(reader.end()) == []


def test_a_header_that_a_task_has_made_up_swallows_little() -> None:
    reader = OutputReader(TOKEN)
    stream = header(TOKEN, 1, 1, 4_000_000_000) + b"x" * PIECE_BYTES + marked(2, 2, b"y")
    assert list(reader.feed(stream)) == [Piece(1, 1, b"x" * PIECE_BYTES), Piece(2, 2, b"y")]
