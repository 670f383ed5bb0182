"""A record is a line, and the line the record; what no recorder writes is no record."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from lbnet.trace.records import Finished, Record, Tasks, line_of, record_of
from lbnet.types import VALUES
from tests.trace.traces import JOB, SMALL, WORKER, mixed


@given(mixed())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_line_is_the_record(records: list[Record]) -> None:
    for record in records:
        line = line_of(record)
        assert "\n" not in line
        assert record_of(line.encode()) == record


def test_the_lines_are_those_of_the_documentation() -> None:
    assert [line_of(record) for record in SMALL] == [
        r'{"open":5,"name":"n\u00e4me\n\ud800","strategy":"sb","placement":"spread","reduce":false,"at_s":0.5}',
        '{"done":5,"worker":2,"kind":"values","seconds":0.25,"members":[[0,100]]}',
        '{"done":5,"worker":2,"kind":"values","seconds":1.0,"members":[[100,101,0,0,0,77,6]]}',
        '{"done":5,"worker":2,"kind":"silent","seconds":0.5,"members":[[0,2,77,0,100]]}',
        '{"done":5,"worker":2,"kind":"failed","seconds":0.125,"members":[[2,3,77,0,100]]}',
        '{"done":5,"worker":2,"kind":"combined","seconds":2.0,"members":[[3,4,77,0,100],[5,6,77,0,100]]}',
        '{"done":5,"worker":2,"kind":"silent","seconds":2.0,"members":[[4,5,77,0,100,78,1]]}',
        '{"cancelled":5,"lo":101,"hi":103}',
        '{"end":5,"state":"done","items":103,"slots":4,"at_s":0.75}',
    ]


def test_a_million_tasks_that_finish_together_are_one_short_line() -> None:
    assert len(line_of(Finished(JOB, WORKER, VALUES, 0.123456789, (Tasks(10_000_000, 11_000_000),)))) < 100


GROUP = {"done": 5, "worker": 2, "kind": "values", "seconds": 1.0, "members": [[0, 1]]}


def test_the_group_that_the_next_test_spoils_is_good() -> None:
    assert record_of(json.dumps(GROUP).encode()) == Finished(JOB, WORKER, VALUES, 1.0, (Tasks(0, 1),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"done": -1},
        {"done": True},
        {"done": "5"},
        {"worker": None},
        {"kind": "great"},
        {"kind": []},
        {"kind": 0},
        {"seconds": -1.0},
        {"seconds": "1"},
        {"seconds": True},
        {"members": []},
        {"members": 7},
        {"members": [7]},
        {"members": ["01"]},
        {"members": [[0]]},
        {"members": [[1, 1]]},
        {"members": [[2, 1]]},
        {"members": [[0, 1.0]]},
        {"members": [[0, 1], [1, 2]]},
        {"members": [[0, 1, 0, 0, 0, 0, 1]]},
        {"members": [[0, 2, 0, 0, 0, 3, 1]]},
        {"members": [[0, 1, 0, 0, 0, 3, 1, 1]]},
        {"kind": "failed", "members": [[0, 2]]},
        {"more": 1},
    ],
)
def test_what_no_recorder_says_is_no_record(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        record_of(json.dumps(GROUP | wrong).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"7",
        b"null",
        b'"done"',
        b'["done"]',
        b'[["done"]]',
        b'{"done":5}',
        b'{"record":5}',
        b"\xff\xfe",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"end":5,"state":"done","items":103,"slots":4,"at_s":NaN}',
        b'{"end":5,"state":"done","items":103,"slots":4,"at_s":1e999}',
        b'{"end":5,"state":5,"items":103,"slots":4,"at_s":1}',
        b'{"open":5,"name":"f","strategy":"sb","placement":"spread","reduce":0,"at_s":0.5}',
        b'{"open":5,"name":null,"strategy":"sb","placement":"spread","reduce":true,"at_s":0.5}',
        b'{"cancelled":5,"lo":3,"hi":3}',
    ],
)
def test_other_lines_are_no_records(line: bytes) -> None:
    with pytest.raises(ValueError):
        record_of(line)
