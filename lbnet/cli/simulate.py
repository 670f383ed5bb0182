"""``lbnet simulate``: strategies and clusters of any size, tried in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lbnet import limits
from lbnet.cli import options, teach
from lbnet.errors import UsageError
from lbnet.pool.cores import cores_available
from lbnet.sim.api import WORKERS
from lbnet.sim.costs import Costs
from lbnet.sim.run import PLACEMENTS, WORKERS_MAX
from lbnet.sim.workloads import KINDS
from lbnet.strategies import registry

T = TypeVar("T")

_JOBS_MAX = 1_024
"""Processes: more than any machine has cores, and few enough to start."""

_SEED_MAX = 2**63 - 1

# --- how options are written ----------------------------------------------------------------------


def _parsed(parse: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback: what ``parse`` says of the text, or what is wrong with the option."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def _each(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Values with commas between them, each of them once."""
    return lambda text: tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))


def _whole(text: str, least: int, most: int) -> int:
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.isdecimal() or len(text) > 40 or not least <= int(text) <= most:
        raise UsageError(f"{text!r} is no whole number from {least} to {most:,}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number") from None


def _strategy(text: str) -> str:
    options.find_strategy(text)
    return text


def _speed(text: str) -> float:
    speed = _number(text)
    if not 0 < speed <= 1e9:
        raise UsageError(f"a speed is a number above 0, 1e9 at most; it is {text!r}")
    return speed


def _when(text: str, what: str, least: int, most: int) -> tuple[float, int]:
    when, colon, number = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} is not TIME:{what}, such as 0.5:3")
    seconds = _number(when)
    if not 0 <= seconds < 1e9:
        raise UsageError(f"a time is seconds after the opening of the job, 0 to below 1e9; it is {when!r}")
    return seconds, _whole(number, least, most)


def _joins(texts: Sequence[str]) -> tuple[float, ...]:
    groups = [_when(text, "COUNT", 1, WORKERS_MAX) for text in texts]
    if sum(number for _, number in groups) > WORKERS_MAX:
        raise UsageError(f"more than {WORKERS_MAX:,} workers join")
    return tuple(when for when, number in groups for _ in range(number))


def _leaves(texts: Sequence[str]) -> tuple[tuple[float, int], ...]:
    return tuple(_when(text, "WORKER", 0, 2 * WORKERS_MAX) for text in texts)


