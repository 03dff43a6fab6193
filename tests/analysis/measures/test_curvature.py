"""Second derivatives: against those of a quadratic in closed form, and torch's own Hessian."""

import numpy as np
import pytest
import torch

from dlx.analysis.measures import curvature, weight_space


@pytest.fixture
def least_squares():
    """Loss, weights and Hessian of a mean squared error: 2 X^T X / n."""
    made = torch.Generator().manual_seed(0)
    x = torch.randn(30, 5, generator=made, dtype=torch.float64)
    y = torch.randn(30, generator=made, dtype=torch.float64)
    w = torch.randn(5, generator=made, dtype=torch.float64, requires_grad=True)
    return lambda: (x @ w - y).square().mean(), [w], (2 * x.T @ x / 30).numpy()


def test_products_are_those_of_the_closed_form(least_squares):
    loss, weights, hessian = least_squares
    found = curvature.whole_hessian(curvature.hessian_product(loss, weights), 5)

    np.testing.assert_allclose(found, hessian, rtol=1e-12)
    assert np.abs(found - np.eye(5)).max() > 0.1


def test_products_of_a_network_are_those_of_torchs_hessian():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x, y = torch.randn(7, 2, dtype=torch.float64), torch.randn(7, 1, dtype=torch.float64)
    weights = list(network.parameters())

    def loss_of(vector):
        named = dict(zip(dict(network.named_parameters()), curvature.unflattened(vector, weights), strict=True))
        return (torch.func.functional_call(network, named, (x,)) - y).square().mean()

    there = torch.cat([weight.detach().flatten() for weight in weights])
    product = curvature.hessian_product(lambda: (network(x) - y).square().mean(), weights)

    found = curvature.whole_hessian(product, len(there))
    torch.testing.assert_close(torch.from_numpy(found), torch.autograd.functional.hessian(loss_of, there))


def test_eigenvalues_are_those_of_numpy(least_squares):
    loss, weights, hessian = least_squares
    exact = np.linalg.eigvalsh(hessian)
    product = curvature.hessian_product(loss, weights)

    assert curvature.extremes(product, 5, seed=0) == pytest.approx((exact[0], exact[-1]), rel=1e-3)
    found = curvature.lanczos(product, 5, 5, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, exact, rtol=1e-9)
    assert found.shares.sum() == pytest.approx(1)


def test_a_few_steps_of_lanczos_have_the_moments_of_the_spectrum():
    rng = np.random.default_rng(0)
    eigenvalues = np.sort(rng.gamma(2.0, size=200))
    basis, _ = np.linalg.qr(rng.normal(size=(200, 200)))
    matrix = basis * eigenvalues @ basis.T
    each = [curvature.lanczos(lambda v: matrix @ v, 200, 12, np.random.default_rng(seed)) for seed in range(40)]

    means = [float(one.values @ one.shares) for one in each]
    squares = [float(one.values**2 @ one.shares) for one in each]
    assert np.mean(means) == pytest.approx(eigenvalues.mean(), rel=0.03)
    assert np.mean(squares) == pytest.approx((eigenvalues**2).mean(), rel=0.05)
    assert each[0].values[-1] == pytest.approx(eigenvalues[-1], rel=0.02)


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature():
    w = torch.ones(3, requires_grad=True)

    assert not curvature.hessian_product(w.sum, [w])(np.ones(3)).any()


def test_one_step_up_the_gradient_is_that_of_the_quadratic(least_squares):
    loss, weights, hessian = least_squares
    before = weight_space.copies(weights)
    g = curvature.flat_gradient(loss, weights).detach().numpy()
    found = curvature.sharpness(loss, weights, 0.05, 20)

    by_hand = 0.05 * np.linalg.norm(g) + 0.05**2 / 2 * (g @ hessian @ g) / (g @ g)
    assert found.ascent == pytest.approx(by_hand)
    assert found.most >= found.ascent
    # the most in the ball is at most what the largest eigenvalue allows
    assert found.most <= 0.05 * np.linalg.norm(g) + 0.05**2 / 2 * np.linalg.eigvalsh(hessian)[-1]
    assert torch.equal(weights[0], before[0]), "the weights are where they were"


def test_along_the_gradient_a_quadratic_changes_in_proportion(least_squares):
    loss, weights, hessian = least_squares
    g = curvature.flat_gradient(loss, weights).detach().numpy()
    found = curvature.along_gradient(loss, weights, [0.1, 0.2])
    low = float(loss().detach())

    np.testing.assert_allclose(found.changes, [0.1 * np.linalg.norm(hessian @ g), 0.2 * np.linalg.norm(hessian @ g)])
    np.testing.assert_allclose(found.ratios, np.linalg.norm(hessian @ g) / np.linalg.norm(g))
    by_hand = [low - r * (g @ g) + r * r / 2 * (g @ hessian @ g) for r in (0.1, 0.2)]
    np.testing.assert_allclose(found.losses, by_hand)
