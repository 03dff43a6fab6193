"""One-dimensional regression: noisy curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Split
from .toys import Toy

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles


class Curve(Toy):
    """Points of a curve: an input x, uniform from `low` to `high`, and a target f(x) with normal noise.

    Shapes: inputs (1,), targets (1,).
    Functions: sine is sin(2 pi x); step is 0 below x = 1/2 and 1 from there on; sinc is sin(pi x) / (pi x), 1 at 0;
        bend is |x - 1/2|; line is x; square is x^2; cube is x^3; wave is sin(2 pi x) + sin(6 pi x) / 3, whose two
        frequencies a network learns one after the other.
    `inverse` swaps inputs and targets after the noise: some inputs then have several right targets, and their mean is
        none of them, which wants a mixture density.
    Errors: an interval that runs backwards.
    Source: Bishop 1994, "Mixture density networks", for `inverse`.
    """

    kind: ClassVar[str] = "curve"
    function: Literal["sine", "step", "sinc", "bend", "line", "square", "cube", "wave"] = Field(
        "sine", description="f"
    )
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to f(x)")
    low: float = Field(0.0, description="smallest x")
    high: float = Field(1.0, description="largest x")
    inverse: bool = Field(False, description="tell x from f(x)")

    source: ClassVar[str] = "a generated curve"

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"x runs from `low` {self.low:g} to `high` {self.high:g}: give the smaller number first")
        return self

    def facts(self) -> Facts:
        return Facts(Shape((1,)), target=Shape((1,)), examples=self.train)

    def f(self, x: Doubles) -> Doubles:
        """Evaluate the curve without noise."""
        if self.function in {"line", "square", "cube"}:
            return x ** {"line": 1, "square": 2, "cube": 3}[self.function]
        if self.function == "step":
            return (x >= 0.5).astype(np.float64)
        if self.function == "sinc":
            return np.sinc(x)
        if self.function == "bend":
            return np.abs(x - 0.5)
        sine = np.sin(2 * np.pi * x)
        return sine if self.function == "sine" else sine + np.sin(6 * np.pi * x) / 3

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        x = rng.uniform(self.low, self.high, (n, 1))
        y = self.f(x) + self.noise * rng.standard_normal((n, 1))
        inputs, targets = (y, x) if self.inverse else (x, y)
        return Split(inputs.astype(np.float32), targets.astype(np.float32))
