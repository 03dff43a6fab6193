"""The arithmetic behind every figure of `dlx inspect`: of a layer, of a block, of the whole network. No torch.

Equations that follow from the plan are derived here; a layer adds its own in `Layer.working`. An equation that is not
true, or whose value is not the plan's, is left out: a layer of another package cannot make this page wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..layers import arithmetic
from ..layers.arithmetic import Line
from ..shapes import BYTES, Number, ReceptiveField, Shape, bytes_text
from ..spec.validation import OF_LAYERS
from .graph import AnyReceptiveField, Graph, LayerNode, receptive_field_as_json
from .graphs import Graphs
from .receptive_field.explanation import geometry, growth, of_node, seen_in_words

LARGEST = 5
"""Number of layers of a sum that are listed one by one."""


@dataclass(frozen=True)
class Derivation:
    """A figure of `inspect` with the equations that lead to it."""

    title: str
    figure: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Explanation:
    """The explanation of a layer, of a block (`kind` is its number of layers), or of the network (no `name`)."""

    name: str
    kind: str
    derivations: tuple[Derivation, ...]
    figures: Mapping[str, Any]
    does: str = ""
    source: str = ""
    mark: Mark | None = None
    arriving: tuple[tuple[str, Shape], ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    names: tuple[tuple[str, int], ...] = ()
    """The layers and blocks inside, each with its number of layers."""

    def as_json(self) -> dict[str, Any]:
        return {
            "layer": self.name or None,
            "kind": self.kind,
            "inputs": [{"name": name, "shape": list(shape)} for name, shape in self.arriving],
            **self.figures,
            "lines": [_as_json(line) for derivation in self.derivations for line in derivation.lines],
            "remarks": list(self.remarks),
            "warnings": list(self.warnings),
        }


def explain(graph: Graph, name: str | None = None) -> Explanation:
    """Explain a layer or block, or the network where `name` is None.

    Errors: SpecError with the nearest names where there is no layer or block of this name.
    """
    if name is None:
        return _network(graph)
    if name in graph.by_name:
        return _layer(graph.by_name[name], graph)
    inside = [node for node in graph.nodes if node.name.startswith(f"{name.rstrip('/')}/")]
    if inside:
        return _block(name.rstrip("/"), inside, graph)
    blocks = {node.name.rsplit("/", depth)[0] for node in graph.nodes for depth in range(1, node.name.count("/") + 1)}
    hint = did_you_mean(name, [*blocks, *graph.by_name])
    raise SpecError(Problem(f"there is no layer or block `{name}`", hint, Mark("--layer")))


def pages_of(graphs: Graphs, name: str | None = None) -> dict[str, Explanation]:
    """Explain by the names of the spec; with several networks a name begins with that of one.

    Returns a page under an empty name; without `name` that of each of several networks by its name. SpecError where
    there is no such layer or block.
    """
    if graphs.is_one:
        try:
            return {"": explain(graphs.one, name)}
        except SpecError as error:
            hint = graphs.other_stage(name or "")
            raise SpecError(*(replace(one, hint=hint or one.hint) for one in error.problems)) from None
    if name is not None:
        return {"": _of_part(graphs, name)}
    return {network: _of_part(graphs, network) for network in graphs}


def _of_part(graphs: Graphs, name: str) -> Explanation:
    """Explain one of several networks, or a layer or block of it."""
    network, inside = graphs.part(name)
    page = explain(graphs[network], inside or None)
    names = tuple((graphs.full(network, each), count) for each, count in page.names)
    return replace(page, name=name if inside else "", does=page.does if inside else network, names=names)


# --- one layer ------------------------------------------------------------------------------------------------------


def _layer(node: LayerNode, graph: Graph) -> Explanation:
    ends = Line(
        note="One row for each layer and direction; a single one has no axis.", axes=tuple(range(len(node.shape)))
    )
    own = [ends] if node.result else [made for made in node.layer.derivation(node.plan, *node.arriving) if made.holds]
    derivations = [_output(node, own), _parameters(node, own), _buffers(node), _macs(node, own), _memory(node)]
    field = _field(of_node(node, graph), node.receptive_field, node.receptive_fields)
    warnings = [*node.plan.warnings, *(p.message for p in graph.warnings if OF_LAYERS.sub("", p.path) == node.name)]
    return Explanation(
        name=node.name,
        kind=node.kind,
        derivations=(*(each for each in derivations if each), field),
        figures=_figures([node], node.shape, node.receptive_field),
        does=node.layer.summary(),
        source=node.layer.entry("Source"),
        mark=node.mark,
        arriving=tuple(zip(node.inputs, node.arriving, strict=True)),
        remarks=tuple(_remarks(node)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _output(node: LayerNode, own: Sequence[Line]) -> Derivation:
    shape = node.shape
    lines = [line for line in own if line.part == "output" and all(shape[k] == line.value for k in _valued(line))]
    rule = node.layer.entry("Shapes")
    if rule and {k for line in lines for k in line.axes} != set(range(len(shape))):
        lines.append(Line(note=f"By its rule: {rule}"))
    return Derivation("Output", str(shape), tuple(_join_axes(lines, arithmetic.axis_names(len(shape)))))


def _valued(line: Line) -> tuple[int, ...]:
    return line.axes if line.value is not None else ()


def _parameters(node: LayerNode, own: Sequence[Line]) -> Derivation:
    plan = node.plan
    by_layer = {line.what: line for line in own if line.part == "parameters"}
    lines = []
    for line in arithmetic.of_weights(plan):
        better = by_layer.get(line.what, line)
        lines.append(better if better.value == line.value else line)
    if len(lines) > 1:
        lines.append(_sum_of({line.what: int(line.value or 0) for line in lines}, "parameters"))
    if not lines:
        lines.append(Line(note="It learns nothing." if not node.tied else "It has no weight of its own."))
    return Derivation("Parameters", f"{node.params:,}", (*lines, *_pruned([node])))


def _sum_of(amounts: Mapping[str, int], part: arithmetic.Figure) -> Line:
    return Line(
        "total", " + ".join(amounts), arithmetic.summed(list(amounts.values())), sum(amounts.values()), "", part
    )


def _buffers(node: LayerNode) -> Derivation | None:
    """Derive the number of values in buffers."""
    if not node.plan.buffers:
        return None
    each = {name: prod(shape) for name, shape in node.plan.buffers.items()}
    line = replace(_sum_of(each, "buffers"), what="")
    return Derivation("Buffers, kept but not learned", f"{node.buffers:,}", (line,))


def _macs(node: LayerNode, own: Sequence[Line]) -> Derivation:
    plan = node.plan
    lines = [line for line in own if line.part == "multiply-adds"]
    if not lines or lines[-1].value != plan.macs:
        line = arithmetic.of_macs(plan, node.arriving)
        lines = [line] if line else []
    cost = node.layer.entry("Cost")
    if cost:
        lines.append(Line(note=f"{cost[:1].upper()}{cost[1:]}" if cost.split()[0].isalpha() else cost))
    if not plan.macs and not cost.startswith("nothing"):
        lines.append(Line(note="Only convolutions and products of matrices are counted."))
    return Derivation("Multiply-adds (MACs) of one sample, forward", f"{plan.macs:,}", tuple(lines))


def _memory(node: LayerNode) -> Derivation:
    title, shape = "Memory of the output, one sample", node.shape
    if node.plan.view:
        return Derivation(title, "none", (Line(note="It shows the values of its input in place.", part="memory"),))
    each = BYTES[shape.dtype]
    numbers = f"{arithmetic.product(shape) or 1} values * {each} byte{'s' if each > 1 else ''}"
    line = Line("", f"values * bytes of {_a(shape.dtype)}", numbers, shape.bytes, part="memory")
    return Derivation(title, _bytes(shape.bytes), (line,))


def _a(dtype: str) -> str:
    return {"float": "a float", "int": "an int", "bool": "a truth value"}[dtype]


def _bytes(count: int) -> str:
    return f"{count:,} bytes" + (f" ({bytes_text(count)})" if count >= 1000 else "")


def _remarks(node: LayerNode) -> Iterable[str]:
    """Yield remarks on shared, tied, frozen and initialized weights."""
    if node.owner:
        yield f"It runs the weights of `{node.owner}`, which are counted there; the multiply-adds are done again."
    if node.result:
        yield f"It is the {node.result} that `{node.inputs[0]}` ends in, one row for each layer and direction."
    if node.tied:
        yield f"It runs the weight of `{node.tied}`, which is counted there; only the bias is its own."
    if node.frozen and node.plan.weights:
        yield "It is frozen: training does not move its weights."
    if node.frozen_until is not None and node.plan.weights:
        yield f"It is frozen until {node.frozen_until}: training does not move its weights before."
    if node.values:
        names = " and ".join(f"`{name}`" for name in node.values)
        yield f"The spec gives the values of {names}."


# --- blocks and the whole network -----------------------------------------------------------------------------------


def _block(name: str, nodes: Sequence[LayerNode], graph: Graph) -> Explanation:
    within, last = {node.name for node in nodes}, nodes[-1]
    shapes = {**graph.inputs, **{node.name: node.shape for node in graph.nodes}}
    sources = dict.fromkeys(source for node in nodes for source in node.inputs if source not in within)
    return Explanation(
        name=name,
        kind=_layers(len(nodes)),
        derivations=(
            Derivation("Output", str(last.shape), (Line(note=f"That of `{last.name}`, the last one."),)),
            *_sums(nodes),
            _field([*_incoming(sources, graph), *growth(graph, last)], last.receptive_field, last.receptive_fields),
        ),
        figures=_figures(nodes, last.shape, last.receptive_field),
        mark=nodes[0].mark,
        arriving=tuple((source, shapes[source]) for source in sources),
        names=tuple(_inside([node.name for node in nodes], f"{name}/")),
    )


def _incoming(sources: Iterable[str], graph: Graph) -> Iterable[Line]:
    """Yield the receptive fields of the values that come into a block."""
    for source in sources:
        seen = graph.by_name[source].receptive_field if source in graph.by_name else None
        if isinstance(seen, ReceptiveField):
            yield Line(note=f"`{source}` comes in with {geometry(seen)}.")


def _network(graph: Graph) -> Explanation:
    several, lines = len(graph.receptive_fields) > 1, list[Line]()
    for name, last in graph.last_with_positions.items():
        of = f"Of `{name}`: that" if several else "That"
        where = f"{of} of `{last.name}`, the last layer with positions on the way to the output."
        lines += [Line(note=where), *growth(graph, last, name)]
    return Explanation(
        name="",
        kind=_layers(len(graph.nodes)),
        derivations=(*_sums(graph.nodes, graph.pruned), _field(lines, graph.receptive_field, graph.receptive_fields)),
        figures=_figures(graph.nodes, graph.output_shape(), graph.receptive_field),
        does=graph.name,
        arriving=tuple(graph.inputs.items()),
        names=tuple(_inside([node.name for node in graph.nodes], "")),
    )


def _layers(count: int) -> str:
    return f"{count:,} layer{'s' if count != 1 else ''}"


def _inside(names: Sequence[str], prefix: str) -> Iterable[tuple[str, int]]:
    """Return the layers and blocks directly below a prefix, each with its number of layers."""
    counted: dict[str, int] = {}
    for name in names:
        top = prefix + name.removeprefix(prefix).split("/")[0]
        counted[top] = counted.get(top, 0) + 1
    return counted.items()


def _sums(nodes: Sequence[LayerNode], pruned: int | None = None) -> list[Derivation]:
    """Derive the sums of parameters, multiply-adds and memory, each with its largest terms."""
    kinds: list[tuple[str, arithmetic.Figure, Callable[[LayerNode], int], Callable[[int], str]]] = [
        ("Parameters", "parameters", lambda node: node.params, "{:,}".format),
        ("Multiply-adds (MACs) of one sample, forward", "multiply-adds", lambda node: node.plan.macs, "{:,}".format),
        ("Memory of the outputs, one sample", "memory", lambda node: node.activation_bytes, _bytes),
    ]
    sums = [
        Derivation(title, text(sum(map(amount, nodes))), tuple(_largest({n.name: amount(n) for n in nodes}, part)))
        for title, part, amount, text in kinds
    ]
    frozen = sum(node.params for node in nodes if node.frozen)
    if frozen:
        total = sum(node.params for node in nodes)
        line = Line("trainable", "total - frozen", f"{total:,} - {frozen:,}", total - frozen, part="parameters")
        sums[0] = replace(sums[0], lines=(*sums[0].lines, line))
    return [replace(sums[0], lines=(*sums[0].lines, *_pruned(nodes, pruned))), *sums[1:]]


def _pruned(nodes: Sequence[LayerNode], known: int | None = None) -> list[Line]:
    """Return the line of what `prune` leaves of layers, `known` of the whole network; none where that is all."""
    counts = [node.pruned for node in nodes]
    if None in counts and known is None:
        return [Line(note="How much `prune` leaves of each is told by the magnitudes of all (`scope: global`).")]
    total, pruned = (
        sum(node.params for node in nodes),
        sum(count or 0 for count in counts) if known is None else known,
    )
    line = Line(
        "remaining", "total - pruned", f"{total:,} - {pruned:,}", total - pruned, "`prune` holds the others at zero."
    )
    return [replace(line, part="parameters")] if pruned else []


def _largest(amounts: Mapping[str, int], part: arithmetic.Figure) -> list[Line]:
    total = sum(amounts.values())
    ordered = sorted(((v, name) for name, v in amounts.items() if v), key=lambda each: -each[0])
    if not ordered:
        return [Line(note="None of its layers has any.", part=part)]
    first = ordered[:LARGEST]
    lines = [Line(name, "", f"{v:,}", v, f"({v / total:.1%})", part) for v, name in first]
    if len(ordered) == 1:
        return lines
    rest = total - sum(v for v, _ in first)
    others = len(ordered) - len(first)
    numbers = " + ".join(f"{v:,}" for v, _ in first) + (f" + {rest:,} of the others" if others else "")
    note = f"The others: {_layers(others)}." if others else ""
    return [*lines, Line("total", "", numbers, total, note, part)]


# --- shared helpers -------------------------------------------------------------------------------------------------


def _figures(nodes: Sequence[LayerNode], shape: Shape, seen: AnyReceptiveField) -> dict[str, Any]:
    """Return the figures of `inspect --json`."""
    return {
        "shape": list(shape),
        "params": sum(node.params for node in nodes),
        "buffers": sum(node.buffers for node in nodes),
        "macs": sum(node.plan.macs for node in nodes),
        "activation_bytes": sum(node.activation_bytes for node in nodes),
        "receptive_field": receptive_field_as_json(seen),
    }


def _field(lines: Sequence[Line], field: AnyReceptiveField, fields: Mapping[str, AnyReceptiveField]) -> Derivation:
    by_input = {name: _of_field(of) for name, of in fields.items()}
    figure = "; ".join(f"{name} {of}" for name, of in by_input.items()) if len(by_input) > 1 else _of_field(field)
    names = arithmetic.axis_names(len(field.size) + 1) if isinstance(field, ReceptiveField) else ()
    marked = [replace(line, part="receptive field") for line in lines]
    return Derivation("Receptive field", figure, tuple(_join_axes(marked, names)))


def _of_field(field: AnyReceptiveField) -> str:
    return field if isinstance(field, str) else seen_in_words(field).removeprefix("size ")


def _join_axes(lines: Sequence[Line], names: Sequence[str]) -> Iterable[Line]:
    """Join the equations of axes that differ in nothing but the axis, and label each by the names of its axes."""
    together: dict[Line, list[int]] = {}
    for line in lines:
        together.setdefault(replace(line, axes=()), []).extend(line.axes)
    for line, axes in together.items():
        called = _join_names([names[k] for k in axes]) if axes and line.value is not None else ""
        every = line.part == "receptive field" and len(axes) == len(names) - 1
        own = line.what and line.part == "output"
        what = line.what if every or own or not called else f"{line.what} ({called})" if line.what else called
        yield replace(line, what=what, axes=tuple(axes))


def _join_names(names: Sequence[str]) -> str:
    """Join names: `depth, height and width`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _as_json(line: Line) -> dict[str, Any]:
    return {
        "part": line.part,
        "what": line.what,
        "axes": list(line.axes),
        "formula": line.formula,
        "numbers": line.expression,
        "value": _number(line.value),
        "note": line.note,
    }


def _number(value: Number | None) -> int | float | None:
    return value if value is None or isinstance(value, int) else float(value)
