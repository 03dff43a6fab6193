"""Dropout of weights: a wrapper around a layer."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..registry import Choice
from ..shapes import Shape
from .base import LAYERS, OWN, Example, Layer, Plan, SavedIf

if TYPE_CHECKING:
    from torch.nn import Module


class DropConnect(Layer):
    """While training, set each weight of a layer to 0 with probability p, and divide the others by 1 - p.

    One mask serves the whole batch; the paper draws one for each sample, and averages over masks in evaluation, where
    here the weights are simply whole. Biases stay.

    Shapes: those of the layer.
    Cost: that of the layer.
    Errors: a layer that has no weights of two axes or more, or that takes several inputs; what the layer refuses.
    Source: Wan et al. 2013, "Regularization of neural networks using DropConnect", section 3. torch: none; it is
        functional.dropout on the weight.
    """

    kind: ClassVar[str] = "drop_connect"
    layer: Annotated[Layer, Choice(LAYERS)] = Field(description="the layer whose weights are dropped")
    p: float = Field(0.5, ge=0, le=1, description="probability that a weight is dropped")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"layer": {"linear": 10}}, [(64,)], shape=(10,), params=64 * 10 + 10, macs=64 * 10
    )

    def plan(self, *xs: Shape) -> Plan:
        kind = self.layer.kind
        if not self.layer.takes_one:
            raise ShapeError(f"drop_connect wraps a layer of one input, and {kind} takes several", "Wrap its parts.")
        inner = self.layer.plan(*xs)
        if not any(len(shape) > 1 for shape in inner.weights.values()):
            raise ShapeError(
                f"drop_connect wraps {kind}, which has no weights to drop",
                hint="Wrap a layer such as `linear` or `conv`; `- dropout` drops values.",
            )
        matrices = [shape for shape in inner.weights.values() if len(shape) > 1]
        dropped = 4 * sum(map(prod, matrices)) if self.p else 0
        mask = dropped if self.p < 1 else 4 * len(matrices)  # torch multiplies by a single 0 where p is 1
        return replace(
            inner,
            weights={f"layer.{name}": shape for name, shape in inner.weights.items()},
            saved_if=(*inner.saved_if, SavedIf(inner.reads_weights, fixed=dropped), SavedIf((OWN,), fixed=mask)),
            derived_bytes=inner.derived_bytes + dropped,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.paths import DropConnect as Built

        return Built(self.layer.module(*xs), self.p)
