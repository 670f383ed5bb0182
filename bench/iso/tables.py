"""What the points say, as rows for tables and files. It must not know how they were found, or how rows are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from bench.iso import fit
from bench.iso.study import Point
from bench.iso.trial import Outcome
from bench.report import Cell

THEORY: Mapping[str, str] = {
    "sb": "p^2 log2 p, once the controller is full",
    "rp": "p log2^2 p",
    "arr": "p^2 log2 p",
    "grr": "p^2 log2 p, once the controller is full",
    "shared": "none published",
    "lifeline": "none published",
    "pmap": "p^2, once the controller is full",
}
"""Isoefficiency functions on a network whose links do not share their bandwidth (Kumar, Grama, Vempaty 1994)."""

BUSY = 0.9
"""A controller that is busy for this share of the time has no room left."""

PUBLISHED: Mapping[tuple[str, int], Mapping[str, float]] = {
    ("uts:T1L", 36): {"MassiveThreads/DM": 0.961, "SAWS": 0.982, "Charm++": 0.956, "X10 GLB": 0.646},
    ("uts:T1L", 144): {"MassiveThreads/DM": 0.976, "SAWS": 0.972, "Charm++": 0.810, "X10 GLB": 0.246},
    ("uts:T1L", 576): {"MassiveThreads/DM": 0.898, "SAWS": 0.888, "Charm++": 0.495, "X10 GLB": 0.049},
    ("uts:T1L", 2304): {"MassiveThreads/DM": 0.697, "SAWS": 0.628, "Charm++": 0.170, "X10 GLB": 0.005},
    ("uts:T1XXL", 144): {"MassiveThreads/DM": 0.982, "SAWS": 0.973, "Charm++": 0.961, "X10 GLB": 0.902},
    ("uts:T1XXL", 576): {"MassiveThreads/DM": 0.970, "SAWS": 0.967, "Charm++": 0.943, "X10 GLB": 0.613},
    ("uts:T1XXL", 2304): {"MassiveThreads/DM": 0.957, "SAWS": 0.940, "Charm++": 0.825},
    ("uts:T1XXL", 9216): {"MassiveThreads/DM": 0.904, "SAWS": 0.784, "Charm++": 0.001},
}
"""Efficiencies by tree and cores, measured by Shiina and Taura (CLUSTER 2022), own run on one core = 1."""

SYSTEMS = ("MassiveThreads/DM", "SAWS", "Charm++", "X10 GLB")

HELD_AGAINST = ("p log2^2 p", "p^2 log2 p")

POINT_COLUMNS = tuple(field.name for field in fields(Point))
SHOWN = (
    "strategy",
    "workers",
    "work_s",
    "efficiency",
    "makespan_s",
    "controller_busy",
    "controller_messages_s",
    "tasks_per_worker",
    "transfers_per_worker",
    "questions_per_worker",
    "refusals_per_worker",
)
FIT_COLUMNS = (
    "strategy",
    "workers",
    "c",
    "a",
    "worst",
    "a_upper",
    *(f"{what} {law}" for what in ("left over", "spread over") for law in HELD_AGAINST),
    "theory",
)
FIT_SHOWN = tuple(name for name in FIT_COLUMNS if not name.startswith("spread"))
LIMIT_COLUMNS = ("strategy", "workers_at_limit", "busiest", "at_workers", "messages_s", "full_messages_s")
TREE_COLUMNS = ("tree", "cores", *SYSTEMS)


def point_rows(points: Sequence[Point]) -> list[dict[str, Cell]]:
    """A row a point, with :data:`POINT_COLUMNS`."""
    return [asdict(point) for point in points]


def curve(points: Sequence[Point], strategy: str) -> list[fit.Point]:
    """Workers and seconds of work of one strategy, where they were found."""
    return [(point.workers, point.work_s) for point in points if point.strategy == strategy and point.found]


def fit_rows(points: Sequence[Point]) -> list[dict[str, Cell]]:
    """A row a strategy, with :data:`FIT_COLUMNS`.

    ``a`` is the exponent of W = c p^a over all p, ``a_upper`` over the larger half of them; ``worst`` is the largest
    ratio between a point and the line. ``left over`` a law is the exponent of W over it in the larger half (0: W
    follows it), ``spread over`` the largest such ratio over the smallest.
    """
    rows: list[dict[str, Cell]] = []
    for strategy in _strategies(points):
        mine = curve(points, strategy)
        upper = fit.upper_half(mine)
        line, upper_line = fit.power_law(mine), fit.power_law(upper)
        if line is None:
            continue
        row: dict[str, Cell] = {
            "strategy": strategy,
            "workers": f"{mine[0][0]:.0f} to {mine[-1][0]:.0f}",
            "c": line.c,
            "a": line.a,
            "worst": line.worst,
            "a_upper": None if upper_line is None else upper_line.a,
            "theory": THEORY.get(strategy, "none published"),
        }
        for law in HELD_AGAINST:
            flat = fit.flatness(upper, law)
            row[f"left over {law}"] = None if flat is None else flat.slope
            row[f"spread over {law}"] = None if flat is None else flat.spread
        rows.append(row)
    return rows


def law_rows(workers: Sequence[int]) -> list[dict[str, Cell]]:
    """The exponents that the laws themselves have over the same numbers of workers: logarithms add to them."""
    rows: list[dict[str, Cell]] = []
    for law, of in fit.LAWS.items():
        points = [(p, of(p)) for p in workers]
        line, upper = fit.power_law(points), fit.power_law(fit.upper_half(points))
        if line is not None:
            rows.append({"law": law, "a": line.a, "a_upper": None if upper is None else upper.a})
    return rows


def limit_rows(points: Sequence[Point]) -> list[dict[str, Cell]]:
    """A row a strategy, with :data:`LIMIT_COLUMNS`: where the controller's busy share passes :data:`BUSY`.

    ``messages_s`` are those of the point where it was busiest; ``full_messages_s`` what it would handle there in a
    second without a pause.
    """
    rows: list[dict[str, Cell]] = []
    for strategy in _strategies(points):
        mine = [point for point in points if point.strategy == strategy and point.found]
        if not mine:
            continue
        busiest = max(mine, key=lambda point: point.controller_busy)
        at = fit.crossing([(point.workers, point.controller_busy) for point in mine], BUSY)
        rows.append(
            {
                "strategy": strategy,
                "workers_at_limit": f"more than {mine[-1].workers:,}" if at is None else f"{at:,.0f}",
                "busiest": busiest.controller_busy,
                "at_workers": busiest.workers,
                "messages_s": busiest.controller_messages_s,
                "full_messages_s": busiest.controller_messages_s / max(busiest.controller_busy, 1e-9),
            }
        )
    return rows


def tree_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Cell]]:
    """A row for each tree and number of cores: our efficiencies by strategy, then the published ones."""
    rows: list[dict[str, Cell]] = []
    keys = dict.fromkeys((outcome.trial.workload, outcome.trial.workers) for outcome in outcomes)
    for tree, cores in sorted(keys):
        row: dict[str, Cell] = {"tree": tree.removeprefix("uts:"), "cores": cores}
        for outcome in outcomes:
            if (outcome.trial.workload, outcome.trial.workers) == (tree, cores):
                row[outcome.trial.strategy] = outcome.reason or outcome.efficiency
        rows.append(row | dict(PUBLISHED.get((tree, cores), {})))
    return rows


def unreached(points: Sequence[Point]) -> list[str]:
    """A sentence for each point without an answer, or with a rough one."""
    return [
        f"{point.strategy}, {point.workers:,} workers: {point.state}: {point.reason}"
        for point in points
        if point.reason
    ]


def _strategies(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.strategy for point in points))
