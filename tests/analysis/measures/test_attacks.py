"""Adversarial changes against what is known of linear classifiers."""

import pytest
import torch

from dlx.analysis.measures.attacks import Ball, fast_gradient, projected_gradient, smallest_changes


@pytest.fixture
def points():
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


W = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
B = 0.3


def two_classes(x):
    """A linear classifier of one logit as scores of two classes."""
    logit = x @ W + B
    return torch.stack([torch.zeros_like(logit), logit], 1)


def three_classes(x):
    weights = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5], [-1.0, -1.0, 0.0]], dtype=x.dtype)
    return x @ weights.T + torch.tensor([0.1, 0.0, -0.2], dtype=x.dtype)


def test_smallest_change_of_a_linear_classifier_is_the_distance_to_its_boundary(points):
    found = smallest_changes(two_classes, points)

    assert torch.allclose(found.norm(dim=1), (points @ W + B).abs() / W.norm())
    assert torch.allclose((points + found) @ W + B, torch.zeros(20, dtype=torch.float64), atol=1e-9)
    assert (two_classes(points + 1.02 * found).argmax(1) != two_classes(points).argmax(1)).all()


def test_a_longer_change_than_the_smallest_is_found_along_the_sign(points):
    """The twin: the sign of the gradient turns answers too, and never with a smaller L2 norm."""
    smallest = smallest_changes(two_classes, points).norm(dim=1)
    along_the_sign = (points @ W + B).abs() / W.abs().sum() * 3**0.5

    assert (along_the_sign > smallest * 1.1).all()


def test_smallest_change_among_several_classes_goes_to_the_nearest_boundary(points):
    scores = three_classes(points)
    weights = three_classes(torch.eye(3, dtype=torch.float64)) - three_classes(torch.zeros(1, 3, dtype=torch.float64))
    first = scores.argmax(1)
    by_hand = []
    for one, own in zip(scores, first.tolist(), strict=True):
        others = [k for k in range(3) if k != own]
        by_hand.append(min(float((one[own] - one[k]) / (weights[:, own] - weights[:, k]).norm()) for k in others))

    assert torch.allclose(smallest_changes(three_classes, points).norm(dim=1), torch.tensor(by_hand).double())


def test_an_answer_that_nothing_turns_has_no_smallest_change():
    found = smallest_changes(lambda x: torch.stack([x.sum(1) * 0 + 1, x.sum(1) * 0], 1), torch.ones(2, 3), steps=3)

    assert found.isnan().all()


def losses(x):
    """The loss of class 1, which grows against W."""
    return torch.nn.functional.softplus(-(x @ W + B))


def test_fast_gradient_takes_r_times_the_l1_norm_from_the_logit(points):
    moved = fast_gradient(losses, points, Ball(0.1))

    assert torch.allclose(moved @ W, points @ W - 0.1 * W.abs().sum())
    assert torch.allclose((moved - points).abs(), torch.full_like(points, 0.1))


@pytest.mark.parametrize(("norm", "most"), [("inf", W.abs().sum()), ("2", W.norm())])
def test_projected_gradient_comes_to_the_most_that_a_linear_loss_allows(points, norm, most):
    """Hoelder: the greatest change of w.x in a ball is its radius times the dual norm of w."""
    ball = Ball(0.1, norm)
    moved = projected_gradient(losses, points, ball, steps=20, generator=torch.Generator().manual_seed(0))
    at_random = ball.random(points, torch.Generator().manual_seed(0))

    assert torch.allclose(points @ W - moved @ W, (0.1 * most).expand(20), rtol=0.05)
    assert ((points @ W - at_random @ W).abs() < 0.1 * most).all()


def test_values_stay_within_the_limits(points):
    ball = Ball(0.5, "2", (-0.2, 0.2))
    inside = points.clamp(-0.2, 0.2)
    moved = projected_gradient(losses, inside, ball, steps=10)

    assert moved.min() >= -0.2
    assert moved.max() <= 0.2
    already = (inside == -0.2 * W.sign()).all(1)
    assert torch.equal(losses(moved) > losses(inside), ~already)


def test_more_steps_never_end_in_a_smaller_loss(points):
    """The best point of an ascent counts, not its last one."""
    start = losses(points)

    assert (losses(projected_gradient(losses, points, Ball(1e-3), steps=1)) >= start).all()
