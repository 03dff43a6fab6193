"""What every layer is: fields, `plan` (arithmetic, no torch), `module` (torch), and an example worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError
from ..registry import Declared, Registry, family
from ..shapes import Shape, Window

if TYPE_CHECKING:
    from torch import nn

Extent = PositiveInt | list[PositiveInt]
"""One number, or one for each axis of positions."""

Margin = NonNegativeInt | list[NonNegativeInt]
"""Positions added on each side: one number, or one for each axis."""

Reaches = Window | Literal["pointwise", "global", "flat"] | tuple[int, ...]
"""How far a layer looks: a window; only at its own position; everywhere; at no position any more; or at everything
on the axes of positions given (0 is the first after the channels)."""


@dataclass(frozen=True)
class Plan:
    """What a layer is going to be, known without torch.

    `weights` and `buffers` give each learned tensor and each running statistic by torch's name and shape;
    `macs` are multiply-adds of one sample, forward; `warnings` are sentences for the reader.
    """

    shape: Shape
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    macs: int = 0
    window: Reaches = "pointwise"
    crops: tuple[tuple[int, ...], ...] = ()
    """Positions cut from the start of each input before they meet, axis by axis; empty where nothing is cut."""
    view: bool = False
    """The output shares the memory of the input: it costs no activation memory."""
    keeps: tuple[Literal["inputs", "output"], ...] = ("inputs",)
    """Whose values torch holds from the forward to the backward pass."""
    keeps_more: int = 0
    """Bytes of a sample that it holds beside those: masks, indices, what is computed inside."""
    warnings: tuple[str, ...] = ()

    @cached_property
    def params(self) -> int:
        """Learned values."""
        return sum(prod(shape) for shape in self.weights.values())

    @cached_property
    def buffered(self) -> int:
        """Values in buffers."""
        return sum(prod(shape) for shape in self.buffers.values())


@dataclass(frozen=True)
class Example:
    """A layer worked by hand: `options` on `inputs` must give these numbers (`tests/layers/test_contract.py`)."""

    options: Mapping[str, Any]
    inputs: Sequence[Sequence[int]]
    shape: tuple[int, ...]
    params: int = 0
    macs: int = 0
    buffers: int = 0
    dtype: str = "float"
    witness: str = "torch"
    """"torch": FlopCounterMode counts the MACs too. Anything else says what vouches for them instead."""


LAYERS: Registry[Layer] = Registry("layer", "dlx.layers", "dlx.layers")


@family(LAYERS)
class Layer(Declared):
    """The root of all layers. A subclass is one class in one place: see CONTRIBUTING.md."""

    example: ClassVar[Example]
    arity: ClassVar[int | None] = 1
    """How many inputs it takes; None for any number from two."""
    learns: ClassVar[bool] = False
    """Whether it can hold weights, so that `share`, `tie`, `values` and `freeze` make sense."""
    ties: ClassVar[bool] = False
    """Whether it can run on the transposed weight of another layer (`tie`)."""

    def plan(self, *xs: Shape) -> Plan:
        """Shape, weights, MACs and window for inputs of shapes `xs`; ShapeError where they do not fit."""
        from .measured import measure

        return measure(self, *xs)

    def module(self, *xs: Shape) -> nn.Module:
        """The torch module; its `forward` takes batches, `(N, *x)` for each input."""
        raise TypeError(f"{type(self).__name__} has no module()")

    def tied_plan(self, x: Shape) -> Plan:
        """The plan of this layer on the transposed weight of another; it has no weight of its own."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_weight_shape(self, x: Shape) -> tuple[int, ...]:
        """The shape that the weight of the other layer must have."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_module(self, x: Shape) -> nn.Module:
        """The torch module whose `forward` takes a batch and the weight of the other layer."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def options(self, *leave_out: str) -> dict[str, Any]:
        """The fields as keyword arguments for torch, lists as tuples."""
        return {
            name: tuple(value) if isinstance(value := getattr(self, name), list) else value
            for name in type(self).model_fields
            if name not in leave_out
        }

    @classmethod
    def worked_example(cls) -> tuple[Layer, list[Shape], Example]:
        """The example as a layer and its inputs."""
        given = cls.example
        return cls.model_validate(given.options), [Shape(x, given.dtype) for x in given.inputs], given


def positions(x: Shape, kind: str) -> tuple[int, ...]:
    """The size of `x` on its one to three axes of positions."""
    if not 2 <= len(x) <= 4:
        raise ShapeError(
            f"{kind} slides over positions, and {{0}} has {f'{len(x) - 1} axes of them' if len(x) > 1 else 'none'}",
            hint="It wants (channels, length), (channels, height, width) or (channels, depth, height, width)"
            + ("; `- reshape: [1, -1]` makes one from a vector." if len(x) < 2 else "."),
            inputs=[x],
        )
    return x.size


def floats(x: Shape, kind: str) -> None:
    """Refuse an input of integers or truth values."""
    if x.dtype != "float":
        raise ShapeError(
            f"{kind} computes with floats, and {{0}} holds values of dtype {x.dtype}",
            hint=f"Declare the input as `{{shape: {list(x)}, dtype: float}}`, or turn it into floats first.",
            inputs=[x],
        )


def axis_of(x: Shape, dim: int, kind: str, inputs: Sequence[Shape] = ()) -> int:
    """The axis of `x` that torch's `dim` means, which counts the batch as axis 0 and may count from the end."""
    where = dim + len(x) + 1 if dim < 0 else dim
    if not 1 <= where <= len(x):
        axes = "{0} has only axis 1" if len(x) == 1 else f"the axes of {{0}} are 1 to {len(x)}"
        raise ShapeError(
            f"{kind} has dim = {dim}, and {axes}: the batch is axis 0",
            hint="1 is the channels, or the features of a vector; -1 is the last axis.",
            inputs=inputs or [x],
        )
    return where - 1


def unseen_warning(window: Window, size: Sequence[int]) -> tuple[str, ...]:
    """Say how many positions a stride leaves unread at the end, of axes that are alike in one sentence."""
    alike: dict[tuple[int, int], list[str]] = {}
    for axis, (n, of) in enumerate(zip(window.unseen(size), size, strict=True)):
        if n:
            alike.setdefault((n, of), []).append(f"axis {axis}")
    return tuple(
        f"the stride skips the end: the last {n} of {of} positions on "
        f"{'each axis' if len(axes) == len(size) > 1 else ' and '.join(axes)} {'is' if n == 1 else 'are'} never seen"
        for (n, of), axes in alike.items()
    )


def by_rank(*classes: Any) -> dict[int, Any]:
    """torch's 1-D, 2-D and 3-D class by the number of axes of positions."""
    return dict(enumerate(classes, start=1))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Axes = Annotated[list[int], BeforeValidator(_listed), Field(min_length=1)]
"""A list of numbers; one number is a list of one."""
