"""Differences, quotients, means, maxima, weighted sums and products of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from ..errors import ShapeError
from ..shapes import Shape, by_x
from .arithmetic import Line, default_lines, product
from .base import OWN, AxisMap, Example, InputPaths, Layer, Plan, SavedIf, all_floats
from .merge import broadcast_shape

if TYPE_CHECKING:
    from torch.nn import Module


class Subtract(Layer):
    """Subtract the second input from the first, elementwise.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the other.
    Cost: no MACs; subtractions are not counted.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: arithmetic. torch: none; it is x - y.
    """

    kind: ClassVar[str] = "subtract"

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        return Plan(shape=_of_floats("subtract", xs), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Subtract as Built

        return Built()


class Divide(Layer):
    """Divide the first input by the second, elementwise.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the other: (C, 1, 1) divides the channels of (C, H, W).
    Cost: no MACs; divisions are not counted.
    Errors: inputs that differ in rank, channels or size, or that are not of floats. A divisor of 0 gives infinity, or
        NaN where both are 0.
    Source: arithmetic. torch: none; it is torch.divide.
    """

    kind: ClassVar[str] = "divide"

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 1, 1)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        held = (SavedIf((1,), input=0), SavedIf((0, 1), input=1))
        return Plan(shape=_of_floats("divide", xs), saved=(), saved_if=held)

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Divide as Built

        return Built()


class Average(Layer):
    """Average the inputs elementwise: an ensemble, or a join of equal branches.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the others.
    Cost: no MACs; additions are not counted.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: Larsson et al. 2016, arXiv:1605.07648, section 3. torch: none; it is (x + y) / 2.
    """

    kind: ClassVar[str] = "average"

    arity: ClassVar[int | tuple[int, ...] | None] = None
    example: ClassVar[Example] = Example({}, [(10,), (10,), (10,)], shape=(10,))

    def plan(self, *xs: Shape) -> Plan:
        return Plan(shape=_of_floats("average", xs), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Average as Built

        return Built()


class Maximum(Layer):
    """Elementwise maximum of the inputs: maxout over branches.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the others.
    Cost: no MACs; comparisons are not counted.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: Goodfellow et al. 2013, arXiv:1302.4389, section 2. torch: none; it is torch.maximum.
    """

    kind: ClassVar[str] = "maximum"

    arity: ClassVar[int | tuple[int, ...] | None] = None
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5), (8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        shape = _of_floats("maximum", xs)
        pairs = [SavedIf(tuple(range(max(i, 1) + 1)), input=i) for i in range(len(xs))]
        between = [
            SavedIf(tuple(range(n + 1)), more=broadcast_shape("maximum", xs[:n]).bytes) for n in range(2, len(xs))
        ]
        return Plan(shape=shape, saved=(), saved_if=(*pairs, *between))

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Maximum as Built

        return Built()


def _some(weights: list[float] | None) -> list[float] | None:
    if weights is not None and len(weights) < 2:
        raise ValueError(f"`weights` holds one number for each input, two or more, not {weights}")
    return weights


class WeightedAdd(Layer):
    """Add the inputs with weights, fixed or learned.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the others.
    Cost: nothing learned, or one parameter an input; no MACs, as torch's counter has it.
    Errors: another number of weights than of inputs; inputs that differ in rank, channels or size, or that are not of
        floats.
    Source: Bachlechner et al. 2020, arXiv:2003.04887, section 3 (learned, from 0 on). torch: none; it is
        a * x + b * y.
    """

    kind: ClassVar[str] = "weighted_add"
    weights: Annotated[list[float] | None, AfterValidator(_some)] = Field(
        None, description="the weight of each input; where they are learned, what they begin with; null: all 1"
    )
    learned: bool = Field(False, description="whether training moves the weights")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = None
    example: ClassVar[Example] = Example(
        {"weights": [1, 0], "learned": True}, [(8, 5, 5), (8, 5, 5)], shape=(8, 5, 5), params=2
    )

    def plan(self, *xs: Shape) -> Plan:
        if self.weights is not None and len(self.weights) != len(xs):
            raise ShapeError(
                f"weighted_add has {len(self.weights)} weights, and {len(xs)} inputs come in",
                hint="Give one weight for each input, in their order.",
                inputs=xs,
            )
        shape = _of_floats("weighted_add", xs)
        if not self.learned:
            return Plan(shape=shape, saved=())
        held = tuple(SavedIf((OWN,), input=i) for i in range(len(xs)))
        return Plan(shape=shape, weights={"weight": (len(xs),)}, saved=(), saved_if=held)

    def module(self, *xs: Shape) -> Module:
        from ..modules.merge import WeightedAdd as Built

        return Built(self.weights or [1.0] * len(xs), self.learned)


class Matmul(Layer):
    """Matrix product of two inputs, over their last two axes.

    Shapes: (*, M, K) and (*, K, N) -> (*, M, N); one of the other axes may be 1 in one of them.
    Cost: M * K * N MACs for each place on the other axes; nothing learned.
    Errors: an input of a single axis; a K or other axes that differ; inputs of another rank; inputs that are not of
        floats.
    Source: linear algebra. torch: none; it is torch.matmul.
    """

    kind: ClassVar[str] = "matmul"

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example({}, [(3, 5, 4), (3, 4, 6)], shape=(3, 5, 6), macs=3 * 5 * 4 * 6)

    def plan(self, *xs: Shape) -> Plan:
        a, b = xs
        all_floats(xs, "matmul")
        if len(a) != len(b) or len(a) < 2:
            raise ShapeError(
                "matmul wants two matrices, or two stacks of them, and is given {0} and {1}",
                hint="`- reshape` gives a vector a second axis of 1; both need as many axes.",
                inputs=xs,
            )
        if a[-1] != b[-2]:
            way = " `- transpose` the second first." if a[-1] == b[-1] else ""
            raise ShapeError(
                f"matmul multiplies {{0}} by {{1}}: rows of {a[-1]} values do not fit columns of {b[-2]}",
                hint=f"The last axis of the first and the one before the last of the second must agree.{way}",
                inputs=xs,
            )
        if any(m != n and 1 not in (m, n) for m, n in zip(a[:-2], b[:-2], strict=True)):
            stacks = f"{by_x(a[:-2])} and {by_x(b[:-2])} matrices"
            raise ShapeError(
                f"matmul multiplies {{0}} by {{1}}, matrix by matrix: stacks of {stacks} differ",
                hint="Both have as many, as heads of attention do, or one has 1, which is multiplied by each.",
                inputs=xs,
            )
        around = broadcast_shape("matmul", (Shape((*a[:-2], 1)), Shape((*b[:-2], 1))))[:-1]
        shape = Shape((*around, a[-2], b[-1]))
        axes = range(len(a) - 2)
        rows, columns = AxisMap((*axes, len(a) - 2, None)), AxisMap((*axes, None, len(a) - 1))
        factors = (SavedIf((1,), input=0), SavedIf((0,), input=1))
        window = InputPaths(((0, rows), (1, columns)))
        return Plan(shape=shape, macs=shape.count * a[-1], window=window, saved=(), saved_if=factors)

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        *around, m, n = plan.shape
        numbers = f"{f'{product(around)} places * ' if around else ''}{m:,} * {xs[0][-1]:,} * {n:,}"
        formula = "places * M * K * N" if around else "M * K * N"
        return [*default_lines(plan, xs), Line("", formula, numbers, plan.macs, part="multiply-adds")]

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Matmul as Built

        return Built()


def _of_floats(kind: str, xs: tuple[Shape, ...]) -> Shape:
    shape = broadcast_shape(kind, xs)
    all_floats(xs, kind)
    return shape
