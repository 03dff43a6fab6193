"""The base class of layers: fields, `plan` (arithmetic without torch), `module` (torch), and an example worked
by hand.
"""

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
from ..shapes import Shape, Window, by_x
from .arithmetic import Line, default_lines

if TYPE_CHECKING:
    from torch import nn

LARGEST = 2**31 - 1
"""Upper bound of sizes and strides: torch's kernels index with 32-bit integers."""

Extent = Annotated[PositiveInt, Field(le=LARGEST)] | list[Annotated[PositiveInt, Field(le=LARGEST)]]
"""A positive number for all axes of positions, or a list with one number for each."""

Margin = Annotated[NonNegativeInt, Field(le=LARGEST)] | list[Annotated[NonNegativeInt, Field(le=LARGEST)]]
"""Positions added on each side: one number for all axes of positions, or a list with one for each."""


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Axes of the input that become axes of the output: a permutation, a reduction, or a new axis.

    `axes[k]` is the axis of the input (0 is the channels) that axis k of the output comes from; None for a new axis.
    Each output value depends on all entries of an input axis that is missing from `axes`, or on a single entry where
    `picked` has the pair (axis, entry).
    """

    axes: tuple[int | None, ...]
    picked: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AxisSlice:
    """Every `step`-th entry of an input axis from `start` on; a negative `start` means entries added before the
    first.
    """

    axis: int
    start: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class AxisConcat:
    """The inputs concatenated along an axis; axis 0 is the channels."""

    axis: int


@dataclass(frozen=True, slots=True)
class InputPaths:
    """Several dependencies at once, each with the index of its input; the output depends on the union of all of
    them.
    """

    paths: tuple[tuple[int, WindowLike], ...]


Saved = tuple[Literal["inputs", "output"], ...]
"""Tensors whose values torch saves from the forward for the backward pass."""

OWN: Final = -1
"""Index that stands for the layer's own weights, beside the indices of its inputs."""


@dataclass(frozen=True, slots=True)
class SavedIf:
    """Memory that torch saves only if some gradient is required.

    Attributes:
        where: indices of inputs, or `OWN` for the weights; saved if one of them requires a gradient.
        input: index of the input that is saved as it is; None for none.
        more: bytes per sample.
        fixed: bytes that do not depend on the batch size, such as those of a weight computed from other weights.
    """

    where: tuple[int, ...]
    input: int | None = None
    more: int = 0
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class SavedTensors:
    """Memory saved by torch for the backward pass of one layer.

    Attributes:
        inputs: indices of the inputs that are saved.
        output: whether the output is saved.
        more: bytes per sample beside those.
        fixed: bytes that do not depend on the batch size.
    """

    inputs: frozenset[int]
    output: bool
    more: int
    fixed: int


WindowLike: TypeAlias = (
    "Window | AxisMap | AxisSlice | AxisConcat | InputPaths | "
    "Literal['pointwise', 'global', 'flat', 'nothing'] | tuple[int, ...]"
)
"""The input values that an output value depends on.

A `Window` slides over positions; `AxisMap`, `AxisSlice` and `AxisConcat` rearrange axes; `InputPaths` is a union.
"pointwise": the value at the same place; "global": every value; "flat": the values in the same order on other axes;
"nothing": no value of the input. A tuple names axes of positions along which all values are seen, at the same place
on the others (0 is the first axis after the channels, -1 the channels)."""


