"""Recorded steps of several networks of one shape as one step on stacked tensors.

The networks' recordings are the same list of operations, each on memory of its own. Here that memory is joined, one
row a network, and each operation runs once on all rows where a rule says how, else row by row. Memory that all
networks share, such as the examples, is not copied. A row is a plain view: the networks' weights become rows, so that
each can be evaluated, saved and updated by its own optimizer as if it were alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import schema_of, storage
from ..fallback import UntraceableError
from ..replay.operations import mapped, resolved, with_outputs
from ..replay.script import Operation
from ..replay.tape import CallFilter, RecordedCall, Values, simplified
from . import (
    aligned_memory,
    batch_last,
    convolution,
    pair_pooling,
    relu_behind_pooling,
    same_steps,
    strip_convolution,
)
from .rules import CONVOLUTIONS, ROW_RULES, RULES, SEVERAL, pointwise

LARGE = 32_768
"""Values of one network's result above which operations run row by row: on all rows at once, what one operation
writes would have left the processor's cache before the next one reads it."""
DRAWS = {"randn": torch.ops.aten.normal_.default, "rand": torch.ops.aten.uniform_.default}
"""Operations that fill new memory, with those that fill a given one by the same draws."""


class Stack:
    """Step of several networks as `operations` on memory that stays where it is.

    `held` are the weights and buffers of the first network, whose tensors stand for those of all; `memory` has rows
    of them that another stack made, by their storages.
    UntraceableError where the networks' recordings differ, or where random numbers cannot be drawn row by row.
    """

    def __init__(
        self,
        tapes: list[list[RecordedCall]],
        inputs: list[Values],
        rngs: list[torch.Generator],
        held: list[Tensor],
        memory: Mapping[int, Tensor] = MappingProxyType({}),
        *,
        by_row: bool = False,
    ) -> None:
        """With `by_row` each operation runs row by row, as it does for a network alone."""
        self.by_row = by_row
        same_steps.check(tapes, inputs)
        tapes = tapes if by_row else [*map(relu_behind_pooling.moved, tapes)]
        self.tapes, self.rows, self.rngs = tapes, len(tapes), rngs
        self.filter = CallFilter(tapes[0], inputs[0])
        self.memory = dict(memory)
        """Rows, by the storage of the first network that they replace."""
        self.shared: set[int] = set()
        """Storages that all networks read, such as the examples."""
        self.unshared = {storage(t) for t in (*held, *inputs[0].values())} | self.filter.created
        """Storages that always become rows: weights, buffers and indices of the first network, and what its step
        makes. A stack of one network has no second one to tell them from shared memory."""
        self.operations: list[Operation] = []
        self.row_wise: list[list[list[Operation]]] = []
        """Calls since the last one on all rows that run row by row, each with the operations of each row."""
        self.unfolded: dict[Any, convolution.UnfoldedConvolution] = {}
        """Convolutions computed as products of matrices, by their arguments; backward ones use their columns."""
        self.strips: dict[Any, strip_convolution.StripConvolution] = {}
        """The same by strips, row by row."""
        self.poolings: dict[int, pair_pooling.PairPooling] = {}
        """By the storages of their inputs."""
        self.layout = batch_last.Layout(self, [] if by_row else self._running(tapes[0], inputs[0]))
        with torch.no_grad():
            for index, calls in enumerate(zip(*tapes, strict=True)):
                self._add(index, calls)
            self._flush_row_wise()

    # --- memory -----------------------------------------------------------------------------------------------------

    def join(self, key: int, tensors: list[Tensor]) -> None:
        """Join the networks' storages of one tensor to rows, with their values, unless all networks share it.

        `key` is that of the first network.
        """
        if key not in self.unshared and len({storage(t) for t in tensors}) == 1:
            self.shared.add(key)
            return
        whole = [_whole(t) for t in tensors]
        if len({(len(t), t.dtype) for t in whole}) > 1:
            raise UntraceableError("the networks are not of one shape")
        if key in self.layout.passing:
            self.memory[key] = aligned_memory.rows(1, whole[0].shape, whole[0]).expand(len(whole), -1)
        else:
            self.memory[key] = aligned_memory.rows(len(whole), whole[0].shape, whole[0]).copy_(torch.stack(whole))

    def stacked(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the first network with those of all: (networks, *shape)."""
        rows = self.memory[storage(tensor)]
        if rows.dtype != tensor.dtype:
            raise UntraceableError("it reads the bits of one type as another")
        strides = batch_last.strides(tensor) if self.layout.is_batch_last(tensor) else tensor.stride()
        return rows.as_strided((self.rows, *tensor.size()), (rows.stride(0), *strides), tensor.storage_offset())

    def row(self, tensor: Tensor, index: int) -> Tensor:
        """Return the tensor of network `index` that corresponds to one of the first network."""
        return tensor.detach() if storage(tensor) in self.shared else self.stacked(tensor)[index]

    def row_if(self, tensor: Tensor, index: int) -> Tensor | None:
        """Return the same where the storage is in rows; None where no operation of the step uses it."""
        return self.row(tensor, index) if storage(tensor) in self.memory else None

    def row_of(self, tensor: Tensor | None, index: int) -> Tensor | None:
        """Return the same for a result, whose copy from another storage may have been removed."""
        return None if tensor is None else self.row(self.filter.resolve(tensor), index)

    def stacked_of(self, tensor: Tensor) -> Tensor:
        return self.stacked(self.filter.resolve(tensor))

    def rows_of(self, tensors: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the rows of tensors of the first network by their storages, where the step uses them."""
        return {storage(t): self.memory[storage(t)] for t in tensors if storage(t) in self.memory}

    def is_shared(self, tensor: Tensor) -> bool:
        return storage(tensor) in self.shared

    def is_large(self, call: RecordedCall) -> bool:
        """Whether a call runs row by row even where a rule says how it could run once."""
        return max(t.numel() for t in call.results) > LARGE

    def later_bias(self, tensor: Tensor, index: int) -> Tensor | None:
        """Return the bias of network `index` that the pooling of a tensor adds, if any."""
        bias = self.layout.later_biases.get(storage(tensor))
        return None if bias is None else self.row(bias, index)

    # --- operations -------------------------------------------------------------------------------------------------

    def _add(self, index: int, calls: Sequence[RecordedCall]) -> None:
        """Add a call, of which each network has one."""
        first, *others = calls
        must_run = self.filter.must_run(index, first)
        # a call that need not run is joined all the same: others read its result
        self._join_all(calls)
        if not must_run:
            return
        placed = [resolved(simplified(first), self.filter), *map(simplified, others)]
        together = self._batched(placed)
        if together:
            self._flush_row_wise()
            self.operations += together
        else:
            self.row_wise.append(self._by_row_rule(placed) or self._one_by_one(placed))

    def _join_all(self, calls: Sequence[RecordedCall]) -> None:
        """Join all memory that a call uses, but for copies that fall away: their sources are in rows already."""
        every = [[*call.inputs, *call.results] for call in calls]
        for place, tensor in enumerate(every[0]):
            key = storage(tensor)
            if key not in self.memory and key not in self.shared and key not in self.filter.copied_from:
                self.join(key, [tensors[place] for tensors in every])

    def _flush_row_wise(self) -> None:
        """Add the operations that run row by row: all on one row, which stays in the cache, then on the next."""
        self.operations += [one for row in range(self.rows) for each in self.row_wise for one in each[row]]
        self.row_wise.clear()

    @staticmethod
    def _running(tape: list[RecordedCall], inputs: Values) -> list[RecordedCall]:
        """Return the calls of a network that run in each step, as `_add` finds them."""
        calls = CallFilter(tape, inputs)
        with torch.no_grad():
            return [resolved(simplified(c), calls) for i, c in enumerate(tape) if calls.must_run(i, c)]

    def _batched(self, calls: list[RecordedCall]) -> list[Operation]:
        """Return operations for all rows at once; an empty list where no rule says how."""
        first = calls[0]
        if self.by_row or not first.results or not _is_one_call(calls):
            return []
        if first.name in CONVOLUTIONS:
            return CONVOLUTIONS[first.name](self, first) or []
        if all(map(self.is_shared, first.results)) or self.is_large(first):
            return []
        several = SEVERAL[first.name](self, first) if first.name in SEVERAL else None
        if several is not None:
            return several
        rule = RULES.get(first.name)
        if rule is None and torch.Tag.pointwise in first.op.tags:
            rule = pointwise
        stacked = rule(self, first) if rule is not None else None
        return [] if stacked is None else [self._output_operation(stacked, first)]

    def _output_operation(self, stacked: RecordedCall, first: RecordedCall) -> Operation:
        """Return a call on all rows as an operation into the rows of its results."""
        if schema_of(stacked.op).is_mutable:
            return Operation(stacked.op, stacked.args, stacked.kwargs)
        return with_outputs(stacked.op, stacked.args, stacked.kwargs, list(stacked.result), first)

    def _by_row_rule(self, calls: list[RecordedCall]) -> list[list[Operation]]:
        """Return the operations of each row by a quicker rule; an empty list where there is none."""
        rule = ROW_RULES.get(calls[0].name)
        if self.by_row or rule is None or not _is_one_call(calls):
            return []
        return rule(self, calls[0]) or []

    def _one_by_one(self, calls: list[RecordedCall]) -> list[list[Operation]]:
        return [[self._on_row(call, calls[0], i)] for i, call in enumerate(calls)]

    def _on_row(self, call: RecordedCall, first: RecordedCall, index: int) -> Operation:
        """Return the call of one network as an operation on its row."""
        # torch leaves out trailing arguments that are their defaults, so calls of two networks may differ in their
        # number
        known = dict(enumerate(first.args))
        args = [_row_value(self, known[i], index) if _has_tensor(v) else v for i, v in enumerate(call.args)]
        named = first.kwargs
        kwargs = {n: _row_value(self, named[n], index) if _has_tensor(v) else v for n, v in call.kwargs.items()}
        if torch.Tag.nondeterministic_seeded in call.op.tags and not _drops_nothing(call):
            # each network draws from its own generator; an operation that takes none would draw from torch's, which
            # all threads share
            if not any(a.name == "generator" for a in schema_of(call.op).arguments):
                raise UntraceableError(f"random numbers of {call.name} cannot be drawn for one network")
            if kwargs.get("generator") is None:  # one of an objective is that of its own training already
                kwargs["generator"] = self.rngs[index]
        places = [self.row(t, index) for t in first.results]
        if call.name in DRAWS and places[0].is_contiguous():
            # what these do themselves, in memory of their own
            return Operation(DRAWS[call.name], (places[0], 0.0, 1.0), {"generator": kwargs["generator"]})
        inputs = {storage(t) for t in first.inputs}
        if schema_of(call.op).is_mutable and all(storage(t) in inputs for t in first.results):
            return Operation(call.op, tuple(args), kwargs)
        return with_outputs(call.op, args, kwargs, places, first)


# --- helpers --------------------------------------------------------------------------------------------------------


def _whole(tensor: Tensor) -> Tensor:
    """Return the whole storage of a tensor as a vector of its type."""
    items = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.detach().as_strided((items,), (1,), 0)


def _row_value(stack: Stack, value: Any, index: int) -> Any:
    return mapped(value, lambda tensor: stack.row(tensor, index))


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))


def _drops_nothing(call: RecordedCall) -> bool:
    """Whether an operation that may draw random numbers draws none: attention without dropout."""
    names = [argument.name for argument in schema_of(call.op).arguments]
    if "dropout_p" not in names:
        return False
    place = names.index("dropout_p")
    p = call.args[place] if place < len(call.args) else call.kwargs.get("dropout_p", 0.0)
    return bool(p == 0)


def _is_one_call(calls: list[RecordedCall]) -> bool:
    """Whether calls differ in nothing but their tensors."""
    return all(_non_tensor_args(call) == _non_tensor_args(calls[0]) for call in calls[1:])


def _non_tensor_args(call: RecordedCall) -> Any:
    """Return the arguments of a call with each tensor replaced by the class."""

    def bare(value: Any) -> Any:
        if isinstance(value, Tensor):
            return Tensor
        return tuple(map(bare, value)) if isinstance(value, list | tuple) else value

    return [bare(v) for v in call.args], {n: bare(v) for n, v in call.kwargs.items()}
