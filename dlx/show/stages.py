"""The stages of a spec in `dlx inspect`: the table of each network that is new; what a stage takes and freezes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import plural
from ..graph import Graphs
from ..graph.stage_plan import StagePlan
from .console import out
from .inspect import summaries, totals_of, training_steps


def stages(graphs: Graphs, plans: Sequence[StagePlan], depth: int | None = None) -> None:
    """Print a paragraph for each stage; the table of its network where the stage before has another one."""
    names = ", ".join(one.name for one in plans)
    out(f"{graphs.name}: {plural(len(plans), 'stage')}, {names}", "bold")
    for one in plans:
        out()
        heading = f"stage {one.name}" + (f": {one.length}" if one.length else "")
        if one.is_same_network:
            out(heading, "bold")
            out(f"the network{'s' if not one.graphs.is_one else ''} of the stage `{one.before}`")
            out(totals_of(one.graphs), "bold")
            if one.memory:
                training_steps(one.memory)
        else:
            named = {key: replace(graph, name=heading) for key, graph in one.graphs.items()}
            alone = one.graphs.is_one
            summaries(
                replace(one.graphs, name=heading, networks=named if alone else one.graphs.networks), depth, one.memory
            )
        for line in facts(one):
            out(line)


def facts(one: StagePlan) -> list[str]:
    """Return what a stage takes and freezes, a line each."""
    initialized = "weights: as `init` draws them" if one.graphs.params else ""
    weights = one.weights.sentence(one.source) if one.weights is not None else initialized
    if one.weights is None and one.source:
        weights = f"weights: of {one.source}, which torch reads as the training starts"
    return [line for line in (weights, f"frozen: {', '.join(one.frozen)}" if one.frozen else "") if line]
