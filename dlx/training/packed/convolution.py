"""Small convolutions of several networks at once: what each position sees as a row, and products of matrices.

A grouped convolution would say the same, and on a CPU takes longer than one after the other.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..replay.script import Do, copy, do
from ..replay.tape import Call, geometry, storage
from . import aligned_memory

if TYPE_CHECKING:
    from .stack import Stack

aten: Any = torch.ops.aten
MOST = 131_072
"""Values of what all positions of one network's batch see, above which its own convolution is quicker."""
POSITIONS = 9
"""Of a kernel, at most."""


class Columns:
    """The positions of one convolution, for all rows of a stack."""

    def __init__(self, stack: Stack, x: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> None:
        self.kernel, self.stride, self.padding = list(weight.shape[2:]), stride, padding
        self.rows, (self.batch, self.channels, *size) = stack.rows, x.shape
        self.size = [n + 2 * p for n, p in zip(size, padding, strict=True)]
        self.out = [(n - k) // s + 1 for n, k, s in zip(self.size, self.kernel, stride, strict=True)]
        self.given, self.weight = stack.wide(x), stack.wide(weight).flatten(2)
        self.padded = self.given.new_zeros((self.rows, self.batch, self.channels, *self.size))
        self.seen = self.room(self.batch * prod(self.out), self.channels * prod(self.kernel))

    def room(self, *shape: int) -> Tensor:
        """Memory (rows, *shape) for factors and products of matrices."""
        return aligned_memory.rows(self.rows, shape, self.given)

    @property
    def inner(self) -> tuple[Any, ...]:
        """Where the input stands in what was padded."""
        sides = [slice(p, n - p) for n, p in zip(self.size, self.padding, strict=True)]
        return (slice(None), slice(None), slice(None), *sides)

    def windows(self) -> Tensor:
        """(rows, batch, *out, channels, *kernel), a view of what was padded, or of the input."""
        whole = self.padded if any(self.padding) else self.given
        first, *others = whole.stride()[1:]
        channel, *steps = others
        wide = [step * s for step, s in zip(steps, self.stride, strict=True)]
        shape = (self.rows, self.batch, *self.out, self.channels, *self.kernel)
        strides = (whole.stride(0), first, *wide, channel, *steps)
        return whole.as_strided(shape, strides, whole.storage_offset())

    def gather(self) -> list[Do]:
        """Fill `seen`."""
        windows = self.windows()
        runs = [copy(self.padded[self.inner], self.given)] if any(self.padding) else []
        return [*runs, copy(self.seen.view(windows.shape), windows)]

    def scatter(self, into: Tensor, gradient: Tensor) -> list[Do]:
        """From the gradient of what was seen to that of the input."""
        whole = torch.zeros_like(self.padded)
        parts = gradient.view(self.rows, self.batch, *self.out, self.channels, *self.kernel)
        runs = [do(aten.zero_.default, whole)]
        for at in product(*map(range, self.kernel)):
            sides = [slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(at, self.stride, self.out, strict=True)]
            place = whole[(slice(None), slice(None), slice(None), *sides)]
            part = parts[(Ellipsis, *at)].movedim(-1, 2)  # type: ignore[index]
            runs.append(do(aten.add_.Tensor, place, part))
        return [*runs, copy(into, whole[self.inner])]


def _fits(stack: Stack, x: Tensor, weight: Tensor, rest: tuple[Any, ...]) -> bool:
    """Whether a convolution is one of those: small, plain, each network with an input and a kernel of its own."""
    _stride, _padding, dilation, transposed, _output_padding, groups = rest
    if transposed or groups != 1 or any(d != 1 for d in dilation) or stack.is_shared(x) or stack.is_shared(weight):
        return False
    return weight.is_contiguous() and prod(weight.shape[2:]) <= POSITIONS


def forward(stack: Stack, call: Call) -> list[Do] | None:
    """A convolution of all rows; None where it is not one of those."""
    x, weight, bias, *rest = call.args
    # beside channels that come last, products of one network alone and of several differ in their last bits
    if not _fits(stack, x, weight, tuple(rest)) or not (x.is_contiguous() and call.results[0].is_contiguous()):
        return None
    columns = Columns(stack, x, weight, list(rest[0]), list(rest[1]))
    if columns.seen[0].numel() > MOST or 1 in (weight.shape[0], columns.seen.shape[2]):
        return None  # MKL multiplies a vector in another way for several networks
    stack.columns[_key(x, weight, rest)] = columns
    given = columns.room(columns.seen.shape[1], weight.shape[0])
    kernel = columns.weight.mT
    into = stack.wide(call.results[0])
    place = copy(into, given.view(stack.rows, columns.batch, *columns.out, -1).movedim(-1, 2))
    if bias is None:
        return [*columns.gather(), do(aten.bmm.out, columns.seen, kernel, out=given), place]
    shift = stack.wide(bias).unsqueeze(1)
    return [*columns.gather(), do(aten.baddbmm.out, shift, columns.seen, kernel, out=given), place]


def backward(stack: Stack, call: Call) -> list[Do] | None:
    """The gradients of a convolution that `forward` did."""
    gradient, x, weight, _bias, *rest, mask = call.args
    columns = stack.columns.get(_key(x, weight, rest))
    if columns is None or stack.is_shared(gradient):
        return None
    flat = columns.room(columns.seen.shape[1], weight.shape[0])
    lying = flat.view(stack.rows, columns.batch, *columns.out, -1)
    runs = [copy(lying, stack.wide(gradient).movedim(2, -1))]
    results = iter(call.results)
    if mask[0]:
        seen = columns.room(*columns.seen.shape[1:])
        runs += [do(aten.bmm.out, flat, columns.weight, out=seen)]
        runs += columns.scatter(stack.wide(next(results)), seen)
    if mask[1]:
        into = stack.wide(next(results))
        found = columns.room(weight.shape[0], columns.seen.shape[2])
        runs += [do(aten.bmm.out, flat.mT, columns.seen, out=found), copy(into, found.view(into.shape))]
    if mask[2]:
        runs += [do(aten.sum.IntList_out, flat, [1], False, out=stack.wide(next(results)))]
    return runs


def _key(x: Tensor, weight: Tensor, rest: list[Any]) -> tuple[Any, ...]:
    return storage(x), geometry(x), storage(weight), str(rest)
