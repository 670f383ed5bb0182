"""The error tree is the one that the module draws, and each class can be caught as what it is."""

from __future__ import annotations

import pickle
import re

import pytest

from lbnet import errors
from lbnet.errors import LbnetError

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type)]


def drawn_tree() -> dict[str, str]:
    """Child to parent, as drawn in the module's docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)(?:\s|$)", line)
        if found is None:
            continue
        depth, name = len(found[1]) // 4, found[2]
        del path[depth:]
        if path:
            parents[name] = path[-1]
        path.append(name)
    return parents


def test_the_tree_is_the_one_that_is_drawn() -> None:
    real = {
        cls.__name__: next(base.__name__ for base in cls.__bases__ if issubclass(base, LbnetError))
        for cls in CLASSES
        if cls is not LbnetError
    }
    assert drawn_tree() == real
    assert len(real) > 10


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_is_a_sentence_that_travels(cls: type[LbnetError]) -> None:
    error = pickle.loads(pickle.dumps(cls("what went wrong")))
    assert type(error) is cls
    assert str(error) == "what went wrong"
    assert issubclass(cls, LbnetError)
    assert cls.__doc__
    assert cls.__name__.endswith("Error")


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.UsageError, ValueError),
        (errors.ConnectError, ConnectionError),
        (errors.ConnectionLostError, ConnectionError),
        (errors.SerializeError, TypeError),
        (errors.ItemSerializeError, TypeError),
        (errors.TaskTimeoutError, TimeoutError),
    ],
)
def test_errors_are_also_what_python_calls_them(cls: type[LbnetError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin):
        raise cls("a sentence")


def test_a_broken_protocol_says_whose_fault_it_was() -> None:
    assert not issubclass(errors.LocalProtocolError, errors.RemoteProtocolError)
    assert not issubclass(errors.RemoteProtocolError, errors.LocalProtocolError)


def test_a_bug_of_ours_is_not_taken_for_a_failure_of_a_task() -> None:
    assert not issubclass(errors.ProtocolError, errors.TaskError)
    assert not issubclass(errors.UsageError, errors.TaskError)
