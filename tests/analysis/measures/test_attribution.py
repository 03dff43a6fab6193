"""Attribution of scores to inputs: against linear scores, axioms, and networks small enough to count by hand."""

import pytest
import torch
from torch import nn

from dlx.analysis.measures.attacks import gradient_of
from dlx.analysis.measures.attribution import (
    class_activation,
    deleted,
    integrated_gradients,
    occlusion_map,
    relu_rule,
    smooth_gradient,
    spread_over,
    stops,
)

WEIGHTS = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(3))


def linear(x):
    return (x * WEIGHTS).flatten(1).sum(1)


@pytest.fixture
def pictures():
    return torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))


def test_integrated_gradients_sum_to_the_difference_of_the_scores(pictures, network):
    """Completeness, proposition 1 of the paper; the plain gradient times the input has no such sum."""
    score = lambda x: network(x).squeeze(1)  # noqa: E731
    baseline = torch.zeros_like(pictures)
    difference = (score(pictures) - score(baseline)).detach()
    plain = gradient_of(score, pictures)[1] * pictures

    assert torch.allclose(
        integrated_gradients(score, pictures, baseline, 200).flatten(1).sum(1), difference, atol=1e-3
    )
    assert not torch.allclose(plain.flatten(1).sum(1), difference, atol=1e-2)


def test_the_smooth_gradient_of_a_linear_score_is_its_weights(pictures):
    found = smooth_gradient(linear, pictures, 0.3, 4, torch.Generator().manual_seed(0))

    assert torch.allclose(found, WEIGHTS.expand(3, -1, -1, -1), atol=1e-6)


def test_smoothing_blurs_the_step_of_a_gradient():
    """The gradient of |x| near 0 is 2 P(noise < x) - 1 after noise: erf(x / (s sqrt 2))."""
    x = torch.full((1, 4000), 0.1)
    found = smooth_gradient(lambda x: x.abs().sum(1), x, 0.2, 20, torch.Generator().manual_seed(0))

    assert float(found.mean()) == pytest.approx(float(torch.erf(torch.tensor(0.1 / (0.2 * 2**0.5)))), abs=0.01)


class ByFunction(nn.Module):
    """relu(x) of x = (2, -1, 3), with a factor below 0 in front of the last."""

    def forward(self, x):
        return (nn.functional.relu(x) * torch.tensor([1.0, 1.0, -1.0])).sum(1)


@pytest.mark.parametrize(("rule", "by_hand"), [("guided", [1.0, 0.0, 0.0]), ("deconvolution", [1.0, 1.0, 0.0])])
def test_rules_of_relu_by_hand(rule, by_hand):
    x = torch.tensor([[2.0, -1.0, 3.0]])
    plain = gradient_of(ByFunction(), x)[1]
    with relu_rule(rule) as calls:
        found = gradient_of(ByFunction(), x)[1]

    assert plain.tolist() == [[1.0, 0.0, -1.0]]
    assert found.tolist() == [by_hand]
    assert len(calls) == 1


def test_rules_hold_for_modules_as_for_functions():
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first, second = nn.Linear(6, 6), nn.Linear(6, 1)
    by_module = nn.Sequential(first, nn.ReLU(), second)
    with relu_rule("guided"):
        found = gradient_of(lambda x: by_module(x).squeeze(1), x)[1]
        again = gradient_of(lambda x: second(torch.relu(first(x))).squeeze(1), x)[1]

    by_hand = ((second.weight.clamp_min(0) * (first(x) > 0)) @ first.weight).detach()
    assert torch.allclose(found, by_hand)
    assert torch.equal(found, again)


def test_grad_cam_is_cam_where_the_mean_over_positions_is_followed_by_a_linear_layer():
    """Section 3.1 of Grad-CAM: there it is max(0, sum_k w_k A_k) / positions, Zhou's class activation map."""
    maps = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    scores = maps.mean((2, 3)) @ weights.T
    (gradient,) = torch.autograd.grad(scores[:, 2].sum(), maps)
    cam = torch.einsum("k,nkhw->nhw", weights[2], maps).clamp_min(0) / 16

    assert torch.allclose(class_activation(maps, gradient), cam, atol=1e-6)
    assert not torch.allclose(class_activation(maps, -gradient), cam, atol=1e-3)


def test_occlusion_of_a_linear_score_takes_the_window_s_own_share(pictures):
    fill = torch.full((1, 4, 4), 0.5)
    found = occlusion_map(linear, pictures, (2, 2), 2, fill)
    share = ((pictures - fill) * WEIGHTS).sum(1)
    by_hand = share.unfold(1, 2, 2).unfold(2, 2, 2).sum((3, 4))

    assert torch.allclose(found, by_hand, atol=1e-6)
    assert torch.allclose(found.flatten(1).sum(1), linear(pictures) - linear(fill[None]), atol=1e-5)


def test_occlusion_along_one_axis():
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    found = occlusion_map(lambda x: (x * weights).flatten(1).sum(1), torch.ones(1, 1, 5), (2,), 2, torch.zeros(1, 5))

    assert stops(5, 2, 2) == [0, 2, 3]
    assert found.tolist() == [[3.0, 7.0, 9.0]]
    assert spread_over(found, (5,), (2,), 2).tolist() == [[3.0, 3.0, 7.0, 8.0, 9.0]]


def test_deletion_of_what_counts_takes_more_than_deletion_of_the_rest(pictures):
    share = (pictures * WEIGHTS).sum(1).flatten(1)
    fill = torch.zeros(1, 4, 4)
    first, last = share.argsort(1, descending=True), share.argsort(1)
    whole = linear(pictures)

    by_hand = whole - share.sort(1, descending=True).values[:, :4].sum(1)
    assert torch.allclose(linear(deleted(pictures, first, 0.25, fill)), by_hand, atol=1e-6)
    assert (linear(deleted(pictures, last, 0.25, fill)) > whole).all()
