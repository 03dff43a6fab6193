"""Pointwise operations that torch does not mark as such: one call on all rows leaves the bits of each row alone."""

import pytest
import torch

from dlx.training.packed.rules import POINTWISE
from dlx.training.packed.stack import Stack
from dlx.training.replay import tape

aten = torch.ops.aten
SHAPES = [(1,), (7,), (31,), (33,), (64,), (257,), (15, 6), (10, 33), (3, 5, 7), (2, 3, 17, 5)]
CALLS = {
    "leaky_relu_backward": lambda slope, x: aten.leaky_relu_backward(slope, x, 0.2, False),
    "hardtanh_backward": lambda slope, x: aten.hardtanh_backward(slope, x, -1.0, 1.0),
    "softplus_backward": lambda slope, x: aten.softplus_backward(slope, x, 1.0, 20.0),
    "elu_backward": lambda slope, x: aten.elu_backward(slope, 1.0, 1.0, 1.0, False, x),
    "hardsigmoid_backward": aten.hardsigmoid_backward,
    "hardswish_backward": aten.hardswish_backward,
    "mish_backward": aten.mish_backward,
}


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("rows", [1, 5])
def test_a_row_has_the_bits_that_it_has_alone(name, rows):
    rng = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        tensors = [(torch.randn(shape, generator=rng), 5 * torch.randn(shape, generator=rng)) for _ in range(rows)]
        recorded = [tape.record(lambda each=each: CALLS[name](*each)) for each in tensors]
        tapes, results = zip(*recorded, strict=True)
        stack = Stack(list(tapes), [{} for _ in tapes], [torch.Generator() for _ in tapes], list(tensors[0]))
        (one,) = stack.operations  # of all rows
        one.call()()
        found = stack.stacked(results[0])
        assert all(torch.equal(row, alone) for row, alone in zip(found, results, strict=True)), shape
