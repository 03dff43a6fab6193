"""Packed networks of images with few channels: convolutions by strips and poolings in pairs, batch last."""

import pytest
import torch
from test_packed import assert_like_alone, jobs, seeds, together
from torch.nn import functional

from dlx.training import device
from dlx.training.packed import many_steps, pair_pooling, stack, strip_convolution
from dlx.training.replay import tape

CONV = "{conv: {out_channels: 4, kernel_size: 3, padding: 1}}"
SAME = "{conv: {out_channels: 4, kernel_size: 3, padding: 1, bias: false}}"
OTHER = "{conv: {out_channels: 6, kernel_size: [3, 2]}}"
LENET = f"[{CONV}, relu, {{max_pool: 2}}, {OTHER}, relu, flatten, {{linear: 3}}]"
NETWORKS = {
    "as LeNet": (LENET, "[1, 8, 8]"),
    "without bias, with norms": (
        f"[{SAME}, batch_norm, tanh, {{max_pool: 2}}, flatten, {{linear: 3}}]",
        "[2, 8, 8]",
    ),
    "one after the other": (
        f"[{CONV}, sigmoid, {CONV}, {{leaky_relu: 0.1}}, {CONV}, flatten, {{linear: 3}}]",
        "[3, 7, 5]",
    ),
    "around a block": (
        f"[{CONV}, {{residual: {{layers: [relu, {SAME}]}}}}, {{max_pool: 2}}, relu, flatten, {{linear: 3}}]",
        "[2, 6, 6]",
    ),
    "sigmoid before a pooling": (
        f"[{CONV}, sigmoid, {{max_pool: 2}}, {OTHER}, tanh, flatten, {{linear: 3}}]",
        "[1, 8, 8]",
    ),
    "dropout": (f"[{CONV}, {{dropout: 0.3}}, relu, {{max_pool: 2}}, flatten, {{linear: 3}}]", "[2, 6, 6]"),
    "pooled twice": (f"[{CONV}, {{max_pool: 2}}, relu, {{max_pool: 2}}, flatten, {{linear: 3}}]", "[1, 8, 8]"),
}


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """On one thread, and however small the images are."""
    monkeypatch.setattr(strip_convolution, "MIN_VALUES", 0)
    # 3 by 3 windows of few images are products of all networks at once otherwise
    monkeypatch.setattr(stack.convolution, "MAX_VALUES", 0)
    with device.threads(1):
        yield


@pytest.fixture
def stacks(monkeypatch):
    """The stacks that a test makes."""
    made, original = [], stack.Stack.__init__

    def noted(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(stack.Stack, "__init__", noted)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_each_learns_what_it_learns_alone(name, stacks):
    layers, shape = NETWORKS[name]

    assert_like_alone(seeds(3, "epochs: 3, batch_size: 16, optimizer: {sgd: 0.05}"), layers=layers, shape=shape)

    assert all(len(one.strips) == layers.count("conv:") for one in stacks)


def test_what_only_such_layers_see_lies_batch_last(stacks):
    together(jobs(seeds(2, "epochs: 1, batch_size: 16"), layers=LENET, shape="[1, 8, 8]"))

    shapes = sorted(
        {tuple(t.shape) for call in stacks[0].tapes[0] for t in call.results if stacks[0].layout.is_batch_last(t)}
    )
    # what is flattened does not, nor the pointwise operation before it, nor the examples as they come
    assert shapes == [(16, 4, 4, 4), (16, 4, 8, 8)]


@pytest.mark.parametrize(
    ("between", "apart", "passed_on"),
    [("relu", 2, 2), ("sigmoid", 4, 0), ("{residual: {layers: [relu]}}", 6, 0)],
)
def test_columns_lie_apart_from_a_convolution_to_its_pooling(between, apart, passed_on, stacks):
    layers = f"[{CONV}, {between}, {{max_pool: 2}}, flatten, {{linear: 3}}]"

    together(jobs(seeds(2, "epochs: 1, batch_size: 16"), layers=layers, shape="[1, 8, 8]"))

    first = stacks[0]
    tensors = {stack.storage(t): t for call in first.tapes[0] for t in call.results}
    assert [tuple(tensors[key].shape) for key in first.layout.apart] == [(16, 4, 8, 8)] * apart
    # ReLU is behind the pooling, and so is the bias: nothing but the pooling sees what the convolution writes
    assert len(first.layout.apart & first.layout.passing) == passed_on
    assert len(first.layout.later_biases) == passed_on // 2


@pytest.mark.parametrize("name", ["as LeNet", "around a block"])
def test_the_others_beside_a_row_do_not_change_a_bit_of_it(name):
    layers, shape = NETWORKS[name]
    together(several := jobs(seeds(3, "epochs: 4, batch_size: 16"), layers=layers, shape=shape))
    together([one := jobs(seeds(3, "epochs: 4, batch_size: 16"), layers=layers, shape=shape)[1]])

    found, wanted = one.network.state_dict(), several[1].network.state_dict()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def recorded(function, *tensors):
    """A stack of one network whose step is a function of some tensors, which it may change."""
    calls, result = tape.record(lambda: function(*tensors))
    inputs = {str(i): t for i, t in enumerate(tensors)}
    one = stack.Stack([calls], [inputs], [torch.Generator()], [t.detach() for t in tensors])
    with torch.no_grad(), tape.BelowAutograd():
        for operation in one.operations:
            operation.call()()
    return one, [one.row(t.detach(), 0) for t in result]


def step(x, weight, bias, padding, pool):
    """Outputs of a convolution and a pooling, and gradients of their weighted sum."""
    x, weight, bias = (t.detach().requires_grad_() for t in (x, weight, bias))
    y = functional.conv2d(x, weight, bias, padding=padding)
    y = functional.max_pool2d(y.relu(), pool) if pool else y.relu()
    weights = (torch.arange(y.numel(), device=y.device) % 7 - 3).to(y.dtype).view(y.shape)
    return y, *torch.autograd.grad((y * weights).sum(), [x, weight, bias])


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "pool"),
    [
        ((6, 8), (3, 3), (1, 1), 2),
        ((5, 7), (2, 4), (0, 0), 2),
        ((8, 7), (3, 2), (1, 1), 2),
        ((4, 6), (1, 5), (0, 2), 2),
        ((7, 6), (2, 3), (0, 1), 0),
        ((9, 5), (5, 2), (0, 0), 0),
        ((5, 12), (1, 5), (0, 2), 0),
    ],
)
def test_whole_numbers_are_exact(size, kernel, padding, pool):
    """Sums of small whole numbers have no rounding, so that strips and torch agree to the bit."""
    torch.manual_seed(0)
    x, weight = torch.randint(-2, 3, (4, 2, *size)).float(), torch.randint(-2, 3, (6, 2, *kernel)).float()
    bias = torch.randint(-2, 3, (6,)).float()

    one, found = recorded(lambda *tensors: step(*tensors, padding, pool), x, weight, bias)

    assert len(one.strips) == 1
    assert all(map(torch.equal, found, step(x, weight, bias, padding, pool)))


