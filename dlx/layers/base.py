"""What every layer is: fields, `plan` (arithmetic, no torch), `module` (torch), and an example worked by hand."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError, first_line
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape, Window
from .arithmetic import Line, default_lines

if TYPE_CHECKING:
    from torch import nn

LARGEST = 2**31 - 1
"""Of sizes and strides in torch's kernels."""

Extent = Annotated[PositiveInt, Field(le=LARGEST)] | list[Annotated[PositiveInt, Field(le=LARGEST)]]
"""One number, or one for each axis of positions."""

Margin = Annotated[NonNegativeInt, Field(le=LARGEST)] | list[Annotated[NonNegativeInt, Field(le=LARGEST)]]
"""Positions added on each side: one number, or one for each axis."""


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Which axis of the input each axis of the output is, channels first (0); None for a new one.

    Of an axis that is gone every value sees all, or the one entry that `picked` names as (axis, entry).
    """

    axes: tuple[int | None, ...]
    picked: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AxisSlice:
    """Every `step`-th entry of an axis of the input from `start` on; below 0, entries are added before it."""

    axis: int
    start: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class AxisConcat:
    """The inputs end to end along an axis, 0 for the channels."""

    axis: int


@dataclass(frozen=True, slots=True)
class InputPaths:
    """Several ways from the inputs to the output, each with the number of its input: together they are seen."""

    paths: tuple[tuple[int, WindowLike], ...]


Saved = tuple[Literal["inputs", "output"], ...]
"""Whose values torch holds from the forward to the backward pass."""

OWN: Final = -1
"""A layer's own weights, in `Held`."""


@dataclass(frozen=True, slots=True)
class SavedIf:
    """Memory held by torch only where a gradient reaches one of `where`: inputs by number, or `OWN` for weights.

    An input; or bytes of a sample; or bytes whatever the batch, of what is worked out from the weights.
    """

    where: tuple[int, ...]
    input: int | None = None
    more: int = 0
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class SavedTensors:
    """Memory held by torch for one layer: inputs by number, the output, bytes per sample, bytes in all."""

    inputs: frozenset[int]
    output: bool
    more: int
    fixed: int


WindowLike: TypeAlias = (
    "Window | AxisMap | AxisSlice | AxisConcat | InputPaths | "
    "Literal['pointwise', 'global', 'flat', 'nothing'] | tuple[int, ...]"
)
"""How far a layer looks: under a window; at what it keeps of its axes, or cuts or joins; several ways; at its own
place alone; everywhere; at the same values on axes of other lengths; at nothing that comes in; or at everything on
some axes of positions (0 is the first after the channels, -1 the channels)."""


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
    window: WindowLike = "pointwise"
    by_channel: bool = False
    """Under a `Window`, each channel of the output sees its own channel of the input alone, as in a pool."""
    crops: tuple[tuple[int, ...], ...] = ()
    """Positions cut from the start of each input before they meet, axis by axis; empty where nothing is cut."""
    no_gradient: tuple[int, ...] = ()
    """Inputs that only say where values go, or which of them count: no gradient reaches them, and none is seen."""
    view: bool = False
    """The output shares the memory of the input: it costs no activation memory."""
    saved: Saved = ("inputs",)
    saved_bytes: int = 0
    """Bytes of a sample that torch holds beside those: masks, indices, what is computed inside. What does not grow
    with the batch is left out; `tests/layers/test_saved_tensors.py` measures it."""
    saved_if: tuple[SavedIf, ...] = ()
    """Memory held beside those, for the gradient of some inputs or of the weights alone."""
    reads_weights: tuple[int, ...] = (0, OWN)
    """For whose gradient the backward pass reads its weights: where a wrapper works them out, they stay for that."""
    derived_bytes: int = 0
    """Bytes that come and go for weights that are worked out from others: their gradient, and what is made of it."""
    passes_gradient: bool = False
    """The gradient of the output serves the inputs as it is, or in slices: none is computed, as for a sum."""
    sequential_steps: int = 1
    """Steps computed one after the other, as those of a recurrent layer, each a share of the MACs."""
    warnings: tuple[str, ...] = ()

    def saved_tensors(self, needs_grad: Collection[int], inputs: int) -> SavedTensors:
        """Memory held for the backward pass where a gradient reaches these inputs, by number, or `OWN` weights."""
        held = [each for each in self.saved_if if not set(each.where).isdisjoint(needs_grad)]
        all_of_them = range(inputs) if "inputs" in self.saved else ()
        return SavedTensors(
            frozenset({*all_of_them, *(each.input for each in held if each.input is not None)}),
            "output" in self.saved,
            self.saved_bytes + sum(each.more for each in held),
            sum(each.fixed for each in held),
        )

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


