"""Which tensors of a step lie batch last in a stack, as (height, channels, width, batch).

So lie outputs of convolutions by strips, and what only pooling of pairs, pointwise operations and other such
convolutions read and write: with few channels nothing else lies so that a processor reads long runs of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...utils.torch_private import storage
from ..replay.tape import RecordedCall, geometry
from . import pair_pooling, strip_convolution
from .pair_pooling import POOL, POOL_BACKWARD

if TYPE_CHECKING:
    from .stack import Stack

KERNELS = {"convolution", "convolution_backward", POOL, POOL_BACKWARD}
"""Operations that run row by row on images that lie batch last, however small."""
POINTWISE = {"leaky_relu_backward", "hardtanh_backward"}
"""Pointwise operations that torch does not mark as such."""


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Return the strides of images (batch, channels, height, width) that lie batch last."""
    batch, channels, _, width = tensor.shape
    return 1, width * batch, channels * width * batch, batch


class Layout:
    """How the images of a step lie, by their storages in the first network."""

    def __init__(self, stack: Stack, calls: Sequence[RecordedCall]) -> None:
        """`calls` are those that run in each step."""
        self.found = _found(stack, calls)
        """Those that lie batch last."""
        self.apart = _apart(calls, self.found)
        """Those of them with even and odd columns apart: (height, 2, channels, pairs, batch)."""
        users = _users(calls)
        self.passing = _passing(stack, calls, users, self.found)
        """Those that nothing reads behind the other operations of their row, of which all rows have one."""
        self.later_biases = {
            storage(call.result): call.args[2]
            for call in calls
            if call.name == "convolution"
            and (key := storage(call.result)) in self.apart
            and [calls[i].name for i in users[key]] == ["convolution", POOL]
        }
        """Biases of convolutions that poolings add, to a fourth of the values, by what is pooled."""

    def is_batch_last(self, tensor: Tensor) -> bool:
        return storage(tensor) in self.found

    def is_apart(self, tensor: Tensor) -> bool:
        return storage(tensor) in self.apart


def _found(stack: Stack, calls: Sequence[RecordedCall]) -> set[int]:
    """Return the storages that lie batch last."""
    convolutions = [call for call in calls if call.name == "convolution" and strip_convolution.takes(stack, call)]
    strips = {strip_convolution.key_of(call) for call in convolutions}
    if not strips:
        return set()
    found, fixed = _images(calls) & stack.filter.created - set(stack.memory), _with_indices(calls)
    before: set[int] = set()
    while before != found:
        before = set(found)
        for call in calls:
            found -= {storage(t) for t in (*call.inputs, *call.results)} - _served(call, found, strips, fixed)
    return found


def _apart(calls: Sequence[RecordedCall], found: set[int]) -> set[int]:
    """Return which of the storages `found` have their even and odd columns apart.

    So lies what convolutions by strips write and poolings of pairs read, with pointwise operations between: each is
    then one pass over long runs of memory.
    """
    by_convolution: dict[tuple[Any, ...], set[int]] = {}
    groups, apart = [], set(found)
    for call in calls:
        together, others = _sides(call)
        apart -= {storage(t) for t in [*others, *(t for t in together if t.shape[-1:].numel() % 2)]}
        is_convolution = call.name in {"convolution", "convolution_backward"}
        group = by_convolution.setdefault(strip_convolution.key_of(call), set()) if is_convolution else set()
        group |= {storage(t) for t in together}
        groups.append(group)
    while broken := [group & apart for group in groups if group & apart and not group <= apart]:
        apart -= set().union(*broken)
    pooled = {storage(call.args[0]) for call in calls if call.name == POOL} & apart
    while more := set().union(*(group for group in groups if group & pooled and group <= apart)) - pooled:
        pooled |= more
    return pooled


