"""The graph as torch modules: one flat torch.fx.GraphModule whose `.code` reads like the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import Problem, SpecError
from .graph import Graph, LayerNode
from .init import Default, Initializer
from .layers.measure import difference
from .lazy import torch
from .plugins import called, failure_at, is_foreign

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


def build(graph: Graph, init: Initializer | None = None) -> fx.GraphModule:
    """The network of `graph`, its weights drawn from torch's global generator.

    Its parameters are called after the nodes: `bottleneck_1.conv_1.weight`. It takes the inputs in their order, each
    with the batch first, and gives the output, or a dict of them where the spec names several; `graph.inputs()` and
    `graph.outputs()` name them, for `torch.onnx.export` too.
    """
    root, modules = _modules(graph)
    _initialise(graph, modules, init or Default())
    for node in graph.nodes:
        _give_values(node, modules.get(node.name))
    network = torch.fx.GraphModule(root, _wire(graph), class_name="Network")
    for node in graph.nodes:
        if node.frozen and node.name in modules:
            modules[node.name].requires_grad_(False)
    return network


def _modules(graph: Graph) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A tree of modules by scope, and each node's own module."""
    root = torch.nn.Module()
    modules: dict[str, nn.Module] = {}
    at: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.owner:
            continue
        made = _tied(graph, node) if node.tied else _own(node)
        *scopes, last = node.name.split("/")
        parent, path = root, ""
        for scope in scopes:
            path += f"/{scope}"
            if path not in at:
                at[path] = torch.nn.Module()
                parent.add_module(scope, at[path])
            parent = at[path]
        parent.add_module(last, made)
        at[f"{path}/{last}"] = made
        modules[node.name] = made
    return root, modules


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


def _tied(graph: Graph, node: LayerNode) -> nn.Module:
    """The module of a node that runs on the weight of another."""
    (x,) = node.arriving
    return node.layer.tied_module(x, graph.by_name[node.tied].layer.lends == "transposed")


def _wire(graph: Graph) -> fx.Graph:
    """The calls, in the order of the spec; every node keeps its name."""
    from .modules.named import NamedGraph

    code = NamedGraph()
    code.named_outputs = tuple(graph.outputs)
    values: dict[str, Any] = {name: code.placeholder(name) for name in graph.inputs}
    for node in graph.nodes:
        args = [values[name] for name in node.inputs]
        if node.tied:
            owner = graph.by_name[node.tied].owner or node.tied
            args.append(code.get_attr(f"{_target(owner)}.weight"))
        call = code.create_node(
            "call_module", _target(node.owner or node.name), tuple(args), name=node.name.replace("/", "_")
        )
        call.meta |= {"node": node.name, "mark": node.mark}
        values[node.name] = call
    outputs = {name: values[node] for name, node in graph.outputs.items()}
    code.output(next(iter(outputs.values())) if len(outputs) == 1 else outputs)
    return code


def _target(name: str) -> str:
    return name.replace("/", ".")


def _initialise(graph: Graph, modules: Mapping[str, nn.Module], init: Initializer) -> None:
    """Weights of two and more axes and the biases beside them by `init`; norms keep their ones and zeros."""
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
        _fill_worked_out(part, weight.detach().clone(), init)
    if isinstance(part, torch.nn.Embedding) and part.padding_idx is not None:
        torch.nn.init.zeros_(part.weight[part.padding_idx])
    if isinstance(bias, torch.nn.Parameter) and (weight is None or weight.dim() > 1):
        init.fill_bias(bias, weight)


def _fill_recurrent(part: nn.RNNBase, init: Initializer) -> None:
    """Each weight as one matrix of all gates, and the biases beside it; a bias that is not learned stays zero."""
    for weight in part.parameters():
        if weight.dim() > 1:
            init.fill(weight)
    for name, bias in part.named_parameters():
        if bias.dim() == 1:
            init.fill_bias(bias, getattr(part, name.replace("bias", "weight")))


def _fill_worked_out(part: nn.Module, weight: Tensor, init: Initializer) -> None:
    """Draw a weight that is worked out from other tensors, as weight norm does, and set those."""
    if weight.dim() > 1:
        init.fill(weight)
        part.weight = weight  # torch's parametrisation takes it apart


def _give_values(node: LayerNode, module: nn.Module | None) -> None:
    """The hand-set weights of a spec."""
    if module is None:
        return
    with torch.no_grad():
        for name, value in node.values.items():
            held: Tensor = {**dict(module.named_parameters()), **dict(module.named_buffers())}[name]
            held.copy_(torch.as_tensor(value, dtype=held.dtype).expand_as(held))
