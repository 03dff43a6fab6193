"""Average pooling without gradients: the sum of slices is torch's mean to the last bit."""

import pytest
import torch
import torch.nn.functional as F

from dlx.modules import pool

OPTIONS = [
    ({"kernel_size": 2}, True),
    ({"kernel_size": 3}, True),
    ({"kernel_size": (1, 3), "stride": (2, 3)}, True),
    ({"kernel_size": 2, "stride": 3}, True),
    ({"kernel_size": 3, "stride": 2}, False),
    ({"kernel_size": 1, "stride": 2}, False),
    ({"kernel_size": 2, "padding": 1}, False),
    ({"kernel_size": 2, "ceil_mode": True}, False),
    ({"kernel_size": 2, "divisor_override": 3}, False),
]


def images(channels: int = 6, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(16, channels, 29, 31, generator=torch.Generator().manual_seed(0)).to(dtype)
    x.view(-1)[::97], x.view(-1)[5::101] = torch.nan, -torch.inf
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def plain(monkeypatch):
    """How often torch's own pooling was taken."""
    taken, forward = [], torch.nn.AvgPool2d.forward
    monkeypatch.setattr(torch.nn.AvgPool2d, "forward", lambda self, x: taken.append(1) or forward(self, x))
    return taken


@pytest.mark.parametrize(("options", "by_slices"), OPTIONS, ids=str)
def test_without_gradients_means_have_the_bits_and_the_layout_of_torch(options, by_slices, plain):
    x = images()
    with torch.inference_mode():
        found, right = pool.AvgPool2d(**options)(x), F.avg_pool2d(x, **options)

    assert found.view(torch.int32).equal(right.view(torch.int32))
    assert found.stride() == right.stride()
    assert bool(plain) != by_slices


@pytest.mark.parametrize(
    "x",
    [images(8), images().contiguous(), images()[:1, :, :8, :8], images(dtype=torch.bfloat16), images()[0]],
    ids=["channels that fill a vector", "channels first", "few values", "half the bits", "no batch"],
)
def test_torch_takes_what_it_is_quicker_at_and_what_would_round_otherwise(x, plain):
    with torch.no_grad():
        found = pool.AvgPool2d(2)(x)
    assert plain
    assert found.nan_to_num(7.0).equal(F.avg_pool2d(x, 2).nan_to_num(7.0))


def test_gradients_are_those_of_torch(plain):
    x = images().nan_to_num(0, 0, 0).requires_grad_()
    pool.AvgPool2d(2)(x).sum().backward()
    assert plain
    assert (x.grad[:, :, :28, :30] == 0.25).all()
