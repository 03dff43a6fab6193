"""The calls of a recorded step as operations on fixed memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import schema_of, storage
from .script import Operation, copy
from .tape import CallFilter, RecordedCall, Values, out_variant, simplified


def of_tape(calls: list[RecordedCall], inputs: Values) -> tuple[list[Operation], Callable[[Tensor], Tensor]]:
    """Return the operations of a step on the memory of its recording, and what finds a tensor of it there.

    UntraceableError.
    """
    known, found = CallFilter(calls, inputs), list[Operation]()
    with torch.no_grad():
        for index, call in enumerate(calls):
            if known.must_run(index, call):
                found.append(_operation(resolved(simplified(call), known)))
    return found, known.resolve


def resolved(call: RecordedCall, calls: CallFilter) -> RecordedCall:
    """Return a call whose tensors are those that removed copies stand for."""
    args = tuple(mapped(value, calls.resolve) for value in call.args)
    kwargs = {name: mapped(value, calls.resolve) for name, value in call.kwargs.items()}
    return RecordedCall(call.op, args, kwargs, mapped(call.result, calls.resolve))


def _operation(call: RecordedCall) -> Operation:
    if call.name == "clone":  # its memory format is that of its result
        return copy(call.result, call.args[0])
    inputs = {storage(t) for t in call.inputs}
    if schema_of(call.op).is_mutable and all(storage(t) in inputs for t in call.results):
        return Operation(call.op, call.args, call.kwargs)
    return with_outputs(call.op, call.args, call.kwargs, call.results, call)


def with_outputs(
    op: Any, args: Sequence[Any], kwargs: Mapping[str, Any], places: list[Tensor], first: RecordedCall
) -> Operation:
    """Return an operation that writes its results to `places`: directly where torch has a kernel, else by a copy.

    `first` is the call that was recorded.
    """
    form = None if schema_of(op).is_mutable else out_variant(op, first.results[0].device.type.upper())
    if form is not None and len(form[1]) == len(places):
        return Operation(form[0], tuple(args), {**kwargs, **dict(zip(form[1], places, strict=True))})
    results = first.result if isinstance(first.result, tuple | list) else (first.result,)
    remaining = iter(places)
    into = tuple(next(remaining) if isinstance(one, Tensor) else None for one in results)
    return Operation(op, tuple(args), kwargs, into)


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a value with its tensors changed, those in lists too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(mapped(v, change) for v in value)
    return value
