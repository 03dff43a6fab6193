"""Build a graph in torch: one flat torch.fx.GraphModule whose `.code` reads like the spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import Problem, SpecError
from .graph import Graph, LayerNode
from .graph.borrowed import apart
from .init import Default, Initializer
from .layers.measure import difference
from .lazy import torch
from .plugins import called, failure_at, is_foreign

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


def build(
    graph: Graph, init: Initializer | None = None, others: Mapping[str, nn.Module] | None = None
) -> fx.GraphModule:
    """Build the network of a graph; random weights are drawn from torch's global generator.

    Parameters are named after the nodes: `bottleneck_1.conv_1.weight`. The network takes its inputs in order, each
    with the batch first, and returns the output, or a dict of outputs where the spec names several. `inputs()` and
    `outputs()` of its `graph` name them, for `torch.onnx.export` too. `others` are the networks whose layers it
    shares; without them it has such layers of its own.
    """
    graph = apart(graph) if others is None else graph
    root, modules = _modules(graph, others or {})
    _initialize(graph, modules, init or Default())
    for node in graph.nodes:
        _set_values(node, modules.get(node.name) if not node.lender else None)
    network = torch.fx.GraphModule(root, _calls(graph, root), class_name="Network")
    for node in graph.nodes:
        if node.frozen and node.name in modules:
            modules[node.name].requires_grad_(False)
    return network


def build_all(graphs: Mapping[str, Graph], inits: Mapping[str, Initializer]) -> dict[str, fx.GraphModule]:
    """Build networks in their order, which run the same layers where they share them."""
    built: dict[str, fx.GraphModule] = {}
    for name, graph in graphs.items():
        built[name] = build(graph, inits.get(name), built)
    return built


def _modules(graph: Graph, others: Mapping[str, nn.Module]) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Build a tree of modules by scope; return its root and the module of each node that has its own."""
    root = torch.nn.Module()
    modules: dict[str, nn.Module] = {}
    by_path: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.home != node.name or node.result:
            continue
        made = _lent(node, others) if node.lender else _tied(graph, node) if node.tied else _own(node)
        *scopes, last = _target(node.name).split(".")  # `review.padding` is a module below the name of its input
        parent, path = root, ""
        for scope in scopes:
            path += f"/{scope}"
            if path not in by_path:
                by_path[path] = torch.nn.Module()
                parent.add_module(scope, by_path[path])
            parent = by_path[path]
        parent.add_module(last, made)
        by_path[f"{path}/{last}"] = made
        modules[node.name] = made
    for name in _packing(graph):
        modules[name].packs = True  # type: ignore[assignment]  # a flag, and no parameter or module
    return root, modules


def _packing(graph: Graph) -> set[str]:
    """Return the modules that give states beside their output, by the nodes that own them."""
    sources = (graph.by_name[node.inputs[0]] for node in graph.nodes if node.result)
    return {source.home for source in sources}


def _part(node: LayerNode, result: str) -> nn.Module:
    """Build the module that takes the output of a node, or one of its results, out of what its module packs."""
    from .modules.recurrent import Part

    shapes = {"": node.shape, **node.layer.results(*node.arriving)}
    before = list(shapes)[: list(shapes).index(result)]
    return Part(sum(shapes[name].count for name in before), shapes[result], shapes[result].dtype == "int")


def _own(node: LayerNode) -> nn.Module:
    """The module of a node. SpecError where that of a layer that is none of dlx's own is not what its plan says."""
    if not is_foreign(type(node.layer)):
        return node.layer.module(*node.arriving)
    path = f"layers.{node.name}"
    try:
        made = node.layer.module(*node.arriving)
        found = difference(node.plan, made, node.arriving)
    except (Exception, SystemExit) as error:
        problem = failure_at(error, node.layer, node.mark, path)
        raise error if problem is None else SpecError(problem) from error
    if found:
        message = f"`{node.name}` is not as planned: {called(node.layer)}: {found}"
        raise SpecError(Problem(message, "`plan` and `module` must agree.", node.mark, path))
    return made


def _lent(node: LayerNode, others: Mapping[str, nn.Module]) -> nn.Module:
    """Build what runs the module of a node of another network, which stays that network's."""
    from .modules.lent import Lent

    return Lent(others[node.lender].get_submodule(_target(node.weights_of.name)))


def _tied(graph: Graph, node: LayerNode) -> nn.Module:
    """Build the module of a node that uses the weight of another, which is passed to it in each call."""
    (x,) = node.arriving
    return node.layer.tied_module(x, graph.by_name[node.tied].layer.lends == "transposed")


def _add(root: nn.Module, name: str, made: nn.Module) -> None:
    """Add the module that takes a result, `memory.state`, below the module of `memory`."""
    *above, last = _target(name).split(".")
    parent = root
    for step in above:
        if not hasattr(parent, step):
            parent.add_module(step, torch.nn.Module())
        parent = parent.get_submodule(step)
    parent.add_module(last, made)


