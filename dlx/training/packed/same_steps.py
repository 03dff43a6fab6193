"""Whether the recorded steps of several networks are one list of operations, each on memory of its own.

What holds for the first recording then holds for all: which calls have to run, which copies fall away, and which
tensors lie in one memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...utils.torch_private import storage
from ..fallback import UntraceableError
from ..replay.tape import RecordedCall, Values, geometry

if TYPE_CHECKING:
    from torch import Tensor


def check(tapes: Sequence[list[RecordedCall]], inputs: Sequence[Values]) -> None:
    """Raise UntraceableError where recordings differ in more than numbers, and in which memory theirs is."""
    first, *others = tapes
    operations = [call.op for call in first]
    if any([call.op for call in tape] != operations for tape in others):
        raise UntraceableError("the networks do not take the same steps")
    shapes, places = _shapes(first), _places(first, inputs[0])
    for tape, own in zip(others, inputs[1:], strict=True):
        if _shapes(tape) != shapes:
            raise UntraceableError("the networks are not of one shape")
        if _places(tape, own) != places:
            raise UntraceableError("the networks do not use their memory in the same way")


def _shapes(tape: list[RecordedCall]) -> list[tuple[Any, ...]]:
    return [geometry(tensor) for tensor in _all(tape)]


def _places(tape: list[RecordedCall], inputs: Values) -> list[int]:
    """Return the storage of each tensor, numbered as they come, those of the inputs first."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(storage(one), len(numbers)) for one in (*inputs.values(), *_all(tape))]


def _all(tape: list[RecordedCall]) -> Iterator[Tensor]:
    return (tensor for call in tape for tensor in (*call.inputs, *call.results))
