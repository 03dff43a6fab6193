"""From an experiment to its graphs: inputs, layers, outputs, frozen nodes; every mistake of the spec at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..init import named
from ..shapes import Shape
from ..spec import Experiment
from ..spec.section_names import section_meant
from ..spec.sections.networks import ONE
from ..spec.syntax.read import Node
from ..spec.validation import closest_matches, shown, unknown_keys
from . import claimed_metrics, expect, no_effect, oddities, unused
from .borrowed import set_apart
from .expansion import data_facts
from .expansion.dormant import Dormant
from .expansion.expand import Expander
from .expansion.lenders import Beside, Lender, beside, shares_others
from .expansion.limits import TooLarge, Usage
from .expansion.place import Placer
from .expansion.problems import Problems
from .expansion.results import result_of
from .expansion.scope import Names, Scope
from .graph import Graph, Wire
from .graphs import Graphs
from .inputs import INSTEAD, facts_of, fields_of, of_data, shapes_of, source_shapes, text_inputs
from .phase_plan import PhasePlan, known_examples, known_span, phase_plans
from .receptive_field import propagation
from .unmasked import unmasked
from .values_used import with_values
from .walk import Walk, check_init, check_prune, freeze, keep_still

if TYPE_CHECKING:
    from ..data import Facts
    from .call_checks import Networks


def trace_training(experiment: Experiment, inputs: Mapping[str, Mapping[str, Shape]] | None = None) -> Graphs:
    """Return the graphs of all networks of one training, for their own inputs or for `inputs`, by network.

    Of a spec with stages it is the last one. Errors: SpecError with every mistake, in the order of the file.
    """
    experiment.use_plugins()
    problems = Problems(experiment.problems)
    of_sections: list[Problem] = []
    views = experiment.views()
    for view in views.values():
        of_sections += _check_keys(view)
    facts = facts_of(experiment, of_sections)
    shapes = {
        name: dict((inputs or {}).get(name) or _shapes_of(experiment, view, facts, of_sections))
        for name, view in views.items()
    }
    # a network of an earlier stage with mistakes has no shapes, and its mistakes are in no section of this one
    of_sections += [problem for source in experiment.sources.values() for problem in source.experiment.problems]
    of_sections += [*claimed_metrics.problems(experiment, facts), *unused.mistakes(experiment)]
    for problem in (*of_sections, *expect.misread(experiment)):
        problems.add(problem)
    usage = Usage()  # one for all networks: the limits bound the work on a spec, not on each of its networks
    walks: dict[str, Walk] = {}
    for name, view in views.items():
        walks[name] = _walk_network(view, problems, shapes[name], usage, facts, _beside(experiment, view, walks))
    _check_dormant(experiment, walks, usage, problems)
    freeze(experiment, list(walks.values()), problems)
    keep_still(experiment, walks)
    check_init(experiment, list(walks.values()), problems)
    still = experiment.sources.keys() | experiment.followers.keys()
    check_prune(experiment, [walk for name, walk in walks.items() if name not in still], problems)
    for walk in walks.values():
        walk.outputs = _outputs(walk.experiment, walk.placer, walk.last)
    if not experiment.networks:
        _check_outputs(experiment, facts, walks[ONE], problems)
    phases = _check_calls(experiment, facts, walks, problems)
    _check_samples(experiment, facts, problems)
    for walk in walks.values():
        # Where there are other problems, they may be why no layer is left
        if not walk.placer.nodes and (_is_list(walk) if experiment.networks else not problems.found):
            problems.add(_no_nodes(walk.experiment))
    if problems.found:
        # Sections are checked in another order than that of the file, in which a user reads them
        lost = {name for view in views.values() if view.network.at("vars") for name in view.network.map["vars"].map}
        follows = {f"there is no variable `{name}` here" for name in lost}  # `vars` that stands inside a network
        found = [problem for problem in problems.found if problem.message not in follows]
        raise SpecError(*sorted(with_values(found, experiment), key=in_file_order))
    warned = Problems()
    examples = known_examples(experiment, facts)
    span = known_span(experiment, examples, phases)
    for note in (*unused.warnings(experiment), *no_effect.warnings(experiment, span, examples)):
        next(iter(walks.values())).placer.warned.add(note)
    graphs = {name: _graph(walk, facts, warned) for name, walk in walks.items()}
    sources = {name: source.as_json() for name, source in experiment.sources.items()}
    warnings = tuple(sorted(warned.found, key=in_file_order))
    of = {name: experiment.root.at("networks", name, "copy") for name in experiment.networks}
    copies = {name: str(node.value) for name, node in of.items() if node is not None}
    whole = Graphs(experiment.name, graphs, warnings, experiment.plugins, sources=sources, phases=phases)
    return _with_parameters(replace(whole, copies=copies, followers=experiment.followers), experiment, facts)


def _with_parameters(graphs: Graphs, experiment: Experiment, facts: Facts | None) -> Graphs:
    """Return the graphs with the parameters of the objective, of which one network has them, or all together."""
    if (objective := experiment.objective) is None:
        return graphs
    from ..objectives.learned import shapes  # not at the top: many specs have no objective

    sizes = shapes(objective if facts is None else objective.informed(facts.fields, graphs.ports))
    found = {name: prod(size) for name, size in sizes.items()}
    graphs = replace(graphs, objective=objective.kind, shapes_of_objective=sizes)
    matching = {name: [one for one in experiment.freeze if named(name, one.text)] for name in found}
    frozen = {name: hits[0].until for name, hits in matching.items() if hits}
    if not graphs.is_one:
        return replace(graphs, of_objective=found, frozen_of_objective=frozen)
    one = replace(graphs.one, of_objective=found, frozen_of_objective=frozen)
    return replace(graphs, networks={ONE: one})


def _shapes_of(
    experiment: Experiment, view: Experiment, facts: Facts | None, problems: list[Problem]
) -> dict[str, Shape]:
    """Return the input shapes of a network: its own, or those that it has where it comes from."""
    if (source := experiment.sources.get(view.scope)) is None:
        return shapes_of(view, facts, problems)
    return source_shapes(source)


def _check_keys(experiment: Experiment) -> Iterator[Problem]:
    """Yield the mistakes in the keys of a network."""
    found: list[Problem] = []
    network, path = experiment.network, ".".join(experiment.where)
    if not INSTEAD & network.map.keys():  # one that is none is told by itself
        follow = ("follow",) if experiment.scope else ()  # which is no such key of a network without `copy`: told so
        keys = ("inputs", "layers", "outputs", *follow)
        unknown_keys(network, keys, path, f"`{path}`", found, lambda key: section_meant(key, network.map[key].mark))
    yield from found
    if not network.is_map:
        message = f"`{path}` must be a mapping with `layers`, not {shown(network.plain())}"
        yield Problem(message, f"Write `{experiment.where[-1]}: {{layers: [...]}}`.", network.mark, path)


def _beside(experiment: Experiment, view: Experiment, walks: Mapping[str, Walk]) -> Beside:
    """Return what a network may share with those that were walked before it, or with those it was taken out of."""
    lenders = {name: Lender(name, one.placer, one.clean) for name, one in walks.items()}
    if view.within is None:
        return beside(experiment, view.scope, lenders)
    whole, own = view.within
    if not shares_others(view, whole.networks):
        return Beside(apart=True)
    known = view.known_facts or facts_of(whole, [])
    of_data = {} if known is None else {name: one.shape for name, one in known.inputs.items()}
    above: dict[str, Walk] = {}
    for name, other in whole.views().items():
        if name == own:
            break
        shapes = shapes_of(other, known, []) if other.network.at("inputs") is not None else of_data
        above[name] = _walk_network(other, Problems(), shapes, Usage(), known, _beside(whole, other, above))
    lenders = {name: Lender(name, walk.placer, walk.clean) for name, walk in above.items()}
    return replace(beside(whole, own, lenders), apart=True)


def _walk_network(
    view: Experiment,
    problems: Problems,
    shapes: Mapping[str, Shape],
    usage: Usage,
    facts: Facts | None,
    around: Beside,
) -> Walk:
    """Walk the layers of a network from top to bottom; mistakes are added to `problems`."""
    names = {name: mark for name, (mark, _) in _named_entries(view.network, "name").items()}
    # data with a mistake is there: what it would have been is not missed a second time
    there = view.data is not None or any(one.path.partition(".")[0] == "data" for one in view.problems)
    said = facts or view.known_facts
    known = {data_facts.NAME: data_facts.DataFacts(said, there, text_inputs(view, said, shapes)), **view.vars}
    placer = Placer(problems, known, names, ".".join(view.where))
    placer.other_networks, placer.lenders, placer.not_lending = around.marks, around.lenders, around.not_lending
    if there and said is None and not shapes:
        placer.unread_inputs = _inputs_of_data(view)
    placer.shares = {name: text for name, (_, text) in _named_entries(view.network, "share").items()}
    before = len(problems.found)
    walk = Walk(view, placer, shapes, f"{view.scope}/" if view.scope else "")
    walk.last = _walk_layers(view, placer, shapes, usage)
    walk.clean = before == len(problems.found) and not placer.incomplete
    if around.apart:
        set_apart(placer.nodes)
    return walk


def _check_dormant(experiment: Experiment, walks: Mapping[str, Walk], usage: Usage, problems: Problems) -> None:
    """Check the words of the entries that ran in no network of this spec."""
    if usage.exceeded or problems.full:
        return
    own = [walk for name, walk in walks.items() if name not in experiment.sources]
    inputs = {name for walk in own for name in walk.shapes}
    known = {*experiment.vars, *inputs, *(walk.experiment.scope for walk in own)}
    lists = [(n, f"{walk.placer.path}.layers") for walk in own if (n := walk.experiment.network.at("layers"))]
    Dormant(experiment.blocks, usage.ran, known, problems).check(lists)


def _inputs_of_data(view: Experiment) -> frozenset[str]:
    """Return the names of the inputs that the section `data` writes, where its facts are not known."""
    data = view.root.at("data")
    sections = data.map.values() if data is not None and data.is_map else ()
    named = [node for one in sections if one.is_map and (node := one.at("inputs")) is not None and node.is_map]
    return frozenset(name for node in named for name in node.map)


def _is_list(walk: Walk) -> bool:
    """Whether a network has a list of layers, without a mistake."""
    layers = walk.experiment.network.at("layers")
    return walk.clean and bool(walk.shapes) and layers is not None and layers.is_list


def _graph(walk: Walk, facts: Facts | None, warned: Problems) -> Graph:
    """Build the graph of a network without mistakes; its warnings are added to `warned` too."""
    experiment, placer, shapes, outputs = walk.experiment, walk.placer, walk.shapes, walk.outputs
    assert all(name in placer.by_name or name in shapes for name in outputs.values()), "a mistake was not reported"
    # Only now: which axis of an input holds its channels is learned from the layers that read it
    for warning in propagation.set_receptive_fields(shapes, placer.nodes, placer.channel_axes):
        placer.warned.add(replace(warning, path=f"{placer.path}.{warning.path}"))
    oddities.warn(placer, outputs, shapes, experiment)
    for note in unmasked(experiment, placer, text_inputs(experiment, facts, shapes)):
        placer.warned.add(note)
    _warn_of_data(experiment, facts, placer)
    warnings = sorted(placer.warned.found, key=in_file_order)
    for warning in warnings:
        warned.add(warning)
    columns = facts.columns if facts is not None else ()
    channel_axes = propagation.with_defaults(shapes, placer.channel_axes)
    fields, nodes = fields_of(experiment, facts, shapes), tuple(placer.nodes)
    graph = Graph(experiment.name, shapes, nodes, outputs, tuple(warnings), columns, channel_axes, fields)
    pruned = 0
    if experiment.prune is not None:
        from .pruning import mark_pruned  # not at the top: pydantic builds classes that few specs need

        pruned = mark_pruned(graph, experiment.prune, walk.prefix)
    return replace(graph, pruned=pruned)


def in_file_order(problem: Problem) -> tuple[bool, str, int, int, int]:
    """Return the sort key of problems: overrides, which have no line, come before files."""
    mark = problem.mark or Mark("")
    return (mark.line > 0, mark.file, *mark.place)


def _warn_of_data(experiment: Experiment, facts: Facts | None, placer: Placer) -> None:
    """Add the warnings about the reading of the data."""
    if facts is not None and experiment.data is not None:
        from ..data.file_reading import SEVERAL_LABELS  # not at the top: many specs have no data

        learned = getattr(experiment.objective, "measures", "")
        for problem in facts.warnings:
            if learned == "labels" and problem.hint == SEVERAL_LABELS:
                continue  # which is what the objective learns
            placer.warned.add(of_data(problem, experiment, experiment.data))


def _named_entries(network: Node, key: str) -> dict[str, tuple[Mark, str]]:
    """Return every entry that has a `name`, at any depth: the mark of the name, and the value at `key`."""
    found: dict[str, tuple[Mark, str]] = {}
    for node in network.walk():
        name, word = node.map.get("name"), node.map.get(key)
        if name is not None and word is not None and isinstance(name.value, str) and isinstance(word.value, str):
            found.setdefault(name.value, (name.mark, word.value))
    return found


def _walk_layers(experiment: Experiment, placer: Placer, shapes: Mapping[str, Shape], usage: Usage) -> Wire:
    wires = {
        name: Wire(name, shape, propagation.of_input(name, shape), is_input=True) for name, shape in shapes.items()
    }
    mark = experiment.network.mark
    for name in wires:
        node = experiment.network.at("inputs", name) or experiment.network.at("inputs") or experiment.root.at("data")
        placer.marks[name] = node.mark if node is not None else Mark(mark.file)
    first = next(iter(wires.values()), Wire("input", None))
    layers = experiment.network.at("layers")
    if layers is None or not layers.is_list:
        _no_layers(experiment, layers, placer.problems)
        return first
    names = Names(wires=dict(wires), marks={name: placer.marks[name] for name in wires})
    scope = Scope(placer.globals, names, first)
    placer.top = scope.names
    if not usage.exceeded:
        try:
            return Expander(placer, experiment.blocks, usage).run(layers, scope, first)
        except TooLarge:
            usage.exceeded = True
    placer.incomplete = True
    return first


def _no_layers(experiment: Experiment, layers: Node | None, problems: Problems) -> None:
    """Add the problem that a network has no layers, unless another problem says so already."""
    network, path = experiment.root.at(*experiment.where), ".".join(experiment.where)
    if (
        network is None
        or not network.is_map
        or (layers is None and "layers" in closest_matches(network.map, ("layers",)))
    ):
        return
    if experiment.scope and layers is None and INSTEAD & network.map.keys():
        return
    message = (
        f"`{path}` has no `layers`" if layers is None else f"`layers` must be a list, not {shown(layers.plain())}"
    )
    mark = layers.mark if layers is not None else network.mark
    problems.add(Problem(message, "Start each layer with `- `.", mark, f"{path}.layers"))


def _no_nodes(experiment: Experiment) -> Problem:
    """Return the problem of a network that has no layer after expansion."""
    layers = experiment.network.at("layers")
    assert layers is not None
    path = ".".join((*experiment.where, "layers"))
    if not layers.list:
        return Problem("the network has no layer", "Write one: `- linear: 10`.", layers.mark, path)
    hint = "Is a `when` false, or `times` 0? An `identity` hands its input on."
    return Problem("all layers of the network are left out", hint, layers.mark, path)


def _outputs(experiment: Experiment, placer: Placer, last: Wire) -> dict[str, str]:
    node = experiment.network.at("outputs")
    if node is None or placer.incomplete:
        return {"output": last.name}
    where = ".".join((*experiment.where, "outputs"))
    named = {str(item.value): item for item in node.list} if node.is_list else node.map if node.is_map else {"": node}
    if not named:
        message = "`outputs` names no node"
        placer.problems.add(Problem(message, "Drop it: then it is the last layer.", node.mark, where))
    outputs = {}
    for name, ref in named.items():
        if placer.problems.full:
            break
        wire = placer.top.find(ref.value) if isinstance(ref.value, str) else None
        if wire is None and isinstance(ref.value, str) and "." in ref.value:
            base, _, key = ref.value.rpartition(".")
            source = placer.top.find(base)
            found = result_of(placer, source, key, ref.mark) if source is not None else None
            if isinstance(found, tuple):
                placer.problems.add(Problem(*found, ref.mark, f"{where}.{name}" if name else where))
                continue
            wire = found
        if wire is not None:
            outputs[name or "output"] = wire.name
            continue
        what, path = (f"the output `{name}`", f"{where}.{name}") if name else ("the output", where)
        message = f"{what} must be the name of a node, and {shown(ref.plain())} is none"
        hint = did_you_mean(str(ref.value), placer.top.visible()) if isinstance(ref.value, str) else ""
        placer.problems.add(Problem(message, hint or "Write `outputs: {main: fc, aux: aux_fc}`.", ref.mark, path))
    return outputs


def _check_outputs(experiment: Experiment, facts: Facts | None, walk: Walk, problems: Problems) -> None:
    """Check the outputs of the network against the data; data implies an objective where the spec has none."""
    is_invalid = experiment.objective is None and experiment.root.at("objective") is not None
    is_walked = bool(walk.outputs) and not walk.placer.incomplete
    if is_invalid or facts is None or not is_walked or experiment.root.at("network", "layers") is None:
        return
    from .objective_checks import check_outputs

    check_outputs(experiment, facts, walk.placer, walk.outputs, problems)


def _check_calls(
    experiment: Experiment, facts: Facts | None, walks: Mapping[str, Walk], problems: Problems
) -> tuple[PhasePlan, ...]:
    """Check the calls of the objective against the networks, where these have no mistake; return its phases."""
    mistaken = experiment.root.at("networks") is not None and list(experiment.networks) in ([], ["network"])
    if experiment.objective is None or facts is None or mistaken or not all(map(_is_list, walks.values())):
        return ()
    from . import view_checks
    from .call_checks import CallChecks
    from .objective_checks import named_objective

    checks = CallChecks.of(experiment, experiment.objective, facts.fields, _networks(walks))
    found = checks.problems()
    scopes = {name.partition("/")[0] for walk in walks.values() for name in walk.placer.by_name}
    if not experiment.networks and "objective" in scopes and experiment.objective.parameters():
        found.append(named_objective(experiment))
    found += [] if found else checks.problems_of_phases()
    found += view_checks.problems(experiment, experiment.objective)
    for problem in found:
        problems.add(problem)
    for name, warning in () if found else checks.probabilities_for_logits():
        walks[name].placer.warned.add(warning)
    for name in () if found else checks.uncalled():
        message = f"no phase of `{experiment.objective.kind}` calls the network `{name}`"
        mark = experiment.place("networks", name)
        walks[name].placer.warned.add(Problem(message, "", mark, f"networks.{name}"))
    for name, sentence in () if found else checks.cautions():
        walks[name].placer.warned.add(Problem(sentence, "", experiment.place("objective"), f"networks.{name}"))
    return () if found else phase_plans(checks.phases, checks.calls)


def _check_samples(experiment: Experiment, facts: Facts | None, problems: Problems) -> None:
    """Check that what `train.samples` asks for is made, by the objective of the spec or the one of the data."""
    if experiment.train is None or experiment.train.samples is None or facts is None:
        return
    from ..objectives import default_objective
    from .sample_checks import sample_problems

    objective = experiment.objective
    if objective is None and (experiment.networks or experiment.root.at("objective") is not None):
        return
    for problem in sample_problems(experiment, objective or default_objective(facts)):
        problems.add(problem)


def _networks(walks: Mapping[str, Walk]) -> Networks:
    """Return networks without mistakes as an objective meets them."""
    from ..objectives import Ports
    from .call_checks import Networks

    ports, ends = {}, {}
    for name, walk in walks.items():
        nodes = {output: walk.placer.by_name.get(node) for output, node in walk.outputs.items()}
        shapes = {o: n.shape if n is not None else walk.shapes[walk.outputs[o]] for o, n in nodes.items()}
        ports[name] = Ports(walk.shapes, shapes)
        ends[name] = {output: node.mark for output, node in nodes.items() if node is not None}
    return Networks(ports, ends, {name: walk.placer.nodes for name, walk in walks.items()})
