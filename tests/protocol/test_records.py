"""What a journal holds: records keep their numbers and their shape, or an old journal could not be read any more."""

from __future__ import annotations

import dataclasses
import random
import typing
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbnet.errors import RemoteProtocolError
from lbnet.protocol import codec, messages, records
from lbnet.protocol.records import OUTCOMES, RECORDS, Outcome, Record
from lbnet.types import Failure, JobId, JobOptions, PeerId
from tests.protocol.shapes import has_shape, records_of

# New kinds are added at the end, here too. A name that moves or goes breaks every journal that there is.
NAMES_IN_ORDER = [
    "Opened", "Owned", "Function", "Submit", "CloseJob", "Results", "Dropped", "Taken", "Ended",
    "Books", "Stored", "Cancelled", "Values", "Partial", "Failed", "Settled", "JobDone", "SetAside",
]  # fmt: skip

# So do fields: a record has as many as it had, in the order in which they were.
FIELDS = {
    "Opened": "job client number options at slots",
    "Owned": "job client",
    "Results": "job worker name slots groups",
    "Dropped": "job lo hi",
    "Ended": "job state reason at kind",
    "Books": "opened total state ended_at requeues taken aside ledger tallies",
    "SetAside": "job upto",
    "Stored": "batch remaining",
    "LedgerBooks": "submitted spawned done failed cancelled duplicates orphans roots runs families early withdrawn",
    "RunBooks": "run root outstanding",
    "FamilyBooks": "root outstanding failure",
    "EarlyBooks": "parent_origin parent_index waiting group",
    "TallyBooks": "worker name slots tasks busy_s batches_sent batches_received asks refusals",
    "Range": "lo hi",
}

KINDS: list[Any] = list(RECORDS)
any_record = st.sampled_from(KINDS).flatmap(records_of)


def test_kinds_never_renumber() -> None:
    assert [cls.__name__ for cls in RECORDS] == NAMES_IN_ORDER


def test_every_record_has_one_kind() -> None:
    assert len(set(RECORDS)) == len(RECORDS)
    assert set(RECORDS) == set(typing.get_args(Record))


@pytest.mark.parametrize("name", FIELDS)
def test_fields_keep_their_places(name: str) -> None:
    assert [field.name for field in dataclasses.fields(getattr(records, name))] == FIELDS[name].split()


@pytest.mark.parametrize("cls", RECORDS, ids=[cls.__name__ for cls in RECORDS])
def test_a_record_is_frozen_slotted_documented_data(cls: type[Record]) -> None:
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[union-attr]
    assert "__slots__" in vars(cls)
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # type: ignore[union-attr]


def test_outcomes_are_all_that_a_client_is_told_of_its_items() -> None:
    assert set(typing.get_args(Outcome)) == OUTCOMES
    assert messages.SAID_BY["controller-to-client"] >= OUTCOMES
    receipts = {messages.Submitted, messages.Attached, messages.Answer, messages.JobRefused}
    for_people = {messages.Printed, messages.Notice}
    everywhere = {messages.Beat, messages.Goodbye}
    assert messages.SAID_BY["controller-to-client"] - OUTCOMES == receipts | for_people | everywhere | {
        messages.Renewed
    }


@pytest.mark.parametrize("kind", range(len(RECORDS)), ids=NAMES_IN_ORDER)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(data=st.data())
def test_every_record_survives_the_journal(kind: int, data: st.DataObject) -> None:
    record = data.draw(records_of(KINDS[kind]))
    body = records.encode(record)
    assert records.decode(body) == record
    assert type(records.decode(body)) is RECORDS[kind]
    assert msgpack.unpackb(body, strict_map_key=False)[0] == kind


def test_the_bytes_are_one_array_of_the_kind_and_the_fields() -> None:
    assert msgpack.unpackb(records.encode(records.Ended(JobId(7), "failed", "why", 2.5, "NoWorkersError"))) == [
        8,
        7,
        "failed",
        "why",
        2.5,
        "NoWorkersError",
    ]
    assert msgpack.unpackb(records.encode(records.Owned(JobId(7), PeerId(3)))) == [1, 7, 3]


def test_what_is_not_known_yet_is_written_as_nothing() -> None:
    books = records.LedgerBooks(0, 0, 0, 0, 0, 0, 0, (), (), (records.FamilyBooks(1, 2, None),), (), ())
    opened = records.Opened(JobId(1), PeerId(1), 1, JobOptions(), 0.0, 0)
    for total, ended_at in ((None, None), (0, 0.0), (3, 1.5)):
        written = records.Books(opened, total, "running", ended_at, (), 0, 0, books, ())
        found = records.decode(records.encode(written))
        assert isinstance(found, records.Books)
        assert (found.total, found.ended_at) == (total, ended_at)
    failure = Failure("exception", "boom", "", "w", b"", final=True)
    settled = dataclasses.replace(books, families=(records.FamilyBooks(1, 2, failure),))
    written = records.Books(opened, None, "running", None, (), 0, 0, settled, ())
    assert records.decode(records.encode(written)) == written


# --- what is no record


def assert_total(body: bytes) -> None:
    """It is a record of its declared shape, or one clear error."""
    try:
        record = records.decode(body)
    except RemoteProtocolError as error:
        assert str(error)  # noqa: PT017 - any other exception must come through
    else:
        assert has_shape(record, type(record))
        assert records.decode(records.encode(record)) == record


@settings(derandomize=True, deadline=None, max_examples=300)
@given(body=st.binary(max_size=60))
def test_random_bytes(body: bytes) -> None:
    assert_total(body)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(record=any_record, seed=st.integers(0, 2**32))
def test_a_record_with_some_bytes_changed(record: Any, seed: int) -> None:
    rng = random.Random(seed)
    body = bytearray(records.encode(record))
    for _ in range(1 + int(rng.random() * 4)):
        body[int(rng.random() * len(body))] = int(rng.random() * 256)
    assert_total(bytes(body))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(record=any_record, data=st.data())
def test_a_record_that_was_cut_off(record: Any, data: st.DataObject) -> None:
    body = records.encode(record)
    with pytest.raises(RemoteProtocolError):
        records.decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize("kind", [-1, len(RECORDS), 10**6])
def test_a_kind_that_nobody_knows(kind: int) -> None:
    with pytest.raises(RemoteProtocolError):
        records.decode(msgpack.packb([kind, 7]))


def test_an_empty_range_is_no_record() -> None:
    with pytest.raises(RemoteProtocolError):
        records.decode(msgpack.packb([RECORDS.index(records.Dropped), 7, 4, 4]))


def test_a_message_that_is_no_record_is_our_own_bug() -> None:
    with pytest.raises(KeyError):
        records.encode(messages.Beat())  # type: ignore[arg-type]


def test_records_and_messages_are_two_vocabularies() -> None:
    """The same class has a number in each: it is read with the codec that wrote it."""
    taken = messages.Taken(JobId(7), 3)
    assert records.encode(taken) == b"\x93\x07\x07\x03"
    assert codec.encode(taken) == b"\x93" + bytes([messages.KINDS.index(messages.Taken)]) + b"\x07\x03"
