"""Plans of layers that define none: the module runs on torch's meta device, and is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..lazy import torch
from ..shapes import Shape

if TYPE_CHECKING:
    from .base import Layer, Plan

DTYPES = {"float": "float32", "int": "int64", "bool": "bool"}


def measure(layer: Layer, *xs: Shape) -> dict[str, Any]:
    """Return the fields of a `Plan`, measured from `layer.module(*xs)`.

    Such a layer is assumed to depend on its whole input, and to save it for the backward pass.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = layer.module(*xs)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module() returned {type(module).__name__}, and no torch.nn.Module")
        module.eval()
        inputs = [torch.zeros(1, *x, dtype=getattr(torch, DTYPES[x.dtype])) for x in xs]
    with FlopCounterMode(display=False) as flops:
        y = module(*inputs)
    recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
    return {
        "shape": Shape(tuple(y.shape[1:]), _dtype_of(y)),
        "weights": {name: tuple(p.shape) for name, p in module.named_parameters()},
        "buffers": {name: tuple(b.shape) for name, b in module.named_buffers()},
        "macs": flops.get_total_flops() // 2,
        "window": "global",
        "sequential_steps": max(1, xs[0][0]) if recurrent and xs[0].rank > 1 else 1,
    }


def difference(plan: Plan, module: Any, xs: Sequence[Shape]) -> str:
    """Return a sentence on the first difference between a module and its plan; empty where there is none.

    The module runs on torch's meta device, or where that is impossible a copy of it on a batch of two zeros.
    """
    if not isinstance(module, torch.nn.Module):
        return f"its module() returned {type(module).__name__}, and no torch.nn.Module"
    for what, planned, there in (
        ("weights", plan.weights, module.named_parameters()),
        ("buffers", plan.buffers, module.named_buffers()),
    ):
        has = {name: tuple(tensor.shape) for name, tensor in there}
        says = {name: tuple(shape) for name, shape in planned.items()}
        if has != says:
            return f"its plan has the {what} {_listed(says)}, and its module {_listed(has)}"
    return _difference_of_output(plan, _run(module, xs))


def _difference_of_output(plan: Plan, y: Any) -> str:
    """Return a sentence on the first difference between a plan and the output for a batch of two."""
    if not isinstance(y, torch.Tensor):
        return f"its module gives {type(y).__name__}, and no tensor"
    if y.dim() == 0 or y.shape[0] != 2:
        return f"its module gives {Shape(tuple(y.shape))} for a batch of 2, and the first axis is the batch"
    if tuple(y.shape[1:]) != tuple(plan.shape):
        return f"its plan gives {plan.shape} a sample, and its module {Shape(tuple(y.shape[1:]))}"
    planned, dtype = DTYPES[plan.shape.dtype], str(y.dtype).removeprefix("torch.")
    if dtype != planned and (_dtype_of(y) != plan.shape.dtype or y.is_floating_point()):
        return f"its plan gives values of {planned}, and its module of {dtype}"
    return ""


def _dtype_of(y: Any) -> str:
    """Return the dtype of a tensor as shapes have it."""
    return "float" if y.is_floating_point() else "bool" if y.dtype == torch.bool else "int"


def _run(module: Any, xs: Sequence[Shape]) -> Any:
    def on(device: str) -> Any:
        inputs = [torch.zeros(2, *x, dtype=getattr(torch, DTYPES[x.dtype]), device=device) for x in xs]
        return deepcopy(module).to(device).eval()(*inputs)

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            return on("meta")
        except Exception:  # noqa: BLE001 - it may look at values, which the meta device has none of
            return on("cpu")


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {Shape(shape)}" for name, shape in shapes.items()) or "none"
