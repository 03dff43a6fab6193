"""Rules for a stack of networks: a call of one network as a call on all rows, or as operations on all or on each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import schema_of, storage
from ..replay.operations import mapped
from ..replay.script import Operation, copy, operation
from ..replay.tape import RecordedCall
from . import convolution, cross_entropy, pair_pooling, strip_convolution

if TYPE_CHECKING:
    from .stack import Stack


def pointwise(stack: Stack, call: RecordedCall) -> RecordedCall:
    """Apply a pointwise operation: axes are aligned at their ends as in broadcasting, and the rows come first."""
    rank = max(t.dim() for t in [*call.inputs, *call.results])

    def aligned(tensor: Tensor) -> Tensor:
        if stack.is_shared(tensor):
            return tensor.detach()
        stacked = stack.stacked(tensor)
        return stacked[(slice(None), *(None,) * (rank - tensor.dim()))]

    return _changed(call, aligned, [aligned(t) for t in call.results])


def _clone(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    if stack.is_shared(call.args[0]):
        return None
    return RecordedCall(
        torch.ops.aten.copy_.default, (stack.stacked(call.results[0]), stack.stacked(call.args[0])), {}, ()
    )


def _matmul(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    """Compute a product of matrices as a batched product."""
    *bias, one, other = call.args
    if 1 in call.results[0].shape:
        return None  # of a matrix and a vector, MKL adds in another order in a batch than alone

    def stacked(tensor: Tensor) -> Tensor:
        return (
            tensor.detach().expand(stack.rows, *tensor.size()) if stack.is_shared(tensor) else stack.stacked(tensor)
        )

    inputs = [stacked(one), stacked(other)]
    if bias:
        shift = stacked(bias[0])
        inputs = [shift if bias[0].dim() == 2 else shift[(slice(None), *(None,) * (2 - bias[0].dim()))], *inputs]
    op = torch.ops.aten.baddbmm.default if bias else torch.ops.aten.bmm.default
    return RecordedCall(op, tuple(inputs), dict(call.kwargs), (stack.stacked(call.results[0]),))


def _along_axes(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    """Apply an operation along named axes, which move by one: the rows are the first axis."""
    if any(map(stack.is_shared, call.inputs)):
        return None
    dims = {i for i, a in enumerate(schema_of(call.op).arguments) if a.name == "dim"}
    rank = call.inputs[0].dim()

    def moved(dim: Any) -> Any:
        if isinstance(dim, list | tuple):
            return [d % rank + 1 for d in dim]
        return dim % rank + 1

    if not dims or rank == 0 or any(i >= len(call.args) or call.args[i] in (None, []) for i in dims):
        return None
    args = [moved(v) if i in dims else mapped(v, stack.stacked) for i, v in enumerate(call.args)]
    kwargs = {name: mapped(value, stack.stacked) for name, value in call.kwargs.items()}
    return RecordedCall(call.op, tuple(args), kwargs, tuple(map(stack.stacked, call.results)))


def _cat(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    tensors, dim = call.args[0], call.args[1] if len(call.args) > 1 else 0
    if any(map(stack.is_shared, call.inputs)) or len({t.dim() for t in tensors}) > 1:
        return None
    args = (list(map(stack.stacked, tensors)), dim % tensors[0].dim() + 1)
    return RecordedCall(call.op, args, {}, (stack.stacked(call.results[0]),))


def _over_all(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    """Compute a sum or mean over all values as one over all axes but the rows."""
    x = call.args[0]
    if stack.is_shared(x) or len(call.args) > 1 or x.dim() == 0:
        return None
    op = torch.ops.aten.sum.dim_IntList if call.name == "sum" else torch.ops.aten.mean.dim
    dims = list(range(1, x.dim() + 1))
    return RecordedCall(op, (stack.stacked(x), dims), dict(call.kwargs), (stack.stacked(call.results[0]),))


def _reduced(stack: Stack, call: RecordedCall) -> RecordedCall | None:
    return _over_all(stack, call) if schema_of(call.op).overload_name == "" else _along_axes(stack, call)


def _index_select(stack: Stack, call: RecordedCall) -> list[Operation] | None:
    """Pick examples out of a table that all networks share, for all of them in one call."""
    table, dim, index = call.args
    rows, result = (stack.memory.get(storage(t)) for t in (index, call.results[0]))
    if not stack.is_shared(table) or dim != 0 or rows is None or result is None:
        return None
    stacked, into = stack.stacked(index), stack.stacked(call.results[0])
    if not stacked.is_contiguous():
        return None
    found = into if into.is_contiguous() else into.new_empty(into.shape)
    op = torch.ops.aten.index_select.out
    picks = operation(op, table.detach(), 0, stacked.view(-1), out=found.view(-1, *table.shape[1:]))
    return [picks] if found is into else [picks, copy(into, found)]


def _changed(call: RecordedCall, change: Callable[[Tensor], Tensor], result: list[Tensor]) -> RecordedCall:
    args = tuple(mapped(value, change) for value in call.args)
    return RecordedCall(call.op, args, {n: mapped(v, change) for n, v in call.kwargs.items()}, tuple(result))


CONVOLUTIONS = {"convolution": convolution.forward, "convolution_backward": convolution.backward}
AXES = ["_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data", "amax", "amin", "cumsum"]
POINTWISE = [
    "leaky_relu_backward",
    "hardtanh_backward",
    "softplus_backward",
    "elu_backward",
    "hardsigmoid_backward",
    "hardswish_backward",
    "mish_backward",
]
"""Pointwise operations that torch does not mark as such, and that are exact wherever a row begins."""
RULES: dict[str, Callable[[Stack, RecordedCall], RecordedCall | None]] = {
    "clone": _clone,
    "mm": _matmul,
    "addmm": _matmul,
    "sum": _reduced,
    "mean": _reduced,
    "cat": _cat,
    **dict.fromkeys(POINTWISE, pointwise),
    **dict.fromkeys(AXES, _along_axes),
}
SEVERAL: dict[str, Callable[[Stack, RecordedCall], list[Operation] | None]] = {
    **cross_entropy.RULES,
    "index_select": _index_select,
}
"""Rules for calls that become several operations on all rows."""
ROW_RULES: dict[str, Callable[[Stack, RecordedCall], list[list[Operation]] | None]] = {
    "convolution": strip_convolution.forward,
    "convolution_backward": strip_convolution.backward,
    pair_pooling.POOL: pair_pooling.forward,
    pair_pooling.POOL_BACKWARD: pair_pooling.backward,
}
"""Rules for calls that become several operations on each row."""
