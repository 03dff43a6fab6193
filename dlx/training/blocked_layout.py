"""Convolutions of images in oneDNN's own layout, in which channels lie in blocks as wide as the processor's vectors.

oneDNN computes convolutions in that layout, and torch brings each input into it and each output out of it. Between
layers that follow each other both are in vain. `in_blocks` makes of a network one that calls the same modules, and
enters the layout once for all layers that can have it, where that pays.

Some of oneDNN's operations lose NaN, which torch's never do: its ReLU makes 0 of it, its maximum passes over it, and
so does its sigmoid with some numbers of channels, which is left to torch. A network that diverges must stay visible.
In evaluations ReLU is taken as PReLU with slopes of 0, which has the same bits and passes NaN on (of minus infinity
it makes NaN, torch's ReLU 0; its gradients are wrong); and a maximum is taken only where no value can have
overflowed, by a bound from the norms of inputs and weights. In training a step is the same operations each time:
there the bound makes the outputs NaN.
"""

from __future__ import annotations

from functools import reduce
from math import log10
from operator import add
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch
from ..modules import blocks as ops
from ..modules.pool import GlobalAvgPool, MaxPool2d
from ..utils.torch_private import attribute

if TYPE_CHECKING:
    from torch import Tensor, fx

FARTHEST = 31
"""Decades by which a bound may grow before values are measured again: they are of 6, float32 ends at 38."""
FARTHEST_SQUARED = 12
"""The same where the bound is squared."""
FEW_CHANNELS = 4
"""Channels of an input, at most, that costs little to bring into blocks."""
PLACES = "in_blocks"
"""Key in the `meta` of a network in blocks, of the targets of modules that see blocks there or are passed over."""


def in_blocks(network: fx.GraphModule, gradients: bool) -> fx.GraphModule | None:
    """Return the network with its convolutions in oneDNN's layout, of the same modules; None where it would not pay.

    Without `gradients` it is for evaluations, under `torch.no_grad` and with all modules in that mode. With them it
    is for training, in the modes that the modules have now, and gives NaN where a value may have overflowed.
    """
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not all(_fits(one) for one in network.parameters()):
        return None
    regions = _regions(network, gradients)
    blocks = {node for region in regions for node in region}
    # what leaves blocks has its channels first: a convolution beside them, which has them last, would move them again
    outside = any(_convolves(network, node) for node in network.graph.nodes if node not in blocks)
    pays = regions and not outside and all(_pays(network, region) for region in regions)
    return _Rewriting(network, blocks, gradients).result() if pays else None


class Evaluation:
    """Call of a network in blocks; of the plain one where the difference would be seen.

    That is with gradients, with hooks on the modules in blocks, or with one of them in training; and for inputs of
    other numbers than float32. MissingNameError where hooks cannot be seen.
    """

    def __init__(self, network: fx.GraphModule, blocked: fx.GraphModule) -> None:
        self.network, self.blocked = network, blocked
        self.modules = {one: type(one) for one in map(network.get_submodule, blocked.meta[PLACES])}
        hooked = (network, *self.modules)
        self.hooks = [attribute(one, "_forward_hooks") for one in hooked]
        self.hooks += [attribute(one, "_forward_pre_hooks") for one in hooked]

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        unseen = not torch.is_grad_enabled() and self._has_form(*inputs, *named.values())
        return (self.blocked if unseen else self.network)(*inputs, **named)

    def _has_form(self, *inputs: Tensor) -> bool:
        if any(self.hooks) or any(one.training or type(one) is not kind for one, kind in self.modules.items()):
            return False
        return all(type(x) is torch.Tensor and x.numel() and (_fits(x) or not x.is_floating_point()) for x in inputs)


