from __future__ import annotations

from pathlib import Path

import pytest

from lbnet.errors import UsageError
from lbnet.sim.costs import Costs


def test_a_file_keeps_them(tmp_path: Path):
    costs = Costs(latency_s=1e-3, host_cores=2)
    costs.save(tmp_path / "costs.json")
    assert Costs.load(tmp_path / "costs.json") == costs
    assert Costs.from_facts({"latency_s": 0.002}) == Costs(latency_s=0.002)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"latency": 1.0}, "there is no cost latency; there are: latency_s"),
        ({"latency_s": -1.0}, "latency_s must be a number, 0 or more; it is -1"),
        ({"byte_s": "small"}, "byte_s must be a number"),
        ({"byte_s": True}, "byte_s must be a number"),
        ({"pipe_s": float("nan")}, "pipe_s must be a number"),
        ({"bandwidth_bytes_s": 0}, "bandwidth_bytes_s must be above 0"),
        ({"host_cores": 0}, "host_cores must be a whole number"),
        ({"host_cores": 1.5}, "host_cores must be a whole number"),
        ([1], "costs must be an object"),
    ],
)
def test_nonsense_is_refused(facts: object, sentence: str):
    with pytest.raises(UsageError, match=sentence):
        Costs.from_facts(facts)


def test_files_that_are_none(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read from"):
        Costs.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read from"):
        Costs.load(tmp_path / "bad.json")
    with pytest.raises(UsageError, match="cannot be written to"):
        Costs().save(tmp_path / "no" / "folder.json")
