"""Max pooling of pairs, 2 by 2 without overlap, as maxima of whole slices, for tensors that lie batch last.

torch's kernel looks at one window after the other, and needs 5 ns for each where channels are few; a maximum of two
slices is one pass of the vector unit. Where values are equal the first of a window counts, as in torch: the pairs of
a row come first, then those of a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import storage
from ..replay.script import Operation, copy, operation
from ..replay.tape import RecordedCall

if TYPE_CHECKING:
    from .stack import Stack

aten: Any = torch.ops.aten
POOL, POOL_BACKWARD = "max_pool2d_with_indices", "max_pool2d_with_indices_backward"


def is_pairs(call: RecordedCall) -> bool:
    """Whether a call, or its gradient, is a pooling of pairs that leaves no row or column out."""
    x, settings = (call.args[0], call.args[1:]) if call.name == POOL else (call.args[1], call.args[2:7])
    # torch leaves out trailing arguments that are their defaults
    kernel, stride, padding, dilation = [*settings, *([[2, 2], [], [0, 0], [1, 1]][len(settings) :])][:4]
    plain = list(kernel) == [2, 2] and list(stride) in ([], [2, 2]) and not any(padding) and set(dilation) == {1}
    return plain and x.dim() == 4 and x.dtype == torch.float32 and not any(n % 2 for n in x.shape[2:])


def columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the even and the odd columns of images."""
    return x[..., 0::2], x[..., 1::2]


def columns_apart(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same where they lie apart in memory, as (height, 2, channels, width / 2, batch)."""
    batch, channels, height, width = x.shape
    line = width // 2 * batch
    even, odd = (
        x.as_strided(
            (batch, channels, height, width // 2),
            (1, line, 2 * channels * line, batch),
            x.storage_offset() + phase * channels * line,
        )
        for phase in range(2)
    )
    return even, odd


def rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the even and the odd rows of images."""
    return x[..., 0::2, :], x[..., 1::2, :]


class PairPooling:
    """One pooling of all rows of a stack: columns are paired first, then rows."""

    def __init__(self, stack: Stack, x: Tensor, result: Tensor) -> None:
        self.stack, self.x = stack, x
        half = columns(stack.stacked(x))[0]
        # empty_like keeps the order of the axes: all of this lies batch last as well
        self.larger, self.gradient = torch.empty_like(half[0]), torch.empty_like(half[0])
        """The larger of each pair of columns, half as wide as `x`, and its gradient."""
        self.of_columns, self.of_rows = torch.empty_like(half), torch.empty_like(rows(half)[0])
        """How much larger the second of each pair is, of all rows: what the gradient asks for."""
        self.outputs = torch.empty_like(rows(half[0])[0])
        self.is_batch_last = stack.layout.is_batch_last(result)

    def forward(self, row: int, result: Tensor) -> list[Operation]:
        """Return the operations of one row."""
        into, bias = self.stack.row(result, row), self.stack.later_bias(self.x, row)
        outputs = into if self.is_batch_last else self.outputs
        runs = _larger(self._columns(self.x, row), self.of_columns[row], self.larger)
        runs += _larger(rows(self.larger), self.of_rows[row], outputs)
        if bias is not None:
            runs.append(operation(aten.add_.Tensor, outputs, bias.view(1, -1, 1, 1)))
        return runs if self.is_batch_last else [*runs, copy(into, outputs)]

    def backward(self, row: int, gradient: Tensor, result: Tensor) -> list[Operation]:
        """Return the operations of the gradient of one row."""
        outputs = self.stack.row(gradient, row)
        runs = [] if self.stack.layout.is_batch_last(gradient) else [copy(self.outputs, outputs)]
        runs += _share(self.outputs if runs else outputs, self.of_rows[row], rows(self.gradient))
        return [*runs, *_share(self.gradient, self.of_columns[row], self._columns(result, row))]

    def _columns(self, images: Tensor, row: int) -> tuple[Tensor, Tensor]:
        """Return the even and the odd columns of images of a row, which may lie apart."""
        whole = self.stack.row(images, row)
        return columns_apart(whole) if self.stack.layout.is_apart(images) else columns(whole)


def _larger(values: tuple[Tensor, Tensor], difference: Tensor, into: Tensor) -> list[Operation]:
    """Return the operations that take the larger of two values, and by how much it is the second one."""
    first, second = values
    return [
        operation(aten.sub.out, second, first, out=difference),
        operation(aten.maximum.out, first, second, out=into),
    ]


def _share(gradient: Tensor, difference: Tensor, into: tuple[Tensor, Tensor]) -> list[Operation]:
    """Return the operations that hand a gradient to the larger of two values, to the first where they are equal."""
    first, second = into
    return [
        operation(aten.threshold_backward.grad_input, gradient, difference, 0, grad_input=second),
        operation(aten.sub.out, gradient, second, out=first),
    ]


def forward(stack: Stack, call: RecordedCall) -> list[list[Operation]] | None:
    """Return the operations of a pooling for each row; None where its input does not lie batch last."""
    x, result = call.args[0], call.results[0]
    if not stack.layout.is_batch_last(x):
        return None
    pooling = stack.poolings[storage(x)] = PairPooling(stack, x, result)
    return [pooling.forward(row, result) for row in range(stack.rows)]


def backward(stack: Stack, call: RecordedCall) -> list[list[Operation]] | None:
    """Return the operations of its gradient; None where the input does not lie batch last."""
    gradient, x = call.args[:2]
    if not stack.layout.is_batch_last(x):
        return None
    return [stack.poolings[storage(x)].backward(row, gradient, call.result) for row in range(stack.rows)]
