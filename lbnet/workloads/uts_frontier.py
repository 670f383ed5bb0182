"""The nodes that a tree search has met and not yet gone beyond: its stack, and how a part of it is given away.

It must not know how children are made or counted.
"""

from __future__ import annotations

import struct
from typing import Final, Self

STATE_BYTES: Final = 20
"""Size of a node's state: a SHA-1."""

BATCH_PARENTS: Final = 32
"""Nodes whose children are made in one go, between two looks at the clock: mostly 100 to 300 children, under
0.1 ms. Fewer cost speed, more make the search less depth-first and its stack larger."""

BATCH_ROOT_CHILDREN: Final = 256
"""Children of a "bin" root that are made in one go: it may have 2^31 of them."""

SPLIT_STATES_MAX: Final = 2048
"""Oldest nodes that a split shares out: half of them are 20 kB on the way. Geometric trees seldom have a larger
stack; the sample "bin" tree T3L has up to 7,345 nodes on its own, and gives less than a half away then."""

_SPAN: Final = struct.Struct(">II")
_ROOT_RANGE: Final = struct.Struct(">II")


class Frontier:
    """A stack of inner nodes whose children have not been made, the deepest on top.

    Nodes lie in blocks of one depth each, so that a depth is stored once for a block and the hot loop
    works through a batch. The children of a "bin" root are no block but a range of numbers, at the bottom.

    Attributes:
        root_next: first child of a "bin" root that has not been made.
        root_end: end of these children.
    """

    __slots__ = ("_blocks", "_depths", "root_end", "root_next")

    def __init__(self, root_next: int = 0, root_end: int = 0) -> None:
        self.root_next, self.root_end = root_next, root_end
        self._depths: list[int] = []
        self._blocks: list[list[bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._blocks) or self.root_next < self.root_end

    def states(self) -> int:
        """How many nodes lie here, without the children of a "bin" root."""
        return sum(map(len, self._blocks))

    def copy(self) -> Self:
        """The same nodes in blocks of its own."""
        same = type(self)(self.root_next, self.root_end)
        for depth, block in zip(self._depths, self._blocks, strict=True):
            same.push(depth, list(block))
        return same

    def push(self, depth: int, block: list[bytes]) -> None:
        """Put nodes of one depth on top; ``block`` belongs to the frontier from now on."""
        if block:
            self._depths.append(depth)
            self._blocks.append(block)

    def pop(self) -> tuple[int, list[bytes]] | None:
        """Take one batch from the top: its depth and its nodes. None when there are only children of a root."""
        if not self._blocks:
            return None
        block = self._blocks[-1]
        if len(block) <= BATCH_PARENTS:
            return self._depths.pop(), self._blocks.pop()
        batch = block[-BATCH_PARENTS:]
        del block[-BATCH_PARENTS:]
        return self._depths[-1], batch

    def pop_root_children(self) -> range:
        """Take one batch of the numbers of the children of a "bin" root."""
        first = self.root_next
        self.root_next = min(first + BATCH_ROOT_CHILDREN, self.root_end)
        return range(first, self.root_next)

    def split(self, fraction: float) -> Self | None:
        """Take about ``fraction`` (0 to 1) of the nodes nearest the root away; each side has some, or None."""
        cut = self.root_end - int((self.root_end - self.root_next) * fraction)
        part = type(self)(cut, self.root_end)
        self.root_end = cut
        self._deal(part, fraction)
        if part and not self:
            part.move_one_to(self)
        return part or None

    def _deal(self, part: Self, fraction: float) -> None:
        # In turn, oldest first: both sides get alike shares of every depth, and with that of the expected work.
        depths, blocks = self._depths, self._blocks
        self._depths, self._blocks = [], []
        due = 0.5  # so that a half means: the very oldest goes, the next one stays
        left = SPLIT_STATES_MAX
        for depth, block in zip(depths, blocks, strict=True):
            given: list[bytes] = []
            kept: list[bytes] = []
            for state in block[:left]:
                due += fraction
                if due >= 1:
                    due -= 1
                    given.append(state)
                else:
                    kept.append(state)
            part.push(depth, given)
            self.push(depth, kept + block[left:])
            left = max(left - len(block), 0)

    def move_one_to(self, other: Self) -> None:
        """Give the topmost node, or a child of the root where there are no nodes, to an empty frontier."""
        if not self._blocks:
            self.root_end -= 1
            other.root_next, other.root_end = self.root_end, self.root_end + 1
            return
        other.push(self._depths[-1], [self._blocks[-1].pop()])
        if not self._blocks[-1]:
            self._depths.pop()
            self._blocks.pop()

    def pack(self) -> bytes:
        """Everything in one string: 20 bytes for each node, and 8 for each block and around them."""
        spans = [_SPAN.pack(depth, len(block)) for depth, block in zip(self._depths, self._blocks, strict=True)]
        states = [state for block in self._blocks for state in block]
        return b"".join([_ROOT_RANGE.pack(self.root_next, self.root_end), _SPAN.pack(0, len(spans)), *spans, *states])

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What :meth:`pack` made a string of."""
        frontier = cls(*_ROOT_RANGE.unpack_from(packed))
        _, blocks = _SPAN.unpack_from(packed, _ROOT_RANGE.size)
        spans_at = _ROOT_RANGE.size + _SPAN.size
        at = spans_at + blocks * _SPAN.size
        for depth, size in _SPAN.iter_unpack(packed[spans_at:at]):
            end = at + size * STATE_BYTES
            frontier.push(depth, [packed[i : i + STATE_BYTES] for i in range(at, end, STATE_BYTES)])
            at = end
        assert at == len(packed)
        return frontier
