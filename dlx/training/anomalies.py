"""Find where a NaN or infinity first arose, by the node of the spec and its place in the file.

The network runs node by node, and each input of a node has a hook on its gradient: the node between a finite gradient
and one that is not has made it.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..errors import Problem, RunError
from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

CLIP = "Lower the learning rate, or clip the gradients with `clip_norm`."
DOMAIN = "Look for a division by zero, a root or logarithm at or below zero, or an exponential of something large."


class AnomalyDetector:
    """Checks both passes of a network. RunError names the node of the first NaN or the first infinite loss."""

    def __init__(self, network: nn.Module, step: Callable[[], int], backward: bool = True) -> None:
        """`step` returns how many updates there have been."""
        self.network, self.updates, self.backward = network, step, backward
        self.infinite: fx.Node | None = None
        """Node of the first infinite value of this pass; that alone is no mistake, for masks hold them."""
        for name, weight in network.named_parameters():
            if weight.requires_grad and backward:
                weight.register_hook(self._weight_hook(name))  # type: ignore[no-untyped-call]

    # ---- forward ---------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Any:
        """Run the network node by node; return its outputs."""
        network: Any = self.network
        self.infinite = None
        if not torch.isfinite(x).all():
            which = int(torch.isfinite(x).flatten(1).all(1).logical_not().nonzero()[0])
            self._fail(f"the batch holds {_worst(x)}, in its example {which + 1}", "Look at the data.", None)
        values: dict[fx.Node, Any] = {}
        for node in network.graph.nodes:
            if node.op == "placeholder":
                values[node] = x
            elif node.op == "get_attr":
                values[node] = attrgetter(str(node.target))(network)
            elif node.op == "call_module":
                inputs = [self._watched(values[each], node) for each in node.args]
                values[node] = network.get_submodule(node.target)(*inputs)
                self._check_output(node, inputs, values[node])
        last = next(node for node in network.graph.nodes if node.op == "output").args[0]
        return {name: values[each] for name, each in last.items()} if isinstance(last, dict) else values[last]

    def _check_output(self, node: fx.Node, inputs: list[Tensor], output: Tensor) -> None:
        if not output.is_floating_point() or torch.isfinite(output).all():
            return
        module: Any = self.network.get_submodule(str(node.target))
        for name, weight in module.named_parameters():
            if not torch.isfinite(weight).all():
                made = f"the update of step {self.updates():,} made it so" if self.updates() else "it began so"
                message = f"the weight `{_name(node)}/{name.replace('.', '/')}` is {_worst(weight)}"
                self._fail(f"{message} at step {self.step:,}: {made}", CLIP, node)
        if torch.isnan(output).any():
            message = f"`{_name(node)}` gave NaN at step {self.step:,}, in {_share(output)}"
            self._fail(f"{message}, from {self._from(inputs)}", DOMAIN, node)
        self.infinite = self.infinite or node

    def _from(self, inputs: list[Tensor]) -> str:
        if self.infinite is not None:
            return f"infinite values that `{_name(self.infinite)}` gave first"
        seen = [x.detach().float() for x in inputs] or [torch.zeros(1)]
        low, high = min(float(x.min()) for x in seen), max(float(x.max()) for x in seen)
        return f"inputs between {low:.4g} and {high:.4g}"

    def loss(self, function: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
        """Return the loss function with checks of its targets and its value."""

        def watched(outputs: Any, target: Any) -> Tensor:
            if isinstance(outputs, dict):
                seen: Any = {name: self._watched(output, None) for name, output in outputs.items()}
                inputs = list(seen.values())
            else:
                seen = self._watched(outputs, None)
                inputs = [seen]
            if isinstance(target, torch.Tensor) and target.is_floating_point() and not torch.isfinite(target).all():
                self._fail(f"the targets of the batch hold {_worst(target)}", "Look at the data.", None)
            made = function(seen, target)
            if not torch.isfinite(made).all():
                message = f"the loss is {_worst(made)} at step {self.step:,}, from {self._from(inputs)}"
                self._fail(message, DOMAIN if self.infinite is None else CLIP, self.infinite)
            return made

        return watched

    # ---- backward --------------------------------------------------------------------------------------------------

    def _watched(self, value: Tensor, node: fx.Node | None) -> Tensor:
        """Return the value as input of one node (or of the loss), with a hook on its gradient there."""
        if not self.backward or not value.requires_grad:
            return value
        passed = value.view_as(value)
        passed.register_hook(lambda gradient: self._check_gradient(gradient, node))  # type: ignore[no-untyped-call]
        return passed

    def _check_gradient(self, gradient: Tensor, node: fx.Node | None) -> None:
        if not torch.isfinite(gradient).all():
            who = f"`{_name(node)}`" if node is not None else "the loss"
            message = f"the gradient of {who} became {_worst(gradient)} at step {self.step:,}, in {_share(gradient)}"
            self._fail(f"{message}: what came to it was finite", DOMAIN, node)

    def _weight_hook(self, name: str) -> Callable[[Tensor], None]:
        owner = name.rpartition(".")[0]

        def seen(gradient: Tensor) -> None:
            if not torch.isfinite(gradient).all():
                nodes = (n for n in self.network.graph.nodes if owner.startswith(str(n.target)))  # type: ignore[union-attr]
                message = f"the gradient of `{name.replace('.', '/')}` is {_worst(gradient)} at step {self.step:,}"
                self._fail(f"{message}, in {_share(gradient)}", DOMAIN, next(nodes, None))

        return seen

    @property
    def step(self) -> int:
        return self.updates() + 1

    def _fail(self, message: str, hint: str, node: fx.Node | None) -> None:
        raise RunError(Problem(message, hint, node.meta.get("mark") if node is not None else None))


def _name(node: fx.Node) -> str:
    return str(node.meta.get("node", node.name))


def _worst(values: Tensor) -> str:
    return "NaN" if torch.isnan(values).any() else "infinite"


def _share(values: Tensor) -> str:
    return f"{int((~torch.isfinite(values)).sum()):,} of {values.numel():,} values"
