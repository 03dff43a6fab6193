"""torch's fused kernels without the bookkeeping of torch.optim, which costs more than they do on small networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..lazy import torch
from ..utils.torch_private import MissingNameError, private

if TYPE_CHECKING:
    from torch import Tensor

ADAMS = ("Adam", "AdamW")
UNUSUAL = ("amsgrad", "maximize", "differentiable", "capturable")


def direct(
    optimizer: torch.optim.Optimizer, report: Callable[[Exception], Any] = lambda _: None
) -> Callable[[], Any]:
    """Return a function equal to `optimizer.step`, with the same state and bits but less overhead; or that method
    itself.

    `report` is called with an exception in the fast path; torch's own step is used from then on.
    """
    kind, groups = type(optimizer), optimizer.param_groups
    kernel = {"SGD": _sgd, **dict.fromkeys(ADAMS, _adam)}.get(kind.__name__)
    where = {(p.device, p.dtype) for group in groups for p in group["params"]}
    plain = all(g.get("fused") and not any(g.get(name) for name in UNUSUAL) for g in groups)
    if kernel is None or not kind.__module__.startswith("torch.optim") or len(where) != 1 or not plain:
        return optimizer.step
    try:
        return Direct(optimizer, kernel(), report)
    except MissingNameError as error:
        report(error)
        return optimizer.step


@dataclass(frozen=True)
class KernelCall:
    """A kernel and its arguments but for the learning rate."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class _KernelInputs:
    """Inputs of a kernel for one group, in the order of the weights."""

    group: dict[str, Any]
    params: list[Tensor]
    state: dict[str, list[Tensor]]
    steps: Tensor | None
    """Step counters of all weights, where there are any; those in `state` are views of it."""


Kernel = Callable[[_KernelInputs, "list[Tensor]"], KernelCall]
"""Function from the inputs of a group and its gradients to the call of the kernel."""


class Direct:
    """Calls the fused kernels. The first step is torch's own, which creates the state."""

    def __init__(self, optimizer: torch.optim.Optimizer, kernel: Kernel, report: Callable[[Exception], Any]) -> None:
        self.optimizer, self.kernel, self.report = optimizer, kernel, report
        self.refused = False
        self.lists: list[_KernelInputs] = []
        self.no_grad = torch.no_grad()

    def __call__(self) -> None:
        moves = self.moves()
        if not moves:
            self.optimizer.step()
            self.lists = [] if self.refused else self._lists()
            return
        with self.no_grad:
            for number, (one, move) in enumerate(zip(self.lists, moves, strict=True)):
                if one.steps is not None:
                    one.steps.add_(1)
                try:
                    move.op(*move.args, lr=one.group["lr"], **move.kwargs)
                except Exception as error:
                    if number:  # part of the weights has moved
                        raise
                    self._refuse(one, error)
                    return

    def _refuse(self, one: _KernelInputs, error: Exception) -> None:
        """Use torch's own step from now on."""
        if one.steps is not None:
            one.steps.sub_(1)
        self.refused, self.lists = True, []
        self.report(error)
        self.optimizer.step()

    def moves(self) -> list[KernelCall]:
        """Return the kernel call of each group; empty as long as there is no state."""
        grads = [[p.grad for p in one.params] for one in self.lists]
        if any(g is None for group in grads for g in group):
            return []
        return [self.kernel(one, group_grads) for one, group_grads in zip(self.lists, grads, strict=True)]  # type: ignore[arg-type]

    def _lists(self) -> list[_KernelInputs]:
        """Return the kernel inputs of each group; empty as long as a weight has no state."""
        found = []
        for group in self.optimizer.param_groups:
            # weights that are frozen for a while have neither gradients nor state
            params = [p for p in group["params"] if p.requires_grad]
            if not params:
                continue
            states = [self.optimizer.state.get(p, {}) for p in params]
            wanted = ["exp_avg", "exp_avg_sq", "step"] if "betas" in group else ["momentum_buffer"]
            if group.get("momentum") == 0:
                wanted = []
            if any(s.get(name) is None for s in states for name in wanted):
                return []
            steps = _joined(states) if "step" in wanted else None
            found.append(_KernelInputs(group, params, {n: [s[n] for s in states] for n in wanted}, steps))
        return found


def _joined(states: list[dict[str, Tensor]]) -> Tensor:
    """Stack the step counters of all weights to one tensor, so that one operation increments them."""
    steps = torch.stack([state["step"] for state in states])
    for state, step in zip(states, steps.unbind(), strict=True):
        state["step"] = step
    return steps


def _adam() -> Kernel:
    kernels = {True: private("torch._fused_adamw_"), False: private("torch._fused_adam_")}

    def move(one: _KernelInputs, grads: list[Tensor]) -> KernelCall:
        group, state = one.group, one.state
        beta1, beta2 = group["betas"]
        return KernelCall(
            kernels[bool(group["decoupled_weight_decay"])],
            (one.params, grads, state["exp_avg"], state["exp_avg_sq"], [], state["step"]),
            {
                "beta1": beta1,
                "beta2": beta2,
                "weight_decay": group["weight_decay"],
                "eps": group["eps"],
                "amsgrad": False,
                "maximize": False,
            },
        )

    return move


def _sgd() -> Kernel:
    kernel = private("torch._fused_sgd_")

    def move(one: _KernelInputs, grads: list[Tensor]) -> KernelCall:
        group = one.group
        return KernelCall(
            kernel,
            (one.params, grads, one.state.get("momentum_buffer", [])),
            {
                "weight_decay": group["weight_decay"],
                "momentum": group["momentum"],
                "dampening": group["dampening"],
                "nesterov": group["nesterov"],
                "maximize": False,
                "is_first_step": False,
            },
        )

    return move
