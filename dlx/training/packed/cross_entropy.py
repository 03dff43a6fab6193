"""Cross-entropy of several networks at once: log-softmax and negative log-likelihood of all rows in one call each.

torch's log-softmax along a short contiguous axis takes five times as long as along a strided one, so the axis of few
classes is made the first one for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import private
from ..replay.script import Operation, copy, operation
from ..replay.tape import RecordedCall
from . import aligned_memory

if TYPE_CHECKING:
    from .stack import Stack

MAX_CLASSES = 32
"""Classes, at most, for which the axes are exchanged."""
MEAN, SUM = 1, 2
"""torch's numbers for the reductions of a loss; 0 is none."""
aten: Any = torch.ops.aten


def log_softmax(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of a log-softmax over few classes, the last axis; None for another."""
    x, dim, half = call.args
    if not _fits(stack, [x, *call.results], x, dim) or half:
        return None
    source, result = stack.stacked(x).movedim(-1, 0), stack.stacked(call.results[0]).movedim(-1, 0)
    (x_first, into), (logs, found) = (_class_first(source) for _ in range(2))
    return [
        copy(into, source),
        operation(private("torch.ops.aten._log_softmax").out, x_first, 0, False, out=logs),
        copy(result, found),
    ]


def log_softmax_backward(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of its gradient; None for another."""
    gradient, output, dim, dtype = call.args
    if not _fits(stack, [gradient, output, *call.results], output, dim):
        return None
    source, result = stack.stacked(gradient).movedim(-1, 0), stack.stacked(call.results[0]).movedim(-1, 0)
    logs = stack.stacked(output).movedim(-1, 0)
    (x_first, into), (known, known_view), (whole, found) = (_class_first(source) for _ in range(3))
    op = operation(private("torch.ops.aten._log_softmax_backward_data").out, x_first, known, 0, dtype, out=whole)
    return [copy(into, source), copy(known_view, logs), op, copy(result, found)]


def _class_first(source: Tensor) -> tuple[Tensor, Tensor]:
    """Allocate memory for (classes, rows, *others), each row padded, and the view of it with that shape."""
    classes, rows, *others = source.shape
    size = prod(others)
    whole = source.new_zeros((classes, rows, aligned_memory.padded(size)))
    return whole, whole[..., :size].view(source.shape)


def _fits(stack: Stack, tensors: list[Tensor], x: Tensor, dim: int) -> bool:
    last = dim in {-1, x.dim() - 1} and x.dim() > 0 and x.shape[-1] <= MAX_CLASSES
    return last and not any(map(stack.is_shared, tensors))


def nll(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of the mean or sum of the losses; an example of class `ignore` does not count."""
    logs, target, weight, reduction, ignore = call.args
    if weight is not None or reduction not in {MEAN, SUM} or not _is_table(stack, logs, target):
        return None
    result, count = (stack.stacked(t) for t in call.results)
    each = result.new_empty((stack.rows, len(target)))
    classes, nothing = stack.stacked(target), result.new_empty(())
    source, flat_classes = stack.stacked(logs), classes.view(-1)
    flat = _flat(source)
    op = aten.nll_loss_forward.output
    # losses of single examples, then a sum a row: reduced by torch, one call would give the mean over all networks
    runs = [
        *([] if source.is_contiguous() else [copy(flat.view(source.shape), source)]),
        operation(op, flat, flat_classes, None, 0, ignore, output=each.view(-1), total_weight=nothing),
        operation(aten.sum.IntList_out, each, [1], False, out=result),
    ]
    if reduction == MEAN:
        counted = torch.empty(classes.shape, dtype=torch.bool, device=classes.device)
        runs += [
            operation(aten.ne.Scalar_out, classes, ignore, out=counted),
            operation(aten.sum.IntList_out, counted, [1], False, dtype=count.dtype, out=count),
            operation(aten.div_.Tensor, result, count),
        ]
    return runs


def nll_backward(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Return the operations of its gradient."""
    gradient, logs, target, weight, reduction, ignore, count = call.args
    if weight is not None or reduction not in {MEAN, SUM} or not _is_table(stack, logs, target):
        return None
    result = stack.stacked(call.results[0])
    each, total = result.new_empty((stack.rows, len(target))), result.new_empty(())
    # the kernel reads only the shape of the log-probabilities, so `flat` may be memory without values
    source = gradient.expand(stack.rows) if stack.is_shared(gradient) else stack.stacked(gradient)
    divide = [operation(aten.div_.Tensor, each, stack.stacked(count).unsqueeze(1))] if reduction == MEAN else []
    op = aten.nll_loss_backward.grad_input
    flat, classes = _flat(stack.stacked(logs)), stack.stacked(target).view(-1)
    into = _flat(result)
    return [
        copy(each, source.unsqueeze(1)),
        *divide,
        operation(op, each.view(-1), flat, classes, None, 0, ignore, total, grad_input=into),
        *([] if result.is_contiguous() else [copy(result, into.view(result.shape))]),
    ]


def _flat(wide: Tensor) -> Tensor:
    """Return the examples of all networks as one batch: a view, or new memory where padding separates the rows."""
    return (wide if wide.is_contiguous() else wide.new_empty(wide.shape)).flatten(0, 1)


def _is_table(stack: Stack, logs: Tensor, target: Tensor) -> bool:
    """Whether the log-probabilities are (examples, classes), and each network has its own."""
    if logs.dim() != 2 or stack.is_shared(logs) or stack.is_shared(target):
        return False
    return stack.stacked(target).is_contiguous()


RULES: dict[str, Callable[[Stack, RecordedCall], list[Operation] | None]] = {
    "_log_softmax": log_softmax,
    "_log_softmax_backward_data": log_softmax_backward,
    "nll_loss_forward": nll,
    "nll_loss_backward": nll_backward,
}
