"""Linear attention: the quotient of the paper, causal in blocks and step by step."""

import pytest
import torch
import torch.nn.functional as F
from helpers import refusal
from test_attention import counted
from test_saved_tensors import planned, saved_by_torch

from dlx.layers import LAYERS
from dlx.modules.steps import Cache
from dlx.shapes import Shape

LINEAR = LAYERS["linear_attention"]


def by_hand(q, k, v, heads, causal):
    """Equation 4 of the paper: weights of each pair, divided by their sum."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-1, -2)
    weights = weights.tril() if causal else weights
    return (weights / weights.sum(-1, keepdim=True) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("tokens", "heads", "causal"), [(9, 2, False), (9, 1, True), (64, 2, True), (130, 2, True), (192, 1, True)]
)
def test_weights_are_products_of_what_is_positive(tokens, heads, causal):
    q, k, v = (torch.randn(2, tokens, n, requires_grad=True) for n in (8, 8, 6))
    xs = [Shape(x.shape[1:]) for x in (q, k, v)]
    layer = LINEAR(num_heads=heads, is_causal=causal)
    y, expected = layer.module(*xs)(q, k, v), by_hand(q, k, v, heads, causal)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)
    ours, theirs = (torch.autograd.grad(out.square().sum(), (q, k, v)) for out in (y, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    softmax = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert (y - softmax).abs().max() > 1e-2
    assert layer.plan(*xs).macs == counted(layer.module(*xs), *xs)
    assert planned(layer, xs) == saved_by_torch(layer, xs)
    lines = layer.derivation(layer.plan(*xs), *xs)
    assert all(line.holds for line in lines)
    assert lines[-1].value == layer.plan(*xs).macs


def test_the_cost_grows_with_the_tokens_alone():
    costs = [LINEAR(is_causal=True).plan(*[Shape((t, 8))] * 3).macs for t in (640, 1280, 2560)]
    assert costs[1] == 2 * costs[0]
    assert costs[2] == 4 * costs[0]


def test_keys_and_values_may_be_of_another_sequence():
    q, k, v = torch.randn(2, 9, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 6)
    y = LINEAR(num_heads=2).module(*(Shape(x.shape[1:]) for x in (q, k, v)))(q, k, v)
    torch.testing.assert_close(y, by_hand(q, k, v, 2, False))


@pytest.mark.parametrize("causal", [True, False])
def test_weights_that_all_round_to_zero_give_zeros_and_no_nan(causal):
    q = torch.full((1, 5, 4), -100.0, requires_grad=True)
    y = LINEAR(is_causal=causal).module(*[Shape((5, 4))] * 3)(q, q, torch.randn(1, 5, 4))
    y.sum().backward()
    assert not y.any()
    assert q.grad.isfinite().all()


def test_steps_with_the_sums_kept_are_the_whole_pass():
    q, k, v = torch.randn(3, 2, 100, 8)
    module, cache = LINEAR(num_heads=2, is_causal=True).module(*[Shape((100, 8))] * 3), Cache()
    parts = zip(*(x.split([70, 1, 1, 28], 1) for x in (q, k, v)), strict=True)
    steps = torch.cat([module.step(*part, cache=cache) for part in parts], 1)
    torch.testing.assert_close(steps, module(q, k, v), atol=1e-5, rtol=1e-4)
    assert cache.held["sum"].shape == (2, 2, 4, 5)


@pytest.mark.parametrize(
    ("options", "xs", "message", "hint"),
    [
        (
            {},
            [(9, 8), (7, 6), (7, 6)],
            (
                "linear_attention wants queries and keys of (T, D) and (S, D), and S values, not (9, 8), (7, 6) and "
                "(7, 6)"
            ),
            "`- linear` makes the last axes of queries and keys the same.",
        ),
        (
            {"num_heads": 4},
            [(9, 8), (7, 8), (7, 6)],
            "queries of 8 values, (9, 8), and values of 6, (7, 6), do not both split into num_heads = 4",
            "Make both a multiple of 4.",
        ),
        (
            {"is_causal": True},
            [(9, 8), (7, 8), (7, 6)],
            "linear_attention with is_causal compares positions, and (9, 8) has 9 tokens, (7, 8) 7",
            "Leave `is_causal` out, or let the tokens attend to themselves.",
        ),
    ],
)
def test_what_does_not_fit_names_both_sides(options, xs, message, hint):
    assert refusal("linear_attention", options, xs) == (message, hint)
