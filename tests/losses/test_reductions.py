"""Means, sums and batchmeans of each loss by hand: two examples, three outputs, two positions."""

import math
from itertools import product

import pytest
import torch

from dlx.losses import LOSSES

N, C, P = 2, 3, 2
OUTPUT = torch.randn(N, 2 * C, P, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
VALUES = torch.tensor([[[1.0, 0], [0, 1], [0, 0]], [[0, 0], [1, 0], [0, 1]]], dtype=torch.float64)
CLASSES = VALUES.argmax(1)
SPOTS = list(product(range(N), range(P)))


def softmax(n, p, c):
    return math.exp(OUTPUT[n, c, p]) / sum(math.exp(OUTPUT[n, k, p]) for k in range(C))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bessel(kappa):
    """I0 by its power series."""
    return sum((kappa / 2) ** (2 * k) / math.factorial(k) ** 2 for k in range(30))


def normal(error, variance):
    return (math.log(variance) + error**2 / variance) / 2


def by_spot(each):
    return [each(n, p) for n, p in SPOTS]


def by_value(each):
    return [each(OUTPUT[n, c, p].item(), VALUES[n, c, p].item()) for n, p in SPOTS for c in range(C)]


def dice(n, c):
    both = sum(softmax(n, p, c) * VALUES[n, c, p].item() for p in range(P))
    return 1 - (2 * both + 1) / (sum(softmax(n, p, c) + VALUES[n, c, p].item() for p in range(P)) + 1)


def mixture(n, p):
    """Two components of three values: logits 0-1, means 2-7, s 8-9, here of a wider output."""
    o = [x.item() for x in WIDE[n, :, p]]
    total = 0.0
    for k in range(2):
        variance = math.exp(o[8 + k]) + 1e-6
        errors = [VALUES[n, d, p].item() - o[2 + 3 * k + d] for d in range(C)]
        density = math.prod(math.exp(-g * g / 2 / variance) / math.sqrt(2 * math.pi * variance) for g in errors)
        total += math.exp(o[k]) / (math.exp(o[0]) + math.exp(o[1])) * density
    return -math.log(total)


WIDE = torch.randn(N, 10, P, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
BY_HAND = {
    "cross_entropy": lambda: by_spot(lambda n, p: -math.log(softmax(n, p, CLASSES[n, p]))),
    "focal": lambda: by_spot(
        lambda n, p: -((1 - softmax(n, p, CLASSES[n, p])) ** 2) * math.log(softmax(n, p, CLASSES[n, p]))
    ),
    "kl_div": lambda: by_spot(
        lambda n, p: -math.log(softmax(n, p, CLASSES[n, p]))
    ),  # one class is sure: its surprise
    "squared_error": lambda: by_value(lambda o, t: (o - t) ** 2),
    "absolute_error": lambda: by_value(lambda o, t: abs(o - t)),
    "huber": lambda: by_value(lambda o, t: (o - t) ** 2 / 2 if abs(o - t) < 1 else abs(o - t) - 0.5),
    "smooth_l1": lambda: by_value(lambda o, t: (o - t) ** 2 / 2 if abs(o - t) < 1 else abs(o - t) - 0.5),
    "binary_cross_entropy": lambda: by_value(lambda o, t: -math.log(sigmoid(o if t else -o))),
    "binary_hinge": lambda: by_value(lambda o, t: max(0.0, 1 - (2 * t - 1) * o)),
    "contrastive": lambda: by_value(lambda o, t: t * o**2 / 2 + (1 - t) * max(0.0, 1 - o) ** 2 / 2),
    "poisson": lambda: by_value(lambda o, t: math.exp(o) - t * o),
    "von_mises": lambda: by_value(lambda o, t: math.log(2 * math.pi * bessel(1)) - math.cos(t - o)),
    "gaussian_nll": lambda: [
        normal(VALUES[n, c, p].item() - OUTPUT[n, c, p].item(), math.exp(OUTPUT[n, C + c, p]) + 1e-6)
        for n, p in SPOTS
        for c in range(C)
    ],
    "mixture_density": lambda: by_spot(mixture),
    "dice": lambda: [dice(n, c) for n in range(N) for c in range(C)],
    "hinge": lambda: [
        sum(max(0.0, OUTPUT[n, k, 0].item() - OUTPUT[n, CLASSES[n, 0], 0].item() + 1) for k in range(C)) - 1
        for n in range(N)
    ],
    "squared_hinge": lambda: [
        sum(max(0.0, OUTPUT[n, k, 0].item() - OUTPUT[n, CLASSES[n, 0], 0].item() + 1) ** 2 for k in range(C)) - 1
        for n in range(N)
    ],
}
"""The terms of each loss, over which its mean is taken."""


def found(kind, reduction):
    options = {"components": 2} if kind == "mixture_density" else {}
    output = {"mixture_density": WIDE, "gaussian_nll": OUTPUT}.get(kind, OUTPUT[:, :C])
    target = CLASSES if LOSSES[kind].wants == "classes" else VALUES
    if not LOSSES[kind].on_maps:
        output, target = output[..., 0], target[..., 0]
    return LOSSES[kind](reduction=reduction, **options).function()(output, target).item()


@pytest.mark.parametrize("kind", BY_HAND)
def test_reductions_are_over_what_the_loss_says(kind):
    each = BY_HAND[kind]()
    assert found(kind, "mean") == pytest.approx(sum(each) / len(each))
    assert found(kind, "sum") == pytest.approx(sum(each))
    assert found(kind, "batchmean") == pytest.approx(sum(each) / N)


def test_every_loss_is_worked_out_by_hand_but_those_with_tests_of_their_own():
    assert set(LOSSES) - set(BY_HAND) == {"ctc", "pinball", "sum", "yolo"}
