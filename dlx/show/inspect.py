"""The table of `dlx inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph import Graph, LayerNode, Seen
from ..shapes import Reach, Shape, by_x, bytes_text
from .console import Grid, document, out

SPARE = ("memory", "kind", "MACs", "field")


def summary(graph: Graph, depth: int | None = None, batch: int | None = None) -> None:
    """A row a node, then the totals; memory is that of one sample, or of a batch."""
    grid = Grid("name", "kind", ">output", ">params", ">MACs", ">memory", ">field", styles=["cyan"], spare=SPARE)
    for name, shape in graph.inputs.items():
        grid.add(name, "input", by_x(shape), "", "", "", "")
    for row in folded(graph, depth, batch or 1):
        grid.add(*row)
    out(graph.name, "bold")
    grid.print()
    out(totals(graph, batch), "bold")


def folded(graph: Graph, depth: int | None, batch: int = 1) -> list[tuple[str, ...]]:
    """A row a node; nodes more than `depth` scopes down are summed into a row for their scope."""
    groups: dict[str, list[LayerNode]] = {}
    for node in graph.nodes:
        parts = node.name.split("/")
        name = node.name if depth is None or len(parts) <= depth else "/".join(parts[:depth])
        groups.setdefault(name, []).append(node)
    return [_row(name, nodes, batch) for name, nodes in groups.items()]


def _row(name: str, nodes: Sequence[LayerNode], batch: int) -> tuple[str, ...]:
    last = nodes[-1]
    single = len(nodes) == 1 and last.name == name
    kind = last.kind + (f" (weights of {last.owner})" if last.owner else "") if single else f"{len(nodes)} layers"
    frozen = " (frozen)" if all(n.frozen for n in nodes if n.params) and any(n.frozen for n in nodes) else ""
    return (
        name,
        kind + frozen,
        by_x(last.shape),
        number(sum(n.params for n in nodes)),
        number(sum(n.plan.macs for n in nodes)),
        memory(batch * sum(n.activation_bytes for n in nodes)),
        seen(last.reach),
    )


def totals(graph: Graph, batch: int | None = None) -> str:
    """The last lines of the table."""
    frozen = graph.params - graph.trainable
    parts = [
        f"{graph.params:,} parameters" + (f" ({graph.trainable:,} trainable)" if frozen else ""),
        f"{graph.buffers:,} buffered values" if graph.buffers else "",
        f"{graph.macs:,} MACs a sample",
        f"{memory(graph.activation_bytes * (batch or 1))} of activations "
        + (f"for {batch} samples" if batch else "a sample"),
        f"receptive field {geometry(graph.receptive_field)}" if graph.receptive_field is not None else "",
    ]
    return "\n".join(p for p in parts if p)


def one_layer(node: LayerNode, as_json: bool = False) -> None:
    """Everything that is known of one layer."""
    if as_json:
        document(node.as_json())
        return
    facts = {
        "kind": node.kind,
        "inputs": ", ".join(f"{n} {s}" for n, s in zip(node.inputs, node.arriving, strict=True)),
        "output": str(node.shape),
        **{f"option {name}": str(value) for name, value in node.layer.options().items()},
        **{f"weight {name}": f"{Shape(shape)} = {prod(shape):,}" for name, shape in node.plan.weights.items()},
        **{f"buffer {name}": f"{Shape(shape)} = {prod(shape):,}" for name, shape in node.plan.buffers.items()},
        "parameters": f"{node.params:,}" + (f" (the weights of {node.owner})" if node.owner else ""),
        "MACs": f"{node.plan.macs:,}",
        "memory": memory(node.activation_bytes) or "none: it shows the input's",
        "receptive field": geometry(node.reach) if node.reach is not None else "no positions",
        "written at": str(node.mark),
    }
    grid = Grid(columns=2, styles=["bold"])
    for key, value in facts.items():
        grid.add(key, value)
    out(node.name, "bold cyan")
    grid.print()


def number(value: int) -> str:
    return f"{value:,}" if value else ""


def memory(count: int) -> str:
    return bytes_text(count) if count else ""


def seen(reach: Seen) -> str:
    """`15`, `3x5`, `global`, with a `~` where branches are not aligned."""
    return str(reach) if reach is not None else ""


def geometry(reach: Seen) -> str:
    """`427, stride 32, start -213`."""
    if not isinstance(reach, Reach):
        return str(reach)
    if reach.is_global:
        return "global"

    def told(values: Sequence[object]) -> str:
        return by_x(values) if len(set(values)) > 1 else str(values[0])

    sizes = ["global" if size is None else size for size in reach.size]
    note = "" if reach.aligned else ", of branches that are not aligned"
    return f"{told(sizes)}, stride {told(reach.stride)}, start {told(reach.start)}{note}"
