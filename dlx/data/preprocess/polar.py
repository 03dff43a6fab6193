"""Points in polar coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from .base import Preprocess
from .sums import chunks, concatenated

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics


class Polar(Preprocess):
    """Turn points (x, y) into (r, theta): the distance from the origin, and the angle from -pi to pi.

    Shapes: (2,) -> (2,). Rings around the origin, which no line separates, become bands, which one does.
    Errors: inputs that are not two values.
    Source: the feature transform f(x, y) = (r, theta) of cs231n.
    """

    kind: ClassVar[str] = "polar"

    def output_shape(self, x: Shape) -> Shape:
        if tuple(x) != (2,):
            raise DataError(f"`polar` takes points of two values, and inputs are {x}")
        return x

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return concatenated(
            np.stack([np.hypot(c[:, 0], c[:, 1]), np.arctan2(c[:, 1], c[:, 0])], 1)
            for c in (np.asarray(c, np.float64) for c in chunks(x))
        )
