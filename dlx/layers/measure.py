"""The plan of a layer that gives none: its module is built on torch's meta device and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lazy import torch
from ..shapes import Shape

if TYPE_CHECKING:
    from .base import Layer

DTYPES = {"float": "float32", "int": "int64", "bool": "bool"}


def measure(layer: Layer, *xs: Shape) -> dict[str, Any]:
    """The fields of a `Plan`, from `layer.module(*xs)`; it is taken to see its whole input, and to keep it."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = layer.module(*xs).eval()
        inputs = [torch.zeros(1, *x, dtype=getattr(torch, DTYPES[x.dtype])) for x in xs]
    with FlopCounterMode(display=False) as flops:
        y = module(*inputs)
    recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
    dtype = "float" if y.is_floating_point() else "bool" if y.dtype == torch.bool else "int"
    return {
        "shape": Shape(tuple(y.shape[1:]), dtype),
        "weights": {name: tuple(p.shape) for name, p in module.named_parameters()},
        "buffers": {name: tuple(b.shape) for name, b in module.named_buffers()},
        "macs": flops.get_total_flops() // 2,
        "window": "global",
        "sequential_steps": max(1, xs[0][0]) if recurrent and xs[0].rank > 1 else 1,
    }
