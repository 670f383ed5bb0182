from __future__ import annotations

from lbnet.sim.result import BINS, rates


def test_rates_count_what_happened_in_each_part():
    bin_s, per_second = rates([0.5, 1.0, 1.005, 1.5, 2.0, 2.5], 1.0, 2.0)
    assert (bin_s, len(per_second)) == (1.0 / BINS, BINS)
    assert (per_second[0], per_second[50], per_second[99]) == (200.0, 100.0, 100.0)
    assert sum(per_second) * bin_s == 4.0


def test_a_job_that_took_no_time_has_none():
    assert rates([1.0], 1.0, 1.0) == (0.0, ())
