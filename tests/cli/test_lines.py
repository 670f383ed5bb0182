"""JSON lines, without a cluster."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnet.cli.lines import CountedLines, Lines, as_json, words
from lbnet.errors import InputError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
texts = st.sampled_from(["", "  ", "\t\r", "{", "nul", "1 2", "'x'", '"\udcff"']) | values.map(json.dumps)


def read(data: bytes) -> tuple[list[tuple[int, Any]], list[int]]:
    """The numbered values, as if each were its own result, and the numbers of bad lines."""
    bad: list[int] = []
    lines = Lines(io.BytesIO(data), lambda number, reason: bad.append(number))
    return list(lines.numbered(iter(lines))), bad


@given(st.lists(texts))
def test_every_line_is_a_value_or_bad_or_empty(written: list[str]) -> None:
    found, bad = read("\n".join(written).encode("utf-8", "surrogateescape"))
    expected = []
    wrong = []
    for number, text in enumerate(written, 1):
        if text.strip():
            try:
                expected.append((number, json.loads(text.encode("utf-8", "surrogateescape"))))
            except ValueError:
                wrong.append(number)
    assert found == expected
    assert bad == wrong


@given(st.lists(values, max_size=20))
def test_what_is_written_can_be_read_again(written: list[Any]) -> None:
    text = "\n".join(as_json(value, None) for value in written)
    assert text.isascii()
    assert [value for _, value in read(text.encode())[0]] == written


def test_windows_ends_of_lines_a_mark_of_the_encoding_and_a_missing_last_end_are_fine() -> None:
    assert read(b"\xef\xbb\xbf1\r\n\r\n2") == ([(1, 1), (3, 2)], [])


def test_the_reason_says_what_is_wrong_with_a_line() -> None:
    said: list[tuple[int, str]] = []
    deep = b"[" * 100_000
    lines = Lines(io.BytesIO(b"{1}\n\xff\n" + deep), lambda number, reason: said.append((number, reason)))
    assert list(lines) == []
    assert [number for number, _ in said] == [1, 2, 3]
    assert all(reason.startswith("not JSON: ") for _, reason in said)


def test_only_lines_without_result_are_remembered() -> None:
    lines = Lines(io.BytesIO(b"1\n" * 1_000), lambda number, reason: None)
    for _ in lines.numbered(iter(lines)):
        assert len(lines._numbers) == 0


def test_an_error_of_the_input_comes_after_all_results() -> None:
    def results(cause: Exception) -> Iterator[Any]:
        lines_read = iter(lines)
        yield next(lines_read)
        error = InputError("the iterable raised")
        error.__cause__ = cause
        yield error

    for cause, raised in ((OSError("disk"), OSError), (ValueError("else"), InputError)):
        lines = Lines(io.BytesIO(b"1\n"), lambda number, reason: None)
        taken = []
        with pytest.raises(raised):
            for pair in lines.numbered(results(cause)):
                taken.append(pair)  # noqa: PERF402 - what came before the error counts
        assert taken == [(1, 1)]


def test_only_lines_that_somebody_counted_have_a_length() -> None:
    assert len(CountedLines(io.BytesIO(), lambda number, reason: None, 7)) == 7
    assert not hasattr(Lines, "__len__")


def test_a_result_may_carry_the_number_of_its_line() -> None:
    assert as_json((1, "é"), 4) == '{"line": 4, "value": [1, "\\u00e9"]}'


endless: list[Any] = []
endless.append(endless)


@pytest.mark.parametrize("value", [{1}, b"", object(), math.nan, [math.inf], {(1, 2): 3}, endless, [10**5000]])
def test_what_json_does_not_have_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(ValueError, match=f"of type {type(value).__name__}, cannot be written as JSON: "):
        as_json(value, None)


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_is_one_paragraph_with_its_notes() -> None:
    error = ValueError("seven\nis bad")
    error.add_note("item 6 of the map")
    error.add_note("raised on worker w")
    assert words(error) == "ValueError: seven\n    is bad (raised on worker w)"
    assert words(KeyError()) == "KeyError"
    assert words(WordlessError()) == "WordlessError (whose text cannot be made)"
