"""Whether recorded steps of several networks are one list of operations, each on memory of its own."""

import pytest
import torch

from dlx.training.fallback import UntraceableError
from dlx.training.packed import same_steps
from dlx.training.packed.stack import Stack
from dlx.training.replay import tape


def recorded(function, *tensors):
    calls, _ = tape.record(lambda: function(*tensors))
    return calls


def stacked(*tapes):
    return Stack(list(tapes), [{} for _ in tapes], [torch.Generator() for _ in tapes], [tapes[0][0].args[0]])


def test_equal_steps_on_other_memory_are_stacked():
    one, other = (recorded(lambda x: x * x + x, torch.full((3,), value)) for value in (2.0, 3.0))
    stack = stacked(one, other)
    for operation in stack.operations:
        operation.call()()
    assert stack.stacked(one[-1].result).tolist() == [[6.0] * 3, [12.0] * 3]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (lambda: recorded(lambda x: x - x, torch.ones(3)), "the networks do not take the same steps"),
        (lambda: recorded(lambda x: x * x, torch.ones(4)), "the networks are not of one shape"),
        (lambda: recorded(lambda x: x * x, torch.ones(3, 1)), "the networks are not of one shape"),
        (lambda: recorded(lambda x: x * x, torch.ones(3, dtype=torch.float64)), "the networks are not of one shape"),
        (
            lambda: recorded(lambda x, y: x * y, torch.ones(3), torch.ones(3)),
            "the networks do not use their memory in the same way",
        ),
    ],
)
def test_other_operations_shapes_types_or_memory_are_refused(other, why):
    with pytest.raises(UntraceableError, match=why):
        stacked(recorded(lambda x: x * x, torch.ones(3)), other())


def test_unchecked_memory_would_be_mistaken_for_another(monkeypatch):
    """The broken twin: a stack takes the second factor of the second network for the first one."""
    monkeypatch.setattr(same_steps, "check", lambda *_: None)
    square = recorded(lambda x: x * x, torch.full((3,), 2.0))
    product = recorded(lambda x, y: x * y, torch.full((3,), 3.0), torch.full((3,), 5.0))
    stack = stacked(square, product)
    for operation in stack.operations:
        operation.call()()
    assert stack.stacked(square[-1].result).tolist() == [[4.0] * 3, [9.0] * 3]
