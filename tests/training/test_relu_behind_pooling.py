"""ReLU in front of a max pooling, moved behind it in the recording of a step."""

import pytest
import torch
from torch.nn import functional

from dlx.training.packed import relu_behind_pooling, stack
from dlx.training.replay import tape


def recorded(function, *tensors):
    """The recording of a step, and what it left."""
    return tape.record(lambda: function(*tensors))


def run_again(calls, tensors, results):
    """Results of a stack of one network."""
    one = stack.Stack([calls], [{"x": tensors[0]}], [torch.Generator()], [t.detach() for t in tensors[1:]])
    with torch.no_grad(), tape.BelowAutograd():
        for operation in one.operations:
            operation.call()()
    return [one.row_of(t.detach(), 0) for t in results]


def gradient(x, weight, pool, settings):
    """The pooled sum, and its gradients."""
    x = x.detach().requires_grad_()
    y = functional.max_pool2d((x * weight).relu(), pool, **settings)
    y.backward(torch.arange(y.numel(), dtype=y.dtype).view(y.shape) % 5 - 2)
    return y, x.grad


def names(calls):
    return [call.name for call in calls if call.name in relu_behind_pooling.NAMES]


BEHIND = ["max_pool2d_with_indices", "relu", "threshold_backward", "max_pool2d_with_indices_backward"]


@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"padding": 1}, {"ceil_mode": True}, {"dilation": 2}])
def test_it_leaves_every_bit(settings):
    # small whole numbers: many are equal, many below zero, some not numbers
    x = torch.randint(-3, 3, (2, 3, 7, 7), generator=torch.Generator().manual_seed(0)).float()
    x[0, 0, 2, 2], x[1, 2, 5, 4], x[1, 1] = torch.nan, torch.inf, -1.0
    weight = torch.ones(3, 1, 1)

    calls, found = recorded(gradient, x, weight, 2, settings)

    moved = relu_behind_pooling.moved(calls)
    assert names(calls) == relu_behind_pooling.NAMES
    assert names(moved) == BEHIND
    again = run_again(calls, (x, weight), found)
    assert all(
        torch.equal(one.view(torch.int32), two.view(torch.int32)) for one, two in zip(again, found, strict=True)
    )


def read_again(x, weight, *_):
    rectified = (x * weight).relu()
    return functional.max_pool2d(rectified, 2).sum() + rectified.sum()


def indices_read(x, weight, *_):
    y, indices = functional.max_pool2d((x * weight).relu(), 2, return_indices=True)
    return functional.max_unpool2d(y, indices, 2).square().sum()


def view_pooled(x, weight, *_):
    return functional.max_pool2d((x * weight).relu()[:, :1], 2).sum()


@pytest.mark.parametrize("function", [read_again, indices_read, view_pooled])
def test_what_something_else_reads_stays(function):
    x, weight = torch.randn(2, 3, 6, 6), torch.ones(3, 1, 1, requires_grad=True)

    def step():
        weight.grad = None
        function(x, weight).backward()
        return weight.grad

    calls, _ = tape.record(step)

    assert "relu" in names(calls)
    assert names(relu_behind_pooling.moved(calls)) == names(calls)