def _sides(call: RecordedCall) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the tensors of a call that have their columns apart together or not at all, and those that never do."""
    if call.name == "convolution":
        return [call.result], [call.args[0]]
    if call.name == "convolution_backward":
        return [call.args[0]], [t for t in (call.args[1], call.result[0]) if t is not None]
    if call.name == POOL:
        return [call.args[0]], [call.results[0]]
    if call.name == POOL_BACKWARD:
        return [call.args[1], call.result], [call.args[0]]
    return [*call.inputs, *call.results], []


def _users(calls: Sequence[RecordedCall]) -> dict[int, list[int]]:
    """Return which calls write or read each storage; the gradient of a pooling of pairs reads no pooled images."""
    users: dict[int, list[int]] = {}
    for index, call in enumerate(calls):
        read = call.args[:1] if call.name == POOL_BACKWARD and pair_pooling.is_pairs(call) else call.inputs
        for key in {storage(t) for t in (*read, *call.results)}:
            users.setdefault(key, []).append(index)
    return users


def _passing(stack: Stack, calls: Sequence[RecordedCall], users: dict[int, list[int]], found: set[int]) -> set[int]:
    """Return which of the storages `found` are written and read by operations that run one row after the other.

    One memory does for all rows, and stays in the cache.
    """
    parts, part = [], 0
    for call in calls:
        images = found & {storage(t) for t in (*call.inputs, *call.results)}
        is_by_row = images and (call.name in KERNELS or stack.is_large(call))
        # what runs on all rows at once is a part of its own
        part += 0 if is_by_row else 2
        parts.append(part if is_by_row else part - 1)
    made = {storage(t) for call in calls for t in call.results} - {storage(t) for call in calls for t in call.mutated}
    return {key for key in found & made if len({parts[i] for i in users[key]}) == 1}


def _images(calls: Sequence[RecordedCall]) -> set[int]:
    """Return the storages that all calls see as the same images, (batch, channels, height, width)."""
    geometries: dict[int, set[object]] = {}
    whole = set()
    for tensor in (t for call in calls for t in (*call.inputs, *call.results)):
        geometries.setdefault(storage(tensor), set()).add(geometry(tensor))
        if tensor.dim() == 4 and tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes():
            whole.add(storage(tensor))
    return {one for one in whole if len(geometries[one]) == 1}


def _with_indices(calls: Sequence[RecordedCall]) -> set[int]:
    """Return the storages of pooled images whose indices something reads that is not the gradient of the pooling."""
    readers = [call for call in calls if call.name != POOL_BACKWARD]
    read = {storage(t) for call in readers for t in call.inputs}
    return {storage(call.args[0]) for call in calls if call.name == POOL and storage(call.results[1]) in read}


def _served(call: RecordedCall, found: set[int], strips: set[tuple[Any, ...]], fixed: set[int]) -> set[int]:
    """Return which storages of a call may lie so, where `found` do as far as is known."""
    if call.name == "convolution":
        return (
            {storage(t) for t in (call.args[0], call.result)} if strip_convolution.key_of(call) in strips else set()
        )
    if call.name == "convolution_backward":
        images = [t for t in (*call.args[:2], call.result[0]) if t is not None]
        return {storage(t) for t in images} if strip_convolution.key_of(call) in strips else set()
    if call.name in {POOL, POOL_BACKWARD}:
        x = call.args[0] if call.name == POOL else call.args[1]
        ours = storage(x) in found - fixed and pair_pooling.is_pairs(call)
        return {storage(t) for t in (call.args[0], x, call.results[0])} if ours else set()
    tensors = [*call.inputs, *call.results]
    if call.name == "clone":
        return {storage(t) for t in tensors}
    is_pointwise = torch.Tag.pointwise in call.op.tags or call.name in POINTWISE
    alike = len({geometry(t) for t in tensors}) == 1 and torch.Tag.nondeterministic_seeded not in call.op.tags
    whole = {storage(t) for t in tensors}
    return whole if is_pointwise and alike and whole <= found else set()
