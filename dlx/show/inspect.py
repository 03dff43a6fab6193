"""The table of `dlx inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import plural
from ..graph import AnyReceptiveField, Counted, Graph, Graphs, LayerNode
from ..graph.memory_forecast import Forecast
from ..shapes import ReceptiveField, Shape, UnknownReceptiveField, by_x, bytes_text
from ..spec.sections.networks import ONE
from .console import TextTable, out
from .forms import Number

if TYPE_CHECKING:
    from ..data.base import ColumnUse
    from ..graph.stage_plan import StagePlan

SPARE = ("memory", "kind", "MACs", "field")
PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "buffers": "buffers",
    "activations": "activations kept",
    "working": "working memory",
}


def inspected(
    graphs: Graphs,
    network: str,
    one: LayerNode | None,
    steps: Mapping[str, Forecast],
    counted: Counted | None,
    by_phase: Mapping[str, Forecast] = MappingProxyType({}),
    stages: Sequence[StagePlan] = (),
) -> dict[str, Any]:
    """Return the document of `inspect --json`: all networks, or one layer of `network`."""
    whole = graphs.as_json() if one is None else one.as_json() | ({} if graphs.is_one else {"network": network})
    memory = {name: step.as_json() for name, step in steps.items()}
    if memory:
        whole["memory"] = memory[ONE] if graphs.is_one else memory
    if by_phase:
        whole["memory_by_phase"] = {name: step.as_json() for name, step in by_phase.items()}
    whole |= {"as": counted.as_json()} if counted else {}
    return whole | ({"stages": {each.name: each.as_json() for each in stages}} if stages and one is None else {})


def summaries(
    graphs: Graphs,
    depth: int | None = None,
    steps: Mapping[str, Forecast] | None = None,
    by_phase: Mapping[str, Forecast] | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Print the table of one network; of several the totals, then the table of each under its name; then remarks."""
    if graphs.is_one:
        summary(graphs.one, depth, (steps or {}).get(ONE))
        phases(graphs)
        phase_steps(by_phase or {})
    else:
        _of_several(graphs, depth, steps or {}, by_phase or {})
    for remark in remarks:
        out(remark)


def _of_several(
    graphs: Graphs, depth: int | None, steps: Mapping[str, Forecast], by_phase: Mapping[str, Forecast]
) -> None:
    out(graphs.name, "bold")
    out(totals_of_all(graphs), "bold")
    for name, graph in graphs.items():
        out()
        summary(replace(graph, name=name, columns=()), depth, steps.get(name))
        if name in graphs.followers:
            out(f"`{name}` {graphs.followers[name]}")
    phases(graphs)
    found = next((graph.columns for graph in graphs.values() if graph.columns), ())
    if found:
        columns(found)
    phase_steps(by_phase)
    if steps and not by_phase:
        out()
        out(ALONE)


def phase_steps(by_phase: Mapping[str, Forecast]) -> None:
    """Print the memory of each phase of a training step at its peak, and the largest."""
    if not by_phase:
        return
    grid = TextTable("at the peak of", *(f">{name}" for name in by_phase), styles=["cyan"])
    peaks = [asdict(step.peak) for step in by_phase.values()]
    for part, name in PARTS.items():
        if any(peak[part] for peak in peaks):
            grid.add(name, *(memory(peak[part]) for peak in peaks))
    grid.add("all", *(memory(step.total) for step in by_phase.values()))
    out()
    grid.print()
    phase, step = max(by_phase.items(), key=lambda one: one[1].total)
    samples = f"{step.batch:,} sample{'' if step.batch == 1 else 's'}"
    out(f"{memory(step.total)} at the peak of a training step of {samples}, in `{phase}`, in the {step.at}", "bold")


def phases(graphs: Graphs) -> None:
    """Print a row for each phase of a step, where there are several of them or of the networks."""
    if not graphs.phases or (graphs.is_one and len(graphs.phases) < 2):
        return
    grid = TextTable("phase", "calls", "moves", "reads", "in a step", styles=["cyan"])
    for one in graphs.phases:
        moves, reads = ", ".join(one.phase.moves), ", ".join(one.phase.reads)
        grid.add(one.name, ", ".join(one.called), moves, reads or "nothing", one.how_often)
    out()
    grid.print()


ALONE = "Each step is of that network alone: what they take together is up to the objective, and is not the sum."


def training_steps(steps: Mapping[str, Forecast]) -> None:
    """Print the memory of a training step of each network, under its name where there are several."""
    for name, step in steps.items():
        if len(steps) > 1:
            out()
            out(name, "bold")
        training_step(step)