LAYERS: Registry[Layer] = FAMILIES["layer"]


@family(LAYERS)
class Layer(Declared):
    """The root of all layers. A subclass is one class in one place: see CONTRIBUTING.md."""

    example: ClassVar[Example]
    arity: ClassVar[int | tuple[int, ...] | None] = 1
    """How many inputs it takes, or each number that it can take; None for any number from two."""
    learns: ClassVar[bool] = False
    """Whether it can hold weights, so that `share`, `tie`, `values` and `freeze` make sense."""
    ties: ClassVar[bool] = False
    """Whether it can run on the weight of another layer (`tie`)."""
    lends: ClassVar[Literal["transposed", "as it is"] | None] = None
    """How a layer that is tied to this one runs its `weight`; None where none can."""

    def plan(self, *xs: Shape) -> Plan:
        """Shape, weights, MACs and window for inputs of shapes `xs`; ShapeError where they do not fit."""
        from .measure import measure

        return Plan(**measure(self, *xs))

    def values_per_statistic(self, batch: int, training: bool, *xs: Shape) -> int | None:
        """The fewest values of one mean and variance that torch takes over a batch of so many examples.

        torch refuses one. None for a layer that takes none over a batch.
        """
        return None

    def module(self, *xs: Shape) -> nn.Module:
        """The torch module; its `forward` takes batches, `(N, *x)` for each input."""
        raise TypeError(f"{type(self).__name__} has no module()")

    def tied_plan(self, x: Shape) -> Plan:
        """The plan of this layer on the weight of another; it has no weight of its own."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_weight_shape(self, x: Shape, transposed: bool = True) -> tuple[int, ...]:
        """The shape that the weight of the other layer must have."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_module(self, x: Shape, transposed: bool = True) -> nn.Module:
        """The torch module whose `forward` takes a batch and the weight of the other layer."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        """How its figures come about, for `dlx explain`: each axis of the output, and what the plan cannot tell.

        Parameters are the product of the axes of each weight, MACs those times the positions, where no line of their
        part says otherwise.
        """
        return default_lines(plan, xs)

    @classmethod
    def entry(cls, name: str) -> str:
        """What the docstring says under Shapes, Cost, Errors or Source, on one line."""
        text = " ".join(line.strip() for line in (cls.__doc__ or "").split("\n"))
        found = re.search(rf"\b{name}: (.*?)(?= (?:Shapes|Cost|Errors|Source|torch): |$)", text)
        return found[1].strip() if found else ""

    def options(self, *leave_out: str) -> dict[str, Any]:
        """The fields as keyword arguments for torch, lists as tuples."""
        return {
            name: tuple(value) if isinstance(value := getattr(self, name), list) else value
            for name in type(self).model_fields
            if name not in leave_out
        }

    @classmethod
    def mistake(cls) -> str:
        """Where its example is not what its plan says. One without an example or a plan of its own has none."""
        if "example" not in vars(cls) or cls.plan is Layer.plan:
            return ""
        try:
            layer, xs, by_hand = cls.worked_example()
            plan = layer.plan(*xs)
            planned = {"shape": tuple(plan.shape), "params": plan.params, "buffers": plan.buffered, "macs": plan.macs}
            found = [(name, getattr(by_hand, name), value) for name, value in planned.items()]
        except Exception as error:  # noqa: BLE001 - whatever its code raises
            return f"raises {type(error).__name__}: {first_line(error)}"
        return ", ".join(
            f"{name} is {hand} by hand and {plan} by its plan" for name, hand, plan in found if hand != plan
        )

    @classmethod
    def worked_example(cls) -> tuple[Layer, list[Shape], Example]:
        """The example as a layer and its inputs."""
        example = cls.example
        return cls.model_validate(example.options), [Shape(x, example.dtype) for x in example.inputs], example


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
    all_floats([x], kind)


def all_floats(xs: Sequence[Shape], kind: str) -> None:
    """Refuse inputs of which one is of integers or truth values."""
    for i, x in enumerate(xs):
        if x.dtype != "float":
            raise ShapeError(
                f"{kind} computes with floats, and {{{i}}} holds values of dtype {x.dtype}",
                hint=f"Declare the input as `{{shape: {list(x)}, dtype: float}}`, or turn it into floats first.",
                inputs=xs,
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
    for axis, (n, of) in enumerate(zip(window.uncovered(size), size, strict=True)):
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


Axes = Annotated[
    Annotated[list[int], Field(min_length=1)], BeforeValidator(_listed, json_schema_input_type=int | list[int])
]
"""A list of numbers; one number is a list of one."""
