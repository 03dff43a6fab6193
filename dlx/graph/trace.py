"""An experiment to its graph: the inputs, the walk, the outputs, what is frozen; every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from keyword import iskeyword

from ..data import Facts
from ..errors import DataError, Mark, Problem, SpecError, did_you_mean
from ..shapes import BYTES, Shape
from ..spec import Experiment
from ..spec.expressions import resolve
from ..spec.located import Node
from ..spec.validation import shown, unknown_keys
from . import reach
from .expand import Expander, TooLarge
from .graph import Graph, LayerNode, Wire
from .place import Placer, Problems
from .scope import Names, Scope


def trace(experiment: Experiment, inputs: Mapping[str, Shape] | None = None) -> Graph:
    """The graph of a spec, for the inputs it names or for those given. SpecError with every mistake of the whole spec."""
    problems = Problems(experiment.problems)
    network = experiment.network
    told: list[Problem] = []
    unknown_keys(network, ("inputs", "layers", "outputs"), "network", "`network`", told)
    if not network.is_map:
        told.append(Problem("`network` is a mapping with `layers`", "", network.mark, "network"))
    facts = _facts(experiment, told)
    shapes = dict(inputs or {}) or _inputs(experiment, facts, told)
    for problem in told:
        problems.add(problem)
    placer = Placer(problems, experiment.vars, _given_names(network))
    last = _walk(experiment, placer, shapes)
    outputs = _outputs(experiment, placer, last)
    _freeze(experiment, placer, problems)
    _check_objective(experiment, facts, placer, outputs, problems)
    if problems.found:
        raise SpecError(*sorted(problems.found, key=_in_file_order))
    _warn_unused(placer, outputs)
    return Graph(experiment.name, shapes, tuple(placer.nodes), outputs, tuple(placer.warnings))


def _in_file_order(problem: Problem) -> tuple[str, int, int]:
    mark = problem.mark or Mark("")
    return (mark.file, mark.line, mark.column)


def _facts(experiment: Experiment, problems: list[Problem]) -> Facts | None:
    if experiment.data is None:
        return None
    try:
        return experiment.data.facts()
    except DataError as error:
        mark = experiment.place("data", experiment.data.kind)
        problems += [Problem(p.message, p.hint, p.mark or mark, p.path or f"data.{experiment.data.kind}") for p in error.problems]
        return None


def _inputs(experiment: Experiment, facts: Facts | None, problems: list[Problem]) -> dict[str, Shape]:
    node = experiment.network.at("inputs")
    if node is None:
        if facts is None:
            if experiment.data is None and not any(p.path.startswith("data") for p in (*experiment.problems, *problems)):
                hint = "Write `inputs: {image: [3, 224, 224]}` under `network`, or name the `data`."
                problems.append(Problem("the network has no inputs", hint, experiment.network.mark, "network.inputs"))
            return {}
        return {"input": facts.input}

    def failed(error: object, at: Node) -> None:
        problems.append(Problem(str(error), getattr(error, "hint", ""), at.mark, "network.inputs"))

    node = resolve(node, experiment.vars, failed)
    named = node.map if node.is_map else {"input": node}
    shapes: dict[str, Shape] = {}
    for name, given in named.items():
        if (shape := _shape(name, given, problems)) is not None:
            shapes[name] = shape
    _compare_with_data(facts, shapes, node.mark, problems)
    return shapes


def _shape(name: str, node: Node, problems: list[Problem]) -> Shape | None:
    path = f"network.inputs.{name}"
    if not name.isidentifier() or iskeyword(name) or name in {"prev", "self"}:
        hint = "Letters, digits and `_`; no word of Python's."
        problems.append(Problem(f"an input cannot be called `{name}`", hint, node.mark, path))
    axes, dtype = (node.map.get("shape"), node.map.get("dtype")) if node.is_map else (node, None)
    kind = dtype.value if dtype is not None else "float"
    if kind not in BYTES:
        problems.append(Problem(f"`dtype` must be float, int or bool, not {shown(kind)}", "", node.mark, path))
        return None
    values = axes.plain() if axes is not None else None
    values = [values] if isinstance(values, int) and not isinstance(values, bool) else values
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values)
    ):
        hint = "Channels first, without the batch: [3, 224, 224]."
        problems.append(Problem(f"the shape of `{name}` must be whole numbers above 0, not {shown(values)}", hint, node.mark, path))
        return None
    return Shape(values, str(kind))


def _compare_with_data(facts: Facts | None, shapes: Mapping[str, Shape], mark: Mark, problems: list[Problem]) -> None:
    if facts is None or len(shapes) != 1:
        return
    (name, shape), *_ = shapes.items()
    if tuple(shape) != tuple(facts.input):
        message = f"`inputs` says {shape} for `{name}`, and the data gives {facts.input}"
        problems.append(Problem(message, "Leave `inputs` out: the data gives the shape.", mark, "network.inputs"))


def _given_names(network: Node) -> dict[str, Mark]:
    """Every name that an entry gives itself, at any depth."""
    names: dict[str, Mark] = {}
    for node in network.walk():
        name = node.map.get("name")
        if name is not None and isinstance(name.value, str):
            names.setdefault(name.value, name.mark)
    return names


def _walk(experiment: Experiment, placer: Placer, shapes: Mapping[str, Shape]) -> Wire:
    wires = {
        name: Wire(name, shape, reach.of_input(shape), positions=len(shape) > 1, raw=True)
        for name, shape in shapes.items()
    }
    mark = experiment.network.mark
    for name in wires:
        node = experiment.network.at("inputs", name)
        placer.marks[name] = node.mark if node is not None else Mark(mark.file)
    first = next(iter(wires.values()), Wire("input", None, None, positions=False))
    layers = experiment.network.at("layers")
    if layers is None or not layers.is_list:
        if experiment.root.at("network") is not None:
            message = "`network` has no `layers`" if layers is None else "`layers` is a list"
            at = layers.mark if layers is not None else mark
            placer.problems.add(Problem(message, "Start each layer with `- `.", at, "network.layers"))
        return first
    names = Names(wires=dict(wires), lines={name: placer.marks[name].line for name in wires})
    scope = Scope(experiment.vars, names, first)
    try:
        last = Expander(placer, experiment.blocks).run(layers, scope, first)
    except TooLarge:
        return first
    placer.top = scope.names
    return last


def _outputs(experiment: Experiment, placer: Placer, last: Wire) -> dict[str, str]:
    node = experiment.network.at("outputs")
    if node is None:
        return {"output": last.name}
    named = node.map if node.is_map else {"output": node}
    outputs = {}
    for name, ref in named.items():
        wire = placer.top.find(ref.value) if isinstance(ref.value, str) else None
        if wire is None:
            message = f"the output `{name}` is {shown(ref.plain())}, which is no node"
            hint = did_you_mean(str(ref.value), placer.top.visible())
            placer.problems.add(Problem(message, hint, ref.mark, f"network.outputs.{name}"))
        else:
            outputs[name] = wire.name
    return outputs


def _freeze(experiment: Experiment, placer: Placer, problems: Problems) -> None:
    for pattern in experiment.freeze:
        text = str(pattern.value)
        hits = [n for n in placer.nodes if fnmatchcase(n.name, text) or fnmatchcase(n.name, f"{text}/*")]
        if not hits and not problems.found:
            hint = did_you_mean(text, [n.name for n in placer.nodes])
            problems.add(Problem(f"`freeze` matches no node: {shown(text)}", hint, pattern.mark, "freeze"))
        for node in hits:
            node.frozen = True
    _share_frozen(placer.nodes, placer.by_name)


def _share_frozen(nodes: list[LayerNode], by_name: Mapping[str, LayerNode]) -> None:
    """Weights that are shared are frozen with their owner."""
    for node in nodes:
        if node.owner and node.frozen:
            by_name[node.owner].frozen = True


def _check_objective(
    experiment: Experiment, facts: Facts | None, placer: Placer, outputs: Mapping[str, str], problems: Problems
) -> None:
    """Classes of the data against outputs of the network."""
    if experiment.objective is None or facts is None or not outputs:
        return
    name, last = next(iter(outputs.items()))
    node = placer.by_name.get(last)
    problem = experiment.objective.check(node.shape, facts) if node is not None else None
    if node is not None and problem is not None:
        problems.add(Problem(problem.message, problem.hint, node.mark, f"network.layers.{node.name}"))


def _warn_unused(placer: Placer, outputs: Mapping[str, str]) -> None:
    """Nodes that no output depends on."""
    used = set(outputs.values())
    for node in reversed(placer.nodes):
        if node.name in used:
            used.update(node.inputs)
        else:
            message = f"`{node.name}` leads to no output"
            placer.warnings.append(Problem(message, "", node.mark, f"network.layers.{node.name}"))


def input_shape(experiment: Experiment, text: str) -> dict[str, Shape]:
    """`3x512x512` as the shape of the network's one input. SpecError where it is not a shape."""
    parts = text.lower().split("x")
    if not all(p.isdigit() and int(p) > 0 for p in parts):
        raise SpecError(Problem(f"`--input {text}` is not a shape", "Write it as 3x512x512.", Mark("--input")))
    node = experiment.network.at("inputs")
    names = list(node.map) if node is not None and node.is_map else ["input"]
    if len(names) > 1:
        raise SpecError(Problem(f"the network has {len(names)} inputs", "Change them in the spec.", Mark("--input")))
    return {names[0]: Shape([int(p) for p in parts])}


def find(graph: Graph, name: str) -> LayerNode:
    """The node called `name`. SpecError with the nearest names where there is none."""
    if name not in graph.by_name:
        raise SpecError(Problem(f"there is no layer `{name}`", did_you_mean(name, graph.by_name), Mark("--layer")))
    return graph.by_name[name]