def _left(params: int, remaining: int) -> str:
    """Return what `prune` leaves; empty where that is all."""
    pruned = params - remaining
    return f", {remaining:,} remain: `prune` holds {pruned:,} at zero" if pruned else ""


def totals_of(graphs: Graphs) -> str:
    """Return how many values networks have, and how many of them training moves."""
    moving = f" ({graphs.trainable:,} trainable)" if graphs.params != graphs.trainable else ""
    of_objective = f", of which {', '.join(graphs.of_objective)}" if graphs.of_objective else ""
    return f"{graphs.params:,} parameters{moving}{of_objective}{_left(graphs.params, graphs.remaining)}"


def totals_of_all(graphs: Graphs) -> str:
    """Return the totals of all networks, for one sample through each."""
    parts = [
        f"{plural(len(graphs), 'network')}: {', '.join(graphs)}",
        totals_of(graphs),
        f"{graphs.buffers:,} buffered values" if graphs.buffers else "",
        f"{graphs.macs:,} MACs for a sample through each",
        f"{bytes_text(graphs.activation_bytes)} of activations for a sample through each",
    ]
    return "\n".join(part for part in parts if part)


def summary(graph: Graph, depth: int | None = None, step: Forecast | None = None) -> None:
    """Print a row for each node, then the totals; memory is of one sample, or of the batch of a training step."""
    batch = step.batch if step else None
    grid = TextTable("name", "kind", ">output", ">params", ">MACs", ">memory", ">field", styles=["cyan"], spare=SPARE)
    for name, shape in graph.inputs.items():
        grid.add(name, "input", by_x(shape), "", "", "", "")
    for row in folded(graph, depth, batch or 1):
        grid.add(*row)
    out(graph.name, "bold")
    grid.print()
    out(totals(graph, batch), "bold")
    if graph.columns:
        columns(graph.columns)
    if step:
        training_step(step)


def columns(found: Sequence[ColumnUse]) -> None:
    """Print a row for each column or array of the data: its use, and the reason."""
    grid = TextTable("column", "taken for", ">inputs", "because", styles=["cyan"])
    for use in found:
        grid.add(use.name or "(no name)", use.taken_for, number(use.inputs), use.because)
    out()
    grid.print()


def training_step(step: Forecast) -> None:
    """Print a row for each part of the memory of a training step, then the peak."""
    grid = TextTable("training step", ">at most", ">at the peak", styles=["cyan"])
    most, peak = asdict(step.most), asdict(step.peak)
    for part, name in PARTS.items():
        if most[part]:
            grid.add(name, memory(most[part]), bytes_text(peak[part]))
    out()
    grid.print()
    samples = f"{step.batch:,} sample{'' if step.batch == 1 else 's'}"
    out(f"{memory(step.total)} at the peak of a training step of {samples}, in the {step.at}", "bold")


def folded(graph: Graph, depth: int | None, batch: int = 1) -> list[tuple[str, ...]]:
    """Return a row for each node; nodes deeper than `depth` scopes are summed in a row of their scope."""
    groups: dict[str, list[LayerNode]] = {}
    for node in graph.nodes:
        parts = node.name.split("/")
        name = node.name if depth is None or len(parts) <= depth else "/".join(parts[:depth])
        groups.setdefault(name, []).append(node)
    # By identity: pointwise layers hand the object on
    last = {id(nodes[-1].receptive_fields): nodes[-1] for nodes in groups.values()}
    fields = {key: node.receptive_field_text for key, node in last.items()}
    return [_row(name, nodes, batch, fields[id(nodes[-1].receptive_fields)]) for name, nodes in groups.items()]


def _row(name: str, nodes: Sequence[LayerNode], batch: int, field: str) -> tuple[str, ...]:
    last = nodes[-1]
    single = len(nodes) == 1 and last.name == name
    kind = last.kind + (f" (weights of {last.owner})" if last.owner else "") if single else f"{len(nodes)} layers"
    frozen = " (frozen)" if any(n.frozen for n in nodes) and all(n.frozen for n in nodes if n.params) else ""
    return (
        name,
        kind + frozen,
        by_x(last.shape),
        number(sum([n.params for n in nodes])),
        number(sum([n.plan.macs for n in nodes])),
        memory(batch * sum([n.activation_bytes for n in nodes])),
        field,
    )


