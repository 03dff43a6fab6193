"""Normalisation of weights: a wrapper around a layer."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError, did_you_mean
from ..registry import Choice
from ..shapes import Shape
from .base import LAYERS, OWN, Example, Layer, Plan, SavedIf

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4
Shapes = dict[str, tuple[int, ...]]
TRANSPOSED = "conv_transpose"
"""The layer whose weight has the input channels first."""


class _Reparametrised(Layer):
    """Base class of layers whose weight is computed from other tensors in each forward pass."""

    layer: Annotated[Layer, Choice(LAYERS)] = Field(description="the layer whose weight it is")
    name: str = Field("weight", description="which of its weights")

    learns: ClassVar[bool] = True

    def _weight(self, plan: Plan, dim: int | None) -> tuple[int, ...]:
        """Return the shape of the weight. ShapeError where it does not exist, or has no axis `dim`."""
        kind = self.layer.kind
        weight = plan.weights.get(self.name)
        if weight is None or "." in self.name:
            flat = [name for name in plan.weights if "." not in name]
            hint = did_you_mean(self.name, flat, "weights") if flat else "Wrap a layer such as `linear` or `conv`."
            has = f"no weight `{self.name}`" if flat else "no weight of its own"
            raise ShapeError(f"{self.kind} wraps {kind}, which has {has}", hint=hint)
        if dim is not None and dim >= max(len(weight), 1):
            raise ShapeError(
                f"{self.kind} has dim = {dim}, and `{self.name}` of {kind} is {Shape(weight)}",
                hint=f"Its axes are 0 to {len(weight) - 1}; 0 is what the layer gives.",
            )
        return tuple(weight)

    def _inner(self, xs: tuple[Shape, ...]) -> Plan:
        if not self.layer.takes_one:
            raise ShapeError(
                f"{self.kind} wraps a layer of one input, and {self.layer.kind} takes several", hint="Wrap its parts."
            )
        return self.layer.plan(*xs)

    def _instead(self, plan: Plan, weights: Shapes, buffers: Shapes, beside: int, passing: int = 1) -> Plan:
        """Return the plan of the layer with other tensors in place of the weight.

        torch saves the weight where the layer's backward pass reads it, and `beside` bytes. The backward pass
        allocates `passing` tensors of its size: its gradient, and those of a quotient.
        """
        made = FLOAT * prod(plan.weights[self.name])
        read = () if self.name == "bias" else plan.reads_weights  # what is added is in no gradient
        rest = {name: shape for name, shape in plan.weights.items() if name != self.name}
        at = f"parametrizations.{self.name}."
        return replace(
            plan,
            weights=rest | {at + name: shape for name, shape in weights.items()},
            buffers={**plan.buffers, **{at + name: shape for name, shape in buffers.items()}},
            saved_if=(*plan.saved_if, SavedIf(read, fixed=made), SavedIf((OWN,), fixed=beside)),
            derived_bytes=plan.derived_bytes + passing * made,
        )


class WeightNorm(_Reparametrised):
    """Learn norm and direction of a layer's weight separately: w = g * v / |v|.

    `dim` is the axis with a length for each entry: 0, what the layer gives; null takes one length for all of it.
    At the start g = |v|, so that w is what the layer alone would have begun with.

    Shapes: those of the layer.
    Cost: the MACs of the layer; as many more values to learn as `dim` has entries.
    Errors: a layer without that weight, or without that axis; those of the layer.
    Source: Salimans & Kingma 2016, arXiv:1602.07868, equation 2. torch: none; the function
        torch.nn.utils.parametrizations.weight_norm, whose g is `original0` and whose v is `original1`.
    """

    kind: ClassVar[str] = "weight_norm"
    dim: NonNegativeInt | None = Field(0, description="axis with a length for each entry; null: one length for all")

    example: ClassVar[Example] = Example(
        {"layer": {"conv": {"out_channels": 8, "kernel_size": 3}}},
        [(4, 10)],
        shape=(8, 8),
        params=8 + 8 * 4 * 3 + 8,  # lengths, directions, bias
        macs=8 * 4 * 3 * 8,
    )

    def plan(self, *xs: Shape) -> Plan:
        inner = self._inner(xs)
        v = self._weight(inner, self.dim)
        g = () if self.dim is None else tuple(n if axis == self.dim else 1 for axis, n in enumerate(v))
        return self._instead(inner, {"original0": g, "original1": v}, {}, beside=FLOAT * self._beside(v, prod(g)))

    def _beside(self, v: tuple[int, ...], lengths: int) -> int:
        """Return the number of values saved beside the weight: torch has a fused kernel for the first and last
        axis only.
        """
        if self.dim in (0, len(v) - 1):
            return lengths
        divided = 2 * lengths  # lengths and quotients
        if self.dim is None:
            return divided
        turned = [self.dim, *range(1, self.dim), 0, *range(self.dim + 1, len(v))]
        longer = [axis for axis in turned if v[axis] > 1]
        return divided + (prod(v) if longer != sorted(longer) else 0)

    def module(self, *xs: Shape) -> Module:
        from torch.nn.utils.parametrizations import weight_norm

        dim: Any = self.dim  # torch's annotation forgets None
        made: Module = weight_norm(self.layer.module(*xs), self.name, dim)
        return made


class SpectralNorm(_Reparametrised):
    """Divide a layer's weight by its largest singular value.

    The value is followed by power iteration, `n_power_iterations` steps in each training pass; its two vectors are
    buffers. A weight of one axis is divided by its length.

    Shapes: those of the layer.
    Cost: the MACs of the layer; the power iteration is not counted, as torch's counter has it.
    Errors: a layer without that weight, or without that axis; those of the layer.
    Source: Miyato et al. 2018, arXiv:1802.05957, section 2.1. torch: none; the function
        torch.nn.utils.parametrizations.spectral_norm, which keeps the weight as `original`.
    """

    kind: ClassVar[str] = "spectral_norm"
    n_power_iterations: PositiveInt = Field(1, le=1000, description="steps of power iteration in a training pass")
    eps: float = Field(1e-12, gt=0, le=1, description="smallest length that is divided by")
    dim: NonNegativeInt | None = Field(
        None, description="axis that is the rows of the weight as a matrix; null: what the layer gives"
    )

    example: ClassVar[Example] = Example(
        {"layer": {"conv": {"out_channels": 8, "kernel_size": 3}}},
        [(4, 10)],
        shape=(8, 8),
        params=8 * 4 * 3 + 8,
        macs=8 * 4 * 3 * 8,
        buffers=8 + 4 * 3,
    )

    def plan(self, *xs: Shape) -> Plan:
        inner = self._inner(xs)
        weight = self._weight(inner, self.dim)
        rows = weight[self._rows()] if weight else 1
        vectors: Shapes = {"0._u": (rows,), "0._v": (prod(weight) // rows,)} if len(weight) > 1 else {}
        rest = 1 + sum(map(prod, vectors.values())) if vectors else 2  # a length, before and after eps
        return self._instead(inner, {"original": weight}, vectors, beside=FLOAT * rest, passing=4)

    def module(self, *xs: Shape) -> Module:
        from torch.nn.utils.parametrizations import spectral_norm

        made: Module = spectral_norm(
            self.layer.module(*xs), self.name, self.n_power_iterations, self.eps, self._rows()
        )
        return made

    def _rows(self) -> int:
        return (1 if self.layer.kind == TRANSPOSED else 0) if self.dim is None else self.dim
