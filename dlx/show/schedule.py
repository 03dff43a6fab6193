"""The learning rate over a training as a line of bars and a table: `dlx train --plot-schedule`."""

from __future__ import annotations

from collections.abc import Mapping

from ..training.schedule_curve import Point, ScheduleCurve
from . import console
from .console import TextTable, out, say

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60
ROWS = 11


def schedules(curves: Mapping[str, ScheduleCurve]) -> None:
    """Print the schedule of each network, under its name where there are several."""
    for name, curve in curves.items():
        if len(curves) > 1:
            out(f"{name}:")
        schedule(curve)


def document(curves: Mapping[str, ScheduleCurve]) -> None:
    """Print the JSON document of one network, or of each under `networks` by name."""
    each = {name: curve.as_json() for name, curve in curves.items()}
    console.document(each["network"] if list(each) == ["network"] else {"networks": each})


def schedule(curve: ScheduleCurve) -> None:
    """Print a schedule: bars up to the largest rate, and rows at even distances."""
    largest = max(point.lr for point in curve.points)
    out(f"{curve.schedule}: {curve.steps:,} steps, {curve.steps_per_epoch:,} an epoch")
    out("".join(_bar(point.lr, largest) for point in _spread(curve.points, WIDTH)))
    grows = len({point.batch_size for point in curve.points}) > 1
    moves = curve.points[0].momentum is not None
    grid = TextTable(">step", ">epoch", ">learning rate", *[">batch"] * grows, *[">momentum"] * moves)
    for point in _spread(curve.points, ROWS):
        more = [*[f"{point.batch_size:,}"] * grows, *[f"{point.momentum or 0:.4g}"] * moves]
        grid.add(f"{point.step:,}", f"{point.epoch:,}", f"{point.lr:.4g}", *more)
    grid.print()
    if curve.follows:
        say(f"Where {curve.follows} stands still, it drops below this.")


def _bar(rate: float, largest: float) -> str:
    """Return the bar of a rate; only a rate of zero is blank."""
    share = rate / largest if largest else 0.0
    return BARS[max(1, round(share * (len(BARS) - 1)))] if rate else BARS[0]


def _spread(points: tuple[Point, ...], count: int) -> list[Point]:
    """Return at most `count` points at even distances, the first and the last among them."""
    if len(points) <= count:
        return list(points)
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]