def totals(graph: Graph, batch: int | None = None) -> str:
    """Return the totals of a network, a line each."""
    of_objective = f", of which {', '.join(graph.of_objective)}" if graph.of_objective else ""
    params, trainable = graph.params, graph.trainable
    parts = [
        f"{params:,} parameters"
        + (f" ({trainable:,} trainable)" if trainable != params else "")
        + of_objective
        + _left(params, params - graph.pruned),
        *(f"{count:,} more that it shares with {name}" for name, count in graph.borrowed.items()),
        f"{graph.buffers:,} buffered values" if graph.buffers else "",
        f"{graph.macs:,} MACs a sample",
        f"{bytes_text(graph.activation_bytes * (batch or 1))} of activations "
        + (f"for {batch} samples" if batch else "a sample"),
        *_fields(graph.receptive_fields),
        *(f"moving: {name} from {value}" for name, value in graph.moving.items()),
    ]
    return "\n".join(p for p in parts if p)


def one_layer(node: LayerNode, name: str = "") -> None:
    """Print all facts about one layer, under `name` or its own name."""
    facts = {
        "kind": node.kind,
        "inputs": ", ".join(f"{n} {s}" for n, s in zip(node.inputs, node.arriving, strict=True)),
        "output": str(node.shape),
        **{f"option {name}": str(value) for name, value in node.layer.options().items()},
        **{f"weight {name}": f"{Shape(shape)} = {prod(shape):,}" for name, shape in node.plan.weights.items()},
        **{f"buffer {name}": f"{Shape(shape)} = {prod(shape):,}" for name, shape in node.plan.buffers.items()},
        "parameters": f"{node.params:,}"
        + (f" (the weights of {node.owner})" if node.owner else "")
        + (_left(node.params, node.params - node.pruned) if node.pruned else ""),
        "MACs": f"{node.plan.macs:,}",
        "memory": memory(node.activation_bytes) or "none: it shows the input's",
        **_fields_of(node),
        "written at": str(node.mark),
    }
    grid = TextTable(columns=2, styles=["bold"])
    for key, value in facts.items():
        grid.add(key, value)
    out(name or node.name, "bold cyan")
    grid.print()


@lru_cache(1024)
def number(value: int) -> Number:
    return Number(f"{value:,}" if value else "", value)


@lru_cache(1024)
def memory(count: int) -> Number:
    return Number(bytes_text(count) if count else "", count)


def layer_table(networks: Mapping[str, Graphs], depth: int | None, batch: int | None) -> TextTable:
    """Return the layers of all networks as one table for programs; `networks` are those of each stage, by its name.

    Memory is in bytes, of one sample or of a batch.
    """
    several = len(networks) > 1 or not all(graphs.is_one for graphs in networks.values())
    grid = TextTable(
        *(("network",) if several else ()), "name", "kind", "output", "params", "macs", "memory", "field"
    )
    for stage, graphs in networks.items():
        for name, graph in graphs.items():
            inputs = [(each, "input", by_x(shape), *[Number("", 0)] * 3, "") for each, shape in graph.inputs.items()]
            for row in (*inputs, *folded(graph, depth, batch or 1)):
                of = "/".join(part for part in (stage, "" if graphs.is_one else name) if part)
                grid.add(*((of,) if several else ()), *row)
    return grid


def _fields(fields: Mapping[str, AnyReceptiveField]) -> list[str]:
    """Return a line for each input, named where there are several: `receptive field 8, stride 2, start -1`."""
    several = len(fields) > 1
    return [f"receptive field{f' of {name}' * several} {geometry(seen)}" for name, seen in fields.items()]


def _fields_of(node: LayerNode) -> dict[str, str]:
    several = len(node.receptive_fields) > 1
    by_input = {
        name: geometry(seen) if seen is not None else "no positions" for name, seen in node.receptive_fields.items()
    }
    return {f"receptive field{f' of {name}' * several}": of for name, of in by_input.items()} or {
        "receptive field": "nothing"
    }


def geometry(receptive_field: AnyReceptiveField) -> str:
    """Describe a receptive field: `427, stride 32, start -213`."""
    if isinstance(receptive_field, UnknownReceptiveField):
        return f"unknown from {receptive_field.node} on"
    if not isinstance(receptive_field, ReceptiveField):
        return str(receptive_field)
    if receptive_field.is_global:
        return "global"

    def extent(values: Sequence[object]) -> str:
        return by_x(values) if len(set(values)) > 1 else str(values[0])

    sizes = ["global" if size is None else size for size in receptive_field.size]
    note = "" if receptive_field.aligned else ", of branches that are not aligned"
    return f"{extent(sizes)}, stride {extent(receptive_field.stride)}, start {extent(receptive_field.start)}{note}"
