"""Convolutions of few channels, network after network, as products of matrices for strips of output rows.

A strip is some neighbouring rows of the output. With all its channels it is one product: a band matrix that repeats
the kernel once a row, times the lines of the input that the strip sees. Where tensors lie batch last, as (height,
channels, width, batch), those lines follow each other in memory, and the lines of the output too, so that nothing is
gathered or put back around a product but the shifts of the kernel along the width. Products are as wide as strips are
high: a processor that computes 8 numbers at a time is no quicker with 1 or 6. In front of a pooling of pairs they are
as wide as two columns instead, which leaves even and odd columns apart. The products of all strips are one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import storage
from ..replay.script import Operation, copy, operation
from ..replay.tape import RecordedCall, geometry
from . import aligned_memory, convolution

if TYPE_CHECKING:
    from .stack import Stack

aten: Any = torch.ops.aten
MAX_CHANNELS = 7
"""Channels of the input, at most: oneDNN's own kernels compute 8 at a time."""
MAX_WIDTH = 32
"""Rows of the band matrix, at most: above, its zeros cost more than the width of the product gains."""
TURNED_FROM = 16
"""Lines of a strip from which the gradient of its band is quicker as its transpose: MKL computes 16 at a time."""
MIN_VALUES = 131_072
"""Values of the windows of one network's batch below which one call of oneDNN is faster than these several."""


def takes(stack: Stack, call: RecordedCall) -> bool:
    """Whether a convolution is computed by strips."""
    x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = call.args
    if x.dim() != 4 or x.dtype != torch.float32 or transposed or groups != 1 or {*stride, *dilation} != {1}:
        return False
    if not {storage(x), storage(weight)} <= stack.unshared or prod(weight.shape[2:]) == 1:
        return False
    if x.shape[1] > MAX_CHANNELS or weight.shape[0] > MAX_WIDTH or convolution.takes(stack, call):
        return False
    if x.shape[1] in (2, 3) and weight.shape[0] % 8 == 0:
        return False  # oneDNN has kernels for pictures in colour, faster by a fifth where outputs fill its vectors
    return Geometry(x, weight, padding).values >= MIN_VALUES