@dataclass(frozen=True)
class Plan:
    """Shape, weights and cost of a layer for given input shapes, computed without torch.

    All shapes and numbers are those of one sample, without the batch axis. A subclass of `Layer` without a `plan`
    gets one by running its module on torch's meta device.

    Attributes:
        shape: shape of the output.
        weights: shape of each learned tensor, by torch's name.
        buffers: shape of each tensor that is saved but not learned, such as a running mean, by torch's name.
        macs: multiply-accumulate operations of the forward pass, as torch's FlopCounterMode counts them, halved.
        window: the input values that an output value depends on, for the receptive field.
        warnings: sentences for the user.
    """

    shape: Shape
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    macs: int = 0
    window: WindowLike = "pointwise"
    by_channel: bool = False
    """Whether, under a `Window`, an output channel depends on the input channel of the same number only, as in
    pooling."""
    crops: tuple[tuple[int, ...], ...] = ()
    """Positions cut from the start of each input before they are combined, axis by axis; empty where nothing is
    cut."""
    no_gradient: tuple[int, ...] = ()
    """Indices of inputs that only select or mask values: they get no gradient, and no receptive field."""
    view: bool = False
    """Whether the output shares the memory of the input, so that it takes no memory of its own."""
    saved: Saved = ("inputs",)
    """Tensors that torch saves for the backward pass: "inputs" (all of them) and "output"."""
    saved_bytes: int = 0
    """Bytes per sample that torch saves beside those, such as masks, indices and intermediate results. Memory
    that does not grow with the batch is left out. `tests/layers/test_saved_tensors.py` measures it."""
    saved_if: tuple[SavedIf, ...] = ()
    """Memory that torch saves only where some inputs, or the weights, require a gradient."""
    reads_weights: tuple[int, ...] = (0, OWN)
    """Indices of inputs (or `OWN`) whose gradients need the weights: a weight that a wrapper computes is saved
    for them."""
    derived_bytes: int = 0
    """Temporary bytes of the backward pass for weights that are computed from others, such as their gradients."""
    passes_gradient: bool = False
    """Whether the gradient of the output is that of the inputs, or slices of it, without a computation, as for
    a sum."""
    sequential_steps: int = 1
    """Number of steps that run one after the other, as in a recurrent layer; each has an equal part of the MACs."""
    warnings: tuple[str, ...] = ()

    def saved_tensors(self, needs_grad: Collection[int], inputs: int) -> SavedTensors:
        """Return the memory saved for the backward pass.

        Arguments:
            needs_grad: indices of the inputs that require a gradient, and `OWN` if the weights do.
            inputs: number of inputs.
        """
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
        """Number of learned values."""
        return sum(prod(shape) for shape in self.weights.values())

    @cached_property
    def buffered(self) -> int:
        """Number of values in buffers."""
        return sum(prod(shape) for shape in self.buffers.values())


@dataclass(frozen=True)
class Example:
    """Numbers of a layer worked out by hand, which `plan` and torch must reproduce (`tests/layers/test_contract.py`).

    Attributes:
        options: fields of the layer.
        inputs: shape of each input, without the batch axis.
        shape, params, macs, buffers: the expected shape of the output and numbers of the plan.
        dtype: "float", "int" or "bool", of all inputs, or a list with that of each.
    """

    options: Mapping[str, Any]
    inputs: Sequence[Sequence[int]]
    shape: tuple[int, ...]
    params: int = 0
    macs: int = 0
    buffers: int = 0
    dtype: str | Sequence[str] = "float"
    witness: str = "torch"
    """Second source of the MACs: "torch" (FlopCounterMode), or a text that names another one."""

    @property
    def dtypes(self) -> list[str]:
        """The dtype of each input."""
        return [self.dtype] * len(self.inputs) if isinstance(self.dtype, str) else list(self.dtype)

    def shapes(self) -> list[Shape]:
        """Return the shape of each input."""
        return [Shape(x, dtype) for x, dtype in zip(self.inputs, self.dtypes, strict=True)]


LAYERS: Registry[Layer] = FAMILIES["layer"]


