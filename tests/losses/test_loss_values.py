"""Losses of values, by hand and against torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from dlx.losses import LOSSES


def loss(kind: str, output, target, **options) -> float:
    output, target = (torch.as_tensor(t, dtype=torch.float64) for t in (output, target))
    return LOSSES[kind](**options).function()(output, target).item()


ERRORS = [[0.0, 0.5], [-2.0, 3.0]]
ZEROS = [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("kind", "options", "total"),
    [
        ("squared_error", {}, 0.25 + 4 + 9),
        ("absolute_error", {}, 5.5),
        ("huber", {}, 0.125 + 1.5 + 2.5),
        ("huber", {"delta": 2.0}, 0.125 + 2 + 2 * (3 - 1)),
        ("smooth_l1", {"beta": 2.0}, (0.125 + 2 + 2 * (3 - 1)) / 2),
    ],
)
def test_a_loss_of_gaps_is_right_by_hand(kind, options, total):
    assert loss(kind, ERRORS, ZEROS, **options, reduction="sum") == pytest.approx(total)
    assert loss(kind, ERRORS, ZEROS, **options) == pytest.approx(total / 4)
    assert loss(kind, ERRORS, ZEROS, **options, reduction="batchmean") == pytest.approx(total / 2)


def test_the_squared_loss_of_a_small_network_is_the_book_s():
    """Russell & Norvig, figure 22.3, with weights of our own: (1 - 0.4391161225)^2, neither halved nor averaged."""
    assert loss("squared_error", [[0.4391161225]], [[1.0]], reduction="sum") == pytest.approx(0.3145907241)


def test_binary_cross_entropy_is_the_logarithm_of_the_sigmoid():
    one, zero = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))
    assert loss("binary_cross_entropy", [[2.0]], [[1.0]]) == pytest.approx(-math.log(one))
    assert loss("binary_cross_entropy", [[2.0]], [[0.0]]) == pytest.approx(-math.log(zero))
    assert loss("binary_cross_entropy", [[2.0]], [[0.3]]) == pytest.approx(
        -0.3 * math.log(one) - 0.7 * math.log(zero)
    )
    weighed = loss("binary_cross_entropy", [[2.0], [2.0]], [[1.0], [0.0]], pos_weight=5.0)
    assert weighed == pytest.approx((-5 * math.log(one) - math.log(zero)) / 2)


def test_a_discriminator_that_cannot_tell_loses_ln_2():
    assert loss("binary_cross_entropy", [[0.0]], [[1.0]]) == pytest.approx(0.693147, abs=1e-6)


def test_kl_divergence_of_the_book_s_distributions():
    """P = (.5, .5), Q = (.9, .1): H(P, Q) = 1.2039728, H(P) = 0.6931472, so 0.5108256; from the logits of Q."""
    logits = [[math.log(0.9) + 3, math.log(0.1) + 3]]
    assert loss("kl_div", logits, [[0.5, 0.5]], reduction="batchmean") == pytest.approx(1.2039728043 - 0.6931471806)
    assert loss("kl_div", logits, [[0.5, 0.5]]) == pytest.approx(0.5108256238)
    assert loss("kl_div", logits, [[1.0, 0.0]], reduction="sum") == pytest.approx(-math.log(0.9))


def test_dice_by_hand():
    """Three of four pixels said with certainty, two of them right: 1 - (2 * 2 + 1) / (3 + 2 + 1)."""
    said, true = [[[60.0, 60.0, 60.0, -60.0]]], [[[1.0, 1.0, 0.0, 0.0]]]
    assert loss("dice", said, true) == pytest.approx(1 - 5 / 6)
    assert loss("dice", said, true, smooth=1e-9) == pytest.approx(1 - 4 / 5)
    assert loss("dice", [[[-60.0] * 4]], [[[0.0] * 4]]) == pytest.approx(0)


def test_dice_of_several_classes_takes_the_softmax_and_averages_channels():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 5, 5, dtype=torch.float64), torch.randint(3, (2, 5, 5))
    t, p = F.one_hot(y, 3).movedim(-1, 1).double(), x.softmax(1)
    each = [
        1 - (2 * (p[n, k] * t[n, k]).sum() + 1) / (p[n, k].sum() + t[n, k].sum() + 1)
        for n in range(2)
        for k in range(3)
    ]
    assert loss("dice", x, t) == pytest.approx(sum(each).item() / 6)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("squared_error", F.mse_loss),
        ("absolute_error", F.l1_loss),
        ("huber", F.huber_loss),
        ("smooth_l1", F.smooth_l1_loss),
        ("binary_cross_entropy", F.binary_cross_entropy_with_logits),
        ("poisson", F.poisson_nll_loss),
    ],
)
def test_defaults_are_torch_s(kind, function):
    torch.manual_seed(0)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    assert loss(kind, x, y) == function(x, y).item()
