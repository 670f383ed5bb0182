"""Draw what was found. It must not know how it was found, nor import matplotlib: it is handed a canvas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.iso import fit
from bench.iso.study import Point
from bench.iso.tables import BUSY, curve

MARKERS = "osD^vP*X"
GUIDES = {"p log2^2 p": ":", "p^2 log2 p": "--"}


def isoefficiency(points: Sequence[Point]) -> Callable[[Any], None]:
    """Work against workers, both logarithmic, a line a strategy; the laws as guides through the first point."""
    strategies = list(dict.fromkeys(point.strategy for point in points if point.found))

    def onto(canvas: Any) -> None:
        axes, per_worker = canvas.subplots(1, 2)
        for number, strategy in enumerate(strategies):
            mine = curve(points, strategy)
            xs = [p for p, _ in mine]
            style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4, "label": strategy}
            axes.plot(xs, [work_s for _, work_s in mine], **style)
            per_worker.plot(xs, [work_s / p for p, work_s in mine], **style)
        xs = sorted({p for strategy in strategies for p, _ in curve(points, strategy)})
        foot = min(
            (work_s for strategy in strategies for p, work_s in curve(points, strategy) if p == xs[0]), default=1
        )
        for law, line in GUIDES.items():
            of = fit.LAWS[law]
            ys = [foot * of(p) / of(xs[0]) for p in xs]
            axes.plot(xs, ys, line, color="0.5", linewidth=0.9, label=law)
            per_worker.plot(xs, [y / p for p, y in zip(xs, ys, strict=True)], line, color="0.5", linewidth=0.9)
        for one in (axes, per_worker):
            one.set_xscale("log", base=2)
            one.set_yscale("log")
            one.set_xlabel("workers p")
            one.grid(alpha=0.3)
        axes.set_ylabel("work W in seconds, for efficiency 0.8")
        per_worker.set_ylabel("W / p in seconds")
        top = max(point.work_s for point in points if point.found)
        axes.set_ylim(top=1.5 * top)
        per_worker.set_ylim(top=1.5 * max(point.work_s / point.workers for point in points if point.found))
        axes.legend(fontsize=8)

    return onto


def controller(points: Sequence[Point]) -> Callable[[Any], None]:
    """The controller's busy share and its messages, against workers."""
    strategies = list(dict.fromkeys(point.strategy for point in points if point.found))

    def onto(canvas: Any) -> None:
        busy, rate = canvas.subplots(1, 2)
        for number, strategy in enumerate(strategies):
            mine = [point for point in points if point.strategy == strategy and point.found]
            xs = [point.workers for point in mine]
            style = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4, "label": strategy}
            busy.plot(xs, [point.controller_busy for point in mine], **style)
            rate.plot(xs, [point.controller_messages_s for point in mine], **style)
        busy.axhline(BUSY, color="0.5", linewidth=0.9, linestyle="--")
        busy.set_ylabel("controller's busy share at efficiency 0.8")
        busy.set_ylim(0, 1.05)
        rate.set_ylabel("controller's messages a second")
        rate.set_yscale("log")
        for one in (busy, rate):
            one.set_xscale("log", base=2)
            one.set_xlabel("workers p")
            one.grid(alpha=0.3)
        busy.legend(fontsize=8)

    return onto