@family(LAYERS)
class Layer(Declared):
    """Base class of all layers.

    A subclass has a `kind`, pydantic fields with torch's names and defaults, `plan`, `module`, a docstring with the
    entries Shapes, Cost, Errors and Source, and an `example`. Defining the class registers it. See CONTRIBUTING.md.
    """

    required = ("module",)
    example: ClassVar[Example]
    arity: ClassVar[int | tuple[int, ...] | None] = 1
    """Number of inputs; a tuple for several allowed numbers; None for two or more."""
    input_names: ClassVar[tuple[str, ...]] = ()
    """torch's names of the inputs, in their order, by which a mapping in `from` gives them; none for lists alone.

    The last ones may be left out. A field `takes` of such names allows to leave out any but the first: it is set to
    those that are given.
    """
    words_elsewhere: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "padding": {
            "causal": "`- pad: [LEFT, 0]` before it adds positions on the left alone.",
            "same": "Write half the kernel, 1 for a kernel of 3; or put a `pad_same` before it.",
            "valid": "Without padding it is 0.",
            **dict.fromkeys(
                ("zeros", "reflect", "replicate", "circular"),
                "`padding` says how many positions; `padding_mode`, where a layer has it, what is in them.",
            ),
        }
    }
    hiding: ClassVar[Mapping[str, bool]] = {}
    """For each mask among the inputs, by name, the truth value that hides."""
    from_data: ClassVar[Mapping[str, str]] = {}
    """For each field that the data of the spec can give, by its name, the fact that it is: `vocabulary`."""
    learns: ClassVar[bool] = False
    """Whether the layer can have weights, so that `share`, `tie`, `values` and `freeze` apply to it."""
    ties: ClassVar[bool] = False
    """Whether the layer can use the weight of another layer (`tie`)."""
    lends: ClassVar[Literal["transposed", "as it is"] | None] = None
    """How another layer that is tied to this one uses its `weight`; None where that is not possible."""

    @property
    def takes_one(self) -> bool:
        """Whether it can run on one input, so that a wrapper of one input can hold it."""
        return self.arity == 1 or (isinstance(self.arity, tuple) and 1 in self.arity)

    def plan(self, *xs: Shape) -> Plan:
        """Return the plan for inputs of shapes `xs`, each without the batch axis.

        Raises:
            ShapeError: the inputs do not fit the layer; `{0}` in the message stands for the name of the first input.
        """
        from .measure import measure

        return Plan(**measure(self, *xs))

    def results(self, *xs: Shape) -> Mapping[str, Shape]:
        """Return the shapes of results beside the output, by the names that `from: memory.state` takes them by.

        A module of such a layer packs them behind its output, in this order, while its `packs` is true.
        """
        return {}

    def values_per_statistic(self, batch: int, training: bool, *xs: Shape) -> int | None:
        """Return the smallest number of values from which a mean and a variance are computed in a batch of `batch`
        samples.

        torch raises an error if it is 1. None for a layer without statistics over the batch.
        """
        return None

    def module(self, *xs: Shape) -> nn.Module:
        """Return the torch module; its `forward` takes one batch `(N, *x)` for each input shape `x`."""
        raise TypeError(f"{type(self).__name__} has no module()")

    def tied_plan(self, x: Shape) -> Plan:
        """Return the plan of the layer with the weight of another layer, so without a weight of its own."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_weight_shape(self, x: Shape, transposed: bool = True) -> tuple[int, ...]:
        """Return the shape that the weight of the other layer must have."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def tied_module(self, x: Shape, transposed: bool = True) -> nn.Module:
        """Return the torch module whose `forward` takes a batch and the weight of the other layer."""
        raise TypeError(f"`{self.kind}` cannot be tied")

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        """Return the arithmetic behind the figures of the plan, for `dlx explain`.

        By default a line for each axis of the output follows from the plan. Parameters are the products of the axes
        of each weight, and MACs those times the number of positions, unless a line with that `part` is returned.
        """
        return default_lines(plan, xs)

    @classmethod
    def entry(cls, name: str) -> str:
        """Return the text under Shapes, Cost, Errors or Source in the docstring, on one line; empty where there
        is none.
        """
        text = " ".join(line.strip() for line in (cls.__doc__ or "").split("\n"))
        found = re.search(rf"\b{name}: (.*?)(?= (?:Shapes|Cost|Errors|Source|torch): |$)", text)
        return found[1].strip() if found else ""

    def options(self, *leave_out: str) -> dict[str, Any]:
        """Return the fields as keyword arguments for torch, with tuples for lists, but for those named in
        `leave_out`.
        """
        return {
            name: tuple(value) if isinstance(value := getattr(self, name), list) else value
            for name in type(self).model_fields
            if name not in leave_out
        }

    @classmethod
    def mistake(cls) -> str:
        """Return a missing method, or where the plan contradicts the example; measured layers are not checked."""
        missing = super().mistake()
        if missing or "example" not in vars(cls) or cls.plan is Layer.plan:
            return missing
        try:
            layer, xs, by_hand = cls.worked_example()
            plan = layer.plan(*xs)
            planned = {"shape": tuple(plan.shape), "params": plan.params, "buffers": plan.buffered, "macs": plan.macs}
            found = [(name, getattr(by_hand, name), value) for name, value in planned.items()]
        except Exception as error:  # noqa: BLE001 - whatever its code raises
            return f"has an example that raises {type(error).__name__}: {first_line(error)}"
        wrong = [f"{name} is {hand} by hand and {plan} by its plan" for name, hand, plan in found if hand != plan]
        return f"has a wrong example: {', '.join(wrong)}" if wrong else ""

    @classmethod
    def worked_example(cls) -> tuple[Layer, list[Shape], Example]:
        """Return the example as a layer, its input shapes, and the expected numbers."""
        example = cls.example
        return cls.model_validate(example.options), example.shapes(), example


