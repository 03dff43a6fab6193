"""Initial weights that depend on the data: `init: lsuv`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from ..graph import Graph
from ..init import Initializer
from ..init.orthogonal import LSUV
from ..lazy import torch
from .batches.data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


def modules_to_scale(graph: Graph, init: Initializer, loaded: Collection[str] = ()) -> dict[str, LSUV]:
    """Return the initializer of each module that is initialized from data, by torch's name of the module.

    Those that are `loaded` have their weights from elsewhere.
    """
    candidates = [node for node in graph.nodes if node.is_weight_layer and not node.owner and not node.tied]
    each = {node.name.replace("/", "."): init.of(node.name) for node in candidates if "weight" not in node.values}
    return {name: one for name, one in each.items() if isinstance(one, LSUV) and name not in loaded}


def initialize(
    network: fx.GraphModule,
    graph: Graph,
    init: Initializer,
    part: DataPart,
    seed: int,
    loaded: Collection[str] = (),
) -> None:
    """Scale the weights of a new network by examples of `part`; nothing where no initializer asks for it.

    Modules that are `loaded` have their weights from elsewhere.
    """
    pending = modules_to_scale(graph, init, loaded)
    if not pending:
        return
    generator = torch.Generator().manual_seed(seed)
    most = max(one.samples for one in pending.values())
    index = torch.randperm(len(part), generator=generator)[:most].to(next(network.parameters()).device)

    class ScalingInterpreter(torch.fx.Interpreter):
        """Runs the network layer by layer; each layer is scaled before its output goes on."""

        def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            module: Any = self.fetch_attr(target)
            one = pending.pop(target, None)
            if one is not None:
                few = tuple(value[: one.samples] for value in args)
                for inner in _weighing(module):
                    _scale(inner, lambda: module(*few), one)
            return super().call_module(target, args, kwargs)

    mode = network.training
    with torch.no_grad():
        ScalingInterpreter(network.eval()).run(*part.take(index).inputs)
    network.train(mode)


def _weighing(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a layer that have a weight of two or more axes."""
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 1 and not isinstance(part, torch.nn.Embedding):
            yield part


def _scale(part: nn.Module, run: Callable[[], object], one: LSUV) -> None:
    outputs: list[Tensor] = []
    handle = part.register_forward_hook(lambda *hooked: outputs.append(hooked[-1]))
    try:
        for _ in range(one.max_iters):
            outputs.clear()
            run()
            variance = float(outputs[0].double().var(correction=0)) if outputs else 0.0
            if not 0 < variance < torch.inf or abs(variance - 1) <= one.tol:
                return
            _set(part, variance**-0.5)
    finally:
        handle.remove()


def _set(part: Any, factor: float) -> None:
    if "weight" in getattr(part, "parametrizations", {}):
        part.weight = part.weight.detach() * factor  # torch's parametrisation takes it apart
    else:
        part.weight.mul_(factor)
