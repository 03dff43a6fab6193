"""The gradient that arrives at a value of a residual network, by the length of the paths that bring it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ...lazy import torch
from .residual_blocks import ResidualBlock
from .walk import Output, name_of

if TYPE_CHECKING:
    from torch import Tensor, fx

    Loss = Callable[[Output], Tensor]
    Call = tuple[fx.Node, Tensor, dict[fx.Node, Tensor]]
    """A node, its value, and the values that it took by what made them, cut off from it."""


def gradients_by_length(
    network: fx.GraphModule, inputs: Sequence[Tensor], loss: Loss, blocks: Iterable[ResidualBlock], at: str
) -> list[Tensor]:
    """Return the gradients at a value, (N, *) each, that all paths of 0, 1, 2, ... residual branches bring together.

    They add up to the gradient of backpropagation: it is the same chain rule, the terms of its sum by length.
    """
    shortcuts = {block.join: block.shortcut for block in blocks}
    calls, start, arrived = _recorded(network, inputs, loss, at)
    for node, value, taken in reversed(calls):
        shortcut = node.args[shortcuts[name_of(node)]] if name_of(node) in shortcuts else None
        for length, gradient in arrived.pop(node, {}).items():
            parts = torch.autograd.grad(value, list(taken.values()), gradient, retain_graph=True)
            for source, part in zip(taken, parts, strict=True):
                sums, longer = arrived.setdefault(source, {}), length + (shortcut not in (None, source))
                sums[longer] = sums[longer] + part if longer in sums else part
    found = arrived[start]
    return [found.get(length, torch.zeros_like(next(iter(found.values())))) for length in range(max(found) + 1)]


def _recorded(
    network: fx.GraphModule, inputs: Sequence[Tensor], loss: Loss, at: str
) -> tuple[list[Call], fx.Node, dict[fx.Node, dict[int, Tensor]]]:
    """Run a network; return the calls behind a value, the node of that value, and the gradients of its outputs."""
    calls: list[Call] = []
    behind: dict[fx.Node, Tensor] = {}
    arrived: dict[fx.Node, dict[int, Tensor]] = {}
    starts = [node for node in network.graph.nodes if name_of(node) == at]

    class Recording(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            after = [each for each in n.all_input_nodes if each in behind]
            taken = {each: behind[each].detach().requires_grad_() for each in after}
            self.env.update(taken)
            value = super().run_node(n)
            if n.op == "output":
                for node, gradient in zip(taken, torch.autograd.grad(loss(value), list(taken.values())), strict=True):
                    arrived[node] = {0: gradient}
            elif n is starts[-1] or after:
                behind[n] = value.detach()
            if after and n.op != "output" and n is not starts[-1]:
                calls.append((n, value, taken))
            return value

    Recording(network).run(*inputs)
    return calls, starts[-1], arrived


def path_gradients(
    network: fx.GraphModule,
    inputs: Sequence[Tensor],
    loss: Loss,
    blocks: Sequence[ResidualBlock],
    at: str,
    samples: int,
    seed: int = 0,
) -> list[list[float]]:
    """Return the mean norm, over examples, of the gradient that single paths bring to a value, by their length.

    For each length k, `samples` paths are drawn: the gradient passes k random blocks by the branch alone, and all
    others by the shortcut alone. There is one of each path of length 0 and of n.
    Source: Veit, Wilber & Belongie 2016, arXiv:1605.06431, section 4.2.
    """
    chooser, by_branch = random.Random(seed), set[str]()  # noqa: S311
    value, output = _gated(network, inputs, {block.join: block.shortcut for block in blocks}, by_branch, at)
    end, joins = loss(output), [block.join for block in blocks]
    found = []
    for length in range(len(joins) + 1):
        norms = []
        for _ in range(1 if length in (0, len(joins)) else samples):
            by_branch.clear()
            by_branch.update(chooser.sample(joins, length))
            (gradient,) = torch.autograd.grad(end, value, retain_graph=True, allow_unused=True)
            norms.append(0.0 if gradient is None else mean_norm(gradient))
        found.append(norms)
    return found


def mean_norm(gradient: Tensor) -> float:
    """Return the mean over examples of the Euclidean norm of a gradient (N, *)."""
    return float(torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64).mean())


def _gated(
    network: fx.GraphModule, inputs: Sequence[Tensor], shortcuts: Mapping[str, int], by_branch: set[str], at: str
) -> tuple[Tensor, Output]:
    """Run a network; return a value and the output, between which gradients pass each join by one way alone."""
    gate, found = _gate(), list[Any]()

    class Gated(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            name = name_of(n)
            if name in shortcuts:
                passing = [
                    gate(self.env[cast("fx.Node", each)], by_branch, name, i != shortcuts[name])
                    for i, each in enumerate(n.args)
                ]
                value = self.submodules[n.target](*passing)
            else:
                value = super().run_node(n)
            if name == at:
                value = value.detach().requires_grad_()
                found.append(value)
            return value

    output = Gated(network).run(*inputs)
    return found[-1], output


def _gate() -> Callable[..., Tensor]:
    """Return the identity whose gradient passes where a join is, or is not, among those passed by their branch."""

    class Gate(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, by_branch: set[str], join: str, is_branch: bool) -> Tensor:
            ctx.about = by_branch, join, is_branch
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            by_branch, join, is_branch = ctx.about
            passes = (join in by_branch) == is_branch
            return (gradients[0] if passes else None), None, None, None

    return Gate.apply
