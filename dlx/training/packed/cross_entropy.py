"""Cross-entropy of several networks at once: what is done row by row, or class by class, for all of them together.

torch's logarithm of a softmax along a short axis of neighbours takes five times as long as along one whose values
lie apart, so few classes change places with the examples for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import private
from ..replay.script import Do, copy, do
from ..replay.tape import Call
from . import aligned_memory

if TYPE_CHECKING:
    from .stack import Stack

FEW = 32
"""Classes, at most, that change places."""
MEAN, SUM = 1, 2
"""torch's numbers for the reductions of a loss; 0 is none."""
aten: Any = torch.ops.aten


def log_softmax(stack: Stack, call: Call) -> list[Do] | None:
    """The logarithm of a softmax over few classes that are the last axis."""
    x, dim, half = call.args
    if not _fits(stack, [x, *call.results], x, dim) or half:
        return None
    given, result = stack.wide(x).movedim(-1, 0), stack.wide(call.results[0]).movedim(-1, 0)
    (apart, into), (logs, found) = (_apart(given) for _ in range(2))
    return [
        copy(into, given),
        do(private("torch.ops.aten._log_softmax").out, apart, 0, False, out=logs),
        copy(result, found),
    ]


def log_softmax_backward(stack: Stack, call: Call) -> list[Do] | None:
    """Its gradient, from that of the result."""
    gradient, output, dim, dtype = call.args
    if not _fits(stack, [gradient, output, *call.results], output, dim):
        return None
    given, result = stack.wide(gradient).movedim(-1, 0), stack.wide(call.results[0]).movedim(-1, 0)
    logs = stack.wide(output).movedim(-1, 0)
    (apart, into), (known, beside), (whole, found) = (_apart(given) for _ in range(3))
    op = do(private("torch.ops.aten._log_softmax_backward_data").out, apart, known, 0, dtype, out=whole)
    return [copy(into, given), copy(beside, logs), op, copy(result, found)]


def _apart(given: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for what has classes first and rows next, and the part of it that has the shape of that."""
    classes, rows, *others = given.shape
    size = prod(others)
    whole = given.new_zeros((classes, rows, aligned_memory.padded(size)))
    return whole, whole[..., :size].view(given.shape)


def _fits(stack: Stack, tensors: list[Tensor], x: Tensor, dim: int) -> bool:
    last = dim in {-1, x.dim() - 1} and x.dim() > 0 and x.shape[-1] <= FEW
    return last and not any(map(stack.is_shared, tensors))


def nll(stack: Stack, call: Call) -> list[Do] | None:
    """The mean or sum of what each example has at its class. An example of class `ignore` does not count."""
    logs, target, weight, reduction, ignore = call.args
    if weight is not None or reduction not in {MEAN, SUM} or not _is_table(stack, logs, target):
        return None
    result, count = (stack.wide(t) for t in call.results)
    each = result.new_empty((stack.rows, len(target)))
    classes, nothing = stack.wide(target), result.new_empty(())
    given, flat_classes = stack.wide(logs), classes.view(-1)
    flat = _flat(given)
    op = aten.nll_loss_forward.output
    runs = [
        *([] if given.is_contiguous() else [copy(flat.view(given.shape), given)]),
        do(op, flat, flat_classes, None, 0, ignore, output=each.view(-1), total_weight=nothing),
        do(aten.sum.IntList_out, each, [1], False, out=result),
    ]
    if reduction == MEAN:
        counted = torch.empty(classes.shape, dtype=torch.bool, device=classes.device)
        runs += [
            do(aten.ne.Scalar_out, classes, ignore, out=counted),
            do(aten.sum.IntList_out, counted, [1], False, dtype=count.dtype, out=count),
            do(aten.div_.Tensor, result, count),
        ]
    return runs


def nll_backward(stack: Stack, call: Call) -> list[Do] | None:
    """The gradient of that for what each example has at each class."""
    gradient, logs, target, weight, reduction, ignore, count = call.args
    if weight is not None or reduction not in {MEAN, SUM} or not _is_table(stack, logs, target):
        return None
    result = stack.wide(call.results[0])
    each, total = result.new_empty((stack.rows, len(target))), result.new_empty(())
    given = gradient.expand(stack.rows) if stack.is_shared(gradient) else stack.wide(gradient)
    divide = [do(aten.div_.Tensor, each, stack.wide(count).unsqueeze(1))] if reduction == MEAN else []
    op = aten.nll_loss_backward.grad_input
    flat, classes = _flat(stack.wide(logs)), stack.wide(target).view(-1)
    into = _flat(result)
    return [
        copy(each, given.unsqueeze(1)),
        *divide,
        do(op, each.view(-1), flat, classes, None, 0, ignore, total, grad_input=into),
        *([] if result.is_contiguous() else [copy(result, into.view(result.shape))]),
    ]


def _flat(wide: Tensor) -> Tensor:
    """The examples of all networks, one below the other: a view, or memory for them where rows lie apart."""
    return (wide if wide.is_contiguous() else wide.new_empty(wide.shape)).flatten(0, 1)


def _is_table(stack: Stack, logs: Tensor, target: Tensor) -> bool:
    """Whether there are plain rows of examples, each network with its own."""
    if logs.dim() != 2 or stack.is_shared(logs) or stack.is_shared(target):
        return False
    return stack.wide(target).is_contiguous()


RULES: dict[str, Callable[[Stack, Call], list[Do] | None]] = {
    "_log_softmax": log_softmax,
    "_log_softmax_backward_data": log_softmax_backward,
    "nll_loss_forward": nll,
    "nll_loss_backward": nll_backward,
}
