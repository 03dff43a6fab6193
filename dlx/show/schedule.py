"""The learning rate over a training as a line of bars and a table: `dlx train --plot-schedule`."""

from __future__ import annotations

from collections.abc import Mapping

from ..training.schedule_curve import Curve, Point
from . import console
from .console import Grid, out, say

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60
ROWS = 11


def schedules(curves: Mapping[str, Curve]) -> None:
    """Those of each network under its name; of one network without."""
    for name, curve in curves.items():
        if len(curves) > 1:
            out(f"{name}:")
        schedule(curve)


def document(curves: Mapping[str, Curve]) -> None:
    """The document of one network, or of each by its name under `networks`."""
    each = {name: curve.as_json() for name, curve in curves.items()}
    console.document(each["network"] if list(each) == ["network"] else {"networks": each})


def schedule(curve: Curve) -> None:
    """The bars reach up to the largest rate; the rows are as far apart as they can be."""
    largest = max(point.lr for point in curve.points)
    out(f"{curve.schedule}: {curve.steps:,} steps, {curve.steps_per_epoch:,} an epoch")
    out("".join(_bar(point.lr, largest) for point in _spread(curve.points, WIDTH)))
    grows = len({point.batch_size for point in curve.points}) > 1
    moves = curve.points[0].momentum is not None
    grid = Grid(">step", ">epoch", ">learning rate", *[">batch"] * grows, *[">momentum"] * moves)
    for point in _spread(curve.points, ROWS):
        more = [*[f"{point.batch_size:,}"] * grows, *[f"{point.momentum or 0:.4g}"] * moves]
        grid.add(f"{point.step:,}", f"{point.epoch:,}", f"{point.lr:.4g}", *more)
    grid.print()
    if curve.follows:
        say(f"Where {curve.follows} stands still, it drops below this.")


def _bar(rate: float, largest: float) -> str:
    """Nothing but a rate of zero is blank."""
    share = rate / largest if largest else 0.0
    return BARS[max(1, round(share * (len(BARS) - 1)))] if rate else BARS[0]


def _spread(points: tuple[Point, ...], count: int) -> list[Point]:
    """At most `count` points, evenly, with the first and the last."""
    if len(points) <= count:
        return list(points)
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]
