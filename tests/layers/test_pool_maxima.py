"""Max pooling without gradients: the maximum over slices is torch's pooling to the last bit."""

import pytest
import torch
import torch.nn.functional as F

from dlx.modules import pool

POOL = {1: (pool.MaxPool1d, F.max_pool1d), 2: (pool.MaxPool2d, F.max_pool2d), 3: (pool.MaxPool3d, F.max_pool3d)}
SIZE = {1: (8, 16, 301), 2: (4, 5, 37, 38), 3: (2, 3, 17, 18, 19)}
OPTIONS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 3, "stride": 1, "dilation": 2},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]


@pytest.fixture
def slices(monkeypatch):
    """How often slices were taken."""
    taken, plain = [], pool.largest_of_windows
    monkeypatch.setattr(pool, "largest_of_windows", lambda x, *rest: taken.append(1) or plain(x, *rest))
    return taken


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_without_gradients_maxima_have_the_bits_and_the_layout_of_torch(rank, options, slices):
    """NaN and infinity go through as torch lets them; windows over the end (`ceil_mode`) stay torch's own."""
    module, by_torch = POOL[rank]
    x = torch.randn(SIZE[rank], generator=torch.Generator().manual_seed(0))
    x.view(-1)[::97], x.view(-1)[5::101] = torch.nan, -torch.inf
    with torch.no_grad():
        found, right = module(**options)(x), by_torch(x, **options)

    assert torch.equal(found.nan_to_num(7.0), right.nan_to_num(7.0))
    assert found.isnan().equal(right.isnan())
    assert found.stride() == right.stride()
    assert found.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    assert bool(slices) == (not options.get("ceil_mode") and options["kernel_size"] != 1)


def test_a_padding_never_wins():
    """All values below zero: a padding of zeros would be the maximum at each edge."""
    x = torch.full((4, 8, 32, 32), -3.0)
    with torch.no_grad():
        assert (pool.MaxPool2d(3, 2, 1)(x) == -3).all()


@pytest.mark.parametrize(("options", "taken"), [({"kernel_size": 2}, 1), ({"kernel_size": 3, "stride": 2}, 0)])
def test_in_channels_last_only_windows_that_do_not_overlap_are_slices(options, taken, slices):
    x = torch.randn(4, 8, 33, 33).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        found = pool.MaxPool2d(**options)(x)

    assert found.equal(F.max_pool2d(x, **options))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert len(slices) == taken


def test_with_gradients_the_first_of_equal_values_gets_it_all_as_in_torch(slices):
    """The slices' maximum would share it among equal values: half each."""
    x = torch.ones(1, 1, 128, 128, requires_grad=True)
    pool.MaxPool2d(2)(x).sum().backward()

    assert x.grad[0, 0, :2, :2].tolist() == [[1, 0], [0, 0]]
    assert not slices


def test_few_values_are_pooled_by_torch(slices):
    with torch.no_grad():
        pool.MaxPool2d(2)(torch.ones(1, 4, 8, 8))
        assert not slices
        pool.MaxPool2d(2)(torch.ones(256, 4, 8, 8))
        assert slices


def test_what_is_exported_without_gradients_takes_any_batch():
    """A choice by the number of values would hold for the batch that it was exported with."""
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        found = torch.export.export(pool.MaxPool2d(2), (torch.ones(2, 8, 28, 28),), dynamic_shapes=({0: batch},))
        assert found.module()(torch.ones(64, 8, 28, 28)).shape == (64, 8, 14, 14)


def test_whole_numbers_are_padded_by_torch():
    with torch.no_grad():
        assert pool.MaxPool2d(2, 2, 1)(torch.full((4, 8, 32, 32), -3)).unique().tolist() == [-3]