def _cost(texts: Sequence[str]) -> dict[str, float | int | None]:
    given: dict[str, float | int | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not NAME=VALUE, such as latency_s=0.0002")
        number = None if value in {"null", "none"} else _number(value)
        given[name] = int(number) if number is not None and name == "host_cores" and number.is_integer() else number
        # Names and values are wrong or right one by one.
        Costs.from_facts({name: given[name]})
    return given


# --- the command ----------------------------------------------------------------------------------


@click.command(
    "simulate",
    cls=teach.Command,
    short_help="Try strategies and large clusters in virtual time.",
    examples=(
        "lbnet simulate --workload uts:T1",
        "lbnet simulate --workload uts:T1 --strategy sb,rp,lifeline --workers 16,64,256 --seed 7,8",
        "lbnet simulate --workload flat:giants:10000:10ms --workers 32 --speeds 1,0.5 --cost latency_s=0.001",
        "lbnet simulate --workload divisible:1000000:1ms --strategy sb,rp --timeline --plot plots",
        "lbnet simulate --workload uts:T1 --workers 8 --join 0.1:8 --leave 0.2:0 --json",
        "lbnet simulate --replay run.trace --workers 12 --strategy lifeline",
    ),
)
@click.option(
    "--workload",
    "workloads",
    metavar="WORKLOAD",
    multiple=True,
    help=f"{'; '.join(kind.usage for kind in KINDS.values())}. May be given several times.",
)
@click.option(
    "--strategy",
    "strategies",
    metavar="NAME,...",
    callback=_parsed(_each(_strategy)),
    help=f"Who asks whom for work, and when: some of {', '.join(registry.BUILT_IN)}, of installed packages, or your "
    f"own as MODULE:CLASS.  [default: {registry.DEFAULT}, or as recorded]",
)
@click.option(
    "--workers",
    metavar="N,...",
    callback=_parsed(_each(lambda text: _whole(text, 1, WORKERS_MAX))),
    help=f"How many are there from the start.  [default: {WORKERS}, or as recorded]",
)
@click.option(
    "--seed",
    "seeds",
    metavar="N,...",
    default="0",
    show_default=True,
    callback=_parsed(_each(lambda text: _whole(text, 0, _SEED_MAX))),
    help="Of all that is random. The same seed gives the same result, on any machine.",
)
@click.option("--slots", type=click.IntRange(1, limits.SLOTS_MAX), default=1, show_default=True, help="Of each worker.")
@click.option(
    "--placement",
    type=click.Choice(PLACEMENTS),
    help="Where new work goes: to free slots, or all to the first worker.  [default: first for work that begins as one "
    "task, else spread; or as recorded]",
)
@click.option(
    "--costs", metavar="FILE", type=click.Path(path_type=Path), help="What messages, links and slots cost, as JSON."
)
@click.option(
    "--cost", metavar="NAME=VALUE", multiple=True, callback=_parsed(_cost), help="One of them; seconds for most."
)
@click.option(
    "--speeds",
    metavar="X,...",
    default="1",
    show_default=True,
    callback=_parsed(lambda text: tuple(_speed(part.strip()) for part in text.split(","))),
    help="Of the workers, which take them in turn: 1,0.5 makes every second one half as fast.",
)
@click.option(
    "--join",
    "joins",
    metavar="TIME:COUNT",
    multiple=True,
    callback=_parsed(_joins),
    help="So many more workers join, so many seconds after the job was opened. May be given several times.",
)
@click.option(
    "--leave",
    "leaves",
    metavar="TIME:WORKER",
    multiple=True,
    callback=_parsed(_leaves),
    help="This worker, counted from 0, dies then. May be given several times.",
)
@click.option(
    "--replay",
    metavar="TRACE",
    type=click.Path(path_type=Path),
    help="Instead of a workload: run a recorded job again, as `lbnet demo --trace` and lbnet.LocalCluster(trace=...) "
    "record it.",
)
@click.option("--job", type=click.IntRange(0), help="Which job of TRACE.  [default: the longest]")
@click.option("--timeline", is_flag=True, help="Record what each worker does when, for --plot and --json.")
@click.option(
    "--plot",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Draw efficiency, the controller's load and timelines into this folder, as PNG; needs matplotlib.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, _JOBS_MAX),
    help="Simulate so many points at the same time.  [default: one for each core]",
)
@click.option("-v", "--verbose", is_flag=True, help="Say on standard error how long each simulation took.")
@click.option("--balance", is_flag=True, help="Show where the time of all slots went: the gap to the ideal, by cause.")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context, /, jobs: int | None, plot: Path | None, verbose: bool, as_json: bool, **given: Any
) -> None:
    """Run the real controller and workers on a network that exists only in virtual time.

    Options that take several values, with commas between them, are combined in every way; each combination is one
    simulation and one row of the output. The same command prints the same output, always.

    A row says how the job went, in the terms of Kumar, Grama and Vempaty (1994): makespan, speedup, efficiency (speedup
    over slots), overhead (slot seconds that were not spent in tasks); how busy the controller was and how many messages
    a second it handled; how many batches moved between workers; how often work was asked for, and refused; and the
    events of the simulation.

    Results are added up as a client would. If a sum is not what it must be, the exit code is 1.
    """
    from lbnet.cli import simulate_points, simulate_show

    points, recorded = _points(**given)
    if given["timeline"] and not (plot or as_json):
        raise UsageError("a timeline is shown by --plot DIR and --json: add one of them to --timeline")
    if plot is not None:
        from lbnet.cli import simulate_plots

        simulate_plots.check(plot)
    outcomes = simulate_points.run_all(points, jobs or cores_available())
    for outcome in outcomes:
        for error in outcome.result.strategy_errors:
            click.echo(f"lbnet: {outcome.point.title}: the strategy raised {error}", err=True)
        if verbose:
            events, wall_s = outcome.result.events, outcome.wall_s
            rate = events / wall_s if wall_s > 0 else 0.0
            click.echo(f"{outcome.point.title}: {events:,} events in {wall_s:.2f} s, {rate:,.0f} events/s", err=True)
    if as_json:
        click.echo(simulate_show.as_json(outcomes, recorded))
    else:
        simulate_show.text(outcomes, recorded)
    if plot is not None:
        from lbnet.cli import simulate_plots

        for path in simulate_plots.write(outcomes, plot):
            click.echo(f"plotted {path}", err=as_json)
    ctx.exit(0 if all(outcome.right for outcome in outcomes) else 1)


def _points(
    *,
    workloads: tuple[str, ...],
    replay: Path | None,
    job: int | None,
    strategies: tuple[str, ...] | None,
    workers: tuple[int, ...] | None,
    seeds: tuple[int, ...],
    placement: str | None,
    costs: Path | None,
    cost: dict[str, float | int | None],
    **same: Any,
) -> tuple[list[Any], Any]:
    """All points, and how the job went when it was recorded, if it was."""
    from lbnet.cli.simulate_points import Setting, Source, combinations, recording, work_of

    if bool(workloads) == (replay is not None):
        raise UsageError("name what to run: --workload WORKLOAD or --replay TRACE, and not both")
    if job is not None and replay is None:
        raise UsageError("--job names a job of a trace: give --replay TRACE as well")
    recorded = None
    if replay is None:
        sources = [Source(text) for text in workloads]
        for source in sources:
            work_of(source, seeds[0])
        strategies, workers = strategies or (registry.DEFAULT,), workers or (WORKERS,)
    else:
        trace = replay.absolute()
        sources, recorded = [Source(str(replay), trace, job)], recording(trace, job)
        strategies = strategies or (_recorded_strategy(recorded.strategy),)
        workers = workers or (-(-recorded.slots // same["slots"]),)
        placement = placement or recorded.placement or None
    base = Costs() if costs is None else Costs.load(costs)
    setting = Setting(placement=placement, costs=Costs.from_facts(base.facts() | cost), **same)
    for _, index in setting.leaves:
        if index >= min(workers) + len(setting.joins):
            raise UsageError(f"worker {index} cannot leave: there are {min(workers) + len(setting.joins):,}, from 0 on")
    return combinations(sources, strategies, workers, seeds, setting), recorded


def _recorded_strategy(name: str) -> str:
    try:
        return _strategy(name or registry.DEFAULT)
    except UsageError as error:
        raise UsageError(f"the strategy of the recording is not here: {error}; choose one with --strategy") from None
