"""An experiment to its graph: the inputs, the walk, the outputs, what is frozen; every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from ..data import Dataset, Facts
from ..data.reading import ONE_LABEL, SEVERAL_LABELS
from ..errors import Mark, Problem, SpecError, did_you_mean
from ..init import named
from ..objectives import Objective, implied
from ..shapes import Shape
from ..spec import Experiment
from ..spec.located import Node
from ..spec.validation import meant_by, shown, unknown_keys
from . import expect, reach
from .expand import Expander, TooLarge
from .graph import Graph, LayerNode, Wire
from .inputs import facts_of, of_data, shapes_of
from .place import Placer, Problems
from .scope import Names, Scope

FREEZE = "freeze"
"""The path of warnings about what is frozen."""
BATCH_NORMS = frozenset({"batch_norm", "book_batch_norm", "ghost_batch_norm", "batch_renorm"})
NOT_HELD = "Statistics that are held come later; `frozen_batch_norm` has those that `values` gives it."


def trace(experiment: Experiment, inputs: Mapping[str, Shape] | None = None) -> Graph:
    """The graph of a spec, for the inputs it names or for those given. SpecError with every mistake of the spec."""
    problems = Problems(experiment.problems)
    network = experiment.network
    told: list[Problem] = []
    unknown_keys(network, ("inputs", "layers", "outputs"), "network", "`network`", told)
    if not network.is_map:
        message = f"`network` must be a mapping with `layers`, not {shown(network.plain())}"
        told.append(Problem(message, "Write `network: {layers: [...]}`.", network.mark, "network"))
    facts = facts_of(experiment, told)
    shapes = dict(inputs or {}) or shapes_of(experiment, facts, told)
    for problem in (*told, *expect.misread(experiment)):
        problems.add(problem)
    placer = Placer(problems, experiment.vars, {name: mark for name, (mark, _) in _named(network, "name").items()})
    placer.shares = {name: text for name, (_, text) in _named(network, "share").items()}
    clean = len(problems.found)
    last = _walk(experiment, placer, shapes)
    _freeze(experiment, placer, clean == len(problems.found))
    _check_init(experiment, placer, clean == len(problems.found))
    outputs = _outputs(experiment, placer, last)
    _check_objective(experiment, facts, placer, outputs, problems)
    if not placer.nodes and not problems.found:
        problems.add(_nothing_to_do(experiment))
    if problems.found:
        raise SpecError(*sorted(problems.found, key=_in_file_order))
    assert all(name in placer.by_name or name in shapes for name in outputs.values()), "a mistake was not told"
    for warning in reach.set_fields(shapes, placer.nodes, placer.channels):
        placer.warned.add(warning)
    _warn_unused(placer, outputs)
    _warn_of_data(experiment, facts, placer)
    warnings = sorted(placer.warned.found, key=_in_file_order)
    columns = facts.columns if facts is not None else ()
    channels = reach.positions_of(shapes, placer.channels)
    return Graph(experiment.name, shapes, tuple(placer.nodes), outputs, tuple(warnings), columns, channels)


def _in_file_order(problem: Problem) -> tuple[bool, str, int, int]:
    """Overrides, which have no line, before files."""
    mark = problem.mark or Mark("")
    return (mark.line > 0, mark.file, mark.line, mark.column)


def _warn_of_data(experiment: Experiment, facts: Facts | None, placer: Placer) -> None:
    """Pass on the warnings about how the data is read."""
    if facts is not None and experiment.data is not None:
        for problem in facts.warnings:
            placer.warned.add(of_data(problem, experiment, experiment.data))


def _named(network: Node, key: str) -> dict[str, tuple[Mark, str]]:
    """Every entry that gives itself a name, at any depth: where it does, and the word that it has at `key`."""
    found: dict[str, tuple[Mark, str]] = {}
    for node in network.walk():
        name, word = node.map.get("name"), node.map.get(key)
        if name is not None and word is not None and isinstance(name.value, str) and isinstance(word.value, str):
            found.setdefault(name.value, (name.mark, word.value))
    return found


def _walk(experiment: Experiment, placer: Placer, shapes: Mapping[str, Shape]) -> Wire:
    wires = {name: Wire(name, shape, reach.of_input(name, shape), raw=True) for name, shape in shapes.items()}
    mark = experiment.network.mark
    for name in wires:
        node = experiment.network.at("inputs", name) or experiment.network.at("inputs") or experiment.root.at("data")
        placer.marks[name] = node.mark if node is not None else Mark(mark.file)
    first = next(iter(wires.values()), Wire("input", None))
    layers = experiment.network.at("layers")
    if layers is None or not layers.is_list:
        _no_layers(experiment.root.at("network"), layers, placer.problems)
        return first
    names = Names(wires=dict(wires), lines={name: placer.marks[name].line for name in wires})
    scope = Scope(experiment.vars, names, first)
    try:
        placer.top = scope.names
        return Expander(placer, experiment.blocks).run(layers, scope, first)
    except TooLarge:
        placer.cut = True
        return first


def _no_layers(network: Node | None, layers: Node | None, problems: Problems) -> None:
    """Say that there are none, where no other sentence says as much."""
    if network is None or not network.is_map or (layers is None and "layers" in meant_by(network.map, ("layers",))):
        return
    message = (
        "`network` has no `layers`" if layers is None else f"`layers` must be a list, not {shown(layers.plain())}"
    )
    mark = layers.mark if layers is not None else network.mark
    problems.add(Problem(message, "Start each layer with `- `.", mark, "network.layers"))


def _nothing_to_do(experiment: Experiment) -> Problem:
    """The sentence about a network that has no layer in the end."""
    layers = experiment.network.at("layers")
    assert layers is not None
    if not layers.list:
        return Problem("the network has no layer", "Write one: `- linear: 10`.", layers.mark, "network.layers")
    hint = "Is a `when` false, or `times` 0? An `identity` hands its input on."
    return Problem("all layers of the network are left out", hint, layers.mark, "network.layers")


def _outputs(experiment: Experiment, placer: Placer, last: Wire) -> dict[str, str]:
    node = experiment.network.at("outputs")
    if node is None or placer.cut:
        return {"output": last.name}
    named = {str(item.value): item for item in node.list} if node.is_list else node.map if node.is_map else {"": node}
    if not named:
        message = "`outputs` names no node"
        placer.problems.add(Problem(message, "Drop it: then it is the last layer.", node.mark, "network.outputs"))
    outputs = {}
    for name, ref in named.items():
        if placer.problems.full:
            break
        wire = placer.top.find(ref.value) if isinstance(ref.value, str) else None
        if wire is not None:
            outputs[name or "output"] = wire.name
            continue
        what, path = (
            (f"the output `{name}`", f"network.outputs.{name}") if name else ("the output", "network.outputs")
        )
        message = f"{what} must be the name of a node, and {shown(ref.plain())} is none"
        hint = did_you_mean(str(ref.value), placer.top.visible()) if isinstance(ref.value, str) else ""
        placer.problems.add(Problem(message, hint or "Write `outputs: {main: fc, aux: aux_fc}`.", ref.mark, path))
    return outputs


def _freeze(experiment: Experiment, placer: Placer, clean: bool) -> None:
    """Freeze what the patterns match; after a walk with mistakes, numbered and inner names may be missing."""
    names = {*placer.marks, *placer.top.visible()}
    for pattern in experiment.freeze:
        if placer.problems.full:
            break
        text = str(pattern.value)
        hits = [n for n in placer.nodes if fnmatchcase(n.name, text) or fnmatchcase(n.name, f"{text}/*")]
        sure = clean or not (placer.cut or "/" in text or text[-1:].isdigit())
        if sure and not hits and not any(fnmatchcase(name, text) for name in names):
            hint = did_you_mean(text, [n.name for n in placer.nodes])
            placer.problems.add(Problem(f"`freeze` matches no node: {shown(text)}", hint, pattern.mark, "freeze"))
        for node in hits:
            node.frozen = True
        if moving := [n.name for n in hits if n.kind in BATCH_NORMS]:
            placer.warned.add(Problem(_statistics_move(moving), NOT_HELD, pattern.mark, FREEZE))
    _share_frozen(placer.nodes, placer.by_name)


def _statistics_move(names: list[str]) -> str:
    shown_names = ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
    return (
        f"it holds the scale and shift of {shown_names}, and the running statistics follow the batches all the same"
    )


def _check_init(experiment: Experiment, placer: Placer, clean: bool) -> None:
    """Patterns of `init` that match no node whose weights an initialiser draws."""
    drawn = [n.name for n in placer.nodes if not n.owner and any(len(w) > 1 for w in n.plan.weights.values())]
    keys = ("init", experiment.init.kind, "match")
    for pattern in experiment.init.patterns():
        sure = clean or not (placer.cut or "/" in pattern or pattern[-1:].isdigit())
        if sure and not any(named(name, pattern) for name in drawn):
            other = any(named(node.name, pattern) for node in placer.nodes)
            norms = "Norms keep their ones and zeros: `values: {weight: 0}` beside one sets its scale."
            hint = norms if other else did_you_mean(pattern, drawn)
            message = f"`init` matches no node with weights to draw: {shown(pattern)}"
            placer.problems.add(Problem(message, hint, experiment.place(*keys, pattern), ".".join((*keys, pattern))))


def _share_frozen(nodes: list[LayerNode], by_name: Mapping[str, LayerNode]) -> None:
    """Weights that are shared are frozen with their owner."""
    for node in nodes:
        if node.owner and node.frozen:
            by_name[node.owner].frozen = True


def _check_objective(
    experiment: Experiment, facts: Facts | None, placer: Placer, outputs: Mapping[str, str], problems: Problems
) -> None:
    """Classes of the data against outputs of the network; data implies an objective where the spec has none."""
    wrong = experiment.objective is None and experiment.root.at("objective") is not None
    if wrong or facts is None or not outputs or placer.cut or experiment.root.at("network", "layers") is None:
        return
    objective = experiment.objective or implied(facts)
    for name, problem in objective.misnamed(outputs).items():
        keys = ("objective", objective.kind, "aux", name)
        problems.add(replace(problem, mark=experiment.place(*keys), path=".".join(keys)))
    for last in dict.fromkeys(outputs[name] for name in objective.trained(outputs)):
        node, wire = placer.by_name.get(last), placer.top.find(last)
        shape = node.shape if node is not None else wire.shape if wire is not None else None
        found = objective.check(shape, facts) if shape is not None else None
        found = _about_labels(found, objective, facts, experiment.data)
        if found is not None:
            mark, path = (
                (node.mark, f"layers.{node.name}") if node is not None else (experiment.place("network"), "outputs")
            )
            problems.add(replace(found, mark=mark, path=f"network.{path}"))
        elif node is not None and (odd := objective.squashed(node.kind)) is not None:
            placer.warned.add(replace(odd, mark=node.mark, path=f"network.layers.{node.name}"))


def _about_labels(found: Problem | None, objective: Objective, facts: Facts, data: Dataset | None) -> Problem | None:
    """The way out where classes are wanted and the data has values that may be labels."""
    if found is None or objective.measures != "classes" or facts.classes is not None or facts.target is None:
        return found
    if data is None or "task" not in type(data).model_fields:
        return found
    hint = ONE_LABEL if tuple(facts.target) == (1,) else SEVERAL_LABELS
    return replace(found, hint=f"{found.hint} {hint}".strip())


def _warn_unused(placer: Placer, outputs: Mapping[str, str]) -> None:
    """Nodes that no output depends on."""
    used = set(outputs.values())
    for node in reversed(placer.nodes):
        if node.name in used:
            used.update(node.inputs)
        else:
            message = f"`{node.name}` leads to no output"
            placer.warned.add(Problem(message, "", node.mark, f"network.layers.{node.name}"), "leads to no output")


def find(graph: Graph, name: str) -> LayerNode:
    """The node called `name`. SpecError with the nearest names where there is none."""
    if name not in graph.by_name:
        raise SpecError(Problem(f"there is no layer `{name}`", did_you_mean(name, graph.by_name), Mark("--layer")))
    return graph.by_name[name]
