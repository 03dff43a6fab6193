"""The table of `dlx inspect --as`."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.comparison.other_tools import Counted
from ..graph.memory import Forecast
from .console import Grid, out
from .inspect import training_steps


def counted(name: str, bridge: Counted, steps: Mapping[str, Forecast] | None = None) -> None:
    """For each figure: dlx's, what the tool counts beside it or leaves out, and the tool's; then remarks.

    A training step, where its memory was asked for too.
    """
    grid = Grid("figure", ">count", "as it is told", styles=["cyan"])
    for one in bridge.bridges:
        if grid.rows:
            grid.add("", "", "")
        grid.add(f"dlx: {one.figure.word}", f"{one.ours:,}", "")
        for label, count in one.steps:
            grid.add(f"{'+' if count > 0 else '-'} {label}", f"{abs(count):,}", "")
        told = one.figure.told(one.theirs)
        grid.add(
            f"= {bridge.tool}: {one.figure.theirs}", f"{one.theirs:,}", "" if told == f"{one.theirs:,}" else told
        )
    out(f"{name}, as {bridge.tool} counts it", "bold")
    grid.print()
    out()
    for remark in bridge.remarks:
        out(remark)
    out(f"Checked against {bridge.checked}.")
    training_steps(steps or {})