def positions(x: Shape, kind: str) -> tuple[int, ...]:
    """Return the size of `x` on its one to three axes of positions. ShapeError for another number of axes."""
    if not 2 <= len(x) <= 4:
        raise ShapeError(
            f"{kind} slides over positions, and {{0}} has {f'{len(x) - 1} axes of them' if len(x) > 1 else 'none'}",
            hint="It wants (channels, length), (channels, height, width) or (channels, depth, height, width)"
            + ("; `- reshape: [1, -1]` makes one from a vector." if len(x) < 2 else "."),
            inputs=[x],
        )
    return x.size


def floats(x: Shape, kind: str) -> None:
    """Raise a ShapeError for an input of integers or truth values."""
    all_floats([x], kind)


def all_floats(xs: Sequence[Shape], kind: str) -> None:
    """Raise a ShapeError if one of the inputs has integers or truth values."""
    for i, x in enumerate(xs):
        if x.dtype != "float":
            raise ShapeError(
                f"{kind} computes with floats, and {{{i}}} holds values of dtype {x.dtype}",
                hint=f"Declare the input as `{{shape: {list(x)}, dtype: float}}`, or turn it into floats first.",
                inputs=xs,
            )


def axis_of(x: Shape, dim: int, kind: str, inputs: Sequence[Shape] = ()) -> int:
    """Return the axis of `x` for torch's `dim`, which counts the batch as axis 0 and may be negative.

    Raises:
        ShapeError: `dim` is the batch, or no axis of `x`.
    """
    where = dim + len(x) + 1 if dim < 0 else dim
    if not 1 <= where <= len(x):
        axes = "{0} has only axis 1" if len(x) == 1 else f"the axes of {{0}} are 1 to {len(x)}"
        raise ShapeError(
            f"{kind} has dim = {dim}, and {axes}: the batch is axis 0",
            hint="1 is the channels, or the features of a vector; -1 is the last axis.",
            inputs=inputs or [x],
        )
    return where - 1


def window_warnings(window: Window, size: Sequence[int], padded: bool = True) -> tuple[str, ...]:
    """Return sentences about positions at the end that a stride never reads, and about windows on padding alone.

    Not `padded` is for a padding that holds values of the input.
    """
    alike: dict[tuple[int, int], list[str]] = {}
    for axis, (n, of) in enumerate(zip(window.uncovered(size), size, strict=True)):
        if n:
            alike.setdefault((n, of), []).append(f"axis {axis}")
    unseen = (
        f"the stride skips the end: the last {n} of {of} positions on "
        f"{'each axis' if len(axes) == len(size) > 1 else ' and '.join(axes)} {'is' if n == 1 else 'are'} never seen"
        for (n, of), axes in alike.items()
    )
    if not padded or all(p < extent for p, extent in zip(window.before, window.extent, strict=True)):
        return tuple(unseen)
    wide = f"padding {by_x(window.before)} is as wide as a window of {by_x(window.extent)}, or wider"
    return (*unseen, f"{wide}: outputs at the edge see padding alone")


def by_rank(*classes: Any) -> dict[int, Any]:
    """Map 1, 2 and 3 axes of positions to torch's 1-D, 2-D and 3-D class."""
    return dict(enumerate(classes, start=1))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Axes = Annotated[
    Annotated[list[int], Field(min_length=1)], BeforeValidator(_listed, json_schema_input_type=int | list[int])
]
"""A list of axes; a single number is a list of one."""
