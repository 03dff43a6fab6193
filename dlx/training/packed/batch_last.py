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

POINTWISE = {"leaky_relu_backward", "hardtanh_backward"}
"""Pointwise operations that torch does not mark as such."""


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Return the strides of images (batch, channels, height, width) that lie batch last."""
    batch, channels, _, width = tensor.shape
    return 1, width * batch, channels * width * batch, batch


def storages(stack: Stack, calls: Sequence[RecordedCall]) -> set[int]:
    """Return the storages of the first network that lie so; `calls` are those that run in each step."""
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
    is_pointwise = torch.Tag.pointwise in call.op.tags or call.name in POINTWISE
    alike = len({geometry(t) for t in tensors}) == 1 and torch.Tag.nondeterministic_seeded not in call.op.tags
    whole = {storage(t) for t in tensors}
    return whole if is_pointwise and alike and whole <= found else set()
