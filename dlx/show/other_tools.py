"""The table of `dlx inspect --as`."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.comparison.other_tools import Counted
from ..graph.memory_forecast import Forecast
from .console import TextTable, out
from .inspect import training_steps


def counted(name: str, bridge: Counted, steps: Mapping[str, Forecast] | None = None) -> None:
    """Print for each figure that of dlx, what the tool adds or leaves out, and the tool's own; then remarks.

    `steps` has the memory of training steps, where it is asked for.
    """
    grid = TextTable("figure", ">count", "as it is told", styles=["cyan"])
    for one in bridge.bridges:
        if grid.rows:
            grid.add("", "", "")
        grid.add(f"dlx: {one.figure.word}", f"{one.ours:,}", "")
        for label, count in one.steps:
            grid.add(f"{'+' if count > 0 else '-'} {label}", f"{abs(count):,}", "")
        printed = one.figure.format(one.theirs)
        grid.add(
            f"= {bridge.tool}: {one.figure.theirs}",
            f"{one.theirs:,}",
            "" if printed == f"{one.theirs:,}" else printed,
        )
    out(f"{name}, as {bridge.tool} counts it", "bold")
    grid.print()
    out()
    for remark in bridge.remarks:
        out(remark)
    out(f"Checked against {bridge.checked}.")
    training_steps(steps or {})