def _calls(graph: Graph, root: nn.Module) -> fx.Graph:
    """Build the torch.fx graph: the calls in the order of the spec, each with the name of its node."""
    from .modules.named import NamedGraph

    code = NamedGraph()
    code.named_outputs = tuple(graph.outputs)
    values: dict[str, Any] = {name: code.placeholder(name) for name in graph.inputs}
    whole: dict[str, Any] = {}
    """What a module gives that packs its results behind its output, by node."""
    packing = _packing(graph)

    def call(node: LayerNode, target: str, args: tuple[Any, ...], name: str) -> Any:
        made = code.create_node("call_module", target, args, name=name.replace("/", "_").replace(".", "_"))
        # torch.fx renames nodes; errors and claims need the name in the spec
        made.meta |= {"node": node.name, "mark": node.mark}
        return made

    for node in graph.nodes:
        if node.result:
            _add(root, node.name, _part(graph.by_name[node.inputs[0]], node.result))
            values[node.name] = call(node, _target(node.name), (whole[node.inputs[0]],), node.name)
            continue
        args = [values[name] for name in node.inputs]
        if node.tied:
            args.append(_weight(graph.by_name[node.tied], code, root, call))
        values[node.name] = call(node, _target(node.home), tuple(args), node.name)
        if node.home in packing:
            whole[node.name], output = values[node.name], f"{node.name}.output"
            _add(root, output, _part(node, ""))
            values[node.name] = call(node, _target(output), (whole[node.name],), output)
    outputs = {name: values[node] for name, node in graph.outputs.items()}
    code.output(next(iter(outputs.values())) if len(outputs) == 1 else outputs)
    return code


def _weight(owner: LayerNode, code: fx.Graph, root: nn.Module, call: Callable[..., Any]) -> Any:
    """Return the weight of a layer in the torch.fx graph, which others run too."""
    if not owner.lender:
        return code.get_attr(f"{_target(owner.home)}.weight")
    from .modules.lent import LentWeight

    name = f"{owner.name}.weight"
    _add(root, name, LentWeight(root.get_submodule(_target(owner.name))))
    return call(owner, _target(name), (), name)


def _target(name: str) -> str:
    return name.replace("/", ".")


def _initialize(graph: Graph, modules: Mapping[str, nn.Module], init: Initializer) -> None:
    """Initialize weights of two or more axes, and the biases beside them; norms keep their ones and zeros."""
    for node in graph.nodes:
        one = init.of(node.name)
        for part in modules[node.name].modules() if one.touches and node.name in modules else ():
            if not isinstance(part, torch.nn.LayerNorm | torch.nn.RMSNorm):  # their scales may have several axes
                _fill(part, one)


def _fill(part: nn.Module, init: Initializer) -> None:
    if isinstance(part, torch.nn.RNNBase):
        _fill_recurrent(part, init)
    weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
    if isinstance(weight, torch.nn.Parameter) and weight.dim() > 1:
        init.fill(weight)
    elif isinstance(weight, torch.Tensor) and "weight" in getattr(part, "parametrizations", {}):
        _fill_computed(part, weight.detach().clone(), init)
    # torch zeroes the row of the padding index when it initializes; filling the whole matrix has undone that
    if isinstance(part, torch.nn.Embedding) and part.padding_idx is not None:
        torch.nn.init.zeros_(part.weight[part.padding_idx])
    if isinstance(bias, torch.nn.Parameter) and (weight is None or weight.dim() > 1):
        init.fill_bias(bias, weight)


def _fill_recurrent(part: nn.RNNBase, init: Initializer) -> None:
    """Initialize each weight as one matrix of all gates, and its bias; a bias that is not learned stays zero."""
    for weight in part.parameters():
        if weight.dim() > 1:
            init.fill(weight)
    for name, bias in part.named_parameters():
        if bias.dim() == 1:
            init.fill_bias(bias, getattr(part, name.replace("bias", "weight")))


def _fill_computed(part: nn.Module, weight: Tensor, init: Initializer) -> None:
    """Initialize a weight that is computed from other tensors, as weight norm does, by setting those."""
    if weight.dim() > 1:
        init.fill(weight)
        part.weight = weight  # the setter of torch's parametrization calls its `right_inverse`


def _set_values(node: LayerNode, module: nn.Module | None) -> None:
    """Set the weights and buffers that the spec gives as `values`."""
    if module is None:
        return
    with torch.no_grad():
        for name, value in node.values.items():
            target: Tensor = {**dict(module.named_parameters()), **dict(module.named_buffers())}[name]
            target.copy_(torch.as_tensor(value, dtype=target.dtype).expand_as(target))
