"""Batch norm as noise."""

from itertools import combinations

import numpy as np
import pytest

from dlx.analysis.measures.batch_noise import blur, mean_blur, normalised


def test_the_blur_of_means_is_that_of_all_subsets_of_six_points():
    x = np.array([1.0, 2, 4, 8, 16, 32])
    means = [np.mean(one) for one in combinations(x, 2)]

    assert np.std(means) / np.std(x) == pytest.approx(mean_blur(2, 6))


def test_a_batch_is_normalised_as_torch_does_it():
    import torch

    x = np.random.default_rng(0).standard_normal((8, 3))
    theirs = torch.nn.functional.batch_norm(torch.tensor(x), None, None, training=True)

    np.testing.assert_allclose(normalised(x, 8, 1, np.random.default_rng(1))[0], theirs.numpy(), atol=1e-12)


def test_smaller_batches_blur_more_and_the_whole_set_not_at_all():
    x = np.random.default_rng(0).standard_normal((30, 2))
    found = [blur(normalised(x, size, 200, np.random.default_rng(1))) for size in (30, 15, 10, 5)]

    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found == sorted(found)
    # in a batch of 15 of 30 the mean alone moves a point by sqrt(15 / (29 * 15)) = 0.186; the variance adds to it
    assert found[1] > mean_blur(15, 30) == pytest.approx(29**-0.5)


def test_in_a_draw_no_point_is_in_two_batches_and_what_is_left_over_in_none():
    made = normalised(np.arange(10.0)[:, None], 3, 5, np.random.default_rng(0))

    assert np.isfinite(made).sum((1, 2)).tolist() == [9] * 5
    np.testing.assert_allclose(np.nansum(made, (1, 2)), 0, atol=1e-9)  # each batch has mean 0
