"""torch's fused kernels without torch.optim's bookkeeping, which costs more than they do on small networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

ADAMS = ("Adam", "AdamW")
UNUSUAL = ("amsgrad", "maximize", "differentiable", "capturable")


def direct(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """What does the same as `optimizer.step`, on the same state, to the same bits; else that itself."""
    kind, groups = type(optimizer), optimizer.param_groups
    kernel = {"SGD": _sgd, **dict.fromkeys(ADAMS, _adam)}.get(kind.__name__)
    where = {(p.device, p.dtype) for group in groups for p in group["params"]}
    plain = all(g.get("fused") and not any(g.get(name) for name in UNUSUAL) for g in groups)
    if kernel is None or not kind.__module__.startswith("torch.optim") or len(where) != 1 or not plain:
        return optimizer.step
    return _Direct(optimizer, kernel)


@dataclass(frozen=True)
class _Lists:
    """What a kernel takes of one group, in the order of the weights."""

    group: dict[str, Any]
    params: list[Tensor]
    state: dict[str, list[Tensor]]


class _Direct:
    """The first step is torch's own, which makes the state; those after it go to the kernel."""

    def __init__(self, optimizer: torch.optim.Optimizer, kernel: Callable[[_Lists, list[Tensor]], None]) -> None:
        self.optimizer, self.kernel = optimizer, kernel
        self.lists: list[_Lists] = []
        self.no_grad = torch.no_grad()

    def __call__(self) -> None:
        grads = [[p.grad for p in one.params] for one in self.lists]
        if not self.lists or any(g is None for group in grads for g in group):
            self.optimizer.step()
            self.lists = self._lists()
            return
        with self.no_grad:
            for one, given in zip(self.lists, grads, strict=True):
                self.kernel(one, given)  # type: ignore[arg-type]

    def _lists(self) -> list[_Lists]:
        """Nothing as long as a weight has not been moved yet."""
        found = []
        for group in self.optimizer.param_groups:
            states = [self.optimizer.state.get(p, {}) for p in group["params"]]
            wanted = ["exp_avg", "exp_avg_sq", "step"] if "betas" in group else ["momentum_buffer"]
            if group.get("momentum") == 0:
                wanted = []
            if any(s.get(name) is None for s in states for name in wanted):
                return []
            found.append(_Lists(group, list(group["params"]), {n: [s[n] for s in states] for n in wanted}))
        return found


def _adam(one: _Lists, grads: list[Tensor]) -> None:
    group, state = one.group, one.state
    torch._foreach_add_(state["step"], 1)
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    kernel(
        one.params,
        grads,
        state["exp_avg"],
        state["exp_avg_sq"],
        [],
        state["step"],
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


def _sgd(one: _Lists, grads: list[Tensor]) -> None:
    group = one.group
    torch._fused_sgd_(
        one.params,
        grads,
        one.state.get("momentum_buffer", []),
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=False,
        is_first_step=False,
    )
