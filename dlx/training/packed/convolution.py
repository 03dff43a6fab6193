"""Small convolutions of several networks at once, as products of matrices (im2col).

The window of each output position becomes a row of a matrix, `columns`. A grouped convolution would compute the same,
and takes longer on a CPU than one network's convolution after the other.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import storage
from ..replay.script import Operation, copy, operation
from ..replay.tape import RecordedCall, geometry
from . import aligned_memory

if TYPE_CHECKING:
    from .stack import Stack

aten: Any = torch.ops.aten
MAX_VALUES = 131_072
"""Values of the windows of one network's batch above which a convolution of each network alone is faster."""
MAX_KERNEL_POSITIONS = 9
"""Positions of a kernel, at most: a window's values are copied that many times."""


class UnfoldedConvolution:
    """One convolution of all rows of a stack, with its windows as rows of `columns`: (rows, positions, values)."""

    def __init__(self, stack: Stack, x: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> None:
        self.kernel, self.stride, self.padding = list(weight.shape[2:]), stride, padding
        self.rows, (self.batch, self.channels, *size) = stack.rows, x.shape
        self.size = [n + 2 * p for n, p in zip(size, padding, strict=True)]
        self.out = [(n - k) // s + 1 for n, k, s in zip(self.size, self.kernel, stride, strict=True)]
        self.input, self.weight = stack.stacked(x), stack.stacked(weight).flatten(2)
        self.padded = self.input.new_zeros((self.rows, self.batch, self.channels, *self.size))
        self.columns = self.new_buffer(self.batch * prod(self.out), self.channels * prod(self.kernel))

    def new_buffer(self, *shape: int) -> Tensor:
        """Allocate (rows, *shape) for factors and products of matrices, each row aligned."""
        return aligned_memory.rows(self.rows, shape, self.input)

    @property
    def inner(self) -> tuple[Any, ...]:
        """Index of the input within `padded`."""
        sides = [slice(p, n - p) for n, p in zip(self.size, self.padding, strict=True)]
        return (slice(None), slice(None), slice(None), *sides)

    def windows(self) -> Tensor:
        """Return the windows as a view of the padded input: (rows, batch, *out, channels, *kernel)."""
        whole = self.padded if any(self.padding) else self.input
        first, *others = whole.stride()[1:]
        channel, *steps = others
        wide = [step * s for step, s in zip(steps, self.stride, strict=True)]
        shape = (self.rows, self.batch, *self.out, self.channels, *self.kernel)
        strides = (whole.stride(0), first, *wide, channel, *steps)
        return whole.as_strided(shape, strides, whole.storage_offset())

    def gather(self) -> list[Operation]:
        """Return the operations that fill `columns`."""
        windows = self.windows()
        runs = [copy(self.padded[self.inner], self.input)] if any(self.padding) else []
        return [*runs, copy(self.columns.view(windows.shape), windows)]

    def scatter(self, into: Tensor, gradient: Tensor) -> list[Operation]:
        """Return the operations from the gradient of `columns` to that of the input (col2im)."""
        # kernel position by kernel position: within one, no two windows overlap, so each is one addition of a view
        whole = torch.zeros_like(self.padded)
        parts = gradient.view(self.rows, self.batch, *self.out, self.channels, *self.kernel)
        runs = [operation(aten.zero_.default, whole)]
        for at in product(*map(range, self.kernel)):
            sides = [slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(at, self.stride, self.out, strict=True)]
            place = whole[(slice(None), slice(None), slice(None), *sides)]
            part = parts[(Ellipsis, *at)].movedim(-1, 2)  # type: ignore[index]
            runs.append(operation(aten.add_.Tensor, place, part))
        return [*runs, copy(into, whole[self.inner])]


def _fits(stack: Stack, x: Tensor, weight: Tensor, rest: tuple[Any, ...]) -> bool:
    """Whether a convolution is small and plain, and each network has an input and a kernel of its own."""
    _stride, _padding, dilation, transposed, _output_padding, groups = rest
    if transposed or groups != 1 or any(d != 1 for d in dilation) or stack.is_shared(x) or stack.is_shared(weight):
        return False
    return weight.is_contiguous() and prod(weight.shape[2:]) <= MAX_KERNEL_POSITIONS


def takes(stack: Stack, call: RecordedCall) -> bool:
    """Whether a convolution of all rows is computed at once."""
    x, weight, _bias, *rest = call.args
    # with channels_last, products for one network and for several differ in their last bits: a resumed run may be
    # alone
    if not _fits(stack, x, weight, tuple(rest)) or not (x.is_contiguous() and call.results[0].is_contiguous()):
        return False
    inside, positions = prod(weight.shape[1:]), prod(call.results[0].shape[2:]) * len(x)
    # of a matrix and a vector, MKL adds in another order in a batch than alone
    return inside * positions <= MAX_VALUES and 1 not in (weight.shape[0], inside)


def forward(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of a convolution of all rows; None where it is to run row by row."""
    if not takes(stack, call):
        return None
    x, weight, bias, *rest = call.args
    unfolded = UnfoldedConvolution(stack, x, weight, list(rest[0]), list(rest[1]))
    stack.unfolded[_key(x, weight, rest)] = unfolded
    products = unfolded.new_buffer(unfolded.columns.shape[1], weight.shape[0])
    kernel = unfolded.weight.mT
    into = stack.stacked(call.results[0])
    place = copy(into, products.view(stack.rows, unfolded.batch, *unfolded.out, -1).movedim(-1, 2))
    if bias is None:
        return [*unfolded.gather(), operation(aten.bmm.out, unfolded.columns, kernel, out=products), place]
    shift = stack.stacked(bias).unsqueeze(1)
    return [*unfolded.gather(), operation(aten.baddbmm.out, shift, unfolded.columns, kernel, out=products), place]


def backward(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of the gradients of a convolution that `forward` took; None for another."""
    gradient, x, weight, _bias, *rest, mask = call.args
    unfolded = stack.unfolded.get(_key(x, weight, rest))
    if unfolded is None or stack.is_shared(gradient):
        return None
    flat = unfolded.new_buffer(unfolded.columns.shape[1], weight.shape[0])
    by_position = flat.view(stack.rows, unfolded.batch, *unfolded.out, -1)
    runs = [copy(by_position, stack.stacked(gradient).movedim(2, -1))]
    results = iter(call.results)
    if mask[0]:
        gradient_of_columns = unfolded.new_buffer(*unfolded.columns.shape[1:])
        runs += [operation(aten.bmm.out, flat, unfolded.weight, out=gradient_of_columns)]
        runs += unfolded.scatter(stack.stacked(next(results)), gradient_of_columns)
    if mask[1]:
        into = stack.stacked(next(results))
        found = unfolded.new_buffer(weight.shape[0], unfolded.columns.shape[2])
        runs += [operation(aten.bmm.out, flat.mT, unfolded.columns, out=found), copy(into, found.view(into.shape))]
    if mask[2]:
        runs += [operation(aten.sum.IntList_out, flat, [1], False, out=stack.stacked(next(results)))]
    return runs


def _key(x: Tensor, weight: Tensor, rest: list[Any]) -> tuple[Any, ...]:
    return storage(x), geometry(x), storage(weight), str(rest)
