"""ReLU in front of a max pooling moved behind it, where a fourth of the values is left.

The maximum of rectified values is the rectified maximum, to the bit, NaN included. So are the gradients: where the
maximum is positive the same value has it, and elsewhere ReLU lets none through.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...lazy import torch
from ...utils.torch_private import storage
from ..replay.tape import RecordedCall, geometry
from .pair_pooling import POOL, POOL_BACKWARD

NAMES = ["relu", POOL, POOL_BACKWARD, "threshold_backward"]
"""What uses a rectified tensor that is pooled, and nothing else."""


def moved(tape: list[RecordedCall]) -> list[RecordedCall]:
    """Return the recording of a step with each such ReLU, and its gradient, moved."""
    tape = [call for call in tape if call.name != "detach"]  # which only names the same tensor again
    users: dict[int, list[int]] = {}
    for index, call in enumerate(tape):
        for key in {storage(t) for t in (*call.inputs, *call.results)}:
            users.setdefault(key, []).append(index)
    found = [[call] for call in tape]
    for call in (call for call in tape if call.name == "relu"):
        places = users[storage(call.result)]
        calls = [tape[i] for i in places]
        if [one.name for one in calls] == NAMES and _is_movable(calls, users, places):
            for place, new in zip(places, _moved(*calls), strict=True):
                found[place] = new
    return [call for calls in found for call in calls]


def _is_movable(calls: Sequence[RecordedCall], users: dict[int, list[int]], places: list[int]) -> bool:
    """Whether nothing else sees what is no longer computed, and nothing that is read later is changed before."""
    relu, pool, pool_backward, backward = calls
    whole = [relu.args[0], relu.result, pool.args[0], pool_backward.args[1], *backward.args[:2], backward.result]
    return (
        len({geometry(one) for one in whole}) == 1
        and backward.args[2] == 0
        and storage(backward.args[1]) == storage(relu.result)
        and users[storage(pool_backward.result)] == places[2:]
        and users[storage(pool.results[1])] == places[1:3]
    )


def _moved(
    relu: RecordedCall, pool: RecordedCall, pool_backward: RecordedCall, backward: RecordedCall
) -> list[list[RecordedCall]]:
    """Return what takes the places of four calls."""
    x, (result, indices) = relu.args[0], pool.results
    gradient, _, *settings = pool_backward.args
    pooled, small = torch.empty_like(result), torch.empty_like(result)
    backward_calls, like = [], gradient
    if geometry(gradient) != geometry(result):  # a view of rows, or in another order of axes
        like = torch.empty_like(result)
        backward_calls.append(RecordedCall(torch.ops.aten.clone.default, (gradient,), {}, like))
    backward_calls.append(RecordedCall(backward.op, (like, result, *backward.args[2:]), backward.kwargs, small))
    return [
        [],
        [
            RecordedCall(pool.op, (x, *pool.args[1:]), pool.kwargs, (pooled, indices)),
            RecordedCall(relu.op, (pooled,), relu.kwargs, result),
        ],
        backward_calls,
        [RecordedCall(pool_backward.op, (small, x, *settings), pool_backward.kwargs, backward.result)],
    ]