def test_rounding_is_that_of_torch():
    """Against double precision the products of strips are not farther than twice what oneDNN's are."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(16, 1, 14, 14), torch.randn(6, 1, 5, 5), torch.randn(6)

    _, found = recorded(lambda *tensors: step(*tensors, (2, 2), 2), x, weight, bias)

    exact = step(x.double(), weight.double(), bias.double(), (2, 2), 2)
    for mine, torchs, true in zip(found, step(x, weight, bias, (2, 2), 2), exact, strict=True):
        assert (mine - true).abs().max() <= 2 * (torchs - true).abs().max()


@pytest.mark.parametrize("first", [True, False])
def test_of_equal_values_the_first_of_a_window_has_the_gradient(first, monkeypatch):
    if not first:  # the twin compares rows before columns
        columns, rows = pair_pooling.columns, pair_pooling.rows
        monkeypatch.setattr(pair_pooling, "columns", rows)
        monkeypatch.setattr(pair_pooling, "rows", columns)
    x, kernel = torch.tensor([[[[0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0]]]]), torch.ones(1, 1, 1, 2)

    def gradient(x, weight):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(functional.max_pool2d(functional.conv2d(x, weight), 2).sum(), [x])

    _, (found,) = recorded(gradient, x, kernel)

    assert torch.equal(found, gradient(x, kernel)[0]) == first


def test_many_steps_in_one_call_leave_the_same_bits(monkeypatch):
    found = []
    for least in (0, 10**9):
        monkeypatch.setattr(many_steps, "MIN_STEPS", least)
        together(several := jobs(seeds(2, "epochs: 3, batch_size: 16"), layers=LENET, shape="[1, 8, 8]"))
        found.append([one.network.state_dict() for one in several])
        assert several[0].learner.faults == []
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_pictures_in_colour_stay_with_torch_where_its_kernels_are_faster():
    taken = {}
    for features in (6, 16):
        x, weight, bias = torch.randn(2, 3, 6, 6), torch.randn(features, 3, 3, 3), torch.randn(features)
        one, _ = recorded(lambda *tensors: step(*tensors, (0, 0), 0), x, weight, bias)
        taken[features] = len(one.strips)
    assert taken == {6: 1, 16: 0}


def test_a_pooling_whose_indices_are_read_stays_torchs():
    x, kernel = torch.randn(2, 1, 4, 5), torch.randn(2, 1, 1, 2)

    def pooled(x, weight):
        y, indices = functional.max_pool2d(functional.conv2d(x, weight), 2, return_indices=True)
        return y, functional.max_unpool2d(y, indices, 2)

    one, found = recorded(pooled, x, kernel)

    assert len(one.strips) == 1
    assert not one.poolings
    for mine, torchs in zip(found, pooled(x, kernel), strict=True):
        torch.testing.assert_close(mine, torchs)


def test_a_constant_between_images_is_that_of_the_step():
    x, kernel = torch.randint(-2, 3, (4, 1, 96, 96)).float(), torch.randint(-2, 3, (2, 1, 3, 3)).float()

    def doubled(x, weight):
        y = functional.conv2d(x, weight)
        return [y * torch.full_like(y, 2.0)]

    one, (found,) = recorded(doubled, x, kernel)

    assert one.layout.passing
    assert torch.equal(found, doubled(x, kernel)[0])