class Geometry:
    """Sizes of a convolution by strips. `lines` are (height, channels, width, batch).

    With two `phases` a column of the product is a pair of output columns: lines of the output are (phases, features,
    pairs, batch), and lines of the input that a pair sees are (shifts, phases, channels, pairs, batch).
    """

    def __init__(self, x: Tensor, weight: Tensor, padding: Sequence[int], phases: int = 1) -> None:
        self.batch, self.channels, *self.inside = x.shape
        self.features, _, *self.kernel = weight.shape
        self.padding, self.phases = list(padding), phases
        sizes = zip(self.inside, padding, self.kernel, strict=True)
        self.out = [n + 2 * p - k + 1 for n, p, k in sizes]
        # pairs are as wide as several rows already
        highest = max(1, min(MAX_WIDTH // self.features, self.kernel[0] - 1)) if phases == 1 else 1
        self.strip = next(rows for rows in range(highest, 0, -1) if self.out[0] % rows == 0)
        """Output rows of a strip."""
        self.strips = self.out[0] // self.strip
        self.window = self.strip + self.kernel[0] - 1
        """Input rows that a strip sees."""
        self.shifts = -(-(self.kernel[1] + phases - 1) // phases)
        """Columns of the input, or pairs of them, that a column of the product sees."""
        self.columns = self.out[1] // phases + self.shifts - 1
        """Columns of the padded input, or pairs."""
        self.size = [self.out[0] + self.kernel[0] - 1, self.columns * phases]
        """Sizes of the padded input."""
        self.width = self.out[1] // phases * self.batch
        """Values of a line of the products."""
        self.height = self.strip * phases * self.features
        """Lines of the products of a strip."""
        self.depth = self.window * self.shifts * phases * self.channels
        """Lines of the input that a strip sees, with their shifts."""
        self.values = self.depth * self.strips * self.width

    @property
    def band_shape(self) -> tuple[int, ...]:
        return self.strip, self.phases, self.features, self.window, self.shifts, self.phases, self.channels

    def in_band(self, band: Tensor) -> Tensor:
        """Return the places of the kernel, (strip, phases, *weight), in a view of `band_shape`."""
        row, apart, feature, line, _, column, channel = band.stride()
        shape = (self.strip, self.phases, self.features, self.channels, *self.kernel)
        strides = (row + line, apart + column, feature, channel, line, column)
        return band.as_strided(shape, strides, band.storage_offset())


class StripConvolution(Geometry):
    """One convolution of all rows of a stack, which come one after the other and share the larger memory."""

    def __init__(self, stack: Stack, call: RecordedCall) -> None:
        self.x, self.weight, self.bias, _, padding, *_ = call.args
        super().__init__(self.x, self.weight, padding, 2 if stack.layout.is_apart(call.result) else 1)
        self.stack, like = stack, stack.stacked(self.weight)
        self.bands = aligned_memory.rows(stack.rows, self.band_shape, like)
        self.shifted = like.new_zeros((self.size[0], self.shifts, self.phases, self.channels, self.width))
        self.seen = self.shifted.as_strided(
            (self.strips, self.depth, self.width), (self.strip * self.shifted.stride(0), self.width, 1)
        )
        """What each strip sees, (strips, depth, width)."""
        is_copied = self.size != self.inside or not stack.layout.is_batch_last(self.x)
        whole = (self.size[0], self.channels, self.size[1], self.batch)
        self.inputs = aligned_memory.rows(stack.rows, whole, like) if is_copied else None
        """Padded inputs of all rows; None where they are what the network has."""
        self.gradient_of_input = like.new_zeros((self.size[0], self.phases, self.channels, self.columns, self.batch))
        self.outputs = like.new_zeros((self.out[0], self.features, self.out[1], self.batch))

    def forward(self, row: int, result: Tensor) -> list[Operation]:
        """Return the operations of one row."""
        stack, places = self.stack, self.in_band(self.bands[row])
        runs = [copy(places, stack.row(self.weight, row).expand(places.shape))]
        if self.inputs is not None:
            runs.append(copy(self._inner(self.inputs[row]), lines_of(stack.row(self.x, row))))
        into = lines_of(stack.row(result, row))
        outputs = into if stack.layout.is_batch_last(result) else self.outputs
        runs += [self._gather(row), *self._products(row, outputs.view(self.strips, self.height, self.width), result)]
        return runs if stack.layout.is_batch_last(result) else [*runs, copy(into, outputs)]

    def _products(self, row: int, into: Tensor, result: Tensor) -> list[Operation]:
        band = self._band(row).expand(self.strips, self.height, self.depth)
        if self.bias is None or self.stack.later_bias(result, row) is not None:
            return [operation(aten.bmm.out, band, self.seen, out=into)]
        shift = self.stack.row(self.bias, row).view(-1, 1)
        by_feature = into.view(self.out[0], self.phases, self.features, self.width)
        return [copy(by_feature, shift), operation(aten.baddbmm_.default, into, band, self.seen)]

    def backward(self, row: int, gradient: Tensor, results: Sequence[Tensor | None]) -> list[Operation]:
        """Return the operations of the gradients of one row, by its results: input, weight and bias, or None."""
        of_input, of_weight, of_bias = (None if t is None else self.stack.row(t, row) for t in results)
        lines, runs = lines_of(self.stack.row(gradient, row)), []
        if not self.stack.layout.is_batch_last(gradient):
            runs.append(copy(self.outputs, lines))
            lines = self.outputs
        by_strip = lines.view(self.strips, self.height, self.width)
        if of_weight is not None:
            runs += [self._gather(row), *self._gradient_of_weight(by_strip, of_weight)]
        if of_bias is not None:
            by_feature = lines.view(self.out[0], self.phases, self.features, self.width)
            runs.append(operation(aten.sum.IntList_out, by_feature, [0, 1, 3], out=of_bias))
        if results[0] is None or of_input is None:
            return runs
        whole, into = self.gradient_of_input, lines_of(of_input)
        if self.phases == 1 and self.size == self.inside and self.stack.layout.is_batch_last(results[0]):
            return [*runs, *self._gradient_of_input(into.unsqueeze(1), row, by_strip)]
        return [*runs, *self._gradient_of_input(whole, row, by_strip), *self._cropped(whole, into)]

    def _gradient_of_weight(self, gradient: Tensor, into: Tensor) -> list[Operation]:
        """Return the operations that add up the gradient, strip by strip and place by place of the band."""
        factors, shape = [gradient, self.seen], (self.height, self.depth)
        if is_turned := self.height >= TURNED_FROM:
            factors, shape = factors[::-1], shape[::-1]
        products, band = gradient.new_empty((self.strips, *shape)), gradient.new_empty(shape)
        places = (band.mT if is_turned else band).view(self.band_shape)
        return [
            operation(aten.bmm.out, factors[0], factors[1].mT, out=products),
            operation(aten.sum.IntList_out, products, [0], out=band),
            operation(aten.sum.IntList_out, self.in_band(places), [0, 1], out=into),
        ]

    def _gradient_of_input(self, whole: Tensor, row: int, gradient: Tensor) -> list[Operation]:
        """Return the operations that add up the gradient of a padded input, shift by shift.

        Strips that see no line in common are one call.
        """
        lines = self.window * self.phases * self.channels
        turned = whole.new_empty((self.shifts, self.height, lines))
        by_shift = turned.view(self.shifts, *self.band_shape[:4], *self.band_shape[5:])
        runs = [copy(by_shift, self.bands[row].permute(4, 0, 1, 2, 3, 5, 6)), operation(aten.zero_.default, whole)]
        of_line, apart = self.columns * self.batch, -(-self.window // self.strip)
        of_strip = self.strip * self.phases * self.channels * of_line
        for first, shift in product(range(min(apart, self.strips)), range(self.shifts)):
            one = gradient[first::apart]
            start = whole.storage_offset() + first * of_strip + shift * self.batch
            place = whole.as_strided((len(one), lines, self.width), (apart * of_strip, of_line, 1), start)
            runs.append(operation(aten.baddbmm_.default, place, turned[shift].mT.expand(len(one), -1, -1), one))
        return runs

    def _cropped(self, whole: Tensor, into: Tensor) -> list[Operation]:
        """Return the operations that copy the gradient of a padded input to that of the input, phase by phase."""
        (top, left), height = self.padding, self.inside[0]
        runs = []
        for phase in range(self.phases):
            first = (phase - left) % self.phases
            to = into[:, :, first :: self.phases]
            start = (first + left) // self.phases
            runs.append(copy(to, whole[top : top + height, phase, :, start : start + to.shape[2]]))
        return runs

    def _inner(self, lines: Tensor) -> Tensor:
        """Return what lies within the padding."""
        (top, left), (height, width) = self.padding, self.inside
        return lines[top : top + height, :, left : left + width]

    def _band(self, row: int) -> Tensor:
        return self.bands[row].view(self.height, self.depth)

    def _gather(self, row: int) -> Operation:
        """Return the operation that fills `shifted`: the input with all shifts of the kernel along the width."""
        lines = lines_of(self.stack.row(self.x, row)) if self.inputs is None else self.inputs[row]
        line, channel, column, one = lines.stride()
        shape = (self.size[0], self.shifts, self.phases, self.channels, self.width // self.batch, self.batch)
        strides = (line, self.phases * column, column, channel, self.phases * column, one)
        return copy(self.shifted.view(shape), lines.as_strided(shape, strides, lines.storage_offset()))


def lines_of(images: Tensor) -> Tensor:
    """Return images (batch, channels, height, width) as a view (height, channels, width, batch)."""
    return images.permute(2, 1, 3, 0)


def forward(stack: Stack, call: RecordedCall) -> list[list[Operation]] | None:
    """Return the operations of a convolution for each row; None where it is not computed by strips."""
    if not takes(stack, call):
        return None
    strips = stack.strips[key_of(call)] = StripConvolution(stack, call)
    return [strips.forward(row, call.result) for row in range(stack.rows)]


def backward(stack: Stack, call: RecordedCall) -> list[list[Operation]] | None:
    """Return the operations of the gradients of a convolution that `forward` took; None for another."""
    gradient, strips = call.args[0], stack.strips.get(key_of(call))
    if strips is None or stack.is_shared(gradient):
        return None
    return [strips.backward(row, gradient, call.result) for row in range(stack.rows)]


def key_of(call: RecordedCall) -> tuple[Any, ...]:
    """Return what a convolution has in common with its gradient."""
    first = 0 if call.name == "convolution" else 1
    x, weight, _bias, *rest = call.args[first : first + 9]
    return storage(x), geometry(x), storage(weight), str(rest)