def _fits(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"


# ---- where it pays -------------------------------------------------------------------------------------------------


def _convolves(network: fx.GraphModule, node: fx.Node) -> bool:
    module = _module(network, node)
    return module is not None and any(weight.dim() > 3 for weight in module.parameters())


def _pays(network: fx.GraphModule, region: list[fx.Node]) -> bool:
    """Return whether the ways into blocks and out of them cost less than what these nodes save in between.

    Each way is a copy, of which a convolution in blocks saves two. Pictures of few channels enter almost for nothing,
    and means over all positions leave so. With fewer convolutions networks took up to 1.4 of the time, with more 0.5
    to 0.95 (benchmarks/evaluation.py).
    """
    convolutions = [node for node in region if isinstance(_module(network, node), nn.Conv2d)]
    slim = {node.args[0] for node in convolutions if _module(network, node).in_channels <= FEW_CHANNELS}
    entering = {each for node in region for each in node.all_input_nodes if not _stays(network, each, region)} - slim
    leaving = {node for node in region if _stays(network, node, region) and not node.users.keys() <= {*region}}
    return len(convolutions) > len(entering) + len(leaving)


def _regions(network: fx.GraphModule, gradients: bool) -> list[list[fx.Node]]:
    """Return the nodes that can be in blocks, those together that hand their values to each other there."""
    region_of: dict[fx.Node, list[fx.Node]] = {}
    for node in network.graph.nodes:
        if node.op != "call_module":
            continue
        module = _module(network, node)
        before = [region_of[each] for each in node.all_input_nodes if _stays(network, each, region_of)]
        begins = isinstance(module, nn.Conv2d)
        if not ops.supported(module, gradients) or not (begins or len(before) == len(node.all_input_nodes)):
            continue
        joined = [*{each: None for one in before for each in one}, node]
        region_of |= dict.fromkeys(joined, joined)
    return [*{id(one): one for one in region_of.values()}.values()]


def _stays(network: fx.GraphModule, node: fx.Node, blocks: Any) -> bool:
    """Return whether the output of a node is in blocks. Means over all positions are few numbers, and leave them."""
    return node in blocks and not isinstance(_module(network, node), GlobalAvgPool)


def _module(network: fx.GraphModule, node: fx.Node) -> Any:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


# ---- the network in blocks -----------------------------------------------------------------------------------------


class _Rewriting:
    """Writes the graph of a network in blocks: one walk over the nodes of the network."""

    def __init__(self, network: fx.GraphModule, blocks: set[fx.Node], gradients: bool) -> None:
        self.network, self.blocks, self.gradients = network, blocks, gradients
        self.graph = torch.fx.Graph()
        self.made: dict[tuple[fx.Node, bool], fx.Node] = {}
        """What a node of the network gives: as torch has it (False), or in blocks (True)."""
        self.bounds: dict[fx.Node, tuple[fx.Node, float]] = {}
        """A bound on what a node gives, and by how many decades it may have grown since values were measured."""
        self.needed: list[fx.Node] = []
        """Bounds that must not be infinite where gradients are wanted."""
        self.late = {node for node in blocks if self._waits(node)}

    def result(self) -> fx.GraphModule:
        for node in self.network.graph.nodes:
            if node.op == "output":
                self.graph.output(torch.fx.node.map_arg(node.args[0], self._output))
            elif node in self.blocks:
                made = self._in_blocks(node, _module(self.network, node))
                self.made[node, _stays(self.network, node, self.blocks)] = made
            else:
                self.made[node, False] = self.graph.node_copy(node, lambda each: self._value(each, False))
        network = torch.fx.GraphModule(self.network, self.graph, class_name="NetworkInBlocks")
        network.meta[PLACES] = tuple(str(node.target) for node in self.blocks)
        return network

    def _waits(self, node: fx.Node) -> bool:
        """Return whether to take a ReLU behind the maxima of its values, which are fewer and come out the same."""
        users = [_module(self.network, user) for user in node.users]
        alone = len(users) == 1 and isinstance(users[0], MaxPool2d) and next(iter(node.users)) in self.blocks
        return alone and isinstance(_module(self.network, node), nn.ReLU)

    def _value(self, node: fx.Node, blocks: bool) -> fx.Node:
        """Return what a node of the network gives, brought into blocks or out of them if need be."""
        if (node, blocks) not in self.made:
            call = "to_mkldnn" if blocks else "to_dense"
            self.made[node, blocks] = self.graph.call_method(call, (self.made[node, not blocks],))
        return self.made[node, blocks]

    def _output(self, node: fx.Node) -> fx.Node:
        value = self._value(node, False)
        return self._call(ops.visible, value, *self.needed) if self.needed else value

    def _call(self, function: Any, *args: Any, like: fx.Node | None = None) -> fx.Node:
        made = self.graph.create_node("call_function", function, args, name=None if like is None else like.name)
        made.meta |= {} if like is None else like.meta
        return made

    def _in_blocks(self, node: fx.Node, module: Any) -> fx.Node:
        xs = [self._value(each, True) for each in node.all_input_nodes]
        if isinstance(module, ops.PASSING) or node in self.late:
            return xs[0]
        if isinstance(module, nn.ReLU):
            return self._rectified(node, *xs)
        if isinstance(module, MaxPool2d):
            return self._maximum(node, module, *xs)
        function, options = ops.operation(module)
        if function is None:
            made = self.graph.create_node("call_module", str(node.target), tuple(xs), name=node.name)
            made.meta |= node.meta
            return made
        args: Any = torch.fx.node.map_arg(node.args, lambda each: self._value(each, True))
        return self._call(function, *args, *options, like=node)

    def _rectified(self, node: fx.Node, x: fx.Node) -> fx.Node:
        if not self.gradients:
            return self._call(ops.relu, x, like=node)
        self.needed.append(self._bound(node.all_input_nodes[0]))
        return self._call(torch.relu, x, like=node)

    def _maximum(self, node: fx.Node, module: MaxPool2d, x: fx.Node) -> fx.Node:
        (before,) = node.all_input_nodes
        bound, late = self._bound(before), before in self.late
        window = module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
        if not self.gradients:
            return self._call(ops.maximum, x, bound, late, *window, like=node)
        self.needed.append(bound)
        made = self._call(torch.max_pool2d, x, *window, like=node)
        return self._rectified(before, made) if late else made

    # ---- bounds ----------------------------------------------------------------------------------------------------

    def _bound(self, node: fx.Node) -> fx.Node:
        """Return the node that gives a bound on the absolute values of what a node of the network gives."""
        if node not in self.bounds:
            found, decades = self._followed(node) if _stays(self.network, node, self.blocks) else (None, 0.0)
            self.bounds[node] = (found or self._measured(node)), decades
        return self.bounds[node][0]

    def _measured(self, node: fx.Node) -> fx.Node:
        """Return the node that gives the norm of what a node of the network gives: it is copied out of blocks."""
        return self._call(ops.norm, self._value(node, False))

    def _followed(self, node: fx.Node) -> tuple[fx.Node | None, float]:
        """Return the bound by those of the inputs, and how far it has grown; None where that is too far."""
        module, inputs = _module(self.network, node), [each for each in node.args if isinstance(each, torch.fx.Node)]
        first, *others = (self._bound(each) for each in inputs)
        decades = max(self.bounds[each][1] for each in inputs)
        weight, bias = (self._tensor(node, module, name) for name in ("weight", "bias"))
        if isinstance(module, nn.Conv2d):
            decades += _growth(module)
            far = decades > FARTHEST
            return (None, 0.0) if far else (self._call(ops.behind_convolution, first, weight, bias), decades)
        if isinstance(module, nn.BatchNorm2d) and self.gradients:
            before = self._measured(inputs[0]) if decades > FARTHEST_SQUARED else first
            return self._call(ops.behind_standardised, before, self._value(inputs[0], True), weight, bias), 0.0
        if isinstance(module, nn.BatchNorm2d):
            statistics = [self._tensor(node, module, name) for name in ("running_mean", "running_var")]
            return self._call(ops.behind_norm, first, weight, bias, *statistics, module.eps), decades
        return reduce(lambda a, b: self._call(add, a, b), others, first), decades

    def _tensor(self, node: fx.Node, module: nn.Module, name: str) -> fx.Node | None:
        found = getattr(module, name, None)
        return None if found is None else self.graph.get_attr(f"{node.target}.{name}")


def _growth(module: nn.Conv2d) -> float:
    """Return the decades by which a bound grows behind a convolution whose weights are 1; they are mostly smaller."""
    return log10(module.weight.numel() * module.weight[0].numel()) / 2
