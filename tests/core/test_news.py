"""What is told in deltas: every reader's copy is the list after each issue, and issues are few."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet import limits
from lbnet.core.news import Delta, News
from lbnet.types import PeerId

GAP_S = limits.NEWS_PER_WORKER_S


def listed(*numbers: int) -> dict[PeerId, None]:
    return dict.fromkeys(map(PeerId, numbers))


def issue(news: News, current: dict[PeerId, None], readers: Iterable[int], now: float) -> list[Delta]:
    return list(news.issue(current, [PeerId(reader) for reader in readers], now))


def test_a_new_reader_hears_the_whole_list_and_then_what_changes() -> None:
    news = News()
    news.touch()
    assert issue(news, listed(5, 3), [1], 0.0) == [Delta(PeerId(1), tuple(listed(5, 3)), ())]
    news.touch()
    assert issue(news, listed(3, 9), [1, 2], 1.0) == [
        Delta(PeerId(1), tuple(listed(9)), tuple(listed(5))),
        Delta(PeerId(2), tuple(listed(3, 9)), ()),
    ]


def test_nothing_is_told_while_nothing_has_changed() -> None:
    news = News()
    assert news.due_at(1) is None
    assert issue(news, listed(5), [1], 0.0) == []
    news.touch()
    issue(news, listed(5), [1], 0.0)
    assert news.due_at(1) is None
    assert issue(news, listed(5), [1], 9.0) == []


def test_what_came_and_went_between_two_issues_is_no_news() -> None:
    news = News()
    news.touch()
    issue(news, listed(5), [1], 0.0)
    news.touch()
    assert issue(news, listed(5), [1], 9.0) == []
    assert news.due_at(1) is None


def test_who_comes_again_is_news_although_it_was_told_and_only_once() -> None:
    news = News()
    news.touch()
    issue(news, listed(5, 6), [1], 0.0)
    news.again(PeerId(5))
    news.again(PeerId(7))  # it has gone before it could be told
    assert issue(news, listed(5, 6), [1], 9.0) == [Delta(PeerId(1), tuple(listed(5)), ())]
    news.touch()
    assert issue(news, listed(5, 6), [1], 19.0) == []


def test_issues_are_the_rarer_the_more_readers_there_are() -> None:
    news = News()
    news.touch()
    issue(news, listed(5), [1], 10.0)
    news.touch()
    assert news.due_at(1) == 10.0 + GAP_S
    assert news.due_at(1_000) == 10.0 + 1_000 * GAP_S
    assert issue(news, listed(), range(1_000), 10.0 + 999 * GAP_S) == []
    assert len(issue(news, listed(), range(1_000), 10.0 + 1_000 * GAP_S)) == 1_000


def test_a_reader_that_was_forgotten_is_new_again() -> None:
    news = News()
    news.touch()
    issue(news, listed(5), [1], 0.0)
    news.forget(PeerId(1))
    news.forget(PeerId(77))
    news.touch()
    assert issue(news, listed(5), [1], 9.0) == [Delta(PeerId(1), tuple(listed(5)), ())]


numbers = st.integers(1, 6)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["comes", "again", "goes", "reader", "leaves", "issue"]), numbers, st.floats(0.0, 3 * GAP_S)
        ),
        max_size=60,
    )
)
def test_every_copy_is_the_list_after_each_issue(steps: list[tuple[str, int, float]]) -> None:
    news, now, issued_at = News(), 0.0, -1.0
    current: dict[PeerId, None] = {}
    copies: dict[PeerId, dict[PeerId, None]] = {}
    readers: dict[PeerId, None] = {}
    for what, number, seconds in [*steps, ("issue", 0, 1.0)]:
        peer = PeerId(number)
        now += seconds
        if what == "comes":
            current.setdefault(peer)
            news.touch()
        elif what == "again":
            news.again(peer)
        elif what == "goes":
            current.pop(peer, None)
            news.touch()
        elif what == "reader":
            readers[peer] = None
            news.touch()
        elif what == "leaves":
            readers.pop(peer, None)
            copies.pop(peer, None)
            news.forget(peer)
        else:
            due_at = news.due_at(len(readers))
            deltas = list(news.issue(current, readers, now))
            assert not deltas or (due_at is not None and now >= due_at)
            assert not deltas or issued_at < 0 or now - issued_at >= GAP_S * len(readers) * (1 - 1e-9)
            for delta in deltas:
                issued_at = now
                copy = copies.setdefault(delta.reader, {})
                assert {*delta.went} <= {*copy}
                copy.update(dict.fromkeys(delta.came))
                for gone in delta.went:
                    del copy[gone]
            if due_at is None or now >= due_at:
                assert {*copies} == {*readers}
                assert all({*copy} == {*current} for copy in copies.values())
