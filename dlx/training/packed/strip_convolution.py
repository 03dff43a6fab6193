"""Convolutions of few channels, network after network, as products of matrices for strips of output rows.

A strip is some neighbouring rows of the output. With all its channels it is one product: a band matrix that repeats
the kernel once a row, times the lines of the input that the strip sees. Where tensors lie batch last, as (height,
channels, width, batch), those lines follow each other in memory, and the lines of the output too, so that nothing is
gathered or put back around a product but the shifts of the kernel along the width. Products are as wide as strips are
high: a processor that computes 8 numbers at a time is no quicker with 1 or 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """Sizes of a convolution by strips. `lines` are (height, channels, width, batch)."""

    def __init__(self, x: Tensor, weight: Tensor, padding: Sequence[int]) -> None:
        self.batch, self.channels, *size = x.shape
        self.features, _, *self.kernel = weight.shape
        self.padding = list(padding)
        self.size = [n + 2 * p for n, p in zip(size, padding, strict=True)]
        self.out = [n - k + 1 for n, k in zip(self.size, self.kernel, strict=True)]
        highest = max(1, min(MAX_WIDTH // self.features, self.kernel[0] - 1))
        self.strip = next(rows for rows in range(highest, 0, -1) if self.out[0] % rows == 0)
        """Output rows of a strip."""
        self.window = self.strip + self.kernel[0] - 1
        """Input rows that a strip sees."""
        self.width = self.out[1] * self.batch
        """Values of an output line."""
        self.height = self.strip * self.features
        """Output lines of a strip."""
        self.values = self.window * self.channels * self.kernel[1] * (self.out[0] // self.strip) * self.width

    @property
    def tops(self) -> range:
        """The first row of each strip."""
        return range(0, self.out[0], self.strip)

    def shifts(self, lines: Tensor) -> Tensor:
        """Return an input with all shifts of the kernel along the width: (height, shifts, channels, width, batch)."""
        row, channel, column, one = lines.stride()
        shape = (self.size[0], self.kernel[1], self.channels, self.out[1], self.batch)
        return lines.as_strided(shape, (row, column, channel, column, one), lines.storage_offset())

    def in_band(self, band: Tensor) -> Tensor:
        """Return the places of the kernel, (strip, *weight), in (strip, features, window, shifts, channels)."""
        row, feature, line, shift, channel = band.stride()
        shape = (self.strip, self.features, self.channels, *self.kernel)
        return band.as_strided(shape, (row + line, feature, channel, line, shift), band.storage_offset())


class StripConvolution(Geometry):
    """One convolution of all rows of a stack, which come one after the other and share the larger memory."""

    def __init__(self, stack: Stack, call: RecordedCall) -> None:
        self.x, self.weight, self.bias, _, padding, *_ = call.args
        super().__init__(self.x, self.weight, padding)
        self.stack, like = stack, stack.stacked(self.weight)
        self.bands = aligned_memory.rows(stack.rows, self._band_shape, like)
        self.gradient_of_band = like.new_zeros(self._band_shape)
        self.shifted = like.new_zeros((self.size[0], self.kernel[1], self.channels, *self.out[1:], self.batch))
        whole = (self.size[0], self.channels, self.size[1], self.batch)
        is_copied = any(self.padding) or not stack.is_batch_last(self.x)
        self.inputs = aligned_memory.rows(stack.rows, whole, like) if is_copied else None
        """Padded inputs of all rows; None where they are what the network has."""
        self.gradient_of_input = like.new_zeros(whole)
        self.outputs = like.new_zeros((self.out[0], self.features, self.out[1], self.batch))

    @property
    def _band_shape(self) -> tuple[int, ...]:
        return self.strip, self.features, self.window, self.kernel[1], self.channels

    def forward(self, row: int, result: Tensor) -> list[Operation]:
        """Return the operations of one row."""
        stack, places = self.stack, self.in_band(self.bands[row])
        runs = [copy(places, stack.row(self.weight, row).expand(places.shape))]
        if self.inputs is not None:
            runs.append(copy(self._inner(self.inputs[row]), lines_of(stack.row(self.x, row))))
        into = lines_of(stack.row(result, row))
        outputs = into if stack.is_batch_last(result) else self.outputs
        if self.bias is None:
            runs.append(operation(aten.zero_.default, outputs))
        else:
            runs.append(copy(outputs, stack.row(self.bias, row).view(1, -1, 1, 1)))
        runs.append(self._gather(row))
        band = self.bands[row].view(self.height, -1)
        runs += [operation(aten.addmm_.default, lines, band, seen) for lines, seen in self._strips(outputs)]
        return runs if stack.is_batch_last(result) else [*runs, copy(into, outputs)]

    def backward(self, row: int, gradient: Tensor, results: Sequence[Tensor | None]) -> list[Operation]:
        """Return the operations of the gradients of one row, by its results: input, weight and bias, or None."""
        of_input, of_weight, of_bias = (None if t is None else self.stack.row(t, row) for t in results)
        lines, runs = lines_of(self.stack.row(gradient, row)), []
        if not self.stack.is_batch_last(gradient):
            runs.append(copy(self.outputs, lines))
            lines = self.outputs
        if of_weight is not None:
            found = self.gradient_of_band.view(self.height, -1)
            runs += [self._gather(row), operation(aten.zero_.default, found)]
            runs += [operation(aten.addmm_.default, found, one, seen.mT) for one, seen in self._strips(lines)]
            runs.append(operation(aten.sum.IntList_out, self.in_band(self.gradient_of_band), [0], out=of_weight))
        if of_bias is not None:
            runs.append(operation(aten.sum.IntList_out, lines, [0, 2, 3], out=of_bias))
        if results[0] is None or of_input is None:
            return runs
        if self.inputs is None and self.stack.is_batch_last(results[0]):
            return [*runs, *self._backward_to(lines_of(of_input), row, lines)]
        into = copy(lines_of(of_input), self._inner(self.gradient_of_input))
        return [*runs, *self._backward_to(self.gradient_of_input, row, lines), into]

    def _backward_to(self, gradient: Tensor, row: int, lines: Tensor) -> list[Operation]:
        """Return the operations that add up the gradient of a whole input, shift by shift."""
        shifts = torch.empty((self.kernel[1], self.height, self.window * self.channels))
        by_shift = shifts.view(self.kernel[1], self.strip, self.features, self.window, self.channels)
        runs = [copy(by_shift, self.bands[row].permute(3, 0, 1, 2, 4)), operation(aten.zero_.default, gradient)]
        table = gradient.view(-1, self.size[1] * self.batch)
        of_outputs = lines.view(-1, self.width)
        for top in self.tops:
            seen = table[top * self.channels :][: self.window * self.channels]
            one = of_outputs[top * self.features :][: self.height]
            for shift in range(self.kernel[1]):
                place = seen[:, shift * self.batch :][:, : self.width]
                runs.append(operation(aten.addmm_.default, place, shifts[shift].mT, one))
        return runs

    def _inner(self, lines: Tensor) -> Tensor:
        """Return what lies within the padding."""
        (top, left), (height, width) = self.padding, self.size
        return lines[top : height - top, :, left : width - left]

    def _gather(self, row: int) -> Operation:
        """Return the operation that fills `shifted`."""
        lines = lines_of(self.stack.row(self.x, row)) if self.inputs is None else self.inputs[row]
        return copy(self.shifted, self.shifts(lines))

    def _strips(self, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the output lines of each strip, (lines, width), with the shifted input lines that it sees."""
        table, of_outputs = self.shifted.view(-1, self.width), outputs.view(-1, self.width)
        a_row = self.kernel[1] * self.channels
        for top in self.tops:
            yield of_outputs[top * self.features :][: self.height], table[top * a_row :][: self.window * a_row]


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
