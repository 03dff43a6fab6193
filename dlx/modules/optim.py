"""Optimizers that torch does not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import RunError
from ..utils.torch_private import ForeachOps

Groups = list[dict[str, Any]]
Closure = Callable[[], Tensor]


class _Stepwise(Optimizer):
    """Base class of optimizers that update a group at a time; the step count `t` is saved with the options of a
    group.
    """

    def __init__(self, params: Groups, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.lists = ForeachOps()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                group["t"] += 1
                self.update(group, weights, [p.grad for p in weights])

    def update(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor]) -> None:
        raise NotImplementedError

    def state_of(self, name: str, weights: list[Tensor]) -> list[Tensor]:
        """Return one state tensor for each weight, initially zero."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]


class MomentumMean(_Stepwise):
    """Momentum as a running mean: m = beta*m + (1 - beta)*g; w -= lr*m."""

    def __init__(
        self, params: Groups, lr: float, beta: float, bias_correction: bool, nesterov: bool, weight_decay: float
    ) -> None:
        options = {"beta": beta, "bias_correction": bias_correction, "nesterov": nesterov}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **options, "t": 0})

    def update(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor]) -> None:
        beta, means = group["beta"], self.state_of("mean", weights)
        if group["weight_decay"]:
            grads = list(self.lists.add(grads, weights, alpha=group["weight_decay"]))
        self.lists.lerp_(means, grads, 1 - beta)
        step = self.lists.lerp(means, grads, 1 - beta) if group["nesterov"] else means
        scale = 1 - beta ** group["t"] if group["bias_correction"] else 1.0
        self.lists.add_(weights, step, alpha=-group["lr"] / scale)


class AdaptiveForm(_Stepwise):
    """w -= lr * m / root(v), in forms of textbooks that torch does not have.

    `betas` are the decay rates of m and v; without the first, m is g; without the second, v is the sum of g^2.
    """

    def __init__(
        self,
        params: Groups,
        lr: float,
        betas: tuple[float | None, float | None],
        eps: float,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        corrected: bool = False,
        inside: bool = False,
    ) -> None:
        options = {"decoupled": decoupled, "corrected": corrected, "inside": inside}
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, **options, "t": 0}
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor]) -> None:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        if decay and group["decoupled"]:
            self.lists.mul_(weights, 1 - lr * decay)
        elif decay:
            grads = list(self.lists.add(grads, weights, alpha=decay))
        means, squares = grads, self.state_of("squares", weights)
        if beta1 is not None:
            means = self.state_of("mean", weights)
            self.lists.lerp_(means, grads, 1 - beta1)
        if beta2 is not None:
            self.lists.mul_(squares, beta2)
        self.lists.addcmul_(squares, grads, grads, value=1.0 if beta2 is None else 1 - beta2)
        first = second = 1.0
        if group["corrected"]:
            first, second = 1 - beta1 ** group["t"], 1 - beta2 ** group["t"]
        roots = self.lists.div(squares, second)
        if group["inside"]:
            self.lists.add_(roots, group["eps"])
        self.lists.sqrt_(roots)
        if not group["inside"]:
            self.lists.add_(roots, group["eps"])
        self.lists.addcdiv_(weights, means, roots, value=-lr / first)


class Newton(Optimizer):
    """w -= lr * (H + damping)^-1 g; the closure returns the loss with its graph."""

    def __init__(self, params: Groups, lr: float, damping: float) -> None:
        super().__init__(params, {"lr": lr, "damping": damping})

    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        with torch.enable_grad():
            loss = closure()
            gradient = _flat(torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True))
            hessian = _hessian(gradient, weights)
        hessian.diagonal().add_(self.param_groups[0]["damping"])
        # solve_ex reports a singular matrix, where solve would raise an error of its own
        step, failed = torch.linalg.solve_ex(hessian, gradient.detach())
        if failed or not torch.isfinite(step).all():
            raise RunError("the Hessian is singular, and Newton's step is not defined", hint="Raise `damping`.")
        for group in self.param_groups:
            for weight in group["params"]:
                part, step = step[: weight.numel()], step[weight.numel() :]
                weight.sub_(part.view_as(weight), alpha=group["lr"])
        return loss.detach()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _hessian(gradient: Tensor, weights: list[Tensor]) -> Tensor:
    """Return the Hessian, with one backward pass a row."""
    if not gradient.requires_grad:  # the loss is linear in the weights
        return gradient.new_zeros(len(gradient), len(gradient))
    rows = [torch.autograd.grad(one, weights, retain_graph=True, materialize_grads=True) for one in gradient]
    return torch.stack([_flat(row) for row in rows])


class RandomSearch(Optimizer):
    """Random weights, accepted where the loss is lower. Random numbers depend on the seed and the step count only."""

    def __init__(self, params: Groups, lr: float, local: bool, seed: int) -> None:
        super().__init__(params, {"lr": lr, "local": local, "seed": seed, "t": 0})

    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        before = closure()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        previous = [weight.clone() for weight in weights]
        first = self.param_groups[0]
        rng = torch.Generator(weights[0].device).manual_seed((first["seed"] * 1_000_003 + first["t"]) % 2**63)
        first["t"] += 1
        for group in self.param_groups:
            for weight in group["params"]:
                step = torch.randn(weight.shape, generator=rng, dtype=weight.dtype, device=weight.device)
                weight.copy_(step * group["lr"] + (weight if group["local"] else 0))
        if not closure() < before:
            for weight, old in zip(weights, previous, strict=True):
                weight.copy_(old)
        return before


class CombinedOptimizer(Optimizer):
    """Several optimizers as one, each with its own weights; state is saved and restored as one."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = tuple(parts)

    @property
    def param_groups(self) -> Groups:  # type: ignore[override]
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:  # type: ignore[override]
        return {weight: state for part in self.parts for weight, state in part.state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        merged: dict[str, Any] = {"state": {}, "param_groups": []}
        before = 0
        for part in self.parts:
            one = part.state_dict()
            merged["state"] |= {before + index: state for index, state in one["state"].items()}
            merged["param_groups"] += [_moved(group, before) for group in one["param_groups"]]
            before += _count(one["param_groups"])
        return merged

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        groups, before = list(state_dict["param_groups"]), 0
        for part in self.parts:
            mine = [groups.pop(0) for _ in part.param_groups]
            after = before + _count(mine)
            state = {index - before: s for index, s in state_dict["state"].items() if before <= index < after}
            part.load_state_dict({"state": state, "param_groups": [_moved(group, -before) for group in mine]})
            before = after


def _moved(group: dict[str, Any], by: int) -> dict[str, Any]:
    return {**group, "params": [index + by for index in group["params"]]}


def _count(groups: Groups) -> int:
    return sum(len(group["params"]) for group in groups)
