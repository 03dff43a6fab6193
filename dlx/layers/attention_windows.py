"""Additions to the scores of attention within windows."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, by_x
from .base import OWN, Example, Layer, Plan, SavedIf, floats

if TYPE_CHECKING:
    from torch.nn import Module


class RelativePositionBias(Layer):
    """Add a learned value to each attention score, by the relative position of query and key in their window.

    Shapes: (*, heads, T, T) -> the same, where T is the product of `window_size`.
    Cost: (2 * w - 1) for each w of `window_size`, multiplied, and times the heads: so many parameters; T * T indices
        as a buffer; no MACs.
    Errors: an input that is not of (heads, T, T), or not of floats.
    Source: Liu et al. 2021, arXiv:2103.14030, equation 4. torch: none; torchvision's ShiftedWindowAttention names the
        table and the indices.
    """

    kind: ClassVar[str] = "relative_position_bias"
    window_size: list[PositiveInt] = Field(min_length=1, description="places of a window on each axis")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"window_size": [2, 3]}, [(4, 6, 6)], shape=(4, 6, 6), params=3 * 5 * 4, buffers=6 * 6
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "relative_position_bias")
        _check_scores(x, self.window_size, "relative_position_bias")
        rows = prod(2 * w - 1 for w in self.window_size)
        return Plan(
            shape=x,
            weights={"relative_position_bias_table": (rows, x[-3])},
            buffers={"relative_position_index": (x[-1] * x[-1],)},
            saved=(),
            passes_gradient=True,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention_windows import RelativePositionBias as Built

        return Built(self.window_size, xs[0][-3])


class ContinuousRelativePositionBias(Layer):
    """Add 16 * sigmoid(a small network of the relative position) to each attention score.

    The position is log-spaced: sign(d) * log2(1 + 8 |d|) / log2(8) on each axis, with d = 1 at the far end of the
    window. So the network goes on to larger windows: `pretrained_window_size` names the one that it was trained on.

    Shapes: (*, heads, T, T) -> the same, where T is the product of `window_size`.
    Cost: with R relative positions, the product of 2 * w - 1, and k axes: hidden_features * (k + 1 + heads)
        parameters; buffers of R * k positions and T * T indices. The network runs once for a batch: its R *
        hidden_features * (k + heads) MACs are of no sample, and not counted.
    Errors: an input that is not of (heads, T, T), or not of floats; lists of several lengths.
    Source: Liu et al. 2021, arXiv:2111.09883, equations 3 and 4. torch: none; torchvision's ShiftedWindowAttentionV2
        has these weights and buffers, under these names.
    """

    kind: ClassVar[str] = "continuous_relative_position_bias"
    window_size: list[PositiveInt] = Field(min_length=1, description="places of a window on each axis")
    hidden_features: PositiveInt = Field(512, description="values between the two linear layers")
    pretrained_window_size: list[PositiveInt] | None = Field(
        None, description="window whose far end counts as 1; null: this one"
    )

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"window_size": [2, 3], "hidden_features": 8},
        [(4, 6, 6)],
        shape=(4, 6, 6),
        params=8 * 2 + 8 + 4 * 8,
        buffers=3 * 5 * 2 + 6 * 6,
        witness="tests/layers/test_attention_v2.py, by the paper's equations: torch's counter has the network too",
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        _check_scores(x, self.window_size, self.kind)
        if self.pretrained_window_size is not None and len(self.pretrained_window_size) != len(self.window_size):
            raise ShapeError(
                f"{self.kind} has a window of {by_x(self.window_size)}, and one of "
                f"{by_x(self.pretrained_window_size)} before",
                hint="Give one number for each axis.",
            )
        axes, heads, sides = len(self.window_size), x[-3], tuple(2 * w - 1 for w in self.window_size)
        inside = self.hidden_features
        return Plan(
            shape=x,
            weights={
                "cpb_mlp.0.weight": (inside, axes),
                "cpb_mlp.0.bias": (inside,),
                "cpb_mlp.2.weight": (heads, inside),
            },
            buffers={
                "relative_coords_table": (1, *sides, axes),
                "relative_position_index": (x[-1] * x[-1],),
            },
            saved=(),
            saved_if=(SavedIf((OWN,), fixed=4 * prod(sides) * (inside + heads)),),
            passes_gradient=True,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention_windows import ContinuousRelativePositionBias as Built

        before = self.pretrained_window_size or self.window_size
        return Built(self.window_size, xs[0][-3], self.hidden_features, before)


class ShiftedWindowMask(Layer):
    """Subtract 100 from attention scores between places that only a cyclic shift brought into one window.

    `- roll` by `-shift` comes before the windows are cut, and `- roll` back after the attention.

    Shapes: (windows, heads, T, T) -> the same, where the windows are those of `size` / `window_size`, row by row.
    Cost: nothing learned; no MACs.
    Errors: a `size` that its windows do not fill; lists of several lengths; a `shift` as long as the window; an input
        of other windows, or not of floats.
    Source: Liu et al. 2021, arXiv:2103.14030, section 3.2 and figure 4. torch: none; torchvision does it within its
        ShiftedWindowAttention.
    """

    kind: ClassVar[str] = "shifted_window_mask"
    size: list[PositiveInt] = Field(min_length=1, description="places of the whole map on each axis")
    window_size: list[PositiveInt] = Field(min_length=1, description="places of a window on each axis")
    shift: list[NonNegativeInt] = Field(min_length=1, description="places that the map was rolled on each axis")

    example: ClassVar[Example] = Example(
        {"size": [4, 6], "window_size": [2, 3], "shift": [1, 1]}, [(4, 2, 6, 6)], shape=(4, 2, 6, 6)
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "shifted_window_mask")
        size, window, shift = self.size, self.window_size, self.shift
        if not len(size) == len(window) == len(shift) or any(n % w for n, w in zip(size, window, strict=True)):
            raise ShapeError(
                f"windows of {by_x(window)} do not fill a map of {by_x(size)}, shifted by {by_x(shift)}",
                hint="Give one number for each axis, and a `size` that is a multiple of `window_size`.",
            )
        if any(s >= w for s, w in zip(shift, window, strict=True)):
            raise ShapeError(
                f"a shift of {by_x(shift)} moves windows of {by_x(window)} past each other",
                hint="Shift by less than a window: half of it, in Swin.",
            )
        _check_scores(x, window, "shifted_window_mask")
        windows = prod(size) // prod(window)
        if len(x) != 4 or x[0] != windows:
            raise ShapeError(
                f"a map of {by_x(size)} has {windows} windows of {by_x(window)}, and {{0}} is not of as many",
                hint=f"The scores are ({windows}, heads, {x[-1]}, {x[-1]}).",
                inputs=[x],
            )
        return Plan(shape=x, saved=(), passes_gradient=True)

    def module(self, *_: Shape) -> Module:
        from ..modules.attention_windows import ShiftedWindowMask as Built

        return Built(self.size, self.window_size, self.shift)


def _check_scores(x: Shape, window: list[int], kind: str) -> None:
    places = prod(window)
    if len(x) < 3 or x[-2:] != (places, places):
        raise ShapeError(
            f"{kind} wants the scores of {places} places for {places}, as a window of {by_x(window)} has, not {{0}}",
            hint=f"Their axes are (windows, heads, {places}, {places}): `- matmul` of queries and transposed keys.",
            inputs=[x],
        )
